//! URLs as connection strings have them: any scheme, and several hosts as some databases take
//! them, which RFC 3986 does not know. Pure; uses std only.

/// Schemes that name no host. For any other, what stands before the first colon is more often a user
/// or a host (`user:password@tcp(host)/name`).
const LOCAL: [&str; 6] = ["duckdb", "file", "jdbc", "odbc", "sqlite", "unix"];

pub(super) struct Url {
    /// In small letters.
    pub(super) scheme: String,
    pub(super) has_host: bool,
}

impl Url {
    /// `None` if it is none: blanks, a broken `%XX`, a port that is no number.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (scheme, rest) = text.split_once(':')?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        let is_plain = !rest.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        if !is_scheme || !is_plain || !escapes_are_whole(rest) {
            return None;
        }
        if !rest.starts_with("//") && !LOCAL.contains(&scheme.to_ascii_lowercase().as_str()) {
            return None;
        }
        let authority = rest.strip_prefix("//").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(""));
        let hosts =
            authority.map(|authority| authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts));
        if !hosts.unwrap_or_default().split(',').all(has_proper_port) {
            return None;
        }
        let has_host = hosts.is_some_and(|hosts| !hosts.is_empty() && !hosts.starts_with(':'));
        Some(Self { scheme: scheme.to_ascii_lowercase(), has_host })
    }
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        let mut digits = after.bytes();
        let is_hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        is_hex(digits.next()) && is_hex(digits.next())
    })
}

/// `host`, `host:5432`, `[::1]:5432`, or something in brackets that a driver understands.
fn has_proper_port(host: &str) -> bool {
    let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
    match after.split_once(':') {
        None => true,
        Some((_, port)) => port.is_empty() || port.parse::<u16>().is_ok(),
    }
}
