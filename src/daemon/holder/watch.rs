//! Whether the mounts answer, as a prober sees it from outside: what readiness waits for, what the
//! manager's watchdog is told, and when a worker that is there but does not answer has to go.
//! Uses `probe`.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::probe::{Outcome, Seen};
use super::child::{Launch, NAME, SAME};
use super::tell;
use crate::sys::link::Link;
use crate::sys::ready;

#[derive(Default)]
pub(super) struct Watch {
    prober: Option<Prober>,
    /// By device number.
    probes: BTreeMap<String, Probe>,
    last_round: Option<Instant>,
    /// When the manager hears next that we live, if it wants to.
    next_sign: Option<Instant>,
    /// Whether the present prober is there because the one before was left without an answer.
    is_second: bool,
}

struct Prober {
    child: Child,
    link: Link,
}

/// One mount.
#[derive(Default)]
struct Probe {
    /// Since when an answer is waited for.
    asked: Option<Instant>,
    /// The same, whoever asked.
    silent_since: Option<Instant>,
    answered: Option<Instant>,
    /// How many requests were taken up, and when that was more for the last time.
    ticks: u64,
    ticked: Option<Instant>,
    /// What there was instead of the right answer, which is told once.
    failure: Option<String>,
}

/// Between two probes of a mount.
const PERIOD: Duration = Duration::from_secs(2);
/// A worker that leaves two probers one after the other without an answer, each for this long, is
/// replaced.
const PATIENCE: Duration = Duration::from_secs(4);

impl Launch {
    /// Starts what reads our mounts, in a process group of its own.
    fn start_prober(&self) -> io::Result<Prober> {
        let (ours, theirs) = Link::pair()?;
        let mut command = Command::new(SAME);
        command.arg0(NAME).args(&self.arguments).arg("--probe").stdin(Stdio::from(OwnedFd::from(theirs)));
        command.process_group(0);
        for name in ready::OWN_VARIABLES {
            command.env_remove(name);
        }
        Ok(Prober { child: command.spawn()?, link: ours })
    }
}

impl Probe {
    /// Since then neither the probe nor anything else was answered, if it was asked then: where very
    /// many ask at once, it takes its time, and a new worker would be no faster.
    fn stuck_for(&self, asked: Option<Instant>) -> Duration {
        asked.map_or(Duration::ZERO, |asked| self.ticked.map_or(asked, |it| it.max(asked)).elapsed())
    }

    fn hear_ticks(&mut self, ticks: u64) {
        if ticks != self.ticks {
            (self.ticks, self.ticked) = (ticks, Some(Instant::now()));
        }
    }

    /// Told when it is news.
    fn fails(&mut self, device: &str, failure: Option<String>) {
        if let Some(failure) = failure.as_ref().filter(|it| self.failure.as_ref() != Some(it)) {
            tracing::warn!(device, failure, "a mount cannot be read as it should");
        }
        self.failure = failure;
    }
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { next_sign: ready::watchdog().map(|_| Instant::now()), ..Self::default() }
    }

    pub(super) fn link(&self) -> Option<BorrowedFd<'_>> {
        self.prober.as_ref().map(|prober| prober.link.as_fd())
    }

    /// When the next round is due.
    pub(super) fn due(&self) -> Instant {
        self.last_round.map_or_else(Instant::now, |last| last + PERIOD)
    }

    /// A worker has taken over: all mounts have to prove themselves.
    pub(super) fn begin_anew(&mut self) {
        self.probes.values_mut().for_each(|probe| (probe.answered, probe.failure) = (None, None));
        (self.last_round, self.is_second) = (None, false);
    }

    pub(super) fn sign_due(&self) -> Option<Instant> {
        self.next_sign
    }

    /// Tells the manager that we live, if it is time. Not while a mount gives no answer, whatever we
    /// do about that: if it is of no help, the manager has to begin anew. That nobody can serve is
    /// told all the same, since to begin anew would not help.
    pub(super) fn give_sign_if_due(&mut self, devices: &[String]) {
        if self.next_sign.is_none_or(|next| Instant::now() < next) {
            return;
        }
        self.next_sign = Some(Instant::now() + PERIOD);
        let is_silent = |probe: &Probe| probe.stuck_for(probe.silent_since) >= PERIOD;
        if !devices.iter().filter_map(|device| self.probes.get(device)).any(is_silent) {
            tell("WATCHDOG=1");
        }
    }

    /// Asks for all mounts that are not being read, if it is time.
    pub(super) fn round(&mut self, launch: &Launch, devices: &[String]) {
        if self.last_round.is_some_and(|last| last.elapsed() < PERIOD) {
            return;
        }
        self.last_round = Some(Instant::now());
        self.probes.retain(|device, _| devices.contains(device));
        if self.prober.is_none() {
            match launch.start_prober() {
                Ok(prober) => self.prober = Some(prober),
                Err(error) => tracing::error!(%error, "nobody can look whether the mounts answer"),
            }
        }
        devices.iter().for_each(|device| self.ask(device));
    }

    fn ask(&mut self, device: &str) {
        let Some(prober) = &self.prober else { return };
        let probe = self.probes.entry(device.to_owned()).or_default();
        if probe.asked.is_none() && prober.link.send(device.as_bytes()).is_ok() {
            probe.asked = Some(Instant::now());
            probe.silent_since = probe.silent_since.or(probe.asked);
        }
    }

    /// To be called when the link can be read.
    pub(super) fn hear(&mut self) {
        let Some(prober) = &self.prober else { return };
        let Ok(Some((text, _))) = prober.link.receive() else { return self.end() };
        let Some(Outcome { device, seen }) = Outcome::parse(&text) else { return };
        let Some(probe) = self.probes.get_mut(&device) else { return };
        (probe.asked, probe.silent_since) = (None, None);
        // Of what nobody can look at, nobody waits for an answer.
        if !matches!(seen, Seen::Failure(_)) {
            probe.answered = Some(Instant::now());
        }
        probe.fails(
            &device,
            match seen {
                Seen::Answer => None,
                Seen::Hidden(failure) | Seen::Failure(failure) => Some(failure),
            },
        );
        self.is_second &= self.probes.values().any(|probe| probe.asked.is_some());
    }

    /// Whether all of them have answered the present worker's readers.
    pub(super) fn all_answer(&self, devices: &[String]) -> bool {
        let answers = |device| self.probes.get(device).is_some_and(|it: &Probe| it.answered.is_some());
        devices.iter().all(answers)
    }

    /// What the ledgers say of how many requests were taken up, mount by mount. To be called more
    /// often than `PATIENCE` lasts.
    pub(super) fn hear_ticks(&mut self, ticks: impl Fn(&str) -> Option<u64>) {
        for (device, probe) in &mut self.probes {
            if let Some(ticks) = ticks(device) {
                probe.hear_ticks(ticks);
            }
        }
    }

    /// A mount that has not answered for too long, of a worker that serves since `since`. Any answer
    /// is one; and if there is none, another prober asks again first: it may not be the mount that hangs.
    pub(super) fn overdue(&mut self, since: Instant) -> Option<String> {
        let is_overdue =
            |probe: &Probe| probe.stuck_for(probe.asked.map(|asked| asked.max(since))) >= PATIENCE;
        let (device, _) = self.probes.iter().find(|(_, probe)| is_overdue(probe))?;
        let device = device.clone();
        if self.is_second {
            return Some(device);
        }
        tracing::warn!(device, "a mount gives no answer: another prober asks again");
        self.end();
        (self.last_round, self.is_second) = (None, true);
        None
    }

    /// Ends the prober, which never waits for a mount itself.
    pub(super) fn end(&mut self) {
        if let Some(mut prober) = self.prober.take() {
            let _ = prober.child.kill();
            let _ = prober.child.wait();
        }
        self.probes.values_mut().for_each(|probe| probe.asked = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_requests_up_is_not_stuck() {
        let ago = |millis| Instant::now().checked_sub(Duration::from_millis(millis));
        let mut probe = Probe { asked: ago(5_000), ticks: 7, ..Probe::default() };
        assert!(probe.stuck_for(probe.asked) >= PATIENCE);
        probe.hear_ticks(7);
        assert!(probe.stuck_for(probe.asked) >= PATIENCE, "as many as before");
        probe.hear_ticks(8);
        assert!(probe.stuck_for(probe.asked) < PATIENCE);
        probe.ticked = ago(4_500);
        assert!(probe.stuck_for(probe.asked) >= PATIENCE, "and then no more");
        assert_eq!(probe.stuck_for(None), Duration::ZERO);
    }
}
