//! A dictionary: `word` looks a word up, `word = meaning` stores it, in an SQLite database. The loop
//! goes on while the database works, on a thread of the pool.
//!
//! ```text
//! cargo run --example sqlite_words 127.0.0.1:7009 words.db
//! nc 127.0.0.1 7009        # try `ropewalk = a long hall`, then `ropewalk`
//! ```

use ropewalk::line::{Delimiter, LineProtocol, LineTransport, Lines};
use ropewalk::{Reactor, Result, Transport};
use ropewalk_database::{ConnectionPool, PoolOptions, Sqlite};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS words (word TEXT PRIMARY KEY, meaning TEXT)";
const STORE: &str = "INSERT OR REPLACE INTO words VALUES (?, ?)";
const LOOK_UP: &str = "SELECT meaning FROM words WHERE word = ?";

struct Words(ConnectionPool<Sqlite>);

impl LineProtocol for Words {
    fn line_received(&mut self, transport: &mut Transport<'_>, line: &[u8]) -> Result {
        let line = String::from_utf8_lossy(line).into_owned();
        if let Some((word, meaning)) = line.split_once('=') {
            let words = [word.trim().to_owned().into(), meaning.trim().to_owned().into()];
            let stored = self.0.run_operation(STORE, words);
            transport.when(stored, |_: &mut Self, transport, stored| {
                let failure = stored.err().map(|error| format!("not stored: {error}"));
                transport.send_line(failure.unwrap_or("stored".to_owned()));
            });
            return Ok(());
        }
        let found = self.0.run_query(LOOK_UP, [line.trim().to_owned().into()]);
        transport.when(found, |_: &mut Self, transport, found| {
            let meaning = found.map(|rows| rows.first().map(|row| row.get::<String>(0)));
            transport.send_line(match meaning {
                Ok(Some(Ok(meaning))) => meaning,
                Ok(_) => "never heard of it".to_owned(),
                Err(error) => format!("no answer: {error}"),
            });
        });
        Ok(())
    }
}

fn main() -> Result {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:7009".to_owned());
    let file = arguments.next().unwrap_or("words.db".to_owned());
    let mut reactor = Reactor::new()?;
    let in_order = PoolOptions::default().connections(1);
    let pool = ConnectionPool::with_options(&mut reactor, Sqlite::file(file), in_order);
    pool.run_operation(TABLE, []).forget();
    let words = move |_| Lines::new(Words(pool.clone())).delimiter(Delimiter::LfOrCrLf);
    let listener = reactor.listen(&address, words)?;
    println!("listening on {}", reactor.address(listener).ok_or("it was stopped")?);
    reactor.stop_on_signals()?;
    Ok(reactor.run()?)
}
