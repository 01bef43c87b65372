//! A fake of Google's Secret Manager and of those who give tokens for it, in the test's own process. It answers as
//! their documents say, counts what it is asked, and believes no token that it has not given or cannot check. That it
//! is one is judged by Google's own client, which reads from it (`tests/clouds/gcp/judge.rs`).

mod secrets;
mod tokens;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::contract::Source;
use super::http::{Request, Response, serve_while};
pub use secrets::Secret;

pub const PROJECT: &str = "p-1";
pub const REFRESH: &str = "31337-refresh";
pub const SUBJECT: &str = "31337-subject";
pub const AUDIENCE: &str =
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b";
/// Whose part may be played.
pub const ACCOUNT: &str = "part@p-1.iam.gserviceaccount.com";

pub struct Gcp {
    pub state: Arc<Mutex<State>>,
    address: SocketAddr,
    is_up: Arc<AtomicBool>,
    folder: TempDir,
}

#[derive(Default)]
pub struct State {
    /// By what stands between `projects/` and `/versions/`.
    pub secrets: BTreeMap<String, Secret>,
    /// Public keys of service accounts, by their id, with their owner.
    keys: BTreeMap<String, (String, Vec<u8>)>,
    tokens: BTreeSet<String>,
    given: usize,
    /// Seconds that a token is good.
    pub life: u64,
    /// What was asked, in a word.
    pub calls: Vec<&'static str>,
    /// The headers of the last question for a secret.
    pub quota_project: Option<String>,
    /// What is answered in place of the next questions for a secret.
    pub instead: VecDeque<Response>,
    /// Answers with a sum that is not of their bytes.
    pub damaged: usize,
}

impl Gcp {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State { life: 3599, ..State::default() }));
        let folder = TempDir::with_prefix("secretfs-gcp-").expect("a folder");
        let gcp = Self { state, address, is_up: Arc::default(), folder };
        gcp.serve(listener);
        gcp.grant(&gcp.key());
        gcp
    }

    fn serve(&self, listener: TcpListener) {
        self.is_up.store(true, Ordering::SeqCst);
        let (state, is_up) = (self.state.clone(), self.is_up.clone());
        serve_while(listener, is_up, move |request| answer(&mut state.lock().unwrap(), request));
    }

    pub fn stop(&self) {
        self.is_up.store(false, Ordering::SeqCst);
        // Whoever waits for a connection has one, and goes.
        while TcpStream::connect(self.address).is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn start_again(&self) {
        let listener = (0..200).find_map(|_| {
            thread::sleep(Duration::from_millis(10));
            TcpListener::bind(self.address).ok()
        });
        self.serve(listener.expect("the port is free again"));
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often it was asked for this.
    pub fn calls(&self, what: &str) -> usize {
        self.state().calls.iter().filter(|it| **it == what).count()
    }

    pub fn put(&self, name: &str, value: impl AsRef<[u8]>) {
        self.put_at(&format!("{PROJECT}/secrets/{name}"), value.as_ref());
    }

    /// A new version, which is the latest then.
    pub fn put_at(&self, place: &str, value: &[u8]) {
        self.state().secrets.entry(place.to_owned()).or_default().add(value);
    }

    pub fn with<T>(&self, name: &str, change: impl FnOnce(&mut Secret) -> T) -> T {
        change(self.state().secrets.get_mut(&format!("{PROJECT}/secrets/{name}")).expect("it is there"))
    }

    pub fn delete(&self, name: &str) {
        self.state().secrets.remove(&format!("{PROJECT}/secrets/{name}"));
    }

    pub fn file(&self, name: &str, content: &Value) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content.to_string()).expect("a file");
        path
    }

    /// Where the key of a service account lies that it knows.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.json")
    }

    /// A service account's key, in this file, that is good from now on.
    pub fn grant(&self, file: &Path) {
        let (pair, email) =
            (KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key"), "app@p-1.iam.gserviceaccount.com");
        let id = format!("key-{}", self.state().keys.len());
        let content = json!({
            "type": "service_account", "project_id": PROJECT, "private_key_id": id, "private_key": pair.serialize_pem(),
            "client_email": email, "client_id": "1", "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": format!("{}/token", self.url()), "universe_domain": "googleapis.com",
        });
        fs::write(file, content.to_string()).expect("a file");
        self.state().keys.insert(id, (email.to_owned(), pair.der_bytes().to_vec()));
    }

    /// Of a person who has logged in; `payer`, if that is not empty.
    pub fn user_file(&self, name: &str, payer: &str) -> PathBuf {
        self.file(name, &self.user(payer))
    }

    fn user(&self, payer: &str) -> Value {
        let mut user = json!({
            "type": "authorized_user", "client_id": "c-1", "client_secret": "31337-client", "refresh_token": REFRESH,
            "token_uri": format!("{}/token", self.url()),
        });
        if !payer.is_empty() {
            user["quota_project_id"] = payer.into();
        }
        user
    }

    fn external(&self, source: Value) -> Value {
        json!({
            "type": "external_account", "audience": AUDIENCE, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("{}/v1/token", self.url()), "credential_source": source,
        })
    }

    /// A file of credentials of each kind, and what has to be asked before a secret can be.
    pub fn all_kinds(&self) -> Vec<(&'static str, PathBuf, Vec<&'static str>)> {
        let subject = self.folder.path().join("subject");
        fs::write(&subject, SUBJECT).expect("a file");
        let part = "service_account_impersonation_url";
        let url = format!("{}/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken", self.url());
        let of_file = self.external(json!({"file": subject}));
        let mut playing = of_file.clone();
        playing[part] = url.clone().into();
        let of_url = self.external(json!({
            "url": format!("{}/subject", self.url()), "headers": {"X-Own": "31337-header"},
            "format": {"type": "json", "subject_token_field_name": "id_token"},
        }));
        let mut impersonated =
            json!({"type": "impersonated_service_account", "source_credentials": self.user("")});
        impersonated[part] = url.into();
        vec![
            ("key", self.key(), vec![]),
            ("user", self.user_file("kind-user", ""), vec!["token"]),
            ("federated by a file", self.file("kind-file", &of_file), vec!["exchange"]),
            ("federated by a URL", self.file("kind-url", &of_url), vec!["subject", "exchange"]),
            (
                "federated and impersonating",
                self.file("kind-playing", &playing),
                vec!["exchange", "impersonate"],
            ),
            ("impersonated", self.file("kind-impersonated", &impersonated), vec!["token", "impersonate"]),
        ]
    }

    /// No key and no token is good any more.
    pub fn revoke(&self) {
        let mut state = self.state();
        // Their number stays, so that no id is given twice.
        state.keys.values_mut().for_each(|(email, _)| email.clear());
        state.tokens.clear();
    }

    /// The settings of a provider that has these credentials.
    pub fn provider(&self, key: &Path) -> String {
        format!("{}, auth: {{key: 'file:{}'}}", self.settings(), key.display())
    }

    pub fn settings(&self) -> String {
        format!("type: gcp-sm, project: {PROJECT}, address: '{}'", self.url())
    }
}

fn answer(state: &mut State, request: &Request) -> Response {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    match (request.method.as_str(), path) {
        ("POST", "/token") => state.token(request),
        ("POST", "/v1/token") => state.exchange(request),
        ("GET", "/subject") => state.subject(request),
        ("GET", "/") => Response::new(200, "").header("Metadata-Flavor: Google"),
        ("GET", path) if path.starts_with("/computeMetadata/") => state.machine(request, path),
        ("POST", path) if path.ends_with(":generateAccessToken") => state.impersonate(request, path),
        ("GET", path) if path.starts_with("/v1/projects/") => {
            state.secret(request, &path["/v1/projects/".len()..], query)
        }
        _ => Response::new(404, "<html>no such page"),
    }
}

/// As Google says no.
pub fn refused(code: u16, status: &str, message: &str, details: Value) -> Response {
    let error = json!({"error": {"code": code, "status": status, "message": message, "details": details}});
    Response::new(code, error.to_string()).header("Content-Type: application/json; charset=UTF-8")
}

fn told(content: &Value) -> Response {
    Response::new(200, content.to_string()).header("Content-Type: application/json; charset=UTF-8")
}

/// For the contract of all providers.
impl Source for Gcp {
    fn provider(&self) -> String {
        self.provider(&self.key())
    }

    fn put(&self, name: &str, value: &[u8]) {
        self.put(name, value);
    }

    fn delete(&self, name: &str) {
        self.delete(name);
    }

    fn stop(&self) {
        self.stop();
    }

    fn start(&self) {
        self.start_again();
    }

    fn questions(&self) -> Option<usize> {
        assert_eq!(self.calls("list"), 0, "lists have a quota a hundred times smaller");
        Some(self.calls("access"))
    }

    fn takes(&self, name: &str) -> bool {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    }

    /// As much as Google takes.
    fn largest(&self) -> usize {
        64 << 10
    }

    fn fields(&self) -> Option<&'static str> {
        Some("")
    }

    fn intruder(&self) -> Option<(String, &'static str)> {
        let other = self.folder.path().join("other.json");
        self.grant(&other);
        self.state().keys.pop_last();
        Some((self.provider(&other), "does not take the token"))
    }
}
