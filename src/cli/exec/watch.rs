//! `exec --watch`: sees that a value which the command uses has changed, and has the command
//! signalled or started anew with what there is now. May use every layer.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

use super::{Injected, Request, collect, environment};
use crate::broker::{Broker, Error};
use crate::cli::report::{self, Failure};
use crate::cli::{exit, session};
use crate::config::{self, Response};
use crate::exec::mask::Masks;
use crate::exec::{Change, Rules, Teller};
use crate::policy::Door;
use crate::resolver::Basis;
use crate::secret::SecretKey;

/// What is watched, and for whom.
pub(super) struct Watcher {
    broker: Arc<Broker>,
    request: Arc<Request>,
    rules: Rules,
    masks: Option<Arc<Masks>>,
    response: Response,
    seen: Seen,
}

/// The values as they were last.
struct Seen {
    basis: Basis,
    digest: [u8; 32],
}

/// Between two looks; what a change may take to settle; and between two tries of what has failed.
const LOOK: Duration = Duration::from_millis(200);
const SETTLE: Duration = Duration::from_millis(300);
const MOST_LOOKS: usize = 10;
const RETRY: Duration = Duration::from_secs(5);
/// Providers are tended and swept this often.
const TEND: Duration = Duration::from_secs(1);

impl Watcher {
    /// Looks for the first time.
    pub(super) fn new(
        broker: Arc<Broker>,
        request: Arc<Request>,
        rules: Rules,
        masks: Option<Arc<Masks>>,
        response: Response,
    ) -> Result<Self, Failure> {
        let seen = session::wait(async { Ok(look(&broker, &request).await?) })?;
        Ok(Self { broker, request, rules, masks, response, seen })
    }

    /// In a thread of its own, as long as there is the process.
    pub(super) fn start(self, teller: Teller) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(exit::OS, error))?;
        let thread = thread::Builder::new().name("watch".to_owned());
        let started = thread.spawn(move || self.watch(&runtime, &teller));
        started.map(drop).map_err(|error| Failure::new(exit::OS, error))
    }

    fn watch(mut self, runtime: &Runtime, teller: &Teller) {
        let mut tended = Instant::now();
        let mut told = None;
        loop {
            thread::sleep(LOOK);
            if tended.elapsed() >= TEND {
                runtime.block_on(self.broker.tend());
                self.broker.sweep();
                tended = Instant::now();
            }
            if self.broker.is_still(&self.seen.basis) {
                continue;
            }
            match self.respond(runtime, teller) {
                Ok(()) => told = None,
                Err(failure) => {
                    if told.as_ref() != Some(&failure.problem) {
                        tell(&failure);
                        told = Some(failure.problem);
                    }
                    thread::sleep(RETRY);
                }
            }
        }
    }

    /// A change may be one of many, and may concern nobody here.
    fn respond(&mut self, runtime: &Runtime, teller: &Teller) -> Result<(), Failure> {
        let mut seen = runtime.block_on(look(&self.broker, &self.request))?;
        if seen.digest != self.seen.digest {
            seen = self.settled(runtime, seen)?;
        }
        if seen.digest != self.seen.digest {
            let injected =
                runtime.block_on(async { collect::collect_now(&self.broker, &self.request).await })?;
            teller.tell(self.change(injected)?);
        }
        self.seen = seen;
        Ok(())
    }

    /// Once nothing has changed for a moment; of what never settles, as it is by then.
    fn settled(&self, runtime: &Runtime, mut seen: Seen) -> Result<Seen, Failure> {
        for _ in 0..MOST_LOOKS {
            thread::sleep(SETTLE);
            let next = runtime.block_on(look(&self.broker, &self.request))?;
            if next.digest == seen.digest {
                return Ok(next);
            }
            seen = next;
        }
        Ok(seen)
    }

    fn change(&self, injected: Injected) -> Result<Change, Failure> {
        self.masks.iter().for_each(|masks| super::tell_too_short(masks));
        match self.response {
            Response::Restart => Ok(Change::Restart(environment(injected, &self.rules)?)),
            Response::Signal(signal) => Ok(Change::Signal(number(signal)?)),
        }
    }
}

/// All values that the command uses, those of files included.
async fn look(broker: &Broker, request: &Request) -> Result<Seen, Error> {
    let references = request.references();
    let keys: Vec<SecretKey> = references.iter().map(|reference| reference.key.clone()).collect();
    let grant = broker.grant(&session::caller(), Door::Exec, &keys)?;
    let resolved = broker.resolve(&grant, &keys).await?;
    let mut digest = Sha256::new();
    for reference in &references {
        let version = resolved.answers.get(&reference.key).and_then(|answer| answer.as_ref().ok());
        match version.and_then(|version| version.fields.get(reference.field_name())) {
            // Its length first: values must not run into each other.
            Some(value) => {
                digest.update((value.len() as u64).to_le_bytes());
                digest.update(value.expose());
            }
            None => digest.update(u64::MAX.to_le_bytes()),
        }
    }
    Ok(Seen { basis: resolved.basis, digest: digest.finalize().into() })
}

fn number(signal: config::Signal) -> Result<Signal, Failure> {
    format!("SIG{}", signal.name()).parse().map_err(|error| Failure::new(exit::SOFTWARE, error))
}

fn tell(failure: &Failure) {
    let hint = failure.hint.iter().map(|hint| format!("; try: {hint}")).collect::<String>();
    let text = format!("the command goes on with the values that it has: {}{hint}", failure.problem);
    // Its terminal may make nothing of the end of a line.
    report::warn(text.replace('\n', "\r\n") + "\r");
}
