//! What the fields of each type of secret have to hold: a URL, a time, a key that fits its
//! certificate. Pure; uses the words of `secret`, and crates that read keys and certificates.

mod key;
mod look;
mod pem;
mod placeholder;
mod url;

use std::collections::BTreeMap;

use jiff::Timestamp;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::secret::{FieldName, SecretBytes, SecretType};
use key::PublicKey;
pub use look::look;
pub use placeholder::placeholder;

type Fields = BTreeMap<FieldName, SecretBytes>;

/// What is wrong with a field. Of constant words, so that it cannot hold a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its field `{field}` {problem}")]
pub struct FieldError {
    pub field: &'static str,
    problem: &'static str,
    hint: &'static str,
}

/// Judges the fields of a secret of this type that are there; which must be is not asked here.
pub fn check(kind: SecretType, fields: &Fields) -> Result<(), FieldError> {
    match kind {
        SecretType::Bearer => each(fields, "token", token),
        SecretType::Oauth => {
            each(fields, "token_url", token_url)?;
            each(fields, "expires_at", time)
        }
        SecretType::ConnectionString => each(fields, "url", connection),
        SecretType::Certificate => certificate(fields),
        SecretType::SshKey => ssh_key(fields),
        SecretType::Plain
        | SecretType::ApiKey
        | SecretType::BasicAuth
        | SecretType::Webhook
        | SecretType::Custom => Ok(()),
    }
}

impl FieldError {
    fn new(field: &'static str, problem: &'static str, hint: &'static str) -> Self {
        Self { field, problem, hint }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}

/// Problem and hint.
type Judged = Result<(), (&'static str, &'static str)>;

fn each(fields: &Fields, name: &'static str, judge: fn(&[u8]) -> Judged) -> Result<(), FieldError> {
    let Some(value) = fields.get(name) else { return Ok(()) };
    judge(value.expose()).map_err(|(problem, hint)| FieldError::new(name, problem, hint))
}

fn token(value: &[u8]) -> Judged {
    match !value.is_empty() && value.iter().all(u8::is_ascii_graphic) {
        true => Ok(()),
        false => Err((
            "is no bearer token: those have no blank, line break or letter beyond ASCII",
            "--type plain for what goes elsewhere than into an Authorization header",
        )),
    }
}

fn token_url(value: &[u8]) -> Judged {
    match url::Url::parse(value) {
        Some(url) if matches!(url.scheme.as_str(), "http" | "https") && url.has_host => Ok(()),
        _ => Err(("is no URL that a token can be asked of", "it looks like https://host/path")),
    }
}

fn connection(value: &[u8]) -> Judged {
    match url::Url::parse(value) {
        Some(_) => Ok(()),
        None => Err((
            "is no URL",
            "it looks like postgres://user:password@host:5432/name, with %XX for what is special; \
             --type plain for another form",
        )),
    }
}

/// As text, or as the seconds that many OAuth libraries keep.
fn time(value: &[u8]) -> Judged {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let is_seconds = || text.parse().is_ok_and(|seconds| Timestamp::from_second(seconds).is_ok());
    match text.parse::<Timestamp>().is_ok() || is_seconds() {
        true => Ok(()),
        false => Err(("is no time", "it looks like 2027-01-31T12:00:00Z, or counts seconds since 1970")),
    }
}

const CERT_HINT: &str = "the PEM file as it was issued: --field cert=@FILE";
const CHAIN_HINT: &str = "the PEM file of the certificates between it and its root: --field chain=@FILE";
const KEY_HINT: &str = "the PEM file of the private key: --field key=@FILE";
const PAIR_HINT: &str = "set both in one command: --field cert=@FILE --field key=@FILE";

fn certificate(fields: &Fields) -> Result<(), FieldError> {
    let value = |name| fields.get(name).map(SecretBytes::expose);
    let own = match value("cert").map(certificates) {
        Some(Some(found)) => found,
        Some(None) => return Err(FieldError::new("cert", "holds no certificate in PEM", CERT_HINT)),
        None => Vec::new(),
    };
    if let Some(chain) = value("chain") {
        check_chain(&own, chain).map_err(|problem| FieldError::new("chain", problem, CHAIN_HINT))?;
    }
    let Some(key) = value("key") else { return Ok(()) };
    let private = key::private(key).ok_or(FieldError::new(
        "key",
        "holds no private key in PEM that can be read",
        KEY_HINT,
    ))?;
    let public = own.first().and_then(PublicKey::of_certificate);
    match public.zip(private).is_none_or(|(public, private)| public == private) {
        true => Ok(()),
        false => Err(FieldError::new("key", "does not belong to its field `cert`", PAIR_HINT)),
    }
}

fn check_chain(own: &[Certificate], chain: &[u8]) -> Result<(), &'static str> {
    let found = certificates(chain).ok_or("is no chain of certificates in PEM")?;
    if holds_a_key(chain) {
        return Err("holds a private key, and is what everybody may see");
    }
    match own.iter().chain(&found).is_sorted_by(|one, next| is_issued_by(one, next)) {
        true => Ok(()),
        false => Err("is not in order: each has to have issued the one before"),
    }
}

fn is_issued_by(one: &Certificate, next: &Certificate) -> bool {
    one.tbs_certificate().issuer() == next.tbs_certificate().subject()
}

fn holds_a_key(text: &[u8]) -> bool {
    pem::blocks(text).is_some_and(|blocks| blocks.iter().any(|block| block.label.ends_with("PRIVATE KEY")))
}

/// All certificates of a PEM text; `None` if there is none, or one cannot be read.
fn certificates(text: &[u8]) -> Option<Vec<Certificate>> {
    let blocks = pem::blocks(text)?;
    let found: Option<Vec<_>> = blocks
        .iter()
        .filter(|block| block.label == "CERTIFICATE")
        .map(|block| Certificate::from_der(&block.content).ok())
        .collect();
    found.filter(|found| !found.is_empty())
}

const SSH_HINT: &str =
    "the files that ssh-keygen makes: --field private=@id_ed25519 --field public=@id_ed25519.pub";

fn ssh_key(fields: &Fields) -> Result<(), FieldError> {
    let value = |name| fields.get(name).map(SecretBytes::expose);
    let private = match value("private").map(key::private) {
        Some(None) => {
            return Err(FieldError::new("private", "holds no private key that can be read", SSH_HINT));
        }
        found => found.flatten().flatten(),
    };
    let Some(line) = value("public") else { return Ok(()) };
    let public = PublicKey::of_ssh_line(line).ok_or(FieldError::new(
        "public",
        "is no public key as ssh-keygen writes it",
        SSH_HINT,
    ))?;
    match private.is_none_or(|private| private == public) {
        true => Ok(()),
        false => Err(FieldError::new("public", "does not belong to its field `private`", SSH_HINT)),
    }
}

#[cfg(test)]
mod tests;
