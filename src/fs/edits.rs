//! Edits of templates and how they come to the tree: taken note of before a lookup is answered, and
//! looked for each second where nothing tells of them. Uses `tree` and `watch`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::tree::{File, FileId, Tree};
use super::watch::Changes;
use super::{Generation, SecretFs};
use crate::metrics;

/// What is known of edits, and who is looking.
#[derive(Default)]
pub(super) struct Edits {
    noticing: Mutex<()>,
    scanning: Mutex<()>,
    /// How often the tree had to be read again, and how often it was.
    wanted: AtomicU64,
    done: AtomicU64,
    scan_failed: AtomicBool,
    /// Guards the requests that wait for the tree to be read.
    waiting: Mutex<Waiting>,
    /// Guards the files whose snapshots are still to be held against an edit.
    edited: Mutex<BTreeSet<FileId>>,
    /// Where the next look at the folders begins.
    next_folder: AtomicUsize,
}

type Answer = Box<dyn FnOnce(bool) + Send>;

#[derive(Default)]
struct Waiting {
    answers: Vec<Answer>,
    /// Somebody reads for them.
    is_served: bool,
}

/// Folders looked at in a second: more than this many take several.
const FOLDERS: usize = 1_000;

impl SecretFs {
    /// Takes note of edited templates. Answers whether files came or went, and then the tree has
    /// to be read again.
    pub(super) fn notice_edits(&self) -> bool {
        // Held over both steps: who comes next finds either the event or what it led to.
        let _one = self.edits.noticing.lock().expect("nothing panics while it holds this");
        let changes = self.watch.drain();
        if !changes.is_empty() {
            self.take_note(&changes);
        }
        self.scans_wanted() != self.scans_done()
    }

    fn take_note(&self, changes: &Changes) {
        let tree = &self.now().tree;
        match changes.lost {
            true => self.edits.doubt(tree.files()),
            false => changes.edited.iter().for_each(|path| self.edits.doubt(tree.made_from(path))),
        }
        if changes.lost {
            tracing::warn!("more edits than inotify tells of: all templates are looked at again");
            self.edits.want_scan("overflow");
        } else if changes.shape {
            self.edits.want_scan("edit");
        }
    }

    /// Has the folder of templates read again, and then calls `then`. A disk that takes too long is
    /// like one that fails: the tree stays as it was, and `then` hears that it may not be all.
    pub(super) fn rescan_in_time(self: &Arc<Self>, then: impl FnOnce(bool) + Send + 'static) {
        let answer = self.deadlines.answer_within(self.now().layout.spec.deadline, false, then);
        let is_first = self.edits.waiting().enter(Box::new(answer));
        if is_first {
            let this = self.clone();
            tokio::task::spawn_blocking(move || this.rescan_for_all());
        }
    }

    /// One thread reads, however many wait: a disk that hangs must not use up all threads.
    fn rescan_for_all(&self) {
        loop {
            let waiting = self.edits.waiting().leave();
            if waiting.is_empty() {
                return;
            }
            self.rescan();
            waiting.into_iter().for_each(|answer| answer(true));
        }
    }

    /// Reads the folder of templates again; readers of what is known go on meanwhile. An error
    /// leaves the tree as it was, until the next look in a second.
    pub(super) fn rescan(&self) {
        let _one = self.hold_scans();
        let wanted = self.scans_wanted();
        if self.scans_done() == wanted {
            return;
        }
        let now = self.now();
        let scanned = Tree::scan(&now.layout, Some(&now.tree));
        self.edits.scan_failed.store(scanned.is_err(), Ordering::Release);
        match scanned {
            Ok(tree) => self.take_over(Generation { tree: Arc::new(tree), ..(*now).clone() }, wanted),
            Err(error) => {
                tracing::error!(%error, "the templates cannot be read again; the files stay as they were");
                self.edits.done.store(wanted, Ordering::Release);
            }
        }
    }

    /// Until it is dropped, nobody else reads the folder of templates.
    pub(super) fn hold_scans(&self) -> MutexGuard<'_, ()> {
        self.edits.scanning.lock().expect("nothing panics while it holds this")
    }

    /// The edits that a scan that begins now will have seen.
    pub(super) fn scans_wanted(&self) -> u64 {
        self.edits.wanted.load(Ordering::Acquire)
    }

    /// The edits that the tree has seen.
    pub(super) fn scans_done(&self) -> u64 {
        self.edits.done.load(Ordering::Acquire)
    }

    /// Only for who holds the scans. What is not what it was is looked for by the janitor, and who
    /// has it mapped asks again.
    pub(super) fn take_over(&self, next: Generation, seen: u64) {
        let tree = next.tree.clone();
        let before = self.generations.replace(next);
        self.edits.done.store(seen, Ordering::Release);
        self.watch_folders(&tree);
        let is_other = |file: &&Arc<File>| tree.file(file.id).is_none_or(|now| !Arc::ptr_eq(now, file));
        let rules_stay = before.broker.policy() == self.now().broker.policy();
        let others: BTreeSet<_> = before.tree.files().filter(is_other).map(|file| file.id).collect();
        if let Some(kernel) = self.kernel.get().filter(|_| !others.is_empty() || !rules_stay) {
            // Who has mapped a file reads what the kernel keeps, and is asked again without it.
            let open = self.nodes().open_of(|file| !rules_stay || others.contains(&file));
            open.into_iter().for_each(|node| kernel.forget_content(node));
        }
        self.edits.edited().extend(others);
    }

    /// Watches the tree's folders. What happened in one before it was watched is looked for.
    pub(super) fn watch_folders(&self, tree: &Tree) {
        self.watch.keep(|folder| tree.folder(folder).is_some());
        for folder in tree.folders() {
            if self.watch.add(&folder.path) && !folder.is_as_it_was() {
                self.edits.doubt(tree.made_in(&folder.path));
                self.edits.want_scan("edit");
            }
        }
    }

    /// Once a second: what no event tells.
    pub(super) fn look_at_folders(&self) {
        let tree = self.now().tree.clone();
        self.look_at_unwatched(&tree);
        let folders = tree.folders();
        let first = self.edits.next_folder.fetch_add(FOLDERS, Ordering::Relaxed) % folders.len().max(1);
        let mut some = folders.iter().cycle().skip(first).take(folders.len().min(FOLDERS));
        // Not the one that is watched: replaced, or behind another link.
        if self.edits.scan_failed.load(Ordering::Acquire) || some.any(|folder| !folder.is_still_there()) {
            self.edits.doubt(tree.files());
            self.edits.want_scan("lost");
        }
    }

    /// Folders beyond the limits of inotify: their templates are looked at again when they are
    /// asked for.
    fn look_at_unwatched(&self, tree: &Tree) {
        for path in self.watch.missed() {
            self.edits.doubt(tree.made_in(&path));
            if tree.folder(&path).is_some_and(|folder| self.watch.add(&folder.path) | !folder.is_as_it_was())
            {
                self.edits.want_scan("period");
            }
        }
    }

    /// The files that were edited or went since the last call.
    pub(super) fn edited(&self) -> BTreeSet<FileId> {
        std::mem::take(&mut *self.edits.edited())
    }
}

impl Waiting {
    /// Answers whether there is nobody yet who reads.
    fn enter(&mut self, answer: Answer) -> bool {
        self.answers.push(answer);
        !std::mem::replace(&mut self.is_served, true)
    }

    /// Those for whom to read next; if there are none, who reads is done.
    fn leave(&mut self) -> Vec<Answer> {
        self.is_served = !self.answers.is_empty();
        std::mem::take(&mut self.answers)
    }
}

impl Edits {
    fn doubt<'a>(&self, files: impl Iterator<Item = &'a Arc<File>>) {
        let mut edited = self.edited();
        for file in files {
            file.source.doubt();
            edited.insert(file.id);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics while it holds this")
    }

    fn want_scan(&self, cause: &str) {
        metrics::get().rescans.of([cause]).inc();
        self.wanted.fetch_add(1, Ordering::AcqRel);
    }

    fn edited(&self) -> MutexGuard<'_, BTreeSet<FileId>> {
        self.edited.lock().expect("nothing panics while it holds this")
    }
}
