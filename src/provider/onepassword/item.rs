//! An item as Connect describes it, and what a reference finds in it: a field by its id, else by its label, or a file. Two
//! that fit are an error that names both. Uses `net`'s documents.

use super::place::{Attribute, Field};
use crate::net::{Json, JsonError};
use crate::provider::ProviderError;
use crate::provider::fields::{Fields, MOST};
use crate::secret::{FieldName, SecretBytes};

/// Looked into while its document is there.
pub(super) struct Item<'a> {
    fields: Vec<One<'a>>,
    files: Vec<One<'a>>,
    /// Ids and labels.
    sections: Vec<(String, String)>,
}

/// A field, or a file.
struct One<'a> {
    id: String,
    label: String,
    section: Option<String>,
    json: Json<'a>,
}

/// What was found.
pub(super) enum Found {
    Value(SecretBytes),
    /// The content is elsewhere.
    File(String),
    None,
}

impl<'a> Item<'a> {
    pub(super) fn read(document: Json<'a>) -> Result<Self, JsonError> {
        let list = |name: &str| Ok(document.get(name)?.map(Json::items).transpose()?.unwrap_or_default());
        let word = |json: Json<'_>, name: &str| -> Result<String, JsonError> {
            Ok(json.get(name)?.map(Json::text).transpose()?.unwrap_or_default())
        };
        let one = |json: Json<'a>, label: &str| -> Result<One<'a>, JsonError> {
            let section = json.get("section")?.map(|section| word(section, "id")).transpose()?;
            let section = section.filter(|id| !id.is_empty());
            Ok(One { id: word(json, "id")?, label: word(json, label)?, section, json })
        };
        let all = |list: Vec<Json<'a>>, label| -> Result<Vec<One<'a>>, JsonError> {
            list.into_iter().map(|json| one(json, label)).collect()
        };
        let sections: Vec<Json<'a>> = list("sections")?;
        let section = |json: Json<'a>| Ok((word(json, "id")?, word(json, "label")?));
        Ok(Self {
            fields: all(list("fields")?, "label")?,
            files: all(list("files")?, "name")?,
            sections: sections.into_iter().map(section).collect::<Result<_, JsonError>>()?,
        })
    }

    /// All fields whose labels can be names of fields here and are there once; and `value`: the password, or the one thing
    /// that is concealed, or the note.
    pub(super) fn all(&self) -> Result<Fields, JsonError> {
        let mut fields = Fields::new();
        for field in &self.fields {
            let is_only = self.fields.iter().filter(|it| it.label == field.label).count() == 1;
            let name = FieldName::parse(&field.label).ok().filter(|_| is_only);
            let value = field.json.get("value")?.map(Json::value);
            if let (Some(name), Some(value)) = (name, value)
                && fields.len() < MOST - 1
            {
                fields.insert(name, value);
            }
        }
        if !fields.contains_key(FieldName::VALUE)
            && let Some(main) = self.main()?
        {
            fields.insert(FieldName::value(), main);
        }
        Ok(fields)
    }

    fn main(&self) -> Result<Option<SecretBytes>, JsonError> {
        for (name, word) in [("purpose", "PASSWORD"), ("type", "CONCEALED"), ("purpose", "NOTES")] {
            let is = |field: &&One<'_>| {
                field.json.get(name).ok().flatten().and_then(|it| it.text().ok()).is_some_and(|it| it == word)
            };
            let mut fitting = self.fields.iter().filter(is);
            if let (Some(field), None) = (fitting.next(), fitting.next())
                && let Some(value) = field.json.get("value")?
            {
                return Ok(Some(value.value()));
            }
        }
        Ok(None)
    }

    pub(super) fn find(&self, wanted: &Field<'_>) -> Result<Found, ProviderError> {
        let in_section = |one: &&One<'_>| match wanted.section {
            None => true,
            Some(section) => one.section.as_deref().is_some_and(|id| self.is_section(id, section)),
        };
        let all: Vec<&One<'_>> = self.fields.iter().chain(&self.files).filter(in_section).collect();
        let by_id: Vec<_> = all.iter().copied().filter(|one| one.id == wanted.name).collect();
        let is_labelled = |one: &&One<'_>| {
            one.label.eq_ignore_ascii_case(wanted.name) || one.id.eq_ignore_ascii_case(wanted.name)
        };
        let fitting = if by_id.is_empty() { all.into_iter().filter(is_labelled).collect() } else { by_id };
        match fitting[..] {
            [] => Ok(Found::None),
            [one] => self.look(one, wanted.what),
            [one, other, ..] => Err(ProviderError::Invalid(format!(
                "the item has several of the name `{}`: `{}` and `{}`; name the section, or one of these ids",
                wanted.name, one.id, other.id
            ))),
        }
    }

    /// Whether these words are its own to the letter, and its section is named if it has one.
    pub(super) fn is_named_so(&self, wanted: &Field<'_>) -> bool {
        let is_section = |one: &One<'_>| match (&one.section, wanted.section) {
            (None, None) => true,
            (Some(id), Some(label)) => self.sections.iter().any(|(known, its)| known == id && its == label),
            _ => false,
        };
        self.fields.iter().chain(&self.files).any(|one| one.label == wanted.name && is_section(one))
    }

    fn look(&self, one: &One<'_>, what: Attribute) -> Result<Found, ProviderError> {
        if self.files.iter().any(|file| std::ptr::eq(file, one)) {
            return match what {
                Attribute::Value => Ok(Found::File(one.id.clone())),
                _ => Ok(Found::None),
            };
        }
        let member = match what {
            Attribute::Value => "value",
            Attribute::Kind => "type",
            Attribute::Otp => "totp",
        };
        let value = one.json.get(member).map_err(ProviderError::from)?;
        Ok(match (value, what) {
            (Some(value), _) => Found::Value(value.value()),
            // An empty field has no member for its value.
            (None, Attribute::Value) => Found::Value(SecretBytes::copy_of(b"")),
            (None, _) => Found::None,
        })
    }

    fn is_section(&self, id: &str, wanted: &str) -> bool {
        let labels = self.sections.iter().filter(|(known, _)| known == id).map(|(_, label)| label);
        id.eq_ignore_ascii_case(wanted) || labels.into_iter().any(|label| label.eq_ignore_ascii_case(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEM: &str = r#"{"id": "i", "sections": [{"id": "s1", "label": "Admin"}, {"id": "s2", "label": "App"}],
        "fields": [
            {"id": "username", "label": "username", "type": "STRING", "purpose": "USERNAME", "value": "u"},
            {"id": "password", "label": "password", "type": "CONCEALED", "purpose": "PASSWORD", "value": "p"},
            {"id": "f1", "label": "Token", "type": "CONCEALED", "section": {"id": "s1"}, "value": "t1"},
            {"id": "f2", "label": "token", "type": "CONCEALED", "section": {"id": "s2"}, "value": "t2"},
            {"id": "f3", "label": "code", "type": "OTP", "value": "otpauth://x", "totp": "123456"},
            {"id": "f4", "label": "empty", "type": "STRING"}],
        "files": [{"id": "x1", "name": "key.pem", "size": 3}]}"#;

    fn found(section: Option<&str>, name: &str, what: Attribute) -> Result<String, String> {
        let item = Item::read(Json::read(ITEM.as_bytes()).unwrap()).unwrap();
        match item.find(&Field { section, name, what }) {
            Ok(Found::Value(value)) => Ok(String::from_utf8(value.expose().to_vec()).unwrap()),
            Ok(Found::File(id)) => Ok(format!("file {id}")),
            Ok(Found::None) => Err("none".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_field_is_found_by_its_id_or_its_label_in_its_section() {
        use Attribute::{Kind, Otp, Value};
        for (section, name, what, value) in [
            (None, "password", Value, "p"),
            (None, "Username", Value, "u"),
            (Some("admin"), "token", Value, "t1"),
            (Some("s2"), "TOKEN", Value, "t2"),
            (None, "f1", Value, "t1"),
            (None, "code", Otp, "123456"),
            (None, "code", Value, "otpauth://x"),
            (None, "code", Kind, "OTP"),
            (None, "empty", Value, ""),
            (None, "Key.pem", Value, "file x1"),
        ] {
            assert_eq!(found(section, name, what).as_deref(), Ok(value), "{name}");
        }
        for (section, name, what) in [
            (None, "none", Value),
            (Some("s1"), "password", Value),
            (None, "password", Otp),
            (Some("s3"), "token", Value),
        ] {
            assert_eq!(found(section, name, what), Err("none".to_owned()), "{name}");
        }
        let why = found(None, "token", Value).unwrap_err();
        assert!(why.contains("`f1` and `f2`"), "{why}");
    }

    #[test]
    fn one_name_of_a_field_is_its_own() {
        let item = Item::read(Json::read(ITEM.as_bytes()).unwrap()).unwrap();
        let is = |section, name| item.is_named_so(&Field { section, name, what: Attribute::Value });
        assert!(is(None, "password") && is(Some("Admin"), "Token") && is(None, "key.pem"));
        assert!(!is(None, "Password") && !is(None, "Token") && !is(Some("s1"), "Token") && !is(None, "f3"));
    }

    #[test]
    fn a_whole_item_has_its_labels_and_its_password_as_value() {
        let item = Item::read(Json::read(ITEM.as_bytes()).unwrap()).unwrap();
        let all = item.all().unwrap();
        let names: Vec<_> = all.keys().map(FieldName::as_str).collect();
        assert_eq!(names, ["Token", "code", "password", "token", "username", "value"]);
        assert!(all["value"].same_as(b"p"));
    }
}
