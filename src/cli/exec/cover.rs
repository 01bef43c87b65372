//! The files that `exec --file` covers: where, by which template, and what stands in for a file
//! that is not there. May use every layer.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{getegid, geteuid};

use super::keep::{self, Kept};
use crate::broker;
use crate::cli::report::Failure;
use crate::cli::{exit, source};
use crate::config::FileOptions;
use crate::fs::mountpoint;
use crate::fs::source::{Source, Trusted};
use crate::fs::tree::{Layout, Spec};
use crate::policy::{Door, Ownership};
use crate::sys::namespace;
use crate::template::{Format, Syntax, Template};

/// A path at which the command finds the rendering of a template.
pub(super) struct Cover {
    /// As it was asked for: its name tells the format.
    path: PathBuf,
    /// The file that is covered, behind all links: a link itself cannot be covered.
    pub(super) target: PathBuf,
    pub(super) template: PathBuf,
    ownership: Ownership,
    is_missing: bool,
}

/// Where the command's namespace has our folder while the files are bound from it: where nothing
/// is that anybody would cover, and what is there every Linux has.
pub(super) const PLACE: &str = "/proc/sys";

const DEADLINE: Duration = Duration::from_secs(5);

impl Cover {
    /// Judges the path; makes nothing.
    pub(super) fn new(path: &Path, template: &Path) -> Result<Self, Failure> {
        let absolute = |path: &Path| std::path::absolute(path).map_err(|error| cannot_cover(path, &error));
        if let Err(error) = template.metadata() {
            let problem = format!("cannot read the template {}: {error}", template.display());
            return Err(Failure::new(exit::NO_INPUT, problem));
        }
        let (path, template) = (absolute(path)?, absolute(template)?);
        let (target, meta) = match path.canonicalize().and_then(|target| Ok((target.metadata()?, target))) {
            Ok((meta, target)) => (target, Some(meta)),
            Err(error) if error.kind() == ErrorKind::NotFound => (free_place(&path)?, None),
            Err(error) => return Err(cannot_cover(&path, &error)),
        };
        if let Some(meta) = meta.as_ref().filter(|meta| !meta.is_file()) {
            return Err(not_a_file(&path, meta));
        }
        if mountpoint::is_served(&target) {
            return Err(served_already(&path));
        }
        let meta = meta.filter(|meta| !is_placeholder(meta));
        let ownership = ownership(meta.as_ref());
        Ok(Self { path, target, template, ownership, is_missing: meta.is_none() })
    }

    /// The template, under the same rules as in a mount.
    pub(super) fn compile(&self) -> Result<Arc<Template>, broker::Error> {
        let from = self.template.parent().unwrap_or(Path::new("/"));
        let options =
            source::options(&self.path, &FileOptions { format: self.format(), ..FileOptions::default() });
        Source::new(Trusted::new(&self.template, from.into()), options).load().template.clone()
    }

    /// `config.json.tpl` is JSON wherever it goes; else the path's own name decides.
    fn format(&self) -> Option<Format> {
        source::format_of(&self.template)
    }

    /// To be kept as long as the command runs.
    pub(super) fn hold_place(&self) -> Result<Option<Placeholder>, Failure> {
        if !self.is_missing {
            return Ok(None);
        }
        Placeholder::at(&self.target).map(Some).map_err(|error| {
            Failure::new(
                exit::CANNOT_CREATE,
                format!("cannot make a file to be covered at {}: {error}", self.path.display()),
            )
            .hint(format!("let somebody make it who may: touch {}", self.path.display()))
        })
    }

    fn spec(&self) -> Spec {
        Spec {
            ownership: self.ownership,
            rules: None,
            format: self.format(),
            dialect: None,
            syntax: Syntax::Angle,
            verify: true,
            set: None,
            deadline: DEADLINE,
            on_change: None,
        }
    }

    /// In our folder; the name stays, as it tells the format.
    fn name(&self, index: usize) -> PathBuf {
        Path::new(&index.to_string()).join(self.path.file_name().unwrap_or_default())
    }
}

/// The folder that holds all of them.
pub(super) fn layout(covers: &[Cover]) -> Layout {
    let numbered = covers.iter().enumerate();
    let ownership = Ownership { mode: 0o555, ..ownership(None) };
    Layout {
        at: PathBuf::new(),
        spelled: PathBuf::new(),
        door: Door::Exec,
        templates: None,
        spec: Spec {
            ownership,
            rules: None,
            format: None,
            dialect: None,
            syntax: Syntax::Angle,
            verify: true,
            set: None,
            deadline: DEADLINE,
            on_change: None,
        },
        files: numbered.map(|(index, it)| (it.name(index), (it.spec(), Some(it.template.clone())))).collect(),
        folders: ownership,
    }
}

/// In the command's namespace: binds each file over its path, where it is kept, and takes our
/// folder out of sight.
pub(super) fn put_in_place(covers: &[Cover]) -> Result<(), Failure> {
    let place = Path::new(PLACE);
    let mut kept = Vec::with_capacity(covers.len());
    for (index, cover) in covers.iter().enumerate() {
        let rendering = place.join(cover.name(index));
        namespace::bind(&rendering, &cover.target)
            .and_then(|()| Kept::new(cover.target.clone(), &rendering))
            .map(|it| kept.push(it))
            .map_err(|error| cannot_cover(&cover.path, &error))?;
    }
    namespace::detach(place)
        .and_then(|()| keep::stay_beside(kept))
        .map_err(|error| cannot_cover(place, &error))
}

/// The covering file looks like the covered one, but nobody can write to it; a new one is for its
/// owner alone. What belongs to others stays theirs only for root: a user's namespace knows
/// nobody but him.
fn ownership(covered: Option<&Metadata>) -> Ownership {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let mode = covered.map_or(0, |meta| meta.mode() as u16 & 0o444) | 0o400;
    match covered {
        Some(meta) if uid == 0 => Ownership { uid: meta.uid(), gid: meta.gid(), mode },
        _ => Ownership { uid, gid, mode },
    }
}

/// A path without a file, in a folder that there is.
fn free_place(path: &Path) -> Result<PathBuf, Failure> {
    if path.is_symlink() {
        let problem = format!("{} is a link to a file that does not exist", path.display());
        return Err(Failure::new(exit::NO_INPUT, problem).hint("make the file, or remove the link"));
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(cannot_cover(path, &ErrorKind::IsADirectory.into()));
    };
    let folder = folder.canonicalize().map_err(|_| {
        let problem = format!("there is no folder {} for {}", folder.display(), path.display());
        Failure::new(exit::NO_INPUT, problem).hint(format!("mkdir -p {}", folder.display()))
    })?;
    Ok(folder.join(name))
}

fn not_a_file(path: &Path, meta: &Metadata) -> Failure {
    let what = if meta.is_dir() { "a folder" } else { "no plain file" };
    let problem = format!("{} is {what}; only files can be covered", path.display());
    let failure = Failure::new(exit::USAGE, problem);
    match meta.is_dir() {
        true => failure.hint("a whole folder: secretfs mount TEMPLATES FOLDER -- COMMAND"),
        false => failure,
    }
}

/// A change of its rendering would take the cover away.
fn served_already(path: &Path) -> Failure {
    let problem = format!("{} is served by a mount of secretfs already", path.display());
    Failure::new(exit::USAGE, problem).hint("change its template there")
}

fn cannot_cover(path: &Path, error: &io::Error) -> Failure {
    Failure::new(exit::OS, format!("cannot cover {}: {error}", path.display()))
}

/// Stands where a file is to be covered that is not there: the kernel covers nothing else. Empty,
/// and not to be read, so that nobody outside takes it for settings. Goes with the last of those
/// who run beside it; one that a killed run has left over is taken over by the next.
pub(super) struct Placeholder {
    path: PathBuf,
    /// Locked, shared: who gets the lock alone is the last.
    file: File,
}

/// May be opened by its owner for its lock, and by nobody for its content.
const PLACEHOLDER_MODE: u32 = 0o200;

fn is_placeholder(meta: &Metadata) -> bool {
    meta.is_file()
        && meta.len() == 0
        && meta.mode() & 0o7777 == PLACEHOLDER_MODE
        && meta.uid() == geteuid().as_raw()
        && meta.nlink() == 1
}

impl Placeholder {
    fn at(path: &Path) -> io::Result<Self> {
        loop {
            let mut options = File::options();
            // Whatever somebody puts there meanwhile: a link is not followed, a pipe not waited for.
            options.write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
            let file = match options.clone().create_new(true).mode(PLACEHOLDER_MODE).open(path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => match options.open(path) {
                    // The last of the others has removed it a moment ago.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    opened => opened?,
                },
                made => made?,
            };
            file.lock_shared()?;
            let held = Self { path: path.to_owned(), file };
            if held.is_in_place() {
                return Ok(held);
            }
            // Somebody has written a file meanwhile: that is what is covered.
            if held.path.metadata().is_ok_and(|meta| !is_placeholder(&meta)) {
                return Err(ErrorKind::AlreadyExists.into());
            }
        }
    }

    /// Ours is what stands there, and nobody has written to it.
    fn is_in_place(&self) -> bool {
        let (Ok(own), Ok(there)) = (self.file.metadata(), fs::symlink_metadata(&self.path)) else {
            return false;
        };
        (own.dev(), own.ino()) == (there.dev(), there.ino()) && is_placeholder(&there)
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        if self.file.try_lock().is_ok() && self.is_in_place() {
            // Whoever keeps it from us has taken the folder as well.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_goes_with_the_last_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let first = Placeholder::at(&path).unwrap();
        let second = Placeholder::at(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o200);
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn what_somebody_has_written_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let held = Placeholder::at(&path).unwrap();
        fs::write(&path, "A=1\n").unwrap();
        drop(held);
        assert_eq!(fs::read_to_string(&path).unwrap(), "A=1\n");
        let replaced = folder.path().join("other");
        let held = Placeholder::at(&replaced).unwrap();
        fs::rename(&path, &replaced).unwrap();
        drop(held);
        assert!(replaced.exists());
        assert_eq!(Placeholder::at(&replaced).err().map(|it| it.kind()), Some(ErrorKind::AlreadyExists));
    }

    /// In a file that a killed run has left over nothing was written: the next one uses it.
    #[test]
    fn one_that_was_left_over_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        File::options().write(true).create_new(true).mode(0o200).open(&path).unwrap();
        let template = folder.path().join("t.tpl");
        fs::write(&template, "").unwrap();
        let cover = Cover::new(&path, &template).map_err(|failure| failure.problem).unwrap();
        assert!(cover.is_missing && cover.ownership.mode == 0o400);
        drop(cover.hold_place().map_err(|failure| failure.problem).unwrap());
        assert!(!path.exists());
    }
}
