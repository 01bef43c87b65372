//! All that may be known of a caller while its request is unanswered. Until then its thread can
//! neither end nor run another program, and its number cannot be reused. From one request to the
//! next, only that is kept which its descriptors prove to be the same. Uses the words and `/proc`; never waits, but for a digest.

mod cgroup;
mod crowds;
mod digest;
mod exe;
mod memory;
mod pidfd;
mod proc;
mod sight;
mod stat;
mod status;
mod threads;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use crate::caller::{Caller, Fact, Facts, Identity, Inquiry, Level, Namespace, ProcessId, Refusal, UserUnit};
pub use sight::{Sight, sight};
use stat::Stat;
use status::Status;
use threads::Thread;

/// Finds this out. May read a program for its digest, or long lists: not from a thread that serves.
pub fn gather<'a>(caller: &Caller, wanted: impl Into<Inquiry<'a>>) -> Result<Identity, Refusal> {
    let gathered = gather_with(sight(), caller, &wanted.into(), Pace::Patient);
    gathered.map(|it| it.expect("who is patient is told"))
}

/// The same, if it can be had without waiting.
pub fn gather_at_once<'a>(
    caller: &Caller,
    wanted: impl Into<Inquiry<'a>>,
) -> Result<Option<Identity>, Refusal> {
    gather_with(sight(), caller, &wanted.into(), Pace::AtOnce)
}

/// Whether the caller is still what it was: for who has let time pass, and may wait.
pub fn still<'a>(identity: &Identity, wanted: impl Into<Inquiry<'a>>) -> Result<(), Refusal> {
    memory::forget(identity.caller.pid);
    let now = gather(&identity.caller, wanted)?;
    if now == *identity { Ok(()) } else { Err(Refusal::Changed) }
}

/// Of a program on this machine, as rules with `sha256` see it. `None`: it can have none. Reads it.
pub fn digest_of(program: &Path) -> Option<[u8; 32]> {
    let file = File::open(program).ok()?.into();
    digest::of(&file, &Stat::of(file.as_fd()).ok()?)
}

/// How well this kernel lets us tell processes apart.
pub fn level() -> Level {
    sight().level
}

/// The part of a control group's path that is a system unit.
pub fn unit_of(groups: &str) -> Option<String> {
    match cgroup::unit(cgroup::path(groups)?) {
        Fact::Is(unit) => Some(unit),
        Fact::Unknown | Fact::Absent => None,
    }
}

/// Whether that is of this unit, of the system or of this user's manager. Whoever may make groups below
/// his own can name them as he likes.
pub fn is_of_unit(groups: &str, unit: &str, user: Option<u32>) -> bool {
    let Some(path) = cgroup::path(groups) else { return false };
    match user {
        None => cgroup::unit(path).known().is_some_and(|it| it == unit),
        Some(uid) => {
            cgroup::user_unit(path).known().is_some_and(|it| (it.uid, it.name.as_str()) == (uid, unit))
        }
    }
}

const OF_CGROUP: Facts = Facts::CGROUP.and(Facts::UNIT).and(Facts::USER_UNIT).and(Facts::CONTAINER);

#[derive(Clone, Copy, PartialEq)]
enum Pace {
    AtOnce,
    Patient,
}

/// `None`: it would have to be waited for.
fn gather_with(
    sight: &Sight,
    caller: &Caller,
    wanted: &Inquiry<'_>,
    pace: Pace,
) -> Result<Option<Identity>, Refusal> {
    if caller.pid == 0 {
        return Err(Refusal::ForeignPidNamespace);
    }
    let facts = wanted.facts;
    let unknown = Identity { level: sight.level, ..Identity::of(*caller) };
    if facts == Facts::NONE {
        return Ok(Some(unknown));
    }
    if let Some(identity) = memory::recall(sight, caller, wanted) {
        return Ok(Some(identity));
    }
    let Some(held) = Held::new(sight, caller, facts, pace) else { return Ok(None) };
    held.check(caller)?;
    let cgroup = if facts.touches(OF_CGROUP) && sight.has_proc { held.cgroup() } else { None };
    let user_unit = known(&cgroup, cgroup::user_unit);
    // Nobody else's unit hangs on it.
    let is_users = facts.has(Facts::USER_UNIT) && user_unit.known().is_some();
    let wants_namespace = (facts.has(Facts::EXE) || is_users) && sight.has_proc;
    let mut identity = Identity {
        process: if facts.has(Facts::PROCESS) && sight.has_proc { held.process() } else { None },
        pidfd: if facts.has(Facts::PROCESS) { held.thread.inode() } else { None },
        real_uid: held.credentials.as_ref().map(|it| it.real_uid),
        groups: held.status.as_ref().map(|status| status.groups.clone()),
        unit: known(&cgroup, cgroup::unit),
        user_unit,
        container: known(&cgroup, cgroup::container),
        userns: if wants_namespace { held.user_namespace() } else { Namespace::Unknown },
        traced: held.status.as_ref().is_some_and(|status| status.is_traced),
        cgroup,
        ..unknown
    };
    if !is_in_its_own(&identity) {
        identity.user_unit = Fact::Unknown;
    }
    if facts.has(Facts::PROGRAM) && sight.has_proc && !held.add_exe(&mut identity, wanted, pace) {
        return Ok(None);
    }
    let identity = identity.restricted_to(wanted);
    if let Some(credentials) = &held.credentials {
        memory::keep(&identity, facts, &held.thread, credentials);
    }
    Ok(Some(identity))
}

/// Whether its unit is of its own user's manager, and it is one that we know by that name.
fn is_in_its_own(identity: &Identity) -> bool {
    let is_own = |unit: &UserUnit| unit.uid == identity.caller.uid && identity.userns == Namespace::Own;
    identity.user_unit.known().is_none_or(is_own)
}

fn known<T>(cgroup: &Option<String>, part: impl Fn(&str) -> Fact<T>) -> Fact<T> {
    cgroup.as_deref().map_or(Fact::Unknown, part)
}

/// A thread whose request is held, and what of it is always asked first.
struct Held<'a> {
    sight: &'a Sight,
    thread: Arc<Thread>,
    credentials: Option<Credentials>,
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Eq)]
struct Credentials {
    process: u32,
    parent: Option<u32>,
    real_uid: u32,
    fsuid: u32,
    fsgid: u32,
    cgroup: Option<u64>,
}

impl<'a> Held<'a> {
    /// `None`: it would have to be waited for.
    fn new(sight: &'a Sight, caller: &Caller, facts: Facts, pace: Pace) -> Option<Self> {
        let (thread, info) = match sight.level {
            Level::L3 => threads::ask(caller.pid).unzip(),
            level => (Some(Arc::new(Thread::new(caller.pid, level))), None),
        };
        let thread = thread.unwrap_or_else(|| Arc::new(Thread::new(caller.pid, Level::L1)));
        let wants_status = info.is_none() || facts.touches(Facts::GROUPS) || facts.has(Facts::EXE);
        let status = match pace {
            _ if !wants_status || !sight.has_proc => None,
            Pace::Patient => Status::of(&thread),
            Pace::AtOnce if crowds::has(caller.uid) => return None,
            Pace::AtOnce => match Status::at_once(&thread) {
                Some(None) => {
                    crowds::add(caller.uid);
                    return None;
                }
                status => status.flatten(),
            },
        };
        let credentials = info.map(Credentials::from).or_else(|| status.as_ref().map(Credentials::from));
        Some(Self { sight, thread, credentials, status })
    }

    /// That the request is the thread's own. Where `/proc` hides the thread from us and the kernel
    /// is too old to be asked otherwise, the request has to be taken at its word.
    fn check(&self, caller: &Caller) -> Result<(), Refusal> {
        let is_hidden = self.sight.level < Level::L3 && self.sight.hides().is_some();
        let Some(it) = &self.credentials else {
            return if is_hidden { Ok(()) } else { Err(Refusal::Changed) };
        };
        if self.is_of_kernel(it) {
            return Err(Refusal::KernelThread);
        }
        let is_own = (it.fsuid, it.fsgid) == (caller.uid, caller.gid);
        if is_own { Ok(()) } else { Err(Refusal::ForeignCredentials) }
    }

    /// All of the kernel's threads are children of one; so are programs that it starts.
    fn is_of_kernel(&self, credentials: &Credentials) -> bool {
        let of_kernel = |status: &Status| status.is_of_kernel;
        match (&self.status, credentials.parent) {
            (Some(status), _) => of_kernel(status),
            (None, Some(parent)) if self.sight.has_kernel_threads => {
                let may_be = parent == sight::KTHREADD || credentials.process == sight::KTHREADD;
                may_be && Status::of(&self.thread).as_ref().is_none_or(of_kernel)
            }
            (None, _) => false,
        }
    }

    fn process(&self) -> Option<ProcessId> {
        self.thread.process(self.credentials.as_ref()?.process)
    }

    fn user_namespace(&self) -> Namespace {
        match (Stat::of_link(self.thread.number, "ns/user").ok(), &self.sight.user_namespace) {
            (Some(its), Some(own)) if its.is_same_file(own) => Namespace::Own,
            (Some(_), Some(_)) => Namespace::Foreign,
            _ => Namespace::Unknown,
        }
    }

    /// No: its digest would have to be waited for.
    fn add_exe(&self, identity: &mut Identity, wanted: &Inquiry<'_>, pace: Pace) -> bool {
        // Who cannot be asked whether it is traced, may be.
        let can_be_asked = self.status.is_some() || !wanted.facts.has(Facts::EXE);
        let Some(program) = self.thread.program().filter(|_| can_be_asked) else { return true };
        identity.exe = Some(program.exe.clone());
        if !identity.true_exe().is_some_and(|exe| wanted.hashes(&exe.path)) {
            return true;
        }
        let sum = match (digest::known(&program.stat), pace) {
            (Some(sum), _) => sum,
            (None, Pace::AtOnce) => return false,
            (None, Pace::Patient) => {
                program.open(self.thread.number).and_then(|file| digest::of(&file, &program.stat))
            }
        };
        identity.exe.iter_mut().for_each(|exe| exe.sha256 = sum);
        true
    }

    /// Its path, if the kernel's number for the group says the same.
    fn cgroup(&self) -> Option<String> {
        let number = self.credentials.as_ref().and_then(|it| it.cgroup);
        let known = number.and_then(cgroup::recall);
        // Those in the root may be told apart by another hierarchy.
        if let Some(path) = known.as_ref().filter(|path| *path != "/") {
            return Some(path.clone());
        }
        let groups = self.thread.cgroup()?;
        let path = cgroup::path(&groups)?;
        let is_unified = groups.lines().any(|line| line.strip_prefix("0::") == Some(path));
        if !is_unified || known.as_deref() == Some(path) {
            return Some(path.to_owned());
        }
        let is_confirmed = self.confirms(path);
        if let (Some(number), Some(true)) = (number, is_confirmed) {
            cgroup::keep(number, path);
        }
        (is_confirmed != Some(false)).then(|| path.to_owned())
    }

    /// `None`: there is no hierarchy to compare with.
    fn confirms(&self, path: &str) -> Option<bool> {
        let number = self.credentials.as_ref()?.cgroup?;
        let root = self.sight.groups.as_ref()?;
        let folder = sight::found(&format!("{}{path}", root.display()));
        Some(folder.is_some_and(|folder| folder.ino == number))
    }
}

impl From<libc::pidfd_info> for Credentials {
    fn from(info: libc::pidfd_info) -> Self {
        let has_cgroup = info.mask & u64::from(libc::PIDFD_INFO_CGROUPID) != 0;
        Self {
            process: info.tgid,
            parent: Some(info.ppid),
            real_uid: info.ruid,
            fsuid: info.fsuid,
            fsgid: info.fsgid,
            cgroup: has_cgroup.then_some(info.cgroupid),
        }
    }
}

impl From<&Status> for Credentials {
    fn from(status: &Status) -> Self {
        Self {
            process: status.process,
            parent: None,
            real_uid: status.real_uid,
            fsuid: status.fsuid,
            fsgid: status.fsgid,
            cgroup: None,
        }
    }
}

#[cfg(test)]
mod tests;
