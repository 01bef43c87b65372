//! On what answers rest, and whether that still stands: per provider the keys that were asked and the
//! moment of the answer. Uses `provider`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;

use super::together::{all, first};
use super::{ResolveError, Resolver};
use crate::provider::{AsOf, Pulse};
use crate::secret::SecretKey;
use crate::sys::uptime::Uptime;

/// What a set of answers rests on.
#[derive(Clone, Default)]
pub struct Basis {
    pub(super) resolver: u64,
    pub(super) grounds: Vec<Ground>,
    /// When the first of the answers expires.
    pub(super) until: Option<Timestamp>,
}

#[derive(Clone)]
pub(super) struct Ground {
    pub(super) provider: usize,
    /// Taken before the answer, so that a change in between is noticed.
    pub(super) pulse: Pulse,
    pub(super) as_of: AsOf,
    /// Shared by all that is rendered of one resolution.
    pub(super) keys: Arc<[SecretKey]>,
    /// Of several providers: those of the keys whose answers are this one's.
    pub(super) told: Vec<SecretKey>,
    /// Where others could be asked, too: those that would have been, had they not failed.
    pub(super) in_place_of: Option<Vec<usize>>,
}

/// Who waits to be told whether a basis still stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    Reader,
    /// It is looked after while nobody reads.
    Nobody,
}

/// Why a basis is not renewed.
enum Stop {
    Changed,
    Failed(ResolveError),
}

/// How long a reader waits for those who have not answered before.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

impl Basis {
    /// Rests on that, too.
    pub fn extend(&mut self, other: &Self) {
        self.grounds.extend_from_slice(&other.grounds);
        self.until = self.until.into_iter().chain(other.until).min();
    }

    /// Time alone has changed an answer.
    pub fn has_expired(&self) -> bool {
        self.until.is_some_and(|until| until <= Timestamp::now())
    }
}

impl Ground {
    pub(super) fn is_stand_in(&self) -> bool {
        self.in_place_of.as_ref().is_some_and(|failed| !failed.is_empty())
    }
}

impl Resolver {
    /// Whether nothing can have changed since: costs one pulse per provider.
    pub fn is_still(&self, basis: &Basis) -> bool {
        self.has_resolved(basis)
            && !basis.has_expired()
            && basis.grounds.iter().all(|ground| self.stands(ground))
    }

    fn stands(&self, ground: &Ground) -> bool {
        matches!(ground.pulse, Pulse::Still(_))
            && ground.as_of.until.is_none_or(|until| Uptime::now() < until)
            && self.providers[ground.provider].one().is_some_and(|it| it.pulse() == ground.pulse)
    }

    /// Which answers are older than they should be, because their provider does not answer.
    pub fn staleness(&self, basis: &Basis) -> Option<String> {
        if !self.has_resolved(basis) {
            return None;
        }
        let stale = basis.grounds.iter().filter_map(|ground| {
            let age = Uptime::now().since(ground.as_of.stale_since?).as_secs();
            Some(format!("{}: not confirmed for {age} s", self.providers[ground.provider].name))
        });
        Some(stale.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
    }

    /// Who has answered of several that could have, and the secret's name there.
    pub fn answered(&self, key: &SecretKey, basis: &Basis) -> Option<(&str, String)> {
        let (index, there, _) = self.locate(key).ok().filter(|_| self.has_resolved(basis))?;
        let several = self.providers[index].several()?;
        // The key may have the version that was answered: none was asked for.
        let is_meant = |told: &SecretKey| told.path == there.path;
        let has_told =
            |ground: &&Ground| several.of.contains(&ground.provider) && ground.told.iter().any(is_meant);
        let ground = basis.grounds.iter().find(has_told)?;
        Some((&self.providers[ground.provider].name, there.path))
    }

    pub fn asks_several(&self) -> bool {
        self.providers.iter().any(|named| named.several().is_some())
    }

    pub fn has_resolved(&self, basis: &Basis) -> bool {
        basis.resolver == self.id
    }

    /// Asks the providers that moved. `None`: one of the answers may be different now.
    pub async fn recheck(&self, basis: &Basis, asker: Asker) -> Result<Option<Basis>, ResolveError> {
        if !self.has_resolved(basis) || basis.has_expired() {
            return Ok(None);
        }
        match all(basis.grounds.iter().map(|ground| self.renewed(ground, asker))).await {
            Ok(grounds) => Ok(Some(Basis { grounds, ..*basis })),
            Err(Stop::Changed) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    async fn renewed(&self, ground: &Ground, asker: Asker) -> Result<Ground, Stop> {
        if self.stands(ground) {
            return Ok(ground.clone());
        }
        if self.one_is_back(ground).await {
            return Err(Stop::Changed);
        }
        let named = &self.providers[ground.provider];
        let Some(provider) = named.one() else { return Err(Stop::Changed) };
        let pulse = provider.pulse();
        let (keys, since) = (&ground.keys, ground.as_of.moment);
        let unchanged = match asker {
            Asker::Reader => provider.unchanged(keys, since).await,
            Asker::Nobody => provider.unchanged_aside(keys, since).await,
        };
        match unchanged {
            // Another one may have a newer answer.
            Ok(Some(as_of)) if ground.in_place_of.is_some() && as_of.is_older_than(&ground.as_of) => {
                Err(Stop::Changed)
            }
            Ok(Some(as_of)) => {
                let renewed = Ground { pulse, as_of, ..ground.clone() };
                Ok(if renewed.is_stand_in() { renewed.for_a_while() } else { renewed })
            }
            Ok(None) => Err(Stop::Changed),
            // Another one may answer.
            Err(_) if ground.in_place_of.is_some() => Err(Stop::Changed),
            Err(error) => Err(Stop::Failed(named.failed(error))),
        }
    }

    /// Whether somebody answers again in whose place this was asked. Who takes his time is asked on, and may
    /// have answered when this is looked at next.
    async fn one_is_back(&self, ground: &Ground) -> bool {
        let others = ground.in_place_of.iter().flatten();
        let mut asked: Vec<_> =
            others.map(|&index| (index, Box::pin(self.ask_one(index, ground.keys.to_vec())))).collect();
        let one_answers = async {
            while let Some((index, outcome)) = first(&mut asked).await {
                if let Ok((_, batch)) = outcome.as_ref()
                    && batch.as_of.stale_since.is_none()
                {
                    self.compare(index, ground, batch);
                    return true;
                }
            }
            false
        };
        timeout(PATIENCE, one_answers).await.unwrap_or(false)
    }
}
