//! What was lent: credentials that are made when somebody asks and end with their lease. One for each path while it is
//! asked for, renewed in time, replaced while the old one still works, given back at the end. Uses `session`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::answer::Lent;
use super::api::{Ask, Member, json, odd};
use super::pass::{Life, Pass};
use super::session::Session;
use crate::net::{Json, Route};
use crate::poison::EvenPoisoned;
use crate::provider::ProviderError;
use crate::secret::SecretVersion;
use crate::sys::uptime::Uptime;

/// By path.
#[derive(Default)]
pub(super) struct Leases(Mutex<HashMap<String, Lease>>);

struct Lease {
    id: String,
    version: Arc<SecretVersion>,
    life: Life,
    /// It ends with the token that it was made with.
    generation: u64,
    asked: Uptime,
}

/// One that nobody has asked for in so long is not renewed any more, and ends by itself.
const KEPT: Duration = Duration::from_secs(24 * 3600);

impl Leases {
    /// What is lent for this path, and when to ask again.
    pub(super) fn get(&self, path: &str, pass: &Pass) -> Option<(Arc<SecretVersion>, Option<Uptime>)> {
        let mut leases = self.leases();
        let lease = leases.get_mut(path).filter(|lease| lease.is_good(pass))?;
        lease.asked = Uptime::now();
        Some((lease.version.clone(), lease.good_until()))
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
        let (id, generation) = (lent.id, pass.generation);
        let lease = Lease { id, version, life, generation, asked: Uptime::now() };
        let until = lease.good_until();
        self.leases().insert(path.to_owned(), lease);
        until
    }

    /// Renews what is due. Called each second.
    pub(super) async fn tend(&self, session: &Arc<Session>) -> Result<(), ProviderError> {
        let mut outcome = Ok(());
        for (path, id) in self.due() {
            let renewed = renew(session, &id).await;
            if let Some(lease) = self.leases().get_mut(&path).filter(|lease| lease.id == id) {
                match renewed {
                    Ok(ttl) => lease.life = lease.life.renewed(ttl),
                    // Somebody has ended it: what was lent with it is void.
                    Err(ProviderError::Denied(_)) => drop(self.leases().remove(&path)),
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
        let mut leases = self.leases();
        leases.retain(|_, lease| !lease.life.is_over());
        let is_due =
            |lease: &Lease| lease.life.is_renewable && lease.life.is_due() && now.since(lease.asked) < KEPT;
        leases.iter().filter(|(_, it)| is_due(it)).map(|(path, it)| (path.clone(), it.id.clone())).collect()
    }

    /// Gives all back: those too that others have read. At the orderly end.
    pub(super) async fn give_back(&self, session: &Arc<Session>) {
        let leases: Vec<Lease> = self.leases().drain().map(|(_, lease)| lease).collect();
        for lease in leases {
            let ask = Ask::put(Route::to("/v1/sys/leases/revoke")).with("lease_id", Member::Text(lease.id));
            if let Err(error) = session.ask_for("the end of a lease", &ask).await {
                tracing::debug!(%error, "a lease was not ended: it ends by itself");
            }
        }
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<String, Lease>> {
        self.0.lock().even_poisoned()
    }
}

impl Lease {
    fn is_good(&self, pass: &Pass) -> bool {
        let until = self.good_until();
        self.generation == pass.generation && until.is_none_or(|until| Uptime::now() < until)
    }

    /// One that is renewed, to its end; one that is not, only until there is still time to change to the next.
    fn good_until(&self) -> Option<Uptime> {
        if self.life.is_renewable { self.life.until() } else { self.life.due() }
    }
}

async fn renew(session: &Arc<Session>, id: &str) -> Result<u64, ProviderError> {
    let ask = Ask::put(Route::to("/v1/sys/leases/renew")).with("lease_id", Member::Text(id.to_owned()));
    let response = session.ask_for("the renewal of a lease", &ask).await?;
    json(&response)?.at(&["lease_duration"]).and_then(Json::whole).map_err(odd)
}
