//! What is given away is written down first, and so is what is refused. Uses `audit`.

use std::time::Instant;

use super::{Broker, Class, Error, Found, Lack, Rendering};
use crate::audit::{Event, Kind, Named, Who};
use crate::caller::{Caller, Identity};
use crate::policy::{Access, Action, Door, Grant, RuleId, Verdict};
use crate::resolver::Basis;
use crate::secret::{Reference, SecretKey};
use crate::sys::identity;
use crate::template::{Reader, Template};

impl Broker {
    /// The line for an access that was judged so. Its outcome is still to be said.
    pub fn event(&self, who: &Identity, access: &Access<'_>, verdict: Verdict, rule: &RuleId) -> Event {
        Event::of_access(who, access, verdict, rule)
    }

    /// Has it written down. If that fails, nothing may be given away.
    pub fn record(&self, event: Event) -> Result<(), Error> {
        Ok(self.audit.record(self.named(event))?)
    }

    /// The same for who is answered by somebody else if it takes too long.
    pub fn record_here(&self, event: Event) -> Result<(), Error> {
        Ok(self.audit.record_here(self.named(event))?)
    }

    /// With the providers that the secrets come from, and their names there.
    fn named(&self, mut event: Event) -> Event {
        let named = |it: &Named| SecretKey {
            provider: it.provider.clone(),
            path: it.name.clone(),
            version: it.version,
        };
        for secret in event.secrets.iter_mut().filter(|it| it.provider.is_none()) {
            let Some((provider, path)) = self.resolver.place(&named(secret)) else { continue };
            secret.provider = Some(provider.to_owned());
            secret.path = Some(path).filter(|path| *path != secret.name);
        }
        event
    }

    /// With who has answered where several could have, as what is given says that it rests on.
    pub fn name_who_answered(&self, event: &mut Event, basis: &Basis) {
        if !self.resolver.asks_several() {
            return;
        }
        for secret in &mut event.secrets {
            let key = SecretKey {
                provider: secret.provider.clone(),
                path: secret.name.clone(),
                version: secret.version,
            };
            if let Some((provider, path)) = self.resolver.answered(&key, basis) {
                secret.provider = Some(provider.to_owned());
                secret.path = Some(path).filter(|path| *path != secret.name);
            }
        }
    }

    /// What the daemon does itself. That goes on even if it cannot be written down.
    pub fn note(&self, kind: Kind, detail: impl Into<String>) {
        self.note_event(Event::new(kind, Who::ourselves()).detail(detail));
    }

    /// The same of what somebody had it do.
    pub fn note_event(&self, event: Event) {
        if let Err(error) = self.audit.record(event.opened(self.audit.opened())) {
            tracing::error!(%error, "audit_blocked: nobody gets anything until it can be written down");
        }
    }

    /// The values of these texts, by all their readings and in their order, as of one moment, for who shall
    /// have them.
    pub async fn give(
        &self,
        caller: &Caller,
        door: Door,
        texts: &[&[Reference]],
    ) -> Result<Vec<Result<Found, Lack>>, Error> {
        let who = self.sight(caller, door);
        let verdict = |key: &SecretKey| {
            let keys = std::slice::from_ref(key);
            let access = Access { door, action: Action::Read, file: None, keys };
            who.as_ref().map_or(Verdict::Deny, |who| self.judge(who, &access).verdict())
        };
        let keys = self.meant(texts, verdict).await?;
        let asked = Asked::new(self, caller, door, &keys);
        let grant = asked.grant()?;
        let references = texts.concat();
        let outcome = self.values_of(&grant, &keys, &references).await;
        let found = outcome.iter().flatten().zip(&references);
        let found = found.filter_map(|(found, it)| Some(found.as_ref().ok()?.shown(&it.key)));
        let found: Vec<_> = found.flatten().collect();
        let found: Vec<_> = shown_of(&found).collect();
        let basis = outcome.iter().flatten().find_map(|found| Some(&*found.as_ref().ok()?.basis));
        let failed = outcome.as_ref().err().map(Error::class);
        let failed = failed.or_else(|| found.is_empty().then_some(Class::NoKey));
        asked.record(&grant, found, basis, failed)?;
        outcome
    }

    /// A rendering for who shall have it.
    pub async fn give_rendering(
        &self,
        caller: &Caller,
        door: Door,
        template: &Template,
    ) -> Result<Rendering, Error> {
        let reader = Reader { uid: caller.uid, gid: caller.gid, exe: None, unit: None };
        let asked = Asked::new(self, caller, door, template.keys());
        let grant = asked.grant()?;
        let outcome = self.render(&grant, template, Some(&reader)).await;
        // What is behind its labels is known by now.
        let keys = outcome.as_ref().map_or_else(|_| template.keys().into(), |it| it.keys.clone());
        let asked = Asked { keys: &keys, ..asked };
        let grant = if keys.len() > template.keys().len() { asked.narrowed(&grant)? } else { grant };
        let versions = outcome.iter().flat_map(|it| &it.versions.0).map(|(key, version)| (key, *version));
        let failed = outcome.as_ref().err().map(Error::class);
        let basis = outcome.as_ref().ok().map(|it| &it.basis);
        asked.record(&grant, versions.collect(), basis, failed)?;
        outcome
    }
}

/// As the log is told of them.
pub(super) fn shown_of(shown: &[(SecretKey, u64)]) -> impl Iterator<Item = (&SecretKey, u64)> {
    shown.iter().map(|(key, version)| (key, *version))
}

/// What a command of ours asks for.
struct Asked<'a> {
    broker: &'a Broker,
    caller: &'a Caller,
    door: Door,
    keys: &'a [SecretKey],
    since: Instant,
}

impl<'a> Asked<'a> {
    fn new(broker: &'a Broker, caller: &'a Caller, door: Door, keys: &'a [SecretKey]) -> Self {
        Self { broker, caller, door, keys, since: Instant::now() }
    }

    fn grant(&self) -> Result<Grant, Error> {
        self.known(self.broker.grant(self.caller, self.door, self.keys))
    }

    /// The grant for what was given with an earlier one. There is nothing else to give in its place.
    fn narrowed(&self, earlier: &Grant) -> Result<Grant, Error> {
        let granted = self.broker.grant(self.caller, self.door, self.keys);
        self.known(granted.and_then(|it| match earlier.shows_real() && !it.shows_real() {
            true => Err(Error::Denied(it.denied())),
            false => Ok(it.and(earlier)),
        }))
    }

    /// A denial is written down.
    fn known(&self, granted: Result<Grant, Error>) -> Result<Grant, Error> {
        if let Err(Error::Denied(denial)) = &granted {
            let event = self.event(Verdict::Deny, &denial.rule).outcome("denied", self.since);
            self.broker.record(event)?;
        }
        granted
    }

    fn record(
        &self,
        grant: &Grant,
        versions: Vec<(&SecretKey, u64)>,
        basis: Option<&Basis>,
        failed: Option<Class>,
    ) -> Result<(), Error> {
        let verdict = if grant.shows_real() { Verdict::Real } else { Verdict::Placeholder };
        let event = self.event(verdict, grant.rule());
        let mut event = match failed {
            Some(class) => event.outcome(class.name(), self.since),
            None => event.showing(versions).outcome("ok", self.since),
        };
        if let Some(basis) = basis {
            self.broker.name_who_answered(&mut event, basis);
            event = event.stale(self.broker.staleness(basis));
        }
        self.broker.record(event)
    }

    fn event(&self, verdict: Verdict, rule: &RuleId) -> Event {
        let who = identity::gather(self.caller, self.broker.audit.facts());
        let who = who.unwrap_or_else(|_| Identity::of(*self.caller));
        let access = Access { door: self.door, action: Action::Read, file: None, keys: self.keys };
        let event = self.broker.event(&who, &access, verdict, rule).opened(self.broker.audit.opened());
        Event { program: self.broker.program.clone(), ..event }
    }
}
