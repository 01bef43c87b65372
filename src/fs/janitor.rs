//! What happens without a request, each second: what a lookup missed is healed, pages are dropped,
//! and snapshots that nobody used for a minute are wiped. Costs what changed, and a small piece
//! of the rest in turn. A disk or a provider that does not answer keeps back its own files only.
//! Uses the tables.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::SecretFs;
use super::nodes::Place;
use super::snapshot::Snapshot;
use super::tree::FileId;
use crate::provider::{Pulse, unhurried};
use crate::resolver::Asker;

const PERIOD: Duration = Duration::from_secs(1);
/// How much of the time the janitor may take at most, where there is very much to look at.
const SHARE: u32 = 10;
/// Places held against the disk in a second, and at once.
const PIECE: usize = 256;
/// How long a round waits for its checks; one that takes longer goes on by itself.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where a walk over all places has come to, a piece at a time.
#[derive(Default)]
struct Walk {
    last: Option<Place>,
}

/// Checks that were begun, at most one of a place.
#[derive(Default)]
struct Checks {
    running: JoinSet<Place>,
    places: HashSet<Place>,
}

impl SecretFs {
    /// Runs as long as the filesystem is used elsewhere.
    pub async fn keep_house(self: Arc<Self>) {
        let house = Arc::downgrade(&self);
        self.keep_sweeping();
        tokio::spawn(Self::keep_templates(house.clone()));
        tokio::spawn(Self::keep_readers(house.clone()));
        Self::keep_values(house).await;
    }

    /// A thread of its own: values are wiped in time whatever a disk or a provider does, and
    /// telling the kernel may take its time.
    fn keep_sweeping(self: Arc<Self>) {
        let weak = Arc::downgrade(&self);
        drop(self);
        let sweep = move || {
            loop {
                let Some(this) = weak.upgrade() else { return };
                this.sweep();
                drop(this);
                thread::sleep(PERIOD);
            }
        };
        let thread = thread::Builder::new().name("secretfs-sweep".to_owned());
        thread.spawn(sweep).expect("one thread at the start");
    }

    /// Waits for the templates' disk, and for nothing else.
    async fn keep_templates(house: Weak<Self>) {
        Self::foresee(&house).await;
        let (mut walk, mut checks, mut pause) = (Walk::default(), Checks::default(), PERIOD);
        loop {
            tokio::time::sleep(pause).await;
            let Some(this) = house.upgrade() else { return };
            let start = Instant::now();
            this.heal_templates(&mut walk, &mut checks).await;
            pause = PERIOD.max(start.elapsed() * (SHARE - 1));
        }
    }

    /// If a template will ask for secrets by their label, those are learnt before somebody waits for it.
    async fn foresee(house: &Weak<Self>) {
        let Some(this) = house.upgrade() else { return };
        let look = move || {
            let now = this.now();
            if now.tree.files().any(|file| file.source.mentions("label")) {
                now.broker.expect_labels();
            }
        };
        let _ = tokio::task::spawn_blocking(look).await;
    }

    /// Finds what no lookup has asked for: nodes that the kernel holds are told of a change.
    async fn heal_templates(self: &Arc<Self>, walk: &mut Walk, checks: &mut Checks) {
        let this = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            this.look_at_folders();
            if this.notice_edits() {
                this.rescan();
            }
        });
        let _ = looked.await;
        for file in self.edited() {
            let places = self.nodes().places_of(file);
            self.check_on_disk(places, checks).await;
        }
        // What inotify does not tell of: a template on a network.
        self.check_on_disk(walk.piece(self), checks).await;
        checks.settle().await;
    }

    /// Waits for each file as long as one of its readers would.
    async fn keep_readers(house: Weak<Self>) {
        let mut pause = PERIOD;
        loop {
            tokio::time::sleep(pause).await;
            let Some(this) = house.upgrade() else { return };
            let start = Instant::now();
            this.judge_readers().await;
            pause = PERIOD.max(start.elapsed());
        }
    }

    /// Waits for no provider.
    async fn keep_values(house: Weak<Self>) {
        let (mut walk, mut checks, mut pause) = (Walk::default(), Checks::default(), PERIOD);
        let mut seen = None;
        loop {
            tokio::time::sleep(pause).await;
            let Some(this) = house.upgrade() else { return };
            let start = Instant::now();
            let now = this.now();
            now.broker.tend().await;
            let pulses = (now.number, now.broker.pulses());
            if seen.as_ref() != Some(&pulses) || pulses.1.contains(&Pulse::Moving) {
                let all_done = this.heal_all(&mut checks).await;
                seen = all_done.then_some(pulses);
            } else {
                // What time alone has changed.
                checks.begin(&this, walk.piece(&this)).await;
            }
            checks.settle().await;
            pause = PERIOD.max(start.elapsed() * (SHARE - 1));
        }
    }

    /// A provider has moved: every snapshot is asked whether it still holds. No means that some
    /// were passed over, because too many wait for an answer.
    async fn heal_all(self: &Arc<Self>, checks: &mut Checks) -> bool {
        let (mut last, mut all_done) = (None, true);
        loop {
            let places = self.nodes().places_after(last.as_ref(), PIECE);
            let Some((place, _)) = places.last() else { return all_done };
            last = Some(place.clone());
            all_done &= checks.begin(self, places).await;
            tokio::task::yield_now().await;
        }
    }

    async fn check_on_disk(self: &Arc<Self>, places: Vec<(Place, Arc<Snapshot>)>, checks: &mut Checks) {
        let tree = self.now().tree.clone();
        let files: Vec<_> = places.iter().filter_map(|(place, _)| tree.file(place.file).cloned()).collect();
        let load = move || files.iter().for_each(|file| drop(file.source.load()));
        let _ = tokio::task::spawn_blocking(load).await;
        checks.begin(self, places).await;
    }

    /// Lets go of a snapshot that is not what its file would be now: whoever asks next is told
    /// what is wrong.
    async fn check(self: Arc<Self>, place: Place, snapshot: Arc<Snapshot>) -> Place {
        if !self.still_holds(&place, &snapshot).await {
            let changed = {
                let mut nodes = self.nodes();
                // Somebody may have rendered it anew meanwhile.
                if nodes.is_current(&place, &snapshot) { nodes.retire(&place) } else { None }
            };
            if let (Some(node), Some(kernel)) = (changed, self.kernel.get()) {
                unhurried(|| kernel.forget_content(node));
            }
        }
        place
    }

    /// What is certain without asking: it still is what its file would be, or it is not.
    fn surely_holds(&self, place: &Place, snapshot: &Snapshot) -> Option<bool> {
        let now = self.now();
        let Some(loaded) = now.tree.file(place.file).and_then(|file| file.source.last()) else {
            return Some(false);
        };
        let Ok(template) = &loaded.template else { return Some(false) };
        if snapshot.rests_on(template, |basis| now.broker.is_still(basis)) {
            return Some(true);
        }
        snapshot.basis(template).is_none().then_some(false)
    }

    async fn still_holds(&self, place: &Place, snapshot: &Snapshot) -> bool {
        if let Some(holds) = self.surely_holds(place, snapshot) {
            return holds;
        }
        let now = self.now();
        let loaded = now.tree.file(place.file).and_then(|file| file.source.last());
        let template = loaded.as_ref().and_then(|loaded| loaded.template.as_ref().ok());
        let Some(basis) = template.and_then(|template| snapshot.basis(template)) else { return false };
        match now.broker.recheck(&basis, Asker::Nobody).await {
            Ok(Some(basis)) => {
                snapshot.rebase(basis);
                true
            }
            _ => false,
        }
    }

    fn sweep(&self) {
        self.now().broker.sweep();
        let now = Instant::now();
        self.sets.sweep(now);
        self.returned.forget_old();
        let sweep = self.nodes().sweep(now);
        if let Some(kernel) = self.kernel.get() {
            sweep.drop_pages.iter().for_each(|&node| kernel.forget_content(node));
            sweep.doubted.iter().filter(|&&node| !kernel.knows(node)).for_each(|&node| self.let_go(node));
        }
        self.ledger().trim();
        self.unload(&sweep.unused);
    }

    /// Nobody reads these: their templates can be compiled again.
    fn unload(&self, files: &[FileId]) {
        let tree = self.now().tree.clone();
        let is_idle = |file: &&FileId| self.nodes().places_of(**file).is_empty() && !self.has_readers(**file);
        files
            .iter()
            .filter(is_idle)
            .filter_map(|file| tree.file(*file))
            .for_each(|file| file.source.unload());
    }
}

impl Walk {
    /// Some more of all places.
    fn piece(&mut self, fs: &SecretFs) -> Vec<(Place, Arc<Snapshot>)> {
        let mut places = fs.nodes().places_after(self.last.as_ref(), PIECE);
        if places.is_empty() && self.last.is_some() {
            places = fs.nodes().places_after(None, PIECE);
        }
        self.last = places.last().map(|(place, _)| place.clone());
        places
    }
}

impl Checks {
    /// Checks those that are not certain, each by itself. No means that some were passed over:
    /// so many wait for an answer that the next round has to see to them.
    async fn begin(&mut self, fs: &Arc<SecretFs>, places: Vec<(Place, Arc<Snapshot>)>) -> bool {
        let mut all_begun = true;
        for (place, snapshot) in places {
            if fs.surely_holds(&place, &snapshot) == Some(true) || self.places.contains(&place) {
                continue;
            }
            if self.running.len() >= PIECE {
                self.settle().await;
            }
            if self.running.len() >= PIECE {
                all_begun = false;
                continue;
            }
            self.places.insert(place.clone());
            self.running.spawn(fs.clone().check(place, snapshot));
        }
        all_begun
    }

    /// Waits a moment for those that are under way.
    async fn settle(&mut self) {
        let until = tokio::time::Instant::now() + PATIENCE;
        while let Ok(Some(done)) = timeout_at(until, self.running.join_next()).await {
            match done {
                Ok(place) => drop(self.places.remove(&place)),
                // It has panicked, and does not say which it was.
                Err(_) if self.running.is_empty() => self.places.clear(),
                Err(_) => {}
            }
        }
    }
}
