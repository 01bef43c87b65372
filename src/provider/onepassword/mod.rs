//! 1Password, by a Connect server, as a provider (`type: 1password`). Uses `net`.
//!
//! | `op://VAULT/ITEM/FIELD`, `p:VAULT/ITEM/FIELD`, `p:VAULT/ITEM#LABEL` | |
//! |---|---|
//! | vault, item | by id, else by name: two of one name are an error |
//! | field | by id, else by label, perhaps in a section; or a file |
//! | version | the item's |
//!
//! An item whose version is the one of before is not asked for again: one list tells the versions of a vault.

mod connect;
mod item;
mod kept;
mod place;
mod vaults;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::fields::{Fields, of_value};
use super::remote::way;
use super::versions::Versions;
use super::{AsOf, Batch, BoxFuture, OwnSecret, Provider, ProviderError, Step};
use crate::config::OnePassword;
use crate::net::{Client, Json, JsonError};
use crate::secret::{Absent, Answer, SecretBytes, SecretKey, SecretType, SecretVersion};
use crate::sys::leftover;
use crate::sys::uptime::Uptime;
use connect::Connect;
use item::{Found, Item};
use kept::Kept;
use place::{Field, Place};
use vaults::{Entry, Vaults};

pub struct OnePasswordProvider {
    connect: Connect,
    vault: Option<String>,
    has_one_name: bool,
    vaults: Vaults,
    kept: Kept,
    /// Of codes, which change while their item does not.
    codes: Versions,
}

/// What is known of an item beside its fields.
struct About {
    version: u64,
    created: Timestamp,
    updated: Timestamp,
}

/// One of the keys of a question, and the item that it leads to.
struct Asked<'a> {
    /// Which of them it is.
    at: usize,
    key: &'a SecretKey,
    place: Place<'a>,
    entry: Entry,
}

/// An answer, and how long it is good if it ends by itself.
type Told = (Answer, Option<Uptime>);

const LARGEST_BATCH: usize = 16;
/// The most bytes of a value.
const LARGEST: usize = 1 << 20;

impl OnePasswordProvider {
    /// `store` is where its own secrets may be.
    pub fn new(
        settings: OnePassword,
        timeout: Duration,
        version_key: SecretBytes,
        store: Option<Arc<dyn Provider>>,
    ) -> Self {
        let OnePassword { transport, token, vault, has_one_name } = settings;
        let connect = Connect::new(Client::new(transport, timeout), OwnSecret::new(token, store));
        let codes = Versions::new(version_key);
        Self { connect, vault, has_one_name, vaults: Vaults::default(), kept: Kept::new(), codes }
    }

    async fn read(&self, keys: &[SecretKey]) -> Result<Batch, ProviderError> {
        let asked = self.asked(keys).await?;
        let mut answers: Vec<Answer> = keys.iter().map(|_| Err(Absent::Missing)).collect();
        let mut items: HashMap<&str, Vec<&Asked<'_>>> = HashMap::new();
        for asked in &asked {
            items.entry(&asked.entry.id).or_default().push(asked);
        }
        let items: Vec<_> = items.into_values().collect();
        let next = AtomicUsize::new(0);
        let some = || self.some(&items, &next);
        // So many at the same time: all of them have the time of one question.
        let (a, b, c, d) = tokio::try_join!(some(), some(), some(), some())?;
        let mut until: Option<Uptime> = None;
        for (at, (answer, end)) in [a, b, c, d].into_iter().flatten() {
            answers[at] = answer;
            until = until.into_iter().chain(end).min();
        }
        Ok(Batch { answers, as_of: AsOf { until, ..AsOf::moment(0) } })
    }

    /// Where the keys lead that lead to an item.
    async fn asked<'a>(&'a self, keys: &'a [SecretKey]) -> Result<Vec<Asked<'a>>, ProviderError> {
        let begun = Uptime::now();
        let (mut found, mut lists) = (Vec::with_capacity(keys.len()), HashMap::new());
        for (at, key) in keys.iter().enumerate() {
            let Some(place) = Place::of(&key.path, self.vault.as_deref())? else { continue };
            if self.has_one_name {
                place.is_only_name(&key.path)?;
            }
            let listed = match lists.get(place.vault) {
                Some(listed) => listed,
                None => {
                    let listed = self.vaults.list(&self.connect, place.vault, begun).await?;
                    lists.entry(place.vault).or_insert(listed)
                }
            };
            if let Some(entry) = listed.find(place.item)?.cloned() {
                found.push(Asked { at, key, place, entry });
            }
        }
        Ok(found)
    }

    /// The items whose turn comes, until there is none left; what is asked of one, one after the other.
    async fn some(
        &self,
        items: &[Vec<&Asked<'_>>],
        next: &AtomicUsize,
    ) -> Result<Vec<(usize, Told)>, ProviderError> {
        let mut told = Vec::new();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            for asked in item {
                told.push((asked.at, self.answer(asked).await?));
            }
        }
        Ok(told)
    }

    async fn answer(&self, asked: &Asked<'_>) -> Result<Told, ProviderError> {
        const MISSING: Told = (Err(Absent::Missing), None);
        let Asked { key, place, entry, .. } = asked;
        let begun = (Uptime::now(), Timestamp::now());
        let Some(body) = self.body(entry, place.is_code()).await? else { return Ok(MISSING) };
        let document = Json::read(body.expose())?;
        let about = About::read(document)?;
        // Connect knows the one of now, and none of before.
        if key.version.is_some_and(|version| version != about.version) {
            return Ok(MISSING);
        }
        let item = leftover::wiped(|| Item::read(document))?;
        let Some(field) = &place.field else {
            let all = leftover::wiped(|| item.all())?;
            return Ok((Ok(Arc::new(about.version(SecretType::Custom, all))), None));
        };
        let Some((value, until)) = self.value(asked, &item, field, begun).await? else { return Ok(MISSING) };
        let fields = of_value(value.expose());
        let version = match place.is_code() {
            true => self.codes.of(&key.path, SecretType::Plain, fields),
            false => about.version(SecretType::Plain, fields),
        };
        Ok((Ok(Arc::new(version)), until))
    }

    /// Of one field, and how long it is good if it ends by itself. `None`: there is none.
    async fn value(
        &self,
        Asked { key, entry, .. }: &Asked<'_>,
        item: &Item<'_>,
        field: &Field<'_>,
        begun: (Uptime, Timestamp),
    ) -> Result<Option<(SecretBytes, Option<Uptime>)>, ProviderError> {
        let Some(one) = item.find(field)? else { return Ok(None) };
        if self.has_one_name && !item.is_named_so(one, field) {
            return Err(ProviderError::Invalid(format!("`{}` {}", key.path, place::NOT_THE_ONE)));
        }
        let found = match one.look(field.what)? {
            None => None,
            Some(Found::Value(value)) => Some((value, None)),
            Some(Found::Code(code, period)) => Some((code, Some(end_of(begun, period)))),
            Some(Found::File(id)) => self.content(entry, &id).await?.map(|content| (content, None)),
        };
        if found.as_ref().is_some_and(|(value, _)| value.len() > LARGEST) {
            let why = format!("`{}` has more than {} MiB", key.path, LARGEST >> 20);
            return Err(ProviderError::TooLarge(why));
        }
        Ok(found)
    }

    /// As it is now. `None`: it has gone since it was listed.
    async fn body(&self, entry: &Entry, is_code: bool) -> Result<Option<SecretBytes>, ProviderError> {
        if !is_code && let Some(body) = self.kept.get(&entry.id, entry.version) {
            return Ok(Some(body));
        }
        let Some(response) = self.connect.find(entry.route()?).await? else { return Ok(None) };
        let document = response.json()?;
        if document.at(&["id"])?.text()? != entry.id {
            return Err(ProviderError::Invalid(self.connect.says("answers with another item")));
        }
        self.kept.put(&entry.id, document.at(&["version"])?.whole()?, response.body());
        Ok(Some(SecretBytes::copy_of(response.body().expose())))
    }

    async fn content(&self, entry: &Entry, file: &str) -> Result<Option<SecretBytes>, ProviderError> {
        let route = entry.route()?.then("/files").name(file)?.then("/content");
        let response = self.connect.find(route).await?;
        Ok(response.map(|response| SecretBytes::copy_of(response.body().expose())))
    }

    /// Vaults and items, by their names.
    async fn list(&self) -> Result<Vec<String>, ProviderError> {
        let begun = Uptime::now();
        if let Some(vault) = &self.vault {
            let listed = self.vaults.list(&self.connect, vault, begun).await?;
            return Ok(listed.0.iter().map(|entry| entry.title.clone()).collect());
        }
        let answer = self.connect.vaults().await?;
        let mut names = Vec::new();
        for vault in answer.json()?.items()? {
            let (id, name) = (vault.at(&["id"])?.text()?, vault.at(&["name"])?.text()?);
            let listed = self.vaults.list(&self.connect, &id, begun).await?;
            names.extend(listed.0.iter().map(|entry| format!("{name}/{}", entry.title)));
        }
        Ok(names)
    }
}

/// When the code ends that was there at this moment.
fn end_of((at, time): (Uptime, Timestamp), period: Duration) -> Uptime {
    let now = u64::try_from(time.as_millisecond()).unwrap_or(0);
    let period = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
    at + Duration::from_millis(period - now % period)
}

impl About {
    fn read(item: Json<'_>) -> Result<Self, JsonError> {
        let time = |name: &str| -> Result<Option<Timestamp>, JsonError> {
            let text = item.get(name)?.map(Json::text).transpose()?;
            let time = text.map(|text| text.parse().map_err(|_| JsonError::Other { expected: "a time" }));
            time.transpose()
        };
        let created = time("createdAt")?.unwrap_or(Timestamp::UNIX_EPOCH);
        let updated = time("updatedAt")?.unwrap_or(created);
        Ok(Self { version: item.at(&["version"])?.whole()?, created, updated })
    }

    fn version(&self, kind: SecretType, fields: Fields) -> SecretVersion {
        SecretVersion {
            turned_out: None,
            kind,
            fields,
            version: self.version,
            created_at: self.created,
            updated_at: self.updated,
            expires_at: None,
            uses: None,
        }
    }
}

impl Provider for OnePasswordProvider {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(self.read(keys))
    }

    fn largest_batch(&self) -> usize {
        LARGEST_BATCH
    }

    /// Codes end sooner than what is beside them.
    fn is_alone(&self, key: &SecretKey) -> bool {
        Place::of(&key.path, self.vault.as_deref()).is_ok_and(|place| place.is_some_and(|it| it.is_code()))
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(self.list())
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async { self.connect.vaults().await.map(drop) })
    }

    fn way(&self) -> BoxFuture<'_, Vec<Step>> {
        Box::pin(way(self.connect.client()))
    }

    fn sweep(&self) {
        self.connect.client().sweep();
        self.kept.sweep();
    }

    fn allow(&self, time: Duration) {
        self.connect.client().allow(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_ends_with_its_part_of_the_minute() {
        let end = |second: i64, period| {
            let (at, time) = (Uptime::now(), Timestamp::from_second(1_700_000_040 + second).unwrap());
            end_of((at, time), Duration::from_secs(period)).since(at).as_secs()
        };
        assert_eq!((end(0, 30), end(29, 30), end(30, 30), end(59, 60)), (30, 1, 30, 1));
    }
}
