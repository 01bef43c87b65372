//! What the contract of all providers is tried with: secrets of the fake cluster, and of the real one.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};

use super::{Cluster, Fake, Real};
use crate::common::contract::Source;
use crate::common::etcd::Relay;

pub struct InCluster {
    fake: Fake,
    kubeconfig: PathBuf,
}

const OWN: &str = "own";

impl InCluster {
    pub fn new() -> Self {
        let fake = Fake::start();
        let kubeconfig = fake.kubeconfig("kubeconfig", OWN, json!({ "token": fake.admin() }));
        Self { fake, kubeconfig }
    }
}

impl Source for InCluster {
    fn provider(&self) -> String {
        format!("type: kubernetes, kubeconfig: '{}'", self.kubeconfig.display())
    }

    fn put(&self, name: &str, value: &[u8]) {
        put(&self.fake, OWN, name, value);
    }

    fn delete(&self, name: &str) {
        let (namespace, name) = placed(OWN, name);
        self.fake.delete("secrets", namespace, name);
    }

    fn stop(&self) {
        self.fake.stop();
    }

    fn start(&self) {
        self.fake.start_again();
    }

    fn questions(&self) -> Option<usize> {
        Some(self.fake.asked("get"))
    }

    fn tells(&self) -> bool {
        true
    }

    fn fields(&self) -> Option<&'static str> {
        Some("")
    }

    fn intruder(&self) -> Option<(String, &'static str)> {
        let kubeconfig = self.fake.kubeconfig("wrong", OWN, json!({"token": "hunter2-wrong"}));
        Some((format!("type: kubernetes, kubeconfig: '{}'", kubeconfig.display()), "refuses our token"))
    }
}

/// A namespace of the real one that all tests share, behind a line that can be cut.
pub struct OnReal {
    real: &'static Real,
    relay: Relay,
    own: String,
}

impl OnReal {
    pub fn new() -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let real = Real::shared()?;
        let own = format!("own-{}", COUNT.fetch_add(1, Ordering::SeqCst));
        real.make_namespace(&own);
        Some(Self { real, relay: Relay::to(real.port()), own })
    }

    fn with(&self, name: &str, token: &str) -> String {
        let mut server = self.real.server();
        server["server"] = format!("https://127.0.0.1:{}", self.relay.port()).into();
        let file = json!({"current-context": "one",
            "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u", "namespace": self.own}}],
            "clusters": [{"name": "c", "cluster": server}], "users": [{"name": "u", "user": {"token": token}}]});
        let path = self.real.folder().join(format!("{name}-{}", self.own));
        std::fs::write(&path, file.to_string()).unwrap();
        format!("type: kubernetes, kubeconfig: '{}'", path.display())
    }
}

impl Source for OnReal {
    fn provider(&self) -> String {
        self.with("kubeconfig", &self.real.admin())
    }

    fn put(&self, name: &str, value: &[u8]) {
        put(self.real, &self.own, name, value);
    }

    fn delete(&self, name: &str) {
        let (namespace, name) = placed(&self.own, name);
        self.real.delete("secrets", namespace, name);
    }

    fn stop(&self) {
        self.relay.cut();
    }

    fn start(&self) {
        self.relay.mend();
    }

    fn questions(&self) -> Option<usize> {
        Some(self.real.asked("get", &self.own) + self.real.asked("get", "many"))
    }

    fn tells(&self) -> bool {
        true
    }

    fn fields(&self) -> Option<&'static str> {
        Some("")
    }

    fn intruder(&self) -> Option<(String, &'static str)> {
        Some((self.with("wrong", "hunter2-wrong"), "refuses our token"))
    }
}

fn placed<'a>(own: &'a str, name: &'a str) -> (&'a str, &'a str) {
    name.split_once('/').unwrap_or((own, name))
}

/// An object of JSON is a secret of several keys; of a single key the name is no matter.
fn put(cluster: &impl Cluster, own: &str, name: &str, value: &[u8]) {
    let (namespace, name) = placed(own, name);
    let object = serde_json::from_slice::<Map<String, Value>>(value).unwrap_or_default();
    let mut fields: Vec<_> =
        object.iter().map(|(key, value)| (&**key, value.as_str().unwrap().as_bytes())).collect();
    if fields.is_empty() {
        fields.push(("password", value));
    }
    cluster.put(namespace, name, &fields);
}
