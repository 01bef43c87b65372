//! Files as a provider (`type: file`): a folder whose files are secrets, as containers and systemd lay
//! them out, or one document (env, JSON, YAML) whose names are. Uses `document` and nix.
//!
//! | the path | what `files:PATH#FIELD` is |
//! |---|---|
//! | a folder | the content of the file PATH in it; one final newline of a single line is dropped |
//! | `.env`, `*.env` | the variable PATH |
//! | `*.json`, `*.yaml`, `*.yml` | what `PATH` leads to, part by part: a value at the top, or an object with FIELD |

mod folder;
mod tree;

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::fields::Fields;
use super::versions::Versions;
use super::{AsOf, Batch, BoxFuture, Provider, ProviderError, unhurried};
use crate::config::Document;
use crate::document::{self, dotenv};
use crate::secret::{Absent, Answer, SecretBytes, SecretKey, SecretType};
use crate::sys::leftover;
use crate::template::Format;
use tree::Tree;

/// The most bytes of a file of a folder, and of a document.
const LARGEST: usize = 1 << 20;
const LARGEST_DOCUMENT: usize = 16 << 20;
/// After so long without a write it is whole.
const SETTLED: Duration = Duration::from_millis(50);
const TRIES: usize = 10;

pub struct FileProvider {
    document: Document,
    versions: Versions,
}

/// What lies at the path, for one question.
enum Held {
    Folder(folder::Folder),
    Tree(Tree),
}

impl FileProvider {
    pub fn new(document: Document, version_key: SecretBytes) -> Self {
        Self { document, versions: Versions::new(version_key) }
    }

    fn answer(&self, keys: &[SecretKey]) -> Result<Vec<Answer>, ProviderError> {
        let mut held = self.held()?;
        keys.iter().map(|key| self.find(&mut held, key)).collect()
    }

    /// Files know no versions.
    fn find(&self, held: &mut Held, key: &SecretKey) -> Result<Answer, ProviderError> {
        if key.version.is_some() {
            return Ok(Err(Absent::Missing));
        }
        let found = match held {
            Held::Folder(folder) => folder.fields(&key.path).map_err(|why| self.failed(&key.path, why))?,
            Held::Tree(tree) => tree.fields(&key.path).map_err(|why| unfit(&key.path, &why))?,
        };
        let Some(fields) = found else { return Ok(Err(Absent::Missing)) };
        let kind = if is_plain(&fields) { SecretType::Plain } else { SecretType::Custom };
        Ok(Ok(Arc::new(self.versions.of(&key.path, kind, fields))))
    }

    fn held(&self) -> Result<Held, ProviderError> {
        let path = self.path()?;
        let failed = |error: io::Error| self.unreadable(&path, &error);
        match path.metadata().map_err(failed)?.is_dir() {
            true => folder::Folder::open(&path).map(Held::Folder).map_err(failed),
            false => self.tree(&path).map(Held::Tree),
        }
    }

    fn tree(&self, path: &Path) -> Result<Tree, ProviderError> {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let format = Format::from_file_name(name);
        let file = open(path).map_err(|error| self.unreadable(path, &error))?;
        let text = read(file, LARGEST_DOCUMENT).map_err(|error| self.unreadable(path, &error))?;
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
        let at = |line: usize, problem: &str| {
            ProviderError::Invalid(format!("{}:{line}: {problem}", path.display()))
        };
        match format {
            Some(Format::Json) => Tree::of(document::json(text).map_err(|it| at(it.line, it.problem))?)
                .map_err(|why| at(1, why)),
            Some(Format::Yaml) => Tree::of(document::yaml(text).map_err(|it| at(it.line, it.problem))?)
                .map_err(|why| at(1, why)),
            Some(Format::Env(_)) => {
                let all = dotenv::parse(text).map_err(|error| at(error.line, error.problem))?;
                match all.iter().any(|it| it.name == "sops_mac") {
                    true => Err(at(1, tree::SEALED)),
                    false => Ok(Tree::of_variables(all)),
                }
            }
            _ => Err(at(1, "its name does not say what it is; .env, .json, .yaml or a folder would")),
        }
    }

    /// Where it lies; what begins with a variable lies where that says now.
    fn path(&self) -> Result<PathBuf, ProviderError> {
        let path = &self.document.path;
        let mut parts = path.components();
        let first = parts.next().and_then(|part| match part {
            Component::Normal(name) => name.to_str()?.strip_prefix("${")?.strip_suffix('}'),
            _ => None,
        });
        let Some(variable) = first else { return Ok(path.clone()) };
        match std::env::var_os(variable).filter(|value| !value.is_empty()) {
            Some(folder) => Ok(Path::new(&folder).join(parts.as_path())),
            None => Err(ProviderError::Unavailable(format!("the variable {variable} is not set"))),
        }
    }

    fn unreadable(&self, path: &Path, error: &io::Error) -> ProviderError {
        ProviderError::Unavailable(format!("{}: {error}", path.display()))
    }

    fn failed(&self, path: &str, error: io::Error) -> ProviderError {
        match error.kind() {
            io::ErrorKind::FileTooLarge => {
                ProviderError::TooLarge(format!("`{path}` has more than {} MiB", LARGEST >> 20))
            }
            _ => ProviderError::Unavailable(format!("`{path}`: {error}")),
        }
    }
}

fn unfit(path: &str, why: &str) -> ProviderError {
    ProviderError::Invalid(format!("`{path}` {why}"))
}

/// Never waits for a writer, as at a pipe.
pub(super) fn open(path: &Path) -> io::Result<File> {
    std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// A regular file's bytes, once nobody writes it: of one that was just written, there may be half.
pub(super) fn read(mut file: File, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    for _ in 0..TRIES {
        let before = file.metadata()?;
        let bytes = read_once(&mut file, &before, most)?;
        let after = file.metadata()?;
        let is_same = before.len() == after.len() && before.modified()? == after.modified()?;
        if is_same && after.modified()?.elapsed().map_or(true, |age| age >= SETTLED) {
            return Ok(bytes);
        }
        std::thread::sleep(SETTLED);
        file.rewind()?;
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "is being written all the time"))
}

fn read_once(file: &mut File, meta: &Metadata, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file"));
    }
    // In one piece, so that no smaller copy stays behind.
    let size = usize::try_from(meta.len()).unwrap_or(usize::MAX).min(most);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > most {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(bytes),
    }
}

fn is_plain(fields: &Fields) -> bool {
    fields.len() == 1 && fields.keys().all(|name| name.as_str() == crate::secret::FieldName::VALUE)
}

impl Provider for FileProvider {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(async {
            let answers = unhurried(|| leftover::wiped(|| self.answer(keys)))?;
            Ok(Batch { answers, as_of: AsOf::moment(0) })
        })
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async {
            unhurried(|| match self.held()? {
                Held::Folder(folder) => folder.names().map_err(|why| self.failed(".", why)),
                Held::Tree(tree) => Ok(tree.names()),
            })
        })
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async { unhurried(|| self.held().map(drop)) })
    }
}
