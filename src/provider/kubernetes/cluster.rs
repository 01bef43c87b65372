//! One question to the server, as whoever we are: a token that it refuses is looked for anew, once. What it says is
//! told by the reasons that it gives, in our own words: its own might quote what it was asked.

use std::sync::Arc;
use std::time::Duration;

use super::super::{ProviderError, refusal};
use super::access::{Access, Door};
use super::place::{Kind, Place};
use crate::net::{Json, Lines, NetErrorKind, Request, Response, Streamed};

pub(super) struct Cluster {
    pub(super) access: Access,
}

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

type Made = Result<Request, NetErrorKind>;

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

impl Cluster {
    /// The object with all that it holds.
    pub(super) async fn get(&self, door: &Door, place: &Place) -> Result<Response, Refusal> {
        self.ask(door, Some(place), &|| Ok(Request::get(place.route()?))).await
    }

    /// At which state it is; nothing of what it holds.
    pub(super) async fn state(&self, door: &Door, place: &Place) -> Result<String, Refusal> {
        let make = || Request::get(place.route()?).header("accept", METADATA);
        let response = self.ask(door, Some(place), &make).await?;
        Ok(super::object::version(response.json()?)?)
    }

    /// Changes of this object alone, which needs no right to list others: without what it holds. `since`: from
    /// that state on, or else from any that the server knows, which is told first.
    pub(super) async fn watch(
        &self,
        door: &Door,
        place: &Place,
        since: Option<&str>,
        life: Duration,
    ) -> Result<Lines, Refusal> {
        let make = || {
            let request = Request::get(place.beside()?)
                .query("watch", "true")
                .query("fieldSelector", &format!("metadata.name={}", place.name))
                .query("allowWatchBookmarks", "true")
                .query("timeoutSeconds", &life.as_secs().to_string())
                .query("resourceVersion", since.unwrap_or(ANY));
            request.header("accept", METADATA)
        };
        self.stream(door, &make).await
    }

    /// The names of all objects of a kind in the namespace of the provider.
    pub(super) async fn list(&self, door: &Door, kind: Kind) -> Result<Vec<String>, Refusal> {
        let (mut names, mut from) = (Vec::new(), None::<String>);
        loop {
            let make = || {
                let route = super::place::collection(kind, &door.namespace)?;
                let request = Request::get(route).query("limit", PAGE);
                let request = from.iter().fold(request, |it, from| it.query("continue", from));
                request.header("accept", METADATA_LIST)
            };
            let response = self.ask(door, None, &make).await?;
            let read = || -> Result<(Vec<String>, Option<String>), crate::net::JsonError> {
                let list = Json::read(response.body().expose())?;
                let items = list.get("items")?.map(Json::items).transpose()?.unwrap_or_default();
                let name = |item: Json<'_>| item.at(&["metadata", "name"])?.text();
                let names = items.into_iter().map(name).collect::<Result<_, _>>()?;
                Ok((names, list.at(&["metadata"])?.get("continue")?.map(Json::text).transpose()?))
            };
            let (page, next) = read().map_err(ProviderError::from)?;
            names.extend(page);
            from = next.filter(|it| !it.is_empty());
            if from.is_none() || names.len() >= MOST_NAMES {
                return Ok(names);
            }
        }
    }

    /// `about`: what it may say is not there.
    async fn ask(
        &self,
        door: &Door,
        about: Option<&Place>,
        make: &(dyn Fn() -> Made + Sync),
    ) -> Result<Response, Refusal> {
        let mut token = door.token(None).await?;
        let mut is_second = false;
        loop {
            let request = authorized(make()?, token.as_deref())?;
            let response = door.client.send(request).await.map_err(ProviderError::from)?;
            match judge(door, about, response) {
                Err(Refusal::Token) if !is_second => token = another(door, token).await?,
                judged => return judged,
            }
            is_second = true;
        }
    }

    async fn stream(&self, door: &Door, make: &(dyn Fn() -> Made + Sync)) -> Result<Lines, Refusal> {
        let mut token = door.token(None).await?;
        let mut is_second = false;
        loop {
            let request = authorized(make()?, token.as_deref())?;
            match door.client.stream(request).await.map_err(ProviderError::from)? {
                Streamed::Lines(lines) => return Ok(lines),
                Streamed::Refused(response) => match judge(door, None, response) {
                    Err(Refusal::Token) if !is_second => token = another(door, token).await?,
                    Err(refusal) => return Err(refusal),
                    Ok(_) => {
                        let why = format!("{} does not tell of changes", door.who());
                        return Err(ProviderError::Invalid(why).into());
                    }
                },
            }
            is_second = true;
        }
    }
}

type Token = Option<Arc<crate::secret::SecretBytes>>;

fn authorized(request: Request, token: Option<&crate::secret::SecretBytes>) -> Made {
    match token {
        Some(token) => request.secret("authorization", "Bearer ", token),
        None => Ok(request),
    }
}

/// Than the one that was refused.
async fn another(door: &Door, void: Token) -> Result<Token, Refusal> {
    let token = door.token(void.as_ref()).await?;
    match (&token, &void) {
        (Some(token), Some(void)) if !token.same_as(void.expose()) => {}
        _ => return Err(Refusal::Token),
    }
    Ok(token)
}

fn judge(door: &Door, about: Option<&Place>, response: Response) -> Result<Response, Refusal> {
    if response.is_success() {
        return Ok(response);
    }
    let told = response.json().ok().and_then(|answer| reason(answer, about));
    Err(match told {
        Some((reason, is_about_it)) => refused(door, &response, &reason, is_about_it),
        // Only it can refuse us; what stands before it cannot.
        None if matches!(response.status(), 401 | 403) => {
            let why =
                format!("{} is not what answers: something before it says {}", door.who(), response.status());
            ProviderError::Unavailable(why).into()
        }
        None => refusal(&door.who(), &response).into(),
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
