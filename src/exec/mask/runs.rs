//! How far a text agrees with a pattern, told without comparing each byte anew at each place: where
//! both repeat what they begin with, the lengths of these runs tell it. Else a text of one sign would
//! cost the length of a pattern that begins with it, byte for byte. Pure.

use zeroize::Zeroizing;

use super::LEAST;

/// The beginning of a pattern that repeats itself: each of its first `length` bytes is that of `period`
/// bytes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    period: usize,
    length: usize,
}

/// Of a pattern, from short periods to long ones; most have none.
pub(super) fn of(pattern: &[u8]) -> Box<[Run]> {
    let mut runs = Vec::new();
    // Places of a text where it begins are apart from each other.
    if pattern[1..].windows(LEAST).any(|it| it == &pattern[..LEAST]) {
        let mut longest = 0;
        for (period, &more) in overlaps(pattern).iter().enumerate().skip(1) {
            if period + more > longest && more >= period.max(LEAST) {
                longest = period + more;
                runs.push(Run { period, length: longest });
            }
        }
    }
    runs.into()
}

/// How many bytes from each place on are those of its beginning (the Z algorithm).
fn overlaps(pattern: &[u8]) -> Zeroizing<Vec<usize>> {
    let mut all = Zeroizing::new(vec![0; pattern.len()]);
    let (mut from, mut to) = (0, 0);
    for at in 1..pattern.len() {
        let known = if at < to { all[at - from].min(to - at) } else { 0 };
        all[at] = known + agreement(&pattern[at + known..], &pattern[known..]);
        if at + all[at] > to {
            (from, to) = (at, at + all[at]);
        }
    }
    all
}

/// Runs that were met in a text.
#[derive(Default)]
pub(super) struct Met(Vec<Stretch>);

/// From `from` on each byte is that of `period` bytes before, up to `to`.
#[derive(Clone, Copy)]
struct Stretch {
    period: usize,
    from: usize,
    to: usize,
}

/// Of as many periods the last one is known.
const MOST: usize = 16;

impl Met {
    /// How many bytes agree, from these places on; told of so many at most.
    pub(super) fn agreement(
        &mut self,
        (text, mut place): (&[u8], usize),
        (pattern, mut depth): (&[u8], usize),
        runs: &[Run],
        most: usize,
    ) -> usize {
        let start = place;
        for run in runs {
            if depth + run.period >= run.length {
                continue;
            }
            let first = agreement(&text[place..], &pattern[depth..depth + run.period]);
            if first < run.period {
                return (place - start + first).min(most);
            }
            let [ours, theirs] = [self.end(text, place, run.period) - place, run.length - depth];
            (place, depth) = (place + ours.min(theirs), depth + ours.min(theirs));
            if ours != theirs || place - start >= most {
                return (place - start).min(most);
            }
        }
        let left = (start + most - place).min(text.len() - place);
        place - start + agreement(&text[place..place + left], &pattern[depth..])
    }

    /// How far the text goes on with what it has here.
    fn end(&mut self, text: &[u8], place: usize, period: usize) -> usize {
        let known = self.0.iter().position(|it| it.period == period);
        if let Some(Stretch { from, to, .. }) = known.map(|known| self.0[known])
            && (from..to).contains(&place)
            && place + period <= to
        {
            return to;
        }
        let to = place + period + agreement(&text[place + period..], &text[place..]);
        known.map(|known| self.0.remove(known));
        self.0.truncate(MOST - 1);
        self.0.insert(0, Stretch { period, from: place, to });
        to
    }
}

/// How many bytes both begin with.
fn agreement(one: &[u8], other: &[u8]) -> usize {
    let agreed = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    #[cfg(test)]
    COMPARED.set(COMPARED.get() + agreed + 1);
    agreed
}

#[cfg(test)]
thread_local! {
    /// Bytes, by this thread.
    pub(super) static COMPARED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_repeats_is_known() {
        let runs =
            |text: &str| of(text.as_bytes()).iter().map(|it| (it.period, it.length)).collect::<Vec<_>>();
        assert_eq!(runs("hunter2-and-more"), []);
        assert_eq!(runs("aaaaaaaaX"), [(1, 8)]);
        assert_eq!(runs("abcdabcdabcX"), [(4, 11)]);
        assert_eq!(runs("aaaaaaaaXaaaaaaaaXaaaaaaaaXY"), [(1, 8), (9, 27)]);
    }

    proptest! {
        /// Of few letters, so that much repeats.
        #[test]
        fn it_tells_what_comparing_tells(
            unit in proptest::collection::vec(b'a'..=b'b', 1..6),
            pattern in proptest::collection::vec(b'a'..=b'b', 4..12),
            text in proptest::collection::vec(b'a'..=b'b', 1..60),
            times in 1usize..12,
            most in 1usize..100,
        ) {
            let pattern = [unit.repeat(times), pattern, unit.repeat(times)].concat();
            let text = [text.clone(), unit.repeat(20), pattern.clone(), unit.repeat(9), text].concat();
            let (runs, mut met) = (of(&pattern), Met::default());
            for place in 0..text.len() {
                for depth in 0..pattern.len() {
                    let told = met.agreement((&text, place), (&pattern, depth), &runs, most);
                    prop_assert_eq!(told, agreement(&text[place..], &pattern[depth..]).min(most));
                }
            }
        }
    }
}
