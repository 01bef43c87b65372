//! Whether a secret does what it is for, by its type: a key that belongs to its certificate, a server
//! that lets it in. Only on request, within a time limit, and told in words of our own: never a value,
//! nor what a server says. Uses the rules of `fields` for what needs no network, tokio and hyper.

mod http;
mod mysql;
mod net;
mod oauth;
mod postgres;
mod redis;
mod server;
mod url;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::fields;
use crate::secret::{FieldName, SecretBytes, SecretType};

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Works,
    Fails,
    /// Nobody can tell, or not from here.
    Unknown,
}

/// What was tried, and what came of it: the last line says why it ended as it did.
pub struct Trial {
    pub verdict: Verdict,
    pub seen: Vec<String>,
    /// Fields that the server has given in place of those it was asked with: they are void without these.
    pub fresh: BTreeMap<FieldName, SecretBytes>,
}

/// How far a trial may go.
#[derive(Clone, Copy, Default)]
pub struct Reach {
    /// A refresh token may be used, though some servers take it only once.
    pub refresh: bool,
}

/// Why a trial goes no further.
pub(crate) enum Stop {
    Fails(String),
    Unknown(String),
}

pub(crate) type Seen = Vec<String>;
type Fields = BTreeMap<FieldName, SecretBytes>;

/// A server that does not answer is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tries the fields of a secret of this type. Blocks for ten seconds at most.
pub fn of(kind: SecretType, fields: &Fields, reach: Reach, now: Timestamp) -> Trial {
    let mut seen = Seen::new();
    let mut fresh = BTreeMap::new();
    let outcome = match kind {
        SecretType::Certificate | SecretType::SshKey => {
            fields::look(kind, fields, now, &mut seen).map_err(Stop::Fails)
        }
        SecretType::ConnectionString => in_time(server::log_in(&fields["url"], &mut seen)),
        SecretType::Oauth => in_time(oauth::ask(fields, reach, &mut seen, &mut fresh)),
        SecretType::Plain
        | SecretType::ApiKey
        | SecretType::BasicAuth
        | SecretType::Bearer
        | SecretType::Webhook
        | SecretType::Custom => Err(Stop::Unknown(format!(
            "nothing is known of what a secret of the type {} is for",
            kind.as_str()
        ))),
    };
    let (verdict, last) = match outcome {
        Ok(()) => (Verdict::Works, None),
        Err(Stop::Fails(why)) => (Verdict::Fails, Some(why)),
        Err(Stop::Unknown(why)) => (Verdict::Unknown, Some(why)),
    };
    seen.extend(last);
    Trial { verdict, seen, fresh }
}

/// In this thread; a name server that never answers is left to itself.
fn in_time(work: impl Future<Output = Result<(), Stop>>) -> Result<(), Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Stop::Unknown(error.to_string()))?;
    let outcome = runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await });
    runtime.shutdown_background();
    outcome.unwrap_or_else(|_| Err(Stop::Fails(format!("no answer within {} s", PATIENCE.as_secs()))))
}

impl Stop {
    /// It has ended or broken off, or says what no server of that kind says.
    pub(crate) fn strange(what: &str) -> Self {
        Self::Fails(format!("what answers there does not speak as {what} does"))
    }
}
