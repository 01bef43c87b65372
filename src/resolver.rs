//! From a grant to values: finds the provider of each key, asks all providers at the same time and
//! each once, and remembers on what the answers rest, so that freshness can be asked later.
//! Uses `provider` and `policy`.

mod basis;
mod divergence;
mod failover;
mod health;
mod leaving;
mod several;
mod together;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Strategy;
use crate::nearest::nearest;
use crate::policy::Grant;
use crate::provider::{Batch, Lender, LocalStore, Memory, Provider, ProviderError, Pulse};
use crate::secret::{Absent, Answer, FieldName, Reference, SecretBytes, SecretKey, SecretVersion};
use basis::Ground;
pub use basis::{Asker, Basis};
pub use health::Health;
pub use leaving::Left;
use several::{Asked, Several};
use together::all;

/// The providers by name, and where a name without a provider is to be found.
pub struct Resolver {
    /// Unlike any other's in this process: a basis means nothing to another resolver.
    id: u64,
    providers: Vec<Named>,
    /// Index of the provider for names that are mapped nowhere.
    default: usize,
    mapped: BTreeMap<String, Reference>,
}

struct Named {
    name: String,
    source: Source,
    /// Being tended, perhaps for longer than anybody waits.
    is_tended: Arc<AtomicBool>,
    /// It was said that it needs attention.
    is_told: Arc<AtomicBool>,
}

enum Source {
    One(Arc<dyn Provider>),
    Several(Several),
}

/// How long all providers together are tended, for who waits.
const TENDING: Duration = Duration::from_millis(100);

/// Answers by key, as of the moments in `basis`.
#[derive(Default)]
pub struct Resolved {
    pub answers: HashMap<SecretKey, Answer>,
    pub basis: Basis,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("there is no provider `{name}`")]
    NoProvider { name: String, known: Vec<String> },
    #[error("the policy granted no access to `{0}`")]
    NotGranted(SecretKey),
    #[error("provider `{provider}`: {error}")]
    Provider { provider: String, error: ProviderError },
    #[error("both `{one}` and `{other}` of `{several}` have `{path}`")]
    Conflict { several: String, path: String, one: String, other: String },
    #[error("`{several}:{path}@{version}`: each of {} counts its own versions: name the one that is meant", .of.join(", "))]
    Pinned { several: String, path: String, version: u64, of: Vec<String> },
}

impl ResolveError {
    /// The provider that was perhaps meant, or all that there are.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoProvider { name, known } => Some(match nearest(name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the providers are {}; the config may name more", known.join(", ")),
            }),
            Self::Conflict { several, .. } => {
                Some(format!("remove it from one, or say `strategy: priority` for `{several}`"))
            }
            Self::Pinned { path, version, of, .. } => {
                Some(format!("`{}:{path}@{version}`, if it is that one", of[0]))
            }
            _ => None,
        }
    }
}

impl Resolver {
    /// The first of these answers for every name that has no provider of its own.
    pub fn of<'a>(providers: impl IntoIterator<Item = (&'a str, Arc<dyn Provider>)>) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let id = MADE.fetch_add(1, Ordering::Relaxed) + 1;
        let providers = providers.into_iter().map(|(name, provider)| Named::new(name, provider)).collect();
        Self { id, providers, default: 0, mapped: BTreeMap::new() }
    }

    pub fn with(mut self, name: &str, provider: Arc<dyn Provider>) -> Self {
        self.providers.push(Named::new(name, provider));
        self
    }

    /// Those of these names, which are there already, as one.
    pub fn with_several(mut self, name: &str, of: &[String], strategy: Strategy) -> Self {
        let index = |name: &String| self.providers.iter().position(|named| named.name == *name);
        let several = Several::new(of.iter().filter_map(index).collect(), strategy);
        self.providers.push(Named::from(name, Source::Several(several)));
        self
    }

    /// The one of this name answers for every name that is mapped nowhere.
    pub fn defaulting_to(mut self, name: &str) -> Self {
        self.default = self.providers.iter().position(|named| named.name == name).unwrap_or(self.default);
        self
    }

    /// The provider of this name, for another resolver to go on with.
    pub fn provider(&self, name: &str) -> Option<Arc<dyn Provider>> {
        self.providers.iter().find(|named| named.name == name)?.one().cloned()
    }

    /// Names that live elsewhere (`secrets:` of the config).
    pub fn mapping(mut self, mapped: BTreeMap<String, Reference>) -> Self {
        self.mapped = mapped;
        self
    }

    /// Answers all keys; each provider is asked once, for all of its keys.
    pub async fn resolve(&self, grant: &Grant, keys: &[SecretKey]) -> Result<Resolved, ResolveError> {
        if let Some(key) = grant.lacks(keys) {
            return Err(ResolveError::NotGranted(key.clone()));
        }
        let wanted = self.by_provider(keys)?;
        let answered = all(wanted.iter().map(|(&provider, wanted)| self.ask(provider, wanted))).await?;
        let mut resolved = Resolved::default();
        resolved.basis.resolver = self.id;
        for (wanted, asked) in wanted.into_values().zip(answered) {
            resolved.basis.grounds.extend(asked.grounds);
            resolved.take(wanted, asked.answers);
        }
        Ok(resolved)
    }

    /// The same, with answers that were given before for the keys that are among them. The basis is
    /// that of the other keys.
    pub async fn resolve_but(
        &self,
        grant: &Grant,
        keys: &[SecretKey],
        held: &[&Resolved],
    ) -> Result<Resolved, ResolveError> {
        let is_held = |key: &&SecretKey| held.iter().any(|held| held.answers.contains_key(*key));
        let (old, new): (Vec<_>, Vec<_>) = keys.iter().partition(is_held);
        let new: Vec<_> = new.into_iter().cloned().collect();
        let mut resolved = self.resolve(grant, &new).await?;
        old.into_iter().for_each(|key| resolved.hold(key, held));
        Ok(resolved)
    }

    async fn ask(&self, provider: usize, wanted: &[Want]) -> Result<Asked, ResolveError> {
        let keys: Vec<SecretKey> = wanted.iter().map(|want| want.at_provider.clone()).collect();
        match &self.providers[provider].source {
            Source::One(_) => {
                let (ground, batch) = self.ask_one(provider, keys).await?;
                Ok(Asked { grounds: vec![ground], answers: batch.answers })
            }
            Source::Several(several) => self.ask_several(provider, several, keys).await,
        }
    }

    async fn ask_one(&self, index: usize, keys: Vec<SecretKey>) -> Result<(Ground, Batch), ResolveError> {
        let named = &self.providers[index];
        let Source::One(provider) = &named.source else { return Err(named.none()) };
        let pulse = provider.pulse();
        let batch = provider.fetch(&keys).await.map_err(|error| named.failed(error))?;
        let (keys, told) = (keys.into(), Vec::new());
        let ground = Ground { provider: index, pulse, as_of: batch.as_of, keys, told, in_place_of: None };
        Ok((ground, batch))
    }

    /// The pulses of all providers now: equal and still means that nothing happened in between.
    pub fn pulses(&self) -> Vec<Pulse> {
        self.each().map(|(_, provider)| provider.pulse()).collect()
    }

    /// To be called each second by who keeps the providers. A failure shows at the next fetch.
    /// One that takes its time keeps nobody from the others.
    pub async fn tend(&self) {
        let mut tended: tokio::task::JoinSet<()> = self.providers.iter().filter_map(Named::tend).collect();
        let all = async { while tended.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(TENDING, all).await;
        tended.detach_all();
    }

    /// Has all providers wipe what is too old. To be called each second; never waits.
    pub fn sweep(&self) {
        self.each().for_each(|(_, provider)| provider.sweep());
    }

    /// Somebody will ask for secrets by their label. Never waits.
    pub fn expect_labels(&self) {
        self.each().filter_map(|(_, it)| it.store()).for_each(LocalStore::expect_labels);
    }

    /// Has all providers make nothing at their sources from now on. Never waits.
    pub fn rehearse(&self) {
        self.each().filter_map(|(_, it)| it.lender()).for_each(Lender::rehearse);
    }

    /// Whether the provider of this name has to make what has this path. Never waits.
    pub fn makes(&self, provider: &str, path: &str) -> bool {
        self.each()
            .filter(|(name, _)| *name == provider)
            .filter_map(|(_, it)| it.lender())
            .any(|it| it.makes(path))
    }

    /// Has all providers write down what only they know. At the orderly end.
    pub fn flush(&self) {
        self.each().for_each(|(_, provider)| provider.flush());
    }

    /// Every name that a reference without a provider can mean, as far as the providers answer.
    /// Asked only after a failure.
    pub async fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.mapped.keys().cloned().collect();
        for index in self.members(self.default) {
            if let Some(provider) = self.providers[index].one() {
                names.extend(provider.names().await.unwrap_or_default());
            }
        }
        names
    }

    /// Those that are asked where this one is.
    fn members(&self, index: usize) -> Vec<usize> {
        match &self.providers[index].source {
            Source::One(_) => vec![index],
            Source::Several(several) => several.of.clone(),
        }
    }

    fn memory(&self, index: usize) -> Option<&dyn Memory> {
        self.providers[index].one()?.memory()
    }

    fn each(&self) -> impl Iterator<Item = (&str, &Arc<dyn Provider>)> {
        self.providers.iter().filter_map(|named| Some((&*named.name, named.one()?)))
    }

    fn by_provider(&self, keys: &[SecretKey]) -> Result<BTreeMap<usize, Vec<Want>>, ResolveError> {
        let mut wanted: BTreeMap<usize, Vec<Want>> = BTreeMap::new();
        for key in keys {
            let (provider, at_provider, field) = self.locate(key)?;
            wanted.entry(provider).or_default().push(Want { key: key.clone(), at_provider, field });
        }
        Ok(wanted)
    }

    /// The provider of a key, the key as that provider knows it, and the field that the mapping
    /// narrows it to.
    fn locate(&self, key: &SecretKey) -> Result<(usize, SecretKey, Option<FieldName>), ResolveError> {
        let mapped = key.provider.is_none().then(|| self.mapped.get(&key.path)).flatten();
        let Some(target) = mapped else {
            return Ok((self.provider_of(key)?, SecretKey { provider: None, ..key.clone() }, None));
        };
        let provider = self.provider_of(&target.key)?;
        let version = key.version.or(target.key.version);
        let at_provider = SecretKey { provider: None, path: target.key.path.clone(), version };
        Ok((provider, at_provider, target.field.clone()))
    }

    /// The provider that it is asked of, and its name there.
    pub fn place(&self, key: &SecretKey) -> Option<(&str, String)> {
        let (provider, there, _) = self.locate(key).ok()?;
        Some((&self.providers[provider].name, there.path))
    }

    pub fn provider_name(&self, key: &SecretKey) -> Option<&str> {
        let (provider, ..) = self.locate(key).ok()?;
        Some(&self.providers[provider].name)
    }

    fn provider_of(&self, key: &SecretKey) -> Result<usize, ResolveError> {
        let Some(name) = &key.provider else { return Ok(self.default) };
        self.providers.iter().position(|named| named.name == *name).ok_or_else(|| ResolveError::NoProvider {
            name: name.clone(),
            known: self.providers.iter().map(|named| named.name.clone()).collect(),
        })
    }
}

/// A key as it was asked for, and as its provider knows it.
struct Want {
    key: SecretKey,
    at_provider: SecretKey,
    field: Option<FieldName>,
}

impl Named {
    fn new(name: &str, provider: Arc<dyn Provider>) -> Self {
        Self::from(name, Source::One(provider))
    }

    fn from(name: &str, source: Source) -> Self {
        Self { name: name.to_owned(), source, is_tended: Arc::default(), is_told: Arc::default() }
    }

    fn one(&self) -> Option<&Arc<dyn Provider>> {
        match &self.source {
            Source::One(provider) => Some(provider),
            Source::Several(_) => None,
        }
    }

    fn several(&self) -> Option<&Several> {
        match &self.source {
            Source::Several(several) => Some(several),
            Source::One(_) => None,
        }
    }

    /// `None`: the last time is not over.
    fn tend(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let provider = self.one()?.clone();
        if self.is_tended.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (name, is_tended, is_told) = (self.name.clone(), self.is_tended.clone(), self.is_told.clone());
        Some(async move {
            let outcome = provider.tend().await;
            // Each second is too often to be told the same.
            let was_told = is_told.swap(outcome.is_err(), Ordering::AcqRel);
            if let Err(error) = outcome
                && !was_told
            {
                tracing::warn!(provider = name, %error, "needs attention");
            }
            is_tended.store(false, Ordering::Release);
        })
    }

    fn none(&self) -> ResolveError {
        ResolveError::NoProvider { name: self.name.clone(), known: Vec::new() }
    }

    fn failed(&self, error: ProviderError) -> ResolveError {
        ResolveError::Provider { provider: self.name.clone(), error }
    }
}

impl Resolved {
    /// The answer that was given before to one of these keys, in place of a newer one.
    fn hold(&mut self, key: &SecretKey, held: &[&Self]) {
        if let Some(answer) = held.iter().find_map(|held| held.answers.get(key)) {
            self.answers.insert(key.clone(), answer.clone());
        }
    }

    fn take(&mut self, wanted: Vec<Want>, answers: Vec<Answer>) {
        for (want, answer) in wanted.into_iter().zip(answers) {
            let answer = match want.field {
                Some(field) => answer.and_then(|version| narrowed(&version, &field)),
                None => answer,
            };
            let answer = answer.and_then(living);
            if let Some(expires) = answer.as_ref().ok().and_then(|version| version.expires_at) {
                self.basis.until = Some(self.basis.until.map_or(expires, |until| until.min(expires)));
            }
            self.answers.insert(want.key, answer);
        }
    }
}

/// What is kept may end before it is asked for anew.
fn living(version: Arc<SecretVersion>) -> Answer {
    let has_ended = version.expires_at.is_some_and(|end| end <= Timestamp::now());
    if has_ended { Err(Absent::Expired) } else { Ok(version) }
}

/// A mapped name is a secret of its own, with the one field that it is mapped to.
fn narrowed(version: &SecretVersion, field: &FieldName) -> Answer {
    let value = version.fields.get(field).ok_or(Absent::Missing)?;
    Ok(Arc::new(SecretVersion {
        turned_out: version.turned_out.clone(),
        fields: BTreeMap::from([(FieldName::value(), SecretBytes::copy_of(value.expose()))]),
        uses: version.uses.clone(),
        ..*version
    }))
}
