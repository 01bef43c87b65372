//! `secretfs init`: makes an empty store and its key.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::key::kernel;
use super::report::{Failure, warn};
use super::{Common, audited, config, exit, open, output, unseen};
use crate::audit::Kind;
use crate::config::{Config, StoreBackend};
use crate::store::{BackendKind, KeyError, KeySources, MasterKey, Store, StoreError, StoreId, Stretch};
use crate::sys::keyring::Keyring;

#[derive(clap::Args)]
pub struct Args {
    /// How it is kept: sqlite, or file where SQLite cannot work; init finds out which
    #[arg(long, value_name = "BACKEND", value_parser = backends(), hide_possible_values = true)]
    backend: Option<BackendKind>,
    /// Make the key of a passphrase, asked for now and whenever the store is opened
    #[arg(long)]
    passphrase: bool,
    /// Put the key into a keyring of the kernel, too: session, user (the default) or persistent
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "user", value_parser = kernel::keyrings(), hide_possible_values = true)]
    keyring: Option<Keyring>,
}

pub const KEEP_A_COPY: &str = "keep a copy elsewhere: without it nothing in the store can be read";

pub fn backends() -> impl TypedValueParser<Value = BackendKind> {
    let names = PossibleValuesParser::new(BackendKind::ALL.map(BackendKind::as_str));
    names.try_map(|name| BackendKind::parse(&name).ok_or("there is no such backend"))
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let Config { store: config, audit, .. } = config::load(common)?;
    let dir = open::store_path(common, &config);
    let id = StoreId::generate()?;
    let key = match args.passphrase {
        true if common.key_file.is_some() => return Err(two_keys()),
        true => key_of_passphrase()?,
        false => key_for(&open::key_sources(common, &config), &id, &dir)?,
    };
    let chosen = args.backend.or(config.backend.map(|backend| match backend {
        StoreBackend::Sqlite => BackendKind::Sqlite,
        StoreBackend::File => BackendKind::File,
    }));
    let store = make(&dir, chosen, id, &key).inspect_err(|_| key.discard())?;
    // Not before: the log is sealed with a key of this store.
    let written = audited::whole_at(&store, &audit, Kind::Init, &dir);
    // The store is there whether or not the kernel takes the key.
    let loaded = args.keyring.map(|keyring| Ok((keyring, key.key.load(keyring, &id, None)?))).transpose();
    let (kernel, refused) = loaded.map_or_else(|error: KeyError| (None, Some(error)), |it| (it, None));
    tell(&store, &id, &key, kernel.as_ref(), common.json)?;
    written?;
    if let Some(error) = refused {
        return Err(error.into());
    }
    if let Some(tree) = key.file.as_deref().and_then(work_tree) {
        warn(format!("the key lies in the git work tree {}: keep it out of its commits", tree.display()));
    }
    Ok(exit::OK)
}

/// With the chosen backend; without a choice with SQLite, or where that cannot work in one file.
fn make(dir: &Path, chosen: Option<BackendKind>, id: StoreId, key: &NewKey) -> Result<Store, StoreError> {
    let create = |backend| Store::create(dir, backend, id, &key.key, key.stretch.as_ref());
    match create(chosen.unwrap_or(BackendKind::Sqlite)) {
        Err(error @ StoreError::NoSqlite { .. }) if chosen.is_none() => {
            let store = create(BackendKind::File)?;
            warn(format!("{error}; the store is one file instead, rewritten with each change"));
            Ok(store)
        }
        outcome => outcome,
    }
}

/// The key of a new store, and the file that holds it.
pub struct NewKey {
    pub key: MasterKey,
    pub file: Option<PathBuf>,
    pub is_made: bool,
    /// How it was made, if of a passphrase.
    pub stretch: Option<Stretch>,
    /// How long that took.
    pub took: Duration,
}

impl NewKey {
    pub fn of(key: MasterKey) -> Self {
        Self { key, file: None, is_made: false, stretch: None, took: Duration::ZERO }
    }

    /// A store that was not made needs no key.
    pub fn discard(&self) {
        if let Some(path) = self.file.as_ref().filter(|_| self.is_made) {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Its file, by its absolute path.
    pub fn place(&self) -> Option<String> {
        let file = self.file.as_ref()?;
        Some(std::path::absolute(file).unwrap_or(file.clone()).display().to_string())
    }

    /// Where it is, and what that means.
    pub fn told(&self) -> String {
        match (self.place(), &self.stretch) {
            (_, Some(stretch)) => format!(
                "key    of your passphrase: {}, {} ms for each try on this machine\n       without it \
                 nothing in the store can be read; what runs unattended cannot open this store\n",
                stretch.cost(),
                self.took.as_millis()
            ),
            (Some(file), None) if self.is_made => format!("key    {file}\n       {KEEP_A_COPY}\n"),
            (Some(file), None) => format!("key    {file}, which was there already\n"),
            (None, None) => "key    the one that was given\n".to_owned(),
        }
    }
}

fn two_keys() -> Failure {
    Failure::new(exit::USAGE, "the key comes of a passphrase or out of a file, not both")
        .hint("leave out --passphrase or --key-file")
}

/// A new one, typed twice.
pub fn key_of_passphrase() -> Result<NewKey, Failure> {
    let ask = |prompt| unseen::ask(prompt).map_err(|error| Failure::from(KeyError::NotTyped(error)));
    let typed = ask("New passphrase: ")?;
    if typed.is_empty() {
        return Err(Failure::new(exit::DATA, "nothing was typed").hint("several words that you can keep"));
    }
    if !ask("Once more: ")?.same_as(typed.expose()) {
        return Err(
            Failure::new(exit::DATA, "the two passphrases differ").hint("try again; nothing was made")
        );
    }
    let start = Instant::now();
    let (stretch, key) = Stretch::of(&typed)?;
    Ok(NewKey { is_made: true, stretch: Some(stretch), took: start.elapsed(), ..NewKey::of(key) })
}

/// The key that was given, or a new one in the file that was named or the default one.
pub fn key_for(sources: &KeySources, id: &StoreId, dir: &Path) -> Result<NewKey, Failure> {
    let given = sources.given().map_err(|error| match &error {
        KeyError::File { .. } => {
            Failure::from(error).hint("name a file that is not there: init makes the key")
        }
        _ => error.into(),
    })?;
    if let Some(key) = given {
        return Ok(NewKey { file: sources.file.clone(), ..NewKey::of(key) });
    }
    let Some(path) = sources.file.clone().or_else(|| sources.default_file(id)) else {
        let failure = Failure::new(exit::CONFIG, "there is no place for the key: HOME is not set");
        return Err(failure.hint("--key-file FILE"));
    };
    check_outside(&path, dir)?;
    let key = MasterKey::generate()?;
    key.write(&path)?;
    Ok(NewKey { file: Some(path), is_made: true, ..NewKey::of(key) })
}

/// The git work tree that a file lies in.
pub fn work_tree(file: &Path) -> Option<PathBuf> {
    let file = std::path::absolute(file).ok()?;
    file.ancestors().skip(1).find(|folder| folder.join(".git").exists()).map(Path::to_owned)
}

/// Who gets a copy of the store shall not get its key with it.
pub fn check_outside(path: &Path, dir: &Path) -> Result<(), Failure> {
    match (std::path::absolute(path), std::path::absolute(dir)) {
        (Ok(file), Ok(dir)) if file.starts_with(&dir) => {
            let problem =
                format!("{} lies inside the store: who has the one would have the other", path.display());
            Err(Failure::new(exit::USAGE, problem).hint("name a file elsewhere"))
        }
        _ => Ok(()),
    }
}

fn tell(
    store: &Store,
    id: &StoreId,
    key: &NewKey,
    kernel: Option<&(Keyring, String)>,
    json: bool,
) -> Result<(), Failure> {
    let dir = store.dir().display().to_string();
    let backend = store.backend().as_str();
    if json {
        return output::print_json(&serde_json::json!({
            "store": dir,
            "id": id.to_string(),
            "backend": backend,
            "key_file": key.place(),
            "passphrase": key.stretch.is_some(),
            "keyring": kernel.map(|(_, name)| name),
        }));
    }
    let how = if store.backend() == BackendKind::File { ", in one file" } else { "" };
    let kernel = kernel.map_or(String::new(), |(keyring, name)| kernel::told(*keyring, name));
    output::print(format!("store  {dir}{how}\n{}{kernel}", key.told()))
}
