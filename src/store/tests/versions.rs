//! The versions of a secret: which one is active, and that those that go are gone.

use std::path::Path;

use super::*;
use crate::secret::{FieldName, SecretType};

fn change<T>(
    store: &Store,
    work: impl FnOnce(&mut Change<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let stamp = Stamp { now: Timestamp::from_second(9).unwrap(), by: "another".into() };
    store.change(&Namespace::default(), stamp, work)
}

/// A secret `a` with the versions 1 to `count`, each with its number as its value.
fn with_versions(count: u64) -> Fixture {
    let fixture = Fixture::new();
    (1..=count).for_each(|version| assert_eq!(put(&fixture.store, "a", &number(version)), version));
    fixture
}

fn number(version: u64) -> Vec<u8> {
    version.to_string().into_bytes()
}

fn there(store: &Store) -> Vec<u64> {
    let versions = store.versions(&Namespace::default(), &name("a")).unwrap().unwrap();
    versions.iter().map(|it| it.version).collect()
}

#[test]
fn an_older_version_comes_back() {
    let fixture = with_versions(3);
    let reader = fixture.reopen(Access::Read);
    let before = reader.pulse().unwrap();
    change(&fixture.store, |it| it.activate(&name("a"), 1)).unwrap();
    let changed = reader.unchanged(&Namespace::default(), &[name("a")], before).unwrap();
    assert_eq!((changed, get(&reader, "a", None)), (None, Ok(number(1))));
    let info = reader.describe(&Namespace::default(), &name("a")).unwrap().unwrap();
    assert_eq!((info.active, info.latest), (1, 3));
    assert_eq!(info.activated_by.as_deref(), Some("another"));
    assert_eq!(info.activated_at, Timestamp::from_second(9).unwrap());
    assert!(matches!(
        change(&fixture.store, |it| it.activate(&name("a"), 4)),
        Err(StoreError::VersionMissing { version: 4, .. })
    ));
    assert_eq!(put(&fixture.store, "a", b"new"), 4, "no number is given twice");
    let info = reader.describe(&Namespace::default(), &name("a")).unwrap().unwrap();
    assert_eq!((get(&reader, "a", None), info.activated_by), (Ok(b"new".to_vec()), None));
    verify(&fixture.store).unwrap();
}

/// Its type comes with it: what is set next is checked by the right one.
#[test]
fn a_version_keeps_its_type() {
    let fixture = with_versions(1);
    let field = |name: &str| (FieldName::parse(name).unwrap(), SecretBytes::copy_of(b"x"));
    let login = NewVersion { fields: [field("username"), field("password")].into(), expires_at: None };
    let edit = Edit { kind: Some(SecretType::BasicAuth), ..Edit::default() };
    change(&fixture.store, |it| it.put(&name("a"), login, &edit)).unwrap();
    let kind = |version| {
        let now = Timestamp::from_second(2).unwrap();
        let mut reading = fixture.store.get(&Namespace::default(), &[(name("a"), version)], now).unwrap();
        reading.answers.remove(0).unwrap().kind
    };
    assert_eq!((kind(Some(1)), kind(None)), (SecretType::Plain, SecretType::BasicAuth));
    change(&fixture.store, |it| it.activate(&name("a"), 1)).unwrap();
    assert_eq!(kind(None), SecretType::Plain);
    assert_eq!(put(&fixture.store, "a", b"plain again"), 3);
}

/// Its expiry comes with it.
#[test]
fn an_expired_version_stays_expired() {
    let fixture = Fixture::new();
    let new = NewVersion {
        expires_at: Some(Timestamp::from_second(2).unwrap()),
        ..NewVersion::of_value(SecretBytes::copy_of(b"old"))
    };
    change(&fixture.store, |it| it.put(&name("a"), new, &Edit::default())).unwrap();
    put(&fixture.store, "a", b"new");
    change(&fixture.store, |it| it.activate(&name("a"), 1)).unwrap();
    assert_eq!(get(&fixture.store, "a", None), Err(Absent::Expired));
    let info = fixture.store.describe(&Namespace::default(), &name("a")).unwrap().unwrap();
    assert!(info.expires_at.is_some());
}

#[test]
fn a_destroyed_version_is_withdrawn() {
    let fixture = with_versions(3);
    let before = fixture.store.pulse();
    let destroy = |version| change(&fixture.store, |it| it.destroy(&name("a"), version));
    assert!(matches!(destroy(3), Err(StoreError::Refused(_))), "the active one");
    assert!(matches!(destroy(4), Err(StoreError::VersionMissing { .. })));
    assert_eq!(fixture.store.pulse(), before);
    destroy(2).unwrap();
    assert!(matches!(destroy(2), Err(StoreError::VersionMissing { .. })));
    assert!(matches!(
        change(&fixture.store, |it| it.activate(&name("a"), 2)),
        Err(StoreError::VersionMissing { .. })
    ));
    for store in [&fixture.store, &fixture.reopen(Access::Read)] {
        assert_eq!(get(store, "a", Some(2)), Err(Absent::Revoked));
        assert_eq!(get(store, "a", Some(1)), Ok(number(1)));
        assert_eq!(there(store), [1, 3]);
        verify(store).unwrap();
    }
}

/// Whoever has kept the row puts it back in vain.
#[test]
fn a_destroyed_version_cannot_be_put_back() {
    let fixture = with_versions(2);
    let database = rusqlite::Connection::open(fixture.store.dir().join("store.db")).unwrap();
    database.execute_batch("CREATE TEMP TABLE kept AS SELECT * FROM versions WHERE version = 1").unwrap();
    change(&fixture.store, |it| it.destroy(&name("a"), 1)).unwrap();
    assert_eq!(database.execute("INSERT INTO versions SELECT * FROM kept", []).unwrap(), 1);
    assert_eq!(get(&fixture.store, "a", Some(1)), Err(Absent::Revoked));
    assert!(fixture.store.versions(&Namespace::default(), &name("a")).is_err());
    assert!(verify(&fixture.store).is_err());
}

#[test]
fn pruning_keeps_what_is_active_new_or_young() {
    let prune = |fixture: &Fixture, newest, since: Option<i64>| {
        let since = since.map(|second| Timestamp::from_second(second).unwrap());
        change(&fixture.store, |it| it.prune(&name("a"), &Keep { newest, since, pinned: Default::default() }))
            .unwrap()
    };
    let fixture = with_versions(6);
    change(&fixture.store, |it| it.activate(&name("a"), 2)).unwrap();
    assert_eq!(prune(&fixture, 6, None), [0; 0]);
    assert_eq!(prune(&fixture, 2, Some(1)), [0; 0], "all came at the second 1");
    assert_eq!(prune(&fixture, 2, Some(2)), [1, 3, 4]);
    assert_eq!(prune(&fixture, 2, None), [0; 0], "there is nothing left to do");
    assert_eq!(there(&fixture.store), [2, 5, 6]);
    assert_eq!(prune(&fixture, 0, None), [5, 6]);
    assert_eq!((there(&fixture.store), get(&fixture.store, "a", None)), (vec![2], Ok(number(2))));
    assert_eq!(put(&fixture.store, "a", b"7"), 7);
    verify(&fixture.store).unwrap();
}

/// The sealed record of a version, as it lies in the database.
fn sealed(store: &Store, secret: &str, version: u64) -> Vec<u8> {
    let rows = store.opened().backend.read().map(|rows| {
        let keys = View::new(&*rows, &store.opened().masters).unwrap().namespace(&Namespace::default());
        let keys = keys.unwrap().unwrap();
        let records = rows.records(&keys.id, &keys.name_mac(secret)).unwrap();
        records.into_iter().find(|(number, _)| *number == version).unwrap().1
    });
    rows.unwrap()
}

/// How many 16-byte pieces of the blobs any file of the store still has.
fn pieces(dir: &Path, blobs: &[Vec<u8>]) -> usize {
    let number = |piece: &[u8]| u128::from_le_bytes(piece.try_into().unwrap());
    let mut pieces: Vec<u128> = blobs.iter().flat_map(|it| it[17..].chunks_exact(16)).map(number).collect();
    pieces.sort_unstable();
    let files = std::fs::read_dir(dir).unwrap().flatten().map(|it| std::fs::read(it.path()).unwrap());
    let has = |piece: &[u8]| pieces.binary_search(&number(piece)).is_ok();
    files.map(|file| file.windows(16).filter(|piece| has(piece)).count()).sum()
}

/// Also where cells moved from one page to another: a cut-off log alone leaves pieces behind.
#[test]
fn the_bytes_of_a_destroyed_version_are_gone_from_the_files() {
    let fixture = Fixture::new();
    let reader = fixture.reopen(Access::Read);
    // Sizes and places in no order, so that pages are rearranged in each way that there is.
    let mixed = |number: u32| number.wrapping_mul(2_654_435_761) >> 16;
    let mut latest = vec![0; 150];
    for batch in 0..45 {
        change(&fixture.store, |it| {
            (20 * batch..20 * batch + 20).try_for_each(|number| {
                let value = SecretBytes::copy_of(&vec![7; 40 << (mixed(number) % 7)]);
                let secret = mixed(number + 5_000) as usize % latest.len();
                let new = NewVersion::of_value(value);
                latest[secret] = it.put(&name(&format!("s{secret}")), new, &Edit::default())?;
                Ok(())
            })
        })
        .unwrap();
    }
    put(&fixture.store, "s0", &[7; 100_000]);
    put(&fixture.store, "s0", b"small again");
    latest[0] += 2;
    let condemned: Vec<(String, u64)> = (0..latest.len())
        .flat_map(|secret| (1..latest[secret]).step_by(2).map(move |version| (format!("s{secret}"), version)))
        .chain([("s0".to_owned(), latest[0] - 1)])
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    let blobs: Vec<_> =
        condemned.iter().map(|(secret, version)| sealed(&fixture.store, secret, *version)).collect();
    let (dir, kept) = (fixture.store.dir(), sealed(&fixture.store, "s0", latest[0]));
    assert!(pieces(dir, &blobs) > 100 + 100_000 / 16, "control: they are there");
    change(&fixture.store, |it| {
        condemned.iter().try_for_each(|(secret, version)| it.destroy(&name(secret), *version))
    })
    .unwrap();
    assert!(pieces(dir, &blobs) > 0, "control: the log still has them");
    assert!(fixture.store.scrub(Scrub::Files).unwrap());
    assert_eq!(pieces(dir, &blobs), 0, "of {} versions", condemned.len());
    assert!(pieces(dir, &[kept]) > 0, "control: what is not destroyed is found");
    assert_eq!(get(&reader, "s0", None), Ok(b"small again".to_vec()));
    verify(&fixture.store).unwrap();
}
