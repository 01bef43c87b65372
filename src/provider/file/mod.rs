//! Files as a provider (`type: file`): a folder whose files are secrets, as containers and systemd lay
//! them out, or one document (env, JSON, YAML) whose names are. Uses `document` and `sops`.
//!
//! | the path | what `files:PATH#FIELD` is |
//! |---|---|
//! | a folder | the content of the file PATH in it; one final newline of a single line is dropped |
//! | a document of sops' in it | what PATH leads to behind the file's name |
//! | `.env`, `*.env` | the variable PATH |
//! | `*.json`, `*.yaml`, `*.yml` | what `PATH` leads to, part by part: a value at the top, or an object with FIELD |

mod content;
mod folder;
mod reading;
mod tree;

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::apart::Apart;
use super::fields::Fields;
use super::own::OwnSecret;
use super::versions::Versions;
use super::{AsOf, Batch, BoxFuture, Provider, ProviderError};
use crate::config::Document;
use crate::secret::{Absent, Answer, SecretBytes, SecretKey, SecretType};
use crate::sys::leftover;
use content::{Opened, Opener};
use folder::Folder;
pub(super) use reading::{open, read};
use tree::Tree;

/// The most bytes of a file of a folder, and of a document.
const LARGEST: usize = 1 << 20;
const LARGEST_DOCUMENT: usize = 16 << 20;
/// What a file of a folder takes when sops has encrypted it.
const LARGEST_SEALED: usize = LARGEST / 2 * 3;

pub struct FileProvider {
    files: Arc<Files>,
    identity: Option<OwnSecret>,
    apart: Apart,
}

/// What is read in threads of its own.
struct Files {
    path: PathBuf,
    versions: Versions,
}

/// What lies at the path, for one question.
enum Held {
    Folder(Folder, Opened),
    Tree(Tree),
}

impl FileProvider {
    /// `store` is where its own secret may be.
    pub fn new(document: Document, version_key: SecretBytes, store: Option<Arc<dyn Provider>>) -> Self {
        let Document { path, identity } = document;
        Self {
            files: Arc::new(Files { path, versions: Versions::new(version_key) }),
            identity: identity.map(|source| OwnSecret::new(source, store)),
            apart: Apart::new(),
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Files, &Opener) -> Result<T, ProviderError> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let (files, opener) = (Arc::clone(&self.files), Opener::of(self.identity.as_ref()).await);
        let answer = self.apart.does(move || leftover::wiped(|| question(&files, &opener))).await;
        answer.map_err(|error| ProviderError::Unavailable(format!("no thread reads it: {error}")))?
    }
}

impl Files {
    fn answer(&self, keys: &[SecretKey], opener: &Opener) -> Result<Vec<Answer>, ProviderError> {
        let held = self.held(opener)?;
        keys.iter().map(|key| self.find(&held, key, opener)).collect()
    }

    /// Files know no versions.
    fn find(&self, held: &Held, key: &SecretKey, opener: &Opener) -> Result<Answer, ProviderError> {
        if key.version.is_some() {
            return Ok(Err(Absent::Missing));
        }
        let found = match held {
            Held::Folder(folder, opened) => content::in_folder(folder, &key.path, opener, opened)?,
            Held::Tree(tree) => tree.fields(&key.path).map_err(|why| unfit(&key.path, &why))?,
        };
        let Some(fields) = found else { return Ok(Err(Absent::Missing)) };
        let kind = if is_plain(&fields) { SecretType::Plain } else { SecretType::Custom };
        Ok(Ok(Arc::new(self.versions.of(&key.path, kind, fields))))
    }

    fn held(&self, opener: &Opener) -> Result<Held, ProviderError> {
        let path = self.path()?;
        let failed = |error: io::Error| ProviderError::Unavailable(format!("{}: {error}", path.display()));
        if path.metadata().map_err(failed)?.is_dir() {
            return Folder::open(&path).map(|folder| Held::Folder(folder, Opened::default())).map_err(failed);
        }
        let text = open(&path).and_then(|file| read(file, LARGEST_DOCUMENT)).map_err(failed)?;
        content::document(&path, &text, opener).map(Held::Tree)
    }

    /// Where it lies; what begins with a variable lies where that says now.
    fn path(&self) -> Result<PathBuf, ProviderError> {
        let mut parts = self.path.components();
        let first = parts.next().and_then(|part| match part {
            Component::Normal(name) => name.to_str()?.strip_prefix("${")?.strip_suffix('}'),
            _ => None,
        });
        let Some(variable) = first else { return Ok(self.path.clone()) };
        match std::env::var_os(variable).filter(|value| !value.is_empty()) {
            Some(folder) => Ok(Path::new(&folder).join(parts.as_path())),
            None => Err(ProviderError::Unavailable(format!("the variable {variable} is not set"))),
        }
    }
}

fn failed(path: &str, error: &io::Error) -> ProviderError {
    match error.kind() {
        io::ErrorKind::FileTooLarge => {
            ProviderError::TooLarge(format!("`{path}` has more than {} MiB", LARGEST >> 20))
        }
        _ => ProviderError::Unavailable(format!("`{path}`: {error}")),
    }
}

fn unfit(path: &str, why: &str) -> ProviderError {
    ProviderError::Invalid(format!("`{path}` {why}"))
}

fn is_plain(fields: &Fields) -> bool {
    fields.len() == 1 && fields.keys().all(|name| name.as_str() == crate::secret::FieldName::VALUE)
}

impl Provider for FileProvider {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        let keys = keys.to_vec();
        Box::pin(async {
            let answers = self.ask(move |files, opener| files.answer(&keys, opener)).await?;
            Ok(Batch { answers, as_of: AsOf::moment(0) })
        })
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(self.ask(|files, opener| match files.held(opener)? {
            Held::Folder(folder, _) => folder.names().map_err(|why| failed(".", &why)),
            Held::Tree(tree) => Ok(tree.names()),
        }))
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(self.ask(|files, opener| files.held(opener).map(drop)))
    }
}
