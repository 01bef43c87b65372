//! Where the master key comes from, in order, and what is demanded of each place. Uses std, and
//! `sys` to take the key out of the environment.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::cipher::{Id, Key};
use super::{StoreError, StoreId, keyring};
use crate::secret::SecretBytes;

const VARIABLE: &str = "SECRETFS_MASTER_KEY";
const CREDENTIAL: &str = "secretfs.key";

/// A master key.
pub struct MasterKey(pub(super) Key);

/// What `SECRETFS_MASTER_KEY` held. Copies share it.
#[derive(Clone, Default)]
pub struct EnvKey(Option<Arc<SecretBytes>>);

impl EnvKey {
    /// Takes the key out of the environment, so that no child inherits it. To be called first of
    /// all, while the process has one thread: later it could only be read.
    pub fn take() -> Self {
        Self(crate::sys::environ::take(VARIABLE).map(|value| Arc::new(SecretBytes::copy_of(&value))))
    }
}

impl std::fmt::Debug for EnvKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "EnvKey(set)" } else { "EnvKey(unset)" })
    }
}

/// The places to look in, the first that has a fitting key wins.
pub struct KeySources {
    /// `--key-file`.
    pub file: Option<PathBuf>,
    pub environment: EnvKey,
    /// systemd's `$CREDENTIALS_DIRECTORY`.
    pub credentials: Option<PathBuf>,
    /// Where the default key files lie, one per store.
    pub folder: Option<PathBuf>,
}

impl KeySources {
    /// What this process was given.
    pub fn of_process(file: Option<PathBuf>, environment: EnvKey) -> Self {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Self { file, environment, credentials, folder: default_folder() }
    }

    /// Where `init` puts the key of a new store.
    pub fn default_file(&self, store: &StoreId) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(format!("{store}.key")))
    }

    /// Makes sense of what was given for a new store: nothing is looked for.
    pub fn given(&self) -> Result<Option<MasterKey>, KeyError> {
        match (&self.file, &self.environment.0) {
            (Some(file), _) if file.symlink_metadata().is_ok() => read_file(file, Trust::Owner).map(Some),
            (None, Some(text)) => parse_text(text).map(Some),
            _ => Ok(None),
        }
    }

    /// Goes through the sources. A key for another store is passed over; a source that cannot be
    /// trusted ends the search, since its owner believes that it protects the store.
    pub(super) fn find(&self, store: &StoreId, wanted: &Id) -> Result<MasterKey, KeyError> {
        let mut skipped = Vec::new();
        let mut consider = |key: MasterKey, source: String| {
            let fits = keyring::id_of(&key.0) == *wanted;
            if !fits {
                skipped.push(source);
            }
            fits.then_some(key)
        };
        if let Some(file) = &self.file
            && let Some(key) = consider(read_file(file, Trust::Owner)?, file.display().to_string())
        {
            return Ok(key);
        }
        if let Some(text) = &self.environment.0
            && let Some(key) = consider(parse_text(text)?, VARIABLE.to_owned())
        {
            return Ok(key);
        }
        let credential = self.credentials.as_ref().map(|folder| folder.join(CREDENTIAL));
        let default = self.default_file(store);
        for (file, trust) in [(credential, Trust::Manager), (default.clone(), Trust::Owner)] {
            if let Some(file) = file.filter(|file| file.symlink_metadata().is_ok())
                && let Some(key) = consider(read_file(&file, trust)?, file.display().to_string())
            {
                return Ok(key);
            }
        }
        Err(KeyError::NoneFits { skipped, default })
    }
}

/// `/etc/secretfs/keys` for root, else below the user's config folder.
fn default_folder() -> Option<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Some("/etc/secretfs/keys".into());
    }
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(config.join("secretfs/keys"))
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{}", none_fits(.skipped, .default))]
    NoneFits { skipped: Vec<String>, default: Option<PathBuf> },
    #[error("the key file {}: {problem}", .path.display())]
    File { path: PathBuf, problem: String, mend: String },
    #[error("{VARIABLE} is no key: it is neither 64 hexadecimal digits nor 32 bytes in base64")]
    Variable,
}

fn none_fits(skipped: &[String], default: &Option<PathBuf>) -> String {
    if !skipped.is_empty() {
        let lines: Vec<_> =
            skipped.iter().map(|source| format!("skipped {source}: it is for another store")).collect();
        return format!("no key fits it\n  {}", lines.join("\n  "));
    }
    match default {
        Some(file) => format!("there is no key for it; {} is not there", file.display()),
        None => "there is no key for it".to_owned(),
    }
}

impl KeyError {
    pub fn hint(&self) -> String {
        match self {
            Self::NoneFits { .. } => format!("give its key with --key-file FILE or {VARIABLE}"),
            Self::File { mend, .. } => mend.clone(),
            Self::Variable => format!("export {VARIABLE}=\"$(cat KEYFILE)\", or unset it"),
        }
    }
}

/// Whom a key file may belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Us or root, and nobody else may read it.
    Owner,
    /// systemd: an access list shows as a group that may read.
    Manager,
}

fn read_file(path: &Path, trust: Trust) -> Result<MasterKey, KeyError> {
    let refuse = |problem: String, mend: String| KeyError::File { path: path.to_owned(), problem, mend };
    let name = path.display();
    let mut options = OpenOptions::new();
    // Not blocking: a FIFO must not hold us up before it can be refused.
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => {
            refuse("it is a symbolic link".into(), format!("name the file itself: {}", target(path)))
        }
        _ if error.kind() == ErrorKind::NotFound => {
            refuse("it is not there".into(), "name the file that secretfs init has made".into())
        }
        _ => refuse(error.to_string(), format!("ls -l {name}")),
    })?;
    let meta = file.metadata().map_err(|error| refuse(error.to_string(), format!("ls -l {name}")))?;
    let us = nix::unistd::geteuid().as_raw();
    if !meta.is_file() {
        return Err(refuse("it is not a regular file".into(), "name a regular file".into()));
    }
    if meta.uid() != us && meta.uid() != 0 {
        return Err(refuse(
            format!("it belongs to uid {}, who could change it", meta.uid()),
            format!("chown {us} {name}"),
        ));
    }
    let forbidden = if trust == Trust::Owner { 0o077 } else { 0o027 };
    if meta.mode() & forbidden != 0 {
        return Err(refuse(
            format!("its mode {:04o} lets others read the key", meta.mode() & 0o7777),
            format!("chmod 0400 {name}"),
        ));
    }
    if meta.nlink() != 1 {
        return Err(refuse(
            format!("it has {} names (hard links)", meta.nlink()),
            format!("find / -xdev -samefile {name}, and remove the others"),
        ));
    }
    let mut content = Zeroizing::new(Vec::with_capacity(128));
    file.take(128)
        .read_to_end(&mut content)
        .map_err(|error| refuse(error.to_string(), format!("ls -l {name}")))?;
    parse_file(&content).ok_or_else(|| {
        refuse(
            "it holds no key: neither 32 bytes nor 64 hexadecimal digits".into(),
            "restore it from its backup: without the key nothing can be read".into(),
        )
    })
}

fn target(path: &Path) -> String {
    path.canonicalize().map_or_else(|_| "its target".into(), |target| target.display().to_string())
}

fn parse_file(content: &[u8]) -> Option<MasterKey> {
    match content.len() {
        32 => Key::from_bytes(content).map(MasterKey),
        _ => parse_hex(content.strip_suffix(b"\n").unwrap_or(content)),
    }
}

fn parse_text(text: &SecretBytes) -> Result<MasterKey, KeyError> {
    const EITHER: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = text.expose().trim_ascii();
    if let Some(key) = parse_hex(text) {
        return Ok(key);
    }
    let mut bytes = Zeroizing::new([0; 64]);
    [&alphabet::STANDARD, &alphabet::URL_SAFE]
        .into_iter()
        .filter(|_| text.len() <= 64)
        .find_map(|letters| {
            let length = GeneralPurpose::new(letters, EITHER).decode_slice(text, &mut *bytes).ok()?;
            Key::from_bytes(&bytes[..length]).map(MasterKey)
        })
        .ok_or(KeyError::Variable)
}

fn parse_hex(text: &[u8]) -> Option<MasterKey> {
    if text.len() != 64 {
        return None;
    }
    let mut key = Zeroizing::new([0; 32]);
    for (byte, pair) in key.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Key::from_bytes(&*key).map(MasterKey)
}

impl MasterKey {
    pub fn generate() -> Result<Self, StoreError> {
        Key::random().map(Self)
    }

    /// Writes it to a new file that only its owner can read.
    pub fn write(&self, path: &Path) -> Result<(), StoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(StoreError::io("make the folder", folder))?;
        }
        let mut line = Zeroizing::new(Vec::with_capacity(65));
        for byte in self.0.expose() {
            line.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
        }
        line.push(b'\n');
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o400)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(StoreError::io("make the key file", path))?;
        file.write_all(&line).and_then(|()| file.sync_all()).map_err(StoreError::io("write", path))
    }
}

#[cfg(test)]
mod tests;
