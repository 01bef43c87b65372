//! What is known of each secret of a provider: the answer as long as it may be kept, and after
//! that only enough to tell whether it has changed. Pure bookkeeping; moments are arguments.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::watch;

use super::Need;
use super::certain::Watched;
use super::copies::Term;
use super::flight::Landing;
use crate::config::Keeping;
use crate::provider::AsOf;
use crate::secret::{Absent, Answer, SecretKey, SecretVersion};
use crate::sys::leftover;
use crate::sys::uptime::Uptime;

/// What a reader is told.
#[derive(Clone)]
pub(super) struct Told {
    /// Unless only changes are asked for.
    pub(super) answer: Option<Answer>,
    /// The moment of its last change.
    pub(super) changed: u64,
    /// When the provider has said so last.
    pub(super) checked: Uptime,
    /// How long that is good.
    pub(super) until: Uptime,
    /// It is good no longer than that, whoever waits for it.
    pub(super) end: Option<Uptime>,
    /// It is too old, and the provider does not answer.
    pub(super) is_stale: bool,
    /// It is a copy of the store's.
    pub(super) is_copy: bool,
    /// As in [`AsOf`].
    pub(super) is_lent: bool,
}

pub(super) struct Table {
    pub(super) keeping: Keeping,
    pub(super) records: HashMap<SecretKey, Box<Record>>,
    /// The secrets whose answers are kept, by their last use.
    uses: BTreeMap<u64, SecretKey>,
    pub(super) flights: HashMap<SecretKey, Flight>,
    /// What was refused lately, and when that was found out.
    pub(super) refused: HashMap<SecretKey, Uptime>,
    /// Counts answers that were not the ones that were known.
    pub(super) moment: u64,
    /// Counts those of them that took the place of a known one, and what a watch tells.
    pub(super) changes: u64,
    /// The watch, as long as it listens.
    pub(super) watched: Option<Watched>,
    /// What has changed up to this moment of the provider's own was told, if it was told of at all.
    pub(super) told: u64,
    used: u64,
    /// The size of all answers that are kept.
    size: usize,
    /// Answers that had to go for others.
    pushed_out: u64,
    /// How many were told to be old ones, and since when.
    pub(super) lament: (Uptime, u32),
}

pub(super) struct Record {
    pub(super) answer: Option<Answer>,
    pub(super) absent: Option<Absent>,
    pub(super) print: [u8; 32],
    pub(super) changed: u64,
    /// When it was asked for, and when the answer was known to be right.
    pub(super) asked: Uptime,
    pub(super) checked: Uptime,
    /// The provider's own.
    pub(super) moment: u64,
    /// From when on it has to be asked for anew, if the provider has said so.
    pub(super) limit: Option<Uptime>,
    pub(super) is_lent: bool,
    /// It has changed since, or may have.
    pub(super) is_doubted: bool,
    pub(super) size: usize,
    pub(super) last_use: u64,
    pub(super) is_told_stale: bool,
    /// When a copy of it was noted for the store.
    pub(super) copied: Option<Uptime>,
    /// It is a copy of the store's, and may be served.
    pub(super) copy: Option<Term>,
}

/// A question that is under way.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) began: Uptime,
    /// An answer of an earlier moment than this one is doubted.
    pub(super) changed: u64,
    pub(super) landing: watch::Receiver<Option<Landing>>,
}

/// Records without an answer, beyond which they are forgotten. Then a secret is taken for changed.
const MOST_RECORDS: usize = 100_000;
/// What an answer takes beside its values.
const OVERHEAD: usize = 256;

impl Table {
    pub(super) fn new(keeping: Keeping) -> Self {
        Self {
            keeping,
            records: HashMap::new(),
            uses: BTreeMap::new(),
            flights: HashMap::new(),
            refused: HashMap::new(),
            moment: 0,
            changes: 0,
            watched: None,
            told: 0,
            used: 0,
            size: 0,
            pushed_out: 0,
            lament: (Uptime::START, 0),
        }
    }

    /// What is known and good enough.
    pub(super) fn fresh(&mut self, key: &SecretKey, what: Need, now: Uptime) -> Option<Told> {
        let record = self.records.get(key)?;
        let until = self.until(key, record);
        let suffices = what == Need::Changes || record.answer.is_some();
        if record.is_doubted || now >= until || !suffices || what == Need::Anew {
            return None;
        }
        self.touch(key);
        Some(self.records[key].told(until))
    }

    /// What may be served if the provider does not answer: never that there is none.
    pub(super) fn old(&mut self, key: &SecretKey, what: Need, now: Uptime) -> Option<Told> {
        let record = self.records.get(key)?;
        if self.keeping.max_stale.is_none() && record.copy.is_none() {
            return None;
        }
        let until = self.until(key, record);
        let suffices = what == Need::Changes || record.answer.is_some();
        let may_be = record.absent.is_none() && now < self.longest(key, record);
        if !(may_be && suffices) {
            return None;
        }
        self.touch(key);
        if let Some(copy) = self.records.get_mut(key).and_then(|record| record.copy.as_mut()) {
            copy.use_at(now);
        }
        Some(self.records[key].told(until))
    }

    fn until(&self, key: &SecretKey, record: &Record) -> Uptime {
        let time = self.keeping.time_of(key, &record.absent);
        let kept = match self.keeping.keeps(key) {
            true => self.good_until(record, time),
            false => record.checked + time,
        };
        record.limit.map_or(kept, |limit| limit.min(kept))
    }

    fn longest(&self, key: &SecretKey, record: &Record) -> Uptime {
        if let Some(copy) = record.copy {
            return copy.end.min(copy.held);
        }
        let until = self.until(key, record);
        match record.limit {
            // It is its provider's to say what of this may still be served.
            Some(_) => until,
            None => until + self.keeping.stale_time_of(key, &record.absent),
        }
    }

    /// The provider has answered. `changed`: a moment at which it was heard of a change meanwhile.
    pub(super) fn land(
        &mut self,
        key: &SecretKey,
        answer: &Answer,
        as_of: &AsOf,
        changed: u64,
        now: Uptime,
    ) -> Told {
        let print = leftover::wiped(|| print_of(answer));
        self.refused.remove(key);
        let known = self.records.get(key).map(|it| (it.print == print, it.changed, it.copied));
        let copied = known.and_then(|(is_same, _, copied)| copied.filter(|_| is_same));
        let last_change = match known {
            Some((true, last, _)) => last,
            _ => {
                self.moment += 1;
                self.changes += u64::from(known.is_some());
                self.moment
            }
        };
        self.forget_answer(key);
        let record = Record {
            answer: None,
            absent: answer.as_ref().err().cloned(),
            print,
            changed: last_change,
            asked: now,
            checked: now,
            moment: as_of.moment,
            limit: as_of.until,
            is_lent: as_of.is_lent,
            is_doubted: as_of.moment < changed,
            size: 0,
            last_use: 0,
            is_told_stale: false,
            copied,
            copy: None,
        };
        let until = if record.is_doubted { now } else { self.until(key, &record) };
        let told = Told { answer: Some(answer.clone()), ..record.told(until) };
        self.records.insert(key.clone(), Box::new(record));
        self.keep(key, answer);
        told
    }

    /// Since when nobody has confirmed the oldest of the answers that are served as old ones.
    pub(super) fn stale_since(&self) -> Option<Uptime> {
        let served = self.records.values().filter(|record| record.is_told_stale && record.answer.is_some());
        served.map(|record| record.checked).min()
    }

    /// Keeps the answer, in place of those that were not used for longest.
    pub(super) fn keep(&mut self, key: &SecretKey, answer: &Answer) {
        let size = OVERHEAD + answer.as_ref().map_or(0, size_of);
        if !self.keeping.keeps(key) || size > self.keeping.size {
            return;
        }
        while self.size + size > self.keeping.size
            && let Some((_, oldest)) = self.uses.first_key_value()
        {
            let oldest = oldest.clone();
            self.forget_answer(&oldest);
            self.pushed_out += 1;
        }
        self.used += 1;
        let Some(record) = self.records.get_mut(key) else { return };
        (record.answer, record.size, record.last_use) = (Some(answer.clone()), size, self.used);
        self.uses.insert(self.used, key.clone());
        self.size += size;
    }

    fn touch(&mut self, key: &SecretKey) {
        let Some(record) = self.records.get_mut(key).filter(|record| record.answer.is_some()) else { return };
        self.uses.remove(&record.last_use);
        self.used += 1;
        record.last_use = self.used;
        self.uses.insert(self.used, key.clone());
    }

    /// Lets go of an answer. Its values are wiped with the last snapshot or reader that has them.
    pub(super) fn forget_answer(&mut self, key: &SecretKey) -> Option<Answer> {
        let record = self.records.get_mut(key)?;
        let answer = record.answer.take()?;
        self.uses.remove(&record.last_use);
        self.size -= record.size;
        Some(answer)
    }

    /// Lets go of all answers that are too old to be served, for the caller to drop.
    pub(super) fn sweep(&mut self, now: Uptime) -> Vec<Answer> {
        self.forget_refused(now);
        let is_over =
            |key: &SecretKey, record: &Record| record.answer.is_some() && now >= self.longest(key, record);
        let over = self.records.iter().filter(|(key, record)| is_over(key, record));
        let over: Vec<_> = over.map(|(key, _)| key.clone()).collect();
        let wiped = over.iter().filter_map(|key| self.forget_answer(key)).collect();
        if self.records.len() > MOST_RECORDS {
            self.records.retain(|_, record| record.answer.is_some());
        }
        wiped
    }

    /// Whether none of these is known to have changed after that moment.
    pub(super) fn knows_all(&self, keys: &[SecretKey], since: u64) -> bool {
        keys.iter().all(|key| self.records.get(key).is_some_and(|record| record.changed <= since))
    }

    pub(super) fn knows_any(&self, keys: &[SecretKey]) -> bool {
        keys.iter().any(|key| self.records.contains_key(key))
    }

    /// The moment of an answer: now, unless there is a newer one already.
    pub(super) fn moment_of(&self, key: &SecretKey, told: &Told) -> u64 {
        let is_last = self.records.get(key).is_some_and(|record| record.changed == told.changed);
        if is_last { self.moment } else { told.changed }
    }

    /// The secrets whose answers are kept, each with the moment of its last change.
    pub(super) fn held(&self) -> Vec<(SecretKey, u64)> {
        let held = self.records.iter().filter(|(_, record)| record.answer.is_some());
        held.map(|(key, record)| (key.clone(), record.changed)).collect()
    }

    pub(super) fn moment(&self) -> u64 {
        self.moment
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn answers(&self) -> usize {
        self.uses.len()
    }

    /// How many had to go since the last call.
    pub(super) fn pushed_out(&mut self) -> u64 {
        std::mem::take(&mut self.pushed_out)
    }
}

impl Told {
    /// How long it is good if it has to last until then.
    pub(super) fn good_for(&self, least: Uptime) -> Uptime {
        let until = self.until.max(least);
        self.end.map_or(until, |end| until.min(end))
    }
}

impl Record {
    pub(super) fn told(&self, until: Uptime) -> Told {
        Told {
            answer: self.answer.clone(),
            changed: self.changed,
            checked: self.checked,
            until,
            end: if self.is_doubted { Some(until) } else { self.limit },
            is_stale: false,
            is_copy: self.copy.is_some(),
            is_lent: self.is_lent,
        }
    }
}

fn size_of(version: &Arc<SecretVersion>) -> usize {
    version.fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// Tells one answer from another, without keeping it.
pub(super) fn print_of(answer: &Answer) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(print_key()).expect("any length is a key");
    match answer {
        Err(absent) => mac.update(absent.to_string().as_bytes()),
        Ok(version) => {
            // Where a provider tells no times, each process has its own.
            let SecretVersion { turned_out, kind, fields, version, expires_at, .. } = &**version;
            let told = format!("{turned_out:?} {kind:?} {version} {expires_at:?}");
            mac.update(told.as_bytes());
            for (name, value) in fields {
                mac.update(format!(" {name} {} ", value.len()).as_bytes());
                mac.update(value.expose());
            }
        }
    }
    mac.finalize().into_bytes().into()
}

/// A key of this process only: a plain hash of a short value could be guessed.
fn print_key() -> &'static [u8; 32] {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    KEY.get_or_init(|| {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the kernel has random bytes");
        key
    })
}
