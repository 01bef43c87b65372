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
    all: Vec<One<'a>>,
    /// Ids and labels.
    sections: Vec<(String, String)>,
}

/// A field, or a file.
pub(super) struct One<'a> {
    id: String,
    label: String,
    section: Option<String>,
    is_file: bool,
    json: Json<'a>,
}

/// What was found.
pub(super) enum Found {
    Value(SecretBytes),
    /// And how long each of its kind lives.
    Code(SecretBytes, Duration),
    /// The content is elsewhere.
    File(String),
}

/// Of a code whose settings say none.
const PERIOD: u64 = 30;

impl<'a> Item<'a> {
    pub(super) fn read(document: Json<'a>) -> Result<Self, JsonError> {
        let list = |name: &str| -> Result<Vec<Json<'a>>, JsonError> {
            Ok(document.get(name)?.map(Json::items).transpose()?.unwrap_or_default())
        };
        let fields = list("fields")?.into_iter().map(|json| One::read(json, "label", false));
        let files = list("files")?.into_iter().map(|json| One::read(json, "name", true));
        let all = fields.chain(files).collect::<Result<_, _>>()?;
        let section = |json| Ok((word(json, "id")?, word(json, "label")?));
        Ok(Self { all, sections: list("sections")?.into_iter().map(section).collect::<Result<_, _>>()? })
    }

    /// All fields whose labels can be names of fields here; and `value`: the password, or the one thing that is concealed,
    /// or the note. One that is left out would look as if it were missing: then there is nothing.
    pub(super) fn all(&self) -> Result<Fields, ProviderError> {
        let (mut fields, mut seen) = (Fields::new(), BTreeSet::new());
        for field in self.fields() {
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
        // An empty field of that label stays empty: nothing comes in its place.
        let main = if seen.contains(FieldName::VALUE) { None } else { self.main()? };
        fields.extend(main.map(|main| (FieldName::value(), main)));
        Ok(fields)
    }

    /// The first kind of which there is one decides: what comes after it would be another secret in its place.
    fn main(&self) -> Result<Option<SecretBytes>, JsonError> {
        for (name, kind) in [("purpose", "PASSWORD"), ("type", "CONCEALED"), ("purpose", "NOTES")] {
            let is_so = |field: &&One<'_>| word(field.json, name).is_ok_and(|it| it == kind);
            let mut fitting = self.fields().filter(is_so);
            match (fitting.next(), fitting.next()) {
                (None, _) => {}
                (Some(field), None) => return Ok(field.json.get("value")?.map(Json::value)),
                (Some(_), Some(_)) => return Ok(None),
            }
        }
        Ok(None)
    }

    fn fields(&self) -> impl Iterator<Item = &One<'a>> {
        self.all.iter().filter(|one| !one.is_file)
    }

    pub(super) fn find(&self, wanted: &Field<'_>) -> Result<Option<&One<'a>>, ProviderError> {
        let in_section = |one: &&One<'a>| match wanted.section {
            None => true,
            Some(section) => one.section.as_deref().is_some_and(|id| self.is_section(id, section)),
        };
        let all = || self.all.iter().filter(in_section);
        let by_id: Vec<_> = all().filter(|one| one.id == wanted.name).collect();
        let is_called_so = |one: &&One<'a>| {
            one.label.eq_ignore_ascii_case(wanted.name) || one.id.eq_ignore_ascii_case(wanted.name)
        };
        let fitting = if by_id.is_empty() { all().filter(is_called_so).collect() } else { by_id };
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

    fn is_section(&self, id: &str, wanted: &str) -> bool {
        let has_label = |(known, label): &(String, String)| known == id && label.eq_ignore_ascii_case(wanted);
        id.eq_ignore_ascii_case(wanted) || self.sections.iter().any(has_label)
    }
}

impl<'a> One<'a> {
    /// `label` is where it says what people call it.
    fn read(json: Json<'a>, label: &str, is_file: bool) -> Result<Self, JsonError> {
        let section = json.get("section")?.map(|section| word(section, "id")).transpose()?;
        let section = section.filter(|id| !id.is_empty());
        Ok(Self { id: word(json, "id")?, label: word(json, label)?, section, is_file, json })
    }

    /// `None`: it has no such thing.
    pub(super) fn look(&self, what: Attribute) -> Result<Option<Found>, JsonError> {
        let value = |member: &str| Ok::<_, JsonError>(self.json.get(member)?.map(Json::value));
        Ok(match what {
            Attribute::Value if self.is_file => Some(Found::File(self.id.clone())),
            _ if self.is_file => None,
            // An empty field has no member for its value.
            Attribute::Value => {
                Some(Found::Value(value("value")?.unwrap_or_else(|| SecretBytes::copy_of(b""))))
            }
            Attribute::Kind => value("type")?.map(Found::Value),
            Attribute::Otp => match value("totp")? {
                Some(code) => Some(Found::Code(code, self.period()?)),
                None => None,
            },
        })
    }

    /// As the field's own value says it, which is an `otpauth://` URL.
    fn period(&self) -> Result<Duration, JsonError> {
        let url = self.json.get("value")?.map(Json::value);
        let url = url.as_ref().and_then(|url| std::str::from_utf8(url.expose()).ok()).unwrap_or_default();
        let said = url.split(['?', '&']).find_map(|pair| pair.strip_prefix("period="));
        let period = said.and_then(|text| text.parse().ok()).filter(|it| (1..=PERIOD * 10).contains(it));
        Ok(Duration::from_secs(period.unwrap_or(PERIOD)))
    }
}

/// Nothing, if it is not there.
fn word(json: Json<'_>, name: &str) -> Result<String, JsonError> {
    Ok(json.get(name)?.map(Json::text).transpose()?.unwrap_or_default())
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
        match one.and_then(|one| one.look(what).unwrap()) {
            Some(Found::Value(value) | Found::Code(value, _)) => Ok(text(&value)),
            Some(Found::File(id)) => Ok(format!("file {id}")),
            None => Err("none".to_owned()),
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
            assert_eq!(item.all[0].period().unwrap().as_secs(), period, "{value}");
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
        let own = |value: &str| field("value", r#""type": "STRING""#, value);
        assert_eq!(
            all_of(&format!("{}, {credential}", own(r#", "value": "own""#))),
            Ok(Some("own".to_owned()))
        );
        assert_eq!(all_of(&format!("{}, {credential}", own(""))), Ok(None));
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
