//! From a grant to values: finds the provider of each key, asks all providers at the same time and
//! each once, and remembers on what the answers rest, so that freshness can be asked later.
//! Uses `provider` and `policy`.

mod together;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::nearest::nearest;
use crate::policy::Grant;
use crate::provider::{AsOf, Batch, Provider, ProviderError, Pulse};
use crate::secret::{Absent, Answer, FieldName, Reference, SecretBytes, SecretKey, SecretVersion};
use crate::sys::uptime::Uptime;
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
    provider: Arc<dyn Provider>,
    /// Being tended, perhaps for longer than anybody waits.
    is_tended: Arc<AtomicBool>,
}

/// How long all providers together are tended, for who waits.
const TENDING: Duration = Duration::from_millis(100);

/// Answers by key, as of the moments in `basis`.
#[derive(Default)]
pub struct Resolved {
    pub answers: HashMap<SecretKey, Answer>,
    pub basis: Basis,
}

/// What a set of answers rests on: per provider, the keys asked and the moment of the answer.
#[derive(Clone, Default)]
pub struct Basis {
    resolver: u64,
    grounds: Vec<Ground>,
    /// When the first of the answers expires.
    until: Option<Timestamp>,
}

#[derive(Clone)]
struct Ground {
    provider: usize,
    /// Taken before the answer, so that a change in between is noticed.
    pulse: Pulse,
    as_of: AsOf,
    keys: Vec<SecretKey>,
}

/// Why a basis is not renewed.
enum Stop {
    Changed,
    Failed(ResolveError),
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("there is no provider `{name}`")]
    NoProvider { name: String, known: Vec<String> },
    #[error("the policy granted no access to `{0}`")]
    NotGranted(SecretKey),
    #[error("provider `{provider}`: {error}")]
    Provider { provider: String, error: ProviderError },
}

impl ResolveError {
    /// The provider that was perhaps meant, or all that there are.
    pub fn hint(&self) -> Option<String> {
        let Self::NoProvider { name, known } = self else { return None };
        Some(match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the providers are {}; the config may name more", known.join(", ")),
        })
    }
}

impl Resolver {
    /// `default` answers for every name that has no provider of its own.
    pub fn new(default: &str, provider: Arc<dyn Provider>) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let id = MADE.fetch_add(1, Ordering::Relaxed) + 1;
        Self { id, providers: vec![Named::new(default, provider)], default: 0, mapped: BTreeMap::new() }
    }

    pub fn with(mut self, name: &str, provider: Arc<dyn Provider>) -> Self {
        self.providers.push(Named::new(name, provider));
        self
    }

    /// The provider of this name, for another resolver to go on with.
    pub fn provider(&self, name: &str) -> Option<Arc<dyn Provider>> {
        self.providers.iter().find(|named| named.name == name).map(|named| named.provider.clone())
    }

    /// Names that live elsewhere (`secrets:` of the config).
    pub fn mapping(mut self, mapped: BTreeMap<String, Reference>) -> Self {
        self.mapped = mapped;
        self
    }

    /// Answers all keys; each provider is asked once, for all of its keys.
    pub async fn resolve(&self, grant: &Grant, keys: &[SecretKey]) -> Result<Resolved, ResolveError> {
        if let Some(key) = keys.iter().find(|key| !grant.covers(key)) {
            return Err(ResolveError::NotGranted(key.clone()));
        }
        let wanted = self.by_provider(keys)?;
        let answered = all(wanted.iter().map(|(&provider, wanted)| self.ask(provider, wanted))).await?;
        let mut resolved = Resolved::default();
        resolved.basis.resolver = self.id;
        for (wanted, (ground, batch)) in wanted.into_values().zip(answered) {
            resolved.basis.grounds.push(ground);
            resolved.take(wanted, batch);
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

    async fn ask(&self, provider: usize, wanted: &[Want]) -> Result<(Ground, Batch), ResolveError> {
        let named = &self.providers[provider];
        let keys: Vec<SecretKey> = wanted.iter().map(|want| want.at_provider.clone()).collect();
        let pulse = named.provider.pulse();
        let batch = named.provider.fetch(&keys).await.map_err(|error| named.failed(error))?;
        Ok((Ground { provider, pulse, as_of: batch.as_of, keys }, batch))
    }

    /// Whether nothing can have changed since: costs one pulse per provider.
    pub fn is_still(&self, basis: &Basis) -> bool {
        self.has_resolved(basis)
            && !basis.has_expired()
            && basis.grounds.iter().all(|ground| self.stands(ground))
    }

    fn stands(&self, ground: &Ground) -> bool {
        matches!(ground.pulse, Pulse::Still(_))
            && ground.as_of.until.is_none_or(|until| Uptime::now() < until)
            && self.providers[ground.provider].provider.pulse() == ground.pulse
    }

    /// Which answers are older than they should be, because their provider does not answer.
    pub fn staleness(&self, basis: &Basis) -> Option<String> {
        if !self.has_resolved(basis) {
            return None;
        }
        let stale = basis.grounds.iter().filter_map(|ground| {
            let age = Uptime::now().since(ground.as_of.stale_since?).as_secs();
            Some(format!("{}: not confirmed for {age} s", self.providers[ground.provider].name))
        });
        Some(stale.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
    }

    pub fn has_resolved(&self, basis: &Basis) -> bool {
        basis.resolver == self.id
    }

    /// Asks the providers that moved. `None`: one of the answers may be different now.
    pub async fn recheck(&self, basis: &Basis) -> Result<Option<Basis>, ResolveError> {
        if !self.has_resolved(basis) || basis.has_expired() {
            return Ok(None);
        }
        match all(basis.grounds.iter().map(|ground| self.renewed(ground))).await {
            Ok(grounds) => Ok(Some(Basis { grounds, ..*basis })),
            Err(Stop::Changed) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    async fn renewed(&self, ground: &Ground) -> Result<Ground, Stop> {
        if self.stands(ground) {
            return Ok(ground.clone());
        }
        let named = &self.providers[ground.provider];
        let pulse = named.provider.pulse();
        match named.provider.unchanged(&ground.keys, ground.as_of.moment).await {
            Ok(Some(as_of)) => Ok(Ground { pulse, as_of, ..ground.clone() }),
            Ok(None) => Err(Stop::Changed),
            Err(error) => Err(Stop::Failed(named.failed(error))),
        }
    }

    /// The pulses of all providers now: equal and still means that nothing happened in between.
    pub fn pulses(&self) -> Vec<Pulse> {
        self.providers.iter().map(|named| named.provider.pulse()).collect()
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
        self.providers.iter().for_each(|named| named.provider.sweep());
    }

    /// Somebody will ask for secrets by their label. Never waits.
    pub fn expect_labels(&self) {
        self.providers.iter().for_each(|named| named.provider.expect_labels());
    }

    /// Has all providers write down what only they know. At the orderly end.
    pub fn flush(&self) {
        self.providers.iter().for_each(|named| named.provider.flush());
    }

    /// Each provider by name, with why a fetch would fail now. One that does not answer in time
    /// would fail, too.
    pub async fn health(&self) -> Vec<(String, Option<String>)> {
        let mut health = Vec::new();
        for named in &self.providers {
            let problem = match tokio::time::timeout(PATIENCE, named.provider.health()).await {
                Ok(answer) => answer.err().map(|error| error.to_string()),
                Err(_) => Some(format!("no answer within {PATIENCE:?}")),
            };
            health.push((named.name.clone(), problem));
        }
        health
    }

    /// Every name that a reference without a provider can mean, as far as the providers answer.
    /// Asked only after a failure.
    pub async fn names(&self) -> Vec<String> {
        let own = self.providers[self.default].provider.names().await.unwrap_or_default();
        own.into_iter().chain(self.mapped.keys().cloned()).collect()
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

impl Basis {
    /// Rests on that, too.
    pub fn extend(&mut self, other: &Self) {
        self.grounds.extend_from_slice(&other.grounds);
        self.until = self.until.into_iter().chain(other.until).min();
    }

    /// Time alone has changed an answer.
    pub fn has_expired(&self) -> bool {
        self.until.is_some_and(|until| until <= Timestamp::now())
    }
}

/// For a provider to say how it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// A key as it was asked for, and as its provider knows it.
struct Want {
    key: SecretKey,
    at_provider: SecretKey,
    field: Option<FieldName>,
}

impl Named {
    fn new(name: &str, provider: Arc<dyn Provider>) -> Self {
        Self { name: name.to_owned(), provider, is_tended: Arc::default() }
    }

    /// `None`: the last time is not over.
    fn tend(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        if self.is_tended.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (name, provider, is_tended) = (self.name.clone(), self.provider.clone(), self.is_tended.clone());
        Some(async move {
            if let Err(error) = provider.tend().await {
                tracing::warn!(provider = name, %error, "needs attention");
            }
            is_tended.store(false, Ordering::Release);
        })
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

    fn take(&mut self, wanted: Vec<Want>, batch: Batch) {
        for (want, answer) in wanted.into_iter().zip(batch.answers) {
            let answer = match want.field {
                Some(field) => answer.and_then(|version| narrowed(&version, &field)),
                None => answer,
            };
            if let Some(expires) = answer.as_ref().ok().and_then(|version| version.expires_at) {
                self.basis.until = Some(self.basis.until.map_or(expires, |until| until.min(expires)));
            }
            self.answers.insert(want.key, answer);
        }
    }
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
