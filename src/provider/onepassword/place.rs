//! What a reference names in 1Password, in our own form and as people copy it from there. Pure.
//!
//! | | |
//! |---|---|
//! | `VAULT/ITEM` | all of an item |
//! | `VAULT/ITEM/FIELD`, `VAULT/ITEM/SECTION/FIELD` | a field of it, or a file |
//! | `ITEM`, `ITEM/FIELD`, … | the same, where the config names the vault |
//! | `op://VAULT/ITEM/FIELD?attribute=otp` | the same, whatever the config names |

use crate::provider::ProviderError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) vault: &'a str,
    pub(super) item: &'a str,
    /// `None`: the whole item.
    pub(super) field: Option<Field<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) section: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) what: Attribute,
}

/// What of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    Value,
    Kind,
    /// The code of this moment.
    Otp,
}

/// What is said of a name that is not the one which counts.
pub(super) const NOT_THE_ONE: &str = "is not the one name that counts where the config has rules on secrets: \
    //VAULT/ITEM/FIELD, or //VAULT/ITEM/SECTION/FIELD if it is in one, by their names to the letter";

impl<'a> Place<'a> {
    /// Where rules are, a value has one name: by names, with its vault, as a field.
    pub(super) fn is_only_name(&self, path: &str) -> Result<(), ProviderError> {
        let only = self.field.map(|Field { section, name, what }| {
            let section = section.map_or_else(String::new, |section| format!("{section}/"));
            let query = match what {
                Attribute::Value => "",
                Attribute::Kind => "?attribute=type",
                Attribute::Otp => "?attribute=otp",
            };
            format!("//{}/{}/{section}{name}{query}", self.vault, self.item)
        });
        let is_by_id = [Some(self.vault), Some(self.item), self.field.map(|field| field.name)]
            .into_iter()
            .flatten()
            .any(is_id);
        match only.as_deref() == Some(path) && !is_by_id {
            true => Ok(()),
            false => Err(ProviderError::Invalid(format!("`{path}` {NOT_THE_ONE}"))),
        }
    }

    pub(super) fn is_code(&self) -> bool {
        self.field.is_some_and(|field| field.what == Attribute::Otp)
    }

    /// `None`: what cannot be there. A provider whose name is `op` finds `//VAULT/…` behind its colon.
    pub(super) fn of(path: &'a str, vault: Option<&'a str>) -> Result<Option<Self>, ProviderError> {
        let absolute = path.strip_prefix("op://").or_else(|| path.strip_prefix("//"));
        let (path, what) = attribute(absolute.unwrap_or(path))?;
        let mut parts: Vec<&str> = path.split('/').collect();
        if let Some(vault) = vault.filter(|_| absolute.is_none()) {
            parts.insert(0, vault);
        }
        if parts.iter().any(|part| part.is_empty() || part.chars().any(char::is_control)) {
            return Ok(None);
        }
        let field = |section, name| Some(Field { section, name, what: what.unwrap_or(Attribute::Value) });
        let (vault, item, field) = match parts[..] {
            [vault, item] if what.is_none() => (vault, item, None),
            [vault, item, name] => (vault, item, field(None, name)),
            [vault, item, section, name] => (vault, item, field(Some(section), name)),
            _ => return Ok(None),
        };
        Ok(Some(Self { vault, item, field }))
    }
}

/// What stands behind a `?`, if it is meant so: a title may have one.
fn attribute(path: &str) -> Result<(&str, Option<Attribute>), ProviderError> {
    let Some((rest, query)) = path.rsplit_once('?') else { return Ok((path, None)) };
    let Some((name, word)) = query.split_once('=') else { return Ok((path, None)) };
    let what = match (name, word) {
        ("attribute" | "attr", "value") => Attribute::Value,
        ("attribute" | "attr", "type") => Attribute::Kind,
        ("attribute" | "attr", "otp") => Attribute::Otp,
        ("attribute" | "attr" | "ssh-format", _) => {
            return Err(ProviderError::Invalid(format!(
                "`?{name}={word}` is not known here: there is `?attribute=` with value, type or otp"
            )));
        }
        _ => return Ok((path, None)),
    };
    Ok((rest, Some(what)))
}

/// Whether it looks like an id: such a word is taken for one first.
pub(super) fn is_id(word: &str) -> bool {
    word.len() == 26 && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(path: &'a str, vault: Option<&'a str>) -> Option<Place<'a>> {
        Place::of(path, vault).ok().flatten()
    }

    fn place<'a>(
        vault: &'a str,
        item: &'a str,
        field: Option<(Option<&'a str>, &'a str, Attribute)>,
    ) -> Place<'a> {
        let field = field.map(|(section, name, what)| Field { section, name, what });
        Place { vault, item, field }
    }

    #[test]
    fn a_place_is_read_in_each_of_its_forms() {
        use Attribute::{Kind, Otp, Value};
        for path in ["Prod/db/user name", "//Prod/db/user name", "op://Prod/db/user name"] {
            assert_eq!(of(path, None), Some(place("Prod", "db", Some((None, "user name", Value)))), "{path}");
        }
        assert_eq!(of("Prod/db", None), Some(place("Prod", "db", None)));
        assert_eq!(of("Prod/db/s/f", None), Some(place("Prod", "db", Some((Some("s"), "f", Value)))));
        assert_eq!(of("db", Some("Prod")), Some(place("Prod", "db", None)));
        assert_eq!(of("db/f", Some("Prod")), Some(place("Prod", "db", Some((None, "f", Value)))));
        assert_eq!(of("op://A/db/f", Some("Prod")), Some(place("A", "db", Some((None, "f", Value)))));
        assert_eq!(of("//A/db/f?attribute=otp", None), Some(place("A", "db", Some((None, "f", Otp)))));
        assert_eq!(of("//A/db/f?attr=type", None), Some(place("A", "db", Some((None, "f", Kind)))));
        assert_eq!(of("A/what?x=y", None), Some(place("A", "what?x=y", None)));
        for path in
            ["", "/", "A", "A/", "A//f", "A/b/", "A/b/c/d/e", "//A", "op://", "A/b?attribute=otp", "A/\0"]
        {
            assert_eq!(of(path, None), None, "{path}");
        }
        assert!(Place::of("A/b/c?attribute=purpose", None).is_err());
        assert!(Place::of("A/b/private key?ssh-format=openssh", None).is_err());
    }

    #[test]
    fn where_rules_are_a_value_has_one_name() {
        let is = |path| of(path, None).unwrap().is_only_name(path).is_ok();
        for path in ["//A/b/c", "//A/b/s/c", "//A/b/c?attribute=otp", "//A/b/what?x", "//A/b/what?x=value"] {
            assert!(is(path), "{path}");
        }
        let by_id = format!("//A/{}/c", "a".repeat(26));
        for path in [
            "A/b/c",
            "op://A/b/c",
            "//A/b",
            "//A/b/c?attr=otp",
            "//A/b/c?attribute=value",
            "//A/b/c?attr=value",
            &by_id,
        ] {
            assert!(!is(path), "{path}");
        }
    }

    #[test]
    fn an_id_is_what_looks_like_one() {
        assert!(is_id("ftz4pm2xxwmwrsd7rjqn7grzfz"));
        for word in [
            "",
            "Prod",
            "FTZ4PM2XXWMWRSD7RJQN7GRZFZ",
            "ftz4pm2xxwmwrsd7rjqn7grzf",
            "ftz4pm2xxwmwrsd7rjqn7grzfzz",
        ] {
            assert!(!is_id(word), "{word}");
        }
    }
}
