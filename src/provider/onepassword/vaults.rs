//! Which vault a word means, and what lies in it: one list tells the versions of all its items, and whoever has begun to
//! wait before it was asked for shares it. Uses `connect`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::connect::{Connect, Refusal, vault};
use super::place::is_id;
use crate::net::{Json, JsonError, Route};
use crate::poison::EvenPoisoned;
use crate::provider::ProviderError;
use crate::sys::uptime::Uptime;

/// By the words for them. Each is held while it is asked for: the others need the same.
#[derive(Default)]
pub(super) struct Vaults(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Known>>>>);

#[derive(Default)]
struct Known {
    id: Option<(Uptime, String)>,
    list: Option<(Uptime, Arc<Listed>)>,
}

/// What lies in a vault, as of one moment.
pub(super) struct Listed(pub(super) Vec<Entry>);

/// An item, as the list of its vault has it.
#[derive(Clone)]
pub(super) struct Entry {
    vault: Arc<str>,
    pub(super) id: String,
    pub(super) title: String,
    pub(super) version: u64,
}

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
        let known = self.0.lock().even_poisoned().entry(word.to_owned()).or_default().clone();
        let mut known = known.lock().await;
        if let Some((_, listed)) = known.list.as_ref().filter(|(begun, _)| *begun >= since) {
            return Ok(listed.clone());
        }
        known.list = None;
        let id = known.id(connect, word).await?;
        let begun = Uptime::now();
        match Listed::read(connect, &id).await {
            Ok(listed) => Ok(known.list.insert((begun, Arc::new(listed))).1.clone()),
            Err(Refusal::Error(error)) => Err(error),
            Err(Refusal::Gone | Refusal::NoRight) => {
                known.id = None;
                Err(unknown(connect, word))
            }
        }
    }
}

impl Known {
    /// Kept from the moment in which it is known, however long the list takes.
    async fn id(&mut self, connect: &Connect, word: &str) -> Result<String, ProviderError> {
        if let Some((_, id)) = self.id.as_ref().filter(|(at, _)| Uptime::now().since(*at) < NAMED_FOR) {
            return Ok(id.clone());
        }
        let id = id_of(connect, word).await?;
        self.id = Some((Uptime::now(), id.clone()));
        Ok(id)
    }
}

impl Listed {
    async fn read(connect: &Connect, id: &str) -> Result<Self, Refusal> {
        let answer = connect.get(vault(id)?.then("/items")).await?;
        let (id, items) = (Arc::from(id), answer.json()?.items()?);
        let entries = items.into_iter().filter_map(|json| Entry::read(&id, json).transpose());
        Ok(Self(entries.collect::<Result<_, _>>()?))
    }

    /// By its id first, else by its title; two of one title are an error that names both.
    pub(super) fn find(&self, word: &str) -> Result<Option<&Entry>, ProviderError> {
        if let Some(entry) = self.0.iter().find(|entry| is_id(word) && entry.id == word) {
            return Ok(Some(entry));
        }
        let mut fitting = self.0.iter().filter(|entry| entry.title == word);
        match (fitting.next(), fitting.next()) {
            (Some(one), Some(other)) => Err(several("items", word, &one.id, &other.id)),
            (one, _) => Ok(one),
        }
    }
}

impl Entry {
    /// `None`: it was put away.
    fn read(vault: &Arc<str>, json: Json<'_>) -> Result<Option<Self>, JsonError> {
        let word = |name: &str| json.get(name)?.map(Json::text).transpose();
        if word("state")?.is_some_and(|state| matches!(&*state, "ARCHIVED" | "DELETED")) {
            return Ok(None);
        }
        Ok(Some(Self {
            vault: vault.clone(),
            id: json.at(&["id"])?.text()?,
            title: word("title")?.unwrap_or_default(),
            version: json.at(&["version"])?.whole()?,
        }))
    }

    pub(super) fn route(&self) -> Result<Route, ProviderError> {
        Ok(vault(&self.vault)?.then("/items").name(&self.id)?)
    }
}

async fn id_of(connect: &Connect, word: &str) -> Result<String, ProviderError> {
    if is_id(word) {
        match connect.get(vault(word)?).await {
            Ok(_) => return Ok(word.to_owned()),
            // It may be a name that looks like an id.
            Err(Refusal::Gone | Refusal::NoRight) => {}
            Err(Refusal::Error(error)) => return Err(error),
        }
    }
    let answer = connect.vaults_named(word).await?;
    let mut ids = Vec::new();
    for json in answer.json()?.items()? {
        // Whatever the server makes of a filter.
        if json.at(&["name"])?.text()? == word {
            ids.push(json.at(&["id"])?.text()?);
        }
    }
    match &mut ids[..] {
        [] => Err(unknown(connect, word)),
        [id] => Ok(std::mem::take(id)),
        [one, other, ..] => Err(several("vaults", word, one, other)),
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
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::config::{Address, TextSource, Tls, Transport};
    use crate::net::Client;
    use crate::provider::OwnSecret;

    #[test]
    fn an_item_is_found_by_its_id_first_and_two_of_a_title_are_an_error() {
        let entry = |id: &str, title: &str| Entry {
            vault: "v".into(),
            id: id.to_owned(),
            title: title.to_owned(),
            version: 1,
        };
        let (first, second) = ("a".repeat(26), "b".repeat(26));
        let items =
            vec![entry(&first, "db"), entry(&second, "db"), entry(&"c".repeat(26), &first), entry("d", "DB")];
        let listed = Listed(items);
        assert_eq!(listed.find(&first).unwrap().unwrap().title, "db", "not the one whose title it is");
        assert_eq!(listed.find("DB").unwrap().unwrap().id, "d");
        assert!(listed.find("none").unwrap().is_none());
        let why = listed.find("db").err().unwrap().to_string();
        assert!(why.contains(&first) && why.contains(&second), "{why}");
    }

    /// A server with one vault, and what it was asked.
    fn server() -> (Connect, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::read(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let question = lines.next().unwrap_or_default();
                let _ = lines.find(String::is_empty);
                let body =
                    if question.contains("/items") { "[]" } else { "[{\"name\": \"Prod\", \"id\": \"v\"}]" };
                let head =
                    format!("HTTP/1.1 200 -\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = (&stream).write_all(format!("{head}{body}").as_bytes());
                noted.lock().unwrap().push(question);
            }
        });
        let client = Client::new(Transport { address, tls: Tls::default() }, Duration::from_secs(10));
        (Connect::new(client, OwnSecret::of_text(TextSource::Text("t".to_owned()), None)), asked)
    }

    #[tokio::test]
    async fn a_name_is_looked_up_anew_after_a_while_and_then_known_again() {
        let (connect, asked) = server();
        let vaults = Vaults::default();
        let old = Known { id: Some((Uptime::ago(NAMED_FOR), "old".to_owned())), list: None };
        vaults.0.lock().unwrap().insert("Prod".to_owned(), Arc::new(tokio::sync::Mutex::new(old)));
        for _ in 0..3 {
            vaults.list(&connect, "Prod", Uptime::now()).await.unwrap();
        }
        let asked = asked.lock().unwrap();
        let of_names = asked.iter().filter(|it| it.contains("/v1/vaults?filter=")).count();
        let lists = asked.iter().filter(|it| it.contains("/v1/vaults/v/items")).count();
        assert_eq!((of_names, lists), (1, 3), "{asked:?}");
    }
}
