//! Reading key and value of both kinds. Nodes of a cluster lag behind each other, so what is older than what was
//! seen before, or is suddenly not there, is looked at again. Uses `session`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::answer::{self, Found};
use super::api::{Ask, unfit};
use super::mounts::Place;
use super::session::Session;
use crate::net::{Response, Route};
use crate::poison::EvenPoisoned;
use crate::provider::ProviderError;
use crate::secret::{Absent, Answer, SecretKey, SecretVersion};
use crate::sys::uptime::Uptime;

/// The newest that was seen of each secret.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashMap<String, Mark>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    version: u64,
    created: Timestamp,
    /// Since when only older versions are answered.
    doubted: Option<Uptime>,
}

/// What a look at a secret comes to.
pub(super) enum Look {
    Here(Box<SecretVersion>),
    /// Deleted or destroyed: of which version.
    Gone(Option<u64>),
    Missing,
    /// Another engine than it was taken for.
    Elsewhere,
}

/// Before each look: a standby has caught up within a tenth of a second.
const LOOKS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(150), Duration::from_millis(350)];
/// No node lags behind for so long: then the server was put back to what it was before.
const LONGEST: Duration = Duration::from_secs(60);
/// Secrets, beyond which all are forgotten.
const MOST: usize = 100_000;

impl Seen {
    /// `None`: it is no KV 2.
    pub(super) async fn read(
        &self,
        session: &Arc<Session>,
        place: &Place,
        key: &SecretKey,
    ) -> Result<Option<Answer>, ProviderError> {
        let mut was_missing = false;
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            let look = look(session, place, key.version).await?;
            let known = self.mark(&key.path).filter(|it| key.version.is_none() && !it.is_given_up());
            match look {
                Look::Elsewhere => return Ok(None),
                Look::Here(version) if follows(&version, known) => {
                    if key.version.is_none() {
                        self.note(&key.path, Some(Mark::of(&version)));
                    }
                    return Ok(Some(Ok(Arc::new(*version))));
                }
                Look::Gone(version)
                    if known.is_none_or(|known| version.is_none_or(|it| it >= known.version)) =>
                {
                    return Ok(Some(Err(Absent::Revoked)));
                }
                // A version that somebody names is there, if not on a node that lags behind.
                Look::Missing if was_missing || (known.is_none() && key.version.is_none()) => {
                    if key.version.is_none() {
                        self.note(&key.path, None);
                    }
                    return Ok(Some(Err(Absent::Missing)));
                }
                Look::Missing => was_missing = true,
                Look::Here(_) | Look::Gone(_) => {}
            }
        }
        self.doubt(&key.path);
        Err(ProviderError::Unavailable(
            "a node that lags behind answers with an older version than was there before".to_owned(),
        ))
    }

    fn mark(&self, path: &str) -> Option<Mark> {
        self.0.lock().even_poisoned().get(path).copied()
    }

    fn doubt(&self, path: &str) {
        if let Some(mark) = self.0.lock().even_poisoned().get_mut(path) {
            mark.doubted.get_or_insert_with(Uptime::now);
        }
    }

    fn note(&self, path: &str, mark: Option<Mark>) {
        let mut seen = self.0.lock().even_poisoned();
        if seen.len() >= MOST {
            seen.clear();
        }
        match mark {
            Some(mark) => seen.insert(path.to_owned(), mark),
            None => seen.remove(path),
        };
    }
}

impl Mark {
    fn of(version: &SecretVersion) -> Self {
        Self { version: version.version, created: version.created_at, doubted: None }
    }

    fn is_given_up(self) -> bool {
        self.doubted.is_some_and(|since| Uptime::now().since(since) >= LONGEST)
    }
}

/// A lower number is of a secret that was wiped and written anew, if it is younger; else it is an old answer.
fn follows(version: &SecretVersion, known: Option<Mark>) -> bool {
    known.is_none_or(|known| version.version >= known.version || version.created_at > known.created)
}

async fn look(session: &Arc<Session>, place: &Place, version: Option<u64>) -> Result<Look, ProviderError> {
    let route = Route::to("/v1").names(&place.mount).map_err(unfit)?.then("/data");
    let ask = Ask::get(route.names(&place.rest).map_err(unfit)?).version(version);
    let (response, _) = session.ask(&ask).await?;
    let what = || format!("the read of `{}/{}`", place.mount, place.rest);
    match answer::versioned(&response)? {
        Found::Version(version) => Ok(Look::Here(version)),
        Found::Gone(version) => Ok(Look::Gone(version)),
        Found::Nothing => Ok(Look::Missing),
        Found::Other => Ok(Look::Elsewhere),
        Found::Refusal => Err(session.api().refusal(&what(), &ask, &response)),
    }
}

/// By one question to a path as it is: KV 1, and everything that is no KV. `once`: each answer may be made for us.
pub(super) async fn read_plain(
    session: &Arc<Session>,
    place: &Place,
    once: bool,
) -> Result<(Ask, Response, Arc<super::pass::Pass>), ProviderError> {
    let route = Route::to("/v1").names(&place.mount).map_err(unfit)?;
    let ask = Ask::get(route.names(&place.rest).map_err(unfit)?);
    let ask = if place.engine == super::mounts::Engine::Kv1 { ask } else { ask.mute() };
    let ask = if once { ask.once() } else { ask };
    let (response, pass) = session.ask(&ask).await?;
    Ok((ask, response, pass))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretType;

    fn version(version: u64, second: i64) -> SecretVersion {
        let created_at = Timestamp::from_second(second).unwrap();
        SecretVersion {
            turned_out: None,
            kind: SecretType::Custom,
            fields: std::collections::BTreeMap::new(),
            version,
            created_at,
            updated_at: created_at,
            expires_at: None,
            uses: None,
        }
    }

    #[test]
    fn an_older_answer_does_not_follow_a_newer_one() {
        let mark = Mark::of(&version(3, 100));
        let known = Some(mark);
        assert!(follows(&version(1, 1), None));
        assert!(follows(&version(3, 100), known), "the same");
        assert!(follows(&version(4, 101), known));
        assert!(!follows(&version(2, 50), known), "a node that lags behind");
        assert!(follows(&version(1, 200), known), "written anew after it was wiped");
        assert!(follows(&version(3, 200), known));
        let doubted = |seconds| Mark { doubted: Some(Uptime::START + seconds), ..mark };
        assert!(!mark.is_given_up() && !doubted(Uptime::now().since(Uptime::START)).is_given_up());
        assert!(
            doubted(Uptime::now().since(Uptime::START).saturating_sub(LONGEST)).is_given_up(),
            "put back"
        );
    }
}
