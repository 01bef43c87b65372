//! What an object of the cluster holds, as the fields of a secret: base64 is decoded into memory of its own, and
//! nothing of what is there is ever quoted. Pure.

use std::collections::BTreeMap;

use super::super::fields::{Fields, MOST};
use super::place::{Kind, Place};
use crate::net::{Json, NetErrorKind};
use crate::secret::{FieldName, SecretType};

type Read<T> = Result<T, NetErrorKind>;

/// Words of the server that say at which state an object, or the whole cluster, is: good for equality only.
pub(super) fn version(object: Json<'_>) -> Read<String> {
    let version = object.at(&["metadata", "resourceVersion"])?.text()?;
    match version.len() {
        1..=64 => Ok(version),
        _ => Err(NetErrorKind::Protocol("its answer has a `resourceVersion` that is none".to_owned())),
    }
}

/// The object that was asked for, and no other.
pub(super) fn expect(object: Json<'_>, place: &Place) -> Read<()> {
    let is = |path: &[&str], text: &str| -> Read<bool> { Ok(object.at(path)?.text()? == text) };
    let is_it = is(&["kind"], place.kind.name())?
        && is(&["metadata", "name"], &place.name)?
        && is(&["metadata", "namespace"], &place.namespace)?;
    if is_it { Ok(()) } else { Err(NetErrorKind::Protocol("it answers with another object".to_owned())) }
}

/// Its keys. Of a single one, `value` is another name, whatever its own is. A key that can be no field's name is none,
/// and counts all the same: with another one it would depend on its name alone what `value` is.
pub(super) fn fields(object: Json<'_>, kind: Kind) -> Read<(SecretType, Fields)> {
    // Whether the values there are base64.
    let parts: &[_] = match kind {
        Kind::Secret => &[("data", true)],
        Kind::ConfigMap => &[("data", false), ("binaryData", true)],
    };
    let mut keys = Vec::new();
    for (part, is_encoded) in parts {
        let members = object.get(part)?.map_or(Ok(BTreeMap::new()), Json::members)?;
        keys.extend(members.into_iter().map(|(name, json)| (name, json, *is_encoded)));
    }
    if keys.len() > MOST {
        return Err(NetErrorKind::Protocol(format!("it holds {} keys, and {MOST} are the most", keys.len())));
    }
    let is_only = keys.len() == 1;
    let mut fields = Fields::new();
    for (name, json, is_encoded) in keys {
        for name in FieldName::parse(&name).into_iter().chain(is_only.then(FieldName::value)) {
            fields.insert(name, if is_encoded { json.base64()? } else { json.secret()? });
        }
    }
    let is_plain = is_only && fields.len() == 1;
    Ok((if is_plain { SecretType::Plain } else { SecretType::Custom }, fields))
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
