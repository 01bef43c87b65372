//! The process that does the daemon's work: it builds everything from the config, takes the mounts
//! over from its predecessor or makes them, and serves until its holder is gone. All that may fail
//! by a mistake of somebody else is done before it says that it is prepared. Uses every layer below.

mod answers;
mod mounts;
mod socket;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use tracing_appender::non_blocking::WorkerGuard;

use super::assemble::{self, AssembleError, Choice};
use super::load::{self, LoadError};
use super::message::{Order, Report};
use super::plan::{self, PlanError};
use super::serve::Server;
use crate::broker::Environment;
use crate::control::BindError;
use crate::fs::mountpoint::MountError;
use crate::fs::tree::TreeError;
use crate::sys::link::Link;
use crate::sys::{lease, signal};
use answers::Answers;
use mounts::{Before, Kept, Means, Planned, Served};
use socket::Socket;

/// What a worker is made of.
pub struct Setup<'a> {
    pub config: &'a Path,
    pub choice: Choice,
    pub log: Option<WorkerGuard>,
}

#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Control(#[from] BindError),
    #[error("there is no folder for the control socket: XDG_RUNTIME_DIR is not set")]
    NoSocket,
    #[error(transparent)]
    System(#[from] io::Error),
    #[error("the process that holds the mounts is gone")]
    Deserted,
}

/// How long a successor of a holder that comes back is waited for.
const DESERTED: Duration = Duration::from_secs(30);

/// Everything is built, nothing is served.
pub struct Worker {
    link: Arc<Link>,
    server: Server,
    planned: Vec<Planned>,
    /// What no mount of the config takes over.
    left: Vec<Kept>,
    socket: Socket,
    answers: Arc<Answers>,
}

/// What a worker waits for.
enum Event {
    /// `None`: the holder is gone.
    Order(Option<Order>),
    /// The mount with this device number.
    Ended(String),
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
        let Before { mut kept, control, past } = mounts::receive(&link)?;
        let config = load::read(setup.config)?;
        let plans = plan::of_config(&config)?;
        let server = Server::start(setup.log)?;
        if !server.memory_is_locked {
            tracing::warn!(
                "memory could not be locked (no CAP_IPC_LOCK, and a memlock limit): values could be swapped out"
            );
        }
        // Before the mounts: of two daemons for one config, that is what the second one is told.
        let socket = Socket::open(&config.control, control)?;
        let allowed = Environment::Only(config.env_allowed.clone());
        let broker = Arc::new(assemble::broker(&setup.choice, &config, allowed)?);
        let planned = plans.into_iter().map(|plan| Planned::new(plan, &broker, &mut kept));
        let planned = planned.collect::<Result<_, WorkerError>>()?;
        let answers = Answers::new(setup.config, server.memory_is_locked, past, link.clone());
        Ok(Self { link, server, planned, left: kept, socket, answers })
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
        let Self { link, server, planned, left, socket, answers } = self;
        left.into_iter().for_each(|kept| kept.take_away(&link));
        let means = Means { server: &server, link: &link, tell: &tell };
        for planned in planned {
            let served = planned.serve(&means)?;
            answers.served().push(served);
        }
        Report::Status(status(&answers.served())).send(&link)?;
        Report::Serving.send(&link)?;
        let socket = socket.answer(answers.clone(), &link)?;
        let is_over = wait(&events, &link, &answers);
        if is_over {
            socket.remove();
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

/// Answers whether that is the end of the daemon.
fn wait(events: &Receiver<Event>, link: &Link, answers: &Answers) -> bool {
    let mut stays = false;
    for event in events {
        match event {
            Event::Order(Some(Order::Stop)) => return true,
            Event::Order(Some(Order::Stay)) => stays = true,
            // The successor's worker kills us before that.
            Event::Order(None) if stays => {
                thread::sleep(DESERTED);
                return false;
            }
            Event::Order(None) => return false,
            Event::Order(Some(Order::Refused(why))) => answers.refuse(&why),
            Event::Order(Some(_)) => {}
            Event::Ended(number) => {
                answers.served().retain(|it| it.number != number);
                mounts::forget(link, &number);
            }
        }
    }
    false
}

fn status(served: &[Served]) -> String {
    let files: usize = served.iter().map(|it| it.fs.files()).sum();
    format!("mounts: {}, files: {files}", served.len())
}
