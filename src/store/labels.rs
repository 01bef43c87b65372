//! Secrets that are found by their label: which secret has which, as a process that keeps a store
//! open remembers it, bucket by bucket, and no longer than the seals say that nothing has changed.
//! Uses `view` and `index`.

use std::sync::Arc;

use jiff::Timestamp;

use super::index::{BUCKETS, Bucket};
use super::keyring::NamespaceKeys;
use super::view::{Asked, View, compare, count_in, open_header};
use super::{Reading, Store, StoreError};
use crate::secret::{Absent, Answer, Namespace, SecretName, SecretType, Selector};

/// What a store is asked for.
#[derive(Clone, Debug)]
pub enum Question {
    /// A name, and a version or the active one.
    Named(SecretName, Option<u64>),
    /// The only secret that is like that; one that is disabled counts if there is no other.
    Like(Selector),
}

impl Store {
    /// Answers every question as of one commit.
    pub fn answers(
        &self,
        namespace: &Namespace,
        wanted: &[Question],
        now: Timestamp,
    ) -> Result<Reading, StoreError> {
        let asked = Asked { now, tallies: &self.tallies };
        self.read(|view, opened| {
            let answers = match opened.namespace(view, namespace)? {
                None => wanted.iter().map(|_| Err(Absent::Missing)).collect(),
                Some(keys) => wanted
                    .iter()
                    .map(|question| match question {
                        Question::Named(name, version) => view.answer(&keys, name, *version, &asked),
                        Question::Like(selector) => view.answer_like(&keys, selector, &asked),
                    })
                    .collect::<Result<Vec<Answer>, _>>()?,
            };
            Ok(Reading { answers, as_of: opened.moment(view.root.epoch) })
        })
    }

    /// Remembers the labels of all secrets: a bucket at a time, so that nobody waits for all of it.
    pub fn learn_labels(&self, namespace: &Namespace) -> Result<(), StoreError> {
        let mut buckets = 0..BUCKETS;
        buckets.try_for_each(|bucket| {
            self.in_namespace(namespace, |view, keys| view.labels(keys, bucket)).map(drop)
        })
    }
}

/// The labels of a bucket that was found whole.
pub(super) struct Labels {
    sealed: Bucket,
    labelled: Box<[Labelled]>,
}

struct Labelled {
    label: String,
    kind: SecretType,
    name: SecretName,
    disabled: bool,
}

impl View<'_> {
    fn answer_like(
        &self,
        keys: &NamespaceKeys,
        selector: &Selector,
        asked: &Asked<'_>,
    ) -> Result<Answer, StoreError> {
        let (mut enabled, mut disabled) = (Vec::new(), 0);
        for bucket in 0..BUCKETS {
            let labels = self.labels(keys, bucket)?;
            for it in labels.labelled.iter().filter(|it| selector.fits(&it.label, it.kind)) {
                match it.disabled {
                    true => disabled += 1,
                    false => enabled.push(it.name.clone()),
                }
            }
        }
        match (enabled.as_slice(), disabled) {
            ([name], _) => self.answer(keys, name, None, asked),
            ([], 0) => Ok(Err(Absent::Missing)),
            ([], _) => Ok(Err(Absent::Revoked)),
            (several, _) => Ok(Err(Absent::Ambiguous(several.len()))),
        }
    }

    /// The labels of a bucket: those that are remembered, if it is still as it was.
    fn labels(&self, keys: &NamespaceKeys, bucket: u8) -> Result<Arc<Labels>, StoreError> {
        let sealed = self.bucket(keys, bucket)?;
        if let Some(labels) = keys.labels(bucket).filter(|labels| labels.sealed == sealed) {
            return Ok(labels);
        }
        let (mut found, mut labelled) = (Bucket::default(), Vec::new());
        self.rows.headers(&keys.id, Some(bucket), &mut |row| {
            count_in(&mut found, keys, &row);
            let header = open_header(keys, &row.name, row.active, &row.header)?;
            if let Some(label) = header.label {
                let name = SecretName::parse(&header.name)
                    .map_err(|_| StoreError::corrupt("a secret has no proper name"))?;
                labelled.push(Labelled { label, kind: header.kind, name, disabled: header.disabled });
            }
            Ok(())
        })?;
        compare(&sealed, &found)?;
        let labels = Arc::new(Labels { sealed, labelled: labelled.into() });
        keys.remember_labels(bucket, labels.clone());
        Ok(labels)
    }
}
