//! How things are timed: rounds in turn, so that a noisy moment hits all subjects, and of each the
//! least (what it costs) and the median (what one sees).

use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The samples of one subject.
#[derive(Clone, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn of(samples: impl Into<Vec<Duration>>) -> Self {
        let mut samples = Self(samples.into());
        samples.0.sort();
        samples
    }

    pub(crate) fn push(&mut self, sample: Duration) {
        self.0.push(sample);
        self.0.sort();
    }

    pub(crate) fn least(&self) -> Duration {
        self.0[0]
    }

    /// The sample that so many of a hundred do not exceed.
    pub(crate) fn of_hundred(&self, count: usize) -> Duration {
        self.0[(self.0.len() * count / 100).min(self.0.len() - 1)]
    }

    pub(crate) fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }
}

/// Times `times` runs of each subject per round; a sample is a round's mean.
pub(crate) fn in_turn(rounds: usize, times: u32, subjects: &mut [&mut dyn FnMut()]) -> Vec<Samples> {
    let mut samples = vec![Samples::default(); subjects.len()];
    for _ in 0..rounds {
        for (subject, samples) in subjects.iter_mut().zip(&mut samples) {
            let start = Instant::now();
            for _ in 0..times {
                subject();
            }
            samples.push(start.elapsed() / times);
        }
    }
    samples
}

pub(crate) fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

/// Holds this thread, and what it starts meanwhile, on one CPU: waking another one can cost more
/// than all the rest, above all in a virtual machine.
pub(crate) fn on_one_cpu<T>(run: impl FnOnce() -> T) -> T {
    let own = Pid::from_raw(0);
    let all = sched_getaffinity(own).expect("the CPUs");
    let first = (0..CpuSet::count()).find(|cpu| all.is_set(*cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(first.expect("one CPU")).expect("a CPU");
    sched_setaffinity(own, &one).expect("one CPU");
    let result = run();
    sched_setaffinity(own, &all).expect("all CPUs");
    result
}
