//! SQLite, as a database for the pool.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use r2d2::ManageConnection;
use rusqlite::types::{FromSql, Value};
use rusqlite::{Connection, Error, OpenFlags, params_from_iter};

use crate::{Database, Interrupter};

/// How long a statement waits for another connection's lock before it fails as busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes connections to an SQLite database.
///
/// A file is set to write-ahead logging, so that readers and a writer do not wait for each other;
/// foreign keys are enforced. Statements wait up to 5 seconds for another connection's lock.
/// Transactions of [`run_interaction`](crate::ConnectionPool::run_interaction) take the lock for
/// writing at once (`BEGIN IMMEDIATE`): two that read first and write later would fail each other,
/// where these wait.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    /// A database in memory lives as long as a connection to it.
    _anchor: Option<Mutex<Connection>>,
}

impl Sqlite {
    /// A database in a file, which is made if it is not there.
    pub fn file(path: impl AsRef<Path>) -> Sqlite {
        Sqlite { path: path.as_ref().to_owned(), _anchor: None }
    }

    /// A database in memory, the same for all connections of this manager, which goes with it.
    ///
    /// # Errors
    /// SQLite's.
    pub fn memory() -> Result<Sqlite, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("file:/ropewalk-{number}?vfs=memdb"));
        let anchor = open(&path)?;
        Ok(Sqlite { path, _anchor: Some(Mutex::new(anchor)) })
    }
}

fn open(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open_with_flags(path, OpenFlags::default())?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // In memory it answers that this cannot be, which is no error.
    connection.query_row("PRAGMA journal_mode = WAL", (), |_| Ok(()))?;
    connection.execute_batch("PRAGMA foreign_keys = ON")?;
    Ok(connection)
}

impl ManageConnection for Sqlite {
    type Connection = Connection;
    type Error = Error;

    fn connect(&self) -> Result<Connection, Error> {
        open(&self.path)
    }

    fn is_valid(&self, connection: &mut Connection) -> Result<(), Error> {
        connection.query_row("SELECT 1", (), |_| Ok(()))
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        // Nobody closes it from the other side. But one that somebody has left in the middle of a
        // transaction would hold its lock for ever.
        !connection.is_autocommit()
    }
}

impl Database for Sqlite {
    type Value = Value;
    type Row = Row;

    fn query(
        connection: &mut Connection,
        statement: &str,
        parameters: &[Value],
    ) -> Result<Vec<Row>, Error> {
        let mut statement = connection.prepare(statement)?;
        let columns = statement.column_count();
        let rows = statement.query_map(params_from_iter(parameters), |row| {
            (0..columns).map(|column| row.get(column)).collect::<Result<_, _>>().map(Row)
        })?;
        rows.collect()
    }

    fn execute(
        connection: &mut Connection,
        statement: &str,
        parameters: &[Value],
    ) -> Result<u64, Error> {
        connection.execute(statement, params_from_iter(parameters)).map(|count| count as u64)
    }

    fn begin(connection: &mut Connection) -> Result<(), Error> {
        connection.execute_batch("BEGIN IMMEDIATE")
    }

    fn rollback(connection: &mut Connection) -> Result<(), Error> {
        // After some errors SQLite has done it already.
        match connection.is_autocommit() {
            true => Ok(()),
            false => connection.execute_batch("ROLLBACK"),
        }
    }

    fn interrupter(connection: &Connection) -> Option<Interrupter> {
        let handle = connection.get_interrupt_handle();
        Some(Box::new(move || handle.interrupt()))
    }
}

/// A row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(Vec<Value>);

impl Row {
    /// What stands in a column, counted from 0.
    ///
    /// # Errors
    /// [`Error::InvalidColumnIndex`], and [`Error::FromSqlConversionFailure`] if it is of another
    /// type.
    pub fn get<T: FromSql>(&self, column: usize) -> Result<T, Error> {
        let value = self.0.get(column).ok_or(Error::InvalidColumnIndex(column))?;
        T::column_result(value.into()).map_err(|error| {
            Error::FromSqlConversionFailure(column, value.data_type(), Box::new(error))
        })
    }

    /// All of it, in the order of the columns.
    pub fn values(&self) -> &[Value] {
        &self.0
    }
}
