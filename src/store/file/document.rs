//! The document of the file backend: all rows as one JSON text, blobs in base64. A text of any
//! other shape is refused, also one with a name twice. Pure; uses serde and the rows of `backend`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::backend::{HeaderRow, KeyRow, NamespaceRow, RootRow};
use super::super::cipher::{Id, Mac};

/// The format of what is written, and the one before it, which is like it in all but the name of the
/// index: what is in that, its keys tell.
const FORMAT: u64 = 2;
const OLDER: u64 = 1;

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    format: u64,
    pub(super) root: Option<Root>,
    #[serde(deserialize_with = "each_once")]
    pub(super) namespaces: BTreeMap<Fixed<16>, Space>,
}

/// Why a text is no document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Format(u64),
    /// The line and the column.
    Shape(usize, usize),
}

impl Document {
    pub(super) fn empty() -> Self {
        Self { format: FORMAT, root: None, namespaces: BTreeMap::new() }
    }

    /// Of which format it was read, if that is an older one.
    pub(super) fn older_format(&self) -> Option<u64> {
        (self.format != FORMAT).then_some(self.format)
    }

    pub(super) fn renew(&mut self) {
        self.format = FORMAT;
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).expect("bytes and numbers under names of text");
        text.push(b'\n');
        text
    }

    pub(super) fn decode(text: &[u8]) -> Result<Self, Refusal> {
        /// What every format has.
        #[derive(Deserialize)]
        struct Any {
            format: u64,
        }
        let format = || serde_json::from_slice(text).ok().map(|Any { format }| format);
        match serde_json::from_slice::<Self>(text) {
            Ok(document) if [FORMAT, OLDER].contains(&document.format) => Ok(document),
            Ok(Self { format, .. }) => Err(Refusal::Format(format)),
            Err(error) => Err(match format().filter(|&format| format != FORMAT) {
                Some(format) => Refusal::Format(format),
                None => Refusal::Shape(error.line(), error.column()),
            }),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Root {
    store: Fixed<16>,
    key: Fixed<16>,
    epoch: u64,
    keyring_epoch: u64,
    keyring: Fixed<32>,
    seal: Fixed<32>,
}

/// A namespace with all that is in it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Space {
    pub(super) name_mac: Fixed<32>,
    pub(super) name: Blob,
    #[serde(deserialize_with = "each_once")]
    pub(super) keys: BTreeMap<Fixed<16>, Key>,
    #[serde(alias = "buckets", deserialize_with = "each_once")]
    pub(super) nodes: BTreeMap<u8, Blob>,
    #[serde(deserialize_with = "each_once")]
    pub(super) secrets: BTreeMap<Fixed<32>, Secret>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    purpose: u8,
    state: u8,
    wrapped: Blob,
    commitment: Fixed<32>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secret {
    pub(super) active: u64,
    pub(super) header: Blob,
    /// By version.
    #[serde(deserialize_with = "each_once")]
    pub(super) records: BTreeMap<u64, Blob>,
}

impl From<&RootRow> for Root {
    fn from(row: &RootRow) -> Self {
        let RootRow { store, key, epoch, keyring_epoch, keyring, seal } = *row;
        let (store, key) = (Fixed(store), Fixed(key));
        Self { store, key, epoch, keyring_epoch, keyring: Fixed(keyring), seal: Fixed(seal) }
    }
}

impl Root {
    pub(super) fn row(&self) -> RootRow {
        let Self { store, key, epoch, keyring_epoch, keyring, seal } = *self;
        RootRow { store: store.0, key: key.0, epoch, keyring_epoch, keyring: keyring.0, seal: seal.0 }
    }
}

impl Space {
    pub(super) fn new(row: &NamespaceRow) -> Self {
        let (name_mac, name) = (Fixed(row.name_mac), Blob(row.name.clone()));
        Self { name_mac, name, keys: BTreeMap::new(), nodes: BTreeMap::new(), secrets: BTreeMap::new() }
    }

    pub(super) fn row(&self, id: &Fixed<16>) -> NamespaceRow {
        NamespaceRow { id: id.0, name_mac: self.name_mac.0, name: self.name.0.clone() }
    }
}

impl From<&KeyRow> for Key {
    fn from(row: &KeyRow) -> Self {
        let KeyRow { purpose, state, ref wrapped, commitment, .. } = *row;
        Self { purpose, state, wrapped: Blob(wrapped.clone()), commitment: Fixed(commitment) }
    }
}

impl Key {
    pub(super) fn row(&self, namespace: &Id, kid: &Fixed<16>) -> KeyRow {
        let Self { purpose, state, ref wrapped, commitment } = *self;
        let (wrapped, commitment) = (wrapped.0.clone(), commitment.0);
        KeyRow { namespace: *namespace, kid: kid.0, purpose, state, wrapped, commitment }
    }
}

impl Secret {
    pub(super) fn row(&self, name: &Mac) -> HeaderRow {
        HeaderRow { name: *name, active: self.active, header: self.header.0.clone() }
    }
}

/// Bytes of a known number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fixed<const N: usize>(pub(super) [u8; N]);

/// Bytes of any number.
#[derive(Clone, Default)]
pub(super) struct Blob(pub(super) Vec<u8>);

impl<const N: usize> Serialize for Fixed<N> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Fixed<N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Blob(bytes) = Blob::deserialize(from)?;
        bytes.try_into().map(Self).map_err(|_| D::Error::custom("a wrong number of bytes"))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(BlobVisitor)
    }
}

struct BlobVisitor;

impl Visitor<'_> for BlobVisitor {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes in base64")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Blob, E> {
        BASE64_STANDARD.decode(text).map(Blob).map_err(|_| E::custom("this is not base64"))
    }
}

/// A map in which no name comes twice: which of the two is meant, nobody could tell.
fn each_once<'de, D, K, V>(from: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
{
    from.deserialize_map(OnceVisitor(PhantomData))
}

struct OnceVisitor<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for OnceVisitor<K, V> {
    type Value = BTreeMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry()? {
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a name comes twice"));
            }
        }
        Ok(map)
    }
}
