//! Who gives tokens away, and which the fake believes: those that were given, and those that a service account has
//! signed for itself.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{ACCOUNT, AUDIENCE, REFRESH, SUBJECT, State, refused, told};
use crate::common::http::{Request, Response};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// What a client puts there that has no scope.
const SERVICE: &str = "https://secretmanager.googleapis.com/";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

impl State {
    /// Whether the question has a token that is good.
    pub(super) fn knows(&self, request: &Request) -> bool {
        let token =
            request.header("authorization").and_then(|it| it.strip_prefix("Bearer ")).unwrap_or_default();
        self.tokens.contains(token)
            || self
                .claims(token)
                .is_some_and(|it| it["scope"] == SCOPE && it.get("aud").is_none() || it["aud"] == SERVICE)
    }

    fn new_token(&mut self) -> String {
        self.given += 1;
        let token = format!("ya29.31337-{}", self.given);
        self.tokens.insert(token.clone());
        token
    }

    /// What the owner of a key that is known says, now.
    fn claims(&self, token: &str) -> Option<Value> {
        let (said, signature) = token.rsplit_once('.')?;
        let part = |text: &str| -> Option<Value> {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
        };
        let (head, claims) = said.split_once('.')?;
        let (head, claims) = (part(head)?, part(claims)?);
        let (email, key) = self.keys.get(head["kid"].as_str()?)?;
        let algorithm = webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256;
        algorithm.verify_signature(key, said.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let (now, begin, end) =
            (Timestamp::now().as_second(), claims["iat"].as_i64()?, claims["exp"].as_i64()?);
        let is_now = begin <= now + 5 && now < end && end - begin <= 3600;
        let is_own = claims["iss"] == **email && claims.get("sub").is_none_or(|it| *it == **email);
        (head["alg"] == "RS256" && is_now && is_own).then_some(claims)
    }

    pub(super) fn token(&mut self, request: &Request) -> Response {
        self.calls.push("token");
        let form = form(request);
        let is = |name: &str, value: &str| form.get(name).is_some_and(|it| it == value);
        let is_user = is("grant_type", "refresh_token")
            && is("refresh_token", REFRESH)
            && is("client_secret", "31337-client");
        let is_key = is("grant_type", BEARER)
            && form.get("assertion").and_then(|it| self.claims(it)).is_some_and(|it| it["aud"] == TOKEN_URI);
        match is_user || is_key {
            true => self.given(json!({})),
            false => no("invalid_grant", "Token has been expired or revoked: 31337-refresh"),
        }
    }

    pub(super) fn exchange(&mut self, request: &Request) -> Response {
        self.calls.push("exchange");
        let form = form(request);
        let is = |(name, value): (&str, &str)| form.get(name).is_some_and(|it| it == value);
        let wanted = [
            ("grant_type", EXCHANGE),
            ("audience", AUDIENCE),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ];
        let has_scope = form
            .get("scope")
            .is_some_and(|it| it.split(' ').all(|it| it.starts_with("https://www.googleapis.com/auth/")));
        match wanted.into_iter().all(is) && has_scope {
            true if is(("subject_token", SUBJECT)) => {
                self.given(json!({"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}))
            }
            true => no("invalid_grant", "The given credential is rejected: 31337-subject"),
            false => no("invalid_request", "31337-"),
        }
    }

    fn given(&mut self, mut answer: Value) -> Response {
        answer["access_token"] = self.new_token().into();
        answer["expires_in"] = self.life.into();
        answer["token_type"] = "Bearer".into();
        told(&answer)
    }

    /// What another authority gives its machines.
    pub(super) fn subject(&mut self, request: &Request) -> Response {
        self.calls.push("subject");
        match request.header("x-own") {
            Some("31337-header") => told(&json!({"id_token": SUBJECT})),
            _ => Response::new(403, "no"),
        }
    }

    pub(super) fn machine(&mut self, request: &Request, path: &str) -> Response {
        self.calls.push("machine");
        if request.header("metadata-flavor") != Some("Google") {
            return Response::new(403, "no");
        }
        let answer = match path.trim_end_matches('/') {
            "/computeMetadata/v1/instance/service-accounts/default/token" => self.given(json!({})),
            "/computeMetadata/v1/instance/service-accounts/default" => told(
                &json!({"email": "vm@p-1.iam.gserviceaccount.com", "scopes": [SCOPE], "aliases": ["default"]}),
            ),
            "/computeMetadata/v1/universe/universe-domain" => Response::new(404, ""),
            "/computeMetadata/v1/project/project-id" => Response::new(200, super::PROJECT),
            _ => Response::new(404, ""),
        };
        answer.header("Metadata-Flavor: Google")
    }

    pub(super) fn impersonate(&mut self, request: &Request, path: &str) -> Response {
        self.calls.push("impersonate");
        if !self.knows(request) {
            return refused(401, "UNAUTHENTICATED", "no", json!([]));
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let path = percent_decode_str(path).decode_utf8_lossy();
        if path != format!("/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken")
            || body["scope"][0] != SCOPE
        {
            let reason = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "IAM_PERMISSION_DENIED"}]);
            return refused(403, "PERMISSION_DENIED", "31337-", reason);
        }
        let end = Timestamp::now() + Duration::from_secs(self.life);
        let end = end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        told(&json!({"accessToken": self.new_token(), "expireTime": end}))
    }
}

fn no(error: &str, description: &str) -> Response {
    let told = json!({"error": error, "error_description": description});
    Response::new(400, told.to_string()).header("Content-Type: application/json; charset=utf-8")
}

fn form(request: &Request) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(&request.body).replace('+', " ");
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    pairs.map(|(name, value)| (plain(name), plain(value))).collect()
}
