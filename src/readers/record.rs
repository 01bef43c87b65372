//! A reader as it is kept for the next process. What is read back may be anything: what does not
//! fit is none. Uses `ledger` and serde.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Edition, Print, Reading};
use crate::ledger::{self, Kind, Ledger, Record};
use crate::sys::peer::ProcessId;

/// A reading of a process of ours that has ended.
pub(super) struct Kept {
    pub(super) reading: Reading,
    pub(super) record: Record,
}

#[derive(Serialize, Deserialize)]
struct Written {
    path: PathBuf,
    view: String,
    versions: Vec<(String, u64)>,
}

/// `None`: it cannot be kept, and is forgotten when this process ends.
pub(super) fn keep(ledger: &Ledger, reading: &Reading) -> Option<Record> {
    if !ledger.keeps() {
        return None;
    }
    let Reading { process, uid, gid, edition, at, reacted_to } = reading;
    let written = Written {
        path: edition.path.to_path_buf(),
        view: edition.view.to_string(),
        versions: edition.versions.clone(),
    };
    let at = u64::try_from(at.as_millisecond()).unwrap_or_default();
    let head = [process.pid.into(), process.start, (*uid).into(), (*gid).into(), at, edition.file];
    let prints = [edition.print, reacted_to.unwrap_or_default()];
    let words: Vec<u64> = head.into_iter().chain(prints.concat()).collect();
    let bytes = serde_json::to_vec(&written).ok()?;
    ledger.keep(Kind::Reader, ledger.number(), &words, &bytes)
}

impl Kept {
    pub(super) fn of(kept: ledger::Kept) -> Option<Self> {
        let [pid, start, uid, gid, at, file, prints @ ..] = &kept.words[..] else { return None };
        let (print, reacted_to) = (print(prints.get(..4)?)?, print(prints.get(4..)?)?);
        let written: Written = serde_json::from_slice(&kept.bytes).ok()?;
        let edition = Edition {
            file: *file,
            path: written.path.into(),
            view: written.view.into(),
            print,
            versions: written.versions,
        };
        let reading = Reading {
            process: ProcessId { pid: u32::try_from(*pid).ok()?, start: *start },
            uid: u32::try_from(*uid).ok()?,
            gid: u32::try_from(*gid).ok()?,
            edition: Arc::new(edition),
            at: Timestamp::from_millisecond(i64::try_from(*at).ok()?).ok()?,
            reacted_to: Some(reacted_to).filter(|print| *print != Print::default()),
        };
        Some(Self { reading, record: kept.record })
    }
}

fn print(words: &[u64]) -> Option<Print> {
    words.try_into().ok()
}
