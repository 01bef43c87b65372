//! What an object of the cluster holds, as the fields of a secret: base64 is decoded into memory of its own, and
//! nothing of what is there is ever quoted. Pure.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::fields::{Fields, MOST};
use super::place::{Kind, Place};
use crate::net::{Json, JsonError, NetErrorKind};
use crate::secret::{FieldName, SecretBytes, SecretType};

type Read<T> = Result<T, NetErrorKind>;

/// Words of the server that say at which state an object, or the whole cluster, is: good for equality only.
pub(super) fn version(object: Json<'_>) -> Read<String> {
    let version = object.at(&["metadata", "resourceVersion"]).and_then(Json::text).map_err(strange)?;
    match version.len() {
        1..=64 => Ok(version),
        _ => Err(NetErrorKind::Protocol("its answer has a `resourceVersion` that is none".to_owned())),
    }
}

/// The object that was asked for, and no other.
pub(super) fn expect(object: Json<'_>, place: &Place) -> Read<()> {
    let text = |path: &[&str]| object.at(path).and_then(Json::text).map_err(strange);
    let is_it = text(&["kind"])? == place.kind.name()
        && text(&["metadata", "name"])? == place.name
        && text(&["metadata", "namespace"])? == place.namespace;
    if is_it { Ok(()) } else { Err(NetErrorKind::Protocol("it answers with another object".to_owned())) }
}

/// Its keys. Of a single one, `value` is another name, whatever its own is. A key that can be no field's name is none,
/// and counts all the same: with another one it would depend on its name alone what `value` is.
pub(super) fn fields(object: Json<'_>, kind: Kind) -> Read<(SecretType, Fields)> {
    let encoded = if kind == Kind::Secret { "data" } else { "binaryData" };
    let mut keys: Vec<_> =
        members(object, encoded)?.into_iter().map(|(name, json)| (name, json, true)).collect();
    if kind == Kind::ConfigMap {
        keys.extend(members(object, "data")?.into_iter().map(|(name, json)| (name, json, false)));
    }
    if keys.len() > MOST {
        return Err(NetErrorKind::Protocol(format!("it holds {} keys, and {MOST} are the most", keys.len())));
    }
    let is_only = keys.len() == 1;
    let mut fields = Fields::new();
    for (name, json, is_encoded) in keys {
        let name = FieldName::parse(&name).ok();
        if name.is_none() && !is_only {
            continue;
        }
        let text = json.secret().map_err(strange)?;
        let value = if is_encoded { decoded(&text)? } else { text };
        if let Some(name) = name.filter(|name| !is_only || name.as_str() != FieldName::VALUE) {
            fields.insert(name, SecretBytes::copy_of(value.expose()));
        }
        if is_only {
            fields.insert(FieldName::value(), value);
        }
    }
    let is_plain = is_only && fields.len() == 1;
    Ok((if is_plain { SecretType::Plain } else { SecretType::Custom }, fields))
}

type Member<'a> = (Cow<'a, str>, Json<'a>);

fn members<'a>(object: Json<'a>, name: &str) -> Read<Vec<Member<'a>>> {
    let Some(data) = object.get(name).map_err(strange)? else { return Ok(Vec::new()) };
    Ok(data.members().map_err(strange)?.into_iter().collect())
}

/// From base64.
pub(super) fn decoded(text: &SecretBytes) -> Read<SecretBytes> {
    let broken = |_| NetErrorKind::Protocol("its answer has a text that is no base64".to_owned());
    STANDARD.decode(text.expose()).map(SecretBytes::new).map_err(broken)
}

pub(super) fn strange(error: JsonError) -> NetErrorKind {
    NetErrorKind::Protocol(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, kind: Kind) -> Read<(SecretType, Fields)> {
        fields(Json::read(text.as_bytes()).unwrap(), kind)
    }

    #[test]
    fn keys_are_fields() {
        let (kind, fields) =
            read(r#"{"data": {"tls.crt": "QQ==", "b": "AP8=", "0": "QQ==", "": "QQ=="}}"#, Kind::Secret)
                .unwrap();
        assert_eq!(kind, SecretType::Custom);
        assert_eq!(Vec::from_iter(fields.keys().map(FieldName::as_str)), ["b", "tls.crt"]);
        assert!(fields["tls.crt"].same_as(b"A") && fields["b"].same_as(b"\0\xff"));
        let (_, only) = read(r#"{"data": {"password": "QQ=="}}"#, Kind::Secret).unwrap();
        assert!(only["password"].same_as(b"A") && only["value"].same_as(b"A") && only.len() == 2);
        let (kind, plain) = read(r#"{"data": {"value": ""}}"#, Kind::Secret).unwrap();
        assert!(kind == SecretType::Plain && plain["value"].is_empty());
        let (kind, docker) = read(r#"{"data": {".dockerconfigjson": "QQ=="}}"#, Kind::Secret).unwrap();
        assert!(kind == SecretType::Plain && docker["value"].same_as(b"A") && docker.len() == 1);
        let (_, two) = read(r#"{"data": {".dockerconfigjson": "QQ==", "b": "QQ=="}}"#, Kind::Secret).unwrap();
        assert_eq!(
            Vec::from_iter(two.keys().map(FieldName::as_str)),
            ["b"],
            "of two keys none is the only one"
        );
        assert!(read("{}", Kind::Secret).unwrap().1.is_empty(), "without data");
        let both = r#"{"data": {"a": "text"}, "binaryData": {"b": "AP8="}}"#;
        let (_, both) = read(both, Kind::ConfigMap).unwrap();
        assert!(both["a"].same_as(b"text") && both["b"].same_as(b"\0\xff"));
    }

    #[test]
    fn what_is_wrong_is_not_quoted() {
        let many: Vec<_> = (0..=MOST).map(|number| format!("\"k{number}\": \"MzEzMzc=\"")).collect();
        for wrong in [
            r#"{"data": {"a": "31337!"}}"#,
            r#"{"data": {"a": 31337}}"#,
            r#"{"data": {"a": "QQ==", "a": "MzEzMzc="}}"#,
            r#"{"data": "31337"}"#,
            &format!("{{\"data\": {{{}}}}}", many.join(",")),
        ] {
            let Err(error) = read(wrong, Kind::Secret) else { panic!("{wrong}") };
            assert!(!error.to_string().contains("31337"), "{error}");
        }
    }
}
