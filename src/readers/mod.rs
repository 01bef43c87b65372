//! Who has read what, as long as they run: processes, files, and the versions that they got. An
//! open only leaves a note; a thread finds out the rest. Never a value. Uses `sys` and `ledger`.

mod record;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::caller::Caller;
use crate::ledger::{Kind, Ledger};
use crate::metrics;
use crate::sys::peer::ProcessId;
use crate::sys::running;
use record::Kept;
use table::Table;

/// What a reader got: a snapshot without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edition {
    /// The same number is the same file, in every process.
    pub file: u64,
    pub path: Arc<Path>,
    /// Empty for everybody's.
    pub view: Arc<str>,
    /// Tells it from other content.
    pub print: Print,
    /// References, each with the version that was used.
    pub versions: Vec<(String, u64)>,
}

/// Equal for equal content, and says nothing of it.
pub type Print = [u64; 4];

/// A process and what it got last of one file.
#[derive(Clone, Debug)]
pub struct Reading {
    pub process: ProcessId,
    pub uid: u32,
    pub gid: u32,
    pub edition: Arc<Edition>,
    pub at: Timestamp,
    /// The content for which a reaction has been done since.
    pub reacted_to: Option<Print>,
}

/// The readers of one mount.
pub struct Readers {
    /// Guards the notes; held for no call.
    notes: Mutex<Notes>,
    table: Mutex<Table>,
}

/// An open, as far as its request tells.
struct Note {
    uid: u32,
    gid: u32,
    edition: Arc<Edition>,
    /// Whoever starts later is another process.
    ticks: u64,
    reacted_to: Option<Print>,
}

#[derive(Default)]
struct Notes {
    /// The last one of each process and file.
    of: HashMap<(u32, u64), Note>,
    /// How many are of one user.
    of_users: HashMap<u32, usize>,
    dropped: u64,
}

/// Pairs of a process and a file that are kept at most, noted or found out.
pub const MOST: usize = 10_000;
/// As many of those that are noted are of one user at most.
const OF_ONE: usize = MOST / 4;
/// From a note to the look at it: many opens of one process cost one look.
const SOON: Duration = Duration::from_millis(20);
/// Between two looks at who still runs.
const PERIOD: Duration = Duration::from_secs(1);

impl Notes {
    /// Whether this is known, or one more may be; then it is counted.
    fn has_room(&mut self, uid: u32, key: &(u32, u64)) -> bool {
        if self.of.contains_key(key) {
            return true;
        }
        let of_user = self.of_users.entry(uid).or_default();
        let has_room = *of_user < OF_ONE && self.of.len() < MOST;
        *of_user += usize::from(has_room);
        has_room
    }
}

impl Readers {
    /// Keeps them in the ledger, too, and begins with those that a process before has left there.
    pub fn start(ledger: &Ledger) -> Arc<Self> {
        let table = Table::inherit(ledger, ledger.take(Kind::Reader).into_iter().filter_map(Kept::of));
        let readers = Arc::new(Self { notes: Mutex::default(), table: Mutex::new(table) });
        let weak = Arc::downgrade(&readers);
        let look = move || {
            let (mut pause, mut looked) = (SOON, Instant::now());
            while let Some(readers) = weak.upgrade() {
                pause = if readers.find_out() { SOON } else { (pause * 2).min(PERIOD) };
                if looked.elapsed() >= PERIOD {
                    readers.table().forget_gone();
                    looked = Instant::now();
                }
                drop(readers);
                thread::sleep(pause);
            }
        };
        let thread = thread::Builder::new().name("secretfs-readers".to_owned());
        thread.spawn(look).expect("one thread at the start");
        readers
    }

    /// The caller gets this. To be called while the request is unanswered; costs a system call.
    pub fn opened(&self, caller: &Caller, edition: &Arc<Edition>) {
        self.note(caller, edition, None);
    }

    /// The same of content that had been replaced by then, and for which nobody has to react again.
    pub fn opened_older(&self, caller: &Caller, edition: &Arc<Edition>, current: Print) {
        self.note(caller, edition, Some(current));
    }

    fn note(&self, caller: &Caller, edition: &Arc<Edition>, reacted_to: Option<Print>) {
        let Some(pid) = running::group(caller) else { return };
        let ticks = running::ticks();
        let mut notes = self.notes();
        let key = (pid, edition.file);
        if !notes.has_room(caller.uid, &key) {
            notes.dropped += 1;
            return;
        }
        let note = Note { uid: caller.uid, gid: caller.gid, edition: edition.clone(), ticks, reacted_to };
        notes.of.insert(key, note);
    }

    /// Everybody who still runs.
    pub fn list(&self) -> Vec<Reading> {
        self.find_out();
        self.table().list()
    }

    /// Those of one file.
    pub fn of_file(&self, file: u64) -> Vec<Reading> {
        self.find_out();
        self.table().of_file(file)
    }

    /// The files that somebody has read, each view with one of its readers.
    pub fn groups(&self) -> Vec<Reading> {
        self.find_out();
        self.table().groups()
    }

    pub fn has(&self, file: u64) -> bool {
        self.table().has(file)
    }

    pub fn len(&self) -> usize {
        self.table().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A reaction to this content was done for it.
    pub fn reacted(&self, process: ProcessId, file: u64, print: Print) {
        self.table().reacted(process, file, print);
    }

    /// Answers whether there was anything to find out.
    fn find_out(&self) -> bool {
        let (found, dropped) = {
            let mut notes = self.notes();
            notes.of_users.clear();
            (std::mem::take(&mut notes.of), std::mem::take(&mut notes.dropped))
        };
        metrics::get().readers_dropped.inc_by(dropped);
        let is_any = !found.is_empty();
        let mut table = self.table();
        for ((pid, _), note) in found {
            // A process that started after the open only has its number.
            let process = running::running(pid).filter(|process| process.start <= note.ticks);
            if let Some(process) = process {
                let Note { uid, gid, edition, reacted_to, .. } = note;
                table.insert(Reading { process, uid, gid, edition, at: Timestamp::now(), reacted_to });
            }
        }
        is_any
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("nothing panics while it holds this")
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nothing panics while it holds this")
    }
}
