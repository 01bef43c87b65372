//! What can be told of keys and certificates without a network: what belongs together, and how long it is
//! good. Pure; uses x509-cert.

use jiff::{SignedDuration, Timestamp};
use x509_cert::Certificate;
use x509_cert::time::Time;

use super::{Fields, certificates, check, key};
use crate::secret::{SecretBytes, SecretType};

/// Adds what was found to be in order; the first that is not ends it.
pub fn look(kind: SecretType, fields: &Fields, now: Timestamp, seen: &mut Vec<String>) -> Result<(), String> {
    check(kind, fields).map_err(|error| error.to_string())?;
    match kind {
        SecretType::Certificate => certificate(fields, now, seen).map_err(str::to_owned),
        SecretType::SshKey => {
            seen.push(pair(fields, "private", "public"));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Both were compared, as far as they could be looked into.
fn pair(fields: &Fields, private: &str, public: &str) -> String {
    let is_readable = fields.get(private).and_then(|it| key::private(it.expose())).flatten().is_some();
    match (is_readable, fields.contains_key(public)) {
        (true, true) => format!("its `{private}` belongs to its `{public}`"),
        (true, false) => format!("its `{private}` can be read"),
        (false, _) => format!("its `{private}` is encrypted or of a rare kind, and was not looked into"),
    }
}

fn certificate(fields: &Fields, now: Timestamp, seen: &mut Vec<String>) -> Result<(), &'static str> {
    if fields.contains_key("key") {
        seen.push(pair(fields, "key", "cert"));
    }
    let value = |name| fields.get(name).map(SecretBytes::expose).and_then(certificates).unwrap_or_default();
    let all: Vec<Certificate> = value("cert").into_iter().chain(value("chain")).collect();
    if all.len() > 1 {
        seen.push(format!("its chain of {} certificates is in order", all.len()));
    }
    let mut first_end: Option<Timestamp> = None;
    for certificate in &all {
        let validity = certificate.tbs_certificate().validity();
        if time(&validity.not_before).is_some_and(|begin| now < begin) {
            return Err("one of its certificates is not valid yet");
        }
        let end = time(&validity.not_after);
        if end.is_some_and(|end| end <= now) {
            return Err("one of its certificates has expired");
        }
        first_end = first_end.into_iter().chain(end).min();
    }
    seen.extend(first_end.map(|end| format!("it is valid until {}", end.strftime("%Y-%m-%d"))));
    Ok(())
}

fn time(time: &Time) -> Option<Timestamp> {
    let since = SignedDuration::try_from(time.to_unix_duration()).ok()?;
    Timestamp::from_duration(since).ok()
}
