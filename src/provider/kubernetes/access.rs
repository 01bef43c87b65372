//! The way into a cluster: where its server is, whom to believe that it is the server, and who we are, as the files
//! say it at that moment. Files that change are read again. Uses `net` and own secrets.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::super::apart::Apart;
use super::super::login::Login;
use super::super::{OwnSecret, Provider, ProviderError};
use super::kubeconfig::{self, bytes_of};
use super::place::is_name;
use super::plugin::{Plugin, Told};
use crate::config::{Address, Cluster, Kubernetes, SecretSource, Tls, Transport};
use crate::net::{Client, Given};
use crate::poison::EvenPoisoned;
use crate::secret::SecretBytes;
use crate::sys::leftover;
use crate::sys::uptime::Uptime;

pub(super) struct Access {
    cluster: Cluster,
    namespace: Option<String>,
    store: Option<Arc<dyn Provider>>,
    /// In milliseconds.
    timeout: AtomicU64,
    apart: Apart,
    /// Held while files are read: the others need the same.
    turn: tokio::sync::Mutex<()>,
    open: Mutex<Option<Opened>>,
    /// The number of the way in that is open.
    ways: AtomicU64,
}

/// What the files have come to.
#[derive(Clone)]
struct Opened {
    door: Arc<Door>,
    prints: Prints,
    looked: Uptime,
}

type Prints = Vec<(PathBuf, Option<Print>)>;

/// Tells a file from the one that was there before.
type Print = (u64, u64, i64, i64, u64);

/// What is made of files, or of the config.
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
    File(PathBuf),
    Source(SecretSource),
    Plugin(Plugin),
}

/// A way in that is open.
pub(super) struct Door {
    pub(super) client: Client,
    /// Of names that say none.
    pub(super) namespace: String,
    /// Counts the ways in: names may mean something else by another one.
    pub(super) number: u64,
    tokens: Tokens,
}

enum Tokens {
    None,
    Fixed(Arc<SecretBytes>),
    /// Read each time: the kubelet writes a new one before the old one ends.
    Read(OwnSecret),
    Plugin(Arc<Plugin>, Login<Arc<SecretBytes>>),
}

/// What the kubelet puts into each pod.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const HOST: &str = "KUBERNETES_SERVICE_HOST";
const PORT: &str = "KUBERNETES_SERVICE_PORT";
const DEFAULT: &str = "default";
/// After which files are looked at again.
const LOOK: Duration = Duration::from_secs(1);
/// For so long a look at files keeps those who have a way in already: they may lie on what does not answer.
const MOMENT: Duration = Duration::from_secs(1);
/// How often files are read again that have changed meanwhile.
const ROUNDS: usize = 3;
/// Of a token that says no end.
const UNTOLD: Duration = Duration::from_secs(12 * 3600);

impl Access {
    pub(super) fn new(settings: Kubernetes, timeout: Duration, store: Option<Arc<dyn Provider>>) -> Self {
        let access = Self {
            cluster: settings.cluster,
            namespace: settings.namespace,
            store,
            timeout: AtomicU64::default(),
            apart: Apart::new(),
            turn: tokio::sync::Mutex::default(),
            open: Mutex::default(),
            ways: AtomicU64::default(),
        };
        access.allow(timeout);
        access
    }

    pub(super) fn allow(&self, timeout: Duration) {
        self.timeout.store(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(open) = &*self.open.lock().even_poisoned() {
            open.door.client.allow(timeout);
        }
    }

    /// The number of the way that is open.
    pub(super) fn way(&self) -> u64 {
        self.ways.load(Ordering::Acquire)
    }

    pub(super) fn sweep(&self) {
        if let Some(open) = &*self.open.lock().even_poisoned() {
            open.door.client.sweep();
        }
    }

    /// As the files are now, or were a moment ago. Files that cannot be used, or not be looked at for now, leave those
    /// before in force.
    pub(super) async fn door(&self) -> Result<Arc<Door>, ProviderError> {
        if let Some(door) = self.known() {
            return Ok(door);
        }
        let before = self.open.lock().even_poisoned().as_ref().map(|it| it.door.clone());
        let Some(before) = before else { return self.looked().await };
        tokio::time::timeout(MOMENT, self.looked()).await.unwrap_or_else(|_| {
            if let Some(open) = &mut *self.open.lock().even_poisoned() {
                open.looked = Uptime::now();
            }
            Ok(before)
        })
    }

    async fn looked(&self) -> Result<Arc<Door>, ProviderError> {
        let _turn = self.turn.lock().await;
        if let Some(door) = self.known() {
            return Ok(door);
        }
        let before = self.open.lock().even_poisoned().clone();
        let paths = match &before {
            Some(before) => before.prints.iter().map(|(path, _)| path.clone()).collect(),
            None => first_files(&self.cluster),
        };
        let prints = self.prints(paths).await?;
        if let Some(mut open) = before.clone().filter(|it| it.prints == prints) {
            open.looked = Uptime::now();
            return Ok(self.put(open));
        }
        match (self.opened(prints).await?, before) {
            ((prints, Ok(door)), _) => {
                let open = Opened { door: Arc::new(door), prints, looked: Uptime::now() };
                self.ways.store(open.door.number, Ordering::Release);
                Ok(self.put(open))
            }
            ((prints, Err(error)), Some(before)) => {
                tracing::warn!(%error, "the new way into the cluster cannot be used: the one before stays in force");
                Ok(self.put(Opened { prints, looked: Uptime::now(), ..before }))
            }
            ((_, Err(error)), None) => Err(error),
        }
    }

    fn put(&self, open: Opened) -> Arc<Door> {
        let door = open.door.clone();
        *self.open.lock().even_poisoned() = Some(open);
        door
    }

    fn known(&self) -> Option<Arc<Door>> {
        let open = self.open.lock().even_poisoned();
        let is_good = |it: &&Opened| it.prints.is_empty() || Uptime::now().since(it.looked) < LOOK;
        open.as_ref().filter(is_good).map(|it| it.door.clone())
    }

    /// With the prints of all that was looked at, taken before it was read: what changes meanwhile is read again.
    async fn opened(
        &self,
        mut prints: Prints,
    ) -> Result<(Prints, Result<Door, ProviderError>), ProviderError> {
        let mut round = 1;
        loop {
            let cluster = self.cluster.clone();
            let planned = move || {
                let mut files = Vec::new();
                let plan = leftover::wiped(|| plan(&cluster, &mut files));
                (files, plan)
            };
            let (files, plan) = self.apart.does(planned).await.map_err(no_thread)?;
            if round == ROUNDS || prints.iter().map(|(path, _)| path).eq(&files) {
                return Ok((prints, plan.map_err(ProviderError::Unavailable).map(|plan| self.door_of(plan))));
            }
            prints = self.prints(files).await?;
            round += 1;
        }
    }

    fn door_of(&self, plan: Plan) -> Door {
        let namespace = self.namespace.clone().or(plan.namespace).unwrap_or_else(|| DEFAULT.to_owned());
        let timeout = Duration::from_millis(self.timeout.load(Ordering::Relaxed));
        let client = Client::given(plan.transport, plan.given, timeout);
        let own = |source| Tokens::Read(OwnSecret::new(source, self.store.clone()));
        let tokens = match plan.who {
            Who::Nobody => Tokens::None,
            Who::Token(token) => Tokens::Fixed(Arc::new(token)),
            Who::File(path) => own(SecretSource::File(path)),
            Who::Source(source) => own(source),
            Who::Plugin(plugin) => Tokens::Plugin(Arc::new(plugin), Login::default()),
        };
        Door { client, namespace, number: self.way() + 1, tokens }
    }

    async fn prints(&self, paths: Vec<PathBuf>) -> Result<Prints, ProviderError> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let print = |path: PathBuf| {
            let print = print_of(&path);
            (path, print)
        };
        self.apart.does(move || paths.into_iter().map(print).collect()).await.map_err(no_thread)
    }
}

fn no_thread(error: std::io::Error) -> ProviderError {
    ProviderError::Unavailable(format!("no thread reads its files: {error}"))
}

fn print_of(path: &Path) -> Option<Print> {
    let it = fs::metadata(path).ok()?;
    Some((it.dev(), it.ino(), it.mtime(), it.mtime_nsec(), it.size()))
}

/// Those that are read in any case.
fn first_files(cluster: &Cluster) -> Vec<PathBuf> {
    match cluster {
        Cluster::Around => vec![authority(Path::new(ACCOUNT))],
        Cluster::Kubeconfig { path, .. } => vec![path.clone()],
        Cluster::At { .. } => Vec::new(),
    }
}

/// Blocks while it reads. `files`: what it looks at, beside tokens.
fn plan(cluster: &Cluster, files: &mut Vec<PathBuf>) -> Result<Plan, String> {
    match cluster {
        Cluster::Around => around(Path::new(ACCOUNT), files),
        Cluster::Kubeconfig { path, context } => kubeconfig::read(path, context.as_deref(), files)
            .map_err(|why| format!("the kubeconfig {}: {why}", path.display())),
        Cluster::At { transport, token } => Ok(Plan {
            transport: (**transport).clone(),
            given: Given::default(),
            who: token.clone().map_or(Who::Nobody, Who::Source),
            namespace: None,
        }),
    }
}

fn authority(account: &Path) -> PathBuf {
    account.join("ca.crt")
}

/// As each pod is told it.
fn around(account: &Path, files: &mut Vec<PathBuf>) -> Result<Plan, String> {
    files.push(authority(account));
    let outside =
        || format!("this is no pod of a cluster ({HOST} is not set): give a `kubeconfig`, or an `address`");
    let host = std::env::var(HOST).map_err(|_| outside())?;
    let port = std::env::var(PORT).unwrap_or_else(|_| "443".to_owned());
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let address: Address = format!("https://{host}:{port}").parse()?;
    let about = |why: String| {
        format!("the account of this pod: {why} (does it have `automountServiceAccountToken: false`?)")
    };
    let ca = bytes_of(&authority(account)).map_err(about)?;
    let namespace = bytes_of(&account.join("namespace")).ok();
    let namespace = namespace.and_then(|it| Some(std::str::from_utf8(it.expose()).ok()?.trim().to_owned()));
    Ok(Plan {
        transport: Transport { address, tls: Tls::default() },
        given: Given { ca: Some(ca.expose().to_vec()), identity: None },
        who: Who::File(account.join("token")),
        namespace: namespace.filter(|it| is_name(it, 63)),
    })
}

impl Door {
    /// What is sent along. `void`: that one was refused; the same one is not given again.
    pub(super) async fn token(
        &self,
        void: Option<&Arc<SecretBytes>>,
    ) -> Result<Option<Arc<SecretBytes>>, ProviderError> {
        match &self.tokens {
            Tokens::None => Ok(None),
            Tokens::Fixed(token) => Ok(Some(token.clone())),
            Tokens::Read(own) => Ok(Some(Arc::new(own.read().await?))),
            Tokens::Plugin(plugin, login) => {
                let run = || {
                    let plugin = plugin.clone();
                    async move { Ok(lent(plugin.run().await?)) }
                };
                let pass = login.pass(run).await?;
                if !void.is_some_and(|void| pass.same_as(void.expose())) {
                    return Ok(Some((**pass).clone()));
                }
                login.refuse(&pass, || {
                    ProviderError::Denied(format!("{} refuses the token of `{}`", self.who(), plugin.command))
                });
                Ok(Some((**login.pass(run).await?).clone()))
            }
        }
    }

    pub(super) fn who(&self) -> String {
        self.client.address().authority()
    }
}

/// With the time that it has left.
fn lent(told: Told) -> (Arc<SecretBytes>, Duration) {
    let left =
        |until: Timestamp| Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
    (Arc::new(told.token), told.until.map_or(UNTOLD, left))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "{current-context: a, contexts: [{name: a, context: {cluster: c}}], \
        clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1', CA}}]}";

    #[tokio::test]
    async fn files_that_come_later_are_seen_and_those_before_are_in_force_until_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let write = |ca: &str| fs::write(&path, FILE.replace("CA", ca)).unwrap();
        write("");
        let cluster = Cluster::Kubeconfig { path: path.clone(), context: None };
        let access = Access::new(Kubernetes { cluster, namespace: None }, Duration::from_secs(4), None);
        let number = async || {
            if let Some(open) = &mut *access.open.lock().even_poisoned() {
                open.looked = Uptime::START;
            }
            access.door().await.unwrap().number
        };
        assert_eq!((number().await, number().await), (1, 1), "it is the same");
        write("certificate-authority: ca.pem");
        assert_eq!(number().await, 1, "there is no such file");
        fs::write(folder.path().join("ca.pem"), "x").unwrap();
        assert_eq!(number().await, 2);
        let turn = access.turn.lock().await;
        assert_eq!(number().await, 2, "a look that does not end keeps nobody");
        drop(turn);
        fs::write(folder.path().join("ca.pem"), "y, and more").unwrap();
        assert_eq!(number().await, 3);
    }
}
