//! The rotation of keys: nobody who reads notices, and nothing is left under an old key.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

const COUNT: usize = 450;

fn filled() -> Fixture {
    filled_on(BackendKind::Sqlite)
}

fn filled_on(backend: BackendKind) -> Fixture {
    let fixture = Fixture::on(backend);
    for round in 1..=2 {
        fixture
            .store
            .change(&Namespace::default(), stamp(round), |change| {
                (0..COUNT).try_for_each(|number| {
                    let value = SecretBytes::copy_of(format!("{number} {round}").as_bytes());
                    let secret = name(&format!("s{number}"));
                    change.put(&secret, NewVersion::of_value(value), &Edit::default()).map(drop)
                })
            })
            .unwrap();
    }
    fixture
}

#[track_caller]
fn assert_all_there(store: &Store) {
    for number in 0..COUNT {
        for (version, round) in [(Some(1), 1), (Some(2), 2), (None, 2)] {
            let value = format!("{number} {round}").into_bytes();
            assert_eq!(get(store, &format!("s{number}"), version), Ok(value));
        }
    }
}

fn rotate(store: &Store) -> Result<usize, StoreError> {
    store.rotate_key(&Namespace::default(), &stamp(3), &mut |_| {})
}

/// The data keys of the default namespace: their ids, and how many secrets each seals.
fn keys(store: &Store) -> Vec<(String, bool, usize)> {
    let status = store.key_status().unwrap();
    status.namespaces[0].keys.iter().map(|key| (key.id.clone(), key.active, key.secrets)).collect()
}

#[test]
fn all_is_sealed_anew_and_nothing_has_changed() {
    [BackendKind::Sqlite, BackendKind::File].into_iter().for_each(|it| rotate_all(filled_on(it)));
}

fn rotate_all(fixture: Fixture) {
    let reader = fixture.reopen(Access::Read);
    assert_all_there(&reader);
    let old = keys(&reader);
    let before = reader.pulse().unwrap();
    let mut batches = Vec::new();
    let total = fixture.store.rotate_key(&Namespace::default(), &stamp(3), &mut |it| batches.push(it));
    assert_eq!((total.unwrap(), batches), (COUNT, vec![200, 200, 50]));
    let new = keys(&reader);
    assert!(new.len() == 1 && new[0].0 != old[0].0 && (new[0].1, new[0].2) == (true, COUNT), "{new:?}");
    let names: Vec<_> = (0..COUNT).map(|number| name(&format!("s{number}"))).chain([name("none")]).collect();
    assert!(reader.unchanged(&Namespace::default(), &names, before).unwrap().is_some(), "no need to look");
    for store in [&reader, &fixture.store, &fixture.reopen(Access::Write)] {
        assert_all_there(store);
        verify(store).unwrap();
    }
}

#[test]
fn what_was_broken_off_goes_on() {
    [BackendKind::Sqlite, BackendKind::File].into_iter().for_each(|it| break_off(filled_on(it)));
}

fn break_off(fixture: Fixture) {
    let broken = catch_unwind(AssertUnwindSafe(|| {
        let mut batches = 0;
        fixture.store.rotate_key(&Namespace::default(), &stamp(3), &mut |_| {
            batches += 1;
            assert!(batches < 2, "the power goes");
        })
    }));
    assert!(broken.is_err());
    let store = fixture.reopen(Access::Write);
    let halfway = keys(&store);
    assert_eq!(halfway.iter().map(|key| (key.1, key.2)).collect::<Vec<_>>(), [(true, 400), (false, 50)]);
    assert_all_there(&store);
    verify(&store).unwrap();
    // A secret that is written meanwhile is taken along with its older versions.
    let (old, _) = (0..COUNT).map(|number| (number, 0)).next_back().unwrap();
    put(&store, &format!("s{old}"), format!("{old} 2").as_bytes());
    let left = rotate(&store).unwrap();
    assert!((49..=50).contains(&left), "{left}");
    assert_eq!(keys(&store), [(halfway[0].0.clone(), true, COUNT)], "the same new key");
    assert_all_there(&fixture.reopen(Access::Read));
    verify(&store).unwrap();
}

/// A key goes only once nothing is found under it.
#[test]
fn a_key_that_is_still_needed_stays() {
    let fixture = Fixture::new();
    put(&fixture.store, "a", b"one");
    put(&fixture.store, "a", b"two");
    let database = rusqlite::Connection::open(fixture.store.dir().join("store.db")).unwrap();
    database.execute_batch("CREATE TEMP TABLE kept AS SELECT * FROM versions WHERE version = 1").unwrap();
    // Somebody brings the old row back each time it is about to be checked.
    let outcome = fixture.store.rotate_key(&Namespace::default(), &stamp(3), &mut |_| {
        assert_eq!(database.execute("REPLACE INTO versions SELECT * FROM kept", []).unwrap(), 1);
    });
    assert!(matches!(outcome, Err(StoreError::Corrupt(_))));
    assert_eq!(keys(&fixture.store).len(), 2);
    let old = fixture.store.get(&Namespace::default(), &[(name("a"), Some(1))], Timestamp::UNIX_EPOCH);
    assert!(matches!(old, Err(StoreError::Corrupt(_))), "it is not the one that was sealed anew");
    assert_eq!(get(&fixture.store, "a", None), Ok(b"two".to_vec()));
}

#[test]
fn readers_go_on_while_keys_change() {
    let fixture = filled();
    let reader = fixture.reopen(Access::Read);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut rounds = 0;
                    while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                        reader.recheck().unwrap();
                        for number in (0..COUNT).step_by(37) {
                            let value = format!("{number} 2").into_bytes();
                            assert_eq!(get(&reader, &format!("s{number}"), None), Ok(value));
                        }
                        rounds += 1;
                    }
                    rounds
                })
            })
            .collect();
        (0..3).for_each(|_| assert_eq!(rotate(&fixture.store).unwrap(), COUNT));
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(readers.into_iter().all(|it| it.join().unwrap() > 3));
    });
}

#[test]
fn another_master_key_opens_the_same() {
    [BackendKind::Sqlite, BackendKind::File].into_iter().for_each(|it| change_master(filled_on(it)));
}

fn change_master(fixture: Fixture) {
    let folder = fixture.folder.path().join("keys");
    let sources = KeySources { folder: Some(folder.clone()), ..fixture.sources() };
    let open = |sources: &KeySources| Store::open(fixture.store.dir(), Access::Write, sources);
    let (reader, other) = (open(&sources).unwrap(), open(&fixture.sources()).unwrap());
    assert_all_there(&reader);
    let before = reader.pulse().unwrap();
    let new = MasterKey::generate().unwrap();
    new.write(&sources.next_file(&reader.id().unwrap(), &new).unwrap()).unwrap();
    fixture.store.change_master(&new, None).unwrap();
    // Whoever finds the new key goes on; whoever does not says that it lacks a key.
    assert_all_there(&reader);
    assert!(reader.pulse().unwrap() != before);
    let now = Timestamp::from_second(2).unwrap();
    let refused = other.get(&Namespace::default(), &[(name("s1"), None)], now);
    assert!(matches!(refused.map(drop), Err(StoreError::Sealed(_))));
    assert!(matches!(open(&fixture.sources()).map(drop), Err(StoreError::Sealed(_))), "the old key");
    let reopened = open(&sources).unwrap();
    put(&reopened, "new", b"value");
    assert_eq!(get(&reader, "new", None), Ok(b"value".to_vec()));
    assert_eq!(reopened.key_status().unwrap().master, new.id());
    rotate(&reopened).unwrap();
    assert_all_there(&reader);
    verify(&reader).unwrap();
}

/// The disk gives back something else than what was written: the store keeps the key it had.
#[test]
fn a_wrapping_that_does_not_open_is_put_back() {
    let fixture = Fixture::new();
    put(&fixture.store, "a", b"one");
    let before = fixture.store.pulse().unwrap();
    let new = Arc::new(Masters::derive(&MasterKey::generate().unwrap().0));
    let outcome = fixture.store.alone(|opened, lock| {
        let wrap = |opened: &Opened, rows: &dyn Write| master::rewrap(rows, &opened.masters, &new);
        let before = fixture.store.transact(opened, lock, wrap)?;
        fixture.store.reopen_with(Some(new.clone()))?;
        fixture.store.check_opens()?;
        let database = rusqlite::Connection::open(fixture.store.dir().join("store.db")).unwrap();
        assert_eq!(database.execute("UPDATE keys SET wrapped = zeroblob(100)", []).unwrap(), 2);
        assert!(matches!(fixture.store.check_opens(), Err(StoreError::Corrupt(_))));
        fixture.store.put_back(opened, lock, &before)
    });
    outcome.unwrap();
    for store in [&fixture.store, &fixture.reopen(Access::Write)] {
        assert_eq!(get(store, "a", None), Ok(b"one".to_vec()));
        assert!(store.inspect().unwrap().damages.is_empty());
    }
    assert!(fixture.store.pulse().unwrap() > before);
    put(&fixture.store, "a", b"two");
}

/// Each joins the rotation of another, or begins one when that has ended; none takes what the other
/// does for damage.
#[test]
fn several_may_rotate_at_once() {
    let fixture = filled();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let store = fixture.reopen(Access::Write);
            scope.spawn(move || (0..4).for_each(|_| assert!(rotate(&store).is_ok())));
        }
    });
    assert_eq!(keys(&fixture.store).len(), 1);
    assert_all_there(&fixture.store);
    verify(&fixture.store).unwrap();
}

/// A namespace that is removed while its keys rotate does not come back.
#[test]
fn a_rotation_makes_no_namespace() {
    let fixture = Fixture::new();
    let gone = Namespace::parse("gone").unwrap();
    let refused = fixture.store.rotate_key(&gone, &stamp(1), &mut |_| {});
    assert!(matches!(refused, Err(StoreError::NamespaceMissing(_))));
    assert!(!fixture.store.namespaces().unwrap().contains(&gone));
}
