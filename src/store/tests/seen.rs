//! What a process remembers of a store saves it work and hides nothing.

use super::*;

fn surely(store: &Store, secret: &str, since: u64) -> Option<u64> {
    store.surely_unchanged(&Namespace::default(), &[name(secret)], since)
}

fn remove(store: &Store, secret: &str) {
    store.change(&Namespace::default(), stamp(1), |change| change.remove(&name(secret))).unwrap();
}

#[test]
fn memory_tells_most_secrets_that_they_are_what_they_were() {
    let fixture = Fixture::new();
    let names: Vec<String> = (0..200).map(|number| format!("s{number}")).collect();
    for secret in &names {
        put(&fixture.store, secret, b"v");
    }
    let reader = fixture.reopen(Access::Read);
    let _ = get(&reader, "s0", None);
    let since = reader.pulse().unwrap();
    assert_eq!(surely(&reader, "s0", since), Some(since), "it was just read");
    put(&fixture.store, "s7", b"new");
    remove(&fixture.store, "s8");
    put(&fixture.store, "late", b"new");
    assert_eq!(surely(&reader, "s0", since), None, "the store moved after the last look");
    reader.recheck().unwrap();
    let now = reader.pulse().unwrap();
    let known = names.iter().filter(|secret| surely(&reader, secret, since) == Some(now)).count();
    assert!(known > 150, "only {known} of 200 need not be asked for");
    for changed in ["s7", "s8", "late"] {
        assert_eq!(surely(&reader, changed, since), None, "{changed} changed");
        assert_eq!(surely(&reader, changed, now), Some(now));
    }
}

/// What was found whole is remembered with what vouched for it: what goes from it later is missed.
#[test]
fn a_row_that_goes_after_it_was_seen_is_missed() {
    let fixture = Fixture::new();
    put(&fixture.store, "a", b"value");
    let missing = |number: usize| get(&fixture.store, &format!("no{number}"), None);
    assert!((0..1_000).all(|number| missing(number) == Err(Absent::Missing)), "much is seen");
    let rows = rusqlite::Connection::open(fixture.store.dir().join("store.db")).unwrap();
    rows.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM secrets").unwrap();
    let now = Timestamp::from_second(2).unwrap();
    let answer = fixture.store.get(&Namespace::default(), &[(name("a"), None)], now);
    assert!(matches!(answer, Err(StoreError::Corrupt(_))), "a removed secret is called missing");
}
