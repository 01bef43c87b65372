//! `secretfs export --manifest`: what there is in a namespace, for the place where it shall be
//! again. Never a value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::report::Failure;
use super::{Common, audited, config, exit, open, output};
use crate::audit::Kind;
use crate::secret::SecretType;
use crate::store::{Access, SecretInfo};

#[derive(clap::Args)]
pub struct Args {
    /// What there is: names, types, fields, versions, labels, tags, expiry; never a value. To stdout if no FILE is named
    #[arg(long, value_name = "FILE", num_args = 0..=1, required = true)]
    #[allow(clippy::option_option, reason = "given without a file is something else than not given")]
    manifest: Option<Option<PathBuf>>,
}

/// What this version writes and reads.
pub const FORMAT: &str = "secretfs manifest 1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: String,
    pub namespace: String,
    pub secrets: BTreeMap<String, Entry>,
}

/// A secret without its values.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    #[serde(rename = "type")]
    pub kind: SecretType,
    pub fields: Vec<String>,
    /// The active one, and the highest that there ever was.
    pub version: u64,
    pub latest: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let (store, namespace) = open::here(common, Access::Read)?;
    open::check_namespace(&store, &namespace)?;
    let what = format!("a manifest of namespace {namespace}");
    audited::whole(&store, &config::load(common)?.audit, Kind::Export, &what)?;
    let all = store.list(&namespace)?;
    let count = all.len();
    let secrets = all.into_iter().map(|info| (info.name.clone(), Entry::from(info))).collect();
    let manifest = Manifest { format: FORMAT.to_owned(), namespace: namespace.to_string(), secrets };
    match args.manifest.iter().flatten().next() {
        None => output::print_json(&manifest)?,
        Some(path) => {
            write(&manifest, path)?;
            output::print(format!("{}: {}\n", path.display(), output::counted(count, "secret")))?;
        }
    }
    Ok(exit::OK)
}

impl From<SecretInfo> for Entry {
    fn from(info: SecretInfo) -> Self {
        Self {
            kind: info.kind,
            fields: info.fields,
            version: info.active,
            latest: info.latest,
            description: info.description,
            label: info.label,
            owner: info.owner,
            tags: info.tags,
            expires: info.expires_at,
            disabled: info.disabled,
        }
    }
}

/// In the place of an older one.
fn write(manifest: &Manifest, path: &Path) -> Result<(), Failure> {
    let mut text =
        serde_json::to_vec_pretty(manifest).map_err(|error| Failure::new(exit::SOFTWARE, error))?;
    text.push(b'\n');
    let new = path.with_added_extension("new");
    let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path));
    written.inspect_err(|_| drop(std::fs::remove_file(&new))).map_err(|error| {
        Failure::new(exit::CANNOT_CREATE, format!("cannot write {}: {error}", path.display()))
    })
}
