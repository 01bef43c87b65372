//! An item as Connect describes it, and what a reference finds in it: a field by its id, else by its label, or a file. Two
//! that fit are an error that names both. Uses `net`'s documents.

use std::collections::BTreeSet;
use std::time::Duration;

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
pub(super) struct One<'a> {
    id: String,
    label: String,
    section: Option<String>,
    json: Json<'a>,
}

/// What was found.
pub(super) enum Found {
    Value(SecretBytes),
    /// And how long each of its kind lives.
    Code(SecretBytes, Duration),
    /// The content is elsewhere.
    File(String),
    None,
}

/// Of a code whose settings say none.
const PERIOD: u64 = 30;

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

    /// All fields whose labels can be names of fields here; and `value`: the password, or the one thing that is concealed,
    /// or the note. One that is left out would look as if it were missing: then there is nothing.
    pub(super) fn all(&self) -> Result<Fields, ProviderError> {
        let (mut fields, mut seen) = (Fields::new(), BTreeSet::new());
        for field in &self.fields {
            let Ok(name) = FieldName::parse(&field.label) else { continue };
            if !seen.insert(name.clone()) {
                return Err(ProviderError::Invalid(format!(
                    "the item has several fields `{name}`, and one of them cannot be told from another where all of it is \
                     read: name it with its section, op://VAULT/ITEM/SECTION/FIELD"
                )));
            }
            if let Some(value) = field.json.get("value")?.map(Json::value) {
                fields.insert(name, value);
            }
        }
        if fields.len() >= MOST {
            let why = format!("the item has more than {} fields: name one, op://VAULT/ITEM/FIELD", MOST - 1);
            return Err(ProviderError::TooLarge(why));
        }
        if !fields.contains_key(FieldName::VALUE)
            && let Some(main) = self.main()?
        {
            fields.insert(FieldName::value(), main);
        }
        Ok(fields)
    }

    /// The first kind of which there is one decides: what comes after it would be another secret in its place.
    fn main(&self) -> Result<Option<SecretBytes>, JsonError> {
        for (name, word) in [("purpose", "PASSWORD"), ("type", "CONCEALED"), ("purpose", "NOTES")] {
            let is = |field: &&One<'_>| {
                field.json.get(name).ok().flatten().and_then(|it| it.text().ok()).is_some_and(|it| it == word)
            };
            let mut fitting = self.fields.iter().filter(is);
            match (fitting.next(), fitting.next()) {
                (None, _) => {}
                (Some(field), None) => return Ok(field.json.get("value")?.map(Json::value)),
                (Some(_), Some(_)) => return Ok(None),
            }
        }
        Ok(None)
    }

    pub(super) fn find(&self, wanted: &Field<'_>) -> Result<Option<&One<'a>>, ProviderError> {
        let in_section = |one: &&One<'a>| match wanted.section {
            None => true,
            Some(section) => one.section.as_deref().is_some_and(|id| self.is_section(id, section)),
        };
        let all: Vec<&One<'a>> = self.fields.iter().chain(&self.files).filter(in_section).collect();
        let by_id: Vec<_> = all.iter().copied().filter(|one| one.id == wanted.name).collect();
        let is_labelled = |one: &&One<'a>| {
            one.label.eq_ignore_ascii_case(wanted.name) || one.id.eq_ignore_ascii_case(wanted.name)
        };
        let fitting = if by_id.is_empty() { all.into_iter().filter(is_labelled).collect() } else { by_id };
        match fitting[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            [one, other, ..] => Err(ProviderError::Invalid(format!(
                "the item has several of the name `{}`: `{}` and `{}`; name the section, or one of these ids",
                wanted.name, one.id, other.id
            ))),
        }
    }

    /// Whether these words are its own to the letter, and its section is named if it has one.
    pub(super) fn is_named_so(&self, one: &One<'_>, wanted: &Field<'_>) -> bool {
        let is_section = match (&one.section, wanted.section) {
            (None, None) => true,
            (Some(id), Some(label)) => self.sections.iter().any(|(known, its)| known == id && its == label),
            _ => false,
        };
        one.label == wanted.name && is_section
    }

    pub(super) fn look(&self, one: &One<'_>, what: Attribute) -> Result<Found, ProviderError> {
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
            (Some(code), Attribute::Otp) => Found::Code(code.value(), one.period()?),
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

impl One<'_> {
    /// As the field's own value says it, which is an `otpauth://` URL.
    fn period(&self) -> Result<Duration, JsonError> {
        let url = self.json.get("value")?.map(Json::value);
        let url = url.as_ref().and_then(|url| std::str::from_utf8(url.expose()).ok()).unwrap_or_default();
        let said = url.split(['?', '&']).find_map(|pair| pair.strip_prefix("period="));
        let period = said.and_then(|text| text.parse().ok()).filter(|it| (1..=PERIOD * 10).contains(it));
        Ok(Duration::from_secs(period.unwrap_or(PERIOD)))
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

    fn text(value: &SecretBytes) -> String {
        String::from_utf8(value.expose().to_vec()).unwrap()
    }

    fn found(section: Option<&str>, name: &str, what: Attribute) -> Result<String, String> {
        let item = Item::read(Json::read(ITEM.as_bytes()).unwrap()).unwrap();
        let one = item.find(&Field { section, name, what }).map_err(|error| error.to_string())?;
        match one.map_or(Ok(Found::None), |one| item.look(one, what)).unwrap() {
            Found::Value(value) | Found::Code(value, _) => Ok(text(&value)),
            Found::File(id) => Ok(format!("file {id}")),
            Found::None => Err("none".to_owned()),
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
        let is = |section, name| {
            let field = Field { section, name, what: Attribute::Value };
            item.find(&field).is_ok_and(|one| one.is_some_and(|one| item.is_named_so(one, &field)))
        };
        assert!(is(None, "password") && is(Some("Admin"), "Token") && is(None, "key.pem"));
        assert!(!is(None, "Password") && !is(None, "Token") && !is(Some("s1"), "Token") && !is(None, "f3"));
        // The id of one is the label of another: what is given has another name.
        let item = r#"{"fields": [{"id": "password", "label": "pw", "value": "a"}, {"id": "x", "label": "password"}]}"#;
        let item = Item::read(Json::read(item.as_bytes()).unwrap()).unwrap();
        let field = Field { section: None, name: "password", what: Attribute::Value };
        let one = item.find(&field).unwrap().unwrap();
        assert!(one.label == "pw" && !item.is_named_so(one, &field));
    }

    #[test]
    fn a_code_lives_as_long_as_its_settings_say() {
        for (value, period) in [
            ("otpauth://totp/x?secret=s", 30),
            ("otpauth://totp/x?secret=s&period=60", 60),
            ("otpauth://totp/x?period=15&secret=s", 15),
            ("otpauth://totp/x?period=0", 30),
            ("ABCDEF", 30),
        ] {
            let item =
                format!(r#"{{"fields": [{{"id": "c", "label": "c", "value": "{value}", "totp": "1"}}]}}"#);
            let item = Item::read(Json::read(item.as_bytes()).unwrap()).unwrap();
            assert_eq!(item.fields[0].period().unwrap().as_secs(), period, "{value}");
        }
    }

    #[test]
    fn a_whole_item_has_its_labels_and_its_password_as_value() {
        let item = Item::read(Json::read(ITEM.as_bytes()).unwrap()).unwrap();
        let all = item.all().unwrap();
        let names: Vec<_> = all.keys().map(FieldName::as_str).collect();
        assert_eq!(names, ["Token", "code", "password", "token", "username", "value"]);
        assert!(all["value"].same_as(b"p"));
    }

    fn all_of(fields: &str) -> Result<Option<String>, String> {
        let item = format!("{{\"fields\": [{fields}]}}");
        let item = Item::read(Json::read(item.as_bytes()).unwrap()).unwrap();
        item.all().map(|all| all.get("value").map(text)).map_err(|error| error.to_string())
    }

    /// A note in place of a password is a wrong value.
    #[test]
    fn the_first_kind_that_is_there_is_the_value_or_there_is_none() {
        let field = |label: &str, kind: &str, value: &str| {
            format!(r#"{{"id": "{label}", "label": "{label}", {kind}{value}}}"#)
        };
        let (concealed, password, note) =
            (r#""type": "CONCEALED""#, r#""purpose": "PASSWORD""#, r#""purpose": "NOTES""#);
        let note = field("notes", note, r#", "value": "n""#);
        let credential = field("credential", concealed, r#", "value": "c""#);
        let other = field("other", concealed, r#", "value": "o""#);
        assert_eq!(all_of(&note), Ok(Some("n".to_owned())), "the control");
        assert_eq!(all_of(&format!("{credential}, {note}")), Ok(Some("c".to_owned())));
        assert_eq!(all_of(&format!("{credential}, {other}, {note}")), Ok(None));
        assert_eq!(all_of(&format!("{}, {credential}, {note}", field("pw", password, ""))), Ok(None));
    }

    #[test]
    fn a_label_that_is_there_twice_or_too_many_of_them_are_no_whole_item() {
        let field = |label: &str| format!(r#"{{"id": "i", "label": "{label}", "value": "v"}}"#);
        let many = |count: usize| (0..count).map(|it| field(&format!("f{it}"))).collect::<Vec<_>>().join(",");
        assert!(all_of(&many(MOST - 1)).is_ok(), "the control");
        assert!(all_of(&many(MOST)).unwrap_err().contains("more than 255 fields"));
        let twice = [field("token"), field("port"), field("token")].join(",");
        assert!(all_of(&twice).unwrap_err().contains("several fields `token`"));
        assert!(all_of(&[field("a name"), field("a name")].join(",")).is_ok(), "it can be no name here");
    }
}
