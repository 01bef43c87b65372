//! A provider's own secrets (a token, a password): read from their place each time they are needed, so
//! that a new one is taken up by itself. Uses the place's words of `config`, and the store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::apart::Apart;
use super::fields::of_text;
use super::{Provider, ProviderError, file};
use crate::config::{SecretSource, TextSource};
use crate::secret::{Absent, FieldName, Reference, SecretBytes, SecretKey};
use crate::sys::leftover;

/// Where one comes from, and the store that it may be in.
pub struct OwnSecret {
    source: TextSource,
    store: Option<Arc<dyn Provider>>,
    apart: Apart,
}

/// More than any token has.
const LARGEST: usize = 64 << 10;
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

impl OwnSecret {
    pub fn new(source: SecretSource, store: Option<Arc<dyn Provider>>) -> Self {
        Self::of_text(TextSource::From(source), store)
    }

    /// What is no secret may stand in the config itself.
    pub fn of_text(source: TextSource, store: Option<Arc<dyn Provider>>) -> Self {
        Self { source, store, apart: Apart::new() }
    }

    /// As it is now: one line without its end.
    pub async fn read(&self) -> Result<SecretBytes, ProviderError> {
        let source = match &self.source {
            TextSource::Text(text) => return Ok(SecretBytes::copy_of(text.as_bytes())),
            TextSource::From(source) => source,
        };
        let value = match source {
            SecretSource::Variable(name) => variable(name),
            SecretSource::File(path) => self.of_file(path.clone()).await.map_err(|error| error.to_string()),
            SecretSource::Credential(name) => self.of_credential(name).await,
            SecretSource::Store(reference) => self.of_store(reference).await,
        }
        .map_err(|why| ProviderError::Unavailable(format!("its own secret {source}: {why}")))?;
        match value.is_empty() {
            true => Err(ProviderError::Unavailable(format!("its own secret {source} is empty"))),
            false => Ok(value),
        }
    }

    async fn of_credential(&self, name: &str) -> Result<SecretBytes, String> {
        let missing =
            || format!("systemd has given none of that name; the unit needs LoadCredential={name}:…");
        let folder = std::env::var_os(CREDENTIALS).ok_or_else(missing)?;
        self.of_file(Path::new(&folder).join(name)).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => missing(),
            _ => error.to_string(),
        })
    }

    async fn of_file(&self, path: PathBuf) -> io::Result<SecretBytes> {
        self.apart.does(move || leftover::wiped(|| of_file(&path))).await?
    }

    async fn of_store(&self, reference: &Reference) -> Result<SecretBytes, String> {
        let Some(store) = &self.store else {
            return Err("there is no store; `secretfs init` makes one".to_owned());
        };
        let key = SecretKey { provider: None, ..reference.key.clone() };
        let batch = store.fetch(std::slice::from_ref(&key)).await.map_err(|error| error.to_string())?;
        let answer = batch.answers.into_iter().next();
        let version =
            answer.ok_or("the store has not answered; ask `secretfs doctor`")?.map_err(|it| match it {
                Absent::Missing => format!("{it}; `secretfs set {}` writes it", key.path),
                other => other.to_string(),
            })?;
        let field = reference.field.clone().unwrap_or_else(FieldName::value);
        let value = version.fields.get(&field).ok_or_else(|| format!("it has no field `{field}`"))?;
        Ok(SecretBytes::copy_of(value.expose()))
    }
}

fn variable(name: &str) -> Result<SecretBytes, String> {
    use std::os::unix::ffi::OsStringExt;
    let value = std::env::var_os(name)
        .ok_or("it is not set; set it where the daemon is started (in a unit: Environment=)")?;
    Ok(SecretBytes::new(value.into_vec()))
}

fn of_file(path: &Path) -> io::Result<SecretBytes> {
    let bytes = file::read(file::open(path)?, LARGEST)?;
    let fields = of_text(&bytes);
    Ok(fields.into_values().next().expect("one value"))
}
