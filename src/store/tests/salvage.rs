//! What a damaged store still has: told for each thing by itself, and saved.

use super::*;

fn filled() -> Fixture {
    let fixture = Fixture::new();
    for secret in ["a", "b", "c/d"] {
        put(&fixture.store, secret, b"first");
        put(&fixture.store, secret, b"second");
    }
    let other = Namespace::parse("other").unwrap();
    let new = NewVersion::of_value(SecretBytes::copy_of(b"theirs"));
    fixture.store.change(&other, stamp(1), |change| change.put(&name("a"), new, &Edit::default())).unwrap();
    fixture
}

fn damage(fixture: &Fixture, sql: &str) {
    let database = rusqlite::Connection::open(fixture.store.dir().join("store.db")).unwrap();
    database.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    assert!(database.execute(sql, []).unwrap() > 0, "{sql}");
}

fn mac(fixture: &Fixture, secret: &str) -> String {
    let keys = fixture.store.in_namespace(&Namespace::default(), |_, keys| Ok(keys.name_mac(secret)));
    change::hex(&keys.unwrap().unwrap())
}

/// The sound secrets and versions, and what is said of the others.
fn inspected(store: &Store) -> (usize, usize, Vec<String>) {
    let found = store.inspect().unwrap();
    let told = found.damages.iter().map(|it| {
        format!("{:?} {:?} {:?}", it.namespace.as_deref(), it.secret.as_deref(), it.version)
            .replace("Some", "")
    });
    (found.secrets, found.versions, told.collect())
}

fn saved(fixture: &Fixture) -> (Store, Inspection) {
    let dir = fixture.folder.path().join("saved");
    let found = fixture.store.save_into(&dir, &stamp(9)).unwrap();
    let store = Store::open(&dir, Access::Write, &fixture.sources()).unwrap();
    verify(&store).unwrap();
    (store, found)
}

#[test]
fn a_sound_store_is_saved_as_it_is() {
    let fixture = filled();
    fixture.store.change(&Namespace::default(), stamp(5), |change| change.destroy(&name("b"), 1)).unwrap();
    assert_eq!(inspected(&fixture.store), (4, 6, vec![]));
    let (store, found) = saved(&fixture);
    assert_eq!((found.namespaces, found.secrets, found.versions), (2, 4, 6));
    assert_eq!(store.id().unwrap(), fixture.store.id().unwrap());
    for namespace in fixture.store.namespaces().unwrap() {
        let json = |store: &Store| serde_json::to_string(&store.list(&namespace).unwrap()).unwrap();
        assert_eq!(json(&store), json(&fixture.store));
        for secret in fixture.store.list(&namespace).unwrap() {
            let versions = |store: &Store| {
                serde_json::to_string(&store.versions(&namespace, &name(&secret.name)).unwrap()).unwrap()
            };
            assert_eq!(versions(&store), versions(&fixture.store));
        }
    }
    assert_eq!(get(&store, "a", None), Ok(b"second".to_vec()));
    assert_eq!(get(&store, "b", Some(1)), Err(Absent::Revoked));
    assert_eq!(put(&store, "a", b"third"), 3);
}

#[test]
fn a_damaged_version_is_told_and_the_others_are_saved() {
    let fixture = filled();
    let b = mac(&fixture, "b");
    damage(
        &fixture,
        &format!("UPDATE versions SET record = zeroblob(100) WHERE name_mac = x'{b}' AND version = 1"),
    );
    assert_eq!(inspected(&fixture.store), (4, 6, vec!["(\"default\") (\"b\") (1)".to_owned()]));
    let (store, _) = saved(&fixture);
    assert_eq!(get(&store, "b", None), Ok(b"second".to_vec()));
    assert_eq!(get(&store, "b", Some(1)), Err(Absent::Revoked));
}

/// An older value is never handed out in the place of the one that is lost.
#[test]
fn a_secret_without_its_active_version_is_saved_disabled() {
    let fixture = filled();
    let b = mac(&fixture, "b");
    damage(&fixture, &format!("DELETE FROM versions WHERE name_mac = x'{b}' AND version = 2"));
    let (store, found) = saved(&fixture);
    assert_eq!(found.damages.len(), 1);
    assert_eq!(get(&store, "b", None), Err(Absent::Revoked));
    let info = store.describe(&Namespace::default(), &name("b")).unwrap().unwrap();
    assert_eq!((info.disabled, info.active, info.latest), (true, 1, 2));
    put(&store, "b", b"third");
    assert_eq!(get(&store, "a", None), Ok(b"second".to_vec()));
}

/// The header decides, whatever its row says beside it.
#[test]
fn a_damaged_copy_of_the_active_version_costs_nothing() {
    let fixture = filled();
    damage(&fixture, &format!("UPDATE secrets SET active = 1 WHERE name_mac = x'{}'", mac(&fixture, "b")));
    assert!(fixture.store.describe(&Namespace::default(), &name("b")).is_err());
    assert_eq!(inspected(&fixture.store), (4, 7, vec!["(\"default\") (\"b\") None".to_owned()]));
    let (store, found) = saved(&fixture);
    assert!(!found.damages[0].lost, "{:?}", found.damages);
    assert_eq!(get(&store, "b", None), Ok(b"second".to_vec()));
    assert_eq!(get(&store, "b", Some(1)), Ok(b"first".to_vec()));
}

#[test]
fn a_namespace_without_secrets_is_saved() {
    let fixture = filled();
    fixture.store.create_namespace(&Namespace::parse("empty").unwrap(), stamp(1)).unwrap();
    let (store, found) = saved(&fixture);
    assert_eq!(found.namespaces, 3);
    assert_eq!(store.namespaces().unwrap(), fixture.store.namespaces().unwrap());
}

#[test]
fn what_is_used_is_saved_with_its_count() {
    let fixture = filled();
    let uses = |store: &Store| {
        let mut all = store.list(&Namespace::default()).unwrap();
        store.tell_uses(&mut all);
        all.iter().map(|it| it.used.map(|used| used.count)).collect::<Vec<_>>()
    };
    let reading = fixture.store.get(&Namespace::default(), &[(name("b"), None)], Timestamp::now());
    let answer = reading.unwrap().answers.pop().unwrap();
    answer.as_ref().unwrap().uses.as_ref().unwrap().count(Timestamp::now());
    fixture.store.flush_uses().unwrap();
    let (store, _) = saved(&fixture);
    assert_eq!(uses(&store), [Some(0), Some(1), Some(0)]);
    assert_eq!(uses(&fixture.store), uses(&store));
}

/// `sound` are the numbers of secrets that may be left.
#[track_caller]
fn assert_told(fixture: &Fixture, sql: &str, sound: &[usize]) {
    damage(fixture, sql);
    let found = fixture.store.inspect().unwrap();
    assert!(found.damages.iter().any(|it| it.lost) && verify(&fixture.store).is_err());
    assert!(sound.contains(&found.secrets), "{found:?}");
    let (store, again) = saved(fixture);
    assert_eq!((again.secrets, store.inspect().unwrap().secrets), (found.secrets, found.secrets));
}

#[test]
fn whatever_is_removed_or_swapped_is_told() {
    let fixture = filled();
    assert_told(&fixture, &format!("DELETE FROM secrets WHERE name_mac = x'{}'", mac(&fixture, "a")), &[3]);
    let fixture = filled();
    let header = format!("SELECT header FROM secrets WHERE name_mac = x'{}'", mac(&fixture, "a"));
    let swap = format!("UPDATE secrets SET header = ({header}) WHERE name_mac = x'{}'", mac(&fixture, "b"));
    assert_told(&fixture, &swap, &[3]);
    assert_told(&filled(), "DELETE FROM nodes", &[4]);
    let one = "SELECT namespace FROM keys ORDER BY kid LIMIT 1";
    assert_told(&filled(), &format!("DELETE FROM keys WHERE namespace = ({one})"), &[1, 3]);
    assert_told(&filled(), "UPDATE keys SET commitment = zeroblob(32)", &[0]);
}

/// Pages of the file itself: what is on the others is found.
#[test]
fn a_file_with_holes_gives_what_it_has() {
    let fixture = Fixture::new();
    (0..400).for_each(|number| {
        put(&fixture.store, &format!("s{number}"), &[7; 300]);
    });
    fixture.store.scrub(Scrub::Files).unwrap();
    let path = fixture.store.dir().join("store.db");
    let whole = std::fs::read(&path).unwrap();
    let (mut told, mut partly) = (0, 0);
    for page in (8..whole.len() / 4096).step_by(5) {
        let mut holed = whole.clone();
        holed[page * 4096..page * 4096 + 4096].fill(0xa5);
        std::fs::write(&path, &holed).unwrap();
        let Ok(store) = Store::open(fixture.store.dir(), Access::Read, &fixture.sources()) else { continue };
        if let Ok(found) = store.inspect() {
            told += usize::from(!found.damages.is_empty());
            partly += usize::from(!found.damages.is_empty() && found.secrets > 0);
            assert!(found.secrets < 400 || !found.damages.is_empty() || found.versions == 400);
        }
    }
    assert!(told > 3 && partly > 3, "{told} {partly}");
}

/// A byte of any column of the root, or all of it: the identity that `FORMAT` has and the key do.
#[test]
fn a_damaged_root_costs_nothing_else() {
    for column in ["store", "key", "keyring", "seal"] {
        let flip = format!("UPDATE root SET {column} = zeroblob(length({column}))");
        saves_all_without_its_root(&filled(), &flip);
    }
    for column in ["epoch", "keyring_epoch"] {
        saves_all_without_its_root(&filled(), &format!("UPDATE root SET {column} = {column} + 1"));
    }
    saves_all_without_its_root(&filled(), "UPDATE root SET key = zeroblob(16), seal = zeroblob(32)");
    saves_all_without_its_root(&filled(), "DELETE FROM root");
}

fn saves_all_without_its_root(fixture: &Fixture, sql: &str) {
    damage(fixture, sql);
    let open = |access| Store::open(fixture.store.dir(), access, &fixture.sources());
    assert!(open(Access::Read).is_err() && open(Access::Write).is_err(), "{sql}");
    let store = Store::open_damaged(fixture.store.dir(), &fixture.sources()).unwrap();
    let (secrets, versions, told) = inspected(&store);
    assert_eq!((secrets, versions, told.len()), (4, 7, 1), "{sql}: {told:?}");
    let dir = fixture.folder.path().join("saved");
    store.save_into(&dir, &stamp(9)).unwrap();
    let saved = Store::open(&dir, Access::Write, &fixture.sources()).unwrap();
    verify(&saved).unwrap();
    assert_eq!(get(&saved, "c/d", Some(1)), Ok(b"first".to_vec()));
    // With another key it is not opened at all.
    let other = fixture.folder.path().join("other.key");
    MasterKey::generate().unwrap().write(&other).unwrap();
    let sources = KeySources { file: Some(other), ..KeySources::default() };
    assert!(matches!(
        Store::open_damaged(fixture.store.dir(), &sources).map(drop),
        Err(StoreError::Sealed(_))
    ));
}
