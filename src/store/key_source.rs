//! Where the master key comes from, in order. Uses `key_file`, `kernel` and `passphrase`, and `sys`
//! to take the key out of the environment.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::cipher::{Id, Key};
use super::key_file::{self, MasterKey, Trust, parse_hex};
use super::keyring::Masters;
use super::passphrase::{Ask, Stretch};
use super::{StoreId, kernel, keyring};
use crate::secret::SecretBytes;
use crate::sys::keyring::Keyring;

const VARIABLE: &str = "SECRETFS_MASTER_KEY";
pub(super) const CREDENTIAL: &str = "secretfs.key";

/// What `SECRETFS_MASTER_KEY` held. Copies share it.
#[derive(Clone, Default)]
pub struct EnvKey(Option<Arc<SecretBytes>>);

impl EnvKey {
    /// Takes the key out of the environment, so that no child inherits it. To be called first of
    /// all, while the process has one thread: later it could only be read.
    pub fn take() -> Self {
        Self(crate::sys::environ::take(VARIABLE).map(|value| Arc::new(SecretBytes::copy_of(&value))))
    }

    /// Gives it on to a process of ours, which takes it the same way.
    pub fn give_to(&self, command: &mut Command) {
        if let Some(value) = &self.0 {
            command.env(VARIABLE, OsStr::from_bytes(value.expose()));
        }
    }

    /// As an entry of a program's environment.
    pub fn as_variable(&self) -> Option<SecretBytes> {
        let value = self.0.as_ref()?;
        Some(SecretBytes::copy_of(&Zeroizing::new([VARIABLE.as_bytes(), b"=", value.expose()].concat())))
    }
}

impl std::fmt::Debug for EnvKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "EnvKey(set)" } else { "EnvKey(unset)" })
    }
}

/// The places to look in, the first that has a fitting key wins.
#[derive(Clone, Default)]
pub struct KeySources {
    /// `--key-file`.
    pub file: Option<PathBuf>,
    pub environment: EnvKey,
    /// systemd's `$CREDENTIALS_DIRECTORY`.
    pub credentials: Option<PathBuf>,
    /// Where the default key files lie, one per store.
    pub folder: Option<PathBuf>,
    /// Whether the kernel's keyrings are looked through.
    pub kernel: bool,
    /// For a passphrase, last of all. `None` where nobody sits.
    pub ask: Option<Ask>,
}

/// A master key, and where it was found.
pub(super) struct Found {
    pub(super) key: MasterKey,
    pub(super) source: String,
}

impl KeySources {
    /// What this process was given.
    pub fn of_process(file: Option<PathBuf>, environment: EnvKey) -> Self {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Self { file, environment, credentials, folder: default_folder(), kernel: true, ask: None }
    }

    /// Where `init` puts the key of a new store.
    pub fn default_file(&self, store: &StoreId) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(format!("{store}.key")))
    }

    /// Where the key that takes its place goes: named by both, it is found there, and the old one
    /// still opens older backups.
    pub fn next_file(&self, store: &StoreId, key: &MasterKey) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(named(store, &keyring::id_of(&key.0))))
    }

    /// Makes sense of what was given for a new store: nothing is looked for.
    pub fn given(&self) -> Result<Option<MasterKey>, KeyError> {
        match (&self.file, &self.environment.0) {
            (Some(file), _) if file.symlink_metadata().is_ok() => {
                key_file::read(file, Trust::Owner).map(Some)
            }
            (None, Some(text)) => parse_text(text).map(Some),
            _ => Ok(None),
        }
    }

    /// Goes through the sources. A key for another store is passed over; a source that cannot be
    /// trusted ends the search, since its owner believes that it protects the store.
    pub(super) fn find(&self, dir: &Path, store: &StoreId, wanted: &Id) -> Result<Found, KeyError> {
        let mut skipped = Vec::new();
        let mut consider = |key: MasterKey, source: String| {
            let fits = keyring::id_of(&key.0) == *wanted;
            if !fits {
                skipped.push(format!("{source}: it is not the key of this store"));
            }
            fits.then_some(Found { key, source })
        };
        if let Some(file) = &self.file
            && let Some(found) = consider(key_file::read(file, Trust::Owner)?, file.display().to_string())
        {
            return Ok(found);
        }
        if let Some(text) = &self.environment.0
            && let Some(found) = consider(parse_text(text)?, VARIABLE.to_owned())
        {
            return Ok(found);
        }
        let credential = self.credentials.as_ref().map(|folder| folder.join(CREDENTIAL));
        let default = self.default_file(store);
        let next = self.folder.as_ref().map(|folder| folder.join(named(store, wanted)));
        let files = [(credential, Trust::Manager), (default.clone(), Trust::Owner), (next, Trust::Owner)];
        for (file, trust) in files {
            if let Some(file) = file.filter(|file| file.symlink_metadata().is_ok())
                && let Some(found) = consider(key_file::read(&file, trust)?, file.display().to_string())
            {
                return Ok(found);
            }
        }
        if self.kernel
            && let Some(key) = kernel::find(store, wanted, &mut skipped)
        {
            return Ok(Found { key, source: "the kernel's keyring".to_owned() });
        }
        match Stretch::of_store(dir, wanted)? {
            Some(stretch) => {
                let key = self.ask.as_ref().ok_or(KeyError::NobodyToAsk)?.for_key(&stretch)?;
                Ok(Found { key, source: "a passphrase".to_owned() })
            }
            None => Err(KeyError::NoneFits { skipped, default }),
        }
    }
}

/// Where it is not known which key a store has.
impl KeySources {
    /// The first that fits, of all that may be of this store.
    pub(super) fn any(
        &self,
        dir: &Path,
        store: &StoreId,
        fits: &dyn Fn(&Masters) -> bool,
    ) -> Result<Masters, KeyError> {
        let given = self.file.as_ref().map(|file| key_file::read(file, Trust::Owner)).transpose()?;
        let variable = self.environment.0.as_ref().map(|text| parse_text(text)).transpose()?;
        let credential = self.credentials.as_ref().map(|folder| folder.join(CREDENTIAL));
        let credential = credential.and_then(|file| key_file::read(&file, Trust::Manager).ok());
        let files = self.files_of(store).into_iter();
        let own = files.filter_map(|file| key_file::read(&file, Trust::Owner).ok());
        let keys = [given, variable, credential].into_iter().flatten().chain(own);
        if let Some(masters) = keys.map(|key| Masters::derive(&key.0)).find(|masters| fits(masters)) {
            return Ok(masters);
        }
        for stretch in Stretch::all(dir)? {
            let key = self.ask.as_ref().ok_or(KeyError::NobodyToAsk)?.for_key(&stretch)?;
            let masters = Masters::derive(&key.0);
            if fits(&masters) {
                return Ok(masters);
            }
        }
        Err(KeyError::NoneFits { skipped: Vec::new(), default: self.default_file(store) })
    }

    /// All key files of a store in the folder for them.
    fn files_of(&self, store: &StoreId) -> Vec<PathBuf> {
        let store = store.to_string();
        let entries = self.folder.as_ref().and_then(|folder| folder.read_dir().ok()).into_iter().flatten();
        let paths = entries.flatten().map(|entry| entry.path());
        paths
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&store)))
            .collect()
    }
}

fn named(store: &StoreId, key: &Id) -> String {
    format!("{store}-{}.key", super::change::hex(&key[..4]))
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
    #[error("its key is a passphrase, and nobody is there to be asked for it")]
    NobodyToAsk,
    #[error("no passphrase was typed: {0}")]
    NotTyped(std::io::Error),
    #[error("it has another passphrase")]
    WrongPassphrase,
    #[error("the {} keyring of the kernel cannot be used: {problem}", .keyring.as_str())]
    Keyring { keyring: Keyring, problem: String },
    #[error("systemd-creds made no credential: {0}")]
    Credential(String),
    #[error("its file `passphrase` is not what was written")]
    Stretch,
    #[error("its passphrase takes {0} MiB of memory, which are not to be had")]
    NoMemory(u32),
}

fn none_fits(skipped: &[String], default: &Option<PathBuf>) -> String {
    if !skipped.is_empty() {
        let lines: Vec<_> = skipped.iter().map(|source| format!("skipped {source}")).collect();
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
            Self::NobodyToAsk | Self::NotTyped(_) => {
                "run it on a terminal; what runs unattended needs a store with a key file".into()
            }
            Self::WrongPassphrase => "try again: without its passphrase nothing in it can be read".into(),
            Self::Keyring { .. } => {
                "keep the key in a file: --key-file FILE; containers and units may forbid keyrings".into()
            }
            Self::Credential(_) => "systemd-creds setup, as root, makes the key of this machine".into(),
            Self::Stretch => "restore it from a backup of the store: without it no passphrase fits".into(),
            Self::NoMemory(_) => "end other programs, or raise the limit on memory".into(),
        }
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

#[cfg(test)]
mod tests;
