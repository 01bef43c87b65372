//! One value for who asks for nothing else: judged, looked up, written down, and only then given.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::release::shown_of;
use super::{Broker, Class, Error, Found, Lack};
use crate::audit::{Event, Kind, Who};
use crate::caller::Identity;
use crate::policy::{Access, Action, Door, FileRef, Verdict};
use crate::secret::{Reference, SecretKey};

/// What somebody known asks for, and by which way.
pub struct Wish<'a> {
    pub who: &'a Identity,
    pub door: Door,
    pub file: FileRef<'a>,
    /// Of what was written, one at least; one of them at most has a value.
    pub readings: &'a [Reference],
    pub within: Duration,
    /// In bytes.
    pub at_most: usize,
}

impl<'a> Wish<'a> {
    fn access<'k>(&self, keys: &'k [SecretKey]) -> Access<'k>
    where
        'a: 'k,
    {
        Access { door: self.door, action: Action::Read, file: Some(self.file), keys }
    }
}

impl Broker {
    /// Only what can be written down is given.
    pub async fn hand(&self, wish: &Wish<'_>) -> Result<Result<Found, Lack>, Error> {
        let since = Instant::now();
        let verdict =
            |key: &SecretKey| self.judge(wish.who, &wish.access(std::slice::from_ref(key))).verdict();
        let keys = match timeout(wish.within, self.meant(&[wish.readings], verdict)).await {
            Ok(Ok(keys)) => keys,
            // What cannot be looked at is judged in all its readings, and is missed again below.
            _ => wish.readings.iter().map(|reading| reading.key.clone()).collect(),
        };
        let access = wish.access(&keys);
        let decision = self.judge(wish.who, &access);
        let event = self.event(wish.who, &access, decision.verdict(), decision.rule());
        let grant = match decision.granted() {
            Ok(grant) => grant,
            Err(denial) => {
                self.record(event.outcome(Class::Denied.name(), since))?;
                return Err(Error::Denied(denial));
            }
        };
        let left = wish.within.saturating_sub(since.elapsed());
        let values = timeout(left, self.values_of(&grant, &keys, wish.readings));
        let values = values.await.unwrap_or(Err(Error::Timeout(wish.within)));
        let outcome = values.map(|found| the_one(wish, found).and_then(|found| small_enough(wish, found)));
        let event = match &outcome {
            Ok(Ok((key, found))) => {
                let mut event = event.showing(shown_of(&found.shown(key))).outcome("ok", since);
                self.name_who_answered(&mut event, &found.basis);
                event.stale(self.staleness(&found.basis))
            }
            Ok(Err(_)) => event.outcome(Class::NoKey.name(), since),
            Err(error) => event.outcome(error.class().name(), since),
        };
        self.record(event)?;
        Ok(outcome?.map(|(_, found)| found))
    }

    /// Writes down that somebody was sent away before there was anything to judge.
    pub fn turn_away(&self, who: &Identity, door: Door, asked: &Path, why: &str) {
        let event = Event {
            door: Some(door.name().to_owned()),
            file: Some(asked.to_string_lossy().into_owned()),
            verdict: Some(Verdict::Deny.name().to_owned()),
            outcome: Some(Class::Denied.name().to_owned()),
            ..Event::new(Kind::Read, Who::from(who)).detail(why)
        };
        if let Err(error) = self.record(event) {
            tracing::error!(%error, "who was sent away could not be written down");
        }
    }
}

fn small_enough<T>(wish: &Wish<'_>, (of, found): (T, Found)) -> Result<(T, Found), Lack> {
    match found.value.len() {
        length if length > wish.at_most => Err(Lack {
            problem: format!("{length} bytes are more than the {} that can be given", wish.at_most),
            hint: Some("let it be read from a file of a mount".to_owned()),
            unknown: None,
        }),
        _ => Ok((of, found)),
    }
}

/// The reading that has a value. Two are a mistake that must not be settled by chance.
fn the_one<'a>(wish: &Wish<'a>, outcomes: Vec<Result<Found, Lack>>) -> Result<(&'a SecretKey, Found), Lack> {
    let mut lacks = Vec::new();
    let mut found = Vec::new();
    for (reading, outcome) in wish.readings.iter().zip(outcomes) {
        match outcome {
            Ok(value) => found.push((reading, value)),
            Err(lack) => lacks.push(lack),
        }
    }
    let names: Vec<_> = found.iter().map(|(reading, _)| format!("`{reading}`")).collect();
    match (found.pop(), found.is_empty()) {
        (Some((reading, value)), true) => Ok((&reading.key, value)),
        (Some(_), false) => Err(Lack {
            problem: format!("it can mean {}", names.join(" and ")),
            hint: Some("write NAME#FIELD for a field".to_owned()),
            unknown: None,
        }),
        (None, _) => Err(Lack::most_telling(lacks)),
    }
}
