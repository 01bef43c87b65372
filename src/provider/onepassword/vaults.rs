//! Which vault a word means, and what lies in it: one list tells the versions of all its items, and whoever has begun to
//! wait before it was asked for shares it. Uses `connect`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::connect::{Connect, Refusal};
use super::place::is_id;
use crate::net::{Json, JsonError, Response, Route};
use crate::poison::EvenPoisoned;
use crate::provider::ProviderError;
use crate::sys::uptime::Uptime;

/// By the words for them.
#[derive(Default)]
pub(super) struct Vaults(Mutex<HashMap<String, Arc<Vault>>>);

#[derive(Default)]
pub(super) struct Vault {
    /// Held while it is asked for: the others need the same.
    known: tokio::sync::Mutex<Known>,
}

#[derive(Default)]
struct Known {
    id: Option<(Uptime, String)>,
    list: Option<(Uptime, Arc<Listed>)>,
}

/// What lies in a vault, as of one moment.
pub(super) struct Listed {
    pub(super) vault: String,
    pub(super) items: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) version: u64,
}

const VAULTS: &str = "/v1/vaults";
/// A name may be given to another one.
const NAMED_FOR: Duration = Duration::from_secs(10 * 60);

impl Vaults {
    /// What lies there now: asked for after `since`.
    pub(super) async fn list(
        &self,
        connect: &Connect,
        word: &str,
        since: Uptime,
    ) -> Result<Arc<Listed>, ProviderError> {
        let vault = self.0.lock().even_poisoned().entry(word.to_owned()).or_default().clone();
        let mut known = vault.known.lock().await;
        if let Some((_, listed)) = known.list.as_ref().filter(|(begun, _)| *begun >= since) {
            return Ok(listed.clone());
        }
        known.list = None;
        let id = match known.id.as_ref().filter(|(at, _)| Uptime::now().since(*at) < NAMED_FOR) {
            Some((_, id)) => id.clone(),
            None => id_of(connect, word).await?,
        };
        let begun = Uptime::now();
        let listed = match list(connect, &id).await {
            Err(Refusal::Gone | Refusal::NoRight) => {
                known.id = None;
                return Err(unknown(connect, word));
            }
            listed => Arc::new(listed.map_err(|refusal| connect.error(refusal))?),
        };
        if known.id.is_none() {
            known.id = Some((begun, id));
        }
        known.list = Some((begun, listed.clone()));
        Ok(listed)
    }
}

impl Listed {
    /// By its id first, else by its title; two of one title are an error that names both.
    pub(super) fn find(&self, word: &str) -> Result<Option<&Entry>, ProviderError> {
        if let Some(entry) = self.items.iter().find(|entry| is_id(word) && entry.id == word) {
            return Ok(Some(entry));
        }
        let mut fitting = self.items.iter().filter(|entry| entry.title == word);
        match (fitting.next(), fitting.next()) {
            (Some(one), Some(other)) => Err(several("items", word, &one.id, &other.id)),
            (one, _) => Ok(one),
        }
    }
}

async fn id_of(connect: &Connect, word: &str) -> Result<String, ProviderError> {
    if is_id(word) {
        let route = Route::to(VAULTS).name(word)?;
        match connect.get(route).await {
            Ok(_) => return Ok(word.to_owned()),
            // It may be a name that looks like an id.
            Err(Refusal::Gone | Refusal::NoRight) => {}
            Err(refusal) => return Err(connect.error(refusal)),
        }
    }
    let answer = connect.get_where(Route::to(VAULTS), "name", word).await;
    let answer = answer.map_err(|refusal| connect.error(refusal))?;
    let mut found = ids(&answer, "name", word)?.into_iter();
    match (found.next(), found.next()) {
        (Some(one), Some(other)) => Err(several("vaults", word, &one, &other)),
        (Some(one), None) => Ok(one),
        (None, _) => Err(unknown(connect, word)),
    }
}

/// Those that fit, whatever the server makes of a filter.
fn ids(answer: &Response, name: &str, word: &str) -> Result<Vec<String>, ProviderError> {
    let mut ids = Vec::new();
    for json in answer.json()?.items()? {
        if json.at(&[name])?.text()? == word {
            ids.push(json.at(&["id"])?.text()?);
        }
    }
    Ok(ids)
}

async fn list(connect: &Connect, id: &str) -> Result<Listed, Refusal> {
    let route = Route::to(VAULTS).name(id).map_err(ProviderError::from)?.then("/items");
    let answer = connect.get(route).await?;
    let items = answer.json().map_err(ProviderError::from)?.items().map_err(ProviderError::from)?;
    let entries: Result<Vec<_>, JsonError> = items.into_iter().map(Entry::read).collect();
    let items = entries.map_err(ProviderError::from)?.into_iter().flatten().collect();
    Ok(Listed { vault: id.to_owned(), items })
}

impl Entry {
    /// `None`: it was put away.
    fn read(json: Json<'_>) -> Result<Option<Self>, JsonError> {
        let state = json.get("state")?.map(Json::text).transpose()?;
        if state.is_some_and(|state| matches!(&*state, "ARCHIVED" | "DELETED")) {
            return Ok(None);
        }
        let title = json.get("title")?.map(Json::text).transpose()?.unwrap_or_default();
        Ok(Some(Self { id: json.at(&["id"])?.text()?, title, version: json.at(&["version"])?.whole()? }))
    }
}

/// Nobody is told which of the two it is.
fn unknown(connect: &Connect, word: &str) -> ProviderError {
    let what = format!("knows no vault `{word}`, or our token has no right to it");
    ProviderError::Denied(connect.says(&what))
}

fn several(what: &str, word: &str, one: &str, other: &str) -> ProviderError {
    ProviderError::Invalid(format!(
        "there are several {what} of the name `{word}`: `{one}` and `{other}`; name an id"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_found_by_its_id_first_and_two_of_a_title_are_an_error() {
        let entry = |id: &str, title: &str| Entry { id: id.to_owned(), title: title.to_owned(), version: 1 };
        let (first, second) = ("a".repeat(26), "b".repeat(26));
        let items =
            vec![entry(&first, "db"), entry(&second, "db"), entry(&"c".repeat(26), &first), entry("d", "DB")];
        let listed = Listed { vault: "v".to_owned(), items };
        assert_eq!(listed.find(&first).unwrap().unwrap().title, "db", "not the one whose title it is");
        assert_eq!(listed.find("DB").unwrap().unwrap().id, "d");
        assert!(listed.find("none").unwrap().is_none());
        let why = listed.find("db").unwrap_err().to_string();
        assert!(why.contains(&first) && why.contains(&second), "{why}");
    }
}
