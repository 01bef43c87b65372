//! What each thread did last, for a moment: the kernel sends an open on by itself after one ESTALE,
//! and only after one. Uses std only.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::NodeId;

/// What a thread did last. An OPEN after ESTALE without a LOOKUP between has no path to look up;
/// one after ESTALE and LOOKUP is as of that LOOKUP, since it would not be repeated once more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Looked(NodeId),
    LookedAgain,
    Refused(NodeId),
    /// The process before may have seen it, and refused an open of it.
    Unseen,
}

#[derive(Default)]
pub(super) struct Steps {
    /// With the moment from which on it does not count any more.
    last: HashMap<u32, (Step, Instant)>,
    /// When another process's threads were taken over.
    resumed: Option<Instant>,
}

const STEP_AGE: Duration = Duration::from_secs(1);

impl Steps {
    pub(super) fn resume(&mut self, now: Instant) {
        self.resumed = Some(now);
    }

    pub(super) fn looked(&mut self, id: NodeId, thread: u32, now: Instant) {
        // A node that changed costs the kernel a second LOOKUP for the same open.
        let again =
            matches!(self.get(thread, now), Some(Step::Refused(_) | Step::LookedAgain | Step::Unseen));
        let step = if again { Step::LookedAgain } else { Step::Looked(id) };
        self.last.insert(thread, (step, now + STEP_AGE));
    }

    /// It waits for a LOOKUP: what it did before that does not grow old meanwhile.
    pub(super) fn looking(&mut self, thread: u32, time: Duration, now: Instant) {
        if let Some(step) = self.get(thread, now).filter(|step| !matches!(step, Step::Looked(_))) {
            self.last.insert(thread, (step, now + time + STEP_AGE));
        }
    }

    pub(super) fn refused(&mut self, id: NodeId, thread: u32) {
        self.last.insert(thread, (Step::Refused(id), Instant::now() + STEP_AGE));
    }

    pub(super) fn has(&self, thread: u32) -> bool {
        self.last.contains_key(&thread)
    }

    /// What this thread did just before, once.
    pub(super) fn take(&mut self, thread: u32) -> Option<Step> {
        let step = self.get(thread, Instant::now());
        self.last.remove(&thread);
        step
    }

    fn get(&self, thread: u32, now: Instant) -> Option<Step> {
        let is_young = |at: Instant| now.saturating_duration_since(at) < STEP_AGE;
        match self.last.get(&thread) {
            Some((step, end)) => (now < *end).then_some(*step),
            None => self.resumed.is_some_and(is_young).then_some(Step::Unseen),
        }
    }

    pub(super) fn forget_old(&mut self, now: Instant) {
        self.last.retain(|_, (_, end)| now < *end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel sends an open on once only, however long the LOOKUP between took.
    #[test]
    fn a_refusal_does_not_grow_old_while_its_thread_waits_for_a_lookup() {
        for is_known_to_wait in [true, false] {
            let (mut steps, thread, start) = (Steps::default(), 7, Instant::now());
            steps.refused(1, thread);
            if is_known_to_wait {
                steps.looking(thread, Duration::from_secs(30), start);
            }
            let late = start + Duration::from_secs(20);
            steps.forget_old(late);
            steps.looked(2, thread, late);
            let step = steps.get(thread, late);
            assert!(step == Some(if is_known_to_wait { Step::LookedAgain } else { Step::Looked(2) }));
            assert!(steps.get(thread, late + STEP_AGE).is_none());
        }
    }
}
