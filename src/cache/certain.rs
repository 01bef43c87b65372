//! What a watch makes of answers: certain as long as it listens, doubted as soon as it tells of a change.
//! Pure bookkeeping of `table`; moments are arguments.

use std::collections::HashSet;
use std::time::Duration;

use super::table::{Record, Table};
use crate::secret::SecretKey;
use crate::sys::uptime::Uptime;

/// Where a watch stands that listens. Moments are the provider's own.
pub(super) struct Watched {
    /// Answers of this moment and later ones are certain.
    since: u64,
    /// When it was heard of last.
    sign: Uptime,
}

/// How long an answer is good at most without being asked for anew, whatever a watch says.
const LONGEST: Duration = Duration::from_secs(600);
/// How long a watch that says nothing is believed: after a sleep of the machine, for instance.
const SILENCE: Duration = Duration::from_secs(45);

impl Watched {
    fn covers(&self, record: &Record) -> bool {
        record.moment > 0 && record.moment >= self.since && !record.is_doubted
    }
}

impl Table {
    /// Until when an answer of this record is as good as a new one, if that is `time` without a watch.
    pub(super) fn good_until(&self, record: &Record, time: Duration) -> Uptime {
        match &self.watched {
            Some(watched) if watched.covers(record) => {
                let confirmed = record.checked.max(watched.sign);
                (record.asked + LONGEST.max(time)).min(confirmed + SILENCE.max(time))
            }
            _ => record.checked + time,
        }
    }

    /// What is known of moments before `since` is of an unknown age.
    pub(super) fn listen(&mut self, since: u64, now: Uptime) {
        self.fall_silent();
        let mut is_news = false;
        for record in self.records.values_mut().filter(|record| record.moment < since) {
            is_news |= !record.is_doubted;
            record.is_doubted = true;
        }
        for flight in self.flights.values_mut() {
            flight.changed = flight.changed.max(since);
        }
        self.watched = Some(Watched { since, sign: now });
        self.told = self.told.max(since);
        self.changes += u64::from(is_news);
    }

    /// Several changes of a secret that nobody has asked for between them are one.
    pub(super) fn doubt(&mut self, paths: &[String], at: u64, now: Uptime) {
        let mut is_news = false;
        let paths: HashSet<&str> = paths.iter().map(String::as_str).collect();
        let is_meant = |path: &String| paths.contains(path.as_str());
        for (key, flight) in self.flights.iter_mut().filter(|(key, _)| is_meant(&key.path)) {
            is_news |= flight.changed == 0 && !self.records.get(key).is_some_and(|record| record.is_doubted);
            flight.changed = flight.changed.max(at);
        }
        let was_certain = self.watched.is_some();
        for (key, record) in self.records.iter_mut().filter(|(_, it)| it.moment < at && !it.is_doubted) {
            if is_meant(&key.path) {
                is_news = true;
                record.is_doubted = true;
                // It was right until now.
                record.checked = if was_certain { now } else { record.checked };
            }
        }
        self.changes += u64::from(is_news);
        self.told = self.told.max(at);
        self.still(now);
    }

    /// Nobody listens to these any more. Their times count from when they were asked for: the signs of the others say nothing
    /// of when they were heard of last.
    pub(super) fn unhear(&mut self, paths: &[String]) {
        let is_meant = |key: &SecretKey| paths.contains(&key.path);
        for (_, record) in self.records.iter_mut().filter(|(key, _)| is_meant(key)) {
            record.moment = 0;
        }
        // What comes of these may be of a moment when somebody did.
        for (_, flight) in self.flights.iter_mut().filter(|(key, _)| is_meant(key)) {
            flight.changed = u64::MAX;
        }
        self.changes += 1;
    }

    pub(super) fn doubt_all(&mut self) {
        self.fall_silent();
        self.told = 0;
        self.records.values_mut().for_each(|record| {
            record.is_doubted = true;
            record.moment = 0;
        });
        self.flights.values_mut().for_each(|flight| flight.changed = u64::MAX);
        self.changes += 1;
    }

    pub(super) fn still(&mut self, now: Uptime) {
        if let Some(watched) = &mut self.watched {
            watched.sign = now;
        }
    }

    /// Nobody listens any more: times count from the last moment that is certain. What was promised to be
    /// good for longer has to be asked about.
    pub(super) fn fall_silent(&mut self) {
        let Some(watched) = self.watched.take() else { return };
        for record in self.records.values_mut().filter(|record| watched.covers(record)) {
            record.checked = record.checked.max(watched.sign);
            record.moment = record.moment.max(self.told);
        }
        self.changes += 1;
    }
}
