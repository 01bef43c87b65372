//! What was lent: credentials that are made when somebody asks and end with their lease, and certificates. One for each
//! path while it is asked for, renewed in time, replaced while the old one still works, given back at the end. Made one
//! at a time for each path. Uses `session`.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::answer::{Lent, Plain, Tie};
use super::api::{Ask, Member, json, odd};
use super::pass::{Life, Pass};
use super::session::Session;
use crate::net::{Json, Route};
use crate::poison::EvenPoisoned;
use crate::provider::ProviderError;
use crate::secret::SecretVersion;
use crate::sys::uptime::Uptime;

pub(super) struct Leases {
    lists: Mutex<Lists>,
    /// One that nobody has asked for in so long is given back. Who has read it and runs is asked for, again and again.
    unused: Duration,
}

/// Whoever has something made for a path has its turn.
pub(super) type Turn = Arc<tokio::sync::Mutex<()>>;

#[derive(Default)]
struct Lists {
    /// By path.
    current: HashMap<String, Lease>,
    turns: HashMap<String, Turn>,
    /// No other one is made for this path before.
    not_before: HashMap<String, (Uptime, ProviderError)>,
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

/// Between two tries to have a new one, while the old one is still good, or where nobody knows what came of the first.
const PAUSE: Duration = Duration::from_secs(5);
/// A certificate of less than this ends about when it comes, as it does where a clock is wrong: the next one has to wait.
const SHORT: u64 = 10;
const HOLD: Duration = Duration::from_secs(30);
/// The time for all certificates together: the token, with which all leases end, has to be given back after them.
const FAREWELL: Duration = Duration::from_secs(1);
/// Of those that were replaced, beyond which they are left to their own end.
const MOST_PAST: usize = 1_000;

impl Leases {
    pub(super) fn new(unused: Duration) -> Self {
        Self { lists: Mutex::default(), unused }
    }

    /// What is lent for this path, and when to ask again.
    pub(super) fn get(&self, path: &str, pass: &Pass) -> Option<(Arc<SecretVersion>, Option<Uptime>)> {
        let mut lists = self.lists();
        let lease = lists.current.get_mut(path).filter(|lease| lease.is_good(pass))?;
        lease.asked = Uptime::now();
        Some((lease.version.clone(), lease.good_until()))
    }

    /// It is time for another one, and there is none to be had: the old one, if it has not ended, until it is worth
    /// another try.
    pub(super) fn still(
        &self,
        path: &str,
        pass: Option<&Pass>,
        pause: Duration,
    ) -> Option<(Arc<SecretVersion>, Option<Uptime>)> {
        let mut lists = self.lists();
        let is_alive =
            |lease: &&mut Lease| !lease.life.is_over() && pass.is_some_and(|pass| lease.is_tied(pass));
        let lease = lists.current.get_mut(path).filter(is_alive)?;
        lease.asked = Uptime::now();
        let again = Uptime::now() + pause.max(PAUSE);
        Some((lease.version.clone(), Some(lease.life.until().map_or(again, |until| until.min(again)))))
    }

    /// Whether something is lent for this path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.lists().current.contains_key(path)
    }

    pub(super) fn turn(&self, path: &str) -> Turn {
        self.lists().turns.entry(path.to_owned()).or_default().clone()
    }

    /// Why nothing may be made for this path now, if it must not be.
    pub(super) fn refuse_too_soon(&self, path: &str) -> Result<(), ProviderError> {
        match self.lists().not_before.get(path) {
            Some((then, why)) if *then > Uptime::now() => {
                let left = then.since(Uptime::now()).as_secs_f64().ceil();
                Err(ProviderError::Paused(format!("not asked for {left:.0} s more: {why}")))
            }
            _ => Ok(()),
        }
    }

    /// Takes note of how it went: nobody knows whether something was made, or it ends about when it comes.
    pub(super) fn heed(&self, path: &str, made: &Result<&Plain, ProviderError>) -> Result<(), ProviderError> {
        let (pause, why) = match made {
            Err(why) if !says_nothing_was_made(why) => (PAUSE, why.clone()),
            Ok(Plain { lease: Some(Lent { by: Tie::Certificate(_), ttl, .. }), .. }) if *ttl < SHORT => {
                (HOLD, ends_at_once(path))
            }
            _ => return Ok(()),
        };
        self.lists().not_before.insert(path.to_owned(), (Uptime::now() + pause, why.clone()));
        let has_ended = |made: &&Plain| made.lease.as_ref().is_some_and(|lent| lent.ttl == 0);
        if made.as_ref().is_ok_and(has_ended) { Err(why) } else { Ok(()) }
    }

    /// A new one, in place of one that goes on until it ends.
    pub(super) fn put(
        &self,
        path: &str,
        lent: Lent,
        version: Arc<SecretVersion>,
        pass: &Pass,
    ) -> Option<Uptime> {
        if matches!(lent.by, Tie::Lease(_)) {
            pass.has_lent.store(true, Ordering::Relaxed);
        }
        let life = Life::new(lent.ttl, lent.is_renewable, lent.ttl);
        let lease = Lease { by: lent.by, version, life, generation: pass.generation, asked: Uptime::now() };
        let until = lease.good_until();
        let mut lists = self.lists();
        if let Some(old) = lists.current.insert(path.to_owned(), lease) {
            lists.leave(path, old);
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

    /// Renews what is due, and gives back what nobody uses. Called each second.
    pub(super) async fn tend(&self, session: &Arc<Session>, what: &Ends) -> Result<(), ProviderError> {
        let mut outcome = Ok(());
        let unused = self.lists().take_unused(self.unused);
        for unused in unused {
            let path = &unused.path;
            tracing::info!(path, "what was lent is given back: nobody has asked for it in {:?}", self.unused);
            if !end(session, what, &unused).await {
                self.lists().past.push(unused);
            }
        }
        for (path, id) in self.due() {
            let renewed = renew(session, &id).await;
            let mut lists = self.lists();
            if let Some(lease) = lists.current.get_mut(&path).filter(|lease| lease.has(&id)) {
                match renewed {
                    Ok(ttl) => lease.life = lease.life.renewed(ttl),
                    // Somebody has ended it, or us the right to renew it: nobody is given it any more.
                    Err(ProviderError::Denied(_)) => lists.part_with(&path),
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
        let mut lists = self.lists();
        lists.forget_ended();
        let is_due = |(_, lease): &(&String, &Lease)| lease.life.is_renewable && lease.life.is_due();
        let due = lists.current.iter().filter(is_due);
        let of_lease = |(path, lease): (&String, &Lease)| match &lease.by {
            Tie::Lease(id) => Some((path.clone(), id.clone())),
            Tie::Certificate(_) => None,
        };
        due.filter_map(of_lease).collect()
    }

    /// Gives all back: those too that others have read. At the orderly end.
    pub(super) async fn give_back(&self, session: &Session, what: &Ends) {
        let all = async {
            let turns: Vec<Turn> = self.lists().turns.values().cloned().collect();
            for turn in turns {
                // What is being made now is to be given back, too.
                drop(turn.lock().await);
            }
            self.end_all(session, what).await;
        };
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            tracing::warn!("not all that was lent was ended in time: it ends with our token, or by itself");
        }
    }

    async fn end_all(&self, session: &Session, what: &Ends) {
        let Lists { current, past, .. } = std::mem::take(&mut *self.lists());
        let current = current.into_iter().map(|(path, lease)| lease.past(path));
        for past in current.chain(past).filter(|it| !it.life.is_over()) {
            end(session, what, &past).await;
        }
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().even_poisoned()
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
        let now = Uptime::now();
        self.not_before.retain(|_, (then, _)| *then > now);
    }

    /// Nothing of its values is kept, only what it takes to end it.
    fn leave(&mut self, path: &str, lease: Lease) {
        if self.past.len() < MOST_PAST {
            self.past.push(lease.past(path.to_owned()));
        }
    }

    fn part_with(&mut self, path: &str) {
        if let Some(lease) = self.current.remove(path) {
            self.leave(path, lease);
        }
    }

    fn take_unused(&mut self, age: Duration) -> Vec<Past> {
        let now = Uptime::now();
        let unused = self.current.extract_if(|_, lease| now.since(lease.asked) >= age);
        unused.map(|(path, lease)| lease.past(path)).collect()
    }
}

impl Lease {
    fn is_good(&self, pass: &Pass) -> bool {
        let until = self.good_until();
        self.is_tied(pass) && until.is_none_or(|until| Uptime::now() < until)
    }

    /// Whether it lives with this token: a lease ends with its own. A certificate does not, but who has a token from
    /// elsewhere may have been given a lesser one.
    fn is_tied(&self, pass: &Pass) -> bool {
        let is_of_it = self.generation == pass.generation;
        match self.by {
            Tie::Certificate(_) => is_of_it || pass.is_ours,
            Tie::Lease(_) => is_of_it && pass.is_good(),
        }
    }

    fn past(self, path: String) -> Past {
        Past { path, by: self.by, life: self.life }
    }

    fn has(&self, id: &str) -> bool {
        matches!(&self.by, Tie::Lease(own) if own == id)
    }

    /// One that is renewed, to its end; one that is not, only until there is still time to change to the next.
    fn good_until(&self) -> Option<Uptime> {
        if self.life.is_renewable { self.life.until() } else { self.life.due() }
    }
}

fn says_nothing_was_made(why: &ProviderError) -> bool {
    use ProviderError::{Denied, Throttled, Unavailable, Unreachable};
    matches!(why, Denied(_) | Throttled { .. } | Unavailable(_) | Unreachable(_))
}

fn ends_at_once(path: &str) -> ProviderError {
    ProviderError::Invalid(format!(
        "what is written to `{path}` gives a certificate that ends as good as at once, so for a while no other one is \
         asked for: is the server's clock right, and the `ttl`?"
    ))
}

/// No means that the server has not done it.
async fn end(session: &Session, what: &Ends, past: &Past) -> bool {
    let ask = match &past.by {
        Tie::Lease(id) if what.leases => {
            Ask::put(Route::to("/v1/sys/leases/revoke")).with("lease_id", Member::Text(id.clone()))
        }
        Tie::Certificate(serial) if what.certificates => match revocation(&past.path) {
            Some(route) => Ask::put(route).with("serial_number", Member::Text(serial.clone())),
            None => return true,
        },
        _ => return true,
    };
    let ended = session.end("the end of what was lent", &ask).await;
    if let Err(error) = &ended {
        tracing::warn!(path = past.path, %error, "what was lent was not ended: it ends by itself");
    }
    ended.is_ok()
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
