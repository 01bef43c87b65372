//! Being logged in: one token however many ask, renewed in time, had anew when it is void. What a refusal means is
//! found out once: a right that is lacking, or a token that is no more. Uses `api` and `login`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::api::{Api, Ask, json};
use super::login::{Door, Granted};
use super::pass::{Life, Pass};
use super::refusal::{is_of_policy, is_of_token, is_own};
use crate::net::{Response, Route};
use crate::poison::EvenPoisoned;
use crate::provider::ProviderError;
use crate::secret::SecretBytes;
use crate::sys::uptime::Uptime;

pub(super) struct Session {
    api: Arc<Api>,
    door: Door,
    held: Mutex<Option<Arc<Pass>>>,
    /// Passes of ours that others have taken the place of, since when, and that have not ended.
    replaced: Mutex<Vec<(Uptime, Arc<Pass>)>>,
    /// Whoever logs in has it.
    gate: Arc<tokio::sync::Mutex<Attempts>>,
    /// It has said goodbye, and asks for nothing any more.
    is_closed: AtomicBool,
}

/// Of the logins so far.
#[derive(Default)]
struct Attempts {
    /// Counts the passes.
    made: u64,
    failed: Option<Failed>,
}

struct Failed {
    at: Uptime,
    why: ProviderError,
    /// What was refused, not to be tried again at once: a server may lock out who does.
    refused: Option<Ask>,
    pause: Duration,
}

/// After a login that was refused, at first and at most, if the credentials stay the same.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// How long who could do without waits for a token.
const SOON: Duration = Duration::from_secs(1);
/// Who was on his way with a token that was replaced is done then, or after the time for one answer.
const ON_THE_WAY: Duration = Duration::from_secs(5);

impl Session {
    pub(super) fn new(api: Arc<Api>, door: Door) -> Self {
        let (held, replaced) = (Mutex::default(), Mutex::default());
        Self { api, door, held, replaced, gate: Arc::default(), is_closed: AtomicBool::new(false) }
    }

    pub(super) fn api(&self) -> &Api {
        &self.api
    }

    /// The answer to a question of ours, with the pass that it was asked with.
    pub(super) async fn ask(self: &Arc<Self>, ask: &Ask) -> Result<(Response, Arc<Pass>), ProviderError> {
        let pass = self.pass().await?;
        let response = self.api.send(ask, Some(&pass.token)).await?;
        if response.status() != 403 || !self.is_void(&pass, &response).await? {
            return Ok((response, pass));
        }
        let pass = self.enter(Some(&pass)).await?;
        let again = self.api.send(ask, Some(&pass.token)).await?;
        let is_in_vain = again.status() == 403 && is_of_policy(&again) == is_of_policy(&response);
        if is_in_vain {
            pass.is_in_vain.store(true, Ordering::Relaxed);
        }
        Ok((again, pass))
    }

    /// The same, where every answer but success is a failure at `what`.
    pub(super) async fn ask_for(self: &Arc<Self>, what: &str, ask: &Ask) -> Result<Response, ProviderError> {
        let (response, _) = self.ask(ask).await?;
        match response.is_success() {
            true => Ok(response),
            false => Err(self.api.refusal(what, ask, &response)),
        }
    }

    pub(super) async fn pass(self: &Arc<Self>) -> Result<Arc<Pass>, ProviderError> {
        self.refuse_after_goodbye()?;
        let held = self.held();
        if let Some(given) = self.door.given().await {
            let given = given?;
            return Ok(match held.filter(|pass| pass.token.same_as(given.expose())) {
                Some(pass) => pass,
                None => self.take_given(given).await,
            });
        }
        match held.filter(|pass| pass.is_good()) {
            Some(pass) => Ok(pass),
            None => self.enter(None).await,
        }
    }

    /// Takes up a token that somebody has put in the place of the one before. Asks nothing of the server.
    pub(super) async fn take_up(self: &Arc<Self>) {
        if self.door.is_given() {
            // One that cannot be had is told to who needs it.
            let _ = tokio::time::timeout(SOON, self.pass()).await;
        }
    }

    pub(super) fn held(&self) -> Option<Arc<Pass>> {
        self.held.lock().even_poisoned().clone()
    }

    fn hold(&self, pass: Arc<Pass>) -> Arc<Pass> {
        *self.held.lock().even_poisoned() = Some(pass.clone());
        pass
    }

    /// A token from elsewhere, of which nothing is known yet.
    async fn take_given(&self, token: SecretBytes) -> Arc<Pass> {
        let mut attempts = self.gate.lock().await;
        match self.held().filter(|pass| pass.token.same_as(token.expose())) {
            Some(pass) => pass,
            None => {
                attempts.made += 1;
                self.hold(Arc::new(Pass::given(token, attempts.made)))
            }
        }
    }

    /// Whether a refusal is about the token, and not about its rights.
    async fn is_void(&self, pass: &Pass, refused: &Response) -> Result<bool, ProviderError> {
        if !is_own(refused) {
            return Ok(false);
        }
        if pass.is_counted {
            return Ok(!is_of_policy(refused));
        }
        let ask = Ask::get(Route::to("/v1/auth/token/lookup-self"));
        let response = self.api.send(&ask, Some(&pass.token)).await?;
        match response.status() {
            200 => Ok(false),
            // One that may not even ask that is not had anew for each question.
            403 if is_of_policy(&response) => Ok(false),
            403 if is_of_token(&response) => Ok(true),
            403 if is_own(&response) => Ok(pass.may_be_void(is_of_policy(refused))),
            _ => Err(self.api.refusal("a look at our own token", &ask, &response)),
        }
    }

    /// Logs in, unless somebody else just has: `void` is the pass that is to be replaced. Goes on when who asked
    /// has gone: what is good for one use must not be lost.
    async fn enter(self: &Arc<Self>, void: Option<&Pass>) -> Result<Arc<Pass>, ProviderError> {
        let (asked, void) = (Uptime::now(), void.map(|pass| pass.generation));
        let gate = self.gate.clone().lock_owned().await;
        self.refuse_after_goodbye()?;
        if let Some(pass) = self.held().filter(|pass| pass.is_good() && Some(pass.generation) != void) {
            return Ok(pass);
        }
        if self.door.given().await.is_some() {
            return Err(ProviderError::Denied(
                "our token is void: it has expired, was revoked or is used up; put a new one in its place"
                    .to_owned(),
            ));
        }
        if let Some(failed) = gate.failed.as_ref().filter(|failed| failed.at >= asked) {
            return Err(failed.why.clone());
        }
        let this = self.clone();
        let entered = tokio::spawn(async move { this.knock(gate).await });
        entered.await.unwrap_or_else(|_| Err(ProviderError::Unavailable("the login was lost".to_owned())))
    }

    async fn knock(&self, mut gate: OwnedMutexGuard<Attempts>) -> Result<Arc<Pass>, ProviderError> {
        let mut refused = None;
        let outcome = self.log_in(&mut gate, &mut refused).await;
        match outcome {
            Ok(granted) => {
                gate.failed = None;
                gate.made += 1;
                Ok(self.replace(Pass::ours(granted, gate.made)))
            }
            Err(why) => {
                let before = gate.failed.take().map(|failed| failed.pause);
                let pause = before.map_or(FIRST, |pause| (2 * pause).min(LONGEST));
                gate.failed = Some(Failed { at: Uptime::now(), why: why.clone(), refused, pause });
                Err(why)
            }
        }
    }

    /// The one before is given back, as soon as nobody is on his way with it.
    fn replace(&self, pass: Pass) -> Arc<Pass> {
        // One for so many questions has been used up.
        if let Some(old) = self.held().filter(|old| old.is_ours && !old.is_counted) {
            self.replaced.lock().even_poisoned().push((Uptime::now(), old));
        }
        self.hold(Arc::new(pass))
    }

    /// Unless something that was lent with it ends with it.
    fn part_with_replaced(self: &Arc<Self>) {
        let (now, on_the_way) = (Uptime::now(), ON_THE_WAY.max(self.api.client().timeout()));
        let is_over = |(since, old): &mut (Uptime, Arc<Pass>)| {
            !old.is_good() || (!old.has_lent() && now.since(*since) >= on_the_way)
        };
        let over: Vec<_> = self.replaced.lock().even_poisoned().extract_if(.., is_over).collect();
        for (_, old) in over.into_iter().filter(|(_, old)| old.is_good()) {
            let this = self.clone();
            // What comes next does not wait for it.
            tokio::spawn(async move { this.revoke(&old).await });
        }
    }

    async fn revoke(&self, pass: &Pass) {
        let ask = Ask::put(Route::to("/v1/auth/token/revoke-self"));
        match self.api.send(&ask, Some(&pass.token)).await {
            Ok(response) if is_of_policy(&response) => tracing::warn!(
                "our token was not revoked, and ends by itself: its role needs `update` on auth/token/revoke-self"
            ),
            Ok(response) if response.is_success() => {}
            Ok(response) => {
                let status = response.status();
                tracing::debug!(status, "our token was not revoked: it ends by itself");
            }
            Err(error) => tracing::debug!(%error, "our token was not revoked: it ends by itself"),
        }
    }

    async fn log_in(&self, gate: &mut Attempts, refused: &mut Option<Ask>) -> Result<Granted, ProviderError> {
        let ask = self.door.ask(&self.api).await?;
        if let Some(failed) = &gate.failed
            && Uptime::now().since(failed.at) < failed.pause
            && failed.refused.as_ref().is_some_and(|refused| refused.is_same(&ask))
        {
            *refused = Some(ask);
            return Err(failed.why.clone());
        }
        let response = self.api.send(&ask, None).await?;
        if response.is_success() {
            return Granted::read(json(&response)?);
        }
        let why = self.api.refusal(&self.door.name(), &ask, &response);
        *refused = matches!(why, ProviderError::Denied(_)).then_some(ask);
        Err(why)
    }

    /// Renews what is to be renewed, in time. Called each second.
    pub(super) async fn tend(self: &Arc<Self>) -> Result<(), ProviderError> {
        self.part_with_replaced();
        let Some(pass) = self.held().filter(|pass| pass.is_due()) else { return Ok(()) };
        let outcome = match pass.life() {
            None => self.learn(&pass).await,
            Some(life) if life.is_renewable => self.renew(&pass).await,
            Some(_) if pass.is_ours => self.enter(Some(&pass)).await.map(drop),
            Some(life) => Err(life.ends()),
        };
        if outcome.is_err() {
            pass.put_off();
        }
        outcome
    }

    /// How long a token lives that somebody has given us. One that may not ask is left alone.
    async fn learn(&self, pass: &Pass) -> Result<(), ProviderError> {
        let ask = Ask::get(Route::to("/v1/auth/token/lookup-self"));
        let response = self.api.send(&ask, Some(&pass.token)).await?;
        match response.status() {
            200 => {
                let token = SecretBytes::copy_of(pass.token.expose());
                let (granted, at_first) = Granted::looked_up(token, json(&response)?)?;
                pass.live(Life::of(&granted, at_first));
                Ok(())
            }
            403 if is_own(&response) => {
                pass.live(Life::ENDLESS);
                Ok(())
            }
            _ => Err(self.api.refusal("a look at our own token", &ask, &response)),
        }
    }

    async fn renew(self: &Arc<Self>, pass: &Arc<Pass>) -> Result<(), ProviderError> {
        let ask = Ask::put(Route::to("/v1/auth/token/renew-self"));
        let response = self.api.send(&ask, Some(&pass.token)).await?;
        match response.status() {
            200 => {
                pass.renewed(Granted::read(json(&response)?)?.ttl);
                Ok(())
            }
            // Void, or never to be renewed.
            400 | 403 if pass.is_ours && is_own(&response) => self.enter(Some(pass)).await.map(drop),
            _ => Err(self.api.refusal("the renewal of our token", &ask, &response)),
        }
    }

    /// From here on nobody is let in: what was had anew now, nobody would give back.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    fn refuse_after_goodbye(&self) -> Result<(), ProviderError> {
        match self.is_closed.load(Ordering::SeqCst) {
            true => Err(ProviderError::Unavailable("we have given all back, and end".to_owned())),
            false => Ok(()),
        }
    }

    /// Asked with the token that we have, whatever comes of it: nothing is had for it.
    pub(super) async fn end(&self, what: &str, ask: &Ask) -> Result<(), ProviderError> {
        let Some(pass) = self.held() else { return Ok(()) };
        let response = self.api.send(ask, Some(&pass.token)).await?;
        match response.is_success() {
            true => Ok(()),
            false => Err(self.api.refusal(what, ask, &response)),
        }
    }

    /// Gives the token back, if it was given to us for this. With it go all its leases.
    pub(super) async fn leave(&self) {
        self.close();
        // One who is about to get in has one to give back, too.
        let _gate = self.gate.lock().await;
        let held = self.held.lock().even_poisoned().take();
        let replaced = std::mem::take(&mut *self.replaced.lock().even_poisoned());
        let replaced = replaced.into_iter().map(|(_, old)| old);
        for pass in held.into_iter().chain(replaced).filter(|pass| pass.is_ours && pass.is_good()) {
            self.revoke(&pass).await;
        }
    }
}
