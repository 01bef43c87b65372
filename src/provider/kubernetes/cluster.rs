//! One question to the server, as whoever we are: a token that it refuses is looked for anew, once. What it says is
//! told by the reasons that it gives, in our own words: its own might quote what it was asked.

use std::time::Duration;

use super::super::remote::wordless;
use super::super::{ProviderError, refusal};
use super::door::Door;
use super::object::version;
use super::place::{Kind, Place, collection};
use crate::net::{Json, JsonError, Lines, NetErrorKind, Request, Response, Streamed};
use crate::secret::SecretBytes;

/// Why there is no answer.
pub(super) enum Refusal {
    Error(ProviderError),
    /// There is no such object.
    Missing,
    /// It knows us, and we may not.
    NoRight,
    /// What has happened since is not to be had any more.
    Expired,
    /// It does not know us by this.
    Token,
}

/// Has objects told without what they hold.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// The state that a server has at hand. To say none asks for the newest one, which one with an etcd of before 3.4.25
/// refuses in the middle of its answer.
const ANY: &str = "0";
/// Names of one page, and of all pages.
const PAGE: &str = "500";
const MOST_NAMES: usize = 100_000;

impl From<ProviderError> for Refusal {
    fn from(error: ProviderError) -> Self {
        Self::Error(error)
    }
}

impl From<NetErrorKind> for Refusal {
    fn from(kind: NetErrorKind) -> Self {
        Self::Error(kind.into())
    }
}

impl Door {
    /// The object with all that it holds.
    pub(super) async fn get(&self, place: &Place) -> Result<Response, Refusal> {
        self.ask(Request::get(place.route()?), Some(place)).await
    }

    /// At which state it is; nothing of what it holds.
    pub(super) async fn state(&self, place: &Place) -> Result<String, Refusal> {
        let request = Request::get(place.route()?).header("accept", METADATA)?;
        Ok(version(self.ask(request, Some(place)).await?.json()?)?)
    }

    /// Changes of this object alone, which needs no right to list others: without what it holds. `since`: from
    /// that state on, or else from any that the server knows, which is told first.
    pub(super) async fn watch(
        &self,
        place: &Place,
        since: Option<&str>,
        life: Duration,
    ) -> Result<Lines, Refusal> {
        let request = Request::get(collection(place.kind, &place.namespace)?)
            .query("watch", "true")
            .query("fieldSelector", &format!("metadata.name={}", place.name))
            .query("allowWatchBookmarks", "true")
            .query("timeoutSeconds", &life.as_secs().to_string())
            .query("resourceVersion", since.unwrap_or(ANY))
            .header("accept", METADATA)?;
        self.as_us(request, |request| async move {
            match self.client.stream(request).await.map_err(ProviderError::from)? {
                Streamed::Lines(lines) => Ok(lines),
                Streamed::Refused(response) => {
                    judge(self, None, response)?;
                    Err(ProviderError::Invalid(format!("{} does not tell of changes", self.who())).into())
                }
            }
        })
        .await
    }

    /// The names of all objects of a kind in the namespace of the provider.
    pub(super) async fn list(&self, kind: Kind) -> Result<Vec<String>, Refusal> {
        let (mut names, mut from) = (Vec::new(), String::new());
        loop {
            let request = Request::get(collection(kind, &self.namespace)?).query("limit", PAGE);
            let request = match &*from {
                "" => request,
                from => request.query("continue", from),
            };
            let response = self.ask(request.header("accept", METADATA_LIST)?, None).await?;
            let (page, next) = page(response.json()?).map_err(ProviderError::from)?;
            names.extend(page);
            from = next;
            if from.is_empty() || names.len() >= MOST_NAMES {
                return Ok(names);
            }
        }
    }

    /// `about`: what it may say is not there.
    async fn ask(&self, request: Request, about: Option<&Place>) -> Result<Response, Refusal> {
        self.as_us(request, |request| async move {
            judge(self, about, self.client.send(request).await.map_err(ProviderError::from)?)
        })
        .await
    }

    async fn as_us<T, F>(&self, request: Request, send: impl Fn(Request) -> F) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, Refusal>>,
    {
        let void = self.token(None).await?;
        match send(authorized(request.clone(), void.as_deref())?).await {
            Err(Refusal::Token) => {}
            outcome => return outcome,
        }
        match self.token(void.as_ref()).await? {
            Some(token) if !void.is_some_and(|void| token.same_as(void.expose())) => {
                send(authorized(request, Some(&token))?).await
            }
            _ => Err(Refusal::Token),
        }
    }
}

fn authorized(request: Request, token: Option<&SecretBytes>) -> Result<Request, NetErrorKind> {
    match token {
        Some(token) => request.secret("authorization", "Bearer ", token),
        None => Ok(request),
    }
}

/// The names of one page, and where the next one begins; empty: there is none.
fn page(list: Json<'_>) -> Result<(Vec<String>, String), JsonError> {
    let name = |item: Json<'_>| item.at(&["metadata", "name"])?.text();
    let items = list.get("items")?.map_or(Ok(Vec::new()), Json::items)?;
    let next = list.at(&["metadata"])?.get("continue")?.map_or(Ok(String::new()), Json::text)?;
    Ok((items.into_iter().map(name).collect::<Result<_, _>>()?, next))
}

fn judge(door: &Door, about: Option<&Place>, response: Response) -> Result<Response, Refusal> {
    if response.is_success() {
        return Ok(response);
    }
    let told = response.json().ok().and_then(|answer| reason(answer, about));
    Err(match told {
        Some((reason, is_about_it)) => refused(door, &response, &reason, is_about_it),
        None => wordless(&door.who(), &response).into(),
    })
}

/// Of a Status, and whether that is about this very object: what stands before a cluster may miss something else.
fn reason(answer: Json<'_>, about: Option<&Place>) -> Option<(String, bool)> {
    let text = |path: &[&str]| answer.at(path).ok()?.text().ok();
    if text(&["kind"])? != "Status" {
        return None;
    }
    let is_about_it = about.is_some_and(|place| {
        text(&["details", "name"]).is_some_and(|name| name == place.name)
            && text(&["details", "kind"]).is_some_and(|kind| kind == place.kind.plural())
    });
    Some((text(&["reason"]).unwrap_or_default(), is_about_it))
}

fn refused(door: &Door, response: &Response, reason: &str, is_about_it: bool) -> Refusal {
    let says = |what: &str| format!("{} {what} ({})", door.who(), response.status());
    Refusal::Error(match reason {
        "NotFound" if is_about_it => return Refusal::Missing,
        "Unauthorized" => return Refusal::Token,
        "Forbidden" => return Refusal::NoRight,
        "Expired" | "Gone" => return Refusal::Expired,
        "Timeout" | "ServerTimeout" | "InternalError" | "ServiceUnavailable" => {
            ProviderError::Unavailable(says("has failed, or is not ready"))
        }
        "NotFound" => ProviderError::Invalid(says("says that something else is not there: check `address`")),
        _ => refusal(&door.who(), response),
    })
}

/// For who expects an answer and nothing else. `what`: what was asked for, in the words of rights.
pub(super) fn error(door: &Door, refusal: Refusal, what: &str) -> ProviderError {
    let who = door.who();
    ProviderError::Denied(match refusal {
        Refusal::Error(error) => return error,
        Refusal::Missing => return ProviderError::Invalid(format!("{who} does not know {what}")),
        Refusal::Expired => {
            return ProviderError::Unavailable(format!("{who} has forgotten where the list went on"));
        }
        Refusal::NoRight => format!("{who} gives us no right to {what}: a Role that is bound to us has to"),
        Refusal::Token => {
            format!(
                "{who} refuses our token: it has ended, or is of another cluster, or of somebody who is not there any more (401)"
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_the_object_and_nothing_else() {
        let place = |kind| Place { kind, namespace: "n".to_owned(), name: "db".to_owned() };
        let secret = place(Kind::Secret);
        let is_missing = |details: &str, about: Option<&Place>| {
            let text = format!(r#"{{"kind": "Status", "reason": "NotFound", "details": {details}}}"#);
            let (reason, is_about_it) = reason(Json::read(text.as_bytes()).unwrap(), about).unwrap();
            reason == "NotFound" && is_about_it
        };
        assert!(is_missing(r#"{"name": "db", "kind": "secrets"}"#, Some(&secret)));
        for other in [
            r#"{"name": "prod", "kind": "clusters"}"#,
            r#"{"name": "db", "kind": "clusters"}"#,
            r#"{"name": "db"}"#,
            "{}",
        ] {
            assert!(!is_missing(other, Some(&secret)), "{other}");
        }
        assert!(!is_missing(r#"{"name": "db", "kind": "secrets"}"#, Some(&place(Kind::ConfigMap))));
        assert!(!is_missing(r#"{"name": "db", "kind": "secrets"}"#, None));
    }
}
