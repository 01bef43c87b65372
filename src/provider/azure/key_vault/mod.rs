//! A key vault of Azure as a provider (`type: azure-kv`). Uses `net`.
//!
//! | `azure:NAME` or `azure:NAME/VERSION` | |
//! |---|---|
//! | the name | as Azure has it, in lower case: it knows no case |
//! | field `value` | the secret's value |
//! | other fields | the members, if that is an object of JSON |
//! | version | the first 52 bits of Azure's own, which has 32 hexadecimal digits |

mod assertion;
mod challenge;
mod entra;
mod identity;
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
use refusal::Refusal;
use session::Session;

pub struct AzureProvider {
    session: Session,
    has_one_name: bool,
}

/// What a reference names there.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    name: &'a str,
    version: Option<&'a str>,
}

const API: &str = "7.4";
const SECRETS: &str = "/secrets";
/// Digits of a version.
const DIGITS: usize = 32;
/// The most bytes of a value: more than a key vault takes.
const LARGEST: usize = 1 << 20;
const LONGEST_NAME: usize = 127;
/// Names of a page, as many as it gives; and pages of one list.
const PAGE: &str = "25";
const MOST_PAGES: usize = 4_000;

impl AzureProvider {
    /// `store` is where its own secrets may be.
    pub fn new(
        settings: AzureVault,
        timeout: Duration,
        _version_key: SecretBytes,
        store: Option<Arc<dyn Provider>>,
    ) -> Self {
        let AzureVault { transport, verifies_challenge, has_one_name, identity, authority, metadata } =
            settings;
        // An authority of one's own may be signed by the same as the vault; pins and our certificate are the vault's.
        let tls = Tls { ca: transport.tls.ca.clone(), ..Tls::default() };
        let identity = Identity::new(Said { identity, authority, metadata, tls }, timeout, store);
        let session = Session::new(Client::new(transport, timeout), identity, verifies_challenge);
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
        let Some((name, version)) = named(&id).filter(|(name, version)| place.is(name, version)) else {
            return Err(ProviderError::Invalid(format!(
                "{} answers with another secret",
                self.session.who()
            )));
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
        if let Some(begin) = times.begin.filter(|begin| *begin > now) {
            return Err(ProviderError::Invalid(format!("`{name}` is not to be used before {begin}")));
        }
        let value = answer.at(&["value"])?.secret()?;
        if value.len() > LARGEST {
            return Err(ProviderError::TooLarge(format!("`{name}` has more than {} MiB", LARGEST >> 20)));
        }
        Ok(Ok(Arc::new(times.version(number_of(&version), value)?)))
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

impl<'a> Place<'a> {
    /// `None`: what cannot be there.
    fn of(path: &'a str) -> Result<Option<Self>, ProviderError> {
        let (name, version) = match path.split_once('/') {
            Some((name, version)) => (name, Some(version)),
            None => (path, None),
        };
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_version = |text: &str| text.len() == DIGITS && text.bytes().all(is_digit);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_fit) {
            return Ok(None);
        }
        // A rule on one of its names must hold for all of it.
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            let small = name.to_ascii_lowercase();
            return Err(ProviderError::Invalid(format!(
                "names in a key vault know no case: write `{small}` for `{name}`"
            )));
        }
        Ok(version.is_none_or(is_version).then_some(Self { name, version }))
    }

    fn is(&self, name: &str, version: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) && self.version.is_none_or(|it| it.eq_ignore_ascii_case(version))
    }
}

/// The name and the version at the end of an id: `https://VAULT/secrets/NAME/VERSION`.
fn named(id: &str) -> Option<(String, String)> {
    let mut parts = id.rsplit('/');
    let (version, name) = (parts.next()?, parts.next()?);
    (parts.next()? == "secrets").then(|| (name.to_owned(), version.to_owned()))
}

/// Never 0.
fn number_of(version: &str) -> u64 {
    let digits: String = version.chars().take(13).collect();
    u64::from_str_radix(&digits, 16).map_or(1, |number| number + 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_name_and_perhaps_a_version() {
        let version = "4387e9f3d6e14c459867679a90fd0f79";
        let of = |path| Place::of(path).ok().flatten();
        assert_eq!(of("db-1"), Some(Place { name: "db-1", version: None }));
        let path = format!("db/{version}");
        assert_eq!(of(&path), Some(Place { name: "db", version: Some(version) }));
        for path in ["", "/", "a/", "a/1", "a b", "..", "a%2fb", "é", "a//b", "a/../b", &"a".repeat(128)] {
            assert!(matches!(Place::of(path), Ok(None)), "{path}");
        }
        assert!(matches!(Place::of(&format!("{path}/x")), Ok(None)));
        let Err(why) = Place::of("DB-1") else { panic!("two names for one secret") };
        assert!(why.to_string().contains("write `db-1`"), "{why}");
    }

    #[test]
    fn a_version_is_a_number_that_tells_it_from_others() {
        assert_eq!(number_of("00000000000000000000000000000000"), 1);
        assert_eq!(number_of("ffffffffffffffffffffffffffffffff"), 1 << 52);
        assert_ne!(number_of(&"ab".repeat(16)), number_of(&"ac".repeat(16)));
    }
}
