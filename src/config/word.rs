//! How a scalar of the config is read: each is judged while it is, so that the parser says where a
//! wrong one stands. What there is to be judged stands in `scalar`. Pure.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A type that the config writes as one word.
pub(super) trait Scalar: Sized {
    const EXPECTED: &'static str;

    fn judge(text: &str) -> Result<Self, String>;

    /// What an unquoted whole number means.
    fn number(number: u64) -> Result<Self, String> {
        Self::judge(&number.to_string())
    }

    fn boolean(_: bool) -> Result<Self, String> {
        Err(format!("expected {}", Self::EXPECTED))
    }
}

/// A value that may be left out, but not left empty: `mode:` with nothing behind it is a mistake.
pub(super) struct Given<T>(pub(super) Option<T>);

impl<T> Default for Given<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Scalar> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        Word::deserialize(reader).map(|Word(value)| Self(Some(value)))
    }
}

/// The same for a map or a list: the parser alone takes nothing for an empty one.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    reader: D,
) -> Result<Option<T>, D::Error> {
    reader.deserialize_any(GivenVisitor(PhantomData)).map(Some)
}

struct GivenVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for GivenVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a map or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::deserialize(SeqAccessDeserializer::new(list))
    }
}

/// A value that must be there.
pub(super) struct Word<T>(pub(super) T);

impl<'de, T: Scalar> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(ScalarVisitor(PhantomData)).map(Self)
    }
}

struct ScalarVisitor<T>(PhantomData<T>);

impl<T: Scalar> Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::judge(text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::number(number).map_err(E::custom)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        T::boolean(value).map_err(E::custom)
    }
}

/// A map whose keys are judged and may not be given twice.
pub(super) struct Table<K, V>(pub(super) BTreeMap<K, V>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, K: Scalar + Ord, V: Deserialize<'de>> Deserialize<'de> for Table<K, V> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_map(TableVisitor(PhantomData)).map(Self)
    }
}

struct TableVisitor<K, V>(PhantomData<(K, V)>);

impl<'de, K: Scalar + Ord, V: Deserialize<'de>> Visitor<'de> for TableVisitor<K, V> {
    type Value = BTreeMap<K, V>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut table = BTreeMap::new();
        while let Some(key) = map.next_key_seed(NewKey(&table))? {
            table.insert(key, map.next_value()?);
        }
        Ok(table)
    }
}

/// Refuses a second one where it stands.
struct NewKey<'a, K, V>(&'a BTreeMap<K, V>);

impl<'de, K: Scalar + Ord, V> DeserializeSeed<'de> for NewKey<'_, K, V> {
    type Value = K;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<K, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<K: Scalar + Ord, V> Visitor<'_> for NewKey<'_, K, V> {
    type Value = K;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(K::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<K, E> {
        let key = K::judge(text).map_err(E::custom)?;
        if self.0.contains_key(&key) {
            return Err(E::custom(format_args!("`{text}` is given twice")));
        }
        Ok(key)
    }
}
