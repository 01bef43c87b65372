//! Where a cluster is, whom to believe that it is the server, and who we are: as the config says it, or files do at
//! that moment. Blocks while it reads.

use std::fs;
use std::path::{Path, PathBuf};

use super::kubeconfig;
use super::plugin::Plugin;
use crate::config::{Address, Cluster, Kubernetes, SecretSource, Tls, Transport};
use crate::net::Given;
use crate::secret::SecretBytes;

pub(super) struct Plan {
    pub(super) transport: Transport,
    pub(super) given: Given,
    pub(super) who: Who,
    pub(super) namespace: Option<String>,
}

/// Who we are, beside what the connection says.
pub(super) enum Who {
    Nobody,
    Token(SecretBytes),
    Source(SecretSource),
    Plugin(Plugin),
}

/// Files of a folder, and all of them that were looked at, also if they could not be read.
pub(super) struct Files {
    folder: PathBuf,
    seen: Vec<PathBuf>,
}

/// What the kubelet puts into each pod.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const HOST: &str = "KUBERNETES_SERVICE_HOST";
const PORT: &str = "KUBERNETES_SERVICE_PORT";
/// More bytes than any of these files has.
const LARGEST: u64 = 1 << 20;

/// With the files that it was made of, beside tokens.
pub(super) fn read(cluster: &Cluster) -> (Vec<PathBuf>, Result<Plan, String>) {
    match cluster {
        Cluster::Around => {
            let mut files = Files::of(Path::new(ACCOUNT));
            let plan = around(&mut files);
            (files.seen, plan)
        }
        Cluster::Kubeconfig { path, context } => {
            let mut files = Files::of(path.parent().unwrap_or(Path::new("/")));
            let plan = kubeconfig::read(path, context.as_deref(), &mut files);
            (files.seen, plan.map_err(|why| format!("the kubeconfig {}: {why}", path.display())))
        }
        Cluster::At { transport, token } => {
            let who = token.clone().map_or(Who::Nobody, Who::Source);
            let plan =
                Plan { transport: (**transport).clone(), given: Given::default(), who, namespace: None };
            (Vec::new(), Ok(plan))
        }
    }
}

/// As each pod is told it.
fn around(files: &mut Files) -> Result<Plan, String> {
    let outside =
        |_| format!("this is no pod of a cluster ({HOST} is not set): give a `kubeconfig`, or an `address`");
    let about = |why: String| {
        format!("the account of this pod: {why} (does it have `automountServiceAccountToken: false`?)")
    };
    let host = std::env::var(HOST).map_err(outside)?;
    let port = std::env::var(PORT).unwrap_or_else(|_| "443".to_owned());
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let address: Address = format!("https://{host}:{port}").parse()?;
    let ca = files.read("ca.crt").map_err(about)?;
    let namespace = files.read("namespace").ok();
    let namespace = namespace.and_then(|it| Some(std::str::from_utf8(it.expose()).ok()?.trim().to_owned()));
    Ok(Plan {
        transport: Transport { address, tls: Tls::default() },
        given: Given { ca: Some(ca.expose().to_vec()), identity: None },
        who: Who::Source(SecretSource::File(files.path("token"))),
        namespace: namespace.filter(|it| Kubernetes::is_namespace(it)),
    })
}

impl Files {
    pub(super) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), seen: Vec::new() }
    }

    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// The whole file.
    pub(super) fn read(&mut self, name: impl AsRef<Path>) -> Result<SecretBytes, String> {
        let path = self.path(name);
        self.seen.push(path.clone());
        let cannot = |error: std::io::Error| format!("cannot be read ({}): {error}", path.display());
        if fs::metadata(&path).map_err(cannot)?.len() > LARGEST {
            return Err(format!("is too large ({})", path.display()));
        }
        fs::read(&path).map(SecretBytes::new).map_err(cannot)
    }
}
