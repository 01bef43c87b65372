//! The secrets of the fake: versions with their states, aliases, pages of names.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{State, refused, told};
use crate::common::http::{Request, Response};

#[derive(Default)]
pub struct Secret {
    /// The bytes, and the state.
    versions: Vec<(Vec<u8>, &'static str)>,
    pub aliases: BTreeMap<String, usize>,
}

impl Secret {
    pub(super) fn add(&mut self, value: &[u8]) {
        self.versions.push((value.to_vec(), "ENABLED"));
    }

    /// ENABLED, DISABLED or DESTROYED.
    pub fn set_state(&mut self, version: usize, state: &'static str) {
        self.versions[version - 1].1 = state;
    }
}

impl State {
    pub(super) fn secret(&mut self, request: &Request, path: &str, query: &str) -> Response {
        let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
        let is_access = path.ends_with(":access");
        self.calls.push(if is_access { "access" } else { "list" });
        self.quota_project = request.header("x-goog-user-project").map(str::to_owned);
        if !self.knows(request) {
            let message = "Request had invalid authentication credentials. Expected OAuth 2 access token";
            return refused(401, "UNAUTHENTICATED", message, json!([]));
        }
        match path.strip_suffix(":access").and_then(|it| it.split_once("/versions/")) {
            _ if is_access && !self.instead.is_empty() => self.instead.pop_front().unwrap(),
            Some((place, version)) => self.access(place, version),
            None => self.list(&path, query),
        }
    }

    fn access(&mut self, place: &str, version: &str) -> Response {
        let missing = |what: &str| refused(404, "NOT_FOUND", &format!("{what} not found."), json!([]));
        let Some(secret) = self.secrets.get(place) else {
            return missing(&format!("Secret [projects/{place}]"));
        };
        let number = match version {
            "latest" => secret.versions.len(),
            alias if secret.aliases.contains_key(alias) => secret.aliases[alias],
            number => number.parse().unwrap_or_default(),
        };
        let name = format!("projects/{place}/versions/{number}");
        let Some((value, state)) = number.checked_sub(1).and_then(|at| secret.versions.get(at)) else {
            return missing(&format!("Secret Version [{name}]"));
        };
        if *state != "ENABLED" {
            let message = format!("Secret Version [{name}] is in {state} state.");
            return refused(400, "FAILED_PRECONDITION", &message, json!([]));
        }
        let wrong = u32::from(self.damaged > 0);
        self.damaged = self.damaged.saturating_sub(1);
        let sum = (crc32c(value) ^ wrong).to_string();
        // Google names a project by its number.
        let name = name.replacen("projects/p-1/", "projects/1/", 1);
        told(&json!({"name": name, "payload": {"data": STANDARD.encode(value), "dataCrc32c": sum}}))
    }

    fn list(&self, path: &str, query: &str) -> Response {
        let parameter = |name: &str| {
            query
                .split('&')
                .find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
                .and_then(|it| it.parse().ok())
        };
        let (size, from) =
            (parameter("pageSize").unwrap_or(25_000).max(1), parameter("pageToken").unwrap_or(0_usize));
        let below = format!("{path}/");
        let all: Vec<_> = self.secrets.keys().filter(|place| place.starts_with(&below)).collect();
        let named =
            |place: &&String| json!({"name": format!("projects/{place}"), "replication": {"automatic": {}}});
        let page: Vec<Value> = all.iter().skip(from).take(size).copied().map(|place| named(&place)).collect();
        let mut answer = json!({"totalSize": all.len()});
        if !page.is_empty() {
            answer["secrets"] = page.into();
        }
        if from + size < all.len() {
            answer["nextPageToken"] = (from + size).to_string().into();
        }
        told(&answer)
    }
}

/// Bit by bit, as its definition has it.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { (sum >> 1) ^ 0x82f6_3b78 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}
