//! A key vault of Azure, the authority that gives tokens for it, and what tells a machine who it is, in the test's own
//! process: all at one address, each as servers of that kind answer. What a client of others makes of it is judged in
//! `tests/clouds/azure`.

mod state;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::contract::Source;
use super::http::Served;
use state::{State, Version};

pub const TENANT: &str = "8b1ab8c5-0000-4000-8000-000000000001";
pub const CLIENT: &str = "4f3c0000-0000-4000-8000-00000000000a";
pub const SECRET: &str = "the-secret~of.the_application";
/// What the platform wants to see before it gives a token.
pub const HEADER: &str = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a";

#[derive(Clone)]
pub struct Azure {
    pub served: Served,
    state: Arc<Mutex<State>>,
}

impl Azure {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::new()));
        let known = state.clone();
        let served = Served::start(move |request| known.lock().unwrap().answer(request));
        Self { served, state }
    }

    pub fn url(&self) -> String {
        self.served.url()
    }

    /// A new version of it; its id.
    pub fn put(&self, name: &str, value: &str) -> String {
        self.put_with(name, value, json!({}))
    }

    pub fn put_with(&self, name: &str, value: &str, attributes: Value) -> String {
        let mut state = self.state.lock().unwrap();
        // The first digits tell two of them apart.
        state.versions += 1 << 100;
        let id = format!("{:032x}", state.versions);
        let version = Version { id: id.clone(), value: value.to_owned(), attributes };
        state.secrets.entry(name.to_lowercase()).or_default().push(version);
        id
    }

    pub fn delete(&self, name: &str) {
        self.state.lock().unwrap().secrets.remove(name);
    }

    /// From now on the application has this secret, too.
    pub fn add_secret(&self, secret: &str) {
        self.state.lock().unwrap().app_secrets.insert(secret.to_owned());
    }

    /// It is good no more, nor is what was given for it.
    pub fn revoke_secret(&self, secret: &str) {
        let mut state = self.state.lock().unwrap();
        state.app_secrets.remove(secret);
        state.tokens.retain(|_, given_for| given_for != secret);
    }

    pub fn set_federated(&self, token: &str) {
        self.state.lock().unwrap().federated = token.to_owned();
    }

    /// One that somebody else has given.
    pub fn add_token(&self, token: &str) {
        self.state.lock().unwrap().tokens.insert(token.to_owned(), String::new());
    }

    /// No token of before is good.
    pub fn forget_tokens(&self) {
        self.state.lock().unwrap().tokens.clear();
    }

    /// How long tokens from now on are good.
    pub fn set_life(&self, seconds: u64) {
        self.state.lock().unwrap().life = seconds;
    }

    /// Whom it wants a token to be for.
    pub fn set_resource(&self, resource: &str) {
        self.state.lock().unwrap().resource = Some(resource.to_owned());
    }

    /// Whom applications have asked for tokens for.
    pub fn scopes(&self) -> Vec<String> {
        self.state.lock().unwrap().scopes.clone()
    }

    pub fn set_elsewhere(&self, link: Option<&str>) {
        self.state.lock().unwrap().elsewhere = link.map(str::to_owned);
    }

    /// All questions for secrets are answered with this.
    pub fn refuse_all(&self, refusal: Option<(u16, Value)>) {
        self.state.lock().unwrap().refuses = refusal;
    }

    pub fn tokens_given(&self) -> usize {
        self.state.lock().unwrap().given
    }

    /// What applications have said of themselves, signed.
    pub fn assertions(&self) -> Vec<String> {
        self.state.lock().unwrap().assertions.clone()
    }

    /// The paths and queries of all questions.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    /// How many values it has given.
    pub fn values_asked(&self) -> usize {
        self.asked().iter().filter(|asked| asked.starts_with("+/secrets/")).count()
    }
}

/// The same, as what holds secrets for the rules of `contract`.
pub struct InAzure {
    azure: Azure,
    folder: TempDir,
}

impl InAzure {
    pub fn new() -> Self {
        Self { azure: Azure::start(), folder: TempDir::with_prefix("secretfs-azure-").unwrap() }
    }

    fn with_secret(&self, secret: &str) -> String {
        let file = self.folder.path().join(secret);
        std::fs::write(&file, format!("{secret}\n")).unwrap();
        format!("type: azure-kv, address: '{0}', {1}", self.azure.url(), by_secret(&self.azure.url(), &file))
    }
}

/// The settings of an application that asks this authority, with its secret from this file.
pub fn by_secret(authority: &str, file: &std::path::Path) -> String {
    let file = file.display();
    format!(
        "auth: {{method: client-secret, tenant_id: {TENANT}, client_id: {CLIENT}, client_secret: 'file:{file}', \
         authority: '{authority}'}}"
    )
}

impl Source for InAzure {
    fn provider(&self) -> String {
        self.with_secret(SECRET)
    }

    fn put(&self, name: &str, value: &[u8]) {
        self.azure.put(name, std::str::from_utf8(value).expect("a text"));
    }

    fn delete(&self, name: &str) {
        self.azure.delete(name);
    }

    fn stop(&self) {
        self.azure.served.stop();
    }

    fn start(&self) {
        self.azure.served.start_again();
    }

    fn questions(&self) -> Option<usize> {
        Some(self.azure.values_asked())
    }

    fn only_texts(&self) -> Option<&'static str> {
        Some("a secret there is a text of JSON, which is UTF-8")
    }

    /// One form of each name, which knows no case there.
    fn takes(&self, name: &str) -> bool {
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    }

    fn fields(&self) -> Option<&'static str> {
        Some("")
    }

    fn intruder(&self) -> Option<(String, &'static str)> {
        Some((self.with_secret("another"), "refuses the secret of the application"))
    }
}
