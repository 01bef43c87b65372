//! The store through its public door, and what happens when its rows are tampered with.

mod tamper;

use tempfile::TempDir;

use super::*;
use crate::secret::Absent;

/// A store in a folder of its own, with its key.
pub(super) struct Fixture {
    pub(super) folder: TempDir,
    pub(super) store: Store,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::generate().unwrap();
        key.write(&folder.path().join("key")).unwrap();
        let store = Store::create(&folder.path().join("store"), StoreId::generate().unwrap(), &key).unwrap();
        Self { folder, store }
    }

    pub(super) fn sources(&self) -> KeySources {
        KeySources {
            file: Some(self.folder.path().join("key")),
            environment: EnvKey::default(),
            credentials: None,
            folder: None,
        }
    }

    pub(super) fn reopen(&self, access: Access) -> Store {
        Store::open(self.store.dir(), access, &self.sources()).unwrap()
    }
}

pub(super) fn name(text: &str) -> SecretName {
    SecretName::parse(text).unwrap()
}

pub(super) fn stamp(second: i64) -> Stamp {
    Stamp { now: Timestamp::from_second(second).unwrap(), by: "tester".into() }
}

pub(super) fn put(store: &Store, secret: &str, value: &[u8]) -> u64 {
    let new = NewVersion::of_value(SecretBytes::copy_of(value));
    store
        .change(&Namespace::default(), stamp(1), |change| change.put(&name(secret), new, &Edit::default()))
        .unwrap()
}

pub(super) fn get(store: &Store, secret: &str, version: Option<u64>) -> Result<Vec<u8>, Absent> {
    let now = Timestamp::from_second(2).unwrap();
    let mut reading = store.get(&Namespace::default(), &[(name(secret), version)], now).unwrap();
    reading.answers.remove(0).map(|found| found.fields["value"].expose().to_vec())
}

#[test]
fn versions_come_back() {
    let fixture = Fixture::new();
    assert_eq!(put(&fixture.store, "a", b"one"), 1);
    assert_eq!(put(&fixture.store, "a", b""), 2);
    for store in [&fixture.store, &fixture.reopen(Access::Read), &fixture.reopen(Access::Write)] {
        assert_eq!(get(store, "a", None), Ok(b"".to_vec()));
        assert_eq!(get(store, "a", Some(1)), Ok(b"one".to_vec()));
        assert_eq!(get(store, "a", Some(3)), Err(Absent::Missing));
        assert_eq!(get(store, "b", None), Err(Absent::Missing));
        store.verify().unwrap();
    }
}

#[test]
fn a_reader_sees_what_was_written_before() {
    let fixture = Fixture::new();
    put(&fixture.store, "a", b"one");
    let reader = fixture.reopen(Access::Read);
    let before = reader.pulse().unwrap();
    let default = Namespace::default();
    assert_eq!(reader.unchanged(&default, &[name("a"), name("no")], before).unwrap(), Some(before));
    put(&fixture.store, "b", b"two");
    let after = reader.pulse().unwrap();
    assert!(after > before);
    assert_eq!(reader.unchanged(&default, &[name("a")], before).unwrap(), Some(after));
    assert_eq!(reader.unchanged(&default, &[name("a"), name("b")], before).unwrap(), None);
    assert_eq!(get(&reader, "b", None), Ok(b"two".to_vec()));
}
