//! What happens without a request: edits are noticed, what a lookup missed is healed each second,
//! pages are dropped, and snapshots that nobody used for a minute are wiped. Uses the tables.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::SecretFs;
use super::nodes::NodeId;
use super::tree::Tree;

/// What is known of edits, and who is looking.
#[derive(Default)]
pub(super) struct Edits {
    noticing: Mutex<()>,
    scanning: Mutex<()>,
    /// How often the tree had to be read again, and how often it was.
    wanted: AtomicU64,
    done: AtomicU64,
    scan_failed: AtomicBool,
}

const PERIOD: Duration = Duration::from_secs(1);

impl SecretFs {
    /// Runs as long as the filesystem is used elsewhere.
    pub async fn keep_house(self: Arc<Self>) {
        let weak = Arc::downgrade(&self);
        drop(self);
        loop {
            tokio::time::sleep(PERIOD).await;
            let Some(this) = weak.upgrade() else { return };
            this.heal().await;
            let this = this.clone();
            // Wiping and telling the kernel may take their time.
            let _ = tokio::task::spawn_blocking(move || this.sweep()).await;
        }
    }

    /// Takes note of edited templates. Answers whether files came or went, and then the tree has
    /// to be read again.
    pub(super) fn notice_edits(&self) -> bool {
        // Held over both steps: who comes next finds either the event or what it led to.
        let _one = self.edits.noticing.lock().expect("nothing panics while it holds this");
        let changes = self.watch.drain();
        if !changes.is_empty() {
            let tree = self.tree();
            for file in tree.files() {
                if changes.lost || changes.edited.contains(file.source.path()) {
                    file.source.doubt();
                }
            }
            if changes.shape || changes.lost {
                self.edits.wanted.fetch_add(1, Ordering::AcqRel);
            }
        }
        self.edits.wanted.load(Ordering::Acquire) != self.edits.done.load(Ordering::Acquire)
    }

    /// Reads the folder of templates again; readers of what is known go on meanwhile. An error
    /// leaves the tree as it was, until the next look in a second.
    pub(super) fn rescan(&self) {
        let _one = self.edits.scanning.lock().expect("nothing panics while it holds this");
        let wanted = self.edits.wanted.load(Ordering::Acquire);
        if self.edits.done.swap(wanted, Ordering::AcqRel) == wanted {
            return;
        }
        let scanned = Tree::scan(&self.layout, Some(&self.tree()));
        self.edits.scan_failed.store(scanned.is_err(), Ordering::Release);
        match scanned {
            Ok(scanned) => {
                self.watch.add(&scanned.folders());
                *self.tree.write().expect("nothing panics while it holds this") = Arc::new(scanned);
            }
            Err(error) => {
                tracing::error!(%error, "the templates cannot be read again; the files stay as they were")
            }
        }
    }

    /// Finds folders that are not the ones that are watched: replaced, or behind another link.
    fn notice_replaced_folders(&self) {
        if self.edits.scan_failed.load(Ordering::Acquire) || self.tree().has_moved() {
            self.tree().files().for_each(|file| file.source.doubt());
            self.edits.wanted.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Finds what no lookup has asked for: nodes that the kernel holds are told of a change.
    async fn heal(self: &Arc<Self>) {
        let this = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            this.notice_replaced_folders();
            if this.notice_edits() {
                this.rescan();
            }
        });
        let _ = looked.await;
        self.broker.tend().await;
        let tree = self.tree();
        let mut changed: Vec<NodeId> = Vec::new();
        let places = self.nodes().places();
        for (place, snapshot) in places {
            let Some(file) = tree.file(place.file) else {
                changed.extend(self.nodes().retire(&place));
                continue;
            };
            let file = file.clone();
            let Ok(loaded) = tokio::task::spawn_blocking(move || file.source.load()).await else { continue };
            let same_template = loaded.template.is_ok_and(|template| snapshot.is_of(&template));
            if same_template && self.broker.is_still(&snapshot.basis()) {
                continue;
            }
            match self.broker.recheck(&snapshot.basis()).await {
                Ok(Some(basis)) if same_template => snapshot.rebase(basis),
                // Whoever asks next is told what is wrong.
                _ => changed.extend(self.nodes().retire(&place)),
            }
        }
        if let Some(kernel) = self.kernel.get() {
            changed.into_iter().for_each(|node| kernel.forget_content(node));
        }
    }

    fn sweep(&self) {
        let sweep = self.nodes().sweep(Instant::now());
        if let Some(kernel) = self.kernel.get() {
            sweep.drop_pages.iter().for_each(|&node| kernel.forget_content(node));
        }
    }
}
