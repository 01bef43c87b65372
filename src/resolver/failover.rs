//! One after the other until one answers for all (`strategy: failover`). Who is slow has not failed: the next is asked
//! meanwhile, and what it says waits if it could be older, or is that there is none. Uses the resolver's own questions.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::basis::Ground;
use super::several::{Asked, Several};
use super::together::first;
use super::{ResolveError, Resolver};
use crate::provider::{Batch, ProviderError};
use crate::secret::SecretKey;
use crate::sys::uptime::Uptime;

/// Who waits for a file has its reason within five seconds: what is at hand by then is taken before that.
const READER: Duration = Duration::from_secs(4);
/// So long the others have to give a new answer where an old one is at hand.
const GRACE: Duration = Duration::from_secs(1);

struct Race<'a> {
    several: &'a Several,
    /// As many as were asked, in their order.
    members: Vec<Member>,
    times: Times,
    first_error: Option<ResolveError>,
}

/// Until when.
struct Times {
    /// What is at hand is taken, if it may be.
    at_hand: Instant,
    /// Nobody is waited for.
    end: Instant,
}

struct Member {
    index: usize,
    /// It has answered before: another may be behind it.
    is_known: bool,
    state: State,
}

enum State {
    Asked,
    Failed,
    Told(Box<Ground>, Batch),
}

impl Member {
    fn is_asked(&self) -> bool {
        matches!(self.state, State::Asked)
    }

    /// Since when nobody has confirmed its answer; `None` of a new one.
    fn told(&self) -> Option<(&Batch, Option<Uptime>)> {
        match &self.state {
            State::Told(_, batch) => Some((batch, batch.as_of.stale_since)),
            _ => None,
        }
    }

    fn has_all(&self) -> bool {
        self.told().is_some_and(|(batch, _)| batch.answers.iter().all(Result::is_ok))
    }

    fn is_old(&self) -> bool {
        self.told().is_some_and(|(_, stale_since)| stale_since.is_some())
    }

    fn is_new(&self) -> bool {
        self.told().is_some_and(|(_, stale_since)| stale_since.is_none())
    }
}

impl Race<'_> {
    fn has_new(&self) -> bool {
        self.members.iter().any(Member::is_new)
    }

    /// The place of the one whose answer is taken now. `is_late`: what is at hand has to do; `is_over`: there is
    /// nobody else.
    fn winner(&self, is_late: bool, is_over: bool) -> Option<usize> {
        let may_be = |at: &usize| {
            let mut before = self.members[..*at].iter();
            match self.members[*at].has_all() {
                true => is_late || !before.any(|it| it.is_asked() && it.is_known),
                // That there is none is taken in place of a failure only.
                false => before.all(|it| matches!(it.state, State::Failed)),
            }
        };
        let new = (0..self.members.len()).find(|&at| self.members[at].is_new());
        new.filter(may_be).or_else(|| self.newest_of_the_old().filter(|_| is_late || is_over))
    }

    fn newest_of_the_old(&self) -> Option<usize> {
        let since = |at: &usize| self.members[*at].told().and_then(|(_, stale_since)| stale_since);
        let old = (0..self.members.len()).rev().filter(|&at| self.members[at].is_old());
        old.max_by_key(since)
    }

    /// Until when those are waited for who are asked, if so many are left. All of them together take no longer than
    /// one may.
    fn wait(&self, left: usize) -> Instant {
        let now = Instant::now();
        if left > 0 {
            let parts = u32::try_from(left + 1).unwrap_or(u32::MAX);
            return now + self.times.at_hand.saturating_duration_since(now) / parts;
        }
        match self.members.iter().any(|it| it.is_old() || it.is_new() && it.has_all()) {
            true => self.times.at_hand,
            false => self.times.end,
        }
    }

    fn note(&mut self, index: usize, state: State) {
        if let Some(member) = self.members.iter_mut().find(|it| it.index == index) {
            member.state = state;
            if member.is_old() {
                self.times.at_hand = self.times.at_hand.min(Instant::now() + GRACE);
            }
        }
    }

    fn take(mut self, at: usize, keys: &[SecretKey]) -> Option<Asked> {
        let Member { index, state: State::Told(ground, batch), .. } = self.members.swap_remove(at) else {
            return None;
        };
        let in_place_of = match batch.as_of.stale_since {
            None => self.several.before(index),
            Some(_) => self.several.but(index),
        };
        Some(Asked::of_one(*ground, batch, keys, in_place_of))
    }
}

impl Resolver {
    /// One answers for all keys, so that they are of one source. An old answer is taken only if nobody has a new
    /// one.
    pub(super) async fn ask_until_one_answers(
        &self,
        several: &Several,
        keys: Vec<SecretKey>,
    ) -> Result<Asked, ResolveError> {
        let times = self.times(several);
        let mut race = Race { several, members: Vec::new(), times, first_error: None };
        let (mut asked, mut unasked) = (Vec::new(), several.of.iter().copied());
        loop {
            // Beside a new answer no other is needed.
            let next = if race.has_new() { None } else { unasked.next() };
            if let Some(index) = next {
                let is_known = self.memory(index).is_some_and(|it| it.is_known_for(&keys));
                race.members.push(Member { index, is_known, state: State::Asked });
                asked.push((index, Box::pin(self.ask_one(index, keys.clone()))));
            }
            let left = if race.has_new() { 0 } else { unasked.len() };
            let mut is_late = false;
            match timeout_at(race.wait(left), first(&mut asked)).await {
                Ok(Some((index, outcome))) => self.note(&mut race, index, outcome),
                Ok(None) => {}
                Err(_) if left > 0 => {
                    tracing::warn!(
                        provider = self.slow(&race.members),
                        "failover: it takes long, and the next one is asked, too"
                    );
                }
                Err(_) => is_late = true,
            }
            let is_over = asked.is_empty() && (unasked.len() == 0 || race.has_new());
            if let Some(at) = race.winner(is_late, is_over) {
                self.tell_of(&race, at);
                return race.take(at, &keys).ok_or_else(|| self.nobody(several));
            }
            if is_over || Instant::now() >= race.times.end {
                return Err(self.failed(race, several));
            }
        }
    }

    fn times(&self, several: &Several) -> Times {
        let time = |&index: &usize| Some(self.memory(index)?.time());
        let longest = several.of.iter().filter_map(time).max().unwrap_or(READER);
        let start = Instant::now();
        Times { at_hand: start + longest.min(READER), end: start + longest }
    }

    fn note(&self, race: &mut Race<'_>, index: usize, outcome: Result<(Ground, Batch), ResolveError>) {
        let state = match outcome {
            Ok((ground, batch)) => State::Told(Box::new(ground), batch),
            Err(error) => {
                tracing::warn!(provider = self.providers[index].name, %error, "failover: the next one is asked");
                race.first_error.get_or_insert(error);
                State::Failed
            }
        };
        race.note(index, state);
    }

    /// Those of these who have not come to anything.
    fn slow(&self, members: &[Member]) -> String {
        let slow = members.iter().filter(|it| it.is_asked()).map(|it| &*self.providers[it.index].name);
        slow.collect::<Vec<_>>().join(", ")
    }

    fn tell_of(&self, race: &Race<'_>, winner: usize) {
        let slow = self.slow(&race.members[..winner]);
        if !slow.is_empty() {
            let provider = &self.providers[race.members[winner].index].name;
            tracing::warn!(provider, slow, "failover: its answer is taken, for who is before it is slow");
        }
    }

    fn failed(&self, race: Race<'_>, several: &Several) -> ResolveError {
        let slow = self.slow(&race.members);
        race.first_error.unwrap_or_else(|| match slow.is_empty() {
            true => self.nobody(several),
            false => ResolveError::Provider {
                provider: slow,
                error: ProviderError::Timeout("it has not answered in time".to_owned()),
            },
        })
    }

    fn nobody(&self, several: &Several) -> ResolveError {
        let known = several.of.iter().map(|&index| self.providers[index].name.clone()).collect();
        ResolveError::NoProvider { name: String::new(), known }
    }
}
