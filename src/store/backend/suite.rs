//! What holds for every backend: run by the tests of each.

use std::path::Path;

use super::super::index::{ALL, range_of};
use super::*;

const SPACE: Id = [1; 16];
const OTHER: Id = [2; 16];

fn root(epoch: u64) -> RootRow {
    RootRow { store: [9; 16], key: [8; 16], epoch, keyring_epoch: 1, keyring: [7; 32], seal: [6; 32] }
}

fn name(byte: u8) -> Mac {
    let mut name = [0xee; 32];
    name[0] = byte;
    name
}

fn header(byte: u8, active: u64) -> HeaderRow {
    HeaderRow { name: name(byte), active, header: vec![byte, active as u8] }
}

/// A committed root and two namespaces.
fn begin(backend: &dyn Backend) {
    let rows = backend.write().unwrap();
    rows.put_root(&root(1)).unwrap();
    for id in [SPACE, OTHER] {
        rows.put_namespace(&NamespaceRow { id, name_mac: [id[0]; 32], name: vec![id[0]] }).unwrap();
    }
    rows.commit().unwrap();
}

fn named(rows: &dyn Read, name_mac: &Mac) -> Option<NamespaceRow> {
    rows.namespaces().unwrap().into_iter().find(|row| row.name_mac == *name_mac)
}

fn names_in(rows: &dyn Read, namespace: &Id, range: &Range) -> Vec<u8> {
    rows.header_rows(namespace, range).unwrap().iter().map(|row| row.name[0]).collect()
}

/// Runs everything; `make` gives a new, empty backend in an empty folder.
pub(in crate::store) fn run(make: impl Fn(&Path) -> Box<dyn Backend>) {
    for test in [
        a_commit_is_seen_and_what_is_dropped_is_not,
        a_reader_keeps_its_commit,
        a_secret_comes_with_the_version_that_is_asked_for,
        headers_come_in_order_and_by_range,
        a_removed_secret_leaves_nothing,
        a_removed_version_leaves_the_others,
        a_removed_namespace_leaves_the_others,
        a_namespace_is_replaced_by_its_id,
        namespaces_keys_and_nodes_come_back,
        any_bytes_are_kept,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let backend = make(folder.path());
        begin(&*backend);
        test(&*backend);
    }
}

fn a_commit_is_seen_and_what_is_dropped_is_not(backend: &dyn Backend) {
    let rows = backend.write().unwrap();
    rows.put_root(&root(2)).unwrap();
    assert_eq!(rows.root().unwrap().epoch, 2, "the writer sees its own");
    drop(rows);
    assert_eq!(backend.read().unwrap().root().unwrap().epoch, 1);
    let rows = backend.write().unwrap();
    rows.put_root(&root(3)).unwrap();
    rows.commit().unwrap();
    let found = backend.read().unwrap().root().unwrap();
    assert_eq!((found.epoch, found.store, found.keyring, found.seal), (3, [9; 16], [7; 32], [6; 32]));
}

fn a_reader_keeps_its_commit(backend: &dyn Backend) {
    let reader = backend.read().unwrap();
    assert_eq!(reader.root().unwrap().epoch, 1);
    let rows = backend.write().unwrap();
    rows.put_root(&root(2)).unwrap();
    rows.put_header(&SPACE, &header(5, 1)).unwrap();
    rows.commit().unwrap();
    assert_eq!(reader.root().unwrap().epoch, 1);
    assert!(names_in(&*reader, &SPACE, &ALL).is_empty());
    assert_eq!(names_in(&*backend.read().unwrap(), &SPACE, &ALL), [5]);
}

fn a_secret_comes_with_the_version_that_is_asked_for(backend: &dyn Backend) {
    let rows = backend.write().unwrap();
    rows.put_header(&SPACE, &header(5, 1)).unwrap();
    rows.put_header(&SPACE, &header(5, 2)).unwrap();
    for version in [1, 2] {
        rows.put_record(&SPACE, &name(5), version, &[version as u8]).unwrap();
    }
    rows.commit().unwrap();
    let rows = backend.read().unwrap();
    for (asked, found) in [
        (None, Some((2, vec![2]))),
        (Some(1), Some((1, vec![1]))),
        (Some(2), Some((2, vec![2]))),
        (Some(3), None),
        (Some(0), None),
        (Some(u64::MAX), None),
    ] {
        let row = rows.secret(&SPACE, &name(5), asked).unwrap().unwrap();
        assert_eq!((row.active, row.header, row.record), (2, vec![5, 2], found), "{asked:?}");
    }
    let header = rows.header(&SPACE, &name(5)).unwrap().unwrap();
    assert_eq!((header.name, header.active, header.header), (name(5), 2, vec![5, 2]));
    assert!(rows.header(&SPACE, &name(6)).unwrap().is_none());
    assert!(rows.secret(&SPACE, &name(6), None).unwrap().is_none());
    assert!(rows.secret(&OTHER, &name(5), None).unwrap().is_none());
    assert_eq!(rows.records(&SPACE, &name(5)).unwrap(), [(1, vec![1]), (2, vec![2])]);
}

fn headers_come_in_order_and_by_range(backend: &dyn Backend) {
    let rows = backend.write().unwrap();
    for byte in [255, 0, 4, 3, 7, 8] {
        rows.put_header(&SPACE, &header(byte, 1)).unwrap();
    }
    rows.put_header(&OTHER, &header(5, 1)).unwrap();
    assert_eq!(names_in(&*rows, &SPACE, &ALL), [0, 3, 4, 7, 8, 255]);
    assert_eq!(names_in(&*rows, &SPACE, &range_of(0)), [0, 3]);
    assert_eq!(names_in(&*rows, &SPACE, &range_of(1)), [4, 7]);
    assert_eq!(names_in(&*rows, &SPACE, &range_of(63)), [255]);
    assert_eq!(names_in(&*rows, &OTHER, &ALL), [5]);
}

fn a_removed_secret_leaves_nothing(backend: &dyn Backend) {
    let rows = backend.write().unwrap();
    for byte in [5, 6] {
        rows.put_header(&SPACE, &header(byte, 1)).unwrap();
        rows.put_record(&SPACE, &name(byte), 1, &[byte]).unwrap();
    }
    rows.remove_secret(&SPACE, &name(5)).unwrap();
    rows.commit().unwrap();
    let rows = backend.read().unwrap();
    assert!(rows.secret(&SPACE, &name(5), None).unwrap().is_none());
    assert!(rows.records(&SPACE, &name(5)).unwrap().is_empty());
    assert_eq!(rows.records(&SPACE, &name(6)).unwrap(), [(1, vec![6])]);
}

fn a_removed_version_leaves_the_others(backend: &dyn Backend) {
    let rows = backend.write().unwrap();
    rows.put_header(&SPACE, &header(5, 2)).unwrap();
    for version in [1, 2, 3] {
        rows.put_record(&SPACE, &name(5), version, &[version as u8]).unwrap();
    }
    rows.remove_record(&SPACE, &name(5), 1).unwrap();
    rows.remove_record(&SPACE, &name(5), 9).unwrap();
    rows.commit().unwrap();
    assert!(backend.scrub(Scrub::Files).unwrap());
    let rows = backend.read().unwrap();
    assert_eq!(rows.records(&SPACE, &name(5)).unwrap(), [(2, vec![2]), (3, vec![3])]);
    assert_eq!(rows.secret(&SPACE, &name(5), Some(1)).unwrap().unwrap().record, None);
}

fn a_removed_namespace_leaves_the_others(backend: &dyn Backend) {
    let rows = backend.write().unwrap();
    for (namespace, kid) in [(SPACE, 1), (SPACE, 2), (OTHER, 1)] {
        let (kid, commitment) = ([kid; 16], [kid; 32]);
        let key = KeyRow { namespace, kid, purpose: 2, state: 1, wrapped: vec![1], commitment };
        rows.put_key(&key).unwrap();
    }
    for namespace in [SPACE, OTHER] {
        rows.put_header(&namespace, &header(5, 1)).unwrap();
        rows.put_record(&namespace, &name(5), 1, &[1]).unwrap();
        rows.put_node(&namespace, 1, b"node").unwrap();
    }
    rows.remove_key(&SPACE, &[1; 16]).unwrap();
    assert_eq!(rows.keys(&SPACE).unwrap().len(), 1);
    rows.remove_namespace(&SPACE).unwrap();
    rows.commit().unwrap();
    let rows = backend.read().unwrap();
    assert!(named(&*rows, &[1; 32]).is_none());
    assert!(rows.keys(&SPACE).unwrap().is_empty() && rows.node(&SPACE, 1).unwrap().is_none());
    assert!(rows.secret(&SPACE, &name(5), None).unwrap().is_none());
    assert!(rows.records(&SPACE, &name(5)).unwrap().is_empty());
    assert_eq!(rows.keys(&OTHER).unwrap().len(), 1);
    assert_eq!(rows.records(&OTHER, &name(5)).unwrap(), [(1, vec![1])]);
}

fn a_namespace_is_replaced_by_its_id(backend: &dyn Backend) {
    let rows = backend.write().unwrap();
    rows.put_header(&SPACE, &header(5, 1)).unwrap();
    rows.put_namespace(&NamespaceRow { id: SPACE, name_mac: [7; 32], name: vec![8] }).unwrap();
    rows.commit().unwrap();
    let rows = backend.read().unwrap();
    assert!(named(&*rows, &[1; 32]).is_none());
    assert_eq!(named(&*rows, &[7; 32]).map(|row| (row.id, row.name)), Some((SPACE, vec![8])));
    assert_eq!(rows.namespaces().unwrap().len(), 2);
    assert_eq!(names_in(&*rows, &SPACE, &ALL), [5]);
}

fn namespaces_keys_and_nodes_come_back(backend: &dyn Backend) {
    let rows = backend.write().unwrap();
    let key = |kid: u8, state| KeyRow {
        namespace: SPACE,
        kid: [kid; 16],
        purpose: 2,
        state,
        wrapped: vec![kid],
        commitment: [kid; 32],
    };
    for (kid, state) in [(1, 1), (2, 1), (1, 2)] {
        rows.put_key(&key(kid, state)).unwrap();
    }
    rows.put_node(&SPACE, 63, b"one").unwrap();
    rows.put_node(&SPACE, 63, b"two").unwrap();
    rows.commit().unwrap();
    let rows = backend.read().unwrap();
    let mut keys: Vec<_> = rows.keys(&SPACE).unwrap().iter().map(|key| (key.kid[0], key.state)).collect();
    keys.sort();
    assert_eq!(keys, [(1, 2), (2, 1)]);
    assert!(rows.keys(&OTHER).unwrap().is_empty());
    assert_eq!(rows.node(&SPACE, 63).unwrap(), Some(b"two".to_vec()));
    assert_eq!(rows.node(&SPACE, 0).unwrap(), None);
    assert_eq!(rows.nodes(&SPACE).unwrap(), [(63, b"two".to_vec())]);
    assert_eq!(named(&*rows, &[1; 32]).map(|row| (row.id, row.name)), Some((SPACE, vec![1])));
    assert!(named(&*rows, &[3; 32]).is_none());
    assert_eq!(rows.namespaces().unwrap().len(), 2);
}

fn any_bytes_are_kept(backend: &dyn Backend) {
    let rows = backend.write().unwrap();
    rows.put_header(&SPACE, &header(5, 1)).unwrap();
    let all: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
    for (version, record) in [(1, &[][..]), (2, b"\0"), (3, &all)] {
        rows.put_record(&SPACE, &name(5), version, record).unwrap();
    }
    let records = rows.records(&SPACE, &name(5)).unwrap();
    assert!(records[0].1.is_empty() && records[1].1 == b"\0" && records[2].1 == all);
}
