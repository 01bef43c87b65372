//! For whom a file is rendered, and what policy says of that. Uses the broker and `sys`.

use super::snapshot::Snapshot;
use super::tree::File;
use super::{Generation, asking};
use crate::caller::{Caller, Facts, Identity, Inquiry, Refusal};
use crate::metrics;
use crate::policy::{Access, Action, Denial, Door, Grant};
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

    pub(super) async fn judged(self, now: &Generation, file: &File, keys: &[SecretKey]) -> Judged {
        match self {
            Self::Caller(caller) => now.judge(&caller, file, keys).await,
            Self::Nobody { shows_real } => now.judge_nobody(file, keys, shows_real),
        }
    }
}

/// Who reads everything, and is no reader: root, as this process.
fn nobody() -> Caller {
    Caller { uid: 0, gid: 0, pid: std::process::id() }
}

/// A caller as it was when its request came.
pub(super) struct Sighted<'a> {
    identity: Identity,
    wanted: Inquiry<'a>,
}

impl Sighted<'_> {
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Nothing that was judged by has changed while time passed. The kernel lets nothing change
    /// but what somebody else can do to a process.
    pub(super) async fn is_still(&self) -> bool {
        let is_still = asking::still(&self.identity, self.wanted).await.is_ok();
        if !is_still {
            metrics::get().identity_changed.inc();
            tracing::error!(pid = self.identity.caller.pid, "the caller changed while its request was held");
        }
        is_still
    }
}

impl Generation {
    pub(super) async fn sight<'a>(&'a self, caller: &Caller, file: &'a File) -> Result<Sighted<'a>, Refusal> {
        let wanted = self.inquiry_of_opener(caller, file);
        Ok(Sighted { identity: asking::gather(caller, wanted).await?, wanted })
    }

    /// The verdict about a caller whose request is held.
    pub(super) async fn judge(&self, caller: &Caller, file: &File, keys: &[SecretKey]) -> Judged {
        self.judged(by_ref(&asking::gather(caller, self.inquiry(caller, file)).await), file, keys)
    }

    /// The same, if it can be had at once.
    pub(super) fn judge_at_once(&self, caller: &Caller, file: &File, keys: &[SecretKey]) -> Option<Judged> {
        let known = identity::gather_at_once(caller, self.inquiry(caller, file)).transpose()?;
        Some(self.judged(by_ref(&known), file, keys))
    }

    /// Whether the caller may have these very bytes, whatever the template is by now.
    pub(super) async fn judge_shown(
        &self,
        caller: &Caller,
        file: &File,
        snapshot: &Snapshot,
        shows_real: bool,
    ) -> Judged {
        let known = asking::gather(caller, self.inquiry(caller, file)).await;
        self.judged_shown(known, file, snapshot, shows_real)
    }

    /// The same, if it can be had at once.
    pub(super) fn judge_shown_at_once(
        &self,
        caller: &Caller,
        file: &File,
        snapshot: &Snapshot,
        shows_real: bool,
    ) -> Option<Judged> {
        let wanted = self.inquiry_of_opener(caller, file);
        let known = identity::gather_at_once(caller, wanted).transpose()?;
        Some(self.judged_shown(known, file, snapshot, shows_real))
    }

    /// The same of whom was seen already.
    pub(super) fn judge_sighted(
        &self,
        sighted: &Sighted<'_>,
        file: &File,
        snapshot: &Snapshot,
        shows_real: bool,
    ) -> Judged {
        self.judged_shown(Ok(sighted.identity.clone()), file, snapshot, shows_real)
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
        let grant = self.judged(by_ref(&who), file, keys.as_deref().unwrap_or_default())?;
        match () {
            () if keys.is_none() && !self.broker.policy().rules().is_empty() => Err(Denial::unknown()),
            () if shows_real && !grant.shows_real() => Err(grant.denied()),
            () => Ok(grant),
        }
    }

    /// What is kept for all who may have this view.
    pub(super) fn judge_nobody(&self, file: &File, keys: &[SecretKey], shows_real: bool) -> Judged {
        let access = Access { door: Door::Command, ..self.access(file, keys) };
        let grant = self.broker.judge(&Identity::of(nobody()), &access).granted()?;
        Ok(if shows_real { grant } else { grant.masked() })
    }

    pub(super) fn judged(&self, who: Result<&Identity, Refusal>, file: &File, keys: &[SecretKey]) -> Judged {
        match who {
            Ok(who) => self.broker.judge(who, &self.access(file, keys)).granted(),
            Err(refusal) => Err(Denial::refused(refusal)),
        }
    }

    pub(super) fn access<'a>(&'a self, file: &'a File, keys: &'a [SecretKey]) -> Access<'a> {
        let file = Some(file.as_asked(&self.layout));
        Access { door: self.layout.door, action: Action::Read, file, keys }
    }

    /// What is to be found out of a caller: if anything is, then also what the log wants to know, so
    /// that a LOOKUP and its OPEN ask for the same.
    pub(super) fn inquiry<'a>(&'a self, caller: &Caller, file: &'a File) -> Inquiry<'a> {
        let wanted = self.broker.inquiry(caller, Some(&file.as_asked(&self.layout)));
        match wanted.facts {
            Facts::NONE => wanted,
            _ => wanted.and(self.broker.audit().facts()),
        }
    }
}

fn by_ref(who: &Result<Identity, Refusal>) -> Result<&Identity, Refusal> {
    who.as_ref().map_err(|refusal| *refusal)
}
