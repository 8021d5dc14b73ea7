//! What the pool must know of a database beyond making connections to it.

use r2d2::ManageConnection;

/// Ends what a connection is doing, from another thread.
pub type Interrupter = Box<dyn Fn() + Send>;

/// A database that takes statements as text. All calls block, and are made on threads of the pool.
pub trait Database: ManageConnection {
    /// A parameter of a statement.
    type Value: Send + 'static;
    /// A row of an answer.
    type Row: Send + 'static;

    /// Runs a statement, and gives all rows of its answer.
    ///
    /// # Errors
    /// The database's.
    fn query(
        connection: &mut Self::Connection,
        statement: &str,
        parameters: &[Self::Value],
    ) -> Result<Vec<Self::Row>, Self::Error>;

    /// Runs a statement, and gives the number of rows that it changed.
    ///
    /// # Errors
    /// The database's.
    fn execute(
        connection: &mut Self::Connection,
        statement: &str,
        parameters: &[Self::Value],
    ) -> Result<u64, Self::Error>;

    /// Begins a transaction.
    ///
    /// # Errors
    /// The database's.
    fn begin(connection: &mut Self::Connection) -> Result<(), Self::Error> {
        Self::execute(connection, "BEGIN", &[]).map(drop)
    }

    /// Makes a transaction last.
    ///
    /// # Errors
    /// The database's.
    fn commit(connection: &mut Self::Connection) -> Result<(), Self::Error> {
        Self::execute(connection, "COMMIT", &[]).map(drop)
    }

    /// Gives a transaction up, also one that the database has given up itself.
    ///
    /// # Errors
    /// The database's. The connection is thrown away then.
    fn rollback(connection: &mut Self::Connection) -> Result<(), Self::Error> {
        Self::execute(connection, "ROLLBACK", &[]).map(drop)
    }

    /// What ends the statement that a connection is running, if there is such a thing: used when
    /// [`run_timeout`](crate::PoolOptions::run_timeout) is over.
    fn interrupter(connection: &Self::Connection) -> Option<Interrupter> {
        let _ = connection;
        None
    }
}
