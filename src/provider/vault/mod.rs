//! A HashiCorp Vault or an OpenBao as a provider (`type: vault`): `vault:MOUNT/PATH#FIELD@VERSION`. Uses `net`.
//!
//! | what | file |
//! |---|---|
//! | a request, and a refusal in words | `api` |
//! | methods of login, those of clouds; a token and its time; being logged in | `login`, `cloud`, `pass`, `session` |
//! | what stands where | `mounts` |
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
mod session;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::versions::Versions;
use super::{AsOf, Batch, BoxFuture, Given, Provider, ProviderError, Step};
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
}

/// An answer, and when to ask again if that is known.
type Told = (Answer, Option<Uptime>);

impl VaultProvider {
    /// `store` is where its own secrets may be.
    pub fn new(
        settings: Vault,
        timeout: Duration,
        version_key: SecretBytes,
        store: Option<Arc<dyn Provider>>,
    ) -> Self {
        let Vault { transport, namespace, mount, login, writes, revokes } = settings;
        let api = Arc::new(Api::new(Client::new(transport, timeout), namespace));
        Self(Arc::new(Inner {
            session: Arc::new(Session::new(api, Door::new(login, mount, store))),
            mounts: Mounts::default(),
            seen: Seen::default(),
            leases: Leases::default(),
            versions: Versions::new(version_key),
            writes,
            revokes,
        }))
    }
}

impl Inner {
    async fn read(&self, key: &SecretKey) -> Result<Told, ProviderError> {
        if is_of_system(&key.path) {
            let why = format!("`{}` is of the server itself: no secret is read from there", key.path);
            return Err(ProviderError::Invalid(why));
        }
        if let Some((version, until)) = self.lent(key) {
            return Ok((Ok(version), until));
        }
        let told = match self.writes.get(&key.path) {
            Some(data) => self.make(key, data).await,
            None => self.ask_for(key).await,
        };
        match told {
            Err(error) if error.is_outage() && key.version.is_none() => {
                let held = self.session.held();
                let still = self.leases.still(&key.path, held.as_deref());
                still.map(|(version, until)| (Ok(version), until)).ok_or(error)
            }
            told => told,
        }
    }

    /// What is made of data that is sent: each answer is another one.
    async fn make(&self, key: &SecretKey, data: &BTreeMap<String, String>) -> Result<Told, ProviderError> {
        if key.version.is_some() {
            return Ok((Err(Absent::Missing), None));
        }
        let ask = Ask::put(Route::to("/v1").names(&key.path).map_err(unfit)?).mute();
        let with =
            |ask: Ask, (name, text): (&String, &String)| ask.with(name.clone(), Member::Text(text.clone()));
        let ask = data.iter().fold(ask, with);
        let (response, pass) = self.session.ask(&ask).await?;
        if response.status() != 200 {
            let what = format!("what is written to `{}`", key.path);
            return Err(self.session.api().refusal(&what, &ask, &response));
        }
        let made = leftover::wiped(|| answer::made(&response))?;
        self.take(key, made, &pass)
    }

    async fn ask_for(&self, key: &SecretKey) -> Result<Told, ProviderError> {
        let session = &self.session;
        let Some(mut place) = self.mounts.place(session, &key.path).await? else {
            return Ok((Err(Absent::Missing), None));
        };
        if matches!(place.engine, Engine::Kv2 | Engine::Unknown) {
            match self.seen.read(session, &place, key).await {
                Ok(Some(Err(Absent::Missing))) if place.engine == Engine::Unknown => {}
                Ok(Some(answer)) => {
                    self.mounts.learn(&place.mount, Engine::Kv2);
                    return Ok((answer, None));
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
            return Ok((Err(Absent::Missing), None));
        }
        let (ask, response, pass) = kv::read_plain(&self.session, place).await?;
        match response.status() {
            200 => {}
            404 if is_nothing(&response) => return Ok((Err(Absent::Missing), None)),
            _ => {
                // The mount may be of another kind by now.
                self.mounts.forget(&place.mount);
                let what = format!("the read of `{}`", key.path);
                return Err(self.session.api().refusal(&what, &ask, &response));
            }
        }
        if place.engine == Engine::Unknown && answer::is_of_kv2(&response) {
            let why =
                format!("`{}` is how KV 2 has it inside: leave `data/` out, and name the field", key.path);
            return Err(ProviderError::Invalid(why));
        }
        let plain = leftover::wiped(|| answer::plain(&response))?;
        self.take(key, plain, &pass)
    }

    fn take(&self, key: &SecretKey, plain: Plain, pass: &Pass) -> Result<Told, ProviderError> {
        if plain.fields.values().any(|value| value.same_as(pass.token.expose())) {
            let why = format!("`{}` holds our own token: no secret is read from there", key.path);
            return Err(ProviderError::Invalid(why));
        }
        let kind = answer::kind_of(&plain.fields);
        let mut version = self.versions.of(&key.path, kind, plain.fields);
        version.expires_at = plain.lease.as_ref().and_then(Lent::end);
        let version = Arc::new(version);
        let until = plain.lease.and_then(|lent| self.leases.put(&key.path, lent, version.clone(), pass));
        Ok((Ok(version), until))
    }

    /// What we have already, and need not ask for.
    fn lent(&self, key: &SecretKey) -> Option<(Arc<SecretVersion>, Option<Uptime>)> {
        let pass = self.session.held().filter(|pass| key.version.is_none() && pass.is_good())?;
        self.leases.get(&key.path, &pass)
    }

    /// With our token go all leases that it was lent: as long as somebody uses them, it stays until it ends.
    async fn give_back(&self, given: Given) {
        if given == Given::InUse && self.leases.are_lent() {
            return;
        }
        if let Some(pass) = self.session.held() {
            let certificates = self.revokes && given == Given::Over;
            self.leases.give_back(&self.session, &Ends { leases: !pass.is_ours, certificates }).await;
        }
        self.session.leave().await;
    }
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
            let (mut answers, mut as_of) = (Vec::with_capacity(keys.len()), AsOf::moment(0));
            for key in keys {
                let (answer, until) = self.0.read(key).await?;
                as_of.until = as_of.until.into_iter().chain(until).min();
                answers.push(answer);
            }
            Ok(Batch { answers, as_of })
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
            self.0.leases.tend(&self.0.session).await
        })
    }

    fn sweep(&self) {
        self.0.session.api().sweep();
    }

    fn give_back(&self, given: Given) -> BoxFuture<'_, ()> {
        Box::pin(self.0.give_back(given))
    }
}
