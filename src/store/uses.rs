//! How often each secret was given out, and when last: lines in a file of its own beside the rows,
//! added by whoever has read, outside of any commit, and made few again when they are many. Hints: no
//! seal vouches for them, and nothing is refused if they are lost. Uses `sequence` for the lock.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::cipher::Id;
use super::model::Used;
use super::sequence::WriterLock;
use super::{SecretInfo, Store, StoreError};
use crate::poison::EvenPoisoned;
use crate::secret::Uses;

/// Nobody waits longer to add lines.
const PATIENCE: Duration = Duration::from_millis(200);
/// So many lines are left as they are, whatever they add up to.
const FEW: u64 = 1_000;
/// A secret, how often it was used, when last in milliseconds, and what tells a whole line from a torn one.
const LINE: usize = 16 + 8 + 8 + 8;
/// In the first line of a file that was made short: its count is how many lines that left.
const HEAD: Id = [0xff; 16];

/// The secrets that this process gives out, by their ids.
#[derive(Default)]
pub(super) struct Tallies(Mutex<HashMap<Id, Arc<Uses>>>);

impl Tallies {
    /// Where the uses of this secret are counted.
    pub(super) fn of(&self, id: &str) -> Option<Arc<Uses>> {
        let id = parse(id)?;
        Some(self.table().entry(id).or_default().clone())
    }

    /// What is to be written down. Forgets whom nobody holds any more.
    fn take(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        self.table().retain(|id, uses| {
            let counted = uses.take();
            lines.extend(counted.map(|(count, last)| Line { id: *id, count, last }));
            Arc::strong_count(uses) > 1
        });
        lines
    }

    fn give_back(&self, lines: &[Line]) {
        let mut table = self.table();
        lines.iter().for_each(|line| table.entry(line.id).or_default().add(line.count, line.last));
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Id, Arc<Uses>>> {
        self.0.lock().even_poisoned()
    }
}

impl Store {
    /// Writes down what this process has counted. Where that cannot be, it is kept for the next time.
    pub fn flush_uses(&self) -> Result<(), StoreError> {
        let lines = self.tallies.take();
        if lines.is_empty() {
            return Ok(());
        }
        append(&self.layout.uses(), &lines).inspect_err(|_| self.tallies.give_back(&lines))
    }

    /// Tells of each how often it was used. Whoever cannot read that is told nothing of it.
    pub fn tell_uses(&self, secrets: &mut [SecretInfo]) {
        let Ok(totals) = totals(&self.layout.uses()) else { return };
        for secret in secrets {
            let total = parse(&secret.id).and_then(|id| totals.get(&id).copied());
            secret.used = Some(total.unwrap_or_default());
        }
    }

    /// These are gone, and with them what was counted of them.
    pub fn forget_uses(&self, gone: &[SecretInfo]) {
        let path = self.layout.uses();
        let lines: Vec<_> =
            gone.iter().filter_map(|it| parse(&it.id)).map(|id| Line { id, count: 0, last: 0 }).collect();
        if !lines.is_empty() && path.symlink_metadata().is_ok() {
            // They would count for nobody: an id is never given again.
            let _ = append(&path, &lines);
        }
    }
}

/// What was counted at the end is written down, if there is time.
impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.flush_uses();
    }
}

/// A count of 0 says that the secret is gone.
struct Line {
    id: Id,
    count: u64,
    last: i64,
}

impl Line {
    fn of((id, used): (Id, Used)) -> Self {
        Self { id, count: used.count, last: used.last.map_or(0, Timestamp::as_millisecond) }
    }

    fn encode(&self) -> [u8; LINE] {
        let mut line = [0; LINE];
        line[..16].copy_from_slice(&self.id);
        line[16..24].copy_from_slice(&self.count.to_le_bytes());
        line[24..32].copy_from_slice(&self.last.to_le_bytes());
        let check = check(&line[..32]);
        line[32..].copy_from_slice(&check);
        line
    }

    /// `None` for what was torn.
    fn decode(line: &[u8; LINE]) -> Option<Self> {
        let number = |at: usize| line[at..at + 8].try_into().expect("eight bytes");
        let (count, last) = (u64::from_le_bytes(number(16)), i64::from_le_bytes(number(24)));
        (check(&line[..32]) == line[32..]).then(|| Self {
            id: line[..16].try_into().expect("sixteen bytes"),
            count,
            last,
        })
    }
}

fn check(content: &[u8]) -> [u8; 8] {
    Sha256::digest(content)[..8].try_into().expect("a part of 32")
}

fn parse(hex: &str) -> Option<Id> {
    u128::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 32).map(u128::to_be_bytes)
}

/// What one store has counted, for another that holds the same secrets. Hints: without them it is
/// sound, too.
pub(super) fn carry_over(from: &Path, to: &Path) {
    let totals = totals(from).unwrap_or_default();
    let lines: Vec<_> = totals.into_iter().map(Line::of).collect();
    if !lines.is_empty() {
        let _ = append(to, &lines);
    }
}

fn totals(path: &Path) -> Result<HashMap<Id, Used>, StoreError> {
    let content = match read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        content => content.map_err(StoreError::io("read", path))?,
    };
    Ok(add_up(&content))
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut content = Vec::new();
    let file = File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    file.take(1 << 30).read_to_end(&mut content)?;
    Ok(content)
}

fn add_up(content: &[u8]) -> HashMap<Id, Used> {
    let mut totals: HashMap<Id, Used> = HashMap::new();
    for line in content.as_chunks::<LINE>().0.iter().filter_map(Line::decode).filter(|it| it.id != HEAD) {
        match totals.entry(line.id) {
            Entry::Occupied(there) if line.count == 0 => drop(there.remove()),
            Entry::Vacant(_) if line.count == 0 => {}
            entry => {
                let total = entry.or_default();
                total.count = total.count.saturating_add(line.count);
                total.last = total.last.max(Timestamp::from_millisecond(line.last).ok());
            }
        }
    }
    totals
}

/// Adds whole lines behind whole lines. Without a sync: a crash of ours loses nothing that is written.
fn append(path: &Path, lines: &[Line]) -> Result<(), StoreError> {
    let lock = WriterLock::acquire(path, PATIENCE)?;
    let bytes: Vec<u8> = lines.iter().flat_map(Line::encode).collect();
    let written = add(lock.file(), &bytes).map_err(StoreError::io("write", path))?;
    match written > 2 * lines_left(lock.file()).max(FEW) {
        true => shorten(path).map_err(StoreError::io("shorten", path)),
        false => Ok(()),
    }
}

/// Returns how many lines there are then.
fn add(file: &File, bytes: &[u8]) -> std::io::Result<u64> {
    let line = LINE as u64;
    let end = file.metadata()?.len() / line * line;
    // Over what a writer has left there that was ended in the middle.
    file.write_all_at(bytes, end)?;
    Ok((end + bytes.len() as u64) / line)
}

/// How many lines there were when the file was made short last.
fn lines_left(file: &File) -> u64 {
    let mut first = [0; LINE];
    let read = file.read_exact_at(&mut first, 0);
    let head = read.ok().and_then(|()| Line::decode(&first)).filter(|line| line.id == HEAD);
    head.map_or(0, |line| line.count)
}

/// One line for each secret, in a new file. The lock is held on the old one, so that nobody adds to it.
fn shorten(path: &Path) -> std::io::Result<()> {
    let totals = add_up(&read(path)?);
    let lines: Vec<_> = totals.into_iter().map(Line::of).collect();
    let head = Line { id: HEAD, count: lines.len() as u64, last: 0 };
    let content: Vec<u8> = std::iter::once(&head).chain(&lines).flat_map(Line::encode).collect();
    let new: PathBuf = path.with_added_extension("new");
    let _ = std::fs::remove_file(&new);
    let mut options = File::options();
    let mut file =
        options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(&new)?;
    file.write_all(&content).and_then(|()| file.sync_data()).and_then(|()| std::fs::rename(&new, path))
}

#[cfg(test)]
mod tests;
