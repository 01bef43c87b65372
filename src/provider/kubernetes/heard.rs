//! What is known of each object that is watched: the state that readers have been given, from where its changes are
//! told, and whether they are. Pure bookkeeping; who keeps the watch is woken.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use super::place::Place;
use crate::poison::EvenPoisoned;
use crate::provider::News;
use crate::sys::uptime::Uptime;

#[derive(Default)]
pub(super) struct Heard {
    table: Mutex<Table>,
    /// There may be something to begin with, to end, or to say.
    pub(super) wake: Notify,
    /// Held by who keeps a watch, one at a time: what one is told the others are not. So many have ended soon.
    pub(super) turn: tokio::sync::Mutex<u32>,
}

#[derive(Default)]
struct Table {
    /// The number of the way into the cluster by which all this is so.
    way: u64,
    /// Readers have what came by another way, and were not told.
    is_other: bool,
    names: HashMap<String, Name>,
    /// Our own count of what was told: the cluster's is good for equality only.
    changes: u64,
    /// Readers were told that changes are heard of.
    is_told: bool,
    /// Counts ears: what one says that was replaced is not heard.
    ears: u64,
    /// The ear of the object that was looked at last.
    probed: u64,
}

struct Name {
    place: Place,
    /// The state that readers were given last; empty: there was none.
    answered: String,
    /// The state that was told last.
    told: String,
    /// Where the next watch goes on; `None`: wherever it is then.
    from: Option<String>,
    stage: Stage,
    ear: u64,
    asked: Uptime,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Wanted,
    Opening,
    Open,
    /// It is not told of, for now: readers ask as if nobody listened.
    Deaf,
}

/// Who listens to one object.
#[derive(Clone)]
pub(super) struct Ear {
    pub(super) path: String,
    pub(super) place: Place,
    number: u64,
}

/// Each is a connection. What is beyond is asked for when its time is over.
const MOST: usize = 64;
/// What nobody has asked for in so long makes room for another.
const IDLE: Duration = Duration::from_secs(15 * 60);

/// What readers are told.
impl Heard {
    /// At the beginning of a question: what is told after that may be newer than its answer.
    pub(super) fn moment(&self) -> u64 {
        self.table().moment()
    }

    /// The object was found at this state (empty: it was not there) by a question that began then, and went that way.
    /// Answers with the moment as of which that is; 0: nobody will tell if it changes.
    pub(super) fn note(&self, path: &str, place: &Place, state: &str, (way, began): (u64, u64)) -> u64 {
        let mut table = self.table();
        if table.turn_to(way) {
            self.wake.notify_one();
        }
        let now = Uptime::now();
        let is_known = table.names.contains_key(path);
        if table.way != way || !is_known && (state.is_empty() || !table.makes_room(now)) {
            return 0;
        }
        let is_told = table.is_told;
        let name = table.names.entry(path.to_owned()).or_insert_with(|| Name::found(place, state, now));
        if name.stage == Stage::Deaf && name.answered != state && !state.is_empty() {
            *name = Name::found(place, state, now);
        }
        (name.answered, name.asked) = (state.to_owned(), now);
        if name.stage == Stage::Wanted {
            self.wake.notify_one();
        }
        match name.stage {
            Stage::Open => began,
            Stage::Wanted | Stage::Opening if !is_told => began,
            _ => 0,
        }
    }

    /// That is the way now. By another one all is of another cluster, or of another namespace: once for each.
    pub(super) fn follow(&self, way: u64) -> Option<News> {
        let mut table = self.table();
        table.turn_to(way);
        mem::take(&mut table.is_other).then_some(News::All)
    }

    /// Once, when all are listened to that can be.
    pub(super) fn settled(&self) -> Option<News> {
        let mut table = self.table();
        let is_over = table.names.values().all(|it| matches!(it.stage, Stage::Open | Stage::Deaf));
        if table.is_told || !is_over || !table.hears() {
            return None;
        }
        table.is_told = true;
        // What is of no moment of ours is told of by nobody, and keeps its ordinary time.
        Some(News::Listening { since: 0 })
    }
}

/// Who keeps the watch.
impl Heard {
    /// A watch begins: of all objects, each from where it was.
    pub(super) fn begin(&self) {
        let mut table = self.table();
        table.is_told = false;
        table.names.values_mut().for_each(|name| name.stage = Stage::Wanted);
    }

    /// What was told until now was told to others.
    pub(super) fn forget(&self) {
        self.table().forget();
    }

    /// Those that nobody listens to yet.
    pub(super) fn wanted(&self) -> Vec<Ear> {
        let mut table = self.table();
        let Table { names, ears, .. } = &mut *table;
        let wanted = names.iter_mut().filter(|(_, name)| name.stage == Stage::Wanted);
        let begin = |(path, name): (&String, &mut Name)| {
            *ears += 1;
            (name.stage, name.ear) = (Stage::Opening, *ears);
            name.ear(path)
        };
        wanted.map(begin).collect()
    }

    pub(super) fn wants(&self, ear: &Ear) -> bool {
        self.table().names.get(&ear.path).is_some_and(|name| name.ear == ear.number)
    }

    /// Whether any object is listened to.
    pub(super) fn hears(&self) -> bool {
        self.table().hears()
    }

    /// Whether readers count on that.
    pub(super) fn is_told(&self) -> bool {
        self.table().is_told
    }

    /// One of those that are listened to, each in its turn.
    pub(super) fn next(&self) -> Option<Ear> {
        let mut table = self.table();
        let probed = table.probed;
        let open = table.names.iter().filter(|(_, name)| name.stage == Stage::Open);
        let ear =
            open.map(|(path, name)| name.ear(path)).min_by_key(|it| (it.number <= probed, it.number))?;
        table.probed = ear.number;
        Some(ear)
    }

    /// It was looked at in between: a state that nobody was told of has been missed, and it is begun with anew.
    pub(super) fn confirmed(&self, ear: &Ear, state: &str) -> Option<News> {
        self.with(ear, |name, changes| {
            if name.told == state || name.answered == state || name.stage != Stage::Open {
                return None;
            }
            (name.stage, name.from, name.told) = (Stage::Wanted, None, state.to_owned());
            Some(news(ear, changes))
        })
    }
}

/// What an ear hears.
impl Heard {
    /// Where it goes on.
    pub(super) fn from(&self, ear: &Ear) -> Option<String> {
        self.table().names.get(&ear.path).filter(|name| name.ear == ear.number)?.from.clone()
    }

    /// From here on changes are told.
    pub(super) fn open(&self, ear: &Ear) {
        self.with(ear, |name, _| {
            name.stage = Stage::Open;
            None
        });
    }

    /// What has happened up to this state was told; `None`: it cannot go on from where it was.
    pub(super) fn reach(&self, ear: &Ear, from: Option<String>) {
        self.with(ear, |name, _| {
            name.from = from;
            None
        });
    }

    /// It is at this state (empty: not there), as of that one.
    pub(super) fn changed(&self, ear: &Ear, state: &str, at: String) -> Option<News> {
        self.with(ear, |name, changes| {
            name.from = Some(at);
            // How it stands is told first, and was found before.
            let is_known = mem::replace(&mut name.told, state.to_owned()) == state;
            (!is_known).then(|| news(ear, changes))
        })
    }

    /// It was looked at before anybody listened, and found so: that is what readers have, or a change.
    pub(super) fn found(&self, ear: &Ear, state: &str) -> Option<News> {
        self.with(ear, |name, changes| {
            name.told = state.to_owned();
            (name.answered != state).then(|| news(ear, changes))
        })
    }

    /// Its changes are not told for now: news if they were.
    pub(super) fn deafen(&self, ear: &Ear) -> Option<News> {
        self.with(ear, |name, _| {
            let was_deaf = mem::replace(&mut name.stage, Stage::Deaf) == Stage::Deaf;
            (!was_deaf).then(|| News::Unheard { paths: vec![ear.path.clone()] })
        })
    }

    /// Nothing, if somebody else listens to it by now.
    fn with(&self, ear: &Ear, change: impl FnOnce(&mut Name, &mut u64) -> Option<News>) -> Option<News> {
        let mut table = self.table();
        let Table { names, changes, .. } = &mut *table;
        let name = names.get_mut(&ear.path).filter(|name| name.ear == ear.number)?;
        let before = name.stage;
        let news = change(name, changes);
        if name.stage != before {
            self.wake.notify_one();
        }
        news
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().even_poisoned()
    }
}

fn news(ear: &Ear, changes: &mut u64) -> News {
    *changes += 1;
    News::Changed { paths: vec![ear.path.clone()], at: *changes + 1 }
}

impl Table {
    /// There is one before the first change.
    fn moment(&self) -> u64 {
        self.changes + 1
    }

    fn hears(&self) -> bool {
        self.names.values().any(|name| name.stage == Stage::Open)
    }

    /// Whether that is another way than before. What was asked before it was open may be told late.
    fn turn_to(&mut self, way: u64) -> bool {
        let is_new = way > self.way;
        if is_new {
            self.is_other |= self.way > 0;
            self.way = way;
            self.forget();
        }
        is_new
    }

    fn forget(&mut self) {
        self.names.clear();
        self.is_told = false;
    }

    fn makes_room(&mut self, now: Uptime) -> bool {
        if self.names.len() < MOST {
            return true;
        }
        let oldest = self.names.iter().min_by_key(|(_, name)| name.asked);
        let idle = oldest.filter(|(_, name)| now.since(name.asked) >= IDLE).map(|(path, _)| path.clone());
        idle.is_some_and(|path| self.names.remove(&path).is_some())
    }
}

impl Name {
    /// Readers are given it at this state, and from there on it can be told of.
    fn found(place: &Place, state: &str, asked: Uptime) -> Self {
        let (answered, told, from) = (state.to_owned(), state.to_owned(), Some(state.to_owned()));
        Self { place: place.clone(), answered, told, from, stage: Stage::Wanted, ear: 0, asked }
    }

    fn ear(&self, path: &str) -> Ear {
        Ear { path: path.to_owned(), place: self.place.clone(), number: self.ear }
    }
}

#[cfg(test)]
mod tests;
