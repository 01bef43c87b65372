//! Which secrets are meant, where what was written does not say: a dot may part a secret from its
//! field or belong to its name, and a label may be that of any. Rules hold for what is given, however
//! it was asked for, so that is found out before they are asked. Uses rules and services.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Broker, Error};
use crate::policy::{Denial, Grant, RuleId, Verdict};
use crate::resolver::Resolved;
use crate::secret::{Answer, Reference, SecretKey};
use crate::template::Template;

impl Broker {
    /// The secrets that have to be allowed to whom these are given. Of each text all its readings: those that
    /// have a value count, and all if none has. Looks only where rules say different things of them.
    pub(super) async fn meant(
        &self,
        texts: &[&[Reference]],
        judge: impl Fn(&SecretKey) -> Verdict,
    ) -> Result<Vec<SecretKey>, Error> {
        let keys_of = |text: &&[Reference]| text.iter().map(|it| it.key.clone()).collect::<Vec<_>>();
        let is_doubtful = |text: &&&[Reference]| self.is_doubtful(text, &judge);
        let doubtful: Vec<_> = texts.iter().filter(is_doubtful).flat_map(keys_of).collect();
        if self.policy.rules().is_empty() || doubtful.is_empty() {
            return Ok(texts.iter().flat_map(keys_of).collect());
        }
        let seen = self.resolver.resolve(&Grant::to_look(&doubtful), &doubtful).await?;
        let mut meant = Vec::new();
        for text in texts {
            let is_looked_at = |it: &&Reference| seen.answers.contains_key(&it.key);
            let mut read: Vec<_> =
                text.iter().filter(|it| !is_looked_at(it) || has_value(it, &seen)).collect();
            if read.is_empty() {
                read = text.iter().collect();
            }
            meant.extend(read.into_iter().map(|it| it.key.clone()));
        }
        let behind = self.behind(&seen).into_iter();
        let behind: Vec<_> = behind.filter(|(label, _)| meant.contains(label)).map(|it| it.1).collect();
        Ok([meant, behind].concat())
    }

    /// Whether it hangs on what is there if this may be given. What is denied in every reading is not
    /// looked at.
    fn is_doubtful(&self, text: &[Reference], judge: impl Fn(&SecretKey) -> Verdict) -> bool {
        let verdicts: BTreeSet<_> = text.iter().map(|it| judge(&it.key)).collect();
        let may_be_any = text.iter().any(|it| self.policy.may_be_any(&it.key));
        verdicts.len() > 1 || (may_be_any && !verdicts.contains(&Verdict::Deny))
    }

    /// All that the reader of a rendering has to be allowed.
    pub(super) fn keys_of(&self, template: &Template, resolved: &Resolved) -> Arc<[SecretKey]> {
        let behind = self.behind(resolved);
        if behind.is_empty() {
            return template.shared_keys().clone();
        }
        template.keys().iter().cloned().chain(behind.into_iter().map(|(_, it)| it)).collect()
    }

    /// What was asked for by its label, and which secret that has turned out to be.
    pub(super) fn behind(&self, resolved: &Resolved) -> Vec<(SecretKey, SecretKey)> {
        let of = |(key, answer): (&SecretKey, &Answer)| {
            let found = answer.as_ref().ok()?;
            let path = found.turned_out.as_ref()?.to_string();
            let provider = self.provider_of(key).map(str::to_owned);
            Some((key.clone(), SecretKey { provider, path, version: None }))
        };
        let mut behind: Vec<_> = resolved.answers.iter().filter_map(of).collect();
        behind.sort_unstable();
        behind
    }

    /// A label that was looked at may be another secret's by now.
    pub(super) fn check_behind(&self, grant: &Grant, resolved: &Resolved) -> Result<(), Error> {
        let is_judged = !self.policy.rules().is_empty() && *grant.rule() != RuleId::Owner;
        match is_judged && !self.behind(resolved).iter().all(|(_, it)| grant.covers(it)) {
            true => Err(Error::Denied(Denial::unknown())),
            false => Ok(()),
        }
    }
}

fn has_value(reference: &Reference, seen: &Resolved) -> bool {
    let found = seen.answers.get(&reference.key).and_then(|answer| answer.as_ref().ok());
    found.is_some_and(|version| version.fields.contains_key(reference.field_name()))
}
