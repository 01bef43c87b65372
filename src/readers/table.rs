//! The readers that are known, by process and file, and kept for the next process of ours.
//! Uses `record`.

use super::record::{self, Kept};
use super::{MOST, Print, Reading};
use crate::ledger::{Ledger, Record};
use crate::metrics;
use crate::sys::peer::ProcessId;
use crate::sys::running;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub(super) struct Table {
    processes: HashMap<u32, Process>,
    /// How many processes have read a file.
    files: HashMap<u64, usize>,
    ledger: Ledger,
}

struct Process {
    start: u64,
    held: BTreeMap<u64, Held>,
}

struct Held {
    reading: Reading,
    /// For the next process.
    record: Option<Record>,
}

/// What is let go at once when there is too much.
const SHARE: usize = 10;

impl Table {
    pub(super) fn inherit(ledger: &Ledger, kept: impl IntoIterator<Item = Kept>) -> Self {
        let mut table = Self { processes: HashMap::new(), files: HashMap::new(), ledger: ledger.clone() };
        for Kept { reading, record } in kept {
            if running::running(reading.process.pid) == Some(reading.process) {
                table.put(Held { reading, record: Some(record) });
            }
        }
        table
    }

    pub(super) fn insert(&mut self, reading: Reading) {
        let known = self.held(reading.process, reading.edition.file);
        if let Some(held) = known
            && held.reading.edition == reading.edition
        {
            held.reading.at = reading.at;
            return;
        }
        if self.len() >= MOST {
            self.make_room();
        }
        let record = record::keep(&self.ledger, &reading);
        self.put(Held { reading, record });
    }

    fn put(&mut self, held: Held) {
        let ProcessId { pid, start } = held.reading.process;
        if self.processes.get(&pid).is_some_and(|process| process.start != start) {
            self.forget(pid);
        }
        let process = self.processes.entry(pid).or_insert_with(|| Process { start, held: BTreeMap::new() });
        let file = held.reading.edition.file;
        if process.held.insert(file, held).is_none() {
            *self.files.entry(file).or_default() += 1;
        }
    }

    pub(super) fn reacted(&mut self, process: ProcessId, file: u64, print: Print) {
        let ledger = self.ledger.clone();
        if let Some(held) = self.held(process, file) {
            held.reading.reacted_to = Some(print);
            held.record = record::keep(&ledger, &held.reading);
        }
    }

    fn held(&mut self, process: ProcessId, file: u64) -> Option<&mut Held> {
        let known = self.processes.get_mut(&process.pid).filter(|it| it.start == process.start)?;
        known.held.get_mut(&file)
    }

    /// Everything of those that still run.
    pub(super) fn list(&mut self) -> Vec<Reading> {
        self.forget_others();
        let mut list: Vec<_> = self.readings().cloned().collect();
        list.sort_by(|a, b| (&a.edition.path, a.process).cmp(&(&b.edition.path, b.process)));
        list
    }

    pub(super) fn of_file(&mut self, file: u64) -> Vec<Reading> {
        let of_file: Vec<_> =
            self.readings().filter(|reading| reading.edition.file == file).cloned().collect();
        let runs = |reading: &Reading| running::running(reading.process.pid) == Some(reading.process);
        let (running, gone): (Vec<_>, Vec<_>) = of_file.into_iter().partition(runs);
        gone.iter().for_each(|reading| self.forget(reading.process.pid));
        running
    }

    pub(super) fn groups(&self) -> Vec<Reading> {
        let mut seen = BTreeSet::new();
        let is_first = |reading: &&Reading| seen.insert((reading.edition.file, reading.edition.view.clone()));
        self.readings().filter(is_first).cloned().collect()
    }

    pub(super) fn has(&self, file: u64) -> bool {
        self.files.contains_key(&file)
    }

    pub(super) fn len(&self) -> usize {
        self.files.values().sum()
    }

    fn readings(&self) -> impl Iterator<Item = &Reading> {
        self.processes.values().flat_map(|process| process.held.values()).map(|held| &held.reading)
    }

    /// Those whose number nobody has. Cheap enough for each second.
    pub(super) fn forget_gone(&mut self) {
        let gone: Vec<_> = self.processes.keys().copied().filter(|pid| !running::is_taken(*pid)).collect();
        gone.into_iter().for_each(|pid| self.forget(pid));
    }

    /// Those whose number nobody, or somebody else, has.
    fn forget_others(&mut self) {
        let is_other = |(pid, process): &(&u32, &Process)| {
            running::running(**pid) != Some(ProcessId { pid: **pid, start: process.start })
        };
        let others: Vec<_> = self.processes.iter().filter(is_other).map(|(pid, _)| *pid).collect();
        others.into_iter().for_each(|pid| self.forget(pid));
    }

    fn forget(&mut self, pid: u32) {
        let Some(process) = self.processes.remove(&pid) else { return };
        process.held.keys().for_each(|file| self.forget_file(*file));
    }

    fn forget_file(&mut self, file: u64) {
        if let Some(count) = self.files.get_mut(&file) {
            *count -= 1;
            if *count == 0 {
                self.files.remove(&file);
            }
        }
    }

    /// Lets the oldest go of the users who have the most, if it does not help that others are gone.
    fn make_room(&mut self) {
        self.forget_gone();
        if self.len() < MOST {
            return;
        }
        let all = self.in_excess();
        metrics::get().readers_dropped.inc_by(all.len() as u64);
        for (pid, file) in all {
            let Some(process) = self.processes.get_mut(&pid) else { continue };
            process.held.remove(&file);
            if process.held.is_empty() {
                self.processes.remove(&pid);
            }
            self.forget_file(file);
        }
    }

    /// Whom to let go: nobody drives another user's readers out.
    fn in_excess(&self) -> Vec<(u32, u64)> {
        let mut all: Vec<_> = self.readings().collect();
        all.sort_unstable_by_key(|it| (it.uid, Reverse(it.at), it.process.pid, it.edition.file));
        // Each with how many newer ones of its user there are.
        let of_user = all.chunk_by(|one, other| one.uid == other.uid);
        let mut ranked: Vec<_> = of_user.flat_map(|its| its.iter().enumerate()).collect();
        ranked.sort_unstable_by_key(|(newer, it)| (Reverse(*newer), it.at));
        ranked.truncate(MOST / SHARE);
        ranked.into_iter().map(|(_, it)| (it.process.pid, it.edition.file)).collect()
    }
}
