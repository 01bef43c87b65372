//! Reads all that a store holds, whatever some of it is like: what is damaged is told, and of the rest
//! whoever wants to save it. Uses `view` for one thing at a time.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::backend::{HeaderRow, NamespaceRow};
use super::index::{FANOUT, range_of};
use super::keyring::NamespaceKeys;
use super::record::{Header, Record};
use super::spaces::Space;
use super::view::{View, open_row};
use super::{Store, StoreError};
use crate::secret::Namespace;

/// Something that is not as it was written. `None` where it is not known whose it is.
#[derive(Clone, Debug, Serialize)]
pub struct Damage {
    pub namespace: Option<String>,
    pub secret: Option<String>,
    pub version: Option<u64>,
    pub problem: String,
    /// Whether it, or something that it vouches for, is lost or may be: no repair brings it back.
    pub lost: bool,
}

/// What a look at everything has found.
#[derive(Debug, Default, Serialize)]
pub struct Inspection {
    pub namespaces: usize,
    /// Secrets with one sound version or more.
    pub secrets: usize,
    /// Versions that are sound.
    pub versions: usize,
    pub damages: Vec<Damage>,
}

/// What there is of a secret: its sound versions, oldest first.
pub(super) struct Remains {
    pub(super) header: Header,
    pub(super) records: Vec<(u64, Record)>,
}

impl Remains {
    /// Says in its header what is gone. If the active version is, another must not take its place
    /// unseen: the secret is disabled.
    fn of(mut header: Header, records: Vec<(u64, Record)>) -> Self {
        let has = |version| records.iter().any(|(number, _)| *number == version);
        (1..=header.latest).filter(|&version| !has(version)).for_each(|version| header.gone.insert(version));
        if !has(header.active) {
            header.disabled = true;
            if let Some((version, record)) = records.last() {
                header.show(*version, record);
            }
        }
        Self { header, records }
    }

    /// Of everything but the epoch and the prints, which are other ones in each store.
    pub(super) fn print(&self) -> [u8; 32] {
        // Padded, so that no two parts run into each other.
        let header = Header { epoch: 0, prints: BTreeMap::new(), ..self.header.clone() };
        let mut print = Sha256::new().chain_update(Sha256::digest(header.encode()));
        for (version, record) in &self.records {
            print.update(version.to_le_bytes());
            print.update(Sha256::digest(record.encode()));
        }
        print.finalize().into()
    }
}

type EachSecret<'a> = dyn FnMut(&Namespace, Remains) -> Result<(), StoreError> + 'a;

impl Store {
    /// Reads and authenticates everything.
    pub fn inspect(&self) -> Result<Inspection, StoreError> {
        self.read_anyhow(|view, root| inspect(view, root, &mut |_, _| Ok(())))
    }
}

/// `root` is what is wrong with the root, if that could not be relied on.
pub(super) fn inspect(
    view: &View<'_>,
    root: Option<StoreError>,
    each: &mut EachSecret<'_>,
) -> Result<Inspection, StoreError> {
    let mut found = Inspection::default();
    root.map_or(Ok(()), |error| found.note(None, None, None, error))?;
    if let Err(error) = view.spaces() {
        found.note(None, None, None, error)?;
    }
    for Space { row, keys, .. } in view.spaces_anyhow()?.0.iter() {
        let name = view.masters.namespace_name(&view.root.store, row);
        let keys = view.masters.unwrap(&view.root.store, row, keys);
        match (name, keys) {
            (Ok(name), Ok(keys)) => inspect_namespace(view, (row, &name, &keys), &mut found, each)?,
            (name, Err(error)) => found.note(name.ok().as_ref(), None, None, error)?,
            (Err(error), Ok(_)) => found.note(None, None, None, error)?,
        }
    }
    Ok(found)
}

fn inspect_namespace(
    view: &View<'_>,
    (row, name, keys): (&NamespaceRow, &Namespace, &NamespaceKeys),
    found: &mut Inspection,
    each: &mut EachSecret<'_>,
) -> Result<(), StoreError> {
    found.namespaces += 1;
    let top = view.top(keys).map(drop);
    let has_index = top.is_ok();
    top.or_else(|error| found.note(Some(name), None, None, error))?;
    for node in 0..FANOUT {
        let mut rows = Vec::new();
        let read = view.rows.headers(&row.id, &range_of(node), &mut |row| {
            rows.push(row);
            Ok(())
        });
        let checked = if has_index { view.check_node(keys, node, &rows) } else { Ok(()) };
        read.and(checked).or_else(|error| found.note(Some(name), None, None, error))?;
        for row in rows {
            if let Some(remains) = found.remains(view, (name, keys), &row)? {
                each(name, remains)?;
            }
        }
    }
    Ok(())
}

impl Inspection {
    /// A store that is busy or gone is no finding.
    fn note(
        &mut self,
        namespace: Option<&Namespace>,
        secret: Option<&str>,
        version: Option<u64>,
        error: StoreError,
    ) -> Result<(), StoreError> {
        let problem = match error {
            StoreError::Corrupt(problem) | StoreError::Database(problem) => problem,
            other => return Err(other),
        };
        let (namespace, secret) = (namespace.map(ToString::to_string), secret.map(str::to_owned));
        self.damages.push(Damage { namespace, secret, version, problem, lost: true });
        Ok(())
    }

    /// It decides which version is active; what its row says of that is a copy.
    fn header(
        &mut self,
        (namespace, keys): (&Namespace, &NamespaceKeys),
        row: &HeaderRow,
    ) -> Result<Option<Header>, StoreError> {
        let error = match open_row(keys, row) {
            Ok(header) => return Ok(Some(header)),
            Err(error) => error,
        };
        let sealed = keys.open_header(&row.name, &row.header).and_then(|plain| Header::decode(&plain));
        let header = sealed.ok().filter(|header| keys.name_mac(&header.name) == row.name);
        self.note(Some(namespace), header.as_ref().map(|it| it.name.as_str()), None, error)?;
        if let (Some(_), Some(damage)) = (&header, self.damages.last_mut()) {
            damage.lost = false;
        }
        Ok(header)
    }

    fn remains(
        &mut self,
        view: &View<'_>,
        (namespace, keys): (&Namespace, &NamespaceKeys),
        row: &HeaderRow,
    ) -> Result<Option<Remains>, StoreError> {
        let Some(header) = self.header((namespace, keys), row)? else { return Ok(None) };
        // Together, unless one of them is in the way of the others.
        let stored: Option<BTreeMap<_, _>> =
            view.rows.records(&keys.id, &row.name).ok().map(|all| all.into_iter().collect());
        let mut records = Vec::new();
        for version in (1..=header.latest).filter(|&version| header.has(version)) {
            let record = match &stored {
                Some(all) => view.open_stored(keys, &header, version, all.get(&version)),
                None => view.record(keys, &header, version),
            };
            match record {
                Ok(record) => records.extend(record.map(|record| (version, record))),
                Err(error) => self.note(Some(namespace), Some(&header.name), Some(version), error)?,
            }
        }
        for version in stored.into_iter().flatten().map(|it| it.0).filter(|&version| !header.has(version)) {
            let error = StoreError::corrupt("it is there, and should not be");
            self.note(Some(namespace), Some(&header.name), Some(version), error)?;
        }
        self.versions += records.len();
        self.secrets += usize::from(!records.is_empty());
        Ok((!records.is_empty()).then(|| Remains::of(header, records)))
    }
}
