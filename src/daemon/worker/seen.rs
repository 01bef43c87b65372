//! What filesystems know of readers and files, in the words of the control socket. Uses `control`,
//! `fs` and `sys`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::caller::Caller;
use crate::control::wire::{Explained, Held, Outcome, Reacted, Reader, Reference, View};
use crate::fs::Told;
use crate::fs::explain;
use crate::reactions::{self, describe};
use crate::sys::peer;

/// A reader of the mount at this place.
pub(super) fn reader(at: &Path, told: Told) -> Reader {
    let Told { reading, current, reacted } = told;
    let (pid, uid, gid) = (reading.process.pid, reading.uid, reading.gid);
    // The process runs, or did a moment ago.
    let caller = Caller { uid, gid, pid };
    let now = current.as_ref().map(|current| version_by_reference(&current.versions));
    let mut references = version_by_reference(&reading.edition.versions);
    for (reference, _) in now.iter().flatten() {
        references.entry(*reference).or_insert(None);
    }
    let held = |(reference, held): (&str, Option<u64>)| Held {
        reference: reference.to_owned(),
        held,
        current: now.as_ref().and_then(|now| *now.get(reference)?),
    };
    Reader {
        pid,
        uid,
        unit: peer::unit(&caller),
        exe: peer::exe(&caller),
        file: at.join(&reading.edition.path),
        opened_at: reading.at,
        stale: current.as_ref().map(|current| current.print != reading.edition.print),
        references: references.into_iter().map(held).collect(),
        reaction: reacted.map(reaction),
    }
}

fn version_by_reference(versions: &[(String, u64)]) -> BTreeMap<&str, Option<u64>> {
    versions.iter().map(|(reference, version)| (reference.as_str(), Some(*version))).collect()
}

pub(super) fn explained(at: &Path, of: explain::Explained) -> Explained {
    let spec = &of.file.spec;
    Explained {
        file: at.join(&of.file.path),
        mount: at.to_owned(),
        template: of.template,
        format: of.format.unwrap_or("unknown").to_owned(),
        uid: spec.ownership.uid,
        gid: spec.ownership.gid,
        mode: format!("{:04o}", spec.ownership.mode),
        set: spec.set.as_deref().map(str::to_owned),
        on_change: spec.on_change.as_ref().map(|reaction| describe(&reaction.action)),
        outcome: outcome(of.now),
        references: of.references.into_iter().map(reference).collect(),
        views: of.views.into_iter().map(view).collect(),
        readers: of.readers,
        stale_readers: of.stale_readers,
        has_rules: of.has_rules,
        reaction: of.reacted.map(reaction),
    }
}

fn reference(of: explain::Origin) -> Reference {
    let explain::Origin { reference, provider, version } = of;
    Reference { reference, provider: provider.unwrap_or_else(|| "(none of that name)".to_owned()), version }
}

fn outcome(of: explain::Outcome) -> Outcome {
    match of {
        explain::Outcome::Size(size) => Outcome { errno: None, reason: None, size: Some(size) },
        explain::Outcome::Wiped => Outcome { errno: None, reason: None, size: None },
        explain::Outcome::Errno(errno, reason) => {
            Outcome { errno: Some(errno.to_string()), reason: Some(reason), size: None }
        }
    }
}

fn view(of: explain::Seen) -> View {
    View { view: of.view, handles: of.handles, outcome: outcome(of.outcome) }
}

fn reaction(of: reactions::Reacted) -> Reacted {
    let reactions::Reacted { at, action, outcome, problem } = of;
    Reacted { at, action, outcome: outcome.name().to_owned(), problem }
}
