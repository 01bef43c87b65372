//! Who is denied the same again and again has one line at once, one that counts a second later, and
//! then ever fewer, down to one each ten seconds: nobody can wash out of the log what others have
//! done, and who is killed takes few of them along. Pure; uses `event`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::event::{Event, Kind, Named, Who};

/// So long it is only counted at first, twice as long then, and so on up to the longest. Who is
/// quiet for that long is forgotten.
pub(super) const FIRST: Duration = Duration::from_secs(1);
pub(super) const LONGEST: Duration = Duration::from_secs(10);
/// What is told apart of one user; all that is more is counted as one.
const OF_ONE: usize = 32;
/// The same of all users.
const OF_ALL: usize = 1024;

#[derive(Default)]
pub(super) struct Denials {
    known: HashMap<Key, Counted>,
    of_users: HashMap<u32, usize>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Of(Box<Of>),
    OfUser(u32),
    OfAll,
}

/// What all have in common that are counted together.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Of {
    uid: u32,
    exe: Option<String>,
    unit: Option<String>,
    user_unit: Option<String>,
    container: Option<String>,
    door: Option<String>,
    file: Option<String>,
    /// Where it is no file that was asked for.
    secrets: Vec<Named>,
    rule: Option<String>,
}

struct Counted {
    /// When there was a line last.
    since: Instant,
    window: Duration,
    /// Those that have no line yet.
    count: u64,
    /// The newest of them.
    last: Option<Event>,
}

impl Denials {
    /// What is to be written now: this, what was counted before it, or nothing yet.
    pub(super) fn take(&mut self, event: Event, now: Instant) -> Vec<Event> {
        if !event.is_denial() {
            let mut due = self.due(now, |key, _| key.is_ended_by(&event));
            due.push(event);
            return due;
        }
        let key = self.key(&event);
        let Some(counted) = self.known.get_mut(&key) else {
            *self.of_users.entry(event.who.uid).or_default() += 1;
            self.known.insert(key.clone(), Counted { since: now, window: FIRST, count: 0, last: None });
            return vec![key.shown(event)];
        };
        counted.count += 1;
        counted.last = Some(key.shown(event));
        if !counted.is_due(now) {
            return Vec::new();
        }
        counted.told(now).into_iter().collect()
    }

    /// What has been counted for long enough. Who was quiet meanwhile is forgotten.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Event> {
        self.known.retain(|_, it| it.count > 0 || now.duration_since(it.since) < LONGEST);
        let due = self.due(now, |_, counted| counted.is_due(now));
        self.of_users.clear();
        for key in self.known.keys() {
            if let Key::Of(of) = key {
                *self.of_users.entry(of.uid).or_default() += 1;
            }
        }
        due
    }

    /// All that was counted.
    pub(super) fn take_all(&mut self, now: Instant) -> Vec<Event> {
        self.due(now, |_, _| true)
    }

    fn due(&mut self, now: Instant, is_wanted: impl Fn(&Key, &Counted) -> bool) -> Vec<Event> {
        let counted = self.known.iter_mut().filter(|(_, counted)| counted.last.is_some());
        let wanted = counted.filter(|(key, counted)| is_wanted(key, counted));
        wanted.flat_map(|(_, counted)| counted.told(now)).collect()
    }

    fn key(&self, event: &Event) -> Key {
        let uid = event.who.uid;
        let key = Key::Of(Box::new(Of::from(event)));
        let of_user = Key::OfUser(uid);
        match () {
            () if self.known.contains_key(&key) => key,
            () if self.known.len() >= OF_ALL && !self.known.contains_key(&of_user) => Key::OfAll,
            () if self.of_users.get(&uid).is_some_and(|count| *count >= OF_ONE) => of_user,
            () => key,
        }
    }
}

impl Key {
    /// Whether what was counted should stand before this.
    fn is_ended_by(&self, event: &Event) -> bool {
        match self {
            _ if event.kind != Kind::Read => true,
            Self::Of(of) => of.uid == event.who.uid && of.door == event.door && of.file == event.file,
            Self::OfUser(_) | Self::OfAll => false,
        }
    }

    /// What is counted together has in common what is said of it.
    fn shown(&self, event: Event) -> Event {
        let Who { uid, gid, pid, .. } = event.who;
        let several = |detail: &str| Event {
            who: Who { uid, gid, pid, ..Who::default() },
            file: None,
            rule: None,
            secrets: Vec::new(),
            denial: None,
            detail: Some(detail.to_owned()),
            ..event.clone()
        };
        match self {
            Self::Of(_) => event,
            Self::OfUser(_) => several("several files or programs"),
            Self::OfAll => several("several files or programs of several users"),
        }
    }
}

impl From<&Event> for Of {
    fn from(event: &Event) -> Self {
        let Event { who, door, file, rule, .. } = event.clone();
        let Who { uid, exe, unit, user_unit, container, .. } = who;
        let secrets = if file.is_none() { event.secrets.clone() } else { Vec::new() };
        Self { uid, exe, unit, user_unit, container, door, file, secrets, rule }
    }
}

impl Counted {
    fn is_due(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= self.window
    }

    /// One line for all of them, if there are any.
    fn told(&mut self, now: Instant) -> Option<Event> {
        let mut event = self.last.take()?;
        (self.since, self.window) = (now, (self.window * 2).min(LONGEST));
        event.log.count = Some(std::mem::take(&mut self.count)).filter(|count| *count > 1);
        Some(event)
    }
}

impl Event {
    /// Nothing was given for it, as the rules say.
    fn is_denial(&self) -> bool {
        let is = |text: &Option<String>, wanted: &str| text.as_deref() == Some(wanted);
        // Who is cut off had the file: each of them is told apart.
        self.kind == Kind::Read && is(&self.verdict, "denied") && !is(&self.outcome, "cut")
    }
}
