//! One command's dealings with the broker: as whom it asks, and how it waits. May use every layer.

use std::future::Future;
use std::sync::Arc;

use nix::unistd::{getegid, geteuid};

use super::exit;
use super::report::Failure;
use crate::broker::{Broker, Class, Error, Rendering};
use crate::caller::Caller;
use crate::clock::{Clock, SystemClock};
use crate::policy::Door;
use crate::provider::Given;
use crate::resolver::ResolveError;
use crate::secret::{SecretKey, Uses};
use crate::template::Template;

/// This process.
pub fn caller() -> Caller {
    Caller { uid: geteuid().as_raw(), gid: getegid().as_raw(), pid: std::process::id() }
}

/// Waits without starting a thread: the store answers in this one.
pub fn wait<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(exit::OS, error))?.block_on(work)
}

/// The same, as the last that is asked of this broker: what was lent to it is given back, but for what
/// somebody goes on with. Nobody goes on with what has failed.
pub fn wait_and_leave<T>(
    broker: &Broker,
    given: Given,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    wait(async {
        let outcome = work.await;
        broker.give_back(if outcome.is_err() { Given::Over } else { given }).await;
        outcome
    })
}

/// Renders for the process that we are.
pub async fn rendering(broker: &Broker, template: &Template, door: Door) -> Result<Rendering, Error> {
    broker.give_rendering(&caller(), door, template).await
}

/// Somebody is given what these are of.
pub fn count<'a>(uses: impl IntoIterator<Item = &'a Arc<Uses>>) {
    let now = SystemClock.now();
    uses.into_iter().for_each(|uses| uses.count(now));
}

/// The failure, with the place that names what nobody can be asked for.
pub fn failure_in(template: &Template, error: Error) -> Failure {
    let is_it = |key: &SecretKey| match &error {
        Error::Resolve(ResolveError::NoProvider { name, .. }) => key.provider.as_ref() == Some(name),
        Error::Resolve(ResolveError::Pinned { path, version, .. }) => {
            key.path == *path && key.version == Some(*version)
        }
        _ => false,
    };
    let place = template.references().iter().find(|it| is_it(&it.item.key));
    let place = place.map(|it| format!("{}:{}:{}: ", template.name(), it.line, it.column));
    let failure = Failure::from(error);
    Failure { problem: place.unwrap_or_default() + &failure.problem, ..failure }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = status(&error);
        match error {
            Error::Template(error) => error.into(),
            error => {
                let hint = match &error {
                    Error::Resolve(error) => error.hint(),
                    Error::Audit(error) => error.hint(),
                    _ => None,
                };
                Self { hint, ..Self::new(status, &error) }
            }
        }
    }
}

/// Nobody has to be asked to know it.
fn is_of_text(error: &Error) -> bool {
    matches!(error, Error::Resolve(ResolveError::NoProvider { .. } | ResolveError::Pinned { .. }))
}

fn status(error: &Error) -> u8 {
    match error.class() {
        Class::Denied => exit::NO_PERMISSION,
        Class::Expired | Class::Revoked => exit::NO_INPUT,
        Class::NoKey if error.missing().is_some() => exit::NO_INPUT,
        Class::NoKey => exit::NO_PERMISSION,
        Class::Tampered => exit::IO,
        Class::Timeout => exit::TEMPORARY,
        Class::TooLarge => exit::DATA,
        Class::Failed if is_of_text(error) => exit::DATA,
        Class::Failed if matches!(error, Error::Audit(_)) => exit::IO,
        Class::Failed => exit::UNAVAILABLE,
    }
}
