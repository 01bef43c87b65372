//! A cluster of Kubernetes: the fake that the real one judges (`provider_contract.rs`, `clouds/kubernetes`).

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::kubernetes::{Cluster, Fake, Rights};
use crate::servers::Server;
use crate::trouble::Trouble;

pub(crate) struct Clusters(Fake);

impl Server for Clusters {
    const NAME: &'static str = "kubernetes";
    const ABOVE: &'static str = "";

    fn start() -> Self {
        Self(Fake::start())
    }

    fn address(&self) -> SocketAddr {
        self.0.address()
    }

    fn put(&self, secret: &str, value: &str) {
        self.0.put("default", secret, &[("password", value.as_bytes())]);
    }

    fn settings(&self, credential: &Path) -> String {
        format!("type: kubernetes, auth: {{token: 'file:{}'}}", credential.display())
    }

    fn grant(&self, credential: &Path) {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let token = format!("hunter2-token-{}", COUNT.fetch_add(1, Ordering::SeqCst));
        self.0.know(&token, Rights::All);
        fs::write(credential, format!("{token}\n")).unwrap();
    }

    fn revoke(&self, credential: &Path) {
        self.0.forget(fs::read_to_string(credential).unwrap().trim());
    }

    fn stop(&self) {
        self.0.stop();
    }

    fn start_again(&self) {
        self.0.start_again();
    }

    fn has(trouble: &Trouble) -> bool {
        !matches!(trouble, Trouble::Sealed)
    }
}
