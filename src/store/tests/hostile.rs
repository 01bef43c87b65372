//! What the database of a store can be made to do by whoever can write it and has no key: tables that
//! are put back in part, indexes and views and triggers that we did not make, records of a time when
//! the store went on otherwise. Values that were there once do not come back.

use rusqlite::{Connection, params};

use super::replay::ask;
use super::*;

fn space(text: &str) -> Namespace {
    Namespace::parse(text).unwrap()
}

fn put_in(store: &Store, namespace: &Namespace, secret: &str, value: &str) {
    let new = NewVersion::of_value(SecretBytes::copy_of(value.as_bytes()));
    store.change(namespace, stamp(1), |change| change.put(&name(secret), new, &Edit::default())).unwrap();
}

/// The tables as they are now can be had from `was` later.
fn attacker(store: &Store) -> Connection {
    let db = Connection::open(store.dir().join("store.db")).unwrap();
    db.execute_batch("PRAGMA foreign_keys = OFF; ATTACH ':memory:' AS was").unwrap();
    for table in ["root", "namespaces", "keys", "nodes", "secrets", "versions"] {
        db.execute_batch(&format!("CREATE TABLE was.{table} AS SELECT * FROM main.{table}")).unwrap();
    }
    db
}

fn put_back(db: &Connection, tables: &[&str]) {
    for table in tables {
        let sql = format!("DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM was.{table}");
        db.execute_batch(&sql).unwrap();
    }
}

fn add_what_was(db: &Connection, tables: &[&str]) {
    for table in tables {
        let sql = format!("INSERT OR IGNORE INTO main.{table} SELECT * FROM was.{table}");
        db.execute_batch(&sql).unwrap();
    }
}

#[track_caller]
fn refuses(store: &Store, namespace: &Namespace, secret: &str) {
    let said = ask(store, namespace, secret, None);
    assert!(matches!(said, Err(StoreError::Corrupt(_))), "{said:?}");
}

/// Its keys must not be remembered by who has seen it come back for a moment.
#[test]
fn a_removed_namespace_stays_removed() {
    for is_made_anew in [false, true] {
        let fixture = Fixture::new();
        let prod = space("prod");
        put_in(&fixture.store, &prod, "a", "revoked");
        let db = attacker(&fixture.store);
        fixture.store.remove_namespace(&prod).unwrap();
        if is_made_anew {
            put_in(&fixture.store, &prod, "b", "fresh");
        }
        let reader = fixture.reopen(Access::Read);
        let now = attacker(&fixture.store);
        put_back(&db, &["namespaces"]);
        add_what_was(&db, &["keys", "nodes", "secrets", "versions"]);
        refuses(&reader, &prod, "a");
        put_back(&now, &["namespaces", "keys"]);
        for store in [&reader, &fixture.reopen(Access::Read)] {
            assert_ne!(ask(store, &prod, "a", None), Ok(Ok("revoked".into())), "{is_made_anew}");
        }
    }
}

/// Neither for who finds it by an index that has other rows than the one that all are listed by.
#[test]
fn an_index_of_the_attacker_brings_no_namespace_back() {
    let fixture = Fixture::new();
    let prod = space("prod");
    put_in(&fixture.store, &prod, "a", "revoked");
    let db = attacker(&fixture.store);
    fixture.store.remove_namespace(&prod).unwrap();
    add_what_was(&db, &["keys", "nodes", "secrets", "versions"]);
    let index = |table: &str, columns: &str| {
        let sql = format!("CREATE INDEX x ON {table}({columns})");
        let set = "UPDATE main.sqlite_schema SET tbl_name = ?1, sql = ?2 WHERE name = 'x'";
        db.execute_batch("PRAGMA writable_schema = ON").unwrap();
        db.execute(set, [table, &sql]).unwrap();
        db.execute_batch("PRAGMA writable_schema = RESET").unwrap();
    };
    db.execute_batch("CREATE INDEX x ON namespaces(namespace, name_mac, name)").unwrap();
    index("keys", "namespace, kid, wrapped");
    add_what_was(&db, &["namespaces"]);
    index("namespaces", "namespace, name_mac, name");
    let rows = |sql: &str| {
        let mut statement = db.prepare(sql).unwrap();
        statement
            .query_map([], |row| row.get::<_, Vec<u8>>(1))
            .unwrap()
            .collect::<Result<Vec<_>, _>>()
            .unwrap()
    };
    let listed = rows("SELECT namespace, name_mac, name FROM namespaces");
    let there = rows("SELECT * FROM was.namespaces");
    assert_eq!((listed.len(), there.len()), (1, 2), "those that are listed are not all");
    let gone = there.into_iter().find(|name| !listed.contains(name)).unwrap();
    let finds = "SELECT namespace FROM main.namespaces WHERE name_mac = ?1";
    db.query_row(finds, [gone], |_| Ok(())).expect("and yet it is found");
    let said = ask(&fixture.reopen(Access::Read), &prod, "a", None);
    assert_ne!(said, Ok(Ok("revoked".into())));
}

#[test]
fn triggers_and_views_do_nothing() {
    let changed = || {
        let fixture = Fixture::new();
        put(&fixture.store, "a", b"old");
        let db = attacker(&fixture.store);
        put(&fixture.store, "a", b"new");
        put_in(&fixture.store, &space("other"), "x", "1");
        db.execute_batch(
            "CREATE TABLE old_nodes AS SELECT * FROM was.nodes; CREATE TABLE old_secrets AS SELECT * FROM was.secrets",
        )
        .unwrap();
        (fixture, db)
    };
    let default = Namespace::default();
    let (fixture, db) = changed();
    db.execute_batch(
        "CREATE TRIGGER t AFTER INSERT ON keys BEGIN
           INSERT OR REPLACE INTO nodes SELECT * FROM old_nodes;
           INSERT OR REPLACE INTO secrets SELECT * FROM old_secrets;
           DELETE FROM versions WHERE version = 2;
         END",
    )
    .unwrap();
    fixture.store.rotate_key(&space("other"), &stamp(1), &mut |_| {}).unwrap();
    assert_eq!(ask(&fixture.reopen(Access::Read), &default, "a", None), Ok(Ok("new".into())));
    let (fixture, db) = changed();
    db.execute_batch(
        "DELETE FROM secrets; INSERT INTO secrets SELECT * FROM old_secrets; DELETE FROM versions WHERE version = 2;
         ALTER TABLE nodes RENAME TO new_nodes;
         CREATE TABLE all_nodes AS SELECT * FROM old_nodes UNION ALL SELECT * FROM new_nodes WHERE number = 64;
         CREATE VIEW nodes AS SELECT namespace, number, seal FROM all_nodes ORDER BY random()",
    )
    .unwrap();
    for _ in 0..20 {
        assert!(ask(&fixture.reopen(Access::Read), &default, "a", None).is_err());
    }
}

/// Tables that are as they were for a moment leave nothing behind.
#[test]
fn a_sound_store_is_sound_again() {
    let fixture = Fixture::new();
    let default = Namespace::default();
    put(&fixture.store, "a", b"v");
    let db = attacker(&fixture.store);
    fixture.store.rotate_key(&default, &stamp(1), &mut |_| {}).unwrap();
    let reader = fixture.reopen(Access::Read);
    let now = attacker(&fixture.store);
    put_back(&db, &["keys"]);
    refuses(&reader, &default, "a");
    put_back(&now, &["keys"]);
    assert_eq!(ask(&reader, &default, "a", None), Ok(Ok("v".into())));
}

/// Whoever puts the old wrapping of the keys back vouches for that, and for nothing beside it.
#[test]
fn what_comes_while_a_master_key_is_put_back_is_not_vouched_for() {
    let fixture = Fixture::new();
    put(&fixture.store, "a", b"old");
    let db = attacker(&fixture.store);
    put(&fixture.store, "a", b"new");
    let new = Masters::derive(&MasterKey::generate().unwrap().0);
    let outcome = fixture.store.alone(|opened, lock| {
        let rewrap = |opened: &Opened, rows: &dyn Write| master::rewrap(rows, &opened.masters, &new);
        let before = fixture.store.transact(opened, lock, rewrap)?;
        put_back(&db, &["nodes", "secrets", "versions"]);
        fixture.store.put_back(opened, lock, &before)
    });
    assert!(matches!(outcome, Err(StoreError::Corrupt(_))), "{outcome:?}");
}

/// A record of the same number, of a store that went on otherwise after it was restored.
#[test]
fn a_record_of_another_history_is_found() {
    let fixture = Fixture::new();
    let default = Namespace::default();
    put(&fixture.store, "a", b"one");
    let backup = fixture.folder.path().join("backup");
    fixture.store.back_up(&backup, &mut |_| {}).unwrap();
    put(&fixture.store, "a", b"leaked");
    let db = Connection::open(fixture.store.dir().join("store.db")).unwrap();
    let sql = "SELECT namespace, name_mac, record FROM versions WHERE version = 2";
    let blob = |row: &rusqlite::Row<'_>, at| row.get::<_, Vec<u8>>(at);
    let leaked = db.query_row(sql, [], |row| Ok((blob(row, 0)?, blob(row, 1)?, blob(row, 2)?))).unwrap();
    let dir = fixture.folder.path().join("restored");
    Store::restore(&backup, &dir, None, &fixture.sources()).unwrap();
    let restored = Store::open(&dir, Access::Write, &fixture.sources()).unwrap();
    let db = Connection::open(dir.join("store.db")).unwrap();
    let lay = || {
        let sql = "INSERT OR REPLACE INTO versions VALUES (?1, ?2, 2, ?3)";
        db.execute(sql, params![leaked.0, leaked.1, leaked.2]).unwrap();
    };
    lay();
    assert_eq!(ask(&restored, &default, "a", Some(2)), Ok(Err(Absent::Missing)), "there is no version 2 yet");
    db.execute("DELETE FROM versions WHERE version = 2", []).unwrap();
    put(&restored, "a", b"fresh");
    assert_eq!(ask(&restored, &default, "a", None), Ok(Ok("fresh".into())));
    lay();
    refuses(&restored, &default, "a");
    assert!(verify(&restored).is_err());
    assert!(restored.rotate_key(&default, &stamp(1), &mut |_| {}).is_err(), "it is not sealed anew, either");
}

/// What is known of a namespace is not known of another one of that name.
#[test]
fn a_namespace_made_anew_is_another_one() {
    for backend in BackendKind::ALL {
        for is_empty in [false, true] {
            let fixture = Fixture::on(backend);
            let prod = space("prod");
            put_in(&fixture.store, &prod, "a", "old");
            let reader = fixture.reopen(Access::Read);
            assert_eq!(ask(&reader, &prod, "a", None), Ok(Ok("old".into())));
            let since = reader.pulse().unwrap();
            fixture.store.remove_namespace(&prod).unwrap();
            match is_empty {
                true => fixture.store.create_namespace(&prod, stamp(1)).unwrap(),
                false => put_in(&fixture.store, &prod, "zzz", "other"),
            }
            assert_eq!(reader.unchanged(&prod, &[name("a")], since).unwrap(), None);
            assert_eq!(reader.all_unchanged(&prod, since).unwrap(), None);
            reader.recheck().unwrap();
            assert_eq!(reader.surely_unchanged(&prod, &[name("a")], since), None);
        }
    }
}

/// A store that is put back in its place and goes on otherwise, to a commit of the same number.
#[test]
fn the_same_epoch_of_another_history_is_another_one() {
    let fixture = Fixture::new();
    let default = Namespace::default();
    put(&fixture.store, "a", b"one");
    let db = attacker(&fixture.store);
    put(&fixture.store, "a", b"two");
    let reader = fixture.reopen(Access::Read);
    assert_eq!(ask(&reader, &default, "a", None), Ok(Ok("two".into())));
    reader.recheck().unwrap();
    let since = reader.pulse().unwrap();
    put_back(&db, &["root", "nodes", "secrets", "versions"]);
    put(&fixture.reopen(Access::Write), "b", b"x");
    assert_eq!(ask(&reader, &default, "a", None), Ok(Ok("one".into())));
    reader.recheck().unwrap();
    assert_eq!(reader.surely_unchanged(&default, &[name("a")], since), None);
    assert_eq!(reader.unchanged(&default, &[name("a")], since).unwrap(), None);
}
