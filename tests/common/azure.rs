//! A key vault of Azure, the authority that gives tokens for it, and what tells a machine who it is, in the test's own
//! process: all at one address, each as servers of that kind answer. What a client of others makes of it is judged in
//! `tests/clouds/azure`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use tempfile::TempDir;

use super::contract::Source;
use super::http::{Request, Response, serve_on};

pub const TENANT: &str = "8b1ab8c5-0000-4000-8000-000000000001";
pub const CLIENT: &str = "4f3c0000-0000-4000-8000-00000000000a";
pub const SECRET: &str = "the-secret~of.the_application";
/// What the platform wants to see before it gives a token.
pub const HEADER: &str = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a";

#[derive(Clone)]
pub struct Azure {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    secrets: BTreeMap<String, Vec<Version>>,
    /// Of all so far, so that no two are the same.
    versions: u128,
    /// And the secret that each was given for, if it was for one.
    tokens: BTreeMap<String, String>,
    given: usize,
    /// In seconds.
    life: u64,
    is_down: bool,
    /// Instead of its own host.
    resource: Option<String>,
    /// The statements that are taken for proof, and those that were given.
    federated: String,
    assertions: Vec<String>,
    /// Of its application: all are good.
    app_secrets: BTreeSet<String>,
    asked: Vec<String>,
    /// Where the rest of a list is said to be.
    elsewhere: Option<String>,
    refuses: Option<(u16, Value)>,
}

struct Version {
    id: String,
    value: String,
    attributes: Value,
}

impl Azure {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = State {
            secrets: BTreeMap::new(),
            versions: 0x4387_e9f3_d6e1_4c45_9867_679a_90fd_0000,
            tokens: BTreeMap::new(),
            given: 0,
            life: 3599,
            is_down: false,
            resource: None,
            federated: "eyJ.of-the-cluster".to_owned(),
            assertions: Vec::new(),
            app_secrets: BTreeSet::from([SECRET.to_owned()]),
            asked: Vec::new(),
            elsewhere: None,
            refuses: None,
        };
        let azure = Self { address, state: Arc::new(Mutex::new(state)) };
        let state = azure.state.clone();
        serve_on(listener, move |request| state.lock().unwrap().answer(request));
        azure
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
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

    pub fn set_down(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    /// Whom it wants a token to be for.
    pub fn set_resource(&self, resource: &str) {
        self.state.lock().unwrap().resource = Some(resource.to_owned());
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

fn error(status: u16, code: &str, message: &str) -> Response {
    Response::new(status, json!({"error": {"code": code, "message": message}}).to_string())
}

fn fine(body: Value) -> Response {
    Response::new(200, body.to_string()).header("Content-Type: application/json")
}

impl State {
    fn answer(&mut self, request: &Request) -> Response {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let path = path.trim_end_matches('/').to_owned();
        let query: BTreeMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(n, v)| (n.into(), decoded(v)))
            .collect();
        let is_authorized = self.is_authorized(request);
        self.asked.push(format!("{}{}", if is_authorized { "+" } else { "" }, request.target));
        if self.is_down {
            return error(503, "ServiceUnavailable", "down");
        }
        if path.starts_with("/secrets") {
            return match (is_authorized, &self.refuses) {
                (false, _) => self.challenge(request),
                (true, Some((status, body))) => {
                    Response::new(*status, body.to_string()).header("Retry-After: 1")
                }
                (true, None) => self.secret(request, &path, &query),
            };
        }
        match &*path {
            "/msi/token" => self.of_platform(request, &query),
            "/metadata/identity/oauth2/token" if request.header("metadata") == Some("true") => {
                self.token("", json!({"expires_in": self.life.to_string()}))
            }
            "/metadata/instance" => Response::new(200, "{\"compute\": {}}"),
            _ if path == format!("/{TENANT}/oauth2/v2.0/token") => self.of_authority(request),
            _ if path.ends_with("/.well-known/openid-configuration") => discovery(request),
            _ => Response::new(404, ""),
        }
    }

    fn is_authorized(&self, request: &Request) -> bool {
        let token = request.header("authorization").and_then(|it| it.strip_prefix("Bearer "));
        token.is_some_and(|token| self.tokens.contains_key(token))
    }

    /// A vault belongs to what its host is, or to what a test has set.
    fn challenge(&self, request: &Request) -> Response {
        let host = request.header("host").unwrap_or_default();
        let own = format!("https://{}", host.split(':').next().unwrap());
        let resource = self.resource.as_deref().unwrap_or(&own);
        let said = format!(
            "WWW-Authenticate: Bearer authorization=\"https://login.example/{TENANT}\", resource=\"{resource}\""
        );
        error(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.").header(&said)
    }

    fn secret(&self, request: &Request, path: &str, query: &BTreeMap<String, String>) -> Response {
        if !query.contains_key("api-version") {
            return error(400, "BadParameter", "api-version");
        }
        let base = format!("{}/secrets", base_of(request));
        let parts: Vec<&str> = path.split('/').skip(2).collect();
        let page = |items: Vec<Value>| self.page(&items, &base, query);
        let id = |name: &str, version: &Version| format!("{base}/{name}/{}", version.id);
        match &parts[..] {
            [] => page(
                self.secrets
                    .keys()
                    .map(|name| json!({"id": format!("{base}/{name}"), "attributes": {"enabled": true}}))
                    .collect(),
            ),
            [name, "versions"] => {
                let versions = self.secrets.get(&name.to_lowercase()).into_iter().flatten();
                page(versions.map(|it| json!({"id": id(name, it), "attributes": attributes(it)})).collect())
            }
            [name, rest @ ..] => {
                let name = name.to_lowercase();
                let versions = self.secrets.get(&name).map(Vec::as_slice).unwrap_or_default();
                let found = match rest {
                    [] => versions.last(),
                    [wanted] => versions.iter().find(|it| it.id == *wanted),
                    _ => None,
                };
                let Some(found) = found else {
                    let message = format!("A secret with (name/id) {name} was not found in this key vault.");
                    return error(404, "SecretNotFound", &message);
                };
                if attributes(found)["enabled"] == json!(false) {
                    let said = json!({"code": "Forbidden", "message": "Operation get is not allowed on a disabled secret.",
                        "innererror": {"code": "SecretDisabled"}});
                    return Response::new(403, json!({ "error": said }).to_string());
                }
                fine(json!({"value": found.value, "id": id(&name, found), "attributes": attributes(found)}))
            }
        }
    }

    /// 25 of them, and where the others are.
    fn page(&self, items: &[Value], base: &str, query: &BTreeMap<String, String>) -> Response {
        let from = query.get("$skiptoken").and_then(|it| it.parse().ok()).unwrap_or(0);
        let size = query.get("maxresults").and_then(|it| it.parse().ok()).unwrap_or(25).min(25);
        let rest = &items[items.len().min(from)..];
        let next = (rest.len() > size).then(|| {
            let elsewhere = self.elsewhere.as_deref().unwrap_or(base);
            format!("{elsewhere}?api-version=7.4&$skiptoken={}&maxresults={size}", from + size)
        });
        fine(json!({"value": rest[..size.min(rest.len())], "nextLink": next}))
    }

    fn token(&mut self, given_for: &str, life: Value) -> Response {
        self.given += 1;
        let token = format!("eyJ0-token-number-{}", self.given);
        self.tokens.insert(token.clone(), given_for.to_owned());
        let mut answer =
            json!({"token_type": "Bearer", "access_token": token, "resource": "https://vault.azure.net"});
        answer.as_object_mut().unwrap().append(&mut life.as_object().unwrap().clone());
        fine(answer)
    }

    fn of_platform(&mut self, request: &Request, query: &BTreeMap<String, String>) -> Response {
        let is_known = query.get("client_id").is_none_or(|id| id == CLIENT);
        match request.header("x-identity-header") {
            Some(HEADER) if is_known && query.contains_key("resource") => {
                let end = jiff::Timestamp::now().as_second() + i64::try_from(self.life).unwrap();
                self.token("", json!({"expires_on": end.to_string()}))
            }
            _ => Response::new(400, "{\"statusCode\": 400, \"message\": \"no identity\"}"),
        }
    }

    fn of_authority(&mut self, request: &Request) -> Response {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let form: BTreeMap<_, _> =
            body.split('&').filter_map(|pair| pair.split_once('=')).map(|(n, v)| (n, decoded(v))).collect();
        let refused = |code: u64| {
            let said = json!({"error": "invalid_client", "error_description": format!("AADSTS{code}: hunter2"),
                "error_codes": [code]});
            Response::new(401, said.to_string()).header("Content-Type: application/json")
        };
        let has = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        if has("client_id") != CLIENT {
            return refused(700_016);
        }
        if has("grant_type") != "client_credentials" || !has("scope").ends_with("/.default") {
            return refused(900_144);
        }
        if let Some(assertion) = form.get("client_assertion") {
            // One that an application has signed is judged by somebody else.
            if assertion.starts_with("eyJ.") && *assertion != self.federated {
                return refused(700_213);
            }
            self.assertions.push(assertion.clone());
        } else if !self.app_secrets.contains(has("client_secret")) {
            return refused(7_000_215);
        }
        let given_for = has("client_secret").to_owned();
        self.token(&given_for, json!({"expires_in": self.life, "ext_expires_in": self.life}))
    }
}

fn attributes(version: &Version) -> Value {
    let mut all = json!({"enabled": true, "created": 1_700_000_000, "updated": 1_700_000_100,
        "recoveryLevel": "Recoverable+Purgeable"});
    all.as_object_mut().unwrap().append(&mut version.attributes.as_object().unwrap().clone());
    all
}

/// What a client of others asks first.
fn discovery(request: &Request) -> Response {
    let base = format!("{}/{TENANT}", base_of(request));
    fine(json!({"issuer": format!("{base}/v2.0"), "token_endpoint": format!("{base}/oauth2/v2.0/token"),
        "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"), "tenant_region_scope": "EU"}))
}

/// As whoever asks sees it: over TLS, what stands before it says so by its host.
fn base_of(request: &Request) -> String {
    let host = request.header("host").unwrap_or_default();
    let scheme = if host.starts_with("localhost") { "https" } else { "http" };
    format!("{scheme}://{host}")
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
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
        self.azure.set_down(true);
    }

    fn start(&self) {
        self.azure.set_down(false);
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
