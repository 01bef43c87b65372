//! How an operator asks and tells the daemon: HTTP on a unix socket that is the daemon's user's
//! alone, and, by choice, figures and health on a loopback address. Knows the daemon as a trait;
//! never tells a value. Uses axum and `metrics`.

mod routes;
mod server;
pub mod socket;
pub mod wire;

use std::path::Path;

pub use server::Server;
pub use socket::BindError;

use crate::caller::Caller;
use crate::provider::BoxFuture;

/// What the daemon answers. A future may take as long as a provider does.
pub trait Daemon: Send + Sync + 'static {
    fn status(&self) -> BoxFuture<'_, wire::Status>;

    /// Whether readers can be sent here, by what is known already.
    fn readiness(&self) -> wire::Readiness;

    /// Takes the config as it is now, or keeps the old one in full.
    fn reload(&self) -> BoxFuture<'_, Result<wire::Reloaded, Refused>>;

    /// Asks the providers of these names anew for all that is held of them, or all providers, because
    /// this caller wants it.
    fn sync<'a>(
        &'a self,
        caller: Caller,
        providers: &'a [String],
    ) -> BoxFuture<'a, Result<wire::Synced, Refused>>;

    /// Hands over to a worker of the program that is now on the disk. May end this process before
    /// the answer is sent.
    fn upgrade(&self) -> BoxFuture<'_, Result<(), Refused>>;

    fn readers(&self) -> BoxFuture<'_, Vec<wire::Reader>>;

    /// What is known of one file of a mount, by its path.
    fn explain<'a>(&'a self, file: &'a Path) -> BoxFuture<'a, Result<wire::Explained, Refused>>;

    /// Sets the figures that are not counted as they happen.
    fn measure(&self);
}

/// Why something was not done, in the two parts of every failure.
#[derive(Clone, Debug)]
pub struct Refused {
    pub kind: Kind,
    pub problem: String,
    pub hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for is not there.
    NotFound,
    /// What was given (the config, as it is now) cannot be used.
    Invalid,
    /// It could not be done now.
    Unavailable,
}

impl Refused {
    pub fn new(kind: Kind, problem: impl std::fmt::Display) -> Self {
        Self { kind, problem: problem.to_string(), hint: None }
    }

    pub fn hint(mut self, hint: impl std::fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}
