//! An etcd as a provider (`type: etcd`), over the JSON that it speaks beside its own protocol. Uses `net`.
//!
//! | `etcd:PATH` | |
//! |---|---|
//! | the key | the prefix of the config, and PATH, byte for byte |
//! | field `value` | what is stored there, byte for byte |
//! | other fields | the members, if that is an object of JSON |
//! | version | the revision of its last change |
//!
//! All keys of one question are read as of one revision, in as few transactions as they fit in.

mod gateway;
mod keys;
mod watch;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::fields::with_members;
use super::remote::way;
use super::versions::Met;
use super::{AsOf, Batch, BoxFuture, OwnSecret, Provider, ProviderError, Step, Tell};
use crate::config::Etcd;
use crate::net::{Client, Json, Response};
use crate::secret::{Absent, Answer, SecretKey, SecretVersion};
use crate::sys::leftover;
use gateway::{Gateway, Refusal};
use keys::{Kv, Range};

pub struct EtcdProvider {
    gateway: Gateway,
    prefix: String,
    /// etcd keeps no times.
    met: Met,
    /// The revision up to which readers know all changes, or are told of them; 0 before the first answer.
    told: AtomicU64,
}

/// An answer, and the revision as of which it is.
type Asked<T> = (Option<u64>, T);

/// The most operations of a transaction, as etcd has it if nobody says otherwise.
const MOST_OPERATIONS: usize = 128;
/// The most keys of one question.
const LARGEST_BATCH: usize = 8 * MOST_OPERATIONS;
/// The most bytes of a value.
const LARGEST: usize = 1 << 20;
/// Names of one page, and of all pages.
const PAGE: usize = 1_000;
const MOST_NAMES: usize = 100_000;

impl EtcdProvider {
    /// `store` is where its own secrets may be.
    pub fn new(settings: Etcd, timeout: Duration, store: Option<Arc<dyn Provider>>) -> Self {
        let user = settings.user.map(|(name, password)| (name, OwnSecret::new(password, store)));
        let gateway = Gateway::new(Client::new(settings.transport, timeout), user);
        Self { gateway, prefix: settings.prefix, met: Met::default(), told: AtomicU64::new(0) }
    }

    fn key_of(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    async fn read(&self, keys: &[SecretKey]) -> Result<Batch, ProviderError> {
        let current: Vec<&str> =
            keys.iter().filter(|key| key.version.is_none()).map(|it| &*it.path).collect();
        let (mut revision, found) = self.read_current(&current).await?;
        let mut found = found.into_iter();
        let mut answers = Vec::with_capacity(keys.len());
        for key in keys {
            answers.push(match key.version {
                None => found.next().unwrap_or(Err(Absent::Missing)),
                Some(version) => {
                    let (read_at, answer) = self.read_version(&key.path, version).await?;
                    revision = revision.or(read_at);
                    answer
                }
            });
        }
        let moment = revision.unwrap_or_else(|| self.told.load(Ordering::Relaxed));
        let _ = self.told.compare_exchange(0, moment, Ordering::Relaxed, Ordering::Relaxed);
        Ok(Batch { answers, as_of: AsOf::moment(moment) })
    }

    /// As of one revision, which the first transaction finds out. An answer that is too large is asked for
    /// in two halves.
    async fn read_current(&self, paths: &[&str]) -> Result<Asked<Vec<Answer>>, ProviderError> {
        let mut left: VecDeque<&[&str]> = paths.chunks(MOST_OPERATIONS).collect();
        let (mut revision, mut answers) = (None, Vec::with_capacity(paths.len()));
        while let Some(some) = left.pop_front() {
            let ranges = some.iter().map(|path| Range { at: revision, ..Range::of(&self.key_of(path)) });
            let response = match self.gateway.ask("/v3/kv/txn", &keys::transaction(ranges)).await {
                Ok(response) => response,
                Err(Refusal::Error(ProviderError::TooLarge(_))) if some.len() > 1 => {
                    let (first, second) = some.split_at(some.len() / 2);
                    left.push_front(second);
                    left.push_front(first);
                    continue;
                }
                // Between two transactions: then all begins anew.
                Err(Refusal::Compacted) => {
                    return Err(ProviderError::Unavailable(
                        self.gateway.says("is compacted while it is asked"),
                    ));
                }
                Err(refusal) => return Err(self.gateway.error(refusal)),
            };
            let (read_at, found) = leftover::wiped(|| self.found(response.json()?, some))?;
            revision = revision.or(Some(read_at));
            answers.extend(found);
        }
        Ok((revision, answers))
    }

    fn found(&self, answer: Json<'_>, paths: &[&str]) -> Result<(u64, Vec<Answer>), ProviderError> {
        let revision = keys::revision(answer)?;
        let found = keys::of_transaction(answer)?;
        if found.len() != paths.len() {
            return Err(ProviderError::Invalid(self.gateway.says("answers another number of questions")));
        }
        let answer =
            |(kv, path): (Option<Kv>, &&str)| kv.map_or(Ok(Err(Absent::Missing)), |kv| self.answer(path, kv));
        Ok((revision, found.into_iter().zip(paths).map(answer).collect::<Result<_, _>>()?))
    }

    /// A version is the revision of a change of this key, and is there until etcd is compacted.
    async fn read_version(&self, path: &str, version: u64) -> Result<Asked<Answer>, ProviderError> {
        if i64::try_from(version).is_err() {
            return Ok((None, Err(Absent::Missing)));
        }
        let range = Range { at: Some(version), ..Range::of(&self.key_of(path)) };
        let response = match self.gateway.ask("/v3/kv/range", &range.body()).await {
            Ok(response) => response,
            Err(Refusal::Future) => return Ok((None, Err(Absent::Missing))),
            Err(Refusal::Compacted) => {
                let what =
                    format!("has compacted version {version} of `{path}` away: pin a newer one, or none");
                return Err(ProviderError::Invalid(self.gateway.says(&what)));
            }
            Err(refusal) => return Err(self.gateway.error(refusal)),
        };
        let read_at = keys::revision(response.json()?)?;
        let found = leftover::wiped(|| keys::of_range(response.json()?))?.into_iter().next();
        let answer = match found.filter(|kv| kv.revision == version) {
            Some(kv) => self.answer(path, kv)?,
            None => Err(Absent::Missing),
        };
        Ok((Some(read_at), answer))
    }

    fn answer(&self, path: &str, kv: Kv) -> Result<Answer, ProviderError> {
        if kv.value.len() > LARGEST {
            return Err(ProviderError::TooLarge(format!("`{path}` has more than {} MiB", LARGEST >> 20)));
        }
        let since = self.met.meet(path, kv.revision);
        let (kind, fields) = with_members(kv.value)?;
        Ok(Ok(Arc::new(SecretVersion {
            turned_out: None,
            kind,
            fields,
            version: kv.revision,
            created_at: since,
            updated_at: since,
            expires_at: None,
            uses: None,
        })))
    }

    /// All that begins with the prefix, as of one revision.
    async fn list(&self) -> Result<Vec<String>, ProviderError> {
        let (mut names, mut from, mut revision) = (Vec::new(), None, None);
        loop {
            let range =
                Range { limit: Some(PAGE), at: revision, keys_only: true, ..Range::under(&self.prefix) };
            let range = Range { key: from.unwrap_or(range.key), ..range };
            let response = self.gateway.ask("/v3/kv/range", &range.body()).await;
            let response = response.map_err(|refusal| self.gateway.error(refusal))?;
            let answer = response.json()?;
            let found = keys::of_range(answer)?;
            revision = revision.or(Some(keys::revision(answer)?));
            names.extend(found.iter().filter_map(|kv| self.path_of(&kv.key)));
            from = found.last().map(|last| [&last.key[..], b"\0"].concat());
            if found.len() < PAGE || names.len() >= MOST_NAMES {
                return Ok(names);
            }
        }
    }

    /// What is no text cannot be named in a template.
    fn path_of(&self, key: &[u8]) -> Option<String> {
        let path = key.strip_prefix(self.prefix.as_bytes())?;
        let path = std::str::from_utf8(path).ok()?;
        (!path.is_empty()).then(|| path.to_owned())
    }

    /// The least that can be asked.
    async fn look(&self) -> Result<Response, Refusal> {
        let range = Range { keys_only: true, limit: Some(1), ..Range::under(&self.prefix) };
        self.gateway.ask("/v3/kv/range", &range.body()).await
    }

    /// Who may not read all is answered, too.
    async fn is_well(&self) -> Result<(), ProviderError> {
        match self.look().await {
            Ok(_) | Err(Refusal::NoRight) => Ok(()),
            Err(refusal) => Err(self.gateway.error(refusal)),
        }
    }
}

impl Provider for EtcdProvider {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(self.read(keys))
    }

    fn largest_batch(&self) -> usize {
        LARGEST_BATCH
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(self.list())
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(self.is_well())
    }

    fn way(&self) -> BoxFuture<'_, Vec<Step>> {
        Box::pin(way(self.gateway.client()))
    }

    fn sweep(&self) {
        self.gateway.sweep();
    }

    fn allow(&self, time: Duration) {
        self.gateway.client().allow(time);
    }

    fn watch<'a>(&'a self, tell: &'a Tell<'a>) -> Option<BoxFuture<'a, ProviderError>> {
        Some(Box::pin(self.keep_listening(tell)))
    }
}
