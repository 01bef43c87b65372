//! What is written down of who opens a file, before it is answered, and of whom it is kept from.
//! Uses `whom` and the broker.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tracing::Level;

use super::snapshot::Snapshot;
use super::tree::{File, FileId, PROBE};
use super::whom::{Judged, Sighted};
use super::{Generation, request};
use crate::audit::Event;
use crate::broker::{Class, Error};
use crate::caller::{Caller, Facts, Identity, Inquiry, Refusal};
use crate::policy::{Denial, Grant, RuleId, Verdict};
use crate::secret::SecretKey;
use crate::sys::identity;

/// A request to open.
#[derive(Clone, Copy)]
pub(super) struct Opening {
    pub(super) caller: Caller,
    since: Instant,
    /// A thread that serves works on it, and somebody answers in its place if that takes too long.
    is_watched: bool,
}

/// Who opens a file, asked once for the verdict and for the log.
pub(super) struct Opener {
    pub(super) opening: Opening,
    who: Result<Identity, Refusal>,
}

impl Opening {
    pub(super) fn begin(caller: Caller) -> Self {
        Self { caller, since: Instant::now(), is_watched: true }
    }

    /// From here on the pool works on it.
    pub(super) fn unwatched(self) -> Self {
        Self { is_watched: false, ..self }
    }

    pub(super) fn by(self, seen: &Result<Sighted, Refusal>) -> Opener {
        Opener { opening: self, who: seen.as_ref().map(|it| it.identity().clone()).map_err(|it| *it) }
    }
}

impl Generation {
    /// `None`: who it is cannot be had at once.
    pub(super) fn opener(&self, opening: Opening, file: &File) -> Option<Opener> {
        let who = identity::gather_at_once(&opening.caller, self.inquiry_of_opener(&opening.caller, file));
        Some(Opener { opening, who: who.transpose()? })
    }

    pub(super) fn inquiry_of_opener<'a>(&'a self, caller: &Caller, file: &'a File) -> Inquiry<'a> {
        self.inquiry(caller, file).and(Facts::CREDENTIALS | self.broker.audit().facts())
    }

    pub(super) fn judge_opener(&self, opener: &Opener, file: &File, keys: &[SecretKey]) -> Judged {
        self.judged(opener.who.as_ref().map_err(|it| *it), file, keys)
    }

    /// Writes down that the opener is given that. If it fails, nothing may be given.
    pub(super) fn write_given(
        &self,
        opener: &Opener,
        file: &File,
        grant: &Grant,
        snapshot: &Snapshot,
        stale: Option<String>,
    ) -> Result<(), Error> {
        let versions = snapshot.versions();
        // The daemon itself asks for that every other second.
        let is_probe = versions.0.is_empty() && &*file.path == Path::new(PROBE);
        if is_probe || !self.broker.audit().is_on() {
            return Ok(());
        }
        // What an older program has rendered has names only.
        let keys = if versions.0.is_empty() { snapshot.keys().unwrap_or_default() } else { Arc::default() };
        let event = self.event(opener, file, &keys, verdict(grant), grant.rule());
        let mut event = match versions.0.as_slice() {
            [] => event,
            used => event.showing(used.iter().map(|(key, version)| (key, *version))),
        };
        snapshot.look(|basis| self.broker.name_who_answered(&mut event, basis));
        let event = event.stale(stale.or_else(|| snapshot.ask(|basis| self.broker.staleness(basis))));
        self.write(opener, event.outcome("ok", opener.opening.since))
    }

    /// Writes down that the opener is denied the file. It is, even if that cannot be written.
    pub(super) fn write_denied(&self, opener: &Opener, file: &File, denial: &Denial) {
        let caller = &opener.opening.caller;
        if self.broker.audit().is_on() {
            let event = self.event(opener, file, &known_keys(file), Verdict::Deny, &denial.rule);
            let event = Event { denial: Some(self.mark_of(caller, file, denial)), ..event };
            self.write_anyway(opener, event.outcome("denied", opener.opening.since));
        }
        // Costs nothing where nobody wants to know.
        if tracing::enabled!(Level::INFO) {
            let (path, reason) = (file.path.display(), &denial.reason);
            let denial = self.mark_of(caller, file, denial);
            request::span(caller).in_scope(|| tracing::info!(file = %path, denial, reason, "denied"));
        }
    }

    /// By what the denied caller can name his denial to who may see the log.
    pub(super) fn mark_of(&self, caller: &Caller, file: &File, denial: &Denial) -> String {
        self.broker.mark(&format!("{} {} {}", file.id, caller.uid, denial.rule))
    }

    /// Writes down that an open has failed, and with what.
    pub(super) fn write_failure(&self, opening: Opening, file: FileId, class: Class) {
        let file = if self.broker.audit().is_on() { self.file(file).ok() } else { None };
        let Some(file) = file else { return };
        let Some(opener) = self.opener(opening, &file) else { return };
        let keys = known_keys(&file);
        let (verdict, rule) = match self.judge_opener(&opener, &file, &keys) {
            Ok(grant) => (verdict(&grant), grant.rule().clone()),
            Err(denial) => (Verdict::Deny, denial.rule),
        };
        let event = self.event(&opener, &file, &keys, verdict, &rule);
        self.write_anyway(&opener, event.outcome(class.name(), opening.since));
    }

    /// Writes down that who reads an open file may do so no longer.
    pub(super) fn write_cut(&self, caller: &Caller, file: &File, denial: &Denial) {
        let opening = Opening::begin(*caller).unwatched();
        if self.broker.audit().is_on()
            && let Some(opener) = self.opener(opening, file)
        {
            let event = self.event(&opener, file, &known_keys(file), Verdict::Deny, &denial.rule);
            self.write_anyway(&opener, event.outcome("cut", opening.since));
        }
    }

    fn write(&self, opener: &Opener, event: Event) -> Result<(), Error> {
        match opener.opening.is_watched {
            true => self.broker.record_here(event),
            false => self.broker.record(event),
        }
    }

    fn write_anyway(&self, opener: &Opener, event: Event) {
        if let Err(error) = self.write(opener, event) {
            tracing::error!(%error, "a refusal could not be written down");
        }
    }

    fn event(
        &self,
        opener: &Opener,
        file: &File,
        keys: &[SecretKey],
        verdict: Verdict,
        rule: &RuleId,
    ) -> Event {
        let unknown = || Identity::of(opener.opening.caller);
        let who = opener.who.as_ref().map_or_else(|_| Cow::Owned(unknown()), Cow::Borrowed);
        self.broker.event(&who, &self.access(file, keys), verdict, rule)
    }
}

fn verdict(grant: &Grant) -> Verdict {
    if grant.shows_real() { Verdict::Real } else { Verdict::Placeholder }
}

/// What the file's template refers to, as it was loaded last.
pub(super) fn known_keys(file: &File) -> Vec<SecretKey> {
    let template = file.source.last().and_then(|loaded| loaded.template.clone().ok());
    template.map(|template| template.keys().to_vec()).unwrap_or_default()
}
