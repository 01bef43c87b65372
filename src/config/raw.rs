//! The config file as serde sees it: one struct per map, unknown keys denied, every scalar judged
//! by `scalar`. No flatten, no untagged and no tagged enums: with them the parser loses its place.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::scalar::{
    Backend, FilePath, Given, KeySource, Label, Mode, ReferenceText, Scalar, Table, Variable, Word,
};
use super::{Account, FileOptions, ProviderKind};
use crate::secret::SecretName;
use crate::template::{Dialect, Format, Syntax};

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Root {
    pub(super) store: Store,
    pub(super) mounts: Vec<Mount>,
    pub(super) profiles: Table<Label, Profile>,
    pub(super) secrets: Table<SecretName, Word<ReferenceText>>,
    pub(super) env: Vec<Word<Variable>>,
    pub(super) providers: Table<Label, Provider>,
    pub(super) policy: Policy,
    pub(super) audit: Audit,
}

/// A map that takes a file's options beside its own keys. Written out by a macro, because serde's
/// `flatten` would lose the places.
macro_rules! with_options {
    ($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$attribute])* pub(super) $field: $type,)*
            #[serde(default)]
            owner: Given<Account>,
            #[serde(default)]
            group: Given<Account>,
            #[serde(default)]
            mode: Given<Mode>,
            #[serde(default)]
            format: Given<Format>,
            #[serde(default)]
            dialect: Given<Dialect>,
            #[serde(default)]
            syntax: Given<Syntax>,
            #[serde(default)]
            deadline: Given<Duration>,
            #[serde(default)]
            verify: Given<bool>,
            #[serde(default, rename = "set")]
            _set: Later,
        }

        impl $name {
            /// Takes the options out.
            pub(super) fn options(&mut self) -> FileOptions {
                FileOptions {
                    owner: self.owner.0.take(),
                    group: self.group.0.take(),
                    mode: self.mode.0.take().map(|mode| mode.0),
                    format: self.format.0.take(),
                    dialect: self.dialect.0.take(),
                    syntax: self.syntax.0.take(),
                    deadline: self.deadline.0.take(),
                    verify: self.verify.0.take(),
                }
            }
        }
    };
}

with_options!(Mount {
    at: Word<PathBuf>,
    templates: Word<PathBuf>,
    #[serde(default)]
    files: Table<FilePath, File>,
});

with_options!(File {
    #[serde(default)]
    template: Given<PathBuf>,
    #[serde(default, rename = "on_change")]
    _on_change: Later,
});

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Profile {
    pub(super) env: Table<Variable, Word<ReferenceText>>,
    pub(super) env_files: Vec<Word<PathBuf>>,
    #[serde(rename = "files")]
    pub(super) _files: Later,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Provider {
    pub(super) r#type: Word<ProviderKind>,
    #[serde(default, rename = "address")]
    pub(super) _address: Later,
    #[serde(default, rename = "auth")]
    pub(super) _auth: Later,
    #[serde(default, rename = "cache")]
    pub(super) _cache: Later,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Policy {
    #[serde(rename = "roles")]
    _roles: Later,
    #[serde(rename = "rules")]
    _rules: Later,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Audit {
    #[serde(rename = "sinks")]
    _sinks: Later,
    #[serde(rename = "required")]
    _required: Later,
}

/// `store: DIR`, or `store: {path: DIR, …}`.
#[derive(Default)]
pub(super) struct Store {
    pub(super) path: Option<PathBuf>,
    pub(super) key: Option<Key>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreMap {
    #[serde(default)]
    path: Given<PathBuf>,
    #[serde(default, rename = "backend")]
    _backend: Given<Backend>,
    #[serde(default)]
    key: Option<Key>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    #[serde(rename = "source")]
    _source: Word<KeySource>,
    pub(super) path: Word<PathBuf>,
}

impl<'de> Deserialize<'de> for Store {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(StoreVisitor)
    }
}

struct StoreVisitor;

impl<'de> Visitor<'de> for StoreVisitor {
    type Value = Store;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the store's folder, or a map with its `path`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Store, E> {
        let path = PathBuf::judge(text).map_err(E::custom)?;
        Ok(Store { path: Some(path), key: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Store, A::Error> {
        let StoreMap { path, key, .. } = StoreMap::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Store { path: path.0, key })
    }
}

/// A key whose capability is not there: empty, or refused. Never read and forgotten.
#[derive(Default)]
pub(super) struct Later;

impl<'de> Deserialize<'de> for Later {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(LaterVisitor)
    }
}

struct LaterVisitor;

fn not_available<T, E: Error>() -> Result<T, E> {
    Err(E::custom("this is not available in this version; remove it"))
}

impl<'de> Visitor<'de> for LaterVisitor {
    type Value = Later;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nothing: this is not available in this version")
    }

    fn visit_unit<E: Error>(self) -> Result<Later, E> {
        Ok(Later)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Later, A::Error> {
        if items.next_element::<IgnoredAny>()?.is_some() { not_available() } else { Ok(Later) }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Later, A::Error> {
        if map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() { not_available() } else { Ok(Later) }
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Later, E> {
        not_available()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Later, E> {
        not_available()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Later, E> {
        not_available()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Later, E> {
        not_available()
    }
}
