//! The store through its public door, and what happens when its rows are tampered with.

mod backup;
mod clock;
mod gone_back;
mod hostile;
mod keys;
mod migrate;
mod namespaces;
mod replay;
mod salvage;
mod seen;
mod tamper;
mod tamper_file;
mod versions;

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
        Self::on(BackendKind::Sqlite)
    }

    pub(super) fn on(backend: BackendKind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::generate().unwrap();
        key.write(&folder.path().join("key")).unwrap();
        let id = StoreId::generate().unwrap();
        let store = Store::create(&folder.path().join("store"), backend, id, &key, None).unwrap();
        Self { folder, store }
    }

    pub(super) fn sources(&self) -> KeySources {
        KeySources { file: Some(self.folder.path().join("key")), ..KeySources::default() }
    }

    pub(super) fn reopen(&self, access: Access) -> Store {
        Store::open(self.store.dir(), access, &self.sources()).unwrap()
    }
}

/// Runs each of these on both backends.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $test() { super::$test(super::Fixture::on(super::BackendKind::Sqlite)) })+
        }
        mod on_file {
            $(#[test] fn $test() { super::$test(super::Fixture::on(super::BackendKind::File)) })+
        }
    };
}

on_both!(
    versions_come_back,
    a_reader_sees_what_was_written_before,
    absence_has_its_reason,
    one_change_is_all_or_nothing,
    namespaces_do_not_see_each_other,
    many_secrets_come_and_go,
    types_have_their_fields_checked,
    a_replaced_store_is_opened_anew,
    a_dead_writer_is_healed,
    a_reading_is_of_one_commit,
);

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

/// The first thing that is not as it was written.
pub(super) fn verify(store: &Store) -> Result<(), StoreError> {
    match store.inspect()?.damages.into_iter().next() {
        Some(damage) => Err(StoreError::Corrupt(damage.problem)),
        None => Ok(()),
    }
}

fn versions_come_back(fixture: Fixture) {
    assert_eq!(put(&fixture.store, "a", b"one"), 1);
    assert_eq!(put(&fixture.store, "a", b""), 2);
    for store in [&fixture.store, &fixture.reopen(Access::Read), &fixture.reopen(Access::Write)] {
        assert_eq!(get(store, "a", None), Ok(b"".to_vec()));
        assert_eq!(get(store, "a", Some(1)), Ok(b"one".to_vec()));
        assert_eq!(get(store, "a", Some(3)), Err(Absent::Missing));
        assert_eq!(get(store, "b", None), Err(Absent::Missing));
        verify(store).unwrap();
    }
}

fn a_reader_sees_what_was_written_before(fixture: Fixture) {
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

fn absence_has_its_reason(fixture: Fixture) {
    let default = Namespace::default();
    let new = |expires| NewVersion {
        expires_at: Some(Timestamp::from_second(expires).unwrap()),
        ..NewVersion::of_value(SecretBytes::copy_of(b"v"))
    };
    let put = |secret, expires| {
        fixture
            .store
            .change(&default, stamp(1), |change| change.put(&name(secret), new(expires), &Edit::default()))
    };
    put("old", 2).unwrap();
    put("young", 3).unwrap();
    assert_eq!(get(&fixture.store, "old", None), Err(Absent::Expired));
    assert_eq!(get(&fixture.store, "young", None), Ok(b"v".to_vec()));
    assert_eq!(get(&fixture.store, "none", None), Err(Absent::Missing));
}

fn one_change_is_all_or_nothing(fixture: Fixture) {
    let default = Namespace::default();
    put(&fixture.store, "a", b"old");
    let before = fixture.store.pulse();
    let outcome = fixture.store.change(&default, stamp(1), |change| {
        change.put(&name("a"), NewVersion::of_value(SecretBytes::copy_of(b"new")), &Edit::default())?;
        change.put(&name("b"), NewVersion::of_value(SecretBytes::copy_of(b"new")), &Edit::default())?;
        change.remove(&name("none"))
    });
    assert!(matches!(outcome, Err(StoreError::SecretMissing(_))));
    assert_eq!(fixture.store.pulse(), before);
    assert_eq!(get(&fixture.store, "a", None), Ok(b"old".to_vec()));
    assert_eq!(get(&fixture.store, "b", None), Err(Absent::Missing));
    verify(&fixture.store).unwrap();
}

fn namespaces_do_not_see_each_other(fixture: Fixture) {
    let other = Namespace::parse("user:1000").unwrap();
    put(&fixture.store, "a", b"default");
    let now = Timestamp::from_second(2).unwrap();
    let answer = |store: &Store| {
        let mut reading = store.get(&other, &[(name("a"), None)], now).unwrap();
        reading.answers.remove(0).map(|found| found.fields["value"].expose().to_vec())
    };
    assert_eq!(answer(&fixture.store), Err(Absent::Missing));
    assert!(fixture.store.list(&other).unwrap().is_empty());
    let reader = fixture.reopen(Access::Read);
    let new = NewVersion::of_value(SecretBytes::copy_of(b"theirs"));
    fixture.store.change(&other, stamp(1), |change| change.put(&name("a"), new, &Edit::default())).unwrap();
    for store in [&fixture.store, &reader] {
        assert_eq!(answer(store), Ok(b"theirs".to_vec()));
        assert_eq!(get(store, "a", None), Ok(b"default".to_vec()));
    }
    verify(&fixture.store).unwrap();
}

fn many_secrets_come_and_go(fixture: Fixture) {
    let default = Namespace::default();
    let names: Vec<_> = (0..300).map(|number| name(&format!("s{number:03}"))).collect();
    fixture
        .store
        .change(&default, stamp(1), |change| {
            names.iter().try_for_each(|secret| {
                let new = NewVersion::of_value(SecretBytes::copy_of(secret.as_str().as_bytes()));
                change.put(secret, new, &Edit::default()).map(drop)
            })
        })
        .unwrap();
    fixture
        .store
        .change(&default, stamp(1), |change| names[..100].iter().try_for_each(|secret| change.remove(secret)))
        .unwrap();
    let left: Vec<_> = fixture.store.list(&default).unwrap().into_iter().map(|secret| secret.name).collect();
    assert!(left.iter().eq(names[100..].iter().map(SecretName::as_str)));
    assert_eq!(get(&fixture.store, "s050", None), Err(Absent::Missing));
    verify(&fixture.store).unwrap();
}

fn types_have_their_fields_checked(fixture: Fixture) {
    let put = |kind, fields: &[&str]| {
        let fields = fields
            .iter()
            .map(|field| (crate::secret::FieldName::parse(field).unwrap(), SecretBytes::copy_of(b"v")))
            .collect();
        let edit = Edit { kind: Some(kind), ..Edit::default() };
        let new = NewVersion { fields, expires_at: None };
        fixture.store.change(&Namespace::default(), stamp(1), |change| change.put(&name("a"), new, &edit))
    };
    use crate::secret::SecretType::{BasicAuth, Certificate, Custom, Oauth, Plain};
    assert!(put(Plain, &["value"]).is_ok());
    assert!(put(BasicAuth, &["username", "password"]).is_ok());
    assert!(put(Oauth, &["client_id", "client_secret", "access_token"]).is_ok());
    assert!(matches!(put(Certificate, &["cert", "key"]), Err(StoreError::Field(..))));
    assert!(put(Custom, &["anything"]).is_ok());
    for (kind, fields) in
        [(Plain, &["value", "more"][..]), (BasicAuth, &["username"]), (Certificate, &["cert"]), (Custom, &[])]
    {
        assert!(matches!(put(kind, fields), Err(StoreError::Refused(_))), "{kind:?} {fields:?}");
    }
}

fn a_replaced_store_is_opened_anew(fixture: Fixture) {
    put(&fixture.store, "a", b"now");
    let reader = fixture.reopen(Access::Read);
    let before = reader.pulse().unwrap();
    let dir = fixture.store.dir().to_owned();
    let copy = fixture.folder.path().join("copy");
    std::fs::rename(&dir, &copy).unwrap();
    assert!(reader.recheck().is_err(), "gone, and nothing in its place");
    let key = fixture.sources().given().unwrap().unwrap();
    let second =
        Store::create(&dir, fixture.store.backend(), StoreId::generate().unwrap(), &key, None).unwrap();
    put(&second, "a", b"another");
    reader.recheck().unwrap();
    assert_ne!(reader.pulse(), Some(before), "the same epoch of other files is another moment");
    assert_eq!(reader.unchanged(&Namespace::default(), &[name("a")], before).unwrap(), None);
    assert_eq!(get(&reader, "a", None), Ok(b"another".to_vec()));
}

fn a_dead_writer_is_healed(fixture: Fixture) {
    put(&fixture.store, "a", b"one");
    let reader = fixture.reopen(Access::Read);
    let path = fixture.store.dir().join("sequence");
    let epoch = reader.pulse().unwrap();
    // As a writer leaves it that dies before its commit, after it, or long ago; torn; emptied.
    let marks =
        [2 * epoch + 1, 2 * epoch - 1, 2 * epoch + 40, 1].map(|mark: u64| mark.to_le_bytes().to_vec());
    for content in marks.into_iter().chain([vec![1, 2, 3], vec![]]) {
        std::fs::write(&path, &content).unwrap();
        assert_eq!(get(&reader, "a", None), Ok(b"one".to_vec()), "reads do not depend on it");
        fixture.reopen(Access::Write);
        assert_eq!(reader.pulse(), Some(epoch), "{content:?}");
    }
    std::fs::write(&path, (2 * epoch + 1).to_le_bytes()).unwrap();
    assert_eq!(reader.pulse(), None);
    let lock = WriterLock::acquire(&path, PATIENCE).unwrap();
    reader.recheck().unwrap();
    assert_eq!(reader.pulse(), None, "a writer at work is left alone");
    drop(lock);
    reader.recheck().unwrap();
    assert_eq!(reader.pulse(), Some(epoch));
    std::fs::write(&path, (2 * epoch - 2).to_le_bytes()).unwrap();
    reader.recheck().unwrap();
    assert_eq!(reader.pulse(), Some(epoch), "a backup that was put back is noticed");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(reader.pulse(), None);
    reader.recheck().unwrap();
    assert!(reader.pulse().is_some());
}

#[test]
fn what_is_no_sound_store_is_refused_and_left_alone() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new();
    let dir = fixture.store.dir().to_owned();
    let open = || Store::open(&dir, Access::Write, &fixture.sources()).map(drop);
    let key = fixture.sources().given().unwrap().unwrap();
    let create = |dir: &Path| {
        Store::create(dir, fixture.store.backend(), StoreId::generate().unwrap(), &key, None).map(drop)
    };
    assert!(matches!(create(&dir), Err(StoreError::Exists(_))));
    assert!(matches!(create(fixture.folder.path()), Err(StoreError::NotAStore(_))));
    let elsewhere = fixture.folder.path().join("elsewhere");
    assert!(matches!(
        Store::open(&elsewhere, Access::Write, &fixture.sources()).map(drop),
        Err(StoreError::NoStore(_))
    ));
    // No hint to close a folder to which the mistake leads: it may be anything, /etc for one.
    std::fs::set_permissions(fixture.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let elsewhere = Store::open(fixture.folder.path(), Access::Write, &fixture.sources());
    assert!(matches!(elsewhere.map(drop), Err(StoreError::NotAStore(_))));
    for file in ["store.db", "FORMAT", "sequence", ""] {
        let path = dir.join(file);
        let mode = path.metadata().unwrap().permissions();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode.mode() | 0o040)).unwrap();
        let Err(StoreError::Unsafe { mend, .. }) = open() else { panic!("{file} is wide") };
        assert!(mend.starts_with("chmod 0") && mend.contains(file), "{mend}");
        std::fs::set_permissions(&path, mode).unwrap();
    }
    let format = dir.join("FORMAT");
    let was = std::fs::read(&format).unwrap();
    std::fs::write(&format, "secretfs store 2\nbackend sqlite\n").unwrap();
    assert!(matches!(open(), Err(StoreError::Newer { .. })));
    std::fs::write(&format, "something else").unwrap();
    assert!(matches!(open(), Err(StoreError::Corrupt(_))));
    std::fs::remove_file(&format).unwrap();
    assert!(matches!(open(), Err(StoreError::NotAStore(_))));
    assert!(matches!(create(&dir), Err(StoreError::NotAStore(_))));
    std::fs::write(&format, was).unwrap();
    std::fs::set_permissions(&format, PermissionsExt::from_mode(0o600)).unwrap();
    open().unwrap();
    let database = rusqlite::Connection::open(dir.join("store.db")).unwrap();
    let version: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(open(), Err(StoreError::Newer { .. })));
    database.pragma_update(None, "user_version", version).unwrap();
    open().unwrap();
}

/// Two secrets that are always written together are never seen apart, whoever reads meanwhile.
fn a_reading_is_of_one_commit(fixture: Fixture) {
    let default = Namespace::default();
    let write = |round: u32| {
        fixture.store.change(&default, stamp(1), |change| {
            for secret in ["a", "b"] {
                let value = SecretBytes::copy_of(&round.to_le_bytes());
                change.put(&name(secret), NewVersion::of_value(value), &Edit::default())?;
            }
            Ok::<_, StoreError>(())
        })
    };
    write(0).unwrap();
    let reader = fixture.reopen(Access::Read);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let read = |wanted: &[(SecretName, Option<u64>)]| -> Vec<Vec<u8>> {
        let reading = reader.get(&default, wanted, Timestamp::UNIX_EPOCH).unwrap();
        reading.answers.iter().map(|it| it.as_ref().ok().unwrap().fields["value"].expose().to_vec()).collect()
    };
    let (a, b) = ((name("a"), None), (name("b"), None));
    let torn = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut torn = 0;
                    while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                        let together = read(&[a.clone(), b.clone()]);
                        assert_eq!(together[0], together[1]);
                        torn += u32::from(read(std::slice::from_ref(&a)) != read(std::slice::from_ref(&b)));
                    }
                    torn
                })
            })
            .collect();
        (1..200).for_each(|round| write(round).unwrap());
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u32>()
    });
    assert!(torn > 0, "two readings do tear: the test can see it");
}

/// Of the secrets in this database, one's header is void then: for tests elsewhere.
pub(crate) fn spoil_a_header(database: &Path) {
    let spoil = "UPDATE secrets SET header = zeroblob(length(header))
                 WHERE name_mac = (SELECT max(name_mac) FROM secrets)";
    let database = rusqlite::Connection::open(database).unwrap();
    assert_eq!(database.execute(spoil, ()).unwrap(), 1);
}
