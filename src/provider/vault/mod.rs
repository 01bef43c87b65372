//! A HashiCorp Vault or an OpenBao as a provider (`type: vault`): `vault:MOUNT/PATH#FIELD@VERSION`. Uses `net`.
//!
//! | what | file |
//! |---|---|
//! | a request, and a refusal in words | `api`, `refusal` |
//! | methods of login, those of clouds; a token and its time; being logged in | `login`, `cloud`, `pass`, `session` |
//! | what stands where; what we may do there | `mounts`, `rights` |
//! | key and value; what an answer holds; what was lent | `kv`, `answer`, `lease` |
//! | which secrets there are; what works and what does not | `names`, `steps` |

mod answer;
mod api;
mod cloud;
mod kv;
mod lease;
mod login;
mod mounts;
mod names;
mod pass;
mod refusal;
mod rights;
mod session;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::versions::Versions;
use super::{AsOf, Batch, BoxFuture, Given, Lender, Provider, ProviderError, Step};
use crate::config::Vault;
use crate::net::{Client, Response, Route};
use crate::secret::{Absent, Answer, SecretBytes, SecretKey, SecretVersion};
use crate::sys::leftover;
use crate::sys::uptime::Uptime;
use answer::{Lent, Plain};
use api::{Api, Ask, Member, unfit};
use kv::Seen;
use lease::{Ends, Leases};
use login::Door;
use mounts::{Engine, Mounts, Place};
use pass::Pass;
use rights::Right;
use session::Session;

pub struct VaultProvider(Arc<Inner>);

struct Inner {
    session: Arc<Session>,
    mounts: Mounts,
    seen: Seen,
    leases: Leases,
    versions: Versions,
    /// By path: what is sent there.
    writes: BTreeMap<String, BTreeMap<String, String>>,
    revokes: bool,
    /// Nothing is made.
    is_rehearsed: AtomicBool,
}

struct Told {
    answer: Answer,
    /// When to ask again, if that is known.
    until: Option<Uptime>,
    is_lent: bool,
}

/// How long a reader waits for a new one at most, where the old one is still good.
const PATIENCE: Duration = Duration::from_secs(1);

impl VaultProvider {
    /// `store` is where its own secrets may be.
    pub fn new(
        settings: Vault,
        timeout: Duration,
        version_key: SecretBytes,
        store: Option<Arc<dyn Provider>>,
    ) -> Self {
        let Vault { transport, namespace, mount, login, writes, revokes, give_back_after } = settings;
        let api = Arc::new(Api::new(Client::new(transport, timeout), namespace));
        Self(Arc::new(Inner {
            session: Arc::new(Session::new(api, Door::new(login, mount, store))),
            mounts: Mounts::default(),
            seen: Seen::default(),
            leases: Leases::new(give_back_after),
            versions: Versions::new(version_key),
            writes,
            revokes,
            is_rehearsed: AtomicBool::new(false),
        }))
    }
}

impl Inner {
    async fn read(self: &Arc<Self>, key: &SecretKey) -> Result<Told, ProviderError> {
        if is_of_system(&key.path) {
            let why = format!("`{}` is of the server itself: no secret is read from there", key.path);
            return Err(ProviderError::Invalid(why));
        }
        if !self.writes.contains_key(&key.path) && !self.leases.has(&key.path) {
            match self.mounts.place(&self.session, &key.path).await? {
                None => return Ok(Told::of(Err(Absent::Missing))),
                Some(place) if place.engine != Engine::Other => return self.read_at(place, key).await,
                Some(_) => {}
            }
        }
        // What is made has none.
        if key.version.is_some() {
            return Ok(Told::of(Err(Absent::Missing)));
        }
        self.session.take_up().await;
        if let Some(told) = self.lent(key) {
            return Ok(told);
        }
        let has_old = self.still(key, Duration::ZERO).is_some();
        let patience = match has_old {
            true => PATIENCE.min(self.session.api().client().timeout() / 2),
            false => Duration::MAX,
        };
        let late = |_| Err(ProviderError::Timeout("it takes its time to make a new one".to_owned()));
        let told = tokio::time::timeout(patience, self.anew(key)).await.unwrap_or_else(late);
        told.or_else(|error| self.still(key, pause_after(&error)).ok_or(error))
    }

    /// One at a time for each path, and to its end also when who asked has gone: what was made must not be lost.
    async fn anew(self: &Arc<Self>, key: &SecretKey) -> Result<Told, ProviderError> {
        let turn = self.leases.turn(&key.path).lock_owned().await;
        if let Some(told) = self.lent(key) {
            return Ok(told);
        }
        let (this, key) = (self.clone(), key.clone());
        let made = tokio::spawn(async move {
            let _turn = turn;
            match this.writes.get(&key.path) {
                Some(_) if this.is_rehearsed() => this.may(Right::Write, &key).await,
                Some(data) => this.make(&key, data).await,
                None => this.ask_for(&key).await,
            }
        });
        made.await.unwrap_or_else(|_| Err(ProviderError::Timeout("the question was lost".to_owned())))
    }

    /// What is made of data that is sent: each answer is another one.
    async fn make(&self, key: &SecretKey, data: &BTreeMap<String, String>) -> Result<Told, ProviderError> {
        self.leases.refuse_too_soon(&key.path)?;
        let made = self.make_now(key, data).await;
        self.leases.heed(&key.path, &made.as_ref().map(|(plain, _)| plain).map_err(Clone::clone))?;
        let (plain, pass) = made?;
        Ok(Told { is_lent: true, ..self.take(key, plain, &pass)? })
    }

    async fn make_now(
        &self,
        key: &SecretKey,
        data: &BTreeMap<String, String>,
    ) -> Result<(Plain, Arc<Pass>), ProviderError> {
        let ask = Ask::put(Route::to("/v1").names(&key.path).map_err(unfit)?).mute().once();
        let with =
            |ask: Ask, (name, text): (&String, &String)| ask.with(name.clone(), Member::Text(text.clone()));
        let ask = data.iter().fold(ask, with);
        let (response, pass) = self.session.ask(&ask).await?;
        if response.status() != 200 {
            let what = format!("what is written to `{}`", key.path);
            return Err(self.session.api().refusal(&what, &ask, &response));
        }
        Ok((leftover::wiped(|| answer::made(&response))?, pass))
    }

    /// Whether we have the right to it: nothing is made, and nothing is known of its fields.
    async fn may(&self, right: Right, key: &SecretKey) -> Result<Told, ProviderError> {
        Route::to("/v1").names(&key.path).map_err(unfit)?;
        rights::require(&self.session, right, &key.path).await?;
        Ok(Told::of(Err(Absent::Missing)))
    }

    async fn ask_for(&self, key: &SecretKey) -> Result<Told, ProviderError> {
        match self.mounts.place(&self.session, &key.path).await? {
            Some(place) => self.read_at(place, key).await,
            None => Ok(Told::of(Err(Absent::Missing))),
        }
    }

    async fn read_at(&self, mut place: Place, key: &SecretKey) -> Result<Told, ProviderError> {
        let session = &self.session;
        if matches!(place.engine, Engine::Kv2 | Engine::Unknown) {
            match self.seen.read(session, &place, key).await {
                Ok(Some(Err(Absent::Missing))) if place.engine == Engine::Unknown => {}
                Ok(Some(answer)) => {
                    self.mounts.learn(&place.mount, Engine::Kv2);
                    return Ok(Told::of(answer));
                }
                Err(error) if !(place.engine == Engine::Unknown && is_refusal(&error)) => return Err(error),
                _ => {
                    self.mounts.forget(&place.mount);
                    place.engine = Engine::Unknown;
                }
            }
        }
        self.read_plain(&place, key).await
    }

    /// KV 1, or what is made when it is asked for. Neither knows versions.
    async fn read_plain(&self, place: &Place, key: &SecretKey) -> Result<Told, ProviderError> {
        if key.version.is_some() {
            return Ok(Told::of(Err(Absent::Missing)));
        }
        let is_made = place.engine == Engine::Other || self.leases.has(&key.path);
        if is_made && self.is_rehearsed() {
            return self.may(Right::Read, key).await;
        }
        if is_made {
            self.leases.refuse_too_soon(&key.path)?;
        }
        let read = self.read_now(place, key, is_made).await;
        if is_made && let Some(made) = read.as_ref().map(Option::as_ref).transpose() {
            self.leases.heed(&key.path, &made.map(|(plain, _)| plain).map_err(Clone::clone))?;
        }
        let Some((plain, pass)) = read? else { return Ok(Told::of(Err(Absent::Missing))) };
        let told = self.take(key, plain, &pass)?;
        Ok(Told { is_lent: told.is_lent || is_made, ..told })
    }

    async fn read_now(
        &self,
        place: &Place,
        key: &SecretKey,
        once: bool,
    ) -> Result<Option<(Plain, Arc<Pass>)>, ProviderError> {
        let (ask, response, pass) = kv::read_plain(&self.session, place, once).await?;
        match response.status() {
            200 => {}
            404 if is_nothing(&response) => return Ok(None),
            _ => {
                // The mount may be of another kind by now.
                if response.status() < 500 {
                    self.mounts.forget(&place.mount);
                }
                let what = format!("the read of `{}`", key.path);
                return Err(self.session.api().refusal(&what, &ask, &response));
            }
        }
        if place.engine == Engine::Unknown && answer::is_of_kv2(&response) {
            let why =
                format!("`{}` is how KV 2 has it inside: leave `data/` out, and name the field", key.path);
            return Err(ProviderError::Invalid(why));
        }
        Ok(Some((leftover::wiped(|| answer::plain(&response))?, pass)))
    }

    fn is_rehearsed(&self) -> bool {
        self.is_rehearsed.load(Ordering::Relaxed)
    }

    fn take(&self, key: &SecretKey, plain: Plain, pass: &Pass) -> Result<Told, ProviderError> {
        if plain.fields.values().any(|value| value.same_as(pass.token.expose())) {
            let why = format!("`{}` holds our own token: no secret is read from there", key.path);
            return Err(ProviderError::Invalid(why));
        }
        let kind = answer::kind_of(&plain.fields);
        let mut version = self.versions.of(&key.path, kind, plain.fields);
        version.expires_at = plain.lease.as_ref().and_then(Lent::end);
        let (version, is_lent) = (Arc::new(version), plain.lease.is_some());
        let until = plain.lease.and_then(|lent| self.leases.put(&key.path, lent, version.clone(), pass));
        Ok(Told { answer: Ok(version), until, is_lent })
    }

    /// What we have already, and need not ask for.
    fn lent(&self, key: &SecretKey) -> Option<Told> {
        let pass = self.session.held().filter(|pass| key.version.is_none() && pass.is_good())?;
        self.leases.get(&key.path, &pass).map(Told::lent)
    }

    /// What we have, and should have changed for another one by now.
    fn still(&self, key: &SecretKey, pause: Duration) -> Option<Told> {
        let pass = self.session.held().filter(|_| key.version.is_none());
        self.leases.still(&key.path, pass.as_deref(), pause).map(Told::lent)
    }

    /// With our token go all leases that it was lent: as long as somebody uses them, it stays until it ends.
    async fn give_back(&self, given: Given) {
        if given == Given::InUse && self.leases.are_lent() {
            return;
        }
        self.session.close();
        if let Some(pass) = self.session.held() {
            let certificates = self.revokes && given == Given::Over;
            self.leases.give_back(&self.session, &Ends { leases: !pass.is_ours, certificates }).await;
        }
        self.session.leave().await;
    }
}

impl Told {
    fn of(answer: Answer) -> Self {
        Self { answer, until: None, is_lent: false }
    }

    fn lent((version, until): (Arc<SecretVersion>, Option<Uptime>)) -> Self {
        Self { answer: Ok(version), until, is_lent: true }
    }
}

/// Who wants to be left alone for a while is, as long as the old one is good.
fn pause_after(error: &ProviderError) -> Duration {
    match error {
        ProviderError::Throttled { after, .. } => after.unwrap_or_default(),
        _ => Duration::ZERO,
    }
}

/// All of them, as one answer.
fn together(told: Vec<Told>) -> Batch {
    let until = told.iter().filter_map(|told| told.until).min();
    let is_lent = told.iter().any(|told| told.is_lent);
    let answers = told.into_iter().map(|told| told.answer).collect();
    Batch { answers, as_of: AsOf { until, is_lent, ..AsOf::moment(0) } }
}

/// The places of our own login and of the server's settings are no secrets.
fn is_of_system(path: &str) -> bool {
    matches!(path.split('/').next(), Some("sys" | "auth" | "cubbyhole"))
}

fn is_nothing(response: &Response) -> bool {
    matches!(answer::missing(response), Ok(answer::Found::Nothing))
}

fn is_refusal(error: &ProviderError) -> bool {
    matches!(error, ProviderError::Denied(_))
}

impl Provider for VaultProvider {
    /// One after the other: who asks at once for many asks for one each.
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(async move {
            let mut told = Vec::with_capacity(keys.len());
            for key in keys {
                told.push(self.0.read(key).await?);
            }
            Ok(together(told))
        })
    }

    /// A Vault answers one secret at a time, and one that is refused must not take others with it.
    fn largest_batch(&self) -> usize {
        1
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async {
            let mut names = names::all(&self.0.session, &self.0.mounts).await?;
            names.extend(self.0.writes.keys().cloned());
            Ok(names)
        })
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async {
            steps::state(self.0.session.api()).await?;
            self.0.session.pass().await.map(drop)
        })
    }

    fn steps(&self) -> BoxFuture<'_, Vec<Step>> {
        Box::pin(steps::all(&self.0.session, &self.0.mounts))
    }

    fn tend(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async {
            self.0.session.tend().await?;
            self.0.leases.tend(&self.0.session, &Ends { leases: true, certificates: self.0.revokes }).await
        })
    }

    fn sweep(&self) {
        self.0.session.api().sweep();
    }

    fn allow(&self, time: Duration) {
        self.0.session.api().client().allow(time);
    }

    fn lender(&self) -> Option<&dyn Lender> {
        Some(self)
    }
}

impl Lender for VaultProvider {
    fn at_hand(&self, keys: &[SecretKey]) -> Option<Batch> {
        let at_hand = |key| self.0.lent(key).or_else(|| self.0.still(key, Duration::ZERO));
        keys.iter().map(at_hand).collect::<Option<_>>().map(together)
    }

    fn rehearse(&self) {
        self.0.is_rehearsed.store(true, Ordering::Relaxed);
    }

    fn makes(&self, path: &str) -> bool {
        self.0.writes.contains_key(path) || self.0.mounts.are_made(path)
    }

    fn give_back(&self, given: Given) -> BoxFuture<'_, ()> {
        Box::pin(self.0.give_back(given))
    }
}
