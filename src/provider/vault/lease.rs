//! What was lent: credentials that are made when somebody asks and end with their lease, and certificates. One for each
//! path while it is asked for, renewed in time, replaced while the old one still works, given back at the end. Uses
//! `session`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::answer::{Lent, Tie};
use super::api::{Ask, Member, json, odd};
use super::pass::{Life, Pass};
use super::session::Session;
use crate::net::{Json, Route};
use crate::poison::EvenPoisoned;
use crate::provider::ProviderError;
use crate::secret::SecretVersion;
use crate::sys::uptime::Uptime;

#[derive(Default)]
pub(super) struct Leases(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    /// By path.
    current: HashMap<String, Lease>,
    /// Replaced by another one while somebody may still use them.
    past: Vec<Past>,
}

struct Past {
    path: String,
    by: Tie,
    life: Life,
}

struct Lease {
    by: Tie,
    version: Arc<SecretVersion>,
    life: Life,
    /// It ends with the token that it was made with.
    generation: u64,
    asked: Uptime,
}

/// One that nobody has asked for in so long is not renewed any more, and ends by itself.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Between two tries to have a new one, while the old one is still good.
const PAUSE: Duration = Duration::from_secs(5);
/// Of those that were replaced, beyond which they are left to their own end.
const MOST_PAST: usize = 1_000;

impl Leases {
    /// What is lent for this path, and when to ask again.
    pub(super) fn get(&self, path: &str, pass: &Pass) -> Option<(Arc<SecretVersion>, Option<Uptime>)> {
        let mut lists = self.lists();
        let lease = lists.current.get_mut(path).filter(|lease| lease.is_good(pass))?;
        lease.asked = Uptime::now();
        Some((lease.version.clone(), lease.good_until()))
    }

    /// It is time for another one, and there is none to be had: the old one, if it has not ended.
    pub(super) fn still(
        &self,
        path: &str,
        pass: Option<&Pass>,
    ) -> Option<(Arc<SecretVersion>, Option<Uptime>)> {
        let lists = self.lists();
        let is_alive = |lease: &&Lease| !lease.life.is_over() && pass.is_some_and(|pass| lease.is_tied(pass));
        let lease = lists.current.get(path).filter(is_alive)?;
        let soon = Uptime::now() + PAUSE;
        Some((lease.version.clone(), lease.life.until().map(|until| until.min(soon))))
    }

    /// A new one, in place of one that goes on until it ends.
    pub(super) fn put(
        &self,
        path: &str,
        lent: Lent,
        version: Arc<SecretVersion>,
        pass: &Pass,
    ) -> Option<Uptime> {
        let life = Life::new(lent.ttl, lent.is_renewable, lent.ttl);
        let lease = Lease { by: lent.by, version, life, generation: pass.generation, asked: Uptime::now() };
        let until = lease.good_until();
        let mut lists = self.lists();
        if let Some(Lease { by, life, .. }) = lists.current.insert(path.to_owned(), lease)
            && lists.past.len() < MOST_PAST
        {
            lists.past.push(Past { path: path.to_owned(), by, life });
        }
        until
    }

    /// Whether there is something that ends with our token.
    pub(super) fn are_lent(&self) -> bool {
        let mut lists = self.lists();
        lists.forget_ended();
        let past = lists.past.iter().map(|past| &past.by);
        lists.current.values().map(|lease| &lease.by).chain(past).any(|by| matches!(by, Tie::Lease(_)))
    }

    /// Renews what is due. Called each second.
    pub(super) async fn tend(&self, session: &Arc<Session>) -> Result<(), ProviderError> {
        let mut outcome = Ok(());
        for (path, id) in self.due() {
            let renewed = renew(session, &id).await;
            let mut lists = self.lists();
            if let Some(lease) = lists.current.get_mut(&path).filter(|lease| lease.has(&id)) {
                match renewed {
                    Ok(ttl) => lease.life = lease.life.renewed(ttl),
                    // Somebody has ended it: what was lent with it is void.
                    Err(ProviderError::Denied(_)) => drop(lists.current.remove(&path)),
                    Err(error) => {
                        lease.life = lease.life.put_off();
                        outcome = Err(error);
                    }
                }
            }
        }
        outcome
    }

    fn due(&self) -> Vec<(String, String)> {
        let now = Uptime::now();
        let mut lists = self.lists();
        lists.forget_ended();
        let is_due =
            |lease: &Lease| lease.life.is_renewable && lease.life.is_due() && now.since(lease.asked) < KEPT;
        let due = lists.current.iter().filter(|(_, lease)| is_due(lease));
        let of_lease = |(path, lease): (&String, &Lease)| match &lease.by {
            Tie::Lease(id) => Some((path.clone(), id.clone())),
            Tie::Certificate(_) => None,
        };
        due.filter_map(of_lease).collect()
    }

    /// Gives all back: those too that others have read. At the orderly end.
    pub(super) async fn give_back(&self, session: &Arc<Session>, what: &Ends) {
        let Lists { current, past } = std::mem::take(&mut *self.lists());
        let current = current.into_iter().map(|(path, Lease { by, life, .. })| Past { path, by, life });
        for Past { path, by, .. } in current.chain(past).filter(|it| !it.life.is_over()) {
            let ask = match by {
                Tie::Lease(id) if what.leases => {
                    Ask::put(Route::to("/v1/sys/leases/revoke")).with("lease_id", Member::Text(id))
                }
                Tie::Certificate(serial) if what.certificates => match revocation(&path) {
                    Some(route) => Ask::put(route).with("serial_number", Member::Text(serial)),
                    None => continue,
                },
                _ => continue,
            };
            if let Err(error) = session.ask_for("the end of what was lent", &ask).await {
                tracing::warn!(path, %error, "what was lent was not ended: it ends by itself");
            }
        }
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().even_poisoned()
    }
}

/// What has to be ended one by one.
pub(super) struct Ends {
    pub(super) leases: bool,
    pub(super) certificates: bool,
}

impl Lists {
    fn forget_ended(&mut self) {
        self.current.retain(|_, lease| !lease.life.is_over());
        self.past.retain(|past| !past.life.is_over());
    }
}

impl Lease {
    fn is_good(&self, pass: &Pass) -> bool {
        let until = self.good_until();
        self.is_tied(pass) && until.is_none_or(|until| Uptime::now() < until)
    }

    fn is_tied(&self, pass: &Pass) -> bool {
        matches!(self.by, Tie::Certificate(_)) || self.generation == pass.generation
    }

    fn has(&self, id: &str) -> bool {
        matches!(&self.by, Tie::Lease(own) if own == id)
    }

    /// One that is renewed, to its end; one that is not, only until there is still time to change to the next.
    fn good_until(&self) -> Option<Uptime> {
        if self.life.is_renewable { self.life.until() } else { self.life.due() }
    }
}

/// Where the engine that has made it takes a certificate back: `pki/issue/web`, `pki/issuer/NAME/issue/web`.
fn revocation(path: &str) -> Option<Route> {
    let mount = ["/issuer/", "/issue/", "/sign/", "/sign-verbatim"].iter().find_map(|it| path.split_once(it));
    Some(Route::to("/v1").names(mount?.0).ok()?.then("/revoke"))
}

async fn renew(session: &Arc<Session>, id: &str) -> Result<u64, ProviderError> {
    let ask = Ask::put(Route::to("/v1/sys/leases/renew")).with("lease_id", Member::Text(id.to_owned()));
    let response = session.ask_for("the renewal of a lease", &ask).await?;
    json(&response)?.at(&["lease_duration"]).and_then(Json::whole).map_err(odd)
}
