//! A Connect server of our own making, and tokens for it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::onepassword::OnePassword;
use crate::servers::Server;
use crate::trouble::Trouble;

/// One for all: each scene has an item and a token of its own.
pub(crate) struct OnePasswords(OnePassword, String);

static ALL: OnceLock<(OnePassword, String)> = OnceLock::new();
static TOKENS: AtomicUsize = AtomicUsize::new(0);

impl Server for OnePasswords {
    const NAME: &'static str = "1password";
    const ABOVE: &'static str = "Prod/";

    fn start() -> Self {
        let begun = || {
            let server = OnePassword::start();
            let vault = server.add_vault("Prod");
            (server, vault)
        };
        let (server, vault) = ALL.get_or_init(begun).clone();
        Self(server, vault)
    }

    fn address(&self) -> SocketAddr {
        self.0.address
    }

    fn put(&self, secret: &str, value: &str) {
        self.0.put(&self.1, secret, value);
    }

    fn settings(credential: &Path) -> String {
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

    /// Nobody comes to it while it is not there.
    fn stop(&self) {}

    fn start_again(&self) {}

    fn has(trouble: &Trouble) -> bool {
        !matches!(trouble, Trouble::Sealed)
    }
}
