//! A backup that takes the place of a store's file while others have it open.

use super::*;

fn value_since(store: &Store, since: u64) -> Option<u64> {
    store.unchanged(&Namespace::default(), &[name("a")], since).unwrap()
}

/// The epochs that come after are other ones than those of the same number before.
#[test]
fn what_was_known_before_a_backup_is_not_known_after_it() {
    let fixture = Fixture::on(BackendKind::File);
    let document = fixture.store.dir().join("store.json");
    let backup = fixture.folder.path().join("backup");
    put(&fixture.store, "a", b"old");
    std::fs::copy(&document, &backup).unwrap();
    put(&fixture.store, "a", b"lost");
    let reader = fixture.reopen(Access::Read);
    reader.recheck().unwrap();
    let seen = reader.pulse().unwrap();
    assert_eq!(value_since(&reader, seen), Some(seen));
    // By another file in its place, as `cp --remove-destination` or `mv` do.
    std::fs::rename(&backup, &document).unwrap();
    reader.recheck().unwrap();
    assert_eq!(get(&reader, "a", None), Ok(b"old".to_vec()));
    put(&fixture.store, "a", b"new");
    reader.recheck().unwrap();
    assert_eq!(value_since(&reader, seen), None, "the same epoch, and another value");
    assert_eq!(get(&reader, "a", None), Ok(b"new".to_vec()));
    verify(&reader).unwrap();
}

/// Also one that is written over it, within the same tick of the clock and of the same length.
#[test]
fn a_document_that_is_written_over_is_read_anew() {
    let fixture = Fixture::on(BackendKind::File);
    let document = fixture.store.dir().join("store.json");
    put(&fixture.store, "a", b"1");
    let reader = fixture.reopen(Access::Read);
    assert_eq!(get(&reader, "a", None), Ok(b"1".to_vec()));
    for round in 0..50 {
        put(&fixture.store, "a", if round % 2 == 0 { b"x" } else { b"y" });
        let wanted = if round % 2 == 0 { b"x" } else { b"y" };
        assert_eq!(get(&reader, "a", None), Ok(wanted.to_vec()), "{round}");
    }
    let whole = std::fs::read(&document).unwrap();
    std::fs::write(&document, b"").unwrap();
    let answer = reader.get(&Namespace::default(), &[(name("a"), None)], Timestamp::UNIX_EPOCH);
    assert!(matches!(answer, Err(StoreError::Corrupt(_))));
    std::fs::write(&document, whole).unwrap();
    assert_eq!(get(&reader, "a", None), Ok(b"y".to_vec()));
}
