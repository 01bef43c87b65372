//! What is known of sets, and what each process sees of them. Pure bookkeeping, but for looking at
//! the newest moment of a set; times are arguments. Uses `pin`.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use super::pin::{LONGEST, Pin};
use super::{Moment, SetId, Shown};
use crate::broker::Error;
use crate::fs::nodes::Place;
use crate::fs::tree::{File, FileId};
use crate::secret::SecretKey;
use crate::sys::peer::ProcessId;
use crate::template::Template;

#[derive(Default)]
pub(in crate::fs) struct Sets {
    /// Guards the secrets that are known to make a set.
    pairs: Mutex<HashSet<SecretKey>>,
    has_pairs: AtomicBool,
    /// Guards what processes see; held for no call.
    sights: Mutex<HashMap<ProcessId, Sight>>,
    /// Guards the table only.
    newest: Mutex<HashMap<SetId, Arc<Newest>>>,
}

/// The newest moment of a set, as long as a process sees it. Held while it is resolved, so that
/// one who asks does it for all.
type Newest = tokio::sync::Mutex<Weak<Moment>>;

/// What one process sees.
struct Sight {
    uid: u32,
    pins: HashMap<SetId, Pin<Moment>>,
    shown: HashMap<Place, Shown>,
}

/// Processes that read sets within a moment. More are refused: to forget one would be to let it
/// read what does not match.
const MOST: usize = 16_384;
/// Those of one user: nobody uses the others' share up.
const MOST_OF_ONE: usize = MOST / 4;
/// So much later than its LOOKUP an OPEN may come.
pub(super) const LATE: Duration = Duration::from_secs(1);

impl Sets {
    /// The sets that a file belongs to: one that the config names, or those of its secrets.
    pub(in crate::fs) fn of(&self, file: &File, template: &Template) -> Vec<SetId> {
        if let Some(name) = &file.spec.set {
            return vec![SetId::Named(name.clone())];
        }
        if !self.has_pairs.load(Ordering::Acquire) {
            return Vec::new();
        }
        let pairs = self.pairs.lock().expect("nothing panics while it holds this");
        template.keys().iter().filter(|key| pairs.contains(key)).cloned().map(SetId::Of).collect()
    }

    /// Whether the file is in any set, by its template as it was loaded last.
    pub(in crate::fs) fn has(&self, file: &File) -> bool {
        let template = file.source.last().and_then(|loaded| loaded.template.as_ref().ok().cloned());
        template.is_some_and(|template| !self.of(file, &template).is_empty())
    }

    /// From now on the files that use one of these are a set.
    pub(in crate::fs) fn learn(&self, pairs: &[SecretKey]) {
        if !pairs.is_empty() {
            self.pairs.lock().expect("nothing panics while it holds this").extend(pairs.iter().cloned());
            self.has_pairs.store(true, Ordering::Release);
        }
    }

    /// The process looks for a file: the moment of this set that it sees, if it has one.
    pub(super) fn look(
        &self,
        process: ProcessId,
        set: &SetId,
        file: FileId,
        now: Instant,
    ) -> Option<Arc<Moment>> {
        let mut sights = self.sights();
        let pin = sights.get_mut(&process)?.pins.get_mut(set)?;
        let is_seen = !pin.moment.basis.has_expired() && pin.look(file, now);
        is_seen.then(|| pin.moment.clone())
    }

    /// From now on the process sees this moment.
    pub(super) fn pin(
        &self,
        process: ProcessId,
        uid: u32,
        set: &SetId,
        file: FileId,
        moment: Arc<Moment>,
    ) -> Result<(), Error> {
        let mut sights = self.sights();
        if !sights.contains_key(&process) && !has_room(&sights, uid) {
            return Err(Error::Internal("too many processes read files of sets at once"));
        }
        let new = || Sight { uid, pins: HashMap::new(), shown: HashMap::new() };
        let sight = sights.entry(process).or_insert_with(new);
        sight.pins.insert(set.clone(), Pin::begin(moment, file, Instant::now()));
        sight.forget_unpinned();
        Ok(())
    }

    /// What the process sees of a place, as of these moments.
    pub(super) fn shown(&self, process: ProcessId, place: &Place, moments: &[Arc<Moment>]) -> Option<Shown> {
        let sights = self.sights();
        let shown = sights.get(&process)?.shown.get(place)?;
        let is_same = shown.moments.len() == moments.len()
            && shown.moments.iter().zip(moments).all(|(one, other)| Arc::ptr_eq(one, other));
        is_same.then(|| shown.clone())
    }

    /// What the process sees of a place, unless it is too old by now.
    pub(super) fn last_shown(&self, process: ProcessId, place: &Place, age: Duration) -> Option<Shown> {
        let sights = self.sights();
        let sight = sights.get(&process)?;
        let shown = sight.shown.get(place)?;
        let now = Instant::now();
        shown.moments.iter().all(|moment| sight.sees(moment, age, now)).then(|| shown.clone())
    }

    pub(super) fn opened(&self, process: ProcessId, file: FileId) {
        if let Some(sight) = self.sights().get_mut(&process) {
            sight.pins.values_mut().for_each(|pin| pin.opened(file));
        }
    }

    pub(super) fn show(&self, process: ProcessId, place: &Place, shown: Shown) {
        if let Some(sight) = self.sights().get_mut(&process) {
            sight.shown.insert(place.clone(), shown);
        }
    }

    pub(super) fn newest(&self, set: &SetId) -> Arc<Newest> {
        let mut newest = self.newest.lock().expect("nothing panics while it holds this");
        newest.entry(set.clone()).or_default().clone()
    }

    /// Once a second: what is over is wiped, by its last holder.
    pub(in crate::fs) fn sweep(&self, now: Instant) {
        let mut over = Vec::new();
        self.sights().retain(|_, sight| {
            over.extend(sight.pins.extract_if(|_, pin| pin.age(now) >= LONGEST + LATE));
            sight.forget_unpinned();
            !sight.pins.is_empty()
        });
    }

    fn sights(&self) -> MutexGuard<'_, HashMap<ProcessId, Sight>> {
        self.sights.lock().expect("nothing panics while it holds this")
    }
}

/// Counts only where one user alone could have too many.
fn has_room(sights: &HashMap<ProcessId, Sight>, uid: u32) -> bool {
    sights.len() < MOST_OF_ONE
        || (sights.len() < MOST && sights.values().filter(|it| it.uid == uid).count() < MOST_OF_ONE)
}

impl Sight {
    fn sees(&self, moment: &Arc<Moment>, age: Duration, now: Instant) -> bool {
        self.pins.values().any(|pin| Arc::ptr_eq(&pin.moment, moment) && pin.age(now) < age)
    }

    /// What is shown as of a moment that is over.
    fn forget_unpinned(&mut self) {
        let is_pinned = |moment: &Arc<Moment>| self.pins.values().any(|pin| Arc::ptr_eq(&pin.moment, moment));
        self.shown.retain(|_, shown| shown.moments.iter().all(is_pinned));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_leaves_room_for_the_others() {
        let of = |uid: u32, count: u32| {
            let sight = move |pid| {
                let id = ProcessId { pid: uid * 100_000 + pid, start: 1 };
                (id, Sight { uid, pins: HashMap::new(), shown: HashMap::new() })
            };
            (0..count).map(sight)
        };
        let most = MOST_OF_ONE as u32;
        let mut sights: HashMap<_, _> = of(1, most - 1).collect();
        assert!(has_room(&sights, 1));
        sights.extend(of(1, most));
        assert!(!has_room(&sights, 1) && has_room(&sights, 2));
        (2..=4).for_each(|uid| sights.extend(of(uid, most)));
        assert!(!has_room(&sights, 5), "all together");
    }
}
