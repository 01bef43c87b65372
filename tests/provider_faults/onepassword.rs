//! A Connect server of our own making, and tokens for it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::onepassword::OnePassword;
use crate::servers::Server;
use crate::trouble::Trouble;

/// With the id of its vault.
pub(crate) struct OnePasswords(OnePassword, String);

/// Each scene has an item and a token of its own.
static TOKENS: AtomicUsize = AtomicUsize::new(0);

impl Server for OnePasswords {
    const NAME: &'static str = "1password";
    const ABOVE: &'static str = "Prod/";

    fn start() -> Self {
        let server = OnePassword::start();
        let vault = server.add_vault("Prod");
        Self(server, vault)
    }

    fn address(&self) -> SocketAddr {
        self.0.served.address
    }

    fn put(&self, secret: &str, value: &str) {
        self.0.put(&self.1, secret, value);
    }

    fn settings(&self, credential: &Path) -> String {
        format!("type: 1password, auth: {{token: 'file:{}'}}", credential.display())
    }

    fn grant(&self, credential: &Path) {
        let token = format!("token-{}", TOKENS.fetch_add(1, Ordering::Relaxed));
        self.0.add_token(&token);
        fs::write(credential, token).unwrap();
    }

    fn revoke(&self, credential: &Path) {
        self.0.revoke_token(&fs::read_to_string(credential).unwrap());
    }

    fn stop(&self) {
        self.0.served.stop();
    }

    fn start_again(&self) {
        self.0.served.start_again();
    }

    fn has(trouble: &Trouble) -> bool {
        !matches!(trouble, Trouble::Sealed)
    }
}
