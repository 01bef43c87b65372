//! What a reference names there: a secret of a project, and which of its versions. What cannot be a name there is
//! not asked for. Pure.

use crate::net::{NetErrorKind, Route};

/// Where secrets are looked for.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Of references that name none.
    pub(super) project: String,
    /// A region; else they are everywhere.
    pub(super) location: Option<String>,
    /// There are rules on names, which must not be gone round by another name.
    pub(super) has_one_name: bool,
}

/// One version of one secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    project: &'a str,
    secret: &'a str,
    version: Version<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version<'a> {
    Latest,
    Number(u64),
    Alias(&'a str),
}

/// Why nobody can be asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// There cannot be such a secret.
    Never,
    Wrong(&'static str),
}

const TWO_VERSIONS: &str = "it names a version twice, by `/versions/` and by `@`";
const ANOTHER_NAME: &str = "the config has rules on secrets, where each has one name: give the secret's own name alone, and a version by `@NUMBER`";
const ELSEWHERE: &str = "it names another location than the config's `location`, where alone is asked";
/// The most letters of a secret's name, and of an alias.
const LONGEST: usize = 255;
const LONGEST_ALIAS: usize = 63;

impl Place {
    /// `SECRET` or `projects/PROJECT/[locations/LOCATION/]secrets/SECRET`, both also with `/versions/VERSION`.
    pub(super) fn named<'a>(&'a self, path: &'a str, number: Option<u64>) -> Result<Named<'a>, Unnamed> {
        let (secret, version) = match path.split_once("/versions/") {
            Some((secret, version)) => (secret, Some(Version::of(version).ok_or(Unnamed::Never)?)),
            None => (path, None),
        };
        let version = match (version, number) {
            (Some(_), Some(_)) => return Err(Unnamed::Wrong(TWO_VERSIONS)),
            (None, Some(number)) => Version::Number(number),
            (given, None) => given.unwrap_or(Version::Latest),
        };
        let (project, secret) = self.secret(secret)?;
        if self.has_one_name && secret != path {
            return Err(Unnamed::Wrong(ANOTHER_NAME));
        }
        Ok(Named { project, secret, version })
    }

    fn secret<'a>(&'a self, path: &'a str) -> Result<(&'a str, &'a str), Unnamed> {
        let parts: Vec<_> = path.split('/').collect();
        let (project, location, secret) = match parts[..] {
            [secret] => (None, None, secret),
            ["projects", project, "secrets", secret] => (Some(project), None, secret),
            ["projects", project, "locations", location, "secrets", secret] => {
                (Some(project), Some(location), secret)
            }
            _ => return Err(Unnamed::Never),
        };
        if !is_secret(secret) || project.is_some_and(|it| !is_project(it)) {
            return Err(Unnamed::Never);
        }
        if location.is_some() && location != self.location.as_deref() {
            return Err(Unnamed::Wrong(ELSEWHERE));
        }
        Ok((project.unwrap_or(&self.project), secret))
    }

    /// All secrets of the config's project.
    pub(super) fn secrets(&self) -> Result<Route, NetErrorKind> {
        self.secrets_of(&self.project)
    }

    fn secrets_of(&self, project: &str) -> Result<Route, NetErrorKind> {
        let route = Route::to("/v1/projects").name(project)?;
        let route = match &self.location {
            Some(location) => route.then("/locations").name(location)?,
            None => route,
        };
        Ok(route.then("/secrets"))
    }

    pub(super) fn access(&self, named: &Named<'_>) -> Result<Route, NetErrorKind> {
        let route = self.secrets_of(named.project)?.name(named.secret)?.then("/versions");
        let route = match named.version {
            Version::Latest => route.name("latest"),
            Version::Number(number) => route.name(&number.to_string()),
            Version::Alias(alias) => route.name(alias),
        };
        Ok(route?.then(":access"))
    }
}

impl Named<'_> {
    pub(super) fn secret(&self) -> &str {
        self.secret
    }

    /// The only version that can be the answer, if that is known.
    pub(super) fn number(&self) -> Option<u64> {
        match self.version {
            Version::Number(number) => Some(number),
            _ => None,
        }
    }
}

impl<'a> Version<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let is_alias = |text: &str| {
            text.len() <= LONGEST_ALIAS
                && text.starts_with(|it: char| it.is_ascii_alphabetic())
                && is_word(text)
        };
        match text.parse() {
            _ if text == "latest" => Some(Self::Latest),
            Ok(number) if number > 0 && !text.starts_with(['+', '0']) => Some(Self::Number(number)),
            Ok(_) => None,
            Err(_) => is_alias(text).then_some(Self::Alias(text)),
        }
    }
}

pub(super) fn is_secret(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && is_word(text)
}

/// Its name or its number; of an elder one, also with a domain before.
fn is_project(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':');
    !matches!(text, "" | "." | "..") && text.len() <= LONGEST && text.bytes().all(is_fit)
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(location: Option<&str>) -> Place {
        Place { project: "p-1".to_owned(), location: location.map(str::to_owned), has_one_name: false }
    }

    fn route(place: &Place, path: &str, version: Option<u64>) -> Result<String, Unnamed> {
        let named = place.named(path, version)?;
        Ok(place.access(&named).unwrap().as_str().to_owned())
    }

    #[test]
    fn a_secret_is_named_by_itself_or_in_full() {
        let place = place(None);
        for (path, version, there) in [
            ("db", None, "p-1/secrets/db/versions/latest"),
            ("db", Some(3), "p-1/secrets/db/versions/3"),
            ("db/versions/live", None, "p-1/secrets/db/versions/live"),
            ("db/versions/latest", None, "p-1/secrets/db/versions/latest"),
            ("db/versions/12", None, "p-1/secrets/db/versions/12"),
            ("projects/other/secrets/db", None, "other/secrets/db/versions/latest"),
            ("projects/42/secrets/db/versions/7", None, "42/secrets/db/versions/7"),
            ("projects/example.com:a/secrets/db", None, "example.com%3Aa/secrets/db/versions/latest"),
        ] {
            assert_eq!(route(&place, path, version), Ok(format!("/v1/projects/{there}:access")), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_there_is_not_asked_for() {
        let place = place(None);
        let long = "a".repeat(256);
        for path in [
            "",
            "a b",
            "é",
            "..",
            ".",
            "a/b",
            "../x",
            "a//b",
            "%2e",
            "a?b",
            "a.b",
            &long,
            "a/versions/",
            "a/versions/0",
            "a/versions/01",
            "a/versions/1x",
            "a/versions/-x",
            "a/versions/1/x",
            "projects/p/secrets/",
            "projects/../secrets/a",
            "projects/p/x/secrets/a",
            "/a",
        ] {
            assert_eq!(route(&place, path, None), Err(Unnamed::Never), "{path}");
        }
    }

    #[test]
    fn what_is_named_wrongly_is_said() {
        let (global, here) = (place(None), place(Some("europe-west1")));
        assert_eq!(route(&global, "db/versions/1", Some(1)), Err(Unnamed::Wrong(TWO_VERSIONS)));
        let full = "projects/p-1/locations/europe-west1/secrets/db";
        assert_eq!(route(&global, full, None), Err(Unnamed::Wrong(ELSEWHERE)));
        let there = format!("/v1/{full}/versions/latest:access");
        assert_eq!(route(&here, full, None), Ok(there.clone()));
        assert_eq!(route(&here, "db", None), Ok(there));
    }

    #[test]
    fn where_there_are_rules_a_secret_has_one_name() {
        let place = Place { has_one_name: true, ..place(None) };
        for path in ["db/versions/latest", "db/versions/3", "db/versions/live", "projects/p-1/secrets/db"] {
            assert_eq!(route(&place, path, None), Err(Unnamed::Wrong(ANOTHER_NAME)), "{path}");
        }
        assert!(route(&place, "db", None).is_ok() && route(&place, "db", Some(3)).is_ok(), "the control");
    }
}
