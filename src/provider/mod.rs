//! Where secrets come from: the one small trait, and its contract in words.
//! Uses the words of `secret`; each provider is one file or folder below.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::secret::{Answer, SecretKey};
use crate::sys::uptime::Uptime;

mod apart;
#[cfg(feature = "aws")]
mod aws;
#[cfg(any(feature = "azure", feature = "vault"))]
mod azure;
mod constant;
mod env;
#[cfg(feature = "etcd")]
mod etcd;
mod exec;
mod fields;
mod file;
#[cfg(feature = "gcp")]
mod gcp;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod local;
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp", feature = "kubernetes"))]
mod login;
mod mirror;
mod nowhere;
#[cfg(feature = "onepassword")]
mod onepassword;
mod own;
mod remote;
mod roles;
mod sealed;
#[cfg(feature = "vault")]
mod vault;
mod versions;

#[cfg(feature = "aws")]
pub use aws::aws;
#[cfg(feature = "azure")]
pub use azure::AzureProvider;
pub use env::EnvProvider;
#[cfg(feature = "etcd")]
pub use etcd::EtcdProvider;
pub use exec::ExecProvider;
pub use file::FileProvider;
#[cfg(feature = "gcp")]
pub use gcp::GcpProvider;
#[cfg(feature = "kubernetes")]
pub use kubernetes::KubernetesProvider;
pub use local::LocalStore;
pub use mirror::{Fresh, Kept, Mirror, Put};
pub use nowhere::Nowhere;
#[cfg(feature = "onepassword")]
pub use onepassword::OnePasswordProvider;
pub use own::OwnSecret;
pub use remote::refusal;
pub use roles::{Changes, Lender, Memory};
pub use sealed::Sealed;
#[cfg(feature = "vault")]
pub use vault::VaultProvider;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A source of secrets. Shared by all threads; an answer may take as long as the network does,
/// and whoever asks puts a deadline on it. A future must not block the thread that polls it.
pub trait Provider: Send + Sync {
    /// Answers every key, in order, all as of one moment. `Err` means that the provider *failed*
    /// and nothing is known; that a secret is *absent* is an answer.
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>>;

    /// How many keys one question of it can hold; more are several questions.
    fn largest_batch(&self) -> usize {
        usize::MAX
    }

    /// Whether it is asked for by itself: its answer does not live as long as those beside it.
    fn is_alone(&self, _key: &SecretKey) -> bool {
        false
    }

    /// All names, for `list` and for "did you mean". Never on the path of an open that succeeds.
    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>>;

    /// Whether a fetch can be expected to succeed now.
    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>>;

    /// Finds and mends what the pulse cannot see. Called each second by who keeps a provider.
    fn tend(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async { Ok(()) })
    }

    /// Wipes what is too old to be kept. Called each second; never waits.
    fn sweep(&self) {}

    /// Writes down what only this process knows. At the orderly end; may take a moment.
    fn flush(&self) {}

    /// Whoever asks waits so long from now on.
    fn allow(&self, _time: Duration) {}

    /// The way to the first question, step by step: it ends at the first that fails. Of most on this machine there is
    /// none.
    fn way(&self) -> BoxFuture<'_, Vec<Step>> {
        Box::pin(async { Vec::new() })
    }

    /// What works and what does not, for who sets it up: ends at the first step that fails.
    fn steps(&self) -> BoxFuture<'_, Vec<Step>> {
        Box::pin(tried(self))
    }

    /// Tells of changes as they happen, for as long as it can, and ends with why it cannot any more.
    /// Begun after an answer, and anew after each end; `None` if the provider has no such thing.
    fn watch<'a>(&'a self, _tell: &'a Tell<'a>) -> Option<BoxFuture<'a, ProviderError>> {
        None
    }

    /// If it counts its changes.
    fn changes(&self) -> Option<&dyn Changes> {
        None
    }

    /// If it lends.
    fn lender(&self) -> Option<&dyn Lender> {
        None
    }

    /// If it remembers what another one answers.
    fn memory(&self) -> Option<&dyn Memory> {
        None
    }

    /// If it is the embedded store.
    fn store(&self) -> Option<&LocalStore> {
        None
    }
}

/// What becomes of the answers of a provider that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Nobody uses them any more.
    Over,
    /// Somebody goes on with them: what ends with our login must not be taken away.
    InUse,
}

/// Does work that may take a while (the disk, a long rendering) without keeping a thread of the
/// pool from others: timers go on, so that every deadline is met. Without a pool it just does it.
pub fn unhurried<T>(work: impl FnOnce() -> T) -> T {
    let pool =
        Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if pool { tokio::task::block_in_place(work) } else { work() }
}

/// Answers to the keys of one fetch, in their order.
pub struct Batch {
    pub answers: Vec<Answer>,
    pub as_of: AsOf,
}

/// The way to it, whether it answers, and what it lists.
async fn tried<P: Provider + ?Sized>(provider: &P) -> Vec<Step> {
    let mut steps = provider.way().await;
    if steps.iter().all(Step::is_fine) {
        steps.extend(asked(provider).await);
    }
    steps
}

/// Whether a provider answers, and what it lists.
async fn asked<P: Provider + ?Sized>(provider: &P) -> Vec<Step> {
    let start = Instant::now();
    let mut steps = vec![Step::of("answers", start, provider.health().await.map(|()| "yes".to_owned()))];
    if steps[0].is_fine() {
        let start = Instant::now();
        let listed = provider.names().await.map(|names| counted(names.len()));
        steps.push(Step::of("list", start, listed));
    }
    steps
}

/// What came of asking anew.
#[derive(Default)]
pub struct Refreshed {
    pub asked: usize,
    /// Those whose answer is another now.
    pub changed: usize,
    /// Those without an answer, and why the first of them has none.
    pub failed: usize,
    pub error: Option<ProviderError>,
}

/// So many secrets, in words.
fn counted(secrets: usize) -> String {
    if secrets == 1 { "1 secret".to_owned() } else { format!("{secrets} secrets") }
}

/// One of the things that have to work.
#[derive(Debug)]
pub struct Step {
    /// In a word.
    pub name: &'static str,
    pub took: Duration,
    /// What was found.
    pub outcome: Result<String, ProviderError>,
}

impl Step {
    pub fn of(name: &'static str, start: Instant, outcome: Result<String, ProviderError>) -> Self {
        Self { name, took: start.elapsed(), outcome }
    }

    pub fn is_fine(&self) -> bool {
        self.outcome.is_ok()
    }
}

/// The moment that answers belong to, and how long they are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOf {
    /// In the provider's own counting; 0: a watch does not tell if it changes.
    pub moment: u64,
    /// From when on the provider has to be asked, even if its pulse is the same.
    pub until: Option<Uptime>,
    /// Some answers are older than they should be, because their source does not answer: since
    /// when nobody has confirmed the oldest.
    pub stale_since: Option<Uptime>,
    /// Something of it was made for this process, or ends by itself: nobody keeps it for later.
    pub is_lent: bool,
}

impl AsOf {
    /// As good as the pulse of that moment.
    pub fn moment(moment: u64) -> Self {
        Self { moment, until: None, stale_since: None, is_lent: false }
    }

    /// Whether its source has ceased to answer since.
    pub fn is_older_than(&self, earlier: &Self) -> bool {
        self.stale_since.is_some() && earlier.stale_since.is_none()
    }
}

/// Whom a watch tells. Never waits.
pub type Tell<'a> = dyn Fn(News) + Send + Sync + 'a;

/// What a watch tells. Moments are the provider's own, as in [`AsOf`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// From here on nothing is missed: every change after this moment is told, or has been.
    Listening { since: u64 },
    /// These have changed, the last of them at this moment.
    Changed { paths: Vec<String>, at: u64 },
    /// These are not told of for now: they have their ordinary time, until they are asked for anew.
    Unheard { paths: Vec<String> },
    /// Anything may have changed, and moments from before mean nothing.
    All,
    /// Nothing has happened: a sign of life.
    Still,
}

/// A provider's word on its own state. Two equal `Still` mean: nothing has changed between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    Still(u64),
    /// A write is under way, or the state is not known: ask.
    Moving,
}

/// The provider could not answer. The text names what to look at and never holds a value.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProviderError {
    /// No key, or a wrong one: the store cannot be read until somebody acts.
    #[error("{0}")]
    Sealed(String),
    /// What is stored does not authenticate, or is not what was written.
    #[error("{0}")]
    Corrupt(String),
    /// It has failed, at once: to ask again may help.
    #[error("{0}")]
    Unavailable(String),
    /// There was no way to it: to ask again may help.
    #[error("{0}")]
    Unreachable(String),
    /// It has not answered in time.
    #[error("{0}")]
    Timeout(String),
    /// It was not asked: it is too early for another try.
    #[error("{0}")]
    Paused(String),
    /// It has answered, and nobody can use that.
    #[error("{0}")]
    Invalid(String),
    /// It has answered more than it may.
    #[error("{0}")]
    TooLarge(String),
    /// What answers there cannot be believed to be the provider: to ask again does not help.
    #[error("{0}")]
    Untrusted(String),
    /// It knows us, and gives us nothing: a credential that is void, or has not the right.
    #[error("{0}")]
    Denied(String),
    /// It wants to be left alone, for so long if it says so.
    #[error("{why}")]
    Throttled { why: String, after: Option<Duration> },
}

impl ProviderError {
    /// One word, for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sealed(_) => "sealed",
            Self::Corrupt(_) => "corrupt",
            Self::Unavailable(_) => "unavailable",
            Self::Unreachable(_) => "connect",
            Self::Timeout(_) => "timeout",
            Self::Paused(_) => "paused",
            Self::Invalid(_) => "decode",
            Self::TooLarge(_) => "too_large",
            Self::Untrusted(_) => "tls",
            Self::Denied(_) => "auth",
            Self::Throttled { .. } => "throttled",
        }
    }

    /// The provider itself is down, as far as one can tell.
    pub fn is_outage(&self) -> bool {
        self.is_passing() || matches!(self, Self::Timeout(_) | Self::Untrusted(_))
    }

    /// What was answered once is better than this: it is down, or has no time for us.
    pub fn is_no_answer(&self) -> bool {
        self.is_outage() || matches!(self, Self::Throttled { .. } | Self::Paused(_))
    }

    /// It has answered: what it said before is not good any more, however old that may be.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Corrupt(_))
    }

    /// Of several that were asked for together, it may be one alone that is refused.
    pub fn may_be_of_one(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::Invalid(_) | Self::TooLarge(_) | Self::Denied(_))
    }

    /// To ask again at once may help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unreachable(_))
    }
}
