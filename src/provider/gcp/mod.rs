//! Google's Secret Manager as a provider (`type: gcp-sm`), over its JSON. Uses `net`.
//!
//! | `gcp:SECRET` | |
//! |---|---|
//! | SECRET | a name of the config's project, or `projects/PROJECT/secrets/NAME` |
//! | version | what `@N` or `/versions/N`, `/versions/ALIAS` says; else `latest` |
//! | field `value` | the bytes of that version |
//! | other fields | the members, if that is an object of JSON |
//!
//! Each version is one question (`:access`), and nothing is listed but for people: lists have a quota a hundred times
//! smaller.

mod api;
mod credentials;
mod grant;
mod identity;
mod jwt;
mod machine;
mod names;
mod payload;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fields::with_members;
use super::remote::way;
use super::versions::{Met, told};
use super::{AsOf, Batch, BoxFuture, Provider, ProviderError, Step};
use crate::config::GcpSecrets;
use crate::net::{Client, Json, Response};
use crate::secret::{Absent, Answer, SecretKey};
use crate::sys::leftover;
use api::{Api, Refusal};
use identity::Identity;
use names::{Named, Place, Unnamed};
use payload::{Payload, Unfit};

pub struct GcpProvider {
    api: Api,
    place: Place,
    /// An answer has no times.
    met: Met,
}

/// The most bytes of a value.
const LARGEST: usize = 1 << 20;
/// Names of one page, and pages of one list.
const PAGE: &str = "1000";
const MOST_PAGES: usize = 100;
const ACCESSOR: &str = "roles/secretmanager.secretAccessor";
const VIEWER: &str = "roles/secretmanager.viewer";

impl GcpProvider {
    /// `store` is where its own secrets may be.
    pub fn new(settings: GcpSecrets, timeout: Duration, store: Option<Arc<dyn Provider>>) -> Self {
        let GcpSecrets { transport, project, location, has_one_name, identity } = settings;
        let identity = Identity::new(identity, &transport.tls, store);
        let api = Api::new(Client::new(transport, timeout), identity);
        Self { api, place: Place { project, location, has_one_name }, met: Met::default() }
    }

    async fn read(&self, keys: &[SecretKey]) -> Result<Batch, ProviderError> {
        let mut answers = Vec::with_capacity(keys.len());
        for key in keys {
            answers.push(match self.place.named(&key.path, key.version) {
                Ok(named) => self.read_one(&key.path, &named).await?,
                Err(Unnamed::Never) => Err(Absent::Missing),
                Err(Unnamed::Wrong(why)) => {
                    return Err(ProviderError::Invalid(format!("`{}`: {why}", key.path)));
                }
            });
        }
        Ok(Batch { answers, as_of: AsOf::moment(0) })
    }

    /// What was damaged on its way is asked for once more.
    async fn read_one(&self, path: &str, named: &Named<'_>) -> Result<Answer, ProviderError> {
        let route = self.place.access(named)?;
        let mut is_second = false;
        loop {
            let response = match self.api.get(&route, &[]).await {
                Ok(response) => response,
                Err(Refusal::Missing) => return Ok(Err(Absent::Missing)),
                // Whoever disables the newest version takes the secret away: an elder one is not meant.
                Err(Refusal::Inactive) => return Ok(Err(Absent::Revoked)),
                Err(refusal) => {
                    let what = format!("`{path}`, or has no such secret");
                    return Err(self.api.error(refusal, &what, ACCESSOR));
                }
            };
            let json = response.json()?;
            match leftover::wiped(|| Payload::read(json)) {
                Ok(payload) => return self.answer(path, named, payload),
                Err(Unfit::Damaged) if !is_second => is_second = true,
                Err(unfit) => {
                    return Err(ProviderError::Invalid(
                        self.api.says(&format!("cannot be understood: {unfit}")),
                    ));
                }
            }
        }
    }

    fn answer(&self, path: &str, named: &Named<'_>, payload: Payload) -> Result<Answer, ProviderError> {
        let Payload { secret, version, value } = payload;
        if secret != named.secret() || named.number().is_some_and(|number| number != version) {
            return Err(ProviderError::Invalid(
                self.api.says(&format!("answers `{path}` with another secret or version")),
            ));
        }
        if value.len() > LARGEST {
            return Err(ProviderError::TooLarge(format!("`{path}` has more than {} MiB", LARGEST >> 20)));
        }
        // The newest one and one that is asked for by its number do not replace each other.
        let met = named.number().map(|number| format!("{path}@{number}"));
        let since = self.met.meet(met.as_deref().unwrap_or(path), version);
        Ok(Ok(Arc::new(told(leftover::wiped(|| with_members(value))?, version, since))))
    }

    async fn list(&self) -> Result<Vec<String>, ProviderError> {
        let (mut names, mut page) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let response = self.page(PAGE, &page).await;
            let response = response.map_err(|it| self.api.error(it, "the list of secrets", VIEWER))?;
            let answer = response.json()?;
            for secret in answer.maybe("secrets", Json::items)?.unwrap_or_default() {
                let name = secret.at(&["name"])?.text()?;
                let last = name.rsplit_once("/secrets/").map(|(_, last)| last.to_owned());
                names.extend(last.filter(|it| names::is_secret(it)));
            }
            page = answer.maybe("nextPageToken", Json::text)?.unwrap_or_default();
            if page.is_empty() {
                break;
            }
        }
        Ok(names)
    }

    async fn page(&self, size: &str, page: &str) -> Result<Response, Refusal> {
        let route = self.place.secrets().map_err(ProviderError::from)?;
        let query = [("pageSize", size), ("pageToken", page)];
        self.api.get(&route, if page.is_empty() { &query[..1] } else { &query }).await
    }

    /// Who may read single secrets only is answered, too.
    async fn is_well(&self) -> Result<(), ProviderError> {
        match self.page("1", "").await {
            Ok(_) => Ok(()),
            Err(Refusal::NoRight(reason)) if !reason.as_deref().is_some_and(is_of_all) => Ok(()),
            Err(refusal) => Err(self.api.error(refusal, "this project's secrets", ACCESSOR)),
        }
    }

    async fn log_in(&self) -> Step {
        let start = Instant::now();
        let token = self.api.identity().token(self.api.client().timeout()).await;
        Step::of("login", start, token.map(|it| it.of.clone()))
    }
}

/// No right to a single secret would help.
fn is_of_all(reason: &str) -> bool {
    matches!(reason, "SERVICE_DISABLED" | "CONSUMER_INVALID" | "USER_PROJECT_DENIED" | "BILLING_DISABLED")
}

impl Provider for GcpProvider {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(self.read(keys))
    }

    fn largest_batch(&self) -> usize {
        1
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(self.list())
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(self.is_well())
    }

    fn way(&self) -> BoxFuture<'_, Vec<Step>> {
        Box::pin(async {
            let mut steps = way(self.api.client()).await;
            if steps.iter().all(Step::is_fine) {
                steps.push(self.log_in().await);
            }
            steps
        })
    }

    fn sweep(&self) {
        self.api.client().sweep();
    }

    fn allow(&self, time: Duration) {
        self.api.client().allow(time);
    }
}
