//! What stands where on the server: which part of a path is the mount, and what kind of engine is there. Kept for a
//! while. A token that may not ask for it makes us try. Uses `session`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::api::{Ask, json, odd, unfit};
use super::session::Session;
use crate::net::{Json, JsonError, Route};
use crate::poison::EvenPoisoned;
use crate::provider::ProviderError;
use crate::sys::uptime::Uptime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    /// Key and value, without versions.
    Kv1,
    Kv2,
    /// What makes a secret when it is asked, or anything else.
    Other,
    /// The token may not know it.
    Unknown,
}

/// A path of ours, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Without a slash at its end.
    pub(super) mount: String,
    pub(super) rest: String,
    pub(super) engine: Engine,
}

#[derive(Default)]
pub(super) struct Mounts {
    /// By their paths, without a slash at their end.
    known: Mutex<BTreeMap<String, (Engine, Uptime)>>,
}

/// An engine is seldom replaced by another one.
const KEPT: Duration = Duration::from_secs(300);
/// Mounts, beyond which all are forgotten.
const MOST: usize = 10_000;

impl Engine {
    fn of(mount: Json<'_>) -> Result<Self, JsonError> {
        let kind = mount.at(&["type"])?.text()?;
        let version = mount.get("options")?.map(|options| options.get("version")).transpose()?.flatten();
        let version = version.map(Json::text).transpose()?;
        Ok(match (kind.as_str(), version.as_deref()) {
            ("kv" | "generic", Some("2")) => Self::Kv2,
            ("kv" | "generic", _) => Self::Kv1,
            _ => Self::Other,
        })
    }
}

impl Mounts {
    /// `None`: it leads to a mount, and to nothing in it.
    pub(super) async fn place(
        &self,
        session: &Arc<Session>,
        path: &str,
    ) -> Result<Option<Place>, ProviderError> {
        if let Some(place) = self.known(path) {
            return Ok(Some(place));
        }
        let ask = Ask::get(Route::to("/v1/sys/internal/ui/mounts").names(path).map_err(unfit)?);
        let (response, _) = session.ask(&ask).await?;
        match response.status() {
            200 => {
                let data = json(&response)?.at(&["data"]).map_err(odd)?;
                let mount = data.at(&["path"]).and_then(Json::text).map_err(odd)?;
                let mount = mount.trim_end_matches('/').to_owned();
                let engine = Engine::of(data).map_err(odd)?;
                self.learn(&mount, engine);
                Ok(split(path, &mount).map(|rest| Place { mount, rest, engine }))
            }
            // The policy gives nothing below it, or there is no such mount: the read tells.
            403 => Ok(path.split_once('/').map(|(mount, rest)| Place {
                mount: mount.to_owned(),
                rest: rest.to_owned(),
                engine: Engine::Unknown,
            })),
            _ => Err(session.api().refusal(&format!("the question what `{path}` is"), &ask, &response)),
        }
    }

    pub(super) fn learn(&self, mount: &str, engine: Engine) {
        let mut known = self.known.lock().even_poisoned();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(mount.to_owned(), (engine, Uptime::now()));
    }

    /// What is there has turned out to be something else.
    pub(super) fn forget(&self, mount: &str) {
        self.known.lock().even_poisoned().remove(mount);
    }

    /// Whether what has this path is made when it is asked for, as far as that is known.
    pub(super) fn are_made(&self, path: &str) -> bool {
        self.known(path).is_some_and(|place| place.engine == Engine::Other)
    }

    /// No mount lies within another one.
    fn known(&self, path: &str) -> Option<Place> {
        let known = self.known.lock().even_poisoned();
        path.match_indices('/').find_map(|(at, _)| {
            let (engine, since) = known.get(&path[..at]).copied()?;
            let is_young = Uptime::now().since(since) < KEPT;
            is_young.then(|| Place { mount: path[..at].to_owned(), rest: path[at + 1..].to_owned(), engine })
        })
    }

    /// All mounts of key and value that the token may know.
    pub(super) async fn of_kv(&self, session: &Arc<Session>) -> Result<Vec<(String, Engine)>, ProviderError> {
        let ask = Ask::get(Route::to("/v1/sys/internal/ui/mounts"));
        let response = session.ask_for("the list of mounts", &ask).await?;
        let secret = json(&response)?.at(&["data", "secret"]).map_err(odd)?;
        let mut found = Vec::new();
        for (mount, about) in secret.members().map_err(odd)? {
            let mount = mount.trim_end_matches('/').to_owned();
            let engine = Engine::of(about).map_err(odd)?;
            if matches!(engine, Engine::Kv1 | Engine::Kv2) {
                found.push((mount, engine));
            }
        }
        Ok(found)
    }
}

/// What is behind the mount.
fn split(path: &str, mount: &str) -> Option<String> {
    path.strip_prefix(mount)?.strip_prefix('/').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart_at_its_mount() {
        let mounts = Mounts::default();
        mounts.learn("kv", Engine::Kv2);
        mounts.learn("team/kv", Engine::Kv1);
        let place = |path| mounts.known(path).map(|place| (place.mount, place.rest, place.engine));
        assert_eq!(place("kv/a/b"), Some(("kv".into(), "a/b".into(), Engine::Kv2)));
        assert_eq!(place("team/kv/a"), Some(("team/kv".into(), "a".into(), Engine::Kv1)));
        for path in ["kv", "kvx/a", "team/x", "a"] {
            assert_eq!(place(path), None, "{path}");
        }
        mounts.forget("kv");
        assert_eq!(place("kv/a"), None);
    }

    #[test]
    fn engines_are_told_by_type_and_version() {
        for (about, engine) in [
            (r#"{"type": "kv", "options": {"version": "2"}}"#, Engine::Kv2),
            (r#"{"type": "kv", "options": {"version": "1"}}"#, Engine::Kv1),
            (r#"{"type": "kv", "options": null}"#, Engine::Kv1),
            (r#"{"type": "database", "options": null}"#, Engine::Other),
        ] {
            assert_eq!(Engine::of(Json::read(about.as_bytes()).unwrap()), Ok(engine), "{about}");
        }
    }
}
