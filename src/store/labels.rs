//! Secrets that are found by their label: which secret has which, as a process that keeps a store
//! open remembers it, part by part, and no longer than the index says that nothing has changed.
//! Uses `view` and `index`.

use std::sync::Arc;

use jiff::Timestamp;

use super::index::FANOUT;
use super::keyring::NamespaceKeys;
use super::view::{Asked, View, open_row};
use super::{Reading, Store, StoreError};
use crate::secret::{Absent, Answer, Namespace, SecretName, SecretType, SecretVersion, Selector};

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

    /// Remembers the labels of all secrets: a part at a time, so that nobody waits for all of it.
    pub fn learn_labels(&self, namespace: &Namespace) -> Result<(), StoreError> {
        (0..FANOUT)
            .try_for_each(|node| self.in_namespace(namespace, |view, keys| view.labels(keys, node)).map(drop))
    }
}

/// Says which secret it is.
fn turned_out(mut found: Arc<SecretVersion>, name: &SecretName) -> Arc<SecretVersion> {
    Arc::get_mut(&mut found).expect("it was made for this answer").turned_out = Some(name.clone());
    found
}

/// The labels of the secrets below a node.
pub(super) struct Labels(Box<[Labelled]>);

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
        for node in 0..FANOUT {
            let labels = self.labels(keys, node)?;
            for it in labels.0.iter().filter(|it| selector.fits(&it.label, it.kind)) {
                match it.disabled {
                    true => disabled += 1,
                    false => enabled.push(it.name.clone()),
                }
            }
        }
        match (enabled.as_slice(), disabled) {
            ([name], _) => Ok(self.answer(keys, name, None, asked)?.map(|found| turned_out(found, name))),
            ([], 0) => Ok(Err(Absent::Missing)),
            ([], _) => Ok(Err(Absent::Revoked)),
            (several, _) => Ok(Err(Absent::Ambiguous(several.len()))),
        }
    }

    /// Those that are remembered, if the secrets are still what they were.
    fn labels(&self, keys: &NamespaceKeys, node: u8) -> Result<Arc<Labels>, StoreError> {
        let vouched = self.top(keys)?.node.child(node);
        if let Some(labels) = keys.seen.labels(node, &vouched) {
            return Ok(labels);
        }
        let mut labelled = Vec::new();
        for row in self.rows_below(keys, node)? {
            let header = open_row(keys, &row)?;
            if let Some(label) = header.label {
                let name = SecretName::parse(&header.name)
                    .map_err(|_| StoreError::corrupt("a secret has no proper name"))?;
                labelled.push(Labelled { label, kind: header.kind, name, disabled: header.disabled });
            }
        }
        let labels = Arc::new(Labels(labelled.into()));
        keys.seen.remember_labels(node, vouched, labels.clone());
        Ok(labels)
    }
}
