//! What etcd is asked for keys, and what it says: base64 both ways, numbers as texts. Values go from the
//! answer into their own memory. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::net::{Json, NetErrorKind};
use crate::secret::SecretBytes;

/// A key, or all from one up to another.
#[derive(Clone, Default)]
pub(super) struct Range {
    pub(super) key: Vec<u8>,
    pub(super) end: Option<Vec<u8>>,
    /// As of this revision, and not now.
    pub(super) at: Option<u64>,
    pub(super) limit: Option<usize>,
    pub(super) keys_only: bool,
}

/// A key with its value, as it was stored.
pub(super) struct Kv {
    pub(super) key: Vec<u8>,
    /// The one of its last change.
    pub(super) revision: u64,
    pub(super) value: SecretBytes,
}

type Read<T> = Result<T, NetErrorKind>;

impl Range {
    pub(super) fn of(key: &str) -> Self {
        Self { key: key.as_bytes().to_vec(), ..Self::default() }
    }

    /// All keys that begin so.
    pub(super) fn under(prefix: &str) -> Self {
        let mut end = prefix.as_bytes().to_vec();
        // A text has no byte 255.
        match end.last_mut() {
            Some(last) => *last += 1,
            None => end.push(0),
        }
        let key = if prefix.is_empty() { vec![0] } else { prefix.as_bytes().to_vec() };
        Self { key, end: Some(end), ..Self::default() }
    }

    pub(super) fn body(&self) -> Vec<u8> {
        self.json().to_string().into_bytes()
    }

    fn json(&self) -> Value {
        let mut range = self.place();
        let mut add = |name: &str, value: Option<Value>| range.extend(value.map(|it| (name.to_owned(), it)));
        add("revision", self.at.map(|at| at.to_string().into()));
        add("limit", self.limit.map(|limit| limit.to_string().into()));
        add("keys_only", self.keys_only.then_some(Value::Bool(true)));
        range.into()
    }

    /// Only where it begins and ends.
    pub(super) fn place(&self) -> Map<String, Value> {
        let mut place = Map::new();
        place.insert("key".to_owned(), STANDARD.encode(&self.key).into());
        place.extend(self.end.iter().map(|end| ("range_end".to_owned(), STANDARD.encode(end).into())));
        place
    }
}

/// All of them at one moment.
pub(super) fn transaction(ranges: impl Iterator<Item = Range>) -> Vec<u8> {
    let all: Vec<_> = ranges.map(|range| json!({ "request_range": range.json() })).collect();
    json!({ "success": all }).to_string().into_bytes()
}

/// The revision of the store when it answered.
pub(super) fn revision(answer: Json<'_>) -> Read<u64> {
    number(answer.at(&["header"])?, "revision")
}

/// For each range of a transaction the first key that is there.
pub(super) fn of_transaction(answer: Json<'_>) -> Read<Vec<Option<Kv>>> {
    let first = |part: Json<'_>| Ok(of_range(part.at(&["response_range"])?)?.into_iter().next());
    answer.at(&["responses"])?.items()?.into_iter().map(first).collect()
}

pub(super) fn of_range(answer: Json<'_>) -> Read<Vec<Kv>> {
    // None is said by saying nothing.
    let Some(kvs) = answer.get("kvs")? else { return Ok(Vec::new()) };
    kvs.items()?.into_iter().map(kv).collect()
}

fn kv(json: Json<'_>) -> Read<Kv> {
    let value = json.get("value")?.map_or(Ok(SecretBytes::new(Vec::new())), Json::base64)?;
    Ok(Kv { key: key(json)?, revision: number(json, "mod_revision")?, value })
}

pub(super) fn key(json: Json<'_>) -> Read<Vec<u8>> {
    Ok(json.at(&["key"])?.base64()?.expose().to_vec())
}

/// A text of digits; 0 is said by saying nothing.
pub(super) fn number(json: Json<'_>, name: &'static str) -> Read<u64> {
    let Some(number) = json.get(name)? else { return Ok(0) };
    let is_none = |_| NetErrorKind::Protocol(format!("its answer has a `{name}` that is no number"));
    number.text()?.parse().map_err(is_none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_range() {
        let range = |prefix| {
            let range = Range::under(prefix);
            (range.key, range.end.unwrap())
        };
        assert_eq!(range("/s/"), (b"/s/".to_vec(), b"/s0".to_vec()));
        assert_eq!(range("é"), ("é".as_bytes().to_vec(), vec![0xc3, 0xaa]));
        assert_eq!(range(""), (vec![0], vec![0]), "all keys, as etcd says it");
    }

    #[test]
    fn answers_are_read_and_what_is_wrong_is_not_quoted() {
        let answer = br#"{"header": {"revision": "7"}, "responses": [
            {"response_range": {"kvs": [{"key": "YQ==", "mod_revision": "5", "value": "AP8="}], "count": "1"}},
            {"response_range": {"header": {"revision": "7"}}},
            {"response_range": {"kvs": [{"key": "ZQ==", "mod_revision": "6"}]}}]}"#;
        let answer = Json::read(answer).unwrap();
        assert_eq!(revision(answer), Ok(7));
        let kvs = of_transaction(answer).ok().unwrap();
        let (first, empty) = (kvs[0].as_ref().unwrap(), kvs[2].as_ref().unwrap());
        assert!(first.value.same_as(b"\0\xff") && first.revision == 5 && first.key == b"a");
        assert!(kvs[1].is_none() && empty.value.is_empty());
        for wrong in [
            r#"{"kvs": [{"key": "YQ==", "mod_revision": "5", "value": "31337!"}]}"#,
            r#"{"kvs": [{"key": "YQ==", "mod_revision": "31337x", "value": ""}]}"#,
            r#"{"kvs": [{"mod_revision": "5", "value": "31337"}]}"#,
            r#"{"kvs": "31337"}"#,
        ] {
            let Err(error) = of_range(Json::read(wrong.as_bytes()).unwrap()) else { panic!("{wrong}") };
            assert!(!error.to_string().contains("31337"), "{error}");
        }
    }
}
