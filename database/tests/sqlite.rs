//! The pool with SQLite, on real threads and a real file.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_database::rusqlite::{self, Connection};
use ropewalk_database::{ConnectionPool, PoolOptions, Row, Sqlite};
use ropewalk_reactor::{Deferred, Error, Reactor};

/// Runs the loop until a result is there.
fn wait<T: 'static>(reactor: &mut Reactor, deferred: Deferred<T>) -> Result<T, Error> {
    let answer = Rc::new(RefCell::new(None));
    let told = answer.clone();
    deferred.then(move |_, result| drop(told.borrow_mut().replace(result)));
    loop {
        reactor.turn(None).expect("the loop runs");
        if let Some(answer) = answer.borrow_mut().take() {
            return answer;
        }
    }
}

/// A directory of its own, which goes at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ropewalk-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory for temporary files");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn sum(rows: &[Row]) -> i64 {
    rows[0].get(0).expect("a number")
}

#[test]
fn what_was_committed_is_in_the_file_and_what_was_rolled_back_is_not() {
    let scratch = Scratch::new("committed");
    let file = scratch.0.join("accounts.db");
    let mut reactor = Reactor::new().expect("a poller");
    let pool = ConnectionPool::new(&mut reactor, Sqlite::file(&file));
    let made = pool.run_operation("CREATE TABLE accounts (name TEXT, amount INTEGER)", []);
    wait(&mut reactor, made).expect("it is made");
    let give = |amount: i64, then: fn() -> Result<(), rusqlite::Error>| {
        move |connection: &mut Connection| {
            connection.execute("INSERT INTO accounts VALUES ('ada', ?)", [amount])?;
            then()
        }
    };
    let good = pool.run_interaction(give(5, || Ok(())));
    wait(&mut reactor, good).expect("it is committed");
    let bad = pool.run_interaction(give(70, || Err(rusqlite::Error::InvalidQuery)));
    assert!(
        matches!(wait(&mut reactor, bad), Err(Error::Other(error)) if error.is::<rusqlite::Error>())
    );
    let panics = pool.run_interaction(give(900, || panic!("on purpose")));
    assert!(matches!(wait(&mut reactor, panics), Err(Error::Panicked(_))));
    reactor.stop();
    reactor.run().expect("it stops");

    let mut reactor = Reactor::new().expect("a poller");
    let pool = ConnectionPool::new(&mut reactor, Sqlite::file(&file));
    let rows = pool.run_query("SELECT sum(amount) FROM accounts", []);
    assert_eq!(sum(&wait(&mut reactor, rows).expect("the table is there")), 5);
}

#[test]
fn transactions_on_several_connections_wait_for_each_other() {
    let scratch = Scratch::new("concurrent");
    let mut reactor = Reactor::new().expect("a poller");
    let sqlite = Sqlite::file(scratch.0.join("counter.db"));
    let pool = ConnectionPool::new(&mut reactor, sqlite);
    let made = pool.run_interaction(|connection| {
        connection.execute_batch("CREATE TABLE counter (n INTEGER); INSERT INTO counter VALUES (0)")
    });
    wait(&mut reactor, made).expect("it is made");
    let mut counted = Vec::new();
    for _ in 0..100 {
        // Reads first and writes what it has read: lost updates would show.
        counted.push(pool.run_interaction(|connection| {
            let n: i64 = connection.query_row("SELECT n FROM counter", (), |row| row.get(0))?;
            connection.execute("UPDATE counter SET n = ?", [n + 1])
        }));
    }
    for one in counted {
        assert_eq!(wait(&mut reactor, one).expect("it has waited for its lock"), 1);
    }
    let rows = pool.run_query("SELECT n FROM counter", []);
    assert_eq!(sum(&wait(&mut reactor, rows).expect("it is there")), 100);
}

#[test]
fn all_connections_see_one_database_in_memory() {
    let mut reactor = Reactor::new().expect("a poller");
    let sqlite = Sqlite::memory().expect("it needs no file");
    let pool = ConnectionPool::new(&mut reactor, sqlite);
    let made = pool.run_operation("CREATE TABLE numbers (n INTEGER)", []);
    wait(&mut reactor, made).expect("it is made");
    let stored: Vec<_> = (0..50)
        .map(|n: i64| pool.run_operation("INSERT INTO numbers VALUES (?)", [n.into()]))
        .collect();
    for one in stored {
        assert_eq!(wait(&mut reactor, one).expect("it is stored"), 1);
    }
    let rows = pool.run_query("SELECT sum(n) FROM numbers", []);
    assert_eq!(sum(&wait(&mut reactor, rows).expect("it is there")), 49 * 50 / 2);
}

#[test]
fn a_statement_that_takes_too_long_is_interrupted_and_its_connection_lives() {
    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                           SELECT count(*) FROM n";
    let mut reactor = Reactor::new().expect("a poller");
    let sqlite = Sqlite::memory().expect("it needs no file");
    let options =
        PoolOptions::default().connections(1).run_timeout(Some(Duration::from_millis(50)));
    let pool = ConnectionPool::with_options(&mut reactor, sqlite, options);
    let endless = pool.run_query(ENDLESS, []);
    assert!(matches!(wait(&mut reactor, endless), Err(Error::TimedOut)));
    // There is only one connection: this one waits until the other has been interrupted.
    let rows = pool.run_query("SELECT 7", []);
    assert_eq!(sum(&wait(&mut reactor, rows).expect("it works")), 7);
}

#[test]
fn errors_are_the_databases_own() {
    let mut reactor = Reactor::new().expect("a poller");
    let pool = ConnectionPool::new(&mut reactor, Sqlite::memory().expect("it needs no file"));
    let unknown = pool.run_query("SELECT * FROM nowhere", []);
    let error = wait(&mut reactor, unknown).expect_err("there is no such table");
    assert_eq!(error.to_string(), "no such table: nowhere");
    let elsewhere = ConnectionPool::new(&mut reactor, Sqlite::file("/no/such/place.db"));
    let unopened = elsewhere.run_query("SELECT 1", []);
    let error = wait(&mut reactor, unopened).expect_err("there is no such place");
    assert!(error.to_string().contains("/no/such/place.db"), "{error}");
}

#[test]
fn an_interaction_can_ask_the_loop_something_in_its_middle() {
    let mut reactor = Reactor::new().expect("a poller");
    let handle = reactor.handle();
    let pool = ConnectionPool::new(&mut reactor, Sqlite::memory().expect("it needs no file"));
    let asked = pool.run_interaction(move |connection| {
        let connections = handle.blocking_call_from_thread(|reactor| reactor.connection_count())?;
        let sql = format!("SELECT {connections} + 1");
        Ok::<i64, ropewalk_reactor::BoxError>(connection.query_row(&sql, (), |row| row.get(0))?)
    });
    assert_eq!(wait(&mut reactor, asked).expect("it works"), 1);
}
