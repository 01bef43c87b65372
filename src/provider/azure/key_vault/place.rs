//! What a reference names in a key vault: `NAME` or `NAME/VERSION`, each in one form. Pure.

use crate::provider::ProviderError;

/// What a reference names there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) version: Option<&'a str>,
}

/// Digits of a version.
pub(super) const DIGITS: usize = 32;
const LONGEST_NAME: usize = 127;

impl<'a> Place<'a> {
    /// `None`: what cannot be there.
    pub(super) fn of(path: &'a str) -> Result<Option<Self>, ProviderError> {
        let parts = path.split_once('/');
        let (name, version) = parts.map_or((path, None), |(name, version)| (name, Some(version)));
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_small = |text: &str| !text.bytes().any(|byte| byte.is_ascii_uppercase());
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_fit) {
            return Ok(None);
        }
        // A rule on one of its names must hold for all of it.
        if !is_small(name) {
            let small = name.to_ascii_lowercase();
            let why = format!("names in a key vault know no case: write `{small}` for `{name}`");
            return Err(ProviderError::Invalid(why));
        }
        Ok(version.is_none_or(|it| is_version(it) && is_small(it)).then_some(Self { name, version }))
    }

    /// The version that this id is of (`https://VAULT/secrets/NAME/VERSION`), as a number that is never 0. `None`: it is
    /// of another secret, or of a version that was not asked for.
    pub(super) fn version_of(&self, id: &str) -> Option<u64> {
        let mut parts = id.rsplit('/');
        let (version, name) = (parts.next()?, parts.next()?);
        let is_it = parts.next()? == "secrets" && self.name.eq_ignore_ascii_case(name);
        let is_wanted = self.version.is_none_or(|it| it.eq_ignore_ascii_case(version));
        let digits = version.get(..13).filter(|_| is_it && is_wanted && is_version(version))?;
        u64::from_str_radix(digits, 16).ok().map(|number| number + 1)
    }
}

fn is_version(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_name_and_perhaps_a_version() {
        let version = "4387e9f3d6e14c459867679a90fd0f79";
        let of = |path| Place::of(path).ok().flatten();
        assert_eq!(of("db-1"), Some(Place { name: "db-1", version: None }));
        let path = format!("db/{version}");
        assert_eq!(of(&path), Some(Place { name: "db", version: Some(version) }));
        for path in ["", "/", "a/", "a/1", "a b", "..", "a%2fb", "é", "a//b", "a/../b", &"a".repeat(128)] {
            assert!(matches!(Place::of(path), Ok(None)), "{path}");
        }
        assert!(matches!(Place::of(&format!("{path}/x")), Ok(None)));
        let Err(why) = Place::of("DB-1") else { panic!("two names for one secret") };
        assert!(why.to_string().contains("write `db-1`"), "{why}");
    }

    #[test]
    fn a_version_is_a_number_that_tells_it_from_others() {
        let place = Place { name: "db", version: None };
        let of = |version: &str| place.version_of(&format!("https://v/secrets/DB/{version}"));
        assert_eq!(of(&"0".repeat(32)), Some(1));
        assert_eq!(of(&"f".repeat(32)), Some(1 << 52));
        assert_ne!(of(&"ab".repeat(16)), of(&"ac".repeat(16)));
        let digits = "4387e9f3d6e14c459867679a90fd0f79";
        let pinned = Place { name: "db", version: Some(digits) };
        assert!(pinned.version_of(&format!("https://v/secrets/db/{}", digits.to_uppercase())).is_some());
        let other = "0".repeat(32);
        for id in ["secrets/db", "secrets/db/", "secrets/db/1", &format!("secrets/other/{digits}")] {
            assert_eq!(place.version_of(&format!("https://v/{id}")), None, "{id}");
        }
        assert_eq!(pinned.version_of(&format!("https://v/secrets/db/{other}")), None);
        assert_eq!(place.version_of(&format!("https://v/keys/db/{digits}")), None);
    }
}
