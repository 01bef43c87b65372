//! One `open` is a LOOKUP and an OPEN of the same thread, a moment apart: the second one need not find
//! out again what the first one did. It is used once, and only if the thread's descriptor says that
//! its credentials and its control group are the same, and its program is. Whoever could be taken
//! for what it was so short a time ago, could have opened the file then.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::exe::Program;
use super::threads::{self, Thread};
use super::{Credentials, Sight};
use crate::caller::{Caller, Exe, Facts, Identity, Inquiry, Level};

struct Known {
    at: Instant,
    facts: Facts,
    thread: Arc<Thread>,
    credentials: Credentials,
    identity: Identity,
}

const MOMENT: Duration = Duration::from_millis(10);
const PLACES: usize = 64;
static KNOWN: [Mutex<Option<Known>>; PLACES] = [const { Mutex::new(None) }; PLACES];

/// For facts that are dear to find out; the others are asked for.
pub(super) fn keep(identity: &Identity, facts: Facts, thread: &Arc<Thread>, credentials: &Credentials) {
    if facts == Facts::CREDENTIALS || identity.level < Level::L3 {
        return;
    }
    let facts = facts | Facts::CREDENTIALS;
    let (at, thread, credentials) = (Instant::now(), thread.clone(), credentials.clone());
    *place(identity.caller.pid) = Some(Known { at, facts, thread, credentials, identity: identity.clone() });
}

/// No more than is wanted, so that who compares it with what it finds out anew finds the same.
pub(super) fn recall(sight: &Sight, caller: &Caller, wanted: &Inquiry<'_>) -> Option<Identity> {
    if sight.level < Level::L3 {
        return None;
    }
    let is_it = |known: &mut Known| known.identity.caller == *caller;
    let known = place(caller.pid).take_if(is_it)?;
    let (thread, info) = threads::ask(caller.pid)?;
    let exe = known.identity.exe.as_ref();
    let has_digest = exe.is_none_or(|exe| exe.sha256.is_some() || !wanted.hashes(&exe.path));
    let stands = known.at.elapsed() < MOMENT
        && known.facts.has(wanted.facts)
        && has_digest
        && Arc::ptr_eq(&thread, &known.thread)
        && known.credentials == Credentials::from(info)
        && (!wanted.facts.has(Facts::PROGRAM) || exe.is_none_or(|exe| runs(caller.pid, exe)));
    stands.then(|| known.identity.restricted_to(wanted))
}

pub(super) fn forget(thread: u32) {
    *place(thread) = None;
}

fn runs(thread: u32, exe: &Exe) -> bool {
    Program::stat(thread).is_some_and(|stat| (stat.dev, stat.ino) == (exe.dev, exe.ino) && stat.links > 0)
}

fn place(thread: u32) -> MutexGuard<'static, Option<Known>> {
    KNOWN[thread as usize % PLACES].lock().unwrap_or_else(|it| it.into_inner())
}
