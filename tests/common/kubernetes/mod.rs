//! Clusters for tests: a fake of the API server in the test's own process, and the real one where it was built. What
//! holds for the one is tried with the other, so that the fake is judged.

mod fake;
mod real;
mod source;
mod speech;

pub use fake::{Fake, Rights};
pub use real::Real;
pub use source::{InCluster, OnReal};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What tests do to a cluster.
pub trait Cluster {
    /// `{"kind": …, "metadata": {…}, "data": {…}}`: made, or put in the place of what is there. Its namespace comes to be.
    fn apply(&self, object: Value);
    /// `kind` in the plural: `secrets`.
    fn delete(&self, kind: &str, namespace: &str, name: &str);
    /// Where it is, as a kubeconfig has it.
    fn server(&self) -> Value;
    /// A token of somebody who may get and watch these secrets of a namespace, and nothing else.
    fn token_for(&self, namespace: &str, names: &[&str]) -> String;
    /// A token that may do everything.
    fn admin(&self) -> String;
    /// A folder for files.
    fn folder(&self) -> &Path;

    fn put(&self, namespace: &str, name: &str, fields: &[(&str, &[u8])]) {
        self.apply(secret(namespace, name, fields));
    }

    /// A kubeconfig of whoever this is.
    fn kubeconfig(&self, name: &str, namespace: &str, user: Value) -> PathBuf {
        let file = json!({"apiVersion": "v1", "kind": "Config", "current-context": "one",
            "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
            "clusters": [{"name": "c", "cluster": self.server()}], "users": [{"name": "u", "user": user}]});
        let path = self.folder().join(name);
        let new = path.with_extension("new");
        std::fs::write(&new, file.to_string()).unwrap();
        std::fs::rename(new, &path).unwrap();
        path
    }
}

pub fn secret(namespace: &str, name: &str, fields: &[(&str, &[u8])]) -> Value {
    let data: BTreeMap<_, _> = fields.iter().map(|(key, value)| (*key, STANDARD.encode(value))).collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name}, "data": data})
}
