//! The place of the audit, tried as who writes it would, with nothing made and nothing changed. May use
//! every layer.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::AtFlags;
use nix::unistd::{AccessFlags, faccessat};

use super::finding::{Finding, Kind, Place};
use super::report::Report;
use super::rules::is_open;
use crate::audit;
use crate::config::Config;

pub(super) fn judge(config: &Config, report: &mut Report) {
    let place = |key: &str| Place::from(&config.error_at(&["audit", key], ""));
    if let Some(path) = &config.audit.file {
        of_file(path).into_iter().for_each(|(kind, what)| report.add(Finding::on(place("file"), kind, what)));
    }
    if config.audit.is_to_journald() && !audit::has_journal() {
        let what = "journald is not there, so it takes nothing";
        report.add(Finding::on(place("journald"), Kind::Note, what.to_owned() + as_of(config)));
    }
}

/// What becomes of readers then.
fn as_of(config: &Config) -> &'static str {
    match config.audit.is_required() {
        true => ": nobody would get anything",
        false => "",
    }
}

fn of_file(path: &Path) -> Vec<(Kind, String)> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut said: Vec<_> = trial(path, folder).into_iter().collect();
    if let Some(open) = open_above(folder) {
        let what = format!(
            "others than root may write to {}: who can take the log away can hide what it says",
            open.display()
        );
        said.push((Kind::Note, what));
    }
    said
}

/// Why it cannot be written. What is there and wrong is a fault; what is not there may come to be.
fn trial(path: &Path, folder: &Path) -> Option<(Kind, String)> {
    let shown = path.display();
    let cannot = |what: &str| Some((Kind::Note, format!("{shown} cannot be written as things are: {what}")));
    match path.symlink_metadata() {
        Ok(meta) if meta.is_symlink() => {
            Some((Kind::Config, format!("{shown} is a symbolic link, which is not followed")))
        }
        Ok(meta) => match audit::unfit(&meta) {
            Some(what) => Some((Kind::Config, format!("{shown} is {what}: nothing is written to it"))),
            None if !may(path, AccessFlags::W_OK) => cannot("this user may not write it"),
            None => None,
        },
        Err(_) if !folder.is_dir() => cannot(&format!("there is no folder {}", folder.display())),
        Err(_) if !may(folder, AccessFlags::W_OK | AccessFlags::X_OK) => {
            cannot(&format!("this user may not write to {}", folder.display()))
        }
        Err(_) => None,
    }
}

fn may(path: &Path, what: AccessFlags) -> bool {
    faccessat(nix::fcntl::AT_FDCWD, path, what, AtFlags::AT_EACCESS).is_ok()
}

/// A folder in which others than root can put another log in place of this one: a sticky one counts
/// where the log itself is made.
fn open_above(folder: &Path) -> Option<&Path> {
    let is_shared = folder.metadata().is_ok_and(|meta| meta.mode() & 0o022 != 0);
    if is_shared {
        return Some(folder);
    }
    let us = nix::unistd::geteuid().as_raw();
    folder.ancestors().find(|it| {
        is_open(it) && it.metadata().is_ok_and(|meta| meta.uid() != us || meta.mode() & 0o022 != 0)
    })
}
