//! The process that does the daemon's work: it builds everything from the config, takes the mounts
//! over from its predecessor or makes them, and serves until its holder is gone. All that may fail
//! by a mistake of somebody else is done before it says that it is prepared. Uses every layer below.

mod answers;
mod clock;
mod credentials;
mod mounts;
mod numbers;
mod seen;
mod socket;
mod unseal;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use tracing_appender::non_blocking::WorkerGuard;

use super::apart::Own;
use super::assemble::{self, AssembleError, Choice};
use super::lacking::Lost;
use super::load::{LoadError, Texts};
use super::message::{Order, Past, Report};
use super::reload::{self, Current, Mounts, ReloadError, Reloader};
use super::serve::Server;
use super::{plan, readiness, rules, shut_in, watch};
use crate::audit::Kind;
use crate::broker::{Broker, Environment};
use crate::config::Config;
use crate::control::BindError;
use crate::credentials::Credentials;
use crate::metrics;
use crate::reactions::Reactions;
use crate::sys::link::Link;
use crate::sys::{identity, lease, signal};
use answers::Answers;
use mounts::{Before, Fate, Kept, Maker, Planned};
use numbers::{End, Numbered, Numbers};
use socket::{Answered, Socket};

/// What a worker is made of.
pub struct Setup<'a> {
    pub config: &'a Path,
    pub choice: Choice,
    pub log: Option<WorkerGuard>,
}

#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Config(Box<ReloadError>),
    #[error(transparent)]
    Control(#[from] BindError),
    #[error("there is no folder for the control socket: XDG_RUNTIME_DIR is not set")]
    NoSocket,
    #[error(transparent)]
    System(#[from] io::Error),
    #[error("the process that holds the mounts is gone")]
    Deserted,
}

/// How long a holder may take no message: the next one may be on its way.
const HEARING: Duration = Duration::from_secs(5);

/// At the end, for those who wait for an answer; less than the holder waits for us.
const REST: Duration = Duration::from_secs(4);

/// How often it is looked whether a secret is there that is waited for.
const LOOK_SOON: Duration = Duration::from_secs(1);
/// And whether it still is.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Everything is built, nothing is served.
pub struct Worker {
    link: Arc<Link>,
    server: Server,
    path: PathBuf,
    choice: Choice,
    first: First,
    past: Past,
    waiting: Vec<(String, OwnedFd)>,
    is_careful: bool,
}

/// What a worker begins with.
struct First {
    /// What is on disk.
    tried: Option<Texts>,
    /// Why that could not be used.
    problem: Option<String>,
    texts: Texts,
    config: Config,
    broker: Arc<Broker>,
    planned: Vec<Planned>,
    lost: Vec<Lost>,
    /// What no mount of the config takes over.
    left: Vec<Arc<Kept>>,
    socket: Socket,
    credentials: Option<Socket>,
    rules: Arc<Credentials>,
}

/// What a worker waits for.
enum Event {
    /// `None`: the holder is gone.
    Order(Option<Order>),
    /// This mount is not served any more.
    Ended(Numbered),
    /// The store was sealed, and could be opened now.
    KeyFound,
}

impl Worker {
    /// Hears what the holder has kept, and builds everything.
    pub fn prepare(link: Arc<Link>, setup: Setup<'_>) -> Result<Self, WorkerError> {
        // The holder decides what a signal means.
        SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP])
            .thread_block()
            .map_err(io::Error::from)?;
        lease::ignore_lease_breaks();
        signal::survive_broken_pipe();
        let mut before = mounts::receive(&link)?;
        link.wait_at_most(HEARING)?;
        let server = Server::start(setup.log)?;
        server.warn();
        tracing::info!(level = identity::level().name(), "readers are told apart");
        let (path, choice) = (setup.config.to_owned(), setup.choice);
        let first = begin(&path, &choice, &before)?;
        rules::warn(&first.config);
        shut_in::warn(&first.config);
        let (past, is_careful) = (before.past, before.is_deadly);
        let waiting = std::mem::take(&mut before.waiting);
        Ok(Self { link, server, path, choice, first, past, waiting, is_careful })
    }

    /// Takes over as soon as the holder says so, and serves until it says stop, or is gone.
    pub fn run(self) -> Result<(), WorkerError> {
        Report::Prepared.send(&self.link)?;
        let (tell, events) = mpsc::channel();
        self.listen(tell.clone())?;
        match events.recv() {
            Ok(Event::Order(Some(Order::Go))) => {}
            _ => return Ok(()),
        }
        let Self { link, server, path, choice, first, past, waiting, is_careful } = self;
        count(&past);
        let First { tried, problem, texts, config, broker, planned, mut lost, left, socket, .. } = first;
        let (credentials, rules) = (first.credentials, first.rules);
        for kept in left {
            match lost.iter().any(|lost| kept.is_at(&lost.at)) {
                true => kept.abort(&link),
                false => kept.take_away(&link),
            }
        }
        let numbers = Arc::<Numbers>::default();
        let maker = Maker {
            pool: server.pool(),
            link: link.clone(),
            tell: tell.clone(),
            reactions: Reactions::start(),
            numbers: numbers.clone(),
            is_careful,
        };
        let mut mounts = Vec::new();
        for planned in planned {
            match planned.serve(&maker) {
                Ok(Fate::Had(mounted)) => mounts.push(mounted),
                Ok(Fate::Lost(one)) => lost.push(one),
                Err(error) => return Err(error.into()),
            }
        }
        maker.keep(&texts);
        broker.audit().start();
        broker.note(Kind::Start, format!("{} mounts", mounts.len()));
        Report::Serving.send(&link)?;
        let loopback = config.control.listen;
        let config = Arc::new(config);
        let current = Current { generation: 1, config, broker, credentials: rules, mounts, lost };
        let reloader =
            Arc::new(Reloader::new(path, choice.clone(), Box::new(maker), tried, problem, current));
        watch::start(reloader.clone())?;
        server.pool().spawn(keep_looking(reloader.clone(), link.clone()));
        server.pool().spawn(clock::watch());
        server.pool().spawn(unseal::wait_for_key(reloader.clone(), choice, tell));
        let answers = Answers::new(reloader, server.memory_is_locked, past, link.clone());
        let (_server, socket) = socket.answer(loopback, answers.clone(), &link)?;
        let asked = answers.reloader.clone();
        let credentials = credentials::serve(credentials, waiting, asked, &link, &server.pool())?;
        let is_over = wait(&events, &link, &answers, &numbers);
        let broker = answers.reloader.current().broker.clone();
        broker.note(Kind::Stop, if is_over { "for good" } else { "for a successor" });
        // First: a store that lets wait keeps nobody from it.
        answers.reloader.give_back_now(is_over);
        broker.flush();
        let credentials = credentials.map(|(server, socket)| {
            server.end();
            socket
        });
        if is_over {
            socket.remove();
            credentials.into_iter().for_each(Answered::remove);
            answers.answer_rest(REST);
        }
        server.stop();
        Ok(())
    }

    /// A thread hears the holder.
    fn listen(&self, tell: Sender<Event>) -> io::Result<()> {
        let link = self.link.clone();
        let hear = move || {
            loop {
                let order = Order::receive(&link).unwrap_or_default();
                let is_last = order.is_none();
                if tell.send(Event::Order(order)).is_err() || is_last {
                    return;
                }
            }
        };
        thread::Builder::new().name("secretfs-orders".to_owned()).spawn(hear).map(drop)
    }
}

/// From the config on disk; if that has a mistake, from the one that was in force before.
fn begin(path: &Path, choice: &Choice, before: &Before) -> Result<First, WorkerError> {
    let on_disk = Texts::read(path).map_err(ReloadError::from);
    let tried = on_disk.as_ref().ok().cloned();
    let error = match on_disk.map_err(WorkerError::from).and_then(|texts| build(texts, choice, before)) {
        Ok(first) => return Ok(First { tried, ..first }),
        Err(error) => error,
    };
    match (before.config.clone().map(|texts| build(texts, choice, before)), error) {
        (Some(Ok(first)), WorkerError::Config(error)) => {
            let problem = Some(error.in_brief());
            reload::report(&Err(*error));
            Ok(First { tried, problem, ..first })
        }
        (_, error) => Err(error),
    }
}

fn build(texts: Texts, choice: &Choice, before: &Before) -> Result<First, WorkerError> {
    let config = texts.parse().map_err(LoadError::from).map_err(ReloadError::from)?;
    let mounted = before.config.iter().filter_map(|texts| texts.parse().ok()).flat_map(|it| it.mounts);
    let mounted: Vec<_> = mounted.filter_map(|it| std::path::absolute(it.at).ok()).collect();
    let own = Own::of_daemon(choice, &config, mounted.clone());
    let plans = plan::of_config(&config, &own).map_err(ReloadError::from)?;
    // Before the mounts: of two daemons for one config, that is what the second one is told.
    let control = before.control.as_ref().map(OwnedFd::try_clone).transpose()?;
    let socket = Socket::of_control(&config.control, control)?;
    let listener = before.credentials.as_ref().map(OwnedFd::try_clone).transpose()?;
    let credentials = credentials::open(&config.credentials, listener)?;
    let rules =
        Arc::new(rules::credentials(&config).map_err(AssembleError::from).map_err(ReloadError::from)?);
    let allowed = Environment::Only(config.env_allowed.clone());
    // Who serves has the key: better no successor than one without it.
    let choice = &Choice { waits_for_key: choice.waits_for_key && !before.is_served, ..choice.clone() };
    let broker = assemble::broker(choice, &config, allowed).map_err(ReloadError::from)?;
    let broker = Arc::new(broker);
    // What was had before may be lost; what is new must be had, or the config of before goes on.
    let is_same = before.config.as_ref() == Some(&texts);
    let (mut planned, mut lost) = (Vec::new(), Vec::new());
    for plan in plans {
        let may_be_lost = mounted.contains(&plan.at);
        match Planned::new(plan, &broker, before, may_be_lost, is_same)? {
            Fate::Had(one) => planned.push(one),
            Fate::Lost(one) => lost.push(one),
        }
    }
    let is_left = |kept: &&Arc<Kept>| !planned.iter().any(|it| it.takes_over(kept));
    let left = before.mounts.iter().filter(is_left).cloned().collect();
    Ok(First {
        tried: None,
        problem: None,
        texts,
        config,
        broker,
        planned,
        lost,
        left,
        socket,
        credentials,
        rules,
    })
}

impl WorkerError {
    /// For a log: nothing of the config's text is shown.
    pub fn in_brief(&self) -> String {
        match self {
            Self::Config(error) => error.in_brief(),
            error => error.to_string(),
        }
    }
}

impl From<ReloadError> for WorkerError {
    fn from(error: ReloadError) -> Self {
        Self::Config(Box::new(error))
    }
}

/// What happened before this process, for who adds it up.
fn count(past: &Past) {
    let figures = metrics::get();
    let others = past.crashes + past.upgrades;
    figures.worker_starts.of(["start"]).inc_by(past.starts.saturating_sub(others));
    figures.worker_starts.of(["crash"]).inc_by(past.crashes);
    figures.worker_starts.of(["upgrade"]).inc_by(past.upgrades);
    figures.watchdog_probes.of(["late"]).inc_by(past.lates);
    figures.aborted_mounts.inc_by(past.aborts);
}

/// Answers whether that is the end of the daemon.
fn wait(events: &Receiver<Event>, link: &Arc<Link>, answers: &Answers, numbers: &Numbers) -> bool {
    for event in events {
        match event {
            Event::Order(Some(Order::Stop)) => return true,
            // Neither a holder nor the service manager has the other end: nobody will take over.
            Event::Order(None) => return false,
            Event::KeyFound => {
                tracing::info!("the store's key is there: the next worker opens it");
                return false;
            }
            Event::Order(Some(Order::Refused(why))) => answers.refuse(&why),
            Event::Order(Some(Order::Reload)) => reload_aside(answers.reloader.clone(), link.clone()),
            Event::Order(Some(_)) => {}
            Event::Ended(mount) => match numbers.end(&mount, link) {
                End::Dead => {
                    let device = mount.number;
                    tracing::error!(device, "a connection was ended; the next worker makes the mount anew");
                    return false;
                }
                End::Gone => answers.reloader.ended(&mount.number),
                End::Forgotten => {}
            },
        }
    }
    false
}

/// In a thread of its own: a disk that does not answer keeps nobody from stopping us.
fn reload_aside(reloader: Arc<Reloader>, link: Arc<Link>) {
    let report = link.clone();
    let reload = move || {
        // What came of it is in the log.
        let _ = reloader.reload();
        let _ = Report::Reloaded.send(&report);
    };
    if let Err(error) = thread::Builder::new().name("secretfs-reload".to_owned()).spawn(reload) {
        tracing::error!(%error, "config_reload_failed: the old config stays");
        let _ = Report::Reloaded.send(&link);
    }
}

/// The holder hears when all is there that the config waits for, and whenever that changes.
async fn keep_looking(reloader: Arc<Reloader>, link: Arc<Link>) {
    let (mut was_ready, mut known, mut looked) = (false, None, None);
    loop {
        let current = reloader.current();
        let is_recent =
            |(generation, at): (u64, Instant)| generation == current.generation && at.elapsed() < LOOK_AGAIN;
        if !looked.is_some_and(is_recent) || known.as_ref().is_some_and(|it: &Vec<_>| !it.is_empty()) {
            let (which, lacks): (Vec<usize>, Vec<String>) =
                readiness::lacks(&current).await.into_iter().unzip();
            if lacks.is_empty() && !was_ready {
                was_ready = true;
                let _ = Report::Ready.send(&link);
            }
            reloader.found_lacking(lacks, known.as_ref() != Some(&which));
            (known, looked) = (Some(which), Some((current.generation, Instant::now())));
        }
        tokio::time::sleep(LOOK_SOON).await;
    }
}
