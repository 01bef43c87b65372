//! Whether a log is what was written: no line changed, moved, put in or taken out. Only the end can
//! be missing unseen, unless somebody has kept a head. Pure; uses `chain` and `seals`.

use std::collections::BTreeMap;
use std::fmt;

use super::chain::{Head, Record, hash, hex, is_cut};
use super::event::Kind;
use super::file::LONGEST;
use super::seals::{Keys, Seal, Seeds};

/// Reads a log line by line, oldest first.
pub struct Verifier {
    keys: Option<Keys>,
    head: Option<Head>,
    /// That of the line before.
    key: Option<String>,
    /// Of the line that was taken last.
    place: Place,
    /// How many files have begun.
    files: usize,
    records: u64,
    /// Bytes that are no record: the line after them may say why.
    pending: Option<Pending>,
    first: Option<u64>,
    dropped: u64,
    witnesses: BTreeMap<u64, String>,
    findings: Vec<Finding>,
}

/// Lines that are no records, one after the other.
struct Pending {
    /// Of the first one.
    place: Place,
    text: Vec<u8>,
}

impl Pending {
    /// With what follows, unless it is too much already.
    fn and(mut self, text: &[u8]) -> Self {
        if self.text.len() as u64 <= LONGEST {
            self.text.extend_from_slice(text);
        }
        self
    }

    /// A crash leaves no more than the beginning of a line, and that of another.
    fn is_cut(&self) -> bool {
        self.text.len() as u64 <= LONGEST && is_cut(&self.text)
    }
}

/// Where something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which of the files, from 0.
    pub file: usize,
    /// Which of its lines, from 1.
    pub line: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    pub records: u64,
    /// How many of them are sealed with the key that lies beside the log, although there is a store.
    pub beside: u64,
    /// The numbers of the first and the last record.
    pub first: Option<u64>,
    pub last: Option<Head>,
    pub findings: Vec<Finding>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub place: Place,
    pub trouble: Trouble,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A crash has cut the line off, and nothing is wrong but that.
    Torn {
        bytes: u64,
    },
    NoRecord,
    /// Nothing is there, not even what a log begins with.
    Empty,
    /// An unfinished line that was closed is not there any more.
    Untorn,
    Changed {
        seq: u64,
    },
    /// It is not the one that was written after the line before it.
    Unchained {
        seq: u64,
    },
    Missing {
        from: u64,
        to: u64,
    },
    Displaced {
        seq: u64,
        after: u64,
    },
    /// It says a key that none of ours is.
    Key {
        seq: u64,
        id: String,
    },
    Epoch {
        seq: u64,
    },
    /// It is sealed with the key that lies beside the log, after others were with the store's.
    Beside {
        seq: u64,
    },
    /// What a checkpoint says is not what is here.
    Checkpoint {
        seq: u64,
    },
    /// The log ends before what a checkpoint has seen.
    CutOff {
        seq: u64,
    },
}

impl Verifier {
    /// With all keys that may have sealed it. Without any, only the hashes are looked at: who
    /// changes a line can make those anew.
    pub fn new(seeds: Option<impl Into<Seeds>>) -> Self {
        Self {
            keys: seeds.map(|seeds| Keys::of(seeds.into())),
            head: None,
            key: None,
            place: Place::default(),
            files: 0,
            records: 0,
            pending: None,
            first: None,
            dropped: 0,
            witnesses: BTreeMap::new(),
            findings: Vec::new(),
        }
    }

    /// For tests, which have less time.
    #[cfg(test)]
    pub(super) fn within(mut self, steps: u64) -> Self {
        self.keys.iter_mut().for_each(|keys| keys.bound(steps));
        self
    }

    /// Somebody has seen that record `seq` has this hash.
    pub fn witness(&mut self, seq: u64, hash: &str) {
        self.witnesses.insert(seq, hash.to_ascii_lowercase());
    }

    /// The lines that follow are of the next file.
    pub fn begin_file(&mut self) {
        self.end_file();
        self.place = Place { file: self.files, line: 0 };
        self.files += 1;
    }

    /// Whoever begins a log writes a line at once. After a full file a crash can leave an empty one, and
    /// what is missing between others, their numbers tell.
    fn end_file(&mut self) {
        if self.files > 0 && self.place.line == 0 && self.records == 0 {
            self.place.line = 1;
            self.find(Trouble::Empty);
        }
    }

    /// Takes the next line, with its break if it has one.
    pub fn take(&mut self, line: &[u8]) {
        self.place.line += 1;
        let (text, is_ended) = match line.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (line, false),
        };
        match Record::parse(text).filter(|_| is_ended) {
            Some(record) => self.take_record(text, &record),
            None => self.take_torn(text, is_ended),
        }
    }

    fn take_torn(&mut self, text: &[u8], is_ended: bool) {
        let is_record = self.pending.is_none() && Record::parse(text).is_some();
        let pending = match self.pending.take() {
            Some(before) => before.and(b"\n"),
            None => Pending { place: self.place, text: Vec::new() },
        }
        .and(text);
        if is_ended {
            self.pending = Some(pending);
            return;
        }
        let bytes = pending.text.len() as u64;
        let is_harmless = is_record || pending.is_cut();
        let trouble = if is_harmless { Trouble::Torn { bytes } } else { Trouble::NoRecord };
        let place = pending.place;
        self.findings.push(Finding { place, trouble });
    }

    fn take_record(&mut self, line: &[u8], record: &Record) {
        self.records += 1;
        let is_authentic = self.check_seal(line, record);
        self.check_torn(record, is_authentic);
        self.check_place(record, is_authentic);
        let head = record.head(line);
        let witness = self.witnesses.remove(&record.seq);
        if witness.is_some_and(|seen| seen != hex(&head.hash)) {
            self.find(Trouble::Checkpoint { seq: record.seq });
        }
        if is_authentic {
            self.dropped = self.dropped.max(record.event.log.dropped.unwrap_or(0));
        }
        self.first = self.first.or(Some(record.seq));
        self.head = Some(head);
    }

    fn check_seal(&mut self, line: &[u8], record: &Record) -> bool {
        let Some(keys) = &mut self.keys else { return true };
        let seq = record.seq;
        let trouble = match keys.judge(line, record) {
            Seal::Right => return true,
            Seal::Wrong => Trouble::Changed { seq },
            Seal::OfNobody => Trouble::Key { seq, id: record.key.clone() },
            Seal::TooFar => Trouble::Epoch { seq },
            Seal::Beside => Trouble::Beside { seq },
        };
        self.find(trouble);
        false
    }

    /// Unfinished bytes before this record are those that it speaks of.
    fn check_torn(&mut self, record: &Record, is_authentic: bool) {
        let log = &record.event.log;
        let said = (record.event.kind == Kind::LogRecovered).then(|| log.torn.clone()).flatten();
        match (self.pending.take(), said) {
            (None, None) => {}
            (Some(pending), Some(said))
                if is_authentic && said == hex(&hash(&pending.text)) && pending.is_cut() =>
            {
                let trouble = Trouble::Torn { bytes: pending.text.len() as u64 };
                self.findings.push(Finding { place: pending.place, trouble });
            }
            (Some(Pending { place, .. }), _) => {
                self.findings.push(Finding { place, trouble: Trouble::NoRecord })
            }
            (None, Some(_)) => self.find(Trouble::Untorn),
        }
    }

    fn check_place(&mut self, record: &Record, is_authentic: bool) {
        let seq = record.seq;
        // Each key has epochs of its own.
        let is_of_another =
            is_authentic && self.key.replace(record.key.clone()).as_ref() != Some(&record.key);
        let Some(head) = &self.head else { return };
        let trouble = if seq <= head.seq {
            Trouble::Displaced { seq, after: head.seq }
        } else if seq > head.seq + 1 {
            Trouble::Missing { from: head.seq + 1, to: seq - 1 }
        } else if !record.follows(&head.hash) {
            Trouble::Unchained { seq }
        } else if !is_of_another && record.epoch != head.next_epoch(record.time) {
            Trouble::Epoch { seq }
        } else {
            return;
        };
        self.find(trouble);
    }

    fn find(&mut self, trouble: Trouble) {
        self.findings.push(Finding { place: self.place, trouble });
    }

    fn close_pending(&mut self) {
        if let Some(Pending { place, .. }) = self.pending.take() {
            self.findings.push(Finding { place, trouble: Trouble::NoRecord });
        }
    }

    /// The log has ended.
    pub fn finish(mut self) -> Report {
        self.close_pending();
        self.end_file();
        let first = self.first.unwrap_or(1);
        if first > 1 && first > self.dropped.saturating_add(1) {
            let trouble = Trouble::Missing { from: self.dropped + 1, to: first - 1 };
            self.findings.insert(0, Finding { place: Place { file: 0, line: 1 }, trouble });
        }
        for seq in std::mem::take(&mut self.witnesses).into_keys().filter(|seq| *seq >= first) {
            let is_beyond = self.head.as_ref().is_none_or(|head| seq > head.seq);
            self.find(if is_beyond { Trouble::CutOff { seq } } else { Trouble::Checkpoint { seq } });
        }
        let beside = self.keys.as_ref().map_or(0, Keys::beside);
        Report { records: self.records, beside, first: self.first, last: self.head, findings: self.findings }
    }
}

impl Report {
    /// Nothing is wrong; a crash may have cut a line off.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(Finding::is_harmless)
    }
}

impl Finding {
    pub fn is_harmless(&self) -> bool {
        matches!(self.trouble, Trouble::Torn { .. })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torn { bytes } => write!(f, "{bytes} bytes of a line that a crash has cut off"),
            Self::NoRecord => f.write_str("this is no record"),
            Self::Empty => f.write_str("the file is empty: what it began with is gone"),
            Self::Untorn => f.write_str("the unfinished line before this one was taken out"),
            Self::Changed { seq } => write!(f, "record {seq} was changed"),
            Self::Unchained { seq } => write!(f, "record {seq} was not written after the one before it"),
            Self::Missing { from, to } if from == to => write!(f, "record {from} is missing"),
            Self::Missing { from, to } => write!(f, "records {from} to {to} are missing"),
            Self::Displaced { seq, after } => write!(f, "record {seq} comes after record {after}"),
            Self::Key { seq, id } => write!(f, "record {seq} is of a key that is not here ({id})"),
            Self::Epoch { seq } => write!(f, "record {seq} says an epoch that cannot follow"),
            Self::Beside { seq } => {
                write!(
                    f,
                    "record {seq} is sealed with the key that lies beside the log, not with the store's"
                )
            }
            Self::Checkpoint { seq } => write!(f, "record {seq} is not the one of the checkpoint"),
            Self::CutOff { seq } => {
                write!(f, "the log ends before record {seq}, which a checkpoint has seen")
            }
        }
    }
}
