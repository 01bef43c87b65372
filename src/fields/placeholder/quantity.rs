//! Values that are more than a number and less than a text: times, sizes, numbers with an exponent,
//! networks, paths, lists of settings. Pure.

use super::shape::{filler, line};

/// What may stand behind a number. Longer ones first.
const UNITS: [&str; 35] = [
    "minutes", "seconds", "minute", "second", "hours", "hour", "days", "day", "mins", "secs", "min", "sec",
    "KiB", "MiB", "GiB", "TiB", "kB", "KB", "MB", "GB", "TB", "Ki", "Mi", "Gi", "Ti", "ms", "us", "ns", "µs",
    "s", "m", "h", "d", "w", "%",
];
/// The same as one letter, of sizes only.
const LETTERS: [&str; 5] = ["k", "K", "M", "G", "T"];
/// No secret is so short and of such a form; one that is longer may be.
const LONGEST: usize = 12;

/// `5m`, `1h30m`, `64MiB`, `2.5 GB`: one of its first unit.
pub(super) fn measure(text: &str) -> Option<String> {
    let (mut rest, mut first) = (text, None);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|at| *at > 0)?;
        let (number, after) = rest.split_at(digits);
        number.parse::<f64>().ok()?;
        let after_blank = after.strip_prefix(' ').unwrap_or(after);
        let unit = UNITS.iter().chain(&LETTERS).find(|unit| after_blank.starts_with(**unit))?;
        let blank = &after[..after.len() - after_blank.len()];
        first.get_or_insert(format!("1{blank}{unit}"));
        rest = &after_blank[unit.len()..];
    }
    first.filter(|_| text.len() <= LONGEST)
}

/// Another form of a number: `1e5`, `-2.5E+3`, one with more digits than a program counts to, `0x1f`.
pub(super) fn number(text: &str) -> Option<String> {
    if let Some(digits) = text.strip_prefix("0x") {
        let is_short = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        return is_short.then(|| "0x0".to_owned());
    }
    let is_number = text.len() <= 64 && serde_json::from_str::<serde_json::Number>(text).is_ok();
    is_number.then(|| if text.contains(['e', 'E']) { "1e3" } else { "1000" }.to_owned())
}

/// `10.0.0.0/8`.
pub(super) fn network(text: &str) -> Option<String> {
    let (address, bits) = text.split_once('/')?;
    let address = address.parse::<core::net::IpAddr>().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let is_fit = bits.parse::<u8>().is_ok_and(|bits| bits <= most);
    is_fit.then(|| if address.is_ipv4() { "192.0.2.0/24" } else { "2001:db8::/32" }.to_owned())
}

/// A path from the root, of two names at least.
pub(super) fn path(text: &str) -> Option<String> {
    let names = text.strip_prefix('/')?;
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_path = names.contains('/') && names.split('/').all(|name| name.chars().all(is_fit));
    is_path.then(|| format!("/{}", filler(names.len())))
}

/// What settings of a connection are called. What nobody knows for one may be a part of the value.
const SETTINGS: [&str; 34] = [
    "accountkey",
    "accountname",
    "application name",
    "authmech",
    "charset",
    "connect timeout",
    "data source",
    "database",
    "dbname",
    "defaultendpointsprotocol",
    "driver",
    "encrypt",
    "endpoint",
    "endpointsuffix",
    "host",
    "initial catalog",
    "integrated security",
    "password",
    "pooling",
    "port",
    "protocol",
    "pwd",
    "server",
    "service name",
    "sharedaccesskey",
    "sharedaccesskeyname",
    "sid",
    "sslmode",
    "timeout",
    "trustservercertificate",
    "uid",
    "user",
    "user id",
    "username",
];

/// `Server=db;Password=x`, `host=db password=x`: the names stay.
pub(super) fn settings(text: &str) -> Option<String> {
    let between = if text.contains(';') { ';' } else { ' ' };
    let mut harmless = Vec::new();
    for part in text.split(between) {
        match part.split_once('=') {
            Some((name, value)) if SETTINGS.contains(&name.trim().to_ascii_lowercase().as_str()) => {
                harmless.push(format!("{name}={}", line(value)));
            }
            _ if part.is_empty() => harmless.push(String::new()),
            _ => return None,
        }
    }
    (harmless.len() > 1).then(|| harmless.join(&between.to_string()))
}
