//! Secrets that are already somewhere else than in a file: in our environment, in another store.

use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::rc::Rc;

use super::found::{Content, Found, Place};
use super::only::is_wanted;
use crate::cli::json_values::Entry;
use crate::cli::report::Failure;
use crate::cli::{Common, open};
use crate::config::StoreConfig;
use crate::secret::SecretBytes;
use crate::store::{Access, Edit, Whole};

/// The variables whose names begin so; `stripped` of it.
pub(super) fn environment(prefix: &str, is_stripped: bool, edit: &Edit) -> Vec<Found> {
    let source: Rc<str> = "the environment".into();
    let mut found: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| {
            let value = SecretBytes::new(value.into_vec());
            let name = name.to_string_lossy().into_owned();
            let rest = name.strip_prefix(prefix)?;
            Some(Found {
                name: if is_stripped { rest.to_owned() } else { name },
                place: Place { source: source.clone(), line: None },
                content: Ok(Content::of_value(value, edit)),
            })
        })
        .collect();
    found.sort_by(|left, right| left.name.cmp(&right.name));
    found
}

/// Another store, and what opens it.
pub(super) struct OtherStore<'a> {
    pub(super) dir: &'a Path,
    pub(super) key_file: Option<&'a Path>,
    pub(super) namespace: Option<&'a str>,
}

impl OtherStore<'_> {
    /// Its secrets with the versions that are active there, also of those that it gives to nobody.
    pub(super) fn read(&self, only: &[String], common: &Common) -> Result<Vec<Found>, Failure> {
        let other = Common {
            store: Some(self.dir.to_owned()),
            key_file: self.key_file.map(Path::to_owned),
            namespace: self.namespace.map(str::to_owned),
            ..common.clone()
        };
        let store = open::open_store(&other, &StoreConfig::default(), Access::Read).map_err(|failure| {
            Failure { hint: failure.hint.map(|it| it.replace("--key", "--from-key")), ..failure }
        })?;
        let namespace = open::namespace(&other)?;
        open::check_namespace(&store, &namespace)?;
        let source: Rc<str> = self.dir.display().to_string().into();
        let all = store.active(&namespace, |name| is_wanted(only, name))?;
        Ok(all.into_iter().map(|whole| found(whole, &source)).collect())
    }
}

fn found(whole: Whole, source: &Rc<str>) -> Found {
    let Whole { info, fields } = whole;
    let edit = Edit {
        kind: Some(info.kind),
        description: info.description,
        label: info.label,
        owner: info.owner,
        tags: Some(info.tags).filter(|tags| !tags.is_empty()),
    };
    let content = Content {
        expires_at: info.expires_at,
        is_disabled: info.disabled,
        ..Content::new(Entry::Fields(fields), edit)
    };
    Found { name: info.name, place: Place { source: source.clone(), line: None }, content: Ok(content) }
}
