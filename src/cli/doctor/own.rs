//! What is ours: the config, the store, and where its key comes from. May use every layer.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::{Timestamp, ToSpan};
use nix::sys::statfs::{FsType, statfs};

use super::Finding;
use crate::cli::init::work_tree;
use crate::cli::report::Failure;
use crate::cli::{Common, config, open, output};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, StoreConfig};
use crate::store::{Access, KeySources, Store, StoreError};

/// File systems whose locks or whose life are not a disk's: statfs(2).
const FILE_SYSTEMS: [(i64, &str, &str); 6] = [
    (0x6969, "NFS", "locks between machines cannot be relied on"),
    (0xff53_4d42, "CIFS", "locks between machines cannot be relied on"),
    (0xfe53_4d42, "SMB", "locks between machines cannot be relied on"),
    (0x0102_1997, "9p", "locks between machines cannot be relied on"),
    (0x6573_5546, "FUSE", "locks are as good as what is behind it"),
    (0x0102_1994, "tmpfs", "it is gone with the next boot"),
];

pub(super) fn look(common: &Common) -> Vec<Finding> {
    let (config, finding) = config(common);
    let mut findings = vec![finding];
    if let Some(config) = config {
        findings.extend(store(common, &config.store));
    }
    findings
}

fn config(common: &Common) -> (Option<Config>, Finding) {
    let path = config::find(common);
    match (path, config::load(common)) {
        (Err(failure), _) | (_, Err(failure)) => (None, Finding::of("config", failure)),
        (Ok(None), Ok(config)) => {
            (Some(config), Finding::ok("config", "none: defaults, and what the command line says"))
        }
        (Ok(Some(path)), Ok(config)) => {
            let found = format!(
                "{} is sound; it names {}",
                path.display(),
                output::counted(config.mounts.len(), "mount")
            );
            (Some(config), Finding::ok("config", found))
        }
    }
}

fn store(common: &Common, config: &StoreConfig) -> Vec<Finding> {
    let path = open::store_path(common, config);
    let sources = open::key_sources(common, config);
    let mut findings = match Store::open(&path, Access::Read, &sources) {
        Ok(store) => opened(common, &store, &sources),
        Err(StoreError::NoStore(path)) => {
            return vec![Finding::weak("store", format!("none at {}", path.display()), "secretfs init")];
        }
        Err(StoreError::Sealed(error)) => vec![
            Finding::ok("store", format!("is at {}", path.display())),
            Finding::of("key", Failure::from(error)),
        ],
        Err(error) => return vec![Finding::of("store", error.into())],
    };
    findings.extend(disk(&path));
    findings
}

fn opened(common: &Common, store: &Store, sources: &KeySources) -> Vec<Finding> {
    let mode = store.dir().metadata().map_or(0, |meta| meta.mode() & 0o7777);
    let secrets = open::namespace(common).and_then(|namespace| Ok(store.list(&namespace)?));
    let secrets = match secrets {
        Ok(secrets) => secrets,
        Err(failure) => return vec![Finding::of("store", failure)],
    };
    let found = format!(
        "{} opens ({}, mode {mode:04o}, {})",
        store.dir().display(),
        store.backend().as_str(),
        output::counted(secrets.len(), "secret")
    );
    let newest = secrets.iter().map(|secret| secret.updated_at).max();
    let mut findings = vec![Finding::ok("store", found)];
    findings.extend(newest.and_then(|newest| behind(SystemClock.now(), newest)));
    findings.extend(key(store, sources));
    findings
}

/// A clock that is behind the store's was set back.
fn behind(now: Timestamp, newest: Timestamp) -> Option<Finding> {
    let is_behind = now.checked_add(1.minute()).is_ok_and(|soon| soon < newest);
    is_behind.then(|| {
        let found = format!(
            "it is {} here, and the store has a change of {}",
            output::time(now),
            output::time(newest)
        );
        Finding::weak("clock", found, "set the clock: what has expired would be served")
    })
}

/// Which source has the key that opens the store, and whether it lies well.
fn key(store: &Store, sources: &KeySources) -> Vec<Finding> {
    let Some((source, file)) = source(store, sources) else { return Vec::new() };
    let mut findings = vec![Finding::ok("key", format!("from {source}"))];
    let Some(file) = file.and_then(|file| std::path::absolute(file).ok()) else { return findings };
    if let Some(tree) = work_tree(&file) {
        let found = format!("{} lies in the git work tree {}", file.display(), tree.display());
        findings.push(Finding::weak("key's place", found, "move it out, or have .gitignore name it"));
    }
    if file.parent() == store.dir().parent() {
        let found = format!("{} lies beside the store: who copies the folder has both", file.display());
        findings.push(Finding::weak(
            "key's place",
            found,
            "move it, and name it with --key-file or in the config",
        ));
    }
    findings
}

/// The first source that opens the store by itself, in the order in which they are tried.
fn source(store: &Store, sources: &KeySources) -> Option<(String, Option<PathBuf>)> {
    let none = KeySources::default;
    let opens = |sources: &KeySources| Store::open(store.dir(), Access::Read, sources).is_ok();
    let file = |path: &Path| Some((path.display().to_string(), Some(path.to_owned())));
    if let Some(path) = sources.file.as_ref()
        && opens(&KeySources { file: Some(path.clone()), ..none() })
    {
        return file(path);
    }
    if opens(&KeySources { environment: sources.environment.clone(), ..none() }) {
        return Some(("SECRETFS_MASTER_KEY".to_owned(), None));
    }
    if opens(&KeySources { credentials: sources.credentials.clone(), ..none() }) {
        return Some(("systemd's credential secretfs.key".to_owned(), None));
    }
    let default = store.id().ok().and_then(|id| sources.default_file(&id));
    match default.filter(|path| opens(&KeySources { file: Some(path.clone()), ..none() })) {
        Some(path) => file(&path),
        None if opens(&KeySources { folder: sources.folder.clone(), ..none() }) => {
            Some(("the key file of the last change of the key".to_owned(), None))
        }
        None if opens(&KeySources { kernel: true, ..none() }) => {
            Some(("a keyring of the kernel".to_owned(), None))
        }
        None => Some(("its passphrase".to_owned(), None)),
    }
}

/// What the store's file system means for it.
fn disk(path: &Path) -> Option<Finding> {
    let FsType(found) = statfs(path).ok()?.filesystem_type();
    let (_, name, meaning) = FILE_SYSTEMS.iter().find(|(number, ..)| *number == found)?;
    Some(Finding::weak("store's disk", format!("{name}: {meaning}"), "keep the store on a local disk"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_is_noticed() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let newest = at("2027-01-31T12:00:00Z");
        assert!(behind(at("2027-01-31T11:58:00Z"), newest).is_some());
        assert!(behind(at("2027-01-31T11:59:30Z"), newest).is_none(), "clocks differ a little");
        assert!(behind(at("2027-02-01T00:00:00Z"), newest).is_none());
    }
}
