//! The main process of the daemon: it holds the descriptors that must outlive a worker, starts
//! workers one after the other, and tells the service manager. One thread, which never waits for
//! anybody but in `poll`: no config, no network, no value. Uses `message`, `sys` and `mountpoint`.

mod burial;
mod child;
mod ending;
mod kept;
mod renew;
mod succession;
mod watch;

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

pub use child::Launch;
pub use kept::{device_of, name_of};

use super::message::{Order, Past, Report};
use crate::clock::{Clock, SystemClock};
use crate::sys::process::Process;
use crate::sys::ready;
use child::{SAME, Said, Stage, Worker};
use kept::Kept;
use watch::Watch;

pub struct Holder {
    launch: Launch,
    /// Where the program was found at the first start, and where another version of it is put.
    program: PathBuf,
    kept: Kept,
    signals: SignalFd,
    /// Who answers the kernel.
    serving: Option<Worker>,
    /// Who will.
    coming: Option<Worker>,
    /// Whether the one that serves was started by a holder that is gone: another shall follow it.
    is_inherited: bool,
    /// Whether the coming one was asked for, to be the program on disk.
    is_upgrade: bool,
    past: Past,
    watch: Watch,
    /// Workers in a row that did not last.
    failures: u32,
    /// When the next one is started if there is none.
    next_start: Instant,
    /// Since when nobody answers.
    silent_since: Instant,
    /// Whether somebody relies on us already: then no worker that cannot serve ends us.
    is_relied_on: bool,
    /// Whether a worker has found all that the config waits for.
    is_provided: bool,
    /// Whether all mounts have answered since.
    is_ready: bool,
}

/// Without a worker for this long, readers get an error and wait no more.
const SILENCE: Duration = Duration::from_secs(10);
/// A worker that is not prepared after this long will never be.
const PREPARATION: Duration = Duration::from_secs(60);

const SIGNALS: [Signal; 6] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    // The unit's `RestartKillSignal=`: the manager stops us only to start us again.
    Signal::SIGUSR1,
    // An upgrade, as nginx has it.
    Signal::SIGUSR2,
];
/// What is kept of the serving worker: what tells of its end, and the link to it.
const WORKER: &str = "worker";
const WORKER_LINK: &str = "worker-link";
/// What tells the next start that the one before was refused: whoever started it has been told.
const REFUSED: &str = "refused";

impl Holder {
    /// Takes back what the service manager has kept, or what this process has left for itself.
    /// Before anything else opens descriptors.
    pub fn new(launch: Launch) -> io::Result<Self> {
        let signals = SigSet::from_iter(SIGNALS);
        signals.thread_block()?;
        let (is_inherited, serving, kept, past, program) = match renew::before()? {
            Some(before) => {
                let worker = Worker::inherited(Process::of(before.worker)?, before.link)?;
                (false, Some(worker), Kept::of_before(before.kept), before.past, before.program)
            }
            None => {
                let past = Past { since: SystemClock.now().as_second(), ..Past::default() };
                let kept = Kept::of_before(ready::kept()?);
                let worker = succession::left_behind(&kept)?;
                (worker.is_some(), worker, kept, past, None)
            }
        };
        let is_relied_on = kept.all().next().is_some();
        let now = Instant::now();
        Ok(Self {
            launch,
            program: program.map_or_else(Launch::own_path, Ok)?,
            is_inherited,
            is_relied_on,
            is_provided: serving.is_some() || kept.has_mounts(),
            kept,
            signals: SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
            is_ready: serving.is_some() && !is_inherited,
            serving,
            coming: None,
            is_upgrade: false,
            past,
            watch: Watch::new(),
            failures: 0,
            next_start: now,
            silent_since: now,
        })
    }

    /// Holds until it is told to stop, or until a worker says that it cannot serve, and nobody has
    /// relied on us yet.
    /// Answers with the exit status.
    pub fn run(mut self) -> io::Result<u8> {
        loop {
            self.start_if_due();
            self.give_up_if_due();
            self.look_if_due();
            self.watch.give_sign_if_due(&self.kept.mounts());
            match self.wait()? {
                Event::Time => {}
                Event::Signal(Signal::SIGHUP) => self.reload(),
                Event::Signal(Signal::SIGUSR2) => self.upgrade(),
                Event::Signal(Signal::SIGUSR1) if ready::is_asked() => return Ok(self.leave()),
                Event::Signal(signal) => return Ok(self.stop(signal)),
                Event::Said(Source::Coming) => {
                    if let Some(status) = self.hear_coming() {
                        return Ok(status);
                    }
                }
                Event::Said(Source::Prober) => self.watch.hear(),
                Event::Said(_) => self.hear_serving(),
            }
        }
    }

    /// The next thing that happens. A worker that serves is heard last: its successor goes first.
    fn wait(&self) -> io::Result<Event> {
        let watched = [
            (Source::Signals, Some(self.signals.as_fd())),
            (Source::Coming, self.coming.as_ref().map(AsFd::as_fd)),
            (Source::Prober, self.watch.link()),
            (Source::Serving, self.serving.as_ref().map(AsFd::as_fd)),
        ];
        let watched = watched.into_iter().filter_map(|(source, it)| Some((source, it?)));
        let (sources, mut watched): (Vec<_>, Vec<_>) =
            watched.map(|(source, it)| (source, PollFd::new(it, PollFlags::POLLIN))).unzip();
        let timeout = PollTimeout::try_from(self.due().saturating_duration_since(Instant::now()));
        match poll(&mut watched, timeout.unwrap_or(PollTimeout::MAX)) {
            Err(nix::errno::Errno::EINTR) => return Ok(Event::Time),
            outcome => outcome?,
        };
        let ready = watched.iter().position(|it| it.any() == Some(true)).map(|at| sources[at]);
        Ok(match ready {
            None => Event::Time,
            Some(Source::Signals) => {
                let signal = self.signals.read_signal()?;
                let signal = signal.and_then(|it| Signal::try_from(it.ssi_signo.cast_signed()).ok());
                signal.map_or(Event::Time, Event::Signal)
            }
            Some(source) => Event::Said(source),
        })
    }

    /// When something is to be done though nothing happens.
    fn due(&self) -> Instant {
        let now = Instant::now();
        let start = self.lacks_worker().then_some(self.next_start);
        let preparation = self.coming.as_ref().map(|it| it.since + PREPARATION);
        let look = self.serving.is_some().then(|| self.watch.due());
        [start, self.end_of_silence(), preparation, look, self.watch.sign_due()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now + PREPARATION)
    }

    /// When readers have waited for long enough, if nobody serves.
    fn end_of_silence(&self) -> Option<Instant> {
        let is_silent = self.serving.is_none() && self.kept.has_mounts();
        is_silent.then(|| self.silent_since + SILENCE)
    }

    /// Whether one is to be started: nobody serves, or one whose successor is not there yet.
    fn lacks_worker(&self) -> bool {
        self.coming.is_none() && (self.serving.is_none() || self.is_inherited)
    }

    /// Asks whether the mounts answer, and replaces a worker that leaves one without an answer.
    fn look_if_due(&mut self) {
        let Some(serving) = &self.serving else { return };
        let mounts = self.kept.mounts();
        self.watch.hear_ticks(|device| self.kept.ticks(device));
        if let Some(device) = self.watch.overdue(serving.since) {
            tracing::error!(
                worker = serving.pid.as_raw(),
                device,
                "a mount gets no answer: the worker is replaced"
            );
            self.past.lates += 1;
            return self.bury_serving(Duration::ZERO);
        }
        // At first only the successor of one that was inherited tells whether all is well.
        let is_judged = !self.is_inherited || self.failures > 0;
        if !self.is_ready && is_judged && self.is_provided && self.watch.all_answer(&mounts) {
            self.is_ready = true;
            tell("READY=1");
            say_ready();
        }
        self.watch.round(&self.launch, &mounts);
    }

    fn start_if_due(&mut self) {
        if self.lacks_worker() && Instant::now() >= self.next_start {
            self.start(Path::new(SAME));
        }
    }

    fn start(&mut self, program: &Path) {
        self.past.starts += 1;
        let relieves = self.serving.is_some().then_some(Order::Relieve);
        let minds = (self.failures > burial::AT_ONCE).then_some(Order::Carefully);
        let orders: Vec<_> = relieves.into_iter().chain(minds).chain([Order::Prepare(self.past)]).collect();
        match self.launch.start(program, &self.kept, &orders) {
            Ok(worker) => {
                tracing::info!(worker = worker.pid.as_raw(), "a worker starts");
                self.coming = Some(worker);
            }
            Err(error) => {
                tracing::error!(%error, "a worker cannot be started");
                self.refuse(&error.to_string());
                self.pause();
            }
        }
    }

    /// What must not last, ends.
    fn give_up_if_due(&mut self) {
        let now = Instant::now();
        if self.end_of_silence().is_some_and(|end| now >= end) {
            tracing::error!("nobody has served for 10 s: who waits for an answer gets an error");
            self.past.aborts += 1;
            self.kept.abort();
            self.silent_since = now;
            // What it took over is dead now.
            if let Some(worker) = self.coming.take() {
                worker.end(Duration::ZERO, || {});
                self.is_upgrade = false;
                self.pause();
            }
        }
        let is_overdue = |it: &mut Worker| it.stage != Stage::Serving && now >= it.since + PREPARATION;
        if let Some(worker) = self.coming.take_if(is_overdue) {
            tracing::error!(worker = worker.pid.as_raw(), "the worker does not get ready");
            worker.end(Duration::ZERO, || self.kept.abort());
            self.refuse("the new worker did not get ready");
            self.pause();
        }
    }

    /// Answers with an exit status if the very first worker cannot serve.
    fn hear_coming(&mut self) -> Option<u8> {
        match self.coming.as_mut()?.hear() {
            Said::Report(Report::Prepared) => self.take_over(),
            Said::Report(Report::Serving) => self.is_served(),
            Said::Report(report) => self.note(report),
            Said::Nothing => {}
            Said::End => return self.bury_coming(),
        }
        None
    }

    fn hear_serving(&mut self) {
        let Some(worker) = &mut self.serving else { return };
        match worker.hear() {
            Said::Report(Report::Upgrade) => self.upgrade(),
            Said::Report(report) => self.note(report),
            Said::Nothing => {}
            Said::End => self.bury_serving(burial::ENDING),
        }
    }

    fn note(&mut self, report: Report) {
        match report {
            Report::Keep(name, descriptor) => self.kept.keep(name, descriptor),
            Report::Drop(name) => self.kept.forget(&name),
            Report::Status(text) => tell(&format!("STATUS={text}")),
            Report::Ready => self.is_provided = true,
            Report::Reloaded => tell("READY=1"),
            Report::Takes(_) | Report::Failed(_) | Report::Prepared | Report::Serving | Report::Upgrade => {}
        }
    }

    fn reload(&mut self) {
        if let Some(worker) = &mut self.serving {
            if self.is_ready {
                tell(&ready::reloading());
            }
            worker.reload();
        }
    }
}

/// What the holder waits for.
enum Event {
    Time,
    Signal(Signal),
    Said(Source),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Coming,
    Prober,
    Serving,
}

fn tell(state: &str) {
    if let Err(error) = ready::notify(state) {
        tracing::warn!(%error, state, "the service manager was not told");
    }
}

/// For a person, or a program that has no service manager.
fn say_ready() {
    use std::io::Write;
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "secretfs: ready").and_then(|()| out.flush());
}
