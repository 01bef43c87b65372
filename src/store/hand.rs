//! A namespace on its way to another store: read out whole, put in there as it was, compared, and
//! removed here unless it has changed meanwhile. Uses `view` to read and `change` to write.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::change::Stamp;
use super::index::Node;
use super::keyring::NamespaceKeys;
use super::record::Header;
use super::salvage::Remains;
use super::view::View;
use super::{Store, StoreError};
use crate::secret::Namespace;

/// Everything in a namespace, in memory.
pub struct Belongings {
    namespace: Namespace,
    all: Vec<Remains>,
    /// Tells these from any others, whatever store they are in.
    print: [u8; 32],
    /// How the namespace was when they were read.
    index: Node,
}

impl Belongings {
    /// How many secrets there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl Store {
    /// All secrets of a namespace with all their versions. What is damaged is a failure.
    pub fn belongings(&self, namespace: &Namespace) -> Result<Belongings, StoreError> {
        let read = self.in_namespace(namespace, |view, keys| {
            let all = view.headers(keys)?.into_iter().map(|header| remains(view, keys, header));
            let all = all.collect::<Result<Vec<_>, _>>()?;
            let (print, index) = (print(&all), view.top(keys)?.node.clone());
            Ok(Belongings { namespace: namespace.clone(), all, print, index })
        });
        read?.ok_or_else(|| StoreError::NamespaceMissing(namespace.to_string()))
    }

    /// Puts them into the namespace that is there if none is named, as they were.
    pub fn receive(&self, belongings: &Belongings, stamp: Stamp) -> Result<(), StoreError> {
        self.change(&Namespace::default(), stamp, |change| {
            belongings.all.iter().try_for_each(|remains| change.adopt(remains))
        })
    }

    /// Whether that namespace has these, all of them, and nothing else.
    pub fn holds(&self, belongings: &Belongings) -> Result<bool, StoreError> {
        Ok(self.belongings(&Namespace::default())?.print == belongings.print)
    }

    /// Removes the namespace that they were read from, if it is still as it was then.
    pub fn remove_given(&self, belongings: &Belongings) -> Result<(), StoreError> {
        self.change_keyring(&belongings.namespace, |view, rows, keys| {
            match view.top(keys)?.node == belongings.index {
                true => super::namespaces::remove(view, rows, keys),
                false => Err(StoreError::Refused(format!(
                    "the namespace `{}` was changed meanwhile; it was not removed",
                    belongings.namespace
                ))),
            }
        })
    }
}

fn remains(view: &View<'_>, keys: &NamespaceKeys, header: Header) -> Result<Remains, StoreError> {
    let stored = view.rows.records(&keys.id, &keys.name_mac(&header.name))?;
    let stored: BTreeMap<_, _> = stored.into_iter().collect();
    let mut records = Vec::new();
    for version in (1..=header.latest).filter(|&version| header.has(version)) {
        let record = view.open_stored(keys, &header, version, stored.get(&version));
        records.extend(record.map_err(|error| error.about(&header.name))?.map(|record| (version, record)));
    }
    Ok(Remains { header, records })
}

fn print(all: &[Remains]) -> [u8; 32] {
    let print = all.iter().fold(Sha256::new(), |print, remains| print.chain_update(remains.print()));
    print.finalize().into()
}
