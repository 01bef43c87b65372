//! The parts of a connection string. Its values stay `SecretBytes`: what stands in the wrong place may
//! be a piece of the password. Uses percent-encoding.

use percent_encoding::percent_decode_str;

use crate::secret::SecretBytes;

pub(super) struct Url<'a> {
    /// In small letters, without `jdbc:` and a driver of some library.
    pub(super) scheme: String,
    pub(super) user: Option<SecretBytes>,
    pub(super) password: Option<SecretBytes>,
    /// In their order; a port only where one is named.
    pub(super) hosts: Vec<(&'a str, Option<u16>)>,
    /// Without its first slash.
    pub(super) path: SecretBytes,
    query: Vec<(&'a str, &'a str)>,
}

impl<'a> Url<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let text = text.strip_prefix("jdbc:").unwrap_or(text);
        let (scheme, rest) = text.split_once(':')?;
        let scheme = without_driver(scheme).to_ascii_lowercase();
        let rest = rest.split('#').next().unwrap_or(rest);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let query = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let rest = rest.strip_prefix("//")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) =
            authority.rsplit_once('@').map_or((None, authority), |(login, it)| (Some(login), it));
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (decoded(user), decoded(password)),
            None => (None, None),
        };
        let hosts = hosts.split(',').filter(|host| !host.is_empty()).map(host).collect::<Option<_>>()?;
        let path = decoded(path).unwrap_or_else(|| SecretBytes::copy_of(b""));
        Some(Self { scheme, user, password, hosts, path, query })
    }

    /// What a parameter says, as it is written.
    pub(super) fn parameter(&self, name: &str) -> Option<&'a str> {
        self.query.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The user, in front of the host or as a parameter.
    pub(super) fn login(&self) -> (SecretBytes, SecretBytes) {
        let of = |part: &Option<SecretBytes>, name| match part {
            Some(part) => SecretBytes::copy_of(part.expose()),
            None => self.parameter(name).and_then(decoded).unwrap_or_else(|| SecretBytes::copy_of(b"")),
        };
        (of(&self.user, "user"), of(&self.password, "password"))
    }

    pub(super) fn has_password(&self) -> bool {
        !self.login().1.expose().is_empty()
    }
}

/// `postgresql+psycopg2` is PostgreSQL; `mongodb+srv` is found in another way than `mongodb`.
fn without_driver(scheme: &str) -> &str {
    let known = scheme.split_once('+').map(|(known, _)| known);
    known
        .filter(|known| known.starts_with("postgres") || matches!(*known, "mysql" | "mariadb"))
        .unwrap_or(scheme)
}

/// `None` if there is nothing.
pub(super) fn decoded(text: &str) -> Option<SecretBytes> {
    // In one allocation, which is the value's from then on.
    let mut bytes = Vec::with_capacity(text.len());
    bytes.extend(percent_decode_str(text));
    (!bytes.is_empty()).then(|| SecretBytes::new(bytes))
}

fn host(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(inside) => {
            let (host, after) = inside.split_once(']')?;
            (host, after.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    match port.filter(|port| !port.is_empty()) {
        None => Some((host, None)),
        Some(port) => Some((host, Some(port.parse().ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &Option<SecretBytes>) -> Option<&[u8]> {
        value.as_ref().map(SecretBytes::expose)
    }

    #[test]
    fn the_parts_are_where_drivers_look_for_them() {
        let url = Url::parse(b"postgresql+psycopg2://me:p%40%2Fs@one:5433,[::1]/app%20x?sslmode=require#f")
            .unwrap();
        assert_eq!(
            (url.scheme.as_str(), text(&url.user), text(&url.password)),
            ("postgresql", Some(&b"me"[..]), Some(&b"p@/s"[..]))
        );
        assert_eq!(url.hosts, [("one", Some(5433)), ("::1", None)]);
        assert_eq!((url.path.expose(), url.parameter("SSLMODE")), (&b"app x"[..], Some("require")));
        let url = Url::parse(b"jdbc:mysql://db/app?user=u&password=%3D").unwrap();
        assert_eq!(
            (url.scheme.as_str(), url.login().0.expose(), url.login().1.expose()),
            ("mysql", &b"u"[..], &b"="[..])
        );
        let url = Url::parse(b"redis://:only@h").unwrap();
        assert_eq!((text(&url.user), text(&url.password)), (None, Some(&b"only"[..])));
        assert_eq!(Url::parse(b"mongodb+srv://h/d").unwrap().scheme, "mongodb+srv");
        for odd in [&b"redis:h"[..], b"x", b"a://h:port", b"a://[::1", b"\xff://h"] {
            assert!(Url::parse(odd).is_none());
        }
    }
}
