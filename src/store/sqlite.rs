//! The backend that is there by default: one SQLite database in WAL mode. Readers never wait for
//! the writer. Uses rusqlite, and the rows of `backend`.

mod connect;
mod failure;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rusqlite::types::FromSql;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row, params};

use super::backend::{
    Backend, EachHeader, HeaderRow, KeyRow, NamespaceRow, Read, RootRow, Scrub, SecretRow, Write,
};
use super::cipher::{Id, Mac};
use super::index::Range;
use super::{Access, StoreError, schema};
use crate::poison::EvenPoisoned;
use connect::connect;
pub(super) use failure::failure;
use failure::{alone, unfit};

/// Connections kept for the next reader.
const IDLE: usize = 8;

/// A subquery, since SQLite prepares an outer join anew for each set of parameters, which costs
/// more than the reading.
const SELECT_SECRET: &str = "SELECT active, header, ifnull(?3, active), (SELECT record FROM versions v
    WHERE v.namespace = s.namespace AND v.name_mac = s.name_mac AND v.version = ifnull(?3, s.active))
    FROM secrets s WHERE namespace = ?1 AND name_mac = ?2";

pub(super) struct Sqlite {
    path: PathBuf,
    access: Access,
    /// Connections that are in no transaction.
    idle: Mutex<Vec<Connection>>,
}

impl Sqlite {
    /// Makes the tables in a file that is there and empty.
    pub(super) fn create(path: &Path) -> Result<Self, StoreError> {
        let connection = connect(path, Access::Write).map_err(|error| alone(path, error))?;
        let mode = connect::keep_log(&connection).map_err(|error| alone(path, failure(path, &error)))?;
        if mode != "wal" {
            return Err(unfit(path, "it keeps no write-ahead log here"));
        }
        schema::create(&connection, path)?;
        Ok(Self { path: path.to_owned(), access: Access::Write, idle: Mutex::new(vec![connection]) })
    }

    pub(super) fn open(path: &Path, access: Access) -> Result<Self, StoreError> {
        let connection = connect(path, access)?;
        if schema::is_older(&connection, path)? {
            schema::update(&connect(path, Access::Write)?, path)?;
        }
        let sqlite = Self { path: path.to_owned(), access, idle: Mutex::default() };
        sqlite.keep(connection);
        Ok(sqlite)
    }

    fn begin(&self, how: &str) -> Result<Transaction<'_>, StoreError> {
        let idle = self.idle.lock().even_poisoned().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, self.access)?,
        };
        say(&connection, how).map_err(|error| self.failure(&error))?;
        Ok(Transaction { home: self, connection: Some(connection) })
    }

    /// Keeps a connection for the next reader; not a frozen one, which sees no later commit.
    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().even_poisoned();
        if idle.len() < IDLE && connection.is_readonly("main").is_ok_and(|is_readonly| !is_readonly) {
            idle.push(connection);
        }
    }

    fn failure(&self, error: &rusqlite::Error) -> StoreError {
        failure(&self.path, error)
    }
}

/// Begins or ends a transaction: kept compiled, since each read does both.
fn say(connection: &Connection, word: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(word)?.execute([]).map(drop)
}

/// A connection inside a transaction; goes home when dropped.
struct Transaction<'a> {
    home: &'a Sqlite,
    /// `None` only while dropping.
    connection: Option<Connection>,
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let is_quiet = connection.is_autocommit() || say(&connection, "ROLLBACK").is_ok();
        if is_quiet {
            self.home.keep(connection);
        }
    }
}

impl Transaction<'_> {
    fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, StoreError> {
        let connection = self.connection.as_ref().expect("there until dropped");
        connection.prepare_cached(sql).map_err(|error| self.home.failure(&error))
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.prepare(sql)?;
        statement.query_row(params, read).optional().map_err(|error| self.home.failure(&error))
    }

    fn each<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
        each: &mut dyn FnMut(T) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.prepare(sql)?;
        let mut rows = statement.query(params).map_err(|error| self.home.failure(&error))?;
        while let Some(row) = rows.next().map_err(|error| self.home.failure(&error))? {
            each(read(row).map_err(|error| self.home.failure(&error))?)?;
        }
        Ok(())
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        self.each(sql, params, read, &mut |item| {
            all.push(item);
            Ok(())
        })?;
        Ok(all)
    }

    fn change(&self, sql: &str, params: impl Params) -> Result<(), StoreError> {
        self.prepare(sql)?.execute(params).map(drop).map_err(|error| self.home.failure(&error))
    }
}

impl Backend for Sqlite {
    fn read(&self) -> Result<Box<dyn Read + '_>, StoreError> {
        Ok(Box::new(self.begin("BEGIN")?))
    }

    fn write(&self) -> Result<Box<dyn Write + '_>, StoreError> {
        Ok(Box::new(self.begin("BEGIN IMMEDIATE")?))
    }

    /// Deleted cells are overwritten at once; the log keeps older pages until it is cut off, and
    /// pages that were rearranged keep stale bytes until they are written anew.
    fn scrub(&self, what: Scrub) -> Result<bool, StoreError> {
        let connection = connect(&self.path, self.access)?;
        if what == Scrub::Files {
            connection.execute_batch("VACUUM").map_err(|error| self.failure(&error))?;
        }
        let is_busy = connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))
            .map_err(|error| self.failure(&error))?;
        Ok(!is_busy)
    }
}

impl Read for Transaction<'_> {
    fn root(&self) -> Result<RootRow, StoreError> {
        let sql = "SELECT store, key, epoch, keyring_epoch, keyring, seal FROM root WHERE id = 1";
        let read = |row: &Row<'_>| {
            Ok(RootRow {
                store: row.get(0)?,
                key: row.get(1)?,
                epoch: number(row, 2)?,
                keyring_epoch: number(row, 3)?,
                keyring: row.get(4)?,
                seal: row.get(5)?,
            })
        };
        self.one(sql, [], read)?.ok_or_else(|| StoreError::corrupt("its root is gone"))
    }

    fn namespaces(&self) -> Result<Vec<NamespaceRow>, StoreError> {
        self.all("SELECT namespace, name_mac, name FROM namespaces", [], namespace_row)
    }

    fn keys(&self, namespace: &Id) -> Result<Vec<KeyRow>, StoreError> {
        let sql = "SELECT namespace, kid, purpose, state, wrapped, commitment FROM keys WHERE namespace = ?1";
        self.all(sql, [namespace], |row| {
            Ok(KeyRow {
                namespace: row.get(0)?,
                kid: row.get(1)?,
                purpose: row.get(2)?,
                state: row.get(3)?,
                wrapped: row.get(4)?,
                commitment: row.get(5)?,
            })
        })
    }

    fn header(&self, namespace: &Id, name: &Mac) -> Result<Option<HeaderRow>, StoreError> {
        let sql = "SELECT name_mac, active, header FROM secrets WHERE namespace = ?1 AND name_mac = ?2";
        self.one(sql, params![namespace, name], header_row)
    }

    fn secret(
        &self,
        namespace: &Id,
        name: &Mac,
        version: Option<u64>,
    ) -> Result<Option<SecretRow>, StoreError> {
        // A version beyond what the database can count is one that is not there.
        let version = version.map(|version| i64::try_from(version).unwrap_or(i64::MAX));
        self.one(SELECT_SECRET, params![namespace, name, version], |row| {
            let record = match row.get::<_, Option<Vec<u8>>>(3)? {
                None => None,
                Some(record) => Some((number(row, 2)?, record)),
            };
            Ok(SecretRow { active: number(row, 0)?, header: row.get(1)?, record })
        })
    }

    fn headers(
        &self,
        namespace: &Id,
        (first, last): &Range,
        each: &mut EachHeader,
    ) -> Result<(), StoreError> {
        let sql = "SELECT name_mac, active, header FROM secrets
                   WHERE namespace = ?1 AND name_mac BETWEEN ?2 AND ?3 ORDER BY name_mac";
        self.each(sql, params![namespace, first, last], header_row, each)
    }

    fn records(&self, namespace: &Id, name: &Mac) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let sql =
            "SELECT version, record FROM versions WHERE namespace = ?1 AND name_mac = ?2 ORDER BY version";
        self.all(sql, params![namespace, name], |row| Ok((number(row, 0)?, row.get(1)?)))
    }

    fn node(&self, namespace: &Id, number: u8) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT seal FROM nodes WHERE namespace = ?1 AND number = ?2";
        self.one(sql, params![namespace, number], |row| row.get(0))
    }
}

fn header_row(row: &Row<'_>) -> rusqlite::Result<HeaderRow> {
    Ok(HeaderRow { name: row.get(0)?, active: number(row, 1)?, header: row.get(2)? })
}

fn namespace_row(row: &Row<'_>) -> rusqlite::Result<NamespaceRow> {
    Ok(NamespaceRow { id: row.get(0)?, name_mac: row.get(1)?, name: row.get(2)? })
}

/// SQLite's numbers are signed; ours are not.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number = i64::column_result(row.get_ref(column)?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Integer, error.into())
    })?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

impl Write for Transaction<'_> {
    fn put_root(&self, root: &RootRow) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO root (id, store, key, epoch, keyring_epoch, keyring, seal)
                   VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)";
        let RootRow { store, key, epoch, keyring_epoch, keyring, seal } = root;
        self.change(sql, params![store, key, *epoch as i64, *keyring_epoch as i64, keyring, seal])
    }

    fn put_namespace(&self, row: &NamespaceRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO namespaces (namespace, name_mac, name) VALUES (?1, ?2, ?3)
                   ON CONFLICT (namespace) DO UPDATE SET name_mac = excluded.name_mac, name = excluded.name";
        self.change(sql, params![row.id, row.name_mac, row.name])
    }

    fn put_key(&self, row: &KeyRow) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO keys (namespace, kid, purpose, state, wrapped, commitment)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let KeyRow { namespace, kid, purpose, state, wrapped, commitment } = row;
        self.change(sql, params![namespace, kid, purpose, state, wrapped, commitment])
    }

    fn put_header(&self, namespace: &Id, row: &HeaderRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO secrets (namespace, name_mac, active, header) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT DO UPDATE SET active = excluded.active, header = excluded.header";
        self.change(sql, params![namespace, row.name, row.active as i64, row.header])
    }

    fn put_record(&self, namespace: &Id, name: &Mac, version: u64, record: &[u8]) -> Result<(), StoreError> {
        let sql =
            "INSERT OR REPLACE INTO versions (namespace, name_mac, version, record) VALUES (?1, ?2, ?3, ?4)";
        self.change(sql, params![namespace, name, version as i64, record])
    }

    fn put_node(&self, namespace: &Id, number: u8, sealed: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO nodes (namespace, number, seal) VALUES (?1, ?2, ?3)";
        self.change(sql, params![namespace, number, sealed])
    }

    fn remove_secret(&self, namespace: &Id, name: &Mac) -> Result<(), StoreError> {
        let key = params![namespace, name];
        self.change("DELETE FROM versions WHERE namespace = ?1 AND name_mac = ?2", key)?;
        self.change("DELETE FROM secrets WHERE namespace = ?1 AND name_mac = ?2", key)
    }

    fn remove_record(&self, namespace: &Id, name: &Mac, version: u64) -> Result<(), StoreError> {
        let sql = "DELETE FROM versions WHERE namespace = ?1 AND name_mac = ?2 AND version = ?3";
        self.change(sql, params![namespace, name, version as i64])
    }

    fn remove_key(&self, namespace: &Id, kid: &Id) -> Result<(), StoreError> {
        self.change("DELETE FROM keys WHERE namespace = ?1 AND kid = ?2", params![namespace, kid])
    }

    fn remove_namespace(&self, namespace: &Id) -> Result<(), StoreError> {
        let statements = [
            "DELETE FROM versions WHERE namespace = ?1",
            "DELETE FROM secrets WHERE namespace = ?1",
            "DELETE FROM nodes WHERE namespace = ?1",
            "DELETE FROM keys WHERE namespace = ?1",
            "DELETE FROM namespaces WHERE namespace = ?1",
        ];
        statements.iter().try_for_each(|sql| self.change(sql, [namespace]))
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let connection = self.connection.as_ref().expect("there until dropped");
        say(connection, "COMMIT").map_err(|error| self.home.failure(&error))
    }
}

#[cfg(test)]
mod tests;
