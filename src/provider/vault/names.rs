//! Which secrets there are, as far as the token may know: for lists and for "did you mean". Bounded, since a server
//! may have any number. Uses `session`.

use std::collections::VecDeque;
use std::sync::Arc;

use super::api::{Ask, json, odd, unfit};
use super::mounts::{Engine, Mounts};
use super::session::Session;
use crate::net::Route;
use crate::provider::ProviderError;

/// Names, questions, and folders within each other.
const MOST: usize = 5000;
const QUESTIONS: usize = 200;
const DEEPEST: usize = 12;

struct Folder {
    mount: String,
    engine: Engine,
    /// Empty, or with a slash at its end.
    path: String,
}

/// Folder by folder, the outer ones first. What may not be listed is left out.
pub(super) async fn all(session: &Arc<Session>, mounts: &Mounts) -> Result<Vec<String>, ProviderError> {
    let found = mounts.of_kv(session).await?;
    let folder = |(mount, engine)| Folder { mount, engine, path: String::new() };
    let mut folders: VecDeque<Folder> = found.into_iter().map(folder).collect();
    let mut names = Vec::new();
    for _ in 0..QUESTIONS {
        let Some(folder) = folders.pop_front() else { break };
        for entry in entries(session, &folder).await? {
            let path = format!("{}{entry}", folder.path);
            match path.ends_with('/') {
                false if names.len() < MOST => names.push(format!("{}/{path}", folder.mount)),
                true if path.matches('/').count() < DEEPEST => {
                    folders.push_back(Folder { mount: folder.mount.clone(), path, ..folder })
                }
                _ => {}
            }
        }
    }
    names.sort();
    Ok(names)
}

async fn entries(session: &Arc<Session>, folder: &Folder) -> Result<Vec<String>, ProviderError> {
    let mut route = Route::to("/v1").names(&folder.mount).map_err(unfit)?;
    if folder.engine == Engine::Kv2 {
        route = route.then("/metadata");
    }
    if !folder.path.is_empty() {
        let Ok(longer) = route.names(folder.path.trim_end_matches('/')) else { return Ok(Vec::new()) };
        route = longer;
    }
    let ask = Ask::list(route.then("/"));
    let (response, _) = session.ask(&ask).await?;
    match response.status() {
        200 => {
            let keys = json(&response)?.at(&["data", "keys"]).and_then(|keys| keys.items()).map_err(odd)?;
            keys.into_iter().map(|key| key.text().map_err(odd)).collect()
        }
        403 | 404 => Ok(Vec::new()),
        _ => Err(session.api().refusal("a list of names", &ask, &response)),
    }
}
