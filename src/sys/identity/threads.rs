//! The threads that asked last, each held by descriptors, with what stays true of it for as long as it
//! lives: to open them anew costs several times what it costs to ask them. Who is asked answers for
//! itself: a number that belongs to another thread by now is told from it.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use libc::pidfd_info;

use super::exe::Program;
use super::pidfd::Pidfd;
use super::proc;
use super::stat::Stat;
use crate::caller::{Level, ProcessId};
use crate::poison::EvenPoisoned;

/// A thread that is held.
pub(super) struct Thread {
    pub(super) number: u32,
    /// `None`: the kernel has none for a thread.
    pub(super) pidfd: Option<Pidfd>,
    /// Of the pidfd.
    inode: OnceLock<u64>,
    process: OnceLock<ProcessId>,
    status: Told,
    cgroup: Told,
    /// Guards the program that it ran when it was asked last; held for no wait.
    program: Mutex<Option<Program>>,
}

/// A file of its own in `/proc`, which is kept open: read from the start it tells anew, and of no
/// thread with this number later.
#[derive(Default)]
struct Told(OnceLock<File>);

const PLACES: usize = 64;
static HELD: [Mutex<Option<Arc<Thread>>>; PLACES] = [const { Mutex::new(None) }; PLACES];

/// What fits in here is read at once.
const USUAL: usize = 4_096;

/// A thread that waits for us now, with what the kernel says of it in one call. `None`: it has gone,
/// or the kernel tells nothing in that way.
pub(super) fn ask(thread: u32) -> Option<(Arc<Thread>, pidfd_info)> {
    let mut place = lock(&HELD[thread as usize % PLACES]);
    let asked = |held: &Thread| held.pidfd.as_ref()?.info().filter(|info| info.pid == thread);
    if let Some(held) = place.as_ref().filter(|held| held.number == thread)
        && let Some(info) = asked(held)
    {
        return Some((held.clone(), info));
    }
    let held = Arc::new(Thread::new(thread, Level::L3));
    let info = asked(&held)?;
    *place = Some(held.clone());
    Some((held, info))
}

impl Thread {
    /// To be used while its request is held.
    pub(super) fn new(number: u32, level: Level) -> Self {
        let pidfd = if level > Level::L1 { Pidfd::of(number) } else { None };
        let (inode, process, status, cgroup, program) = Default::default();
        Self { number, pidfd, inode, process, status, cgroup, program }
    }

    /// The number of its pidfd.
    pub(super) fn inode(&self) -> Option<u64> {
        if let Some(inode) = self.inode.get() {
            return Some(*inode);
        }
        let stat = Stat::of(self.pidfd.as_ref()?.descriptor().as_fd()).ok()?;
        Some(*self.inode.get_or_init(|| stat.ino))
    }

    /// Its process, which has this number. A process keeps its start time through exec, and a
    /// thread its process.
    pub(super) fn process(&self, pid: u32) -> Option<ProcessId> {
        if let Some(process) = self.process.get().filter(|process| process.pid == pid) {
            return Some(*process);
        }
        let start = crate::sys::peer::start_of(&proc::read(pid, "stat")?)?;
        Some(*self.process.get_or_init(|| ProcessId { pid, start }))
    }

    /// `Some(None)`: its `status` is longer than this.
    pub(super) fn status(&self, most: usize) -> Option<Option<String>> {
        self.status.read(self.number, "status", most)
    }

    pub(super) fn cgroup(&self) -> Option<String> {
        self.cgroup.read(self.number, "cgroup", usize::MAX)?
    }

    /// What it runs now. The path of a program is looked up once, unless it has several.
    pub(super) fn program(&self) -> Option<Program> {
        let stat = Program::stat(self.number)?;
        let mut known = lock(&self.program);
        if let Some(known) = known.as_ref().filter(|known| known.stat == stat) {
            return Some(known.clone());
        }
        let program = Program::of(self.number)?;
        let is_lasting = program.exe.is_fit && program.stat.links == 1;
        *known = is_lasting.then(|| program.clone());
        Some(program)
    }
}

impl Told {
    /// `Some(None)`: it is longer than this.
    fn read(&self, thread: u32, name: &str, most: usize) -> Option<Option<String>> {
        let mut text = vec![0; USUAL];
        match self.file(thread, name)?.read_at(&mut text, 0).ok()? {
            // Whole: the kernel writes it in one piece.
            count if count < USUAL => {
                text.truncate(count);
                String::from_utf8(text).ok().map(Some)
            }
            _ => proc::read_up_to(thread, name, most),
        }
    }

    fn file(&self, thread: u32, name: &str) -> Option<&File> {
        if let Some(file) = self.0.get() {
            return Some(file);
        }
        let file = File::open(format!("/proc/{thread}/{name}")).ok()?;
        Some(self.0.get_or_init(|| file))
    }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().even_poisoned()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn start() -> Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[test]
    fn a_descriptor_is_used_again_as_long_as_its_thread_lives() {
        let mut child = start();
        let (first, info) = ask(child.id()).unwrap();
        assert_eq!((info.pid, info.tgid), (child.id(), child.id()));
        assert!(Arc::ptr_eq(&ask(child.id()).unwrap().0, &first));
        assert!(first.status(USUAL).is_some(), "the control");
        child.kill().unwrap();
        child.wait().unwrap();
        let gone = first.pidfd.as_ref().unwrap().info();
        assert!(gone.is_none(), "nobody else can be taken for it");
        assert!(first.status(USUAL).is_none(), "nor its status");
        assert!(ask(child.id()).is_none_or(|(other, _)| !Arc::ptr_eq(&other, &first)));
    }
}
