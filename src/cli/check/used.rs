//! The secrets that templates and the config refer to, and which of them the pattern of a rule is about.
//! May use every layer.

use std::collections::BTreeSet;

use super::finding::Kind;
use crate::nearest::nearest;
use crate::policy::{Pattern, Policy};
use crate::secret::{FieldName, Reference, SecretKey};

#[derive(Default)]
pub(super) struct Used {
    certain: Vec<Reference>,
    /// Texts that mean a field or a secret with a dot in its name, and nobody has looked which.
    doubtful: Vec<Vec<Reference>>,
    /// All that there are, if somebody has looked.
    known: Vec<String>,
}

impl Used {
    pub(super) fn new(of_templates: impl IntoIterator<Item = Reference>, known: Option<Vec<String>>) -> Self {
        Self {
            certain: of_templates.into_iter().collect(),
            doubtful: Vec::new(),
            known: known.unwrap_or_default(),
        }
    }

    /// The readings of one text.
    pub(super) fn add(&mut self, readings: Vec<Reference>) {
        let is_known = |it: &&Reference| self.known.contains(&it.key.path);
        match (readings.as_slice(), self.known.is_empty()) {
            ([_], _) => self.certain.extend(readings),
            (_, true) => self.doubtful.push(readings),
            (all, false) if all.iter().any(|it| is_known(&it)) => {
                self.certain.extend(all.iter().filter(is_known).cloned());
            }
            _ => self.certain.extend(readings),
        }
    }

    /// What is to be said of a pattern that is about none of them, and what may have been meant.
    pub(super) fn judge(&self, policy: &Policy, pattern: &Pattern) -> Option<(Kind, String, Option<String>)> {
        let is_about = |it: &Reference| policy.is_about(pattern, &it.key);
        if self.certain.iter().any(is_about) {
            return None;
        }
        let is_doubtful = self.doubtful.iter().flatten().any(is_about);
        let is_there = self.known.iter().any(|name| policy.is_about(pattern, &SecretKey::named(name)));
        match field_of(pattern).filter(|_| !is_there) {
            Some((whole, field)) if self.has_field(policy, &whole, &field) && !is_doubtful => {
                let what = format!("never decides: `{pattern}` is the field `{field}` of a secret");
                Some((
                    Kind::Config,
                    format!("{what}, and rules are about whole secrets: write `{whole}`"),
                    None,
                ))
            }
            Some((whole, field)) if is_doubtful || self.known.iter().any(|it| *it == whole.as_str()) => {
                let what = format!(
                    "is about a secret of this name only: if the field `{field}` of `{whole}` is meant"
                );
                Some((Kind::Note, format!("{what}, write `{whole}`"), None))
            }
            _ if is_doubtful => None,
            _ => {
                Some((Kind::Note, format!("nothing refers to a secret like `{pattern}`"), self.near(pattern)))
            }
        }
    }

    /// What is referred to, or the folder of it if the pattern is one of a folder.
    fn near(&self, pattern: &Pattern) -> Option<String> {
        let names = self
            .certain
            .iter()
            .chain(self.doubtful.iter().flatten())
            .map(|it| SecretKey { version: None, ..it.key.clone() }.to_string());
        let candidates: BTreeSet<_> = match pattern.as_str().strip_suffix("/*") {
            None => names.collect(),
            Some(_) => names.filter_map(|name| Some(format!("{}/*", name.rsplit_once('/')?.0))).collect(),
        };
        nearest(pattern.as_str(), candidates).map(|near| format!("did you mean `{near}`?"))
    }

    fn has_field(&self, policy: &Policy, whole: &Pattern, field: &FieldName) -> bool {
        let is_it = |it: &Reference| it.field.as_ref() == Some(field) && policy.is_about(whole, &it.key);
        self.certain.iter().any(is_it)
    }
}

/// `tls` and `key` of `tls.key`.
fn field_of(pattern: &Pattern) -> Option<(Pattern, FieldName)> {
    let (whole, field) = pattern.as_str().rsplit_once('.').filter(|_| pattern.is_plain())?;
    Some((Pattern::parse(whole).ok()?, FieldName::parse(field).ok()?))
}

/// Whether a pattern on secrets may be meant to be about a field.
pub(super) fn may_be_field(pattern: &Pattern) -> bool {
    field_of(pattern).is_some()
}
