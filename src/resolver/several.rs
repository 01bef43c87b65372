//! Several providers that are asked as one (`type: multi`): whose answer is taken, and on what it
//! rests then. Uses the resolver's own questions.

use std::time::Duration;

use super::basis::Ground;
use super::{ResolveError, Resolver};
use crate::config::Strategy;
use crate::provider::Batch;
use crate::secret::{Absent, Answer, SecretKey};
use crate::sys::uptime::Uptime;

/// How long an answer is good for which another should have been asked.
const A_WHILE: Duration = Duration::from_secs(5);

pub(super) struct Several {
    /// In the order in which they are asked.
    pub(super) of: Vec<usize>,
    strategy: Strategy,
}

/// What came of a question.
pub(super) struct Asked {
    pub(super) grounds: Vec<Ground>,
    pub(super) answers: Vec<Answer>,
}

impl Several {
    pub(super) fn new(of: Vec<usize>, strategy: Strategy) -> Self {
        Self { of, strategy }
    }

    /// Those that would have been asked before this one.
    pub(super) fn before(&self, member: usize) -> Vec<usize> {
        self.of.iter().copied().take_while(|&it| it != member).collect()
    }

    pub(super) fn but(&self, member: usize) -> Vec<usize> {
        self.of.iter().copied().filter(|&it| it != member).collect()
    }
}

impl Asked {
    /// All is one's answer, in place of those.
    pub(super) fn of_one(ground: Ground, batch: Batch, keys: &[SecretKey], in_place_of: Vec<usize>) -> Self {
        let ground = Ground { in_place_of: Some(in_place_of), told: keys.to_vec(), ..ground };
        let ground = if ground.is_stand_in() { ground.for_a_while() } else { ground };
        Self { grounds: vec![ground], answers: batch.answers }
    }
}

impl Ground {
    /// If this one fails, it is not known what all of them say.
    fn of_several(self) -> Self {
        Self { in_place_of: Some(Vec::new()), ..self }
    }

    /// Not for longer than a while.
    pub(super) fn for_a_while(mut self) -> Self {
        let soon = Uptime::now() + A_WHILE;
        self.as_of.until = Some(self.as_of.until.map_or(soon, |until| until.min(soon)));
        self
    }
}

impl Resolver {
    pub(super) async fn ask_several(
        &self,
        index: usize,
        several: &Several,
        keys: Vec<SecretKey>,
    ) -> Result<Asked, ResolveError> {
        if let Some(pinned) = keys.iter().find_map(|key| self.pinned(index, several, key)) {
            return Err(pinned);
        }
        match several.strategy {
            Strategy::Failover => self.ask_until_one_answers(several, keys).await,
            Strategy::Priority => self.ask_until_one_has_it(several, keys).await,
            Strategy::Merge => self.ask_whoever_has_it(index, several, keys).await,
        }
    }

    /// That a secret is not there is taken from who has answered, never from who has failed.
    async fn ask_until_one_has_it(
        &self,
        several: &Several,
        keys: Vec<SecretKey>,
    ) -> Result<Asked, ResolveError> {
        let mut answers: Vec<Answer> = keys.iter().map(|_| Err(Absent::Missing)).collect();
        let mut grounds = Vec::new();
        for &member in &several.of {
            let missing = |at: &usize| matches!(answers[*at], Err(Absent::Missing));
            let open: Vec<usize> = (0..keys.len()).filter(missing).collect();
            if open.is_empty() {
                break;
            }
            let wanted: Vec<_> = open.iter().map(|&at| keys[at].clone()).collect();
            let (ground, batch) = self.ask_one(member, wanted).await?;
            let mut ground = ground.of_several();
            for (at, answer) in open.into_iter().zip(batch.answers) {
                if !matches!(answer, Err(Absent::Missing)) {
                    ground.told.push(keys[at].clone());
                }
                answers[at] = answer;
            }
            grounds.push(ground);
        }
        Ok(Asked { grounds, answers })
    }

    /// All are asked at the same time. A name that two have is refused; one that nobody has might be
    /// where nobody answers.
    async fn ask_whoever_has_it(
        &self,
        index: usize,
        several: &Several,
        keys: Vec<SecretKey>,
    ) -> Result<Asked, ResolveError> {
        let ask = |&member: &usize| {
            let keys = keys.clone();
            async move { Ok::<_, ResolveError>((member, self.ask_one(member, keys).await)) }
        };
        let mut told: Vec<(usize, Batch)> = Vec::new();
        let (mut grounds, mut failed, mut first_error) = (Vec::new(), Vec::new(), None);
        for (member, outcome) in super::all(several.of.iter().map(ask)).await? {
            match outcome {
                Ok((ground, batch)) => {
                    grounds.push(ground.of_several());
                    told.push((member, batch));
                }
                Err(error) => {
                    failed.push(member);
                    first_error.get_or_insert(error);
                }
            }
        }
        let mut answers = Vec::with_capacity(keys.len());
        for (at, key) in keys.iter().enumerate() {
            let mut having =
                told.iter().filter(|(_, batch)| !matches!(batch.answers[at], Err(Absent::Missing)));
            match (having.next(), having.next(), &first_error) {
                (Some((one, _)), Some((other, _)), _) => return Err(self.conflict(index, key, *one, *other)),
                (Some((member, batch)), None, _) => {
                    let ground = grounds.iter_mut().find(|ground: &&mut Ground| ground.provider == *member);
                    ground.expect("it has answered").told.push(key.clone());
                    answers.push(batch.answers[at].clone());
                }
                (None, _, Some(error)) => return Err(error.clone()),
                (None, _, None) => answers.push(Err(Absent::Missing)),
            }
        }
        // Whoever comes back may have the same names.
        if !failed.is_empty() {
            let in_place_of = |ground| Ground { in_place_of: Some(failed.clone()), ..ground };
            grounds = grounds.into_iter().map(in_place_of).map(Ground::for_a_while).collect();
        }
        Ok(Asked { grounds, answers })
    }

    /// The same number is another version at each, and so another value.
    fn pinned(&self, index: usize, several: &Several, key: &SecretKey) -> Option<ResolveError> {
        let name = |index: usize| self.providers[index].name.clone();
        Some(ResolveError::Pinned {
            several: name(index),
            path: key.path.clone(),
            version: key.version?,
            of: several.of.iter().copied().map(name).collect(),
        })
    }

    fn conflict(&self, index: usize, key: &SecretKey, one: usize, other: usize) -> ResolveError {
        let name = |index: usize| self.providers[index].name.clone();
        ResolveError::Conflict {
            several: name(index),
            path: key.path.clone(),
            one: name(one),
            other: name(other),
        }
    }
}
