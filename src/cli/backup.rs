//! `secretfs backup` and `secretfs restore`: a store as one file, and a store of that file again.

use std::path::{Path, PathBuf};

use super::init::backends;
use super::progress::Progress;
use super::report::{Failure, warn};
use super::{Common, audited, config, exit, open, output, store};
use crate::audit::Kind;
use crate::config::Config;
use crate::store::{Access, BackendKind, Restored, Store, StoreError};

#[derive(clap::Args)]
pub struct BackupArgs {
    /// The file to make: sealed as the store is, opened by the store's key alone
    file: PathBuf,
}

#[derive(clap::Args)]
pub struct RestoreArgs {
    /// What `secretfs backup` has made
    file: PathBuf,
    /// The folder of the store, empty or not there (else that of --store)
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// How it is kept: sqlite or file; else as it was
    #[arg(long, value_name = "BACKEND", value_parser = backends(), hide_possible_values = true)]
    backend: Option<BackendKind>,
}

pub fn back_up(args: &BackupArgs, common: &Common) -> Result<u8, Failure> {
    let Config { store: config, audit, .. } = config::load(common)?;
    let store = open::open_store(common, &config, Access::Read)?;
    if std::path::absolute(&args.file).is_ok_and(|file| file.starts_with(store.dir())) {
        let problem = format!("{} lies inside the store, and would be lost with it", args.file.display());
        return Err(Failure::new(exit::USAGE, problem).hint("name a file elsewhere, best on another disk"));
    }
    if let Some(folder) = args.file.parent().filter(|it| !it.as_os_str().is_empty() && !it.exists()) {
        let problem = format!("there is no folder {}", folder.display());
        return Err(Failure::new(exit::NO_INPUT, problem).hint("make it, or name a file elsewhere"));
    }
    audited::whole_at(&store, &audit, Kind::Backup, &args.file)?;
    let count = store.describe_namespaces()?.iter().map(|it| it.secrets).sum::<u64>();
    let progress = Progress::of(count as usize, "backing up", common);
    let found = store.back_up(&args.file, &mut |count| (0..count).for_each(|_| progress.step()))?;
    drop(progress);
    let file = shown(&args.file);
    let bytes = args.file.metadata().map(|meta| meta.len()).unwrap_or_default();
    if common.json {
        let (namespaces, secrets, versions) = (found.namespaces, found.secrets, found.versions);
        output::print_json(&serde_json::json!({
            "backup": file, "bytes": bytes, "namespaces": namespaces, "secrets": secrets, "versions": versions,
        }))?;
        return Ok(exit::OK);
    }
    let text = format!(
        "backup  {file}, {} KiB, read back\nholds   {}\n        only the key of the store opens it: keep a copy of that elsewhere\n",
        bytes.div_ceil(1024),
        store::sound(&found),
    );
    output::print(text)?;
    Ok(exit::OK)
}

pub fn restore(args: &RestoreArgs, common: &Common) -> Result<u8, Failure> {
    if !args.file.exists() {
        let problem = format!("there is no file {}", args.file.display());
        return Err(Failure::new(exit::NO_INPUT, problem));
    }
    let Config { store: config, audit, .. } = config::load(common)?;
    let dir = args.to.clone().unwrap_or_else(|| open::store_path(common, &config));
    let sources = open::key_sources(common, &config);
    let restored = match Store::restore(&args.file, &dir, args.backend, &sources) {
        Err(error @ StoreError::NoSqlite { .. }) if args.backend.is_none() => {
            let restored = Store::restore(&args.file, &dir, Some(BackendKind::File), &sources)?;
            warn(format!("{error}; the store is one file instead, rewritten with each change"));
            restored
        }
        outcome => outcome?,
    };
    let Restored { id, backend, found } = restored;
    if audit.is_on() {
        // Not before: the log is sealed with a key of this store. A passphrase is asked for once more.
        audited::whole_at(&Store::open(&dir, Access::Read, &sources)?, &audit, Kind::Restore, &args.file)?;
    }
    let dir = shown(&dir);
    if common.json {
        let (namespaces, secrets, versions) = (found.namespaces, found.secrets, found.versions);
        output::print_json(&serde_json::json!({
            "store": dir, "id": id.to_string(), "backend": backend.as_str(),
            "namespaces": namespaces, "secrets": secrets, "versions": versions,
        }))?;
        return Ok(exit::OK);
    }
    let how = if backend == BackendKind::File { ", in one file" } else { "" };
    output::print(format!("store  {dir}{how}\nholds  {}\n", store::sound(&found)))?;
    Ok(exit::OK)
}

fn shown(path: &Path) -> String {
    std::path::absolute(path).unwrap_or(path.to_owned()).display().to_string()
}
