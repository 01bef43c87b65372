//! `secretfs init`: makes an empty store and its key.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::report::{Failure, warn};
use super::{Common, config, exit, open, output};
use crate::config::StoreBackend;
use crate::store::{BackendKind, KeyError, KeySources, MasterKey, Store, StoreError, StoreId, Stretch};

#[derive(clap::Args)]
pub struct Args {
    /// How it is kept: sqlite, or file where SQLite cannot work; init finds out which
    #[arg(long, value_name = "BACKEND", value_parser = backends(), hide_possible_values = true)]
    backend: Option<BackendKind>,
    /// Make the key of a passphrase, asked for now and whenever the store is opened
    #[arg(long)]
    passphrase: bool,
}

fn backends() -> impl TypedValueParser<Value = BackendKind> {
    let names = PossibleValuesParser::new(BackendKind::ALL.map(BackendKind::as_str));
    names.try_map(|name| BackendKind::parse(&name).ok_or("there is no such backend"))
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let config = config::load(common)?.store;
    let dir = open::store_path(common, &config);
    let id = StoreId::generate()?;
    let key = match args.passphrase {
        true => key_of_passphrase(common)?,
        false => key_for(&open::key_sources(common, &config), &id, &dir)?,
    };
    let chosen = args.backend.or(config.backend.map(|backend| match backend {
        StoreBackend::Sqlite => BackendKind::Sqlite,
        StoreBackend::File => BackendKind::File,
    }));
    let store = make(&dir, chosen, id, &key).inspect_err(|_| key.discard())?;
    tell(&store, &id, &key, common.json)?;
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
    file: Option<PathBuf>,
    is_made: bool,
    /// How it was made, if of a passphrase.
    stretch: Option<Stretch>,
    /// How long that took.
    took: Duration,
}

impl NewKey {
    fn of(key: MasterKey) -> Self {
        Self { key, file: None, is_made: false, stretch: None, took: Duration::ZERO }
    }

    /// A store that was not made needs no key.
    fn discard(&self) {
        if let Some(path) = self.file.as_ref().filter(|_| self.is_made) {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn key_of_passphrase(common: &Common) -> Result<NewKey, Failure> {
    if common.key_file.is_some() {
        let failure = Failure::new(exit::USAGE, "the key comes of a passphrase or out of a file, not both");
        return Err(failure.hint("leave out --passphrase or --key-file"));
    }
    let ask = |prompt| open::ask_passphrase(prompt).map_err(|error| Failure::from(KeyError::NotTyped(error)));
    let typed = ask("New passphrase: ")?;
    if typed.is_empty() {
        return Err(Failure::new(exit::DATA, "nothing was typed").hint("several words that you can keep"));
    }
    if !ask("Once more: ")?.same_as(typed.expose()) {
        return Err(
            Failure::new(exit::DATA, "the two passphrases differ").hint("try again; nothing was made")
        );
    }
    let stretch = Stretch::generate()?;
    let start = Instant::now();
    let key = stretch.key(&typed)?;
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
    if is_inside(&path, dir) {
        let problem =
            format!("{} lies inside the store: who has the one would have the other", path.display());
        return Err(Failure::new(exit::USAGE, problem).hint("name a file elsewhere"));
    }
    let key = MasterKey::generate()?;
    key.write(&path)?;
    Ok(NewKey { file: Some(path), is_made: true, ..NewKey::of(key) })
}

/// The git work tree that a file lies in.
pub fn work_tree(file: &Path) -> Option<PathBuf> {
    let file = std::path::absolute(file).ok()?;
    file.ancestors().skip(1).find(|folder| folder.join(".git").exists()).map(Path::to_owned)
}

fn is_inside(path: &Path, dir: &Path) -> bool {
    match (std::path::absolute(path), std::path::absolute(dir)) {
        (Ok(path), Ok(dir)) => path.starts_with(dir),
        _ => false,
    }
}

fn tell(store: &Store, id: &StoreId, key: &NewKey, json: bool) -> Result<(), Failure> {
    let dir = store.dir().display().to_string();
    let backend = store.backend().as_str();
    let file = key.file.as_ref().map(|path| std::path::absolute(path).unwrap_or(path.clone()));
    let file = file.map(|path| path.display().to_string());
    if json {
        return output::print_json(
            &serde_json::json!({"store": dir, "id": id.to_string(), "backend": backend, "key_file": file, "passphrase": key.stretch.is_some()}),
        );
    }
    let key_line = match file {
        _ if let Some(stretch) = &key.stretch => format!(
            "key    of your passphrase: {}, {} ms for each try on this machine\n       without it \
             nothing in the store can be read; what runs unattended cannot open this store\n",
            stretch.cost(),
            key.took.as_millis()
        ),
        Some(file) if key.is_made => format!(
            "key    {file}\n       keep a copy elsewhere: without it nothing in the store can be read\n"
        ),
        Some(file) => format!("key    {file}, which was there already\n"),
        None => "key    the one that was given\n".to_owned(),
    };
    let how = if store.backend() == BackendKind::File { ", in one file" } else { "" };
    output::print(format!("store  {dir}{how}\n{key_line}"))
}
