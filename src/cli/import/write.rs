//! Takes over one secret after the other in a transaction, and says of each what becomes of it.

use serde::{Serialize, Serializer};

use super::found::{Content, Found, Place};
use crate::cli::check::Pins;
use crate::cli::json_values::Entry;
use crate::cli::prune::Kept;
use crate::cli::set::kind_of;
use crate::cli::values::{self, Fields};
use crate::secret::{SecretName, SecretType};
use crate::store::{Change, Edit, Fate, Keep, NewVersion, SecretInfo, StoreError};

/// What to do with a secret that is there with other values.
pub(super) enum OnConflict {
    Refuse,
    Skip,
    /// But not what is named somewhere by its number.
    Overwrite(Pins),
    NewVersion,
}

/// What becomes of a secret.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    New,
    NewVersion,
    /// As a new version, and the older ones are destroyed.
    Overwritten,
    /// It is there with these values.
    Same,
    Skipped,
    /// It is there with other values, and nobody has said what to do then.
    Exists,
    Refused,
}

#[derive(Serialize)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<u64>,
    /// What should go and stays.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) kept: Vec<Kept>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(serialize_with = "as_text")]
    pub(super) from: Place,
}

/// Done, or why not.
type Written = Result<(Outcome, Option<u64>, Vec<Kept>), StoreError>;

fn as_text<S: Serializer>(place: &Place, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(place)
}

/// Takes a secret over. What cannot be is an outcome, too; an error is one of the store.
pub(super) fn take_over(
    found: Found,
    change: &mut Change<'_>,
    choice: &OnConflict,
) -> Result<Line, StoreError> {
    let Found { name, place, content } = found;
    let outcome = SecretName::parse(&name).map_err(|error| StoreError::Refused(error.to_string()));
    let outcome = outcome.and_then(|name| match content {
        Ok(content) => content.write(&name, change, choice),
        Err(reason) => Err(StoreError::Refused(format!("secret `{name}`: {reason}"))),
    });
    let line = |outcome, version, kept, reason| Line { name, outcome, version, kept, reason, from: place };
    match outcome {
        Ok((outcome, version, kept)) => Ok(line(outcome, version, kept, None)),
        Err(error @ (StoreError::Refused(_) | StoreError::Field(..))) => {
            let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            Ok(line(Outcome::Refused, None, Vec::new(), Some(format!("{error}{hint}"))))
        }
        Err(error) => Err(error),
    }
}

impl Content {
    fn write(self, name: &SecretName, change: &mut Change<'_>, choice: &OnConflict) -> Written {
        let there = change.describe(name)?;
        let kind = kind_of(self.edit.kind, there.as_ref(), matches!(self.entry, Entry::Fields(_)));
        let Self { entry, edit, expires_at, is_disabled } = self;
        let fields = values::fields_of(entry, name, kind).map_err(|it| StoreError::Refused(it.problem))?;
        let edit = Edit { kind: Some(kind), ..edit };
        let outcome = match there {
            None => Outcome::New,
            Some(there) => {
                let is_same = is_as_it_is(&there, kind, &edit)
                    && (expires_at.is_none() || expires_at == there.expires_at)
                    && (!is_disabled || there.disabled)
                    && are_same(&change.fields(name)?, &fields);
                match choice {
                    _ if is_same => return Ok((Outcome::Same, None, Vec::new())),
                    OnConflict::Refuse => return Ok((Outcome::Exists, None, Vec::new())),
                    OnConflict::Skip => return Ok((Outcome::Skipped, None, Vec::new())),
                    OnConflict::Overwrite(_) => Outcome::Overwritten,
                    OnConflict::NewVersion => Outcome::NewVersion,
                }
            }
        };
        let version = change.put(name, NewVersion { fields, expires_at }, &edit)?;
        if is_disabled {
            change.disable(name, true)?;
        }
        let kept = match choice {
            OnConflict::Overwrite(pins) if outcome == Outcome::Overwritten => clear(name, change, pins)?,
            _ => Vec::new(),
        };
        Ok((outcome, Some(version), kept))
    }
}

/// Destroys the older versions. Returns which ones stay, and why.
fn clear(name: &SecretName, change: &mut Change<'_>, pins: &Pins) -> Result<Vec<Kept>, StoreError> {
    let keep = Keep { newest: 1, since: None, pinned: pins.of(name.as_str()) };
    let stays = |&(_, fate): &(u64, Fate)| fate == Fate::Pinned;
    let kept = keep.fates(&change.versions(name)?).into_iter().filter(stays);
    let kept = kept.map(|(version, _)| Kept::named(pins, name.as_str(), version)).collect();
    change.prune(name, &keep).map(|_| kept)
}

/// Whether nothing would change but the values.
fn is_as_it_is(there: &SecretInfo, kind: SecretType, edit: &Edit) -> bool {
    let stays = |new: &Option<String>, old: &Option<String>| new.is_none() || new == old;
    there.kind == kind
        && stays(&edit.description, &there.description)
        && stays(&edit.label, &there.label)
        && stays(&edit.owner, &there.owner)
        && edit.tags.as_ref().is_none_or(|tags| *tags == there.tags)
}

fn are_same(left: &Fields, right: &Fields) -> bool {
    left.len() == right.len()
        && left.iter().all(|(name, value)| right.get(name).is_some_and(|it| it.same_as(value.expose())))
}
