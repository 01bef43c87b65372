//! Who fills the log: each read has a line, so who reads on and on makes the oldest files go sooner.
//! Nobody is held up for it, but it is told. Pure; uses std.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Users that are told apart. Who has written more than this part of it is never forgotten.
const MOST: usize = 1024;
/// A file that takes longer to fill is nobody's flood.
const SOON: Duration = Duration::from_secs(3600);

/// What each user has written to the newest file.
pub(super) struct Shares {
    of: HashMap<u32, u64>,
    all: u64,
    since: Instant,
}

impl Shares {
    pub(super) fn new(now: Instant) -> Self {
        Self { of: HashMap::new(), all: 0, since: now }
    }

    pub(super) fn add(&mut self, uid: u32, bytes: usize) {
        self.all += bytes as u64;
        if self.of.len() >= MOST {
            let least = self.all / MOST as u64;
            self.of.retain(|_, share| *share > least);
        }
        *self.of.entry(uid).or_default() += bytes as u64;
    }

    /// The file is full: who has written most of it within the hour. The next one begins.
    pub(super) fn take(&mut self, size: u64, now: Instant) -> Option<(u32, Duration)> {
        let full = std::mem::replace(self, Self::new(now));
        let (uid, share) = full.of.into_iter().max_by_key(|(_, share)| *share)?;
        let time = now.duration_since(full.since);
        (share > size / 2 && time < SOON).then_some((uid, time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_written_most_of_a_file_is_told_however_many_others_there_are() {
        let now = Instant::now();
        let mut shares = Shares::new(now);
        for number in 0..100_000 {
            shares.add(1_000_000 + number, 10);
            shares.add(7, 20);
        }
        assert!(shares.of.len() <= MOST);
        let later = now + Duration::from_secs(60);
        assert_eq!(shares.take(3_000_000, later), Some((7, Duration::from_secs(60))));
        (0..100).for_each(|uid| shares.add(uid, 30_000));
        assert_eq!(shares.take(3_000_000, later), None, "nobody has written most of it");
        shares.add(7, 3_000_000);
        assert_eq!(shares.take(3_000_000, later + SOON), None, "that has taken its time");
    }
}
