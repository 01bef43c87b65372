//! Rows put back as they were before, by whoever can write the store's files and has no key: each of
//! them is genuine, and none is taken for what holds now.

use super::super::backend::{HeaderRow, RootRow};
use super::super::cipher::{Id, Mac};
use super::super::index::{ALL, TOP};
use super::*;

/// All rows of the default namespace, and the root, as one commit left them.
struct Before {
    namespace: Id,
    root: RootRow,
    nodes: Vec<(u8, Vec<u8>)>,
    headers: Vec<HeaderRow>,
    records: Vec<(Mac, u64, Vec<u8>)>,
}

impl Before {
    fn of(store: &Store) -> Self {
        let opened = store.opened();
        let rows = opened.backend.read().unwrap();
        let namespace = rows.namespaces().unwrap()[0].id;
        let headers = rows.header_rows(&namespace, &ALL).unwrap();
        let records = headers.iter().flat_map(|header| {
            let records = rows.records(&namespace, &header.name).unwrap();
            records.into_iter().map(|(version, record)| (header.name, version, record))
        });
        let (root, nodes) = (rows.root().unwrap(), rows.nodes(&namespace).unwrap());
        Self { namespace, root, nodes, records: records.collect(), headers }
    }

    /// The secrets, with so many of the parts that vouch for them.
    fn put_back(&self, store: &Store, parts: Parts) {
        let opened = store.opened();
        let rows = opened.backend.write().unwrap();
        for (number, sealed) in &self.nodes {
            if parts >= Parts::Nodes && *number != TOP || parts >= Parts::Top {
                rows.put_node(&self.namespace, *number, sealed).unwrap();
            }
        }
        for row in &self.headers {
            rows.remove_secret(&self.namespace, &row.name).unwrap();
            rows.put_header(&self.namespace, row).unwrap();
        }
        for (name, version, record) in &self.records {
            rows.put_record(&self.namespace, name, *version, record).unwrap();
        }
        if parts == Parts::Root {
            rows.put_root(&self.root).unwrap();
        }
        rows.commit().unwrap();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Parts {
    None,
    Nodes,
    Top,
    Root,
}

pub(super) fn ask(
    store: &Store,
    namespace: &Namespace,
    secret: &str,
    version: Option<u64>,
) -> Result<Result<String, Absent>, StoreError> {
    let now = Timestamp::from_second(2).unwrap();
    let mut reading = store.get(namespace, &[(name(secret), version)], now)?;
    let text = |bytes: &SecretBytes| String::from_utf8(bytes.expose().to_vec()).unwrap();
    Ok(reading.answers.remove(0).map(|found| text(&found.fields["value"])))
}

type Said = Result<Result<String, Absent>, StoreError>;

fn ask_a(store: &Store) -> Said {
    ask(store, &Namespace::default(), "a", None)
}

/// What a store says of `a` whose rows are those of before `change`, with some parts of the index.
fn after(
    backend: BackendKind,
    parts: Parts,
    is_warm: bool,
    change: impl FnOnce(&mut Change<'_>) -> Result<(), StoreError>,
) -> (Said, Fixture) {
    let fixture = Fixture::on(backend);
    put(&fixture.store, "a", b"old");
    put(&fixture.store, "b", b"other");
    let before = Before::of(&fixture.store);
    fixture.store.change(&Namespace::default(), stamp(1), change).unwrap();
    let mut store = fixture.reopen(Access::Read);
    if is_warm {
        assert_ne!(ask_a(&store).unwrap(), Ok("old".to_owned()));
    }
    before.put_back(&fixture.store, parts);
    if !is_warm {
        store = fixture.reopen(Access::Read);
    }
    (ask_a(&store), fixture)
}

fn changed(change: &mut Change<'_>) -> Result<(), StoreError> {
    let new = NewVersion::of_value(SecretBytes::copy_of(b"new"));
    change.put(&name("a"), new, &Edit::default()).map(drop)
}

fn removed(change: &mut Change<'_>) -> Result<(), StoreError> {
    change.remove(&name("a"))
}

fn disabled(change: &mut Change<'_>) -> Result<(), StoreError> {
    change.disable(&name("a"), true).map(drop)
}

#[test]
fn what_was_replaced_or_taken_away_does_not_come_back() {
    for backend in BackendKind::ALL {
        for parts in [Parts::None, Parts::Nodes, Parts::Top] {
            for is_warm in [false, true] {
                for change in [changed, removed, disabled] {
                    let (said, fixture) = after(backend, parts, is_warm, change);
                    let what = format!("{backend:?} {parts:?} {is_warm}");
                    assert!(matches!(said, Err(StoreError::Corrupt(_))), "{what}: {said:?}");
                    assert!(verify(&fixture.store).is_err(), "{what}");
                    // Nothing is built on it, either.
                    let next = fixture.store.change(&Namespace::default(), stamp(2), changed);
                    assert!(matches!(next, Err(StoreError::Corrupt(_))), "{what}");
                }
            }
        }
    }
}

/// The control: what was put back is genuine. All of it with the root is the store of before, and
/// nothing in the files can tell that there was a later one.
#[test]
fn a_whole_store_of_before_is_taken_for_what_it_is() {
    for backend in BackendKind::ALL {
        for change in [changed, removed, disabled] {
            let (said, fixture) = after(backend, Parts::Root, false, change);
            assert_eq!(said.unwrap(), Ok("old".to_owned()), "{backend:?}");
            verify(&fixture.store).unwrap();
        }
    }
}
