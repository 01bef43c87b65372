//! A clock that was set back: order is by numbers, never by times. What expiry goes by is the clock.

use super::*;

fn put_at(store: &Store, second: i64, value: &[u8], expires: Option<i64>) -> u64 {
    let expires_at = expires.map(|at| Timestamp::from_second(at).unwrap());
    let new = NewVersion { expires_at, ..NewVersion::of_value(SecretBytes::copy_of(value)) };
    let put = |change: &mut Change<'_>| change.put(&name("a"), new, &Edit::default());
    store.change(&Namespace::default(), stamp(second), put).unwrap()
}

fn get_at(store: &Store, second: i64) -> Result<Vec<u8>, Absent> {
    let now = Timestamp::from_second(second).unwrap();
    let mut reading = store.get(&Namespace::default(), &[(name("a"), None)], now).unwrap();
    reading.answers.remove(0).map(|found| found.fields["value"].expose().to_vec())
}

#[test]
fn what_is_written_last_is_what_is_read() {
    for backend in BackendKind::ALL {
        let fixture = Fixture::on(backend);
        let reader = fixture.reopen(Access::Read);
        assert_eq!(put_at(&fixture.store, 1_000, b"one", None), 1);
        let before = reader.pulse().unwrap();
        assert_eq!(put_at(&fixture.store, 10, b"two", None), 2);
        assert_eq!(reader.unchanged(&Namespace::default(), &[name("a")], before).unwrap(), None);
        assert_eq!((get_at(&reader, 10), get_at(&reader, 2_000)), (Ok(b"two".into()), Ok(b"two".into())));
        let versions = reader.versions(&Namespace::default(), &name("a")).unwrap().unwrap();
        let times: Vec<_> = versions.iter().map(|it| (it.version, it.created_at.as_second())).collect();
        assert_eq!(times, [(1, 1_000), (2, 10)], "each has the time that it was written at");
        verify(&reader).unwrap();
    }
}

/// Nothing in the store knows the time better than the machine: `doctor` tells that it was set back.
#[test]
fn what_has_expired_comes_back_with_the_time() {
    let fixture = Fixture::new();
    put_at(&fixture.store, 100, b"one", Some(200));
    assert_eq!(get_at(&fixture.store, 199), Ok(b"one".to_vec()));
    assert!(matches!(get_at(&fixture.store, 200), Err(Absent::Expired)));
    assert_eq!(get_at(&fixture.store, 150), Ok(b"one".to_vec()));
}

/// A version of a time to come is not old.
#[test]
fn pruning_by_age_takes_nothing_that_may_be_new() {
    let fixture = Fixture::new();
    for second in [1_000, 2_000, 10] {
        put_at(&fixture.store, second, b"v", None);
    }
    let since = Some(Timestamp::from_second(5).unwrap());
    let keep = Keep { newest: 1, since, pinned: Default::default() };
    let prune = |change: &mut Change<'_>| change.prune(&name("a"), &keep);
    assert_eq!(fixture.store.change(&Namespace::default(), stamp(20), prune).unwrap(), [0; 0]);
}
