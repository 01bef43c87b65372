//! What the fake knows, and what each of the servers that it stands for answers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{CLIENT, HEADER, SECRET, TENANT};
use crate::common::http::{Request, Response};

pub(super) struct State {
    pub(super) secrets: BTreeMap<String, Vec<Version>>,
    /// Of all so far, so that no two are the same.
    pub(super) versions: u128,
    /// And the secret that each was given for, if it was for one.
    pub(super) tokens: BTreeMap<String, String>,
    pub(super) given: usize,
    /// In seconds.
    pub(super) life: u64,
    /// Instead of its own host.
    pub(super) resource: Option<String>,
    pub(super) scopes: Vec<String>,
    /// The statements that are taken for proof, and those that were given.
    pub(super) federated: String,
    pub(super) assertions: Vec<String>,
    /// Of its application: all are good.
    pub(super) app_secrets: BTreeSet<String>,
    pub(super) asked: Vec<String>,
    /// Where the rest of a list is said to be.
    pub(super) elsewhere: Option<String>,
    pub(super) refuses: Option<(u16, Value)>,
}

pub(super) struct Version {
    pub(super) id: String,
    pub(super) value: String,
    pub(super) attributes: Value,
}

fn error(status: u16, code: &str, message: &str) -> Response {
    Response::new(status, json!({"error": {"code": code, "message": message}}).to_string())
}

fn fine(body: Value) -> Response {
    Response::new(200, body.to_string()).header("Content-Type: application/json")
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            secrets: BTreeMap::new(),
            versions: 0x4387_e9f3_d6e1_4c45_9867_679a_90fd_0000,
            tokens: BTreeMap::new(),
            given: 0,
            life: 3599,
            resource: None,
            scopes: Vec::new(),
            federated: "eyJ.of-the-cluster".to_owned(),
            assertions: Vec::new(),
            app_secrets: BTreeSet::from([SECRET.to_owned()]),
            asked: Vec::new(),
            elsewhere: None,
            refuses: None,
        }
    }

    pub(super) fn answer(&mut self, request: &Request) -> Response {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let path = path.trim_end_matches('/').to_owned();
        let query: BTreeMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(n, v)| (n.into(), decoded(v)))
            .collect();
        let is_authorized = self.is_authorized(request);
        self.asked.push(format!("{}{}", if is_authorized { "+" } else { "" }, request.target));
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
        self.scopes.push(has("scope").to_owned());
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
