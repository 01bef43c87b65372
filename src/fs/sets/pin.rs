//! For how long a process sees one moment of a set. The rule alone: times are arguments, and what a
//! moment is does not matter. Uses std only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fs::tree::FileId;

/// A change is seen by every process after this time at the latest.
pub(super) const LONGEST: Duration = Duration::from_secs(1);
/// From this age on a pin ends where its process begins to read the set once more: what is read
/// together is not torn apart by the end of a pin that was begun by what was read before.
const SETTLED: Duration = Duration::from_millis(500);

/// Longer than between two opens of one reading.
const PAUSE: Duration = Duration::from_millis(100);
/// So many opens are whole readings, be it of 1, 2, 3, 4, 6 or 12 opens each.
const WHOLE: u32 = 12;

/// One moment of a set, for one process.
pub(super) struct Pin<M> {
    pub(super) moment: Arc<M>,
    began: Instant,
    /// The file that it began with.
    first: FileId,
    last: FileId,
    last_look: Instant,
    /// How often that one was opened.
    opens: u32,
}

impl<M> Pin<M> {
    pub(super) fn begin(moment: Arc<M>, file: FileId, now: Instant) -> Self {
        Self { moment, began: now, first: file, last: file, last_look: now, opens: 0 }
    }

    /// The process looks for a file. No means that the pin is over for it.
    pub(super) fn look(&mut self, file: FileId, now: Instant) -> bool {
        let pause = now.saturating_duration_since(self.last_look);
        let age = self.age(now);
        if age >= LONGEST || (age >= SETTLED && self.begins_anew(file, pause)) {
            return false;
        }
        (self.last, self.last_look) = (file, now);
        true
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// The process has opened a file.
    pub(super) fn opened(&mut self, file: FileId) {
        self.opens += u32::from(file == self.first);
    }

    /// The first file again, after another one or after a pause. Where one file is all that is read,
    /// again and again, a reading may be several opens: OpenSSL opens one with certificate and key twice.
    fn begins_anew(&self, file: FileId, pause: Duration) -> bool {
        let is_whole = self.opens > 0 && self.opens.is_multiple_of(WHOLE);
        file == self.first && (self.last != file || pause >= PAUSE || is_whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERT: FileId = 1;
    const KEY: FileId = 2;

    /// Whether each look, at its millisecond, is still of the moment that the first one began.
    fn looks(looks: &[(FileId, u64)]) -> Vec<bool> {
        let start = Instant::now();
        let mut pin = Pin::begin(Arc::new(()), looks[0].0, start);
        looks[1..].iter().map(|(file, at)| pin.look(*file, start + Duration::from_millis(*at))).collect()
    }

    #[test]
    fn all_files_are_of_one_moment_for_a_while() {
        assert_eq!(looks(&[(CERT, 0), (KEY, 1), (CERT, 2), (CERT, 400), (KEY, 499)]), [true; 4]);
    }

    #[test]
    fn it_is_over_after_a_second() {
        assert_eq!(looks(&[(CERT, 0), (KEY, 999)]), [true]);
        assert_eq!(looks(&[(CERT, 0), (KEY, 1000)]), [false]);
        assert_eq!(looks(&[(CERT, 0), (KEY, 600), (KEY, 999), (KEY, 1000)]), [true, true, false]);
    }

    #[test]
    fn a_pin_that_has_settled_ends_before_the_files_are_read_again_and_not_within() {
        assert_eq!(
            looks(&[(CERT, 0), (KEY, 1), (CERT, 499), (KEY, 501), (CERT, 503)]),
            [true, true, true, false]
        );
        assert_eq!(looks(&[(CERT, 0), (CERT, 499), (KEY, 700)]), [true, true]);
    }

    #[test]
    fn one_file_that_is_read_twice_each_time_is_told_apart_by_pauses() {
        let twice = [(CERT, 0), (CERT, 1), (CERT, 250), (CERT, 251), (CERT, 499), (CERT, 501), (CERT, 750)];
        assert_eq!(looks(&twice), [true, true, true, true, true, false]);
    }

    #[test]
    fn without_pauses_it_is_told_apart_by_how_often_it_was_opened() {
        let start = Instant::now();
        let mut pin = Pin::begin(Arc::new(()), CERT, start);
        let mut opens = 0;
        while pin.look(CERT, start + Duration::from_millis(opens * 7)) {
            pin.opened(CERT);
            opens += 1;
        }
        assert_eq!((opens, opens % 12), (72, 0), "after half a second");
    }
}
