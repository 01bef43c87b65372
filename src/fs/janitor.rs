//! What happens without a request: edits are noticed, what a lookup missed is healed each second,
//! pages are dropped, and snapshots that nobody used for a minute are wiped. Uses the tables.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::SecretFs;
use super::nodes::NodeId;
use super::tree::Tree;

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
        let changes = self.watch.drain();
        if changes.is_empty() {
            return false;
        }
        let tree = self.tree();
        for file in tree.files() {
            if changes.lost || changes.edited.contains(file.source.path()) {
                file.source.doubt();
            }
        }
        changes.shape || changes.lost
    }

    /// Reads the folder of templates again. An error leaves the tree as it was.
    pub(super) fn rescan(&self) {
        let mut tree = self.tree.write().expect("nothing panics while it holds this");
        match Tree::scan(&self.layout, Some(&tree)) {
            Ok(scanned) => {
                self.watch.add(&scanned.folders());
                *tree = Arc::new(scanned);
            }
            Err(error) => {
                tracing::error!(%error, "the templates cannot be read again; the files stay as they were")
            }
        }
    }

    /// Finds what no lookup has asked for: nodes that the kernel holds are told of a change.
    async fn heal(self: &Arc<Self>) {
        if self.notice_edits() {
            self.rescan();
        }
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
