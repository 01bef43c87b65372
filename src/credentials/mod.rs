//! The door for service managers: `LoadCredential=NAME:SOCKET` of a unit is answered with the secret
//! that the config has under that name, if policy lets the unit have it. One connection is one
//! credential; its whole content is the answer. Uses the broker and `sys`.

mod asked;
mod refusal;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

pub use asked::{Asked, Claim, Stranger};
pub use refusal::Refused;

use crate::broker::{Broker, Found, Wish};
use crate::caller::Identity;
use crate::clock::{Clock, SystemClock};
use crate::policy::{Door, FileRef, Ownership, Rules};
use crate::provider::unhurried;
use crate::secret::Reference;

/// What is answered to whom; replaced as a whole.
#[derive(Default)]
pub struct Credentials {
    /// Rules see a credential as a file of this name below it.
    pub socket: PathBuf,
    pub names: BTreeMap<String, Credential>,
}

pub struct Credential {
    /// Of what the config says; one of them at most has a value.
    pub readings: Vec<Reference>,
    pub rules: Option<Rules>,
}

/// What the server needs of the daemon.
pub trait Daemon: Send + Sync + 'static {
    /// What is in force now.
    fn current(&self) -> (Arc<Broker>, Arc<Credentials>);

    /// Keeps who waits for an answer from taking our end for the end of one.
    fn hold(&self, waiting: &OwnedFd) -> Box<dyn Held>;
}

/// Somebody who waits for an answer, whatever becomes of us.
pub trait Held: Send {
    /// The answer is whole, or nobody waits any more.
    fn release(self: Box<Self>);
}

/// Root's alone: the manager that asks is root.
const OWNERSHIP: Ownership = Ownership { uid: 0, gid: 0, mode: 0o400 };

/// Connections at once: more wait.
const CONNECTIONS: usize = 64;
/// For what was perhaps meant.
const PATIENCE: Duration = Duration::from_secs(1);
/// As for a file.
const DEADLINE: Duration = Duration::from_secs(5);
/// Without descriptors a listener would spin.
const PAUSE: Duration = Duration::from_millis(250);

/// At the end: of all answers, and of the last refusals.
const REST: Duration = Duration::from_millis(500);
const LAST: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(5);

/// What the manager takes at most for a credential (systemd.exec(5)). There is no word for "no",
/// and an end without a byte is an empty credential; what is larger fails the start of the unit.
const MOST: usize = 1 << 20;

/// Answers until it is ended.
pub struct Server {
    ending: watch::Sender<Ending>,
}

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    No,
    /// Nobody new is answered.
    Begun,
    /// Who still waits is refused.
    Now,
}

impl Server {
    /// With the answering to be done by somebody.
    pub fn new(listener: StdListener, daemon: Arc<dyn Daemon>) -> (Self, impl Future<Output = ()> + Send) {
        let (ending, watched) = watch::channel(Ending::No);
        (Self { ending }, accept(listener, daemon, watched))
    }

    /// Who waits has the time to be answered that the machine needs; who waits for something else
    /// is refused, since the end of this process would look like an answer. Blocks meanwhile.
    pub fn end(self) {
        for (step, patience) in [(Ending::Begun, REST), (Ending::Now, LAST)] {
            self.ending.send_replace(step);
            let end = Instant::now() + patience;
            while !self.ending.is_closed() && Instant::now() < end {
                thread::sleep(TICK);
            }
        }
    }
}

async fn accept(listener: StdListener, daemon: Arc<dyn Daemon>, mut ending: watch::Receiver<Ending>) {
    let listener = match listener.set_nonblocking(true).and_then(|()| UnixListener::from_std(listener)) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "credentials are not answered"),
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            _ = ending.wait_for(|it| *it >= Ending::Begun) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (daemon, ending) = (daemon.clone(), ending.clone());
                tokio::spawn(converse(stream, daemon, ending, place));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Ends what a predecessor could not: it may have written something.
pub async fn refuse_left(waiting: OwnedFd) {
    let stream = StdStream::from(waiting);
    let stream = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
    if let Ok(mut stream) = stream {
        tracing::error!("credential_refused: the process that looked it up has ended; start the unit again");
        fail(&mut stream).await;
    }
}

async fn converse(
    mut stream: UnixStream,
    daemon: Arc<dyn Daemon>,
    mut ending: watch::Receiver<Ending>,
    place: OwnedSemaphorePermit,
) {
    let (broker, credentials) = daemon.current();
    let asked = match unhurried(|| who_asks(&stream, &broker, &credentials)) {
        Ok(asked) => asked,
        Err(stranger) => {
            drop(place);
            let is_certain = stranger.is_certain();
            Refused::from(stranger).log();
            // It may be the manager after all, which would take the end for an answer.
            if !is_certain {
                fail(&mut stream).await;
            }
            return;
        }
    };
    let Ok(copy) = stream.as_fd().try_clone_to_owned() else { return fail(&mut stream).await };
    let held = unhurried(|| daemon.hold(&copy));
    let outcome = tokio::select! {
        outcome = answer(&asked, &broker, &credentials) => outcome,
        _ = ending.wait_for(|it| *it == Ending::Now) => Err(Refused::Ending),
    };
    // Who takes its time to read keeps nobody else waiting.
    drop(place);
    match outcome {
        Ok(found) => {
            if write(&mut stream, found.value.expose()).await.is_ok()
                && let Some(uses) = &found.uses
            {
                uses.count(SystemClock.now());
            }
        }
        Err(refused) => {
            refused.log();
            fail(&mut stream).await;
        }
    }
    held.release();
}

fn who_asks(stream: &UnixStream, broker: &Broker, credentials: &Credentials) -> Result<Asked, Stranger> {
    let caller = asked::caller(stream).ok_or(Stranger::Gone)?;
    let asked = Claim::of(stream).ok_or(Stranger::Address).and_then(|claim| {
        let name = claim.name.clone();
        let file = credentials.names.get(&name).map(|it| it.file(&credentials.socket, &name));
        let wanted = broker.inquiry(&caller, file.as_ref()).and(broker.audit().facts());
        Asked::confirm(stream, &caller, claim, wanted)
    });
    asked.inspect_err(|stranger| {
        let who = Identity::of(caller);
        broker.turn_away(&who, Door::Systemd, &credentials.socket, &stranger.to_string());
    })
}

async fn answer(asked: &Asked, broker: &Broker, credentials: &Credentials) -> Result<Found, Refused> {
    let Some(credential) = credentials.names.get(&asked.name) else {
        let file = credentials.socket.join(&asked.name);
        broker.turn_away(&asked.who, Door::Systemd, &file, "no credential of that name");
        return Err(Refused::unknown(asked, credentials.names.keys()));
    };
    let file = credential.file(&credentials.socket, &asked.name);
    let readings = &credential.readings;
    let wish = Wish { who: &asked.who, door: Door::Systemd, file, readings, within: DEADLINE, at_most: MOST };
    match broker.hand(&wish).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(lack)) => {
            let plain = lack.clone();
            let explained = timeout(PATIENCE, broker.explain_lack(lack)).await;
            Err(Refused::lacking(asked, explained.unwrap_or(plain)))
        }
        Err(error) => Err(Refused::failed(asked, error)),
    }
}

/// Until all of it is there, or nobody reads it any more: who has a part must not see an end.
async fn write(stream: &mut UnixStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.shutdown().await
}

/// Makes the start of the unit fail.
async fn fail(stream: &mut UnixStream) {
    let _ = write(stream, &vec![b'\n'; MOST + 1]).await;
}

impl Credential {
    /// What rules on files see of it.
    pub fn file<'a>(&'a self, socket: &'a Path, name: &'a str) -> FileRef<'a> {
        let rules = self.rules.as_ref();
        FileRef { mount: socket, spelled: socket, path: Path::new(name), ownership: OWNERSHIP, rules }
    }
}
