//! A key vault of Azure, of our own making, and the application that asks it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::azure::{Azure, by_secret};
use crate::servers::Server;
use crate::trouble::Trouble;

/// One for all: each scene has a secret and a credential of its own.
pub(crate) struct Azures(Azure);

static ALL: OnceLock<Azure> = OnceLock::new();
static CREDENTIALS: AtomicUsize = AtomicUsize::new(0);

fn all() -> &'static Azure {
    ALL.get_or_init(Azure::start)
}

impl Server for Azures {
    const NAME: &'static str = "azure-kv";
    const ABOVE: &'static str = "";

    fn start() -> Self {
        Self(all().clone())
    }

    fn address(&self) -> SocketAddr {
        self.0.address
    }

    fn put(&self, secret: &str, value: &str) {
        self.0.put(secret, value);
    }

    fn settings(credential: &Path) -> String {
        format!("type: azure-kv, {}", by_secret(&all().url(), credential))
    }

    fn grant(&self, credential: &Path) {
        let secret = format!("secret-{}", CREDENTIALS.fetch_add(1, Ordering::Relaxed));
        self.0.add_secret(&secret);
        fs::write(credential, secret).unwrap();
    }

    fn revoke(&self, credential: &Path) {
        self.0.revoke_secret(&fs::read_to_string(credential).unwrap());
    }

    /// Nobody comes to it while it is not there.
    fn stop(&self) {}

    fn start_again(&self) {}

    fn has(trouble: &Trouble) -> bool {
        !matches!(trouble, Trouble::Sealed)
    }
}
