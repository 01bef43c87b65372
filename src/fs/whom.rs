//! For whom a file is rendered, and what policy says of that. Uses the broker and `sys`.

use tracing::Level;

use super::snapshot::Snapshot;
use super::tree::File;
use super::{Generation, request};
use crate::audit::Event;
use crate::broker::Error;
use crate::caller::{Caller, Facts, Identity, Refusal};
use crate::metrics;
use crate::policy::{Access, Action, Decision, Denial, Door, Grant, RuleId, Verdict};
use crate::secret::SecretKey;
use crate::sys::identity;

/// A grant says whether it is for real values.
pub(super) type Judged = Result<Grant, Denial>;

/// For whom a file is rendered.
#[derive(Clone, Copy)]
pub(super) enum Whom {
    /// Whose request is held.
    Caller(Caller),
    /// For all who may have this view, and nobody in particular.
    Nobody { shows_real: bool },
}

impl Whom {
    pub(super) fn caller(self) -> Caller {
        match self {
            Self::Caller(caller) => caller,
            Self::Nobody { .. } => nobody(),
        }
    }

    /// May wait: not from a thread that serves.
    pub(super) fn judged(self, now: &Generation, file: &File, keys: &[SecretKey]) -> Judged {
        match self {
            Self::Caller(caller) => now.judge(&caller, file, keys),
            Self::Nobody { shows_real } => now.judge_nobody(file, keys, shows_real),
        }
    }
}

/// Who reads everything, and is no reader: root, as this process.
fn nobody() -> Caller {
    Caller { uid: 0, gid: 0, pid: std::process::id() }
}

/// A caller as it was when its request came.
pub(super) struct Sighted {
    identity: Identity,
    facts: Facts,
}

impl Sighted {
    /// Nothing that was judged by has changed while time passed. The kernel lets nothing change
    /// but what somebody else can do to a process.
    pub(super) fn is_still(&self) -> bool {
        let is_still = identity::still(&self.identity, self.facts).is_ok();
        if !is_still {
            metrics::get().identity_changed.inc();
            tracing::error!(pid = self.identity.caller.pid, "the caller changed while its request was held");
        }
        is_still
    }
}

impl Generation {
    /// May wait: not from a thread that serves.
    pub(super) fn sight(&self, caller: &Caller, file: &File) -> Result<Sighted, Refusal> {
        let facts = self.facts(caller, file) | Facts::CREDENTIALS;
        Ok(Sighted { identity: identity::gather(caller, facts)?, facts })
    }

    /// The verdict about a caller whose request is held. May wait: not from a thread that serves.
    pub(super) fn judge(&self, caller: &Caller, file: &File, keys: &[SecretKey]) -> Judged {
        let facts = self.facts(caller, file);
        self.judged(identity::gather(caller, facts), file, keys)
    }

    /// The same, with this known besides, if it can be had at once.
    pub(super) fn judge_at_once(
        &self,
        caller: &Caller,
        file: &File,
        keys: &[SecretKey],
        besides: Facts,
    ) -> Option<Judged> {
        let facts = self.facts(caller, file) | besides;
        let known = identity::gather_at_once(caller, facts).transpose()?;
        Some(self.judged(known, file, keys))
    }

    /// Whether the caller may have these very bytes, whatever the template is by now. May wait.
    pub(super) fn judge_shown(
        &self,
        caller: &Caller,
        file: &File,
        snapshot: &Snapshot,
        shows_real: bool,
    ) -> Judged {
        let facts = self.facts(caller, file);
        self.judged_shown(identity::gather(caller, facts), file, snapshot, shows_real)
    }

    /// The same, if it can be had at once.
    pub(super) fn judge_shown_at_once(
        &self,
        caller: &Caller,
        file: &File,
        snapshot: &Snapshot,
        shows_real: bool,
    ) -> Option<Judged> {
        let facts = self.facts(caller, file) | Facts::CREDENTIALS;
        let known = identity::gather_at_once(caller, facts).transpose()?;
        Some(self.judged_shown(known, file, snapshot, shows_real))
    }

    /// What nobody knows the secrets of is given to nobody, where there are rules on secrets.
    fn judged_shown(
        &self,
        who: Result<Identity, Refusal>,
        file: &File,
        snapshot: &Snapshot,
        shows_real: bool,
    ) -> Judged {
        let keys = snapshot.keys();
        let grant = self.judged(who, file, keys.as_deref().unwrap_or_default())?;
        match () {
            () if keys.is_none() && !self.broker.policy().rules().is_empty() => Err(Denial::unknown()),
            () if shows_real && !grant.shows_real() => Err(grant.denied()),
            () => Ok(grant),
        }
    }

    /// What is kept for all who may have this view.
    pub(super) fn judge_nobody(&self, file: &File, keys: &[SecretKey], shows_real: bool) -> Judged {
        let access = Access { door: Door::Command, ..self.access(file, keys) };
        let grant = granted(self.broker.judge(&Identity::of(nobody()), &access))?;
        Ok(if shows_real { grant } else { grant.masked() })
    }

    /// Writes down that this caller is given that. If it fails, nothing may be given.
    pub(super) fn write_given(
        &self,
        caller: &Caller,
        file: &File,
        grant: &Grant,
        snapshot: &Snapshot,
    ) -> Result<(), Error> {
        if !self.broker.audit().is_on() {
            return Ok(());
        }
        let verdict = if grant.shows_real() { Verdict::Real } else { Verdict::Placeholder };
        let versions = snapshot.versions();
        let event = self
            .event(caller, file, &[], verdict, grant.rule())
            .showing(versions.0.iter().map(|(key, version)| (key, *version)))
            .stale(snapshot.ask(|basis| self.broker.staleness(basis)));
        self.broker.record(Event { outcome: Some("ok".to_owned()), ..event })
    }

    /// Writes down that this caller is denied the file. It is, even if that cannot be written.
    pub(super) fn write_denied(&self, caller: &Caller, file: &File, denial: &Denial) {
        if self.broker.audit().is_on() {
            let template = file.source.last().and_then(|loaded| loaded.template.clone().ok());
            let keys = template.as_ref().map_or(&[][..], |template| template.keys());
            let event = self.event(caller, file, keys, Verdict::Deny, &denial.rule);
            if let Err(error) = self.broker.record(Event { outcome: Some("denied".to_owned()), ..event }) {
                tracing::error!(%error, "a denial could not be written down");
            }
        }
        // Costs nothing where nobody wants to know.
        if tracing::enabled!(Level::INFO) {
            let (path, reason) = (file.path.display(), &denial.reason);
            request::span(caller).in_scope(|| tracing::info!(file = %path, reason, "denied"));
        }
    }

    fn event(
        &self,
        caller: &Caller,
        file: &File,
        keys: &[SecretKey],
        verdict: Verdict,
        rule: &RuleId,
    ) -> Event {
        let known = identity::gather_at_once(caller, self.broker.audit().facts());
        let who = known.ok().flatten().unwrap_or_else(|| Identity::of(*caller));
        self.broker.event(&who, &self.access(file, keys), verdict, rule)
    }

    fn judged(&self, who: Result<Identity, Refusal>, file: &File, keys: &[SecretKey]) -> Judged {
        granted(match who {
            Ok(who) => self.broker.judge(&who, &self.access(file, keys)),
            Err(refusal) => Decision::refused(refusal),
        })
    }

    fn access<'a>(&'a self, file: &'a File, keys: &'a [SecretKey]) -> Access<'a> {
        let file = Some(file.as_asked(&self.layout));
        Access { door: self.layout.door, action: Action::Read, file, keys }
    }

    fn facts(&self, caller: &Caller, file: &File) -> Facts {
        self.broker.facts(caller, Some(&file.as_asked(&self.layout)))
    }
}

fn granted(decision: Decision) -> Judged {
    match decision {
        Decision::Granted(grant) | Decision::Placeholder(grant) => Ok(grant),
        Decision::Denied(denial) => Err(denial),
    }
}
