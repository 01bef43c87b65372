//! How a provider elsewhere is reached: its address, and whom to believe that it is. Plain HTTP stays on
//! this machine, and nothing turns the check of certificates off. Pure.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use schemars::JsonSchema;

use super::scalar::choice;
use super::word::{Given, Scalar, Word};

/// What a client of the network is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    pub address: Address,
    pub tls: Tls,
}

/// Where a server is: `https://vault.example.com:8200/prefix`. Only ever of this machine without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub is_tls: bool,
    /// Lower case; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    /// Before every path: empty, or from `/` on and without one at its end.
    pub prefix: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities beside those of the system.
    pub ca: Option<PathBuf>,
    /// If there are some: one certificate of the chain must have one of these keys.
    pub pins: Vec<Pin>,
    /// What the server knows us by.
    pub identity: Option<Identity>,
    pub min: TlsVersion,
    /// The name in its certificate, if that is not the host of the address.
    pub server_name: Option<String>,
}

/// The hash of a certificate's public key (SHA-256 of its SubjectPublicKeyInfo).
#[derive(Clone, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

/// Files with a client's certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    #[default]
    Tls12,
    Tls13,
}

#[derive(Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a map of settings: ca, pins, …")]
pub(super) struct RawTls {
    /// A file of authorities (PEM) that are believed beside those of the system
    ca: Given<PathBuf>,
    /// One certificate of the server's chain must have one of these keys: sha256/BASE64
    pins: Vec<Word<Pin>>,
    /// The certificate (PEM, with its chain) by which the server knows us. A new one is taken up by itself
    cert: Given<PathBuf>,
    /// The private key of that certificate (PEM, without a passphrase)
    key: Given<PathBuf>,
    /// The oldest version of TLS, in quotes (default: "1.2")
    min: Given<TlsVersion>,
    /// The name in the server's certificate (default: the host of the address)
    server_name: Given<ServerName>,
}

impl Transport {
    /// `Err` names the key that is wrong, and says why. Relative files begin at `place`.
    pub(super) fn judge(
        address: Option<Address>,
        tls: Option<RawTls>,
        place: impl Fn(PathBuf) -> PathBuf,
    ) -> Result<Self, (&'static str, String)> {
        let Some(address) = address else {
            return Err(("type", format!("a provider of this type needs {}", Address::EXPECTED)));
        };
        if tls.is_some() && !address.is_tls {
            return Err(("tls", "the address is http://, where there is no TLS to set".to_owned()));
        }
        let tls = tls.unwrap_or_default();
        let identity = match (tls.cert.0, tls.key.0) {
            (Some(cert), Some(key)) => Some(Identity { cert: place(cert), key: place(key) }),
            (None, None) => None,
            (Some(_), None) => return Err(("tls", "a `cert` needs its `key`".to_owned())),
            (None, Some(_)) => return Err(("tls", "a `key` needs its `cert`".to_owned())),
        };
        let tls = Tls {
            ca: tls.ca.0.map(place),
            pins: tls.pins.into_iter().map(|pin| pin.0).collect(),
            identity,
            min: tls.min.0.unwrap_or_default(),
            server_name: tls.server_name.0.map(|name| name.0),
        };
        Ok(Self { address, tls })
    }
}

impl Address {
    /// Where a URL leads that somebody else has written, up to its path: over TLS, or not beyond this machine and its link.
    pub fn of_origin(text: &str) -> Option<Self> {
        let near = |it: &Self| it.is_tls || it.is_loopback() || it.is_metadata();
        Self::read(text).ok().filter(near)
    }

    /// Whether it is this machine, whatever a resolver says.
    pub fn is_loopback(&self) -> bool {
        let v4 = || self.host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
        let v6 = || self.host.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback());
        self.host == "localhost" || v4() || v6()
    }

    /// Whether it is what tells a machine of a cloud about itself: it does not leave the link, and speaks no TLS.
    pub fn is_metadata(&self) -> bool {
        !self.is_tls && METADATA.contains(&&*self.host)
    }

    /// Whether it is on this machine's own link by its number, where a platform tells a program who it is. No name: that
    /// may lead anywhere.
    pub fn is_on_link(&self) -> bool {
        let v4 = || self.host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_link_local());
        let v6 = || self.host.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_unicast_link_local());
        !self.is_tls && (self.is_metadata() || v4() || v6())
    }

    /// Host and port, as a request names them.
    pub fn authority(&self) -> String {
        let usual = if self.is_tls { 443 } else { 80 };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

/// As the config takes it: http:// is for this machine only.
impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::judge(text)
    }
}

/// Where AWS, Azure and others tell a machine about itself, and AWS a container.
pub(super) const METADATA: [&str; 5] =
    ["169.254.169.254", "fd00:ec2::254", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

impl Scalar for Address {
    const EXPECTED: &'static str = "an address like https://host:8200";

    fn judge(text: &str) -> Result<Self, String> {
        let address = Self::read(text)?;
        if !address.is_tls && !address.is_loopback() {
            return Err(format!(
                "`{text}` would send secrets in the clear over a network: use https:// (http:// is for this machine only)"
            ));
        }
        Ok(address)
    }
}

impl Address {
    /// Wherever it is, and in whatever way it is spoken to.
    pub fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not {}", Self::EXPECTED);
        // What stands before an `@` is never shown.
        if text.contains('@') {
            return Err("a login does not belong into an address; give the address without it".to_owned());
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let is_tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(wrong()),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_port(authority).ok_or_else(wrong)?;
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?,
            None if is_tls => 443,
            None => 80,
        };
        Ok(Self {
            is_tls,
            host: host_of(host).ok_or_else(wrong)?,
            port,
            prefix: prefix_of(path).ok_or_else(wrong)?,
        })
    }
}

/// An IPv6 address has brackets, since it has colons of its own.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let (host, rest) = authority.split_at(authority.find(']')? + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

fn host_of(text: &str) -> Option<String> {
    if let Some(inside) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return inside.parse::<Ipv6Addr>().ok().map(|ip| ip.to_string());
    }
    is_host(text).then(|| text.to_ascii_lowercase())
}

fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)
}

/// Parts that mean themselves: nothing to be encoded, and no way up.
fn prefix_of(path: &str) -> Option<String> {
    let prefix = path.strip_suffix('/').unwrap_or(path);
    let is_plain = |part: &str| {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(is_fit)
    };
    (prefix.is_empty() || prefix[1..].split('/').all(is_plain)).then(|| prefix.to_owned())
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Scalar for Pin {
    const EXPECTED: &'static str = "a pin like sha256/BASE64, the hash of a certificate's public key";

    fn judge(text: &str) -> Result<Self, String> {
        let hash = text.strip_prefix("sha256/").and_then(|hash| STANDARD.decode(hash).ok());
        let hash = hash.and_then(|hash| hash.try_into().ok());
        hash.map(Self).ok_or_else(|| format!("`{text}` is not {}", Self::EXPECTED))
    }
}

impl TlsVersion {
    const ALL: [(&str, Self); 2] = [("1.2", Self::Tls12), ("1.3", Self::Tls13)];

    pub(super) const NAMES: [&str; 2] = [Self::ALL[0].0, Self::ALL[1].0];

    pub fn name(self) -> &'static str {
        Self::NAMES[usize::from(self == Self::Tls13)]
    }
}

impl Scalar for TlsVersion {
    const EXPECTED: &'static str = "a version of TLS in quotes: \"1.2\" or \"1.3\"";

    fn judge(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, version)| *version).ok_or_else(|| choice(text, "version of TLS", &Self::NAMES, &[]))
    }
}

/// A name that a certificate can be for.
pub(super) struct ServerName(pub(super) String);

impl Scalar for ServerName {
    const EXPECTED: &'static str = "a host's name like vault.example.com";

    fn judge(text: &str) -> Result<Self, String> {
        let name = host_of(text).or_else(|| text.parse::<Ipv6Addr>().ok().map(|ip| ip.to_string()));
        name.map(Self).ok_or_else(|| format!("`{text}` is not {}", Self::EXPECTED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(text: &str) -> RawTls {
        serde_yaml::from_str(text).unwrap()
    }

    fn judge(address: &str, given: Option<&str>) -> Result<Transport, (&'static str, String)> {
        let address = Address::judge(address).unwrap();
        Transport::judge(Some(address), given.map(tls), |path| PathBuf::from("/etc").join(path))
    }

    #[test]
    fn an_address_is_read_and_written() {
        for (text, written) in [
            ("https://vault.example.com", "https://vault.example.com"),
            ("https://Vault:8200/", "https://vault:8200"),
            ("https://vault:443/a/b", "https://vault/a/b"),
            ("https://[2001:DB8::1]:8200", "https://[2001:db8::1]:8200"),
            ("http://127.0.0.1:8200", "http://127.0.0.1:8200"),
            ("http://localhost", "http://localhost"),
            ("http://[::1]:1", "http://[::1]:1"),
        ] {
            assert_eq!(Address::judge(text).unwrap().to_string(), written, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "vault:8200",
            "ftp://vault",
            "https://",
            "https://:8200",
            "https://vault:0",
            "https://vault:70000",
            "https://va ult",
            "https://vault?x=1",
            "https://vault/#x",
            "https://vault/a//b",
            "https://vault/../x",
            "https://vault/%2e%2e",
            "https://[::1",
            "https://::1",
            "https://a..b",
        ] {
            assert!(Address::judge(text).is_err(), "{text}");
        }
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for text in ["http://vault:8200", "http://10.0.0.1", "http://127.0.0.1.example.com", "http://[::2]"] {
            let why = Address::judge(text).unwrap_err();
            assert!(why.contains("in the clear") && why.contains("https://"), "{why}");
        }
    }

    #[test]
    fn a_login_in_an_address_is_not_quoted() {
        let why = Address::judge("https://root:hunter2@vault").unwrap_err();
        assert!(why.contains("login") && !why.contains("hunter2"), "{why}");
    }

    #[test]
    fn settings_of_tls_are_judged_together() {
        let full = "{ca: ca.pem, cert: c.pem, key: k.pem, min: '1.3', server_name: vault.internal}";
        let whole = judge("https://vault", Some(full)).unwrap();
        assert_eq!(whole.tls.ca, Some("/etc/ca.pem".into()));
        assert_eq!(
            whole.tls.identity,
            Some(Identity { cert: "/etc/c.pem".into(), key: "/etc/k.pem".into() })
        );
        assert_eq!(
            (whole.tls.min, whole.tls.server_name.as_deref()),
            (TlsVersion::Tls13, Some("vault.internal"))
        );
        assert_eq!(judge("https://vault", None).unwrap().tls, Tls::default());
        for (address, given, words) in [
            ("https://vault", "{cert: c.pem}", "needs its `key`"),
            ("https://vault", "{key: k.pem}", "needs its `cert`"),
            ("http://localhost", "{ca: c.pem}", "no TLS"),
        ] {
            let (key, why) = judge(address, Some(given)).unwrap_err();
            assert!(key == "tls" && why.contains(words), "{why}");
        }
        let (_, why) = Transport::judge(None, None, |path| path).unwrap_err();
        assert!(why.contains("https://host:8200"), "{why}");
    }

    #[test]
    fn a_pin_is_a_whole_hash() {
        let text = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(Pin::judge(text).unwrap().to_string(), text);
        for wrong in ["47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "sha256/AAAA", "sha1/AAAA", "sha256/!"]
        {
            assert!(Pin::judge(wrong).is_err(), "{wrong}");
        }
        assert!(TlsVersion::judge("1.1").unwrap_err().contains("1.2"));
    }
}
