//! What the config says on credentials: the names by which systemd asks for secrets on behalf of
//! units. Pure; uses `raw` and `rules`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::access::AccessRule;
use super::base::{self, Base, Fault};
use super::error::ConfigError;
use super::parts::Parts;
use super::rules::FileRule;
use super::scalar::ReferenceText;
use super::word::{Given, Scalar, Table, Word, given};
use crate::secret::Reference;

/// What `LoadCredential=NAME:SOCKET` is answered. Nothing, if no name is given.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// `None`: beside the usual control socket.
    pub socket: Option<PathBuf>,
    pub names: BTreeMap<String, Credential>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Credential {
    /// As a command line writes it: a dot may part the secret from its field.
    pub secret: Reference,
    pub access: Option<Vec<AccessRule>>,
}

#[derive(Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a map with `names`")]
pub(super) struct RawCredentials {
    /// The socket that units name in LoadCredential= (default: /run/secretfs/credentials.sock)
    socket: Given<PathBuf>,
    /// Credentials by name, each with the secret that it holds
    names: Table<CredentialName, RawCredential>,
}

/// `NAME: REFERENCE`, or `NAME: {secret: REFERENCE, access: …}`.
pub(super) struct RawCredential {
    secret: Reference,
    access: Option<Vec<FileRule>>,
}

#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with its `secret`")]
pub(super) struct CredentialMap {
    /// The secret
    secret: Word<ReferenceText>,
    /// Which units may have it: the first rule that fits decides; without an allow, who fits none may
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<FileRule>")]
    access: Option<Vec<FileRule>>,
}

/// A name that systemd takes for a credential.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CredentialName(pub(super) String);

impl std::fmt::Display for CredentialName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// As long as a file's name may be (systemd.exec(5): names must be suitable for files).
const LONGEST: usize = 255;

impl Scalar for CredentialName {
    const EXPECTED: &'static str = "the name of a credential: printable ASCII without `/` and `:`";

    fn judge(text: &str) -> Result<Self, String> {
        let is_fit = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':');
        let is_name = !text.is_empty() && text.len() <= LONGEST && ![".", ".."].contains(&text);
        match is_name && text.bytes().all(is_fit) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("`{text}` is not {}", Self::EXPECTED)),
        }
    }
}

impl Credentials {
    pub fn is_served(&self) -> bool {
        !self.names.is_empty()
    }

    /// Where the rules of this one stand.
    pub fn place(name: &str) -> [String; 4] {
        ["credentials", "names", name, "access"].map(str::to_owned)
    }

    pub(super) fn add(
        &mut self,
        said: RawCredentials,
        parts: &Parts,
        base: &Base<'_>,
    ) -> Result<(), ConfigError> {
        let socket = said.socket.0.map(|path| base.path(path));
        parts.set("credentials", "socket", &mut self.socket, socket)?;
        for (CredentialName(name), raw) in said.names.0 {
            let at = ["names", &name];
            if self.names.contains_key(&name) {
                return Err(parts.twice(&["credentials", "names", &name]));
            }
            let access = base::access(raw.access, &at).map_err(|Fault { place, problem }| {
                let inside: Vec<_> = place.iter().map(String::as_str).collect();
                parts.error_at(&[&["credentials"], &*inside].concat(), problem)
            })?;
            self.names.insert(name, Credential { secret: raw.secret, access });
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for RawCredential {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(CredentialVisitor)
    }
}

struct CredentialVisitor;

impl<'de> Visitor<'de> for CredentialVisitor {
    type Value = RawCredential;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the credential's secret, or a map with its `secret` and `access`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawCredential, E> {
        let secret = ReferenceText::judge(text).map_err(E::custom)?.parsed;
        Ok(RawCredential { secret, access: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawCredential, A::Error> {
        let CredentialMap { secret, access } = CredentialMap::deserialize(MapAccessDeserializer::new(map))?;
        Ok(RawCredential { secret: secret.0.parsed, access })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    fn parse(text: &str) -> Result<Config, String> {
        let folder = Path::new("/etc/secretfs/config.yaml");
        Config::parse(folder, text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_credential_is_a_reference_or_a_map_with_rules() {
        let text = "credentials:\n  socket: c.sock\n  names:\n    a: db.password\n    b:\n      secret: x#y\n\
                    \x20     access: [{allow: {unit: web.service}}]\n";
        let credentials = parse(text).unwrap().credentials;
        assert_eq!(credentials.socket.as_deref(), Some(Path::new("/etc/secretfs/c.sock")));
        assert_eq!(credentials.names["a"].secret.to_string(), "db.password");
        assert_eq!(credentials.names["b"].secret.to_string(), "x#y");
        assert_eq!(credentials.names["b"].access.as_ref().map(Vec::len), Some(1));
        assert!(credentials.is_served() && !parse("").unwrap().credentials.is_served());
    }

    #[test]
    fn a_mistake_is_told_at_its_place() {
        for (names, place) in [
            ("a/b: x", "3:5"),
            ("\"a:b\": x", "3:5"),
            ("..: x", "3:5"),
            ("a: [x]", "3:8"),
            ("a: {access: []}", "3:8"),
            ("a: {secret: x, acess: []}", "3:20"),
            ("a: {secret: x, access: [{allow: {unit: web}}]}", "3:44"),
            ("a: {secret: x, access: [{allow: anyone, deny: anyone}]}", "3:29"),
            ("a: {secret: x, access: [{allow: {role: nobody}}]}", "3:44"),
        ] {
            let error = parse(&format!("credentials:\n  names:\n    {names}\n")).unwrap_err();
            assert!(error.contains(&format!("config.yaml:{place}:")), "{names}: {error}");
        }
    }
}
