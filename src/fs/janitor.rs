//! What happens without a request, each second: what a lookup missed is healed, pages are dropped,
//! and snapshots that nobody used for a minute are wiped. Costs what changed, and a small piece
//! of the rest in turn. Uses the tables.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::SecretFs;
use super::nodes::{NodeId, Place};
use super::snapshot::Snapshot;
use crate::provider::Pulse;

const PERIOD: Duration = Duration::from_secs(1);
/// How much of the time the janitor may take at most, where there is very much to look at.
const SHARE: u32 = 10;
/// Places held against the disk in a second, and at once.
const PIECE: usize = 256;

/// How far the janitor has looked.
#[derive(Default)]
struct Rounds {
    /// Where the providers stood when everything was held against them.
    pulses: Option<(u64, Vec<Pulse>)>,
    /// The last place that was looked at in turn.
    last: Option<Place>,
}

impl SecretFs {
    /// Runs as long as the filesystem is used elsewhere.
    pub async fn keep_house(self: Arc<Self>) {
        let weak = Arc::downgrade(&self);
        self.keep_sweeping();
        let mut rounds = Rounds::default();
        let mut pause = PERIOD;
        loop {
            tokio::time::sleep(pause).await;
            let Some(this) = weak.upgrade() else { return };
            let start = Instant::now();
            this.heal(&mut rounds).await;
            pause = PERIOD.max(start.elapsed() * (SHARE - 1));
        }
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

    /// Finds what no lookup has asked for: nodes that the kernel holds are told of a change.
    async fn heal(self: &Arc<Self>, rounds: &mut Rounds) {
        let this = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            this.look_at_folders();
            if this.notice_edits() {
                this.rescan();
            }
        });
        let _ = looked.await;
        self.heal_edited().await;
        let now = self.now();
        now.broker.tend().await;
        let pulses = (now.number, now.broker.pulses());
        if rounds.pulses.as_ref() != Some(&pulses) || pulses.1.contains(&Pulse::Moving) {
            self.heal_all().await;
            rounds.pulses = Some(pulses);
        }
        self.heal_piece(rounds).await;
    }

    async fn heal_edited(self: &Arc<Self>) {
        for file in self.edited() {
            let places = self.nodes().places_of(file);
            self.check(places, true).await;
        }
    }

    /// A provider has moved: every snapshot is asked whether it still holds.
    async fn heal_all(self: &Arc<Self>) {
        let mut last = None;
        loop {
            let places = self.nodes().places_after(last.as_ref(), PIECE);
            let Some((place, _)) = places.last() else { return };
            last = Some(place.clone());
            self.check(places, false).await;
            tokio::task::yield_now().await;
        }
    }

    /// Some more of all places, also against the disk: what inotify does not tell of (a template
    /// on a network), and what time alone has changed.
    async fn heal_piece(self: &Arc<Self>, rounds: &mut Rounds) {
        let mut places = self.nodes().places_after(rounds.last.as_ref(), PIECE);
        if places.is_empty() && rounds.last.is_some() {
            places = self.nodes().places_after(None, PIECE);
        }
        rounds.last = places.last().map(|(place, _)| place.clone());
        self.check(places, true).await;
    }

    /// Lets go of those that are not what their file would be now.
    async fn check(self: &Arc<Self>, places: Vec<(Place, Arc<Snapshot>)>, on_disk: bool) {
        if on_disk {
            self.load_again(&places).await;
        }
        let mut changed: Vec<NodeId> = Vec::new();
        for (place, snapshot) in places {
            if !self.still_holds(&place, &snapshot).await {
                // Whoever asks next is told what is wrong.
                changed.extend(self.nodes().retire(&place));
            }
        }
        let Some(kernel) = self.kernel.get().filter(|_| !changed.is_empty()) else { return };
        crate::provider::unhurried(|| changed.into_iter().for_each(|node| kernel.forget_content(node)));
    }

    async fn load_again(&self, places: &[(Place, Arc<Snapshot>)]) {
        let tree = self.now().tree.clone();
        let files: Vec<_> = places.iter().filter_map(|(place, _)| tree.file(place.file).cloned()).collect();
        let load = move || files.iter().for_each(|file| drop(file.source.load()));
        let _ = tokio::task::spawn_blocking(load).await;
    }

    async fn still_holds(&self, place: &Place, snapshot: &Snapshot) -> bool {
        let now = self.now();
        let Some(loaded) = now.tree.file(place.file).and_then(|file| file.source.last()) else {
            return false;
        };
        let Ok(template) = &loaded.template else { return false };
        if snapshot.rests_on(template, |basis| now.broker.is_still(basis)) {
            return true;
        }
        let Some(basis) = snapshot.basis(template) else { return false };
        match now.broker.recheck(&basis).await {
            Ok(Some(basis)) => {
                snapshot.rebase(basis);
                true
            }
            _ => false,
        }
    }

    fn sweep(&self) {
        let now = Instant::now();
        self.sets.sweep(now);
        let sweep = self.nodes().sweep(now);
        if let Some(kernel) = self.kernel.get() {
            sweep.drop_pages.iter().for_each(|&node| kernel.forget_content(node));
            sweep.doubted.iter().filter(|&&node| !kernel.knows(node)).for_each(|&node| self.let_go(node));
        }
        self.ledger().trim();
        let tree = self.now().tree.clone();
        for (place, _) in &sweep.wiped {
            // Nobody reads it: its template can be compiled again.
            let is_idle = self.nodes().places_of(place.file).is_empty();
            if let Some(file) = tree.file(place.file).filter(|_| is_idle) {
                file.source.unload();
            }
        }
    }
}
