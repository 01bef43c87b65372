//! What is known of each object that is watched: the state that readers have been given, from where its changes are
//! told, and whether they are. Pure bookkeeping; who waits is woken.

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
    /// There may be something to begin with, or to end.
    pub(super) wake: Notify,
    /// Who keeps a watch: one at a time, since what one is told the others are not.
    pub(super) turn: tokio::sync::Mutex<Troubles>,
}

/// Watches that ended soon after they had begun, one after the other.
#[derive(Default)]
pub(super) struct Troubles(u32);

struct Table {
    /// The number of the way into the cluster by which all this is so.
    way: u64,
    /// Readers have what came by another way, and were not told.
    is_other: bool,
    names: HashMap<String, Name>,
    /// Our own count of what was told: the cluster's is good for equality only.
    moment: u64,
    /// Readers were told that changes are heard of.
    is_told: bool,
    /// Counts ears: what one says that was replaced is not heard.
    ears: u64,
    /// The object that was looked at last.
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
pub(super) struct Ear {
    pub(super) path: String,
    pub(super) number: u64,
    pub(super) place: Place,
    pub(super) from: Option<String>,
}

/// Each is a connection. What is beyond is asked for when its time is over.
pub(super) const MOST: usize = 64;
/// What nobody has asked for in so long makes room for another.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// A watch that ends sooner is a trouble, and the next one waits: twice as long after each.
const SOON: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Default for Table {
    fn default() -> Self {
        Self { way: 0, is_other: false, names: HashMap::new(), moment: 1, is_told: false, ears: 0, probed: 0 }
    }
}

impl Heard {
    /// At the beginning of a question: what is told after that may be newer than its answer.
    pub(super) fn moment(&self) -> u64 {
        self.table().moment
    }

    /// The object was found at this state (empty: it was not there) by a question that began then, and went that way.
    /// Answers with the moment as of which that is; 0: nobody will tell if it changes.
    pub(super) fn note(&self, path: &str, place: &Place, state: &str, (way, began): (u64, u64)) -> u64 {
        let mut table = self.table();
        if table.turn_to(way) {
            self.wake.notify_one();
        }
        if table.way != way {
            return 0;
        }
        let now = Uptime::now();
        if !table.names.contains_key(path) {
            if state.is_empty() || !table.has_room(now) {
                return 0;
            }
            let (answered, told) = (state.to_owned(), state.to_owned());
            let from = Some(state.to_owned());
            let name =
                Name { place: place.clone(), answered, told, from, stage: Stage::Wanted, ear: 0, asked: now };
            table.names.insert(path.to_owned(), name);
            self.wake.notify_one();
        }
        let is_told = table.is_told;
        let name = table.names.get_mut(path).expect("it is there");
        if name.stage == Stage::Deaf && name.answered != state && !state.is_empty() {
            // From there on it may be told of.
            (name.stage, name.from) = (Stage::Wanted, Some(state.to_owned()));
            self.wake.notify_one();
        }
        name.answered = state.to_owned();
        name.asked = now;
        match name.stage {
            Stage::Open => began,
            Stage::Wanted | Stage::Opening if !is_told => began,
            _ => 0,
        }
    }

    /// A watch begins: of all objects, each from where it was.
    pub(super) fn begin(&self) {
        let mut table = self.table();
        table.is_told = false;
        table.names.values_mut().for_each(|name| name.stage = Stage::Wanted);
    }

    /// That is the way now. By another one all is of another cluster, or of another namespace: once for each.
    pub(super) fn follow(&self, way: u64) -> Option<News> {
        let mut table = self.table();
        table.turn_to(way);
        mem::take(&mut table.is_other).then_some(News::All)
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
            Ear { path: path.clone(), number: *ears, place: name.place.clone(), from: name.from.clone() }
        };
        wanted.map(begin).collect()
    }

    /// Once, when all are listened to that can be.
    pub(super) fn settled(&self) -> Option<News> {
        let mut table = self.table();
        let is_open = table.names.values().any(|name| name.stage == Stage::Open);
        let is_over = table.names.values().all(|it| matches!(it.stage, Stage::Open | Stage::Deaf));
        if table.is_told || !is_open || !is_over {
            return None;
        }
        table.is_told = true;
        // What is of no moment of ours is told of by nobody, and keeps its ordinary time.
        Some(News::Listening { since: 0 })
    }

    pub(super) fn has(&self, path: &str, ear: u64) -> bool {
        self.table().names.get(path).is_some_and(|name| name.ear == ear)
    }

    pub(super) fn open(&self, path: &str, ear: u64) {
        self.with(path, ear, |name, _| name.stage = Stage::Open);
    }

    /// What has happened up to this state was told.
    pub(super) fn go_on_from(&self, path: &str, ear: u64, from: Option<String>) {
        self.with(path, ear, |name, _| name.from = from);
    }

    pub(super) fn changed(&self, path: &str, ear: u64, state: &str) -> Option<News> {
        self.with(path, ear, |name, moment| {
            name.told = state.to_owned();
            news(path, moment)
        })
    }

    /// Its changes are not told for now: news if they were.
    pub(super) fn deafen(&self, path: &str, ear: u64) -> Option<News> {
        self.with(path, ear, |name, moment| {
            let was_deaf = mem::replace(&mut name.stage, Stage::Deaf) == Stage::Deaf;
            (!was_deaf).then(|| news(path, moment))
        })
        .flatten()
    }

    /// It was looked at, and found so: that is what readers have, or a change.
    pub(super) fn found(&self, path: &str, ear: u64, state: &str) -> Option<News> {
        self.with(path, ear, |name, moment| (name.answered != state).then(|| news(path, moment))).flatten()
    }

    /// The same of an object that is listened to: one that nobody was told of has been missed, and it has to be
    /// begun with anew.
    pub(super) fn confirmed(&self, path: &str, ear: u64, state: &str) -> Option<News> {
        let told = self.with(path, ear, |name, moment| {
            if name.told == state || name.answered == state || name.stage != Stage::Open {
                return None;
            }
            (name.stage, name.from, name.told) = (Stage::Wanted, None, state.to_owned());
            Some(news(path, moment))
        });
        let told = told.flatten();
        if told.is_some() {
            self.wake.notify_one();
        }
        told
    }

    /// One of those that are listened to, each in its turn.
    pub(super) fn next(&self) -> Option<Ear> {
        let mut table = self.table();
        let probed = table.probed;
        let open = table.names.iter().filter(|(_, name)| name.stage == Stage::Open);
        let turn = |ear: u64| (ear <= probed, ear);
        let (path, name) = open.min_by_key(|(_, name)| turn(name.ear))?;
        let ear = Ear { path: path.clone(), number: name.ear, place: name.place.clone(), from: None };
        table.probed = ear.number;
        Some(ear)
    }

    fn with<T>(&self, path: &str, ear: u64, change: impl FnOnce(&mut Name, &mut u64) -> T) -> Option<T> {
        let mut table = self.table();
        let Table { names, moment, .. } = &mut *table;
        let name = names.get_mut(path).filter(|name| name.ear == ear)?;
        Some(change(name, moment))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().even_poisoned()
    }
}

fn news(path: &str, moment: &mut u64) -> News {
    *moment += 1;
    News::Changed { paths: vec![path.to_owned()], at: *moment }
}

impl Troubles {
    pub(super) fn pause(&self) -> Duration {
        let doubled = self.0.checked_sub(1).map(|times| PAUSE * 2_u32.saturating_pow(times.min(8)));
        doubled.unwrap_or_default().min(LONGEST_PAUSE)
    }

    /// One has ended that had begun, so long before.
    pub(super) fn note(&mut self, lasted: Duration) {
        self.0 = if lasted < SOON { self.0 + 1 } else { 0 };
    }
}

impl Table {
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

    fn has_room(&mut self, now: Uptime) -> bool {
        if self.names.len() < MOST {
            return true;
        }
        let oldest = self.names.iter().min_by_key(|(_, name)| name.asked);
        let idle = oldest.filter(|(_, name)| now.since(name.asked) >= IDLE).map(|(path, _)| path.clone());
        idle.is_some_and(|path| self.names.remove(&path).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::place::Kind;
    use super::*;

    fn place() -> Place {
        Place { kind: Kind::Secret, namespace: "n".to_owned(), name: "a".to_owned() }
    }

    fn changed(at: u64) -> Option<News> {
        Some(News::Changed { paths: vec!["a".to_owned()], at })
    }

    /// Listens to `a`, which readers have at the state `1`.
    fn listening() -> (Heard, u64) {
        let heard = Heard::default();
        assert_eq!(heard.note("a", &place(), "1", (1, heard.moment())), 1, "a watch will begin there");
        heard.begin();
        let ear = heard.wanted().remove(0);
        assert!(ear.from.as_deref() == Some("1") && heard.wanted().is_empty() && heard.settled().is_none());
        heard.open("a", ear.number);
        assert_eq!(heard.settled(), Some(News::Listening { since: 0 }));
        assert_eq!(heard.settled(), None, "once");
        (heard, ear.number)
    }

    #[test]
    fn a_change_is_newer_than_what_was_asked_before_it() {
        let (heard, ear) = listening();
        let began = heard.moment();
        assert_eq!(heard.changed("a", ear, "2"), changed(2));
        assert_eq!(heard.note("a", &place(), "1", (1, began)), 1, "older than the change");
        assert_eq!(heard.note("a", &place(), "2", (1, heard.moment())), 2);
        assert_eq!(heard.changed("a", ear + 1, "3"), None, "nobody's ear");
    }

    #[test]
    fn what_comes_later_or_is_not_told_of_is_not_certain() {
        let (heard, ear) = listening();
        assert_eq!(heard.note("b", &place(), "1", (1, heard.moment())), 0, "nobody listens yet");
        let other = heard.wanted().remove(0);
        heard.open("b", other.number);
        assert_eq!(heard.note("b", &place(), "1", (1, heard.moment())), 1);
        assert_eq!(heard.deafen("a", ear), changed(2));
        assert_eq!(heard.note("a", &place(), "1", (1, heard.moment())), 0);
        assert!(heard.wanted().is_empty());
        assert_eq!(heard.note("a", &place(), "2", (1, heard.moment())), 0);
        let again = heard.wanted().remove(0);
        assert_eq!(again.from.as_deref(), Some("2"), "from its new state on it may be told of");
        heard.open("a", again.number);
        assert_eq!(heard.note("a", &place(), "2", (1, heard.moment())), 2);
        assert_eq!(
            heard.note("none", &place(), "", (1, heard.moment())),
            0,
            "what is not there is not waited for"
        );
    }

    #[test]
    fn what_was_missed_is_found() {
        let (heard, ear) = listening();
        assert_eq!(heard.confirmed("a", ear, "1"), None);
        heard.changed("a", ear, "2");
        assert_eq!(heard.confirmed("a", ear, "2"), None, "it was told, and nobody has asked since");
        assert_eq!(heard.confirmed("a", ear, "3"), changed(3));
        assert!(heard.wanted().remove(0).from.is_none(), "it is begun with anew");
    }

    #[test]
    fn there_are_no_more_than_so_many() {
        let heard = Heard::default();
        for number in 0..MOST {
            assert_eq!(heard.note(&number.to_string(), &place(), "1", (1, 1)), 1);
        }
        assert_eq!(heard.note("one more", &place(), "1", (1, 1)), 0);
        heard.table().names.get_mut("7").unwrap().asked = Uptime::ago(IDLE);
        assert_eq!(heard.note("one more", &place(), "1", (1, 1)), 1);
        assert!(!heard.table().names.contains_key("7") && heard.table().names.len() == MOST);
    }

    #[test]
    fn each_has_its_turn() {
        let heard = Heard::default();
        for path in ["a", "b", "c"] {
            heard.note(path, &place(), "1", (1, 1));
        }
        heard.wanted().iter().for_each(|ear| heard.open(&ear.path, ear.number));
        let mut seen: Vec<_> = (0..3).map(|_| heard.next().unwrap().path).collect();
        seen.sort();
        assert_eq!(seen, ["a", "b", "c"]);
    }

    #[test]
    fn by_another_way_all_is_another() {
        let (heard, ear) = listening();
        assert_eq!(heard.follow(1), None, "the control");
        heard.changed("a", ear, "2");
        // The watch may have ended before: whoever asks finds the new way.
        assert_eq!(heard.note("a", &place(), "7", (2, heard.moment())), 2);
        assert!(!heard.has("a", ear), "nobody goes on from where the other one was");
        assert_eq!(heard.note("a", &place(), "2", (1, heard.moment())), 0, "it was asked the other one");
        heard.begin();
        assert_eq!(heard.follow(2), Some(News::All), "what readers have is of the other one");
        assert_eq!(heard.follow(2), None, "once");
        let again = heard.wanted().remove(0);
        assert_eq!(again.from.as_deref(), Some("7"));
        heard.open("a", again.number);
        assert_eq!(heard.follow(3), Some(News::All));
        assert!(!heard.has("a", again.number) && heard.wanted().is_empty());
    }

    #[test]
    fn who_stays_deaf_is_no_news() {
        let (heard, ear) = listening();
        assert_eq!(heard.deafen("a", ear), changed(2));
        assert_eq!(heard.deafen("a", ear), None);
        heard.open("a", ear);
        assert_eq!(heard.deafen("a", ear), changed(3), "the control");
    }

    #[test]
    fn watches_that_end_soon_wait_longer_and_longer() {
        let mut troubles = Troubles::default();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            pauses.push(troubles.pause().as_millis());
            troubles.note(Duration::from_secs(20));
        }
        assert_eq!(pauses, [0, 250, 500, 1000, 2000, 4000, 8000, 16000, 30000]);
        troubles.note(SOON);
        assert_eq!(troubles.pause(), Duration::ZERO);
    }
}
