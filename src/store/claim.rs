//! A folder on its way to becoming a store. Until it is finished it is none, and says so: what is in it
//! goes if its maker fails, and if that was killed, whoever comes next clears it. Uses `layout`.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::StoreError;
use super::backend::BackendKind;
use super::cipher::Id;
use super::layout::{Layout, UNFINISHED};
use super::sequence::is_at;
use crate::sys::signal::HeldBack;

/// Dropped before it is finished, it leaves nothing behind.
pub(super) struct Claim {
    layout: Layout,
    /// Locked as long as somebody is at work.
    _mark: File,
    is_made: bool,
    is_finished: bool,
    /// Let go of last.
    held_back: Option<HeldBack>,
}

impl Claim {
    /// Takes a folder that is empty or not there, or that a dead process has begun to make a store
    /// of. Whoever comes second finds it taken.
    pub(super) fn of(dir: &Path, backend: BackendKind, id: Id) -> Result<Self, StoreError> {
        let layout = Layout::new(dir, backend, id)?;
        let is_made = make_folder(layout.dir())?;
        layout.check_unused()?;
        let mark = take(&layout)?;
        let claim = Self { layout, _mark: mark, is_made, is_finished: false, held_back: None };
        claim.layout.write_new(".gitignore", b"*\n")?;
        Ok(claim)
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// From now on a signal that would end this process waits until this is finished or cleared, and
    /// [`Claim::go_on`] says that it is there.
    pub(super) fn hold_back_signals(&mut self) {
        self.held_back = HeldBack::now().ok();
    }

    pub(super) fn go_on(&self) -> Result<(), StoreError> {
        match self.held_back.as_ref().is_some_and(HeldBack::has_come) {
            true => Err(StoreError::Interrupted),
            false => Ok(()),
        }
    }

    /// It is a store from here on, all at once.
    pub(super) fn finish(mut self) -> Result<Layout, StoreError> {
        let (mark, format) = (self.layout.path(UNFINISHED), self.layout.path("FORMAT"));
        self.layout.sync()?;
        std::fs::rename(&mark, &format).map_err(StoreError::io("make", &format))?;
        self.layout.sync()?;
        self.is_finished = true;
        Ok(self.layout.clone())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_finished {
            self.layout.clear();
            if self.is_made {
                let _ = std::fs::remove_dir(self.layout.dir());
            }
        }
    }
}

/// Makes the file that is to be `FORMAT`, or takes over that of a dead process and clears what it has
/// left. Nothing is made or removed beside what is not ours.
fn take(layout: &Layout) -> Result<File, StoreError> {
    let path = layout.path(UNFINISHED);
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let claimed = || StoreError::Claimed(layout.dir().to_owned());
    let is_left = layout.check_only_ours()?;
    let mark = options.create_new(!is_left).open(&path);
    let mut mark = mark.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists | ErrorKind::NotFound => claimed(),
        _ => StoreError::io("make", &path)(error),
    })?;
    match mark.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(claimed()),
        // Where there are no locks, what is left is not cleared: its maker may be alive.
        Err(TryLockError::Error(error)) if is_left => return Err(StoreError::io("lock", &path)(error)),
        // Another was faster, and has finished it.
        _ if !is_at(&mark, &path) => return Err(claimed()),
        _ if layout.path("FORMAT").symlink_metadata().is_ok() => {
            let _ = std::fs::remove_file(&path);
            return Err(StoreError::Exists(layout.dir().to_owned()));
        }
        _ if is_left => layout.clear_but(UNFINISHED),
        _ => {}
    }
    let text = layout.format();
    let written =
        mark.set_len(0).and_then(|()| mark.write_all(text.as_bytes())).and_then(|()| mark.sync_all());
    written.inspect_err(|_| layout.clear()).map_err(StoreError::io("write", &path))?;
    Ok(mark)
}

/// Makes a folder for its owner alone, and those above it that are not there, for good. False if it
/// is there already.
pub(super) fn make_folder(dir: &Path) -> Result<bool, StoreError> {
    let missing: Vec<_> = dir.ancestors().take_while(|it| is_named(it) && !it.exists()).collect();
    let mut folders = DirBuilder::new();
    folders.recursive(true).mode(0o700).create(dir).map_err(StoreError::io("make the folder", dir))?;
    missing.iter().try_for_each(|made| sync_names(made))?;
    Ok(!missing.is_empty())
}

/// Makes what is called so, or no longer, stay like that: syncs the folder that it is in.
pub(super) fn sync_names(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| is_named(folder)).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::io("sync", folder))
}

fn is_named(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Fixture;

    fn begun(dir: &Path) -> Claim {
        Claim::of(dir, BackendKind::Sqlite, [7; 16]).unwrap_or_else(|error| panic!("{error}"))
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            dir.read_dir().unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// As `kill -9` leaves it.
    fn killed(claim: Claim) {
        let Claim { ref _mark, .. } = claim;
        _mark.unlock().unwrap();
        std::mem::forget(claim);
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("a/b");
        let claim = begun(&dir);
        claim.layout().prepare().unwrap();
        assert_eq!(names(&dir), [".gitignore", UNFINISHED, "store.db"]);
        drop(claim);
        assert_eq!(names(folder.path().join("a").as_path()), [""; 0]);
        // A folder that was there is left as it was.
        let claim = begun(&folder.path().join("a"));
        drop(claim);
        assert_eq!(names(folder.path().join("a").as_path()), [""; 0]);
    }

    #[test]
    fn nobody_takes_what_another_is_making() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("store");
        let first = begun(&dir);
        let second = Claim::of(&dir, BackendKind::File, [8; 16]);
        assert!(matches!(second.map(drop), Err(StoreError::Claimed(_))));
        assert!(matches!(Layout::open(&dir).map(drop), Err(StoreError::Unfinished(_))));
        first.layout().prepare().unwrap();
        first.finish().unwrap();
        assert_eq!(names(&dir), [".gitignore", "FORMAT", "store.db"]);
        assert!(Layout::open(&dir).is_ok_and(|layout| layout.id() == &[7; 16]));
        assert!(matches!(
            Claim::of(&dir, BackendKind::Sqlite, [8; 16]).map(drop),
            Err(StoreError::Exists(_))
        ));
    }

    #[test]
    fn what_a_dead_process_has_begun_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("store");
        let claim = begun(&dir);
        claim.layout().prepare().unwrap();
        killed(claim);
        assert!(matches!(Layout::open(&dir).map(drop), Err(StoreError::Unfinished(_))));
        let claim = Claim::of(&dir, BackendKind::File, [8; 16]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(names(&dir), [".gitignore", UNFINISHED]);
        killed(claim);
        // Beside what is not ours nothing is touched.
        std::fs::write(dir.join("notes"), "mine").unwrap();
        let refused = Claim::of(&dir, BackendKind::Sqlite, [8; 16]);
        assert!(matches!(refused.map(drop), Err(StoreError::NotAStore(_))));
        assert_eq!(names(&dir), [".gitignore", UNFINISHED, "notes"]);
    }

    /// A store that has lost its `FORMAT` is no folder to clear.
    #[test]
    fn rows_without_a_mark_are_left_alone() {
        let fixture = Fixture::new();
        std::fs::remove_file(fixture.store.dir().join("FORMAT")).unwrap();
        let before = names(fixture.store.dir());
        let refused = Claim::of(fixture.store.dir(), BackendKind::Sqlite, [8; 16]);
        assert!(matches!(refused.map(drop), Err(StoreError::NotAStore(_))));
        assert_eq!(names(fixture.store.dir()), before);
    }
}
