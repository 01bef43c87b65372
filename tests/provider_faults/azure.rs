//! A key vault of Azure, of our own making, and the application that asks it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::azure::{Azure, by_secret};
use crate::servers::Server;
use crate::trouble::Trouble;

/// Each scene has a secret of its own, and one that the application is known by.
static SECRETS: AtomicUsize = AtomicUsize::new(0);

impl Server for Azure {
    const NAME: &'static str = "azure-kv";
    const ABOVE: &'static str = "";

    fn start() -> Self {
        Self::start()
    }

    fn address(&self) -> SocketAddr {
        self.served.address
    }

    fn put(&self, secret: &str, value: &str) {
        self.put(secret, value);
    }

    fn settings(&self, credential: &Path) -> String {
        format!("type: azure-kv, {}", by_secret(&self.url(), credential))
    }

    fn grant(&self, credential: &Path) {
        let secret = format!("secret-{}", SECRETS.fetch_add(1, Ordering::Relaxed));
        self.add_secret(&secret);
        fs::write(credential, secret).unwrap();
    }

    fn revoke(&self, credential: &Path) {
        self.revoke_secret(&fs::read_to_string(credential).unwrap());
    }

    fn stop(&self) {
        self.served.stop();
    }

    fn start_again(&self) {
        self.served.start_again();
    }

    fn has(trouble: &Trouble) -> bool {
        !matches!(trouble, Trouble::Sealed)
    }
}
