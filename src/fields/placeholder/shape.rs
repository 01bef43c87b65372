//! What a value looks like to who has to parse it, and a harmless one that looks the same: numbers,
//! words for yes and no, times, URLs, hosts, tokens, encodings, lines. Pure; uses `json`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::Date;
use zeroize::Zeroizing;

use super::{json, quantity};
use crate::fields::url::Url;

const HOST: &str = "placeholder.invalid";
const WORD: &str = "placeholder";

/// The lengths that a value may have; what is between two of them gets the longer one. Among them
/// are those of keys and digests, which have to be exact.
const LENGTHS: [usize; 12] = [8, 16, 24, 32, 40, 48, 64, 96, 128, 192, 256, 512];

/// How tokens begin whose programs look at it. All else of a value may be the secret.
const TOKENS: [&str; 29] = [
    "AIza",
    "AKIA",
    "ASIA",
    "SG.",
    "dop_v1_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "hvs.",
    "npm_",
    "pk_live_",
    "pk_test_",
    "pypi-",
    "rk_live_",
    "rk_test_",
    "shpat_",
    "sk-ant-",
    "sk-proj-",
    "sk_live_",
    "sk_test_",
    "sk-",
    "whsec_",
    "xapp-",
    "xoxb-",
    "xoxp-",
];

/// Header and claims of a token that nobody has signed.
const JWT: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJwbGFjZWhvbGRlciJ9.cGxhY2Vob2xkZXI";

/// A harmless value of the same shape. A line break at its end stays.
pub(super) fn like(value: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(value) else { return filler(value.len()).into() };
    let inner = text.trim_end_matches(['\r', '\n']);
    let end = &text[inner.len()..];
    let inner = match json::like(inner) {
        Some(document) => document,
        None if inner.contains('\n') => lines(inner),
        None => line(inner),
    };
    (inner + end).into()
}

/// Each line by itself. Where they are settings, what they set keeps its name.
fn lines(text: &str) -> String {
    let is_settings = 2 * text.lines().filter(|line| setting(line).is_some()).count() >= text.lines().count();
    let lines = text.lines().map(|text| match setting(text).filter(|_| is_settings) {
        Some((name, value)) => name.to_owned() + &line(value),
        None => line(text),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `NAME=`, `NAME: ` or `NAME:` with what is in front of it, and the rest.
fn setting(line: &str) -> Option<(&str, &str)> {
    let at = line.find(['=', ':'])?;
    let name = line[..at].trim_start().trim_start_matches("- ").trim_start_matches("export ").trim_end();
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(is_fit);
    let rest = &line[at + 1..];
    let is_setting = match line.as_bytes()[at] {
        // Base64 ends like that, too.
        b'=' => !rest.is_empty() && !rest.starts_with('='),
        _ => rest.is_empty() || rest.starts_with(' '),
    };
    let blank = rest.len() - rest.trim_start().len();
    (is_name && is_setting).then(|| line.split_at(at + 1 + blank))
}

/// A value without line breaks.
pub(super) fn line(text: &str) -> String {
    let own = [number, word, time, url, address, token, encoded];
    let others = [quantity::number, quantity::measure, quantity::network, quantity::settings, quantity::path];
    let mut fits = own.into_iter().chain(others);
    match text.is_empty() {
        true => String::new(),
        false => fits.find_map(|fit| fit(text)).unwrap_or_else(|| filler(text.len())),
    }
}

pub(super) fn filler(length: usize) -> String {
    WORD.chars().cycle().take(class(length)).collect()
}

fn class(length: usize) -> usize {
    let known = LENGTHS.into_iter().find(|known| *known >= length);
    known.unwrap_or_else(|| length.next_power_of_two())
}

/// As long as a port, a time in seconds or one in milliseconds, whichever is next.
pub(super) fn number(text: &str) -> Option<String> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, part) = digits.split_once('.').map_or((digits, None), |(whole, part)| (whole, Some(part)));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !part.is_none_or(is_digits) || whole.len() > 19 {
        return None;
    }
    let length = match whole.len() {
        length @ 1..=5 => length,
        6..=10 => 10,
        _ => 13,
    };
    let begins = if whole.starts_with('0') && whole.len() > 1 { '0' } else { '1' };
    let whole: String = std::iter::once(begins).chain("0".chars().cycle()).take(length).collect();
    Some(format!("{sign}{whole}{}", if part.is_some() { ".5" } else { "" }))
}

fn word(text: &str) -> Option<String> {
    let no = match text.to_ascii_lowercase().as_str() {
        "true" | "false" => "false",
        "yes" | "no" => "no",
        "on" | "off" => "off",
        "null" => "null",
        _ => return None,
    };
    Some(no.to_owned())
}

fn time(text: &str) -> Option<String> {
    let is_time = text.contains('T') && text.parse::<Timestamp>().is_ok();
    match () {
        () if is_time => Some("2000-01-01T00:00:00Z".to_owned()),
        () if text.len() == 10 && text.parse::<Date>().is_ok() => Some("2000-01-01".to_owned()),
        () => None,
    }
}

const SCHEMES: [&str; 50] = [
    "amqp",
    "bolt",
    "cassandra",
    "gs",
    "mssql",
    "oracle",
    "sqlite",
    "amqps",
    "clickhouse",
    "data",
    "file",
    "ftp",
    "ftps",
    "git",
    "git+ssh",
    "grpc",
    "http",
    "https",
    "imap",
    "imaps",
    "jdbc",
    "kafka",
    "ldap",
    "ldaps",
    "mailto",
    "mariadb",
    "mongodb",
    "mongodb+srv",
    "mqtt",
    "mqtts",
    "mysql",
    "nats",
    "otpauth",
    "postgres",
    "postgresql",
    "redis",
    "rediss",
    "rsync",
    "s3",
    "sftp",
    "smtp",
    "smtps",
    "socks5",
    "sqlserver",
    "ssh",
    "tcp",
    "udp",
    "unix",
    "ws",
    "wss",
];

/// The scheme stays, and which parts there are.
fn url(text: &str) -> Option<String> {
    Url::parse(text.as_bytes())?;
    let (scheme, rest) = text.split_once(':')?;
    // What nobody knows for a scheme may be a part of the value.
    if !SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()) {
        return None;
    }
    let Some(rest) = rest.strip_prefix("//") else { return Some(format!("{scheme}:{WORD}")) };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, hosts) = authority.rsplit_once('@').map_or((None, authority), |(user, it)| (Some(user), it));
    let user = match user.map(|user| user.contains(':')) {
        Some(true) => format!("{WORD}:{WORD}@"),
        Some(false) => format!("{WORD}@"),
        None => String::new(),
    };
    let port = hosts.rsplit_once(']').map_or(hosts, |(_, after)| after).contains(':');
    let host = if hosts.is_empty() { "" } else { HOST };
    let path = if path.len() > 1 { "/placeholder" } else { path };
    Some(format!("{scheme}://{user}{host}{}{path}", if port { ":9" } else { "" }))
}

/// A host, with or without its port, or somebody's address there.
fn address(text: &str) -> Option<String> {
    if let Some((user, host)) = text.rsplit_once('@') {
        return (is_host(host) && !user.is_empty() && user.is_ascii()).then(|| format!("{WORD}@{HOST}"));
    }
    if let Ok(address) = text.parse::<core::net::IpAddr>() {
        return Some(if address.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" }.to_owned());
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let port = match port {
        None => "",
        Some(port) if port.parse::<u16>().is_ok() => ":9",
        Some(_) => return None,
    };
    is_host(host).then(|| format!("{HOST}{port}"))
}

fn is_host(text: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_label = |label: &str| !label.is_empty() && label.len() < 64 && label.chars().all(is_fit);
    let is_end = |label: &str| label.len() > 1 && label.chars().all(|c| c.is_ascii_lowercase());
    text.split('.').all(is_label) && text.rsplit_once('.').is_some_and(|(_, end)| is_end(end))
}

fn token(text: &str) -> Option<String> {
    if text.starts_with("eyJ") && text.split('.').count() == 3 {
        return Some(JWT.to_owned());
    }
    let begin = TOKENS.into_iter().find(|begin| text.starts_with(begin))?;
    let rest = &text[begin.len()..];
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (rest.len() >= 8 && rest.chars().all(is_fit)).then(|| begin.to_owned() + &filler(rest.len()))
}

/// What is decoded before it is used: digits of hexadecimal numbers, and Base64 of a text.
fn encoded(text: &str) -> Option<String> {
    let dashes: Vec<_> = text.split('-').map(str::len).collect();
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if dashes == [8, 4, 4, 4, 12] && text.split('-').all(is_hex) {
        return Some("00000000-0000-4000-8000-000000000000".to_owned());
    }
    // A number is no key, unless it has the length of one.
    let is_key =
        text.bytes().any(|byte| !byte.is_ascii_digit()) || [32, 40, 48, 64, 96, 128].contains(&text.len());
    if text.len() >= 16 && text.len().is_multiple_of(2) && is_hex(text) && is_key {
        return Some("0".repeat(class(text.len())));
    }
    let inner = Zeroizing::new(STANDARD.decode(text).ok()?);
    let is_text = std::str::from_utf8(&inner).is_ok_and(|text| !text.chars().any(is_odd));
    (inner.len() >= 8 && is_text).then(|| STANDARD.encode(like(&inner)))
}

fn is_odd(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}
