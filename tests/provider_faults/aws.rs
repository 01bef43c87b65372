//! AWS' two places for secrets, as moto has them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::common::aws::{GLOBAL, Moto, READS};
use crate::servers::Server;
use crate::trouble::Trouble;

pub(crate) struct InMoto<const IS_SECRETS: bool> {
    moto: Mutex<Option<Moto>>,
    port: u16,
    /// What is there, and whose credential lies where: one that is started anew has forgotten all.
    known: Mutex<Vec<(String, String)>>,
    granted: Mutex<Option<PathBuf>>,
    users: AtomicUsize,
}

pub(crate) type Secrets = InMoto<true>;
pub(crate) type Parameters = InMoto<false>;

const REGION: &str = "eu-central-1";

impl<const IS_SECRETS: bool> InMoto<IS_SECRETS> {
    fn with<T>(&self, with: impl FnOnce(&Moto) -> T) -> T {
        with(self.moto.lock().unwrap().as_ref().expect("it runs"))
    }

    fn write(moto: &Moto, name: &str, value: &str) {
        match IS_SECRETS {
            true => moto.put_secret(REGION, name, value.as_bytes()),
            false => moto.put_parameter(REGION, &format!("/{name}"), value),
        }
    }
}

/// The id of a key lies beside its secret.
fn id_of(credential: &Path) -> PathBuf {
    credential.with_extension("id")
}

impl<const IS_SECRETS: bool> Server for InMoto<IS_SECRETS> {
    const NAME: &'static str = if IS_SECRETS { "aws-sm" } else { "aws-ssm" };
    const ABOVE: &'static str = if IS_SECRETS { "" } else { "/" };

    fn start() -> Self {
        let moto = Moto::start();
        let port = moto.port;
        let (known, granted) = (Mutex::default(), Mutex::default());
        Self { moto: Mutex::new(Some(moto)), port, known, granted, users: AtomicUsize::new(0) }
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    fn put(&self, secret: &str, value: &str) {
        self.with(|moto| Self::write(moto, secret, value));
        self.known.lock().unwrap().push((secret.to_owned(), value.to_owned()));
    }

    fn settings(&self, credential: &Path) -> String {
        let id = id_of(credential);
        let auth = format!(
            "access_key_id: 'file:{}', secret_access_key: 'file:{}'",
            id.display(),
            credential.display()
        );
        format!("type: {}, region: {REGION}, auth: {{{auth}}}", Self::NAME)
    }

    fn grant(&self, credential: &Path) {
        let user = format!("app-{}", self.users.fetch_add(1, Ordering::SeqCst));
        let (id, secret) = self.with(|moto| moto.user(&user, &READS));
        fs::write(id_of(credential), id).unwrap();
        fs::write(credential, secret).unwrap();
        *self.granted.lock().unwrap() = Some(credential.to_owned());
    }

    fn revoke(&self, credential: &Path) {
        let id = fs::read_to_string(id_of(credential)).unwrap();
        let user = format!("app-{}", self.users.load(Ordering::SeqCst) - 1);
        let args = json!({"UserName": user, "AccessKeyId": id});
        self.with(|moto| moto.call("iam", GLOBAL, "delete_access_key", &args));
    }

    fn stop(&self) {
        *self.moto.lock().unwrap() = None;
    }

    fn start_again(&self) {
        let moto = Moto::at(self.port);
        for (name, value) in &*self.known.lock().unwrap() {
            Self::write(&moto, name, value);
        }
        *self.moto.lock().unwrap() = Some(moto);
        let credential = self.granted.lock().unwrap().clone();
        self.grant(&credential.expect("it was granted before"));
    }

    fn has(trouble: &Trouble) -> bool {
        !matches!(trouble, Trouble::Sealed)
    }
}
