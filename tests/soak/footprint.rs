//! What the daemon's processes need, looked at a few times a second.

use std::fmt;
use std::fs;
use std::thread;
use std::time::Duration;

use super::common::{self, Daemon};

/// From one look to the next, beside what is done between them.
const STEP: Duration = Duration::from_millis(100);
/// By how much one third may differ from the next: it takes minutes until every thread has had its
/// first work and the allocator its rest.
fn slack() -> f64 {
    if common::long() { 0.05 } else { 0.25 }
}

/// Memory in KiB (resident, the ledger's part included) and descriptors.
#[derive(Clone, Copy)]
struct Look {
    memory: f64,
    descriptors: f64,
}

pub(crate) struct Footprint {
    who: &'static str,
    looks: Vec<Look>,
}

pub(crate) struct Footprints([Footprint; 2]);

/// Looks at holder and worker between the calls of `act`, as long as that answers true.
pub(crate) fn watch(daemon: &Daemon, act: impl FnMut(&usize) -> bool) -> Footprints {
    let pids = [daemon.pid(), daemon.worker_pid()];
    let mut footprints = ["holder", "worker"].map(|who| Footprint { who, looks: Vec::new() });
    for _ in (0..).take_while(act) {
        thread::sleep(STEP);
        footprints.iter_mut().zip(pids).for_each(|(it, pid)| it.looks.push(Look::at(pid)));
    }
    Footprints(footprints)
}

impl Look {
    fn at(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let memory = line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a figure");
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count() as f64;
        Self { memory, descriptors }
    }
}

impl Footprints {
    /// What is more in the last third than it was in the middle one.
    pub(crate) fn grown(&self) -> Option<String> {
        self.0.iter().find_map(Footprint::grown)
    }
}

impl Footprint {
    /// The means of each of so many parts of the looks.
    fn means<const PARTS: usize>(&self, of: impl Fn(&Look) -> f64) -> [f64; PARTS] {
        let length = self.looks.len() / PARTS;
        std::array::from_fn(|part| {
            let looks = &self.looks[part * length..][..length];
            looks.iter().map(&of).sum::<f64>() / length as f64
        })
    }

    fn grown(&self) -> Option<String> {
        let judge = |what: &str, of: fn(&Look) -> f64| {
            let [_, middle, last] = self.means(of);
            let is_more = last > middle * (1.0 + slack());
            is_more.then(|| format!("{what} of the {}: from {middle:.0} to {last:.0}", self.who))
        };
        let descriptors = || judge("descriptors", |look| look.descriptors);
        // Each thread that reads the store has some of its own, and on a busy machine they are still beginning after
        // seconds: the long form judges that.
        judge("memory", |look| look.memory).or_else(|| common::long().then(descriptors)?)
    }
}

impl fmt::Display for Footprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.iter().map(Footprint::to_string).collect::<Vec<_>>();
        f.write_str(&lines.join("\n"))
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory: [f64; 9] = self.means(|look| look.memory / 1024.0);
        let descriptors: [f64; 9] = self.means(|look| look.descriptors);
        write!(f, "{}: MiB {memory:.1?}, descriptors {descriptors:.0?}", self.who)
    }
}
