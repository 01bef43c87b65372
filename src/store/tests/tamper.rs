//! Whoever can write to the store's files, by malice or by a failing disk, gets an error: never
//! another value, never "there is no such secret", never a panic.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::*;

/// What the store of these tests holds: secrets with the values of their versions.
const CONTENT: [(&str, &[&[u8]]); 3] = [("a", &[b"first", b"second"]), ("b", &[b"other"]), ("c/d", &[b""])];

fn filled() -> Fixture {
    filled_on(BackendKind::Sqlite)
}

pub(super) fn filled_on(backend: BackendKind) -> Fixture {
    let fixture = Fixture::on(backend);
    for (secret, values) in CONTENT {
        for value in values {
            put(&fixture.store, secret, value);
        }
    }
    verify(&fixture.store).unwrap();
    assert_eq!(read_all(&fixture.store), Ok(()));
    fixture
}

/// Ok if every read gave what was written; the refusals if there were some.
pub(super) fn read_all(store: &Store) -> Result<(), Vec<StoreError>> {
    let now = Timestamp::from_second(2).unwrap();
    let mut refusals = Vec::new();
    for (secret, values) in CONTENT {
        let pinned = (1..).zip(values).map(|(version, value)| (Some(version), value));
        for (version, value) in pinned.chain([(None, values.last().unwrap())]) {
            match store.get(&Namespace::default(), &[(name(secret), version)], now) {
                Ok(reading) => match &reading.answers[0] {
                    Ok(found) => assert!(found.fields["value"].same_as(value), "{secret}: another value"),
                    Err(absent) => panic!("{secret}@{version:?}: {absent}"),
                },
                Err(refusal) => refusals.push(refusal),
            }
        }
    }
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

impl PartialEq for StoreError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

/// The database of a store, opened by an attacker.
struct Rows(Connection);

impl Rows {
    fn of(store: &Store) -> Self {
        let connection = Connection::open(store.dir().join("store.db")).unwrap();
        connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF").unwrap();
        Self(connection)
    }

    /// Tables with their columns and primary keys.
    fn tables(&self) -> BTreeMap<String, Vec<String>> {
        let sql = "SELECT t.name, c.name FROM pragma_table_list t JOIN pragma_table_info(t.name) c
                   WHERE t.schema = 'main' AND t.name NOT LIKE 'sqlite_%' ORDER BY c.cid";
        let mut tables = BTreeMap::new();
        let mut statement = self.0.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let columns: &mut Vec<String> = tables.entry(row.get(0).unwrap()).or_default();
            columns.push(row.get(1).unwrap());
        }
        tables
    }

    fn all(&self, table: &str, width: usize) -> Vec<Vec<Value>> {
        let mut statement = self.0.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let row = |row: &rusqlite::Row<'_>| (0..width).map(|column| row.get(column)).collect();
        statement.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// Runs `check` with one row replaced by another, or by none, and puts it back.
    fn with(
        &self,
        table: &str,
        columns: &[String],
        old: &[Value],
        new: Option<&[Value]>,
        check: impl FnOnce(),
    ) {
        self.delete(table, columns, old);
        // Another row may have this key.
        let is_in = new.is_none_or(|new| self.insert(table, new));
        if is_in {
            check();
        }
        if let Some(new) = new.filter(|_| is_in) {
            self.delete(table, columns, new);
        }
        assert!(self.insert(table, old));
    }

    fn delete(&self, table: &str, columns: &[String], row: &[Value]) {
        let condition: Vec<_> = columns.iter().map(|column| format!("{column} IS ?")).collect();
        let sql = format!("DELETE FROM {table} WHERE {}", condition.join(" AND "));
        assert_eq!(self.0.prepare_cached(&sql).unwrap().execute(params_from_iter(row)).unwrap(), 1);
    }

    fn insert(&self, table: &str, row: &[Value]) -> bool {
        let sql = format!("INSERT INTO {table} VALUES ({})", vec!["?"; row.len()].join(", "));
        self.0.prepare_cached(&sql).unwrap().execute(params_from_iter(row)).is_ok()
    }
}

fn bits(value: &Value) -> usize {
    match value {
        Value::Integer(_) => 64,
        Value::Blob(bytes) => bytes.len() * 8,
        other => panic!("{other:?}"),
    }
}

fn flipped(value: &Value, bit: usize) -> Value {
    match value {
        Value::Integer(number) => Value::Integer(number ^ (1 << bit)),
        Value::Blob(bytes) => {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            Value::Blob(bytes)
        }
        other => panic!("{other:?}"),
    }
}

/// Every bit of every column of every row; of the long nodes of the index, of which each bit is tried
/// elsewhere, one in 64.
#[test]
fn every_flipped_bit_is_found() {
    let fixture = filled();
    let rows = Rows::of(&fixture.store);
    let mut tried = 0;
    for (table, columns) in rows.tables() {
        let stored = rows.all(&table, columns.len());
        assert!(!stored.is_empty(), "{table}");
        for row in &stored {
            for (column, value) in row.iter().enumerate() {
                for bit in (0..bits(value)).filter(|bit| table != "nodes" || bit % 64 == bit / 64 % 64) {
                    let mut new = row.clone();
                    new[column] = flipped(value, bit);
                    rows.with(&table, &columns, row, Some(&new), || {
                        tried += 1;
                        let place = format!("{table}.{} bit {bit}", columns[column]);
                        // What no read stumbles over, the look at everything does.
                        let found = read_all(&fixture.store)
                            .and_then(|()| verify(&fixture.store).map_err(|error| vec![error]));
                        let Err(refusals) = found else { panic!("{place} was not found") };
                        let are_refusals =
                            refusals.iter().all(|error| matches!(error, StoreError::Corrupt(_)));
                        assert!(are_refusals, "{place}: {refusals:?}");
                    });
                }
            }
        }
    }
    println!("{tried} bits");
    assert!(tried > 20_000, "{tried}");
    verify(&fixture.store).unwrap();
}

#[test]
fn a_removed_row_is_found() {
    let fixture = filled();
    let rows = Rows::of(&fixture.store);
    for (table, columns) in rows.tables() {
        for row in rows.all(&table, columns.len()) {
            rows.with(&table, &columns, &row, None, || {
                let found = verify(&fixture.store);
                assert!(matches!(found, Err(StoreError::Corrupt(_))), "{table}: {found:?}");
                // A store opened anew has no key in its memory.
                if let Ok(store) = Store::open(fixture.store.dir(), Access::Read, &fixture.sources()) {
                    let _ = read_all(&store);
                    let unknown = get_any(&store, "unknown");
                    assert!(unknown.is_err() || table != "namespaces", "{table}");
                }
            });
        }
    }
}

fn get_any(store: &Store, secret: &str) -> Result<Reading, StoreError> {
    store.get(&Namespace::default(), &[(name(secret), None)], Timestamp::UNIX_EPOCH)
}

/// Two rows of a table exchange everything but their keys.
#[test]
fn swapped_rows_are_found() {
    let fixture = filled();
    let rows = Rows::of(&fixture.store);
    for (table, key_width) in [("secrets", 2), ("versions", 3), ("keys", 2), ("nodes", 2)] {
        let columns = &rows.tables()[table];
        let stored = rows.all(table, columns.len());
        for (first, second) in pairs(&stored[..stored.len().min(6)]) {
            let given = |to: &[Value], from: &[Value]| [&to[..key_width], &from[key_width..]].concat();
            let (new_first, new_second) = (given(first, second), given(second, first));
            rows.with(table, columns, first, Some(&new_first), || {
                rows.with(table, columns, second, Some(&new_second), || {
                    let found = verify(&fixture.store);
                    assert!(matches!(found, Err(StoreError::Corrupt(_))), "{table}: {found:?}");
                    let _ = read_all(&fixture.store);
                });
            });
        }
    }
}

fn pairs<T>(items: &[T]) -> impl Iterator<Item = (&T, &T)> {
    items.iter().enumerate().flat_map(|(at, first)| items[at + 1..].iter().map(move |second| (first, second)))
}

/// A secret that was removed and made again does not take its old record for the new one.
#[test]
fn a_record_of_an_earlier_life_is_found() {
    let fixture = filled();
    let rows = Rows::of(&fixture.store);
    let columns = &rows.tables()["versions"];
    let old = rows.all("versions", columns.len());
    let default = Namespace::default();
    fixture.store.change(&default, stamp(1), |change| change.remove(&name("b"))).unwrap();
    let rest = rows.all("versions", columns.len());
    let old = old.into_iter().find(|row| !rest.contains(row)).unwrap();
    put(&fixture.store, "b", b"other");
    let new = rows.all("versions", columns.len()).into_iter().find(|row| !rest.contains(row)).unwrap();
    assert!(old[..3] == new[..3] && old[3] != new[3], "same secret, same version");
    rows.with("versions", columns, &new, Some(&old), || {
        assert!(matches!(get_any(&fixture.store, "b"), Err(StoreError::Corrupt(_))));
    });
    assert!(get_any(&fixture.store, "b").is_ok());
}

/// The files themselves: one byte in eleven of the database, and every cut at a page's border.
#[test]
fn damaged_files_are_refused_or_harmless() {
    let fixture = filled();
    let path = fixture.store.dir().join("store.db");
    let rows = Rows::of(&fixture.store);
    rows.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(rows);
    let whole = std::fs::read(&path).unwrap();
    let (mut refused, mut harmless) = (0, 0);
    let mut attempt = |bytes: &[u8]| {
        reset(&path, bytes);
        let outcome =
            Store::open(fixture.store.dir(), Access::Read, &fixture.sources()).map(|store| read_all(&store));
        match outcome {
            Ok(Ok(())) => harmless += 1,
            Ok(Err(_)) | Err(_) => refused += 1,
        }
    };
    for at in (0..whole.len()).step_by(11) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        attempt(&damaged);
    }
    for length in (0..whole.len()).step_by(4096) {
        attempt(&whole[..length]);
    }
    println!("{refused} refused, {harmless} harmless");
    assert!(refused > 100 && harmless > 100);
    reset(&path, &whole);
    assert_eq!(read_all(&fixture.reopen(Access::Read)), Ok(()));
}

fn reset(path: &Path, bytes: &[u8]) {
    for other in ["store.db-wal", "store.db-shm"] {
        let _ = std::fs::remove_file(path.with_file_name(other));
    }
    std::fs::write(path, bytes).unwrap();
}

/// Whoever removes a secret's rows does not get a new secret of that name in its place.
#[test]
fn a_removed_secret_is_not_made_anew() {
    let fixture = filled();
    let rows = Rows::of(&fixture.store);
    let columns = &rows.tables()["secrets"];
    for row in rows.all("secrets", columns.len()) {
        rows.with("secrets", columns, &row, None, || {
            for (secret, _) in CONTENT {
                let new = NewVersion::of_value(SecretBytes::copy_of(b"new"));
                let put = |change: &mut Change<'_>| change.put(&name(secret), new, &Edit::default());
                // In a transaction that is then given up, so that the others find the store as it was.
                let outcome = fixture.store.change(&Namespace::default(), stamp(1), |change| {
                    put(change)?;
                    Err::<(), _>(StoreError::Refused("given up".into()))
                });
                let is_there = fixture.store.describe(&Namespace::default(), &name(secret)).is_ok();
                match is_there {
                    true => assert!(matches!(outcome, Err(StoreError::Refused(_))), "{secret}: {outcome:?}"),
                    false => assert!(matches!(outcome, Err(StoreError::Corrupt(_))), "{secret}: {outcome:?}"),
                }
            }
        });
    }
    assert_eq!(read_all(&fixture.store), Ok(()));
}
