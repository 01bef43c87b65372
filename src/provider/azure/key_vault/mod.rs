//! A key vault of Azure as a provider (`type: azure-kv`). Uses `net`.
//!
//! | `azure:NAME` or `azure:NAME/VERSION` | |
//! |---|---|
//! | the name | as Azure has it, in lower case: it knows no case |
//! | field `value` | the secret's value |
//! | other fields | the members, if that is an object of JSON |
//! | version | the first 52 bits of Azure's own, which has 32 hexadecimal digits |

mod assertion;
mod az;
mod challenge;
mod entra;
mod identity;
mod place;
mod platform;
mod refusal;
mod session;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::{AzureVault, Tls};
use crate::net::{Client, Json, JsonError, Request, Response, Route};
use crate::provider::fields::with_members;
use crate::provider::remote::way;
use crate::provider::{AsOf, Batch, BoxFuture, Provider, ProviderError, Step, asked};
use crate::secret::{Absent, Answer, SecretBytes, SecretKey, SecretVersion};
use crate::sys::leftover;
use identity::{Identity, Said};
use place::{DIGITS, Place};
use refusal::Refusal;
use session::Session;

pub struct AzureProvider {
    session: Session,
    has_one_name: bool,
}

const API: &str = "7.4";
const SECRETS: &str = "/secrets";
/// The most bytes of a value: more than a key vault takes.
const LARGEST: usize = 1 << 20;
/// Names of a page, as many as it gives; and pages of one list.
const PAGE: &str = "25";
const MOST_PAGES: usize = 4_000;

impl AzureProvider {
    /// `store` is where its own secrets may be.
    pub fn new(settings: AzureVault, timeout: Duration, store: Option<Arc<dyn Provider>>) -> Self {
        let AzureVault { transport, has_one_name, identity, resource, authority, metadata } = settings;
        // An authority of one's own may be signed by the same as the vault; pins and our certificate are the vault's.
        let tls = Tls { ca: transport.tls.ca.clone(), ..Tls::default() };
        let identity = Identity::new(Said { identity, authority, metadata, tls }, timeout, store);
        let session = Session::new(Client::new(transport, timeout), identity, resource);
        Self { session, has_one_name }
    }

    async fn read(&self, keys: &[SecretKey]) -> Result<Batch, ProviderError> {
        let mut answers = Vec::with_capacity(keys.len());
        for key in keys {
            answers.push(self.read_one(key).await?);
        }
        Ok(Batch { answers, as_of: AsOf::moment(0) })
    }

    async fn read_one(&self, key: &SecretKey) -> Result<Answer, ProviderError> {
        if key.version.is_some() {
            let why = format!(
                "a version of `{}` has {DIGITS} hexadecimal digits: write `{}/VERSION`",
                key.path, key.path
            );
            return Err(ProviderError::Invalid(why));
        }
        let Some(place) = Place::of(&key.path)? else { return Ok(Err(Absent::Missing)) };
        if self.has_one_name && place.version.is_some() {
            let why = format!(
                "the config has rules on secrets, and one on `{name}` would not hold for `{}`: name `{name}`",
                key.path,
                name = place.name
            );
            return Err(ProviderError::Invalid(why));
        }
        let ask = || {
            let route = Route::to(SECRETS).name(place.name)?;
            let route = place.version.map_or(Ok(route.clone()), |version| route.name(version))?;
            Ok(Request::get(route).query("api-version", API))
        };
        match self.session.ask(ask).await {
            Ok(response) => leftover::wiped(|| self.answer(&place, &response)),
            Err(Refusal::Missing) => Ok(Err(Absent::Missing)),
            Err(Refusal::Disabled) => Ok(Err(Absent::Revoked)),
            Err(refusal) => Err(refusal.error(&self.session.who())),
        }
    }

    fn answer(&self, place: &Place<'_>, response: &Response) -> Result<Answer, ProviderError> {
        let answer = response.json()?;
        let id = answer.at(&["id"])?.text()?;
        let Some(version) = place.version_of(&id) else {
            let why = format!("{} answers with another secret or version", self.session.who());
            return Err(ProviderError::Invalid(why));
        };
        let times = Times::read(answer.at(&["attributes"])?)?;
        let now = Timestamp::now();
        if !times.is_enabled {
            return Ok(Err(Absent::Revoked));
        }
        // A key vault leaves both to who asks.
        if times.end.is_some_and(|end| end <= now) {
            return Ok(Err(Absent::Expired));
        }
        let name = place.name;
        if let Some(begin) = times.begin.filter(|begin| *begin > now) {
            return Err(ProviderError::Invalid(format!("`{name}` is not to be used before {begin}")));
        }
        let value = answer.at(&["value"])?.secret()?;
        if value.len() > LARGEST {
            return Err(ProviderError::TooLarge(format!("`{name}` has more than {} MiB", LARGEST >> 20)));
        }
        Ok(Ok(Arc::new(times.version(version, value)?)))
    }

    async fn list(&self) -> Result<Vec<String>, ProviderError> {
        let (mut names, mut next) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let ask = || {
                Ok(match &next {
                    None => {
                        Request::get(Route::to(SECRETS)).query("api-version", API).query("maxresults", PAGE)
                    }
                    Some(route) => Request::get(Route::clone(route)),
                })
            };
            let response = self.session.ask(ask).await.map_err(|it| it.error(&self.session.who()))?;
            let answer = response.json()?;
            for item in answer.at(&["value"])?.items()? {
                let id = item.at(&["id"])?.text()?;
                names.extend(id.rsplit('/').next().map(str::to_ascii_lowercase));
            }
            next = match answer.get("nextLink")?.map(Json::text).transpose()?.filter(|it| !it.is_empty()) {
                Some(link) => Some(self.stays(&link)?),
                None => break,
            };
        }
        Ok(names)
    }

    /// Our token goes to no other server.
    fn stays(&self, link: &str) -> Result<Route, ProviderError> {
        let elsewhere = || {
            let what = "sends us elsewhere for the rest of its list, which is not followed";
            ProviderError::Invalid(format!("{} {what}", self.session.who()))
        };
        self.session.client().stays(link).ok_or_else(elsewhere)
    }

    /// Who may not list is answered, too.
    async fn is_well(&self) -> Result<(), ProviderError> {
        let ask = || Ok(Request::get(Route::to(SECRETS)).query("api-version", API).query("maxresults", "1"));
        match self.session.ask(ask).await {
            Ok(_) | Err(Refusal::NoRight) => Ok(()),
            Err(refusal) => Err(refusal.error(&self.session.who())),
        }
    }
}

/// What a key vault says of a version.
struct Times {
    is_enabled: bool,
    created: Timestamp,
    updated: Timestamp,
    begin: Option<Timestamp>,
    end: Option<Timestamp>,
}

impl Times {
    fn read(attributes: Json<'_>) -> Result<Self, JsonError> {
        let time = |name: &str| -> Result<Option<Timestamp>, JsonError> {
            let Some(seconds) = attributes.get(name)?.map(Json::whole).transpose()? else { return Ok(None) };
            let moment = i64::try_from(seconds).ok().and_then(|it| Timestamp::from_second(it).ok());
            moment.map(Some).ok_or(JsonError::Other { expected: "a time" })
        };
        let is_enabled = attributes.get("enabled")?.map(Json::flag).transpose()?.unwrap_or(true);
        let created = time("created")?.unwrap_or(Timestamp::UNIX_EPOCH);
        let updated = time("updated")?.unwrap_or(created);
        Ok(Self { is_enabled, created, updated, begin: time("nbf")?, end: time("exp")? })
    }

    fn version(self, version: u64, value: SecretBytes) -> Result<SecretVersion, ProviderError> {
        let (kind, fields) = with_members(value)?;
        Ok(SecretVersion {
            turned_out: None,
            kind,
            fields,
            version,
            created_at: self.created,
            updated_at: self.updated,
            expires_at: self.end,
            uses: None,
        })
    }
}

impl Provider for AzureProvider {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(self.read(keys))
    }

    /// It gives one at a time.
    fn largest_batch(&self) -> usize {
        1
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(self.list())
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(self.is_well())
    }

    fn steps(&self) -> BoxFuture<'_, Vec<Step>> {
        Box::pin(async {
            let mut steps = way(self.session.client()).await;
            if steps.iter().all(Step::is_fine) {
                let asked = asked(self).await;
                // The first question finds out whom a token has to be for.
                steps.push(self.session.step().await);
                steps.extend(asked);
            }
            steps
        })
    }

    fn sweep(&self) {
        self.session.sweep();
    }

    fn allow(&self, time: Duration) {
        self.session.client().allow(time);
    }
}
