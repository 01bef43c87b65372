//! Google's Secret Manager: the fake that Google's own client takes for one.

use std::net::SocketAddr;
use std::path::Path;

use crate::common::gcp::{Gcp, PROJECT};
use crate::servers::Server;
use crate::trouble::Trouble;

impl Server for Gcp {
    const NAME: &'static str = "gcp-sm";
    const ABOVE: &'static str = "";

    fn start() -> Self {
        Gcp::start()
    }

    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn put(&self, secret: &str, value: &str) {
        self.put(secret, value);
    }

    fn settings(&self, credential: &Path) -> String {
        format!("type: gcp-sm, project: {PROJECT}, auth: {{key: 'file:{}'}}", credential.display())
    }

    fn grant(&self, credential: &Path) {
        self.grant(credential);
    }

    fn revoke(&self, _credential: &Path) {
        self.revoke();
    }

    fn stop(&self) {
        self.stop();
    }

    fn start_again(&self) {
        self.start_again();
    }

    fn has(trouble: &Trouble) -> bool {
        !matches!(trouble, Trouble::Sealed)
    }
}
