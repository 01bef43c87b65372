//! Notices edits of the config (inotify(7)) and has it reloaded once nobody writes any more. What
//! no event tells of is found by looking again now and then. Uses nix and `reload`.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::load;
use super::reload::Reloader;

/// After the last event of an edit.
const QUIET: Duration = Duration::from_millis(300);
/// An edit that goes on for longer is looked at in between.
const LONGEST: Duration = Duration::from_secs(5);
/// The next look if nothing happens: events may be lost, and some places send none.
const ROUND: Duration = Duration::from_secs(10);
/// The same while a mount is lost.
const SOON: Duration = Duration::from_secs(2);

/// The end of a write, and whatever comes or goes; the queue's overflow comes by itself.
const INTEREST: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_ONLYDIR);

/// Reloads an edited config, in a thread of its own.
pub(super) fn start(reloader: Arc<Reloader>) -> io::Result<()> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)
        .inspect_err(|errno| tracing::warn!(%errno, "no inotify: an edit of the config is seen within 10 s"))
        .ok();
    let look = move || {
        loop {
            if let Some(inotify) = &inotify {
                watch_folders(inotify, reloader.path());
            }
            reloader.reload_if_edited();
            reloader.restore();
            let round = if reloader.current().lost.is_empty() { ROUND } else { SOON };
            match &inotify {
                Some(inotify) => wait(inotify, round),
                None => thread::sleep(round),
            }
        }
    };
    thread::Builder::new().name("secretfs-config".to_owned()).spawn(look).map(drop)
}

/// Those that are watched already stay so. One that is not there yet comes with its own event.
fn watch_folders(inotify: &Inotify, path: &Path) {
    for folder in folders(path) {
        let _ = inotify.add_watch(&folder, INTEREST);
    }
}

/// Where the config lies, and where its links lead.
fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let (file, more) = load::places(path);
    let folder_of = |file: &Path| match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let target = file.canonicalize().ok();
    [Some(folder_of(&file)), target.as_deref().map(folder_of), Some(more)].into_iter().flatten().collect()
}

/// Until something has happened and nothing follows, or for a round.
fn wait(inotify: &Inotify, round: Duration) {
    if !comes_within(inotify, round) {
        return;
    }
    let since = Instant::now();
    loop {
        drain(inotify);
        if since.elapsed() >= LONGEST || !comes_within(inotify, QUIET) {
            return;
        }
    }
}

fn comes_within(inotify: &Inotify, time: Duration) -> bool {
    let mut watched = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    matches!(poll(&mut watched, timeout), Ok(1..))
}

/// What has happened does not matter: the texts are compared.
fn drain(inotify: &Inotify) {
    while !matches!(inotify.read_events(), Err(errno) if errno != Errno::EINTR) {}
}
