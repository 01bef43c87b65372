//! What the config says on a provider, judged: its type, and what each type takes and needs.
//! Pure; uses `raw`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::raw;
use super::word::Given;

/// A provider as the config describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderConfig {
    Store,
    Env,
    Remote(Remote),
}

/// One that has to be asked, within limits, and whose answers are kept for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    pub source: RemoteSource,
    pub limits: Limits,
    pub keeping: Keeping,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteSource {
    Exec(Program),
}

/// A program that prints a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program and its first arguments: never empty.
    pub command: Vec<String>,
    /// Its environment, beside the few variables that every program has.
    pub env: BTreeMap<String, String>,
    /// It prints an object of fields, not a value.
    pub prints_json: bool,
    /// The status by which it says that there is no such secret.
    pub not_found_status: u8,
}

/// How much is asked of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time for one answer, all tries together.
    pub timeout: Duration,
    /// Questions at once.
    pub concurrency: usize,
}

/// What is kept of a provider's answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// How long an answer is good.
    pub ttl: Duration,
    /// How much longer it is served, and marked, if the provider does not answer.
    pub max_stale: Option<Duration>,
    /// How long it is good that there is no such secret.
    pub negative_ttl: Duration,
    /// The bytes of all answers that are kept.
    pub size: usize,
    /// The paths that are asked for each time.
    pub no_cache: BTreeSet<String>,
}

/// The types of providers, as the config names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProviderType {
    Store,
    Env,
    Exec,
}

impl ProviderType {
    pub(super) const ALL: [(&str, Self); 3] =
        [("store", Self::Store), ("env", Self::Env), ("exec", Self::Exec)];
}

/// The time within which a reader has an answer is five seconds: an own reason comes before that.
const TIMEOUT: Duration = Duration::from_secs(4);
const CONCURRENCY: usize = 16;
/// errSecItemNotFound, as the macOS keychain's program says it.
const NOT_FOUND: u8 = 44;

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: TIMEOUT, concurrency: CONCURRENCY }
    }
}

impl Default for Keeping {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(60),
            max_stale: None,
            negative_ttl: Duration::from_secs(5),
            size: 16 << 20,
            no_cache: BTreeSet::new(),
        }
    }
}

impl ProviderConfig {
    /// `Err` names the key that is wrong, and says why. A relative program begins at `place`.
    pub(super) fn judge(
        given: raw::Provider,
        place: impl Fn(String) -> String,
    ) -> Result<Self, (&'static str, String)> {
        match given.r#type.0 {
            ProviderType::Exec => {}
            own => return given.refuse_extras().map(|()| Self::of_own(own)),
        }
        let mut command: Vec<String> = given.command.into_iter().flatten().map(|word| word.0.0).collect();
        let Some(program) = command.first_mut() else {
            return Err((
                "type",
                "the type exec needs a `command`: a list of the program and its arguments".to_owned(),
            ));
        };
        *program = place(std::mem::take(program));
        let env = given.env.unwrap_or_default().0.into_iter().map(|(name, value)| (name.0, value.0.0));
        let limits = Limits::default();
        Ok(Self::Remote(Remote {
            source: RemoteSource::Exec(Program {
                command,
                env: env.collect(),
                prints_json: given.fields.0.is_some(),
                not_found_status: given.not_found_status.0.map_or(NOT_FOUND, |status| status.0),
            }),
            limits: Limits {
                timeout: given.timeout.0.unwrap_or(limits.timeout),
                concurrency: given.concurrency.0.map_or(limits.concurrency, |count| count.0),
            },
            keeping: given.cache.map_or_else(Keeping::default, Keeping::of),
        }))
    }

    fn of_own(own: ProviderType) -> Self {
        if own == ProviderType::Env { Self::Env } else { Self::Store }
    }
}

impl Keeping {
    fn of(given: raw::Cache) -> Self {
        let usual = Self::default();
        Self {
            ttl: given.ttl.0.unwrap_or(usual.ttl),
            max_stale: given.max_stale.0,
            negative_ttl: given.negative_ttl.0.unwrap_or(usual.negative_ttl),
            size: given.size.0.map_or(usual.size, |size| size.0),
            no_cache: given.no_cache.into_iter().map(|word| word.0.0).collect(),
        }
    }
}

impl raw::Provider {
    /// What is here at hand takes no settings: one that is given was meant to do something.
    fn refuse_extras(&self) -> Result<(), (&'static str, String)> {
        fn is<T>(given: &Given<T>) -> bool {
            given.0.is_some()
        }
        let given = [
            ("command", self.command.is_some()),
            ("env", self.env.is_some()),
            ("fields", is(&self.fields)),
            ("not_found_status", is(&self.not_found_status)),
            ("timeout", is(&self.timeout)),
            ("concurrency", is(&self.concurrency)),
            ("cache", self.cache.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((key, _)) => Err((key, format!("a provider of this type takes no `{key}`"))),
            None => Ok(()),
        }
    }
}
