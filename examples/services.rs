//! Parts of a program that start in order and stop in reverse: a word is read, then it is served.
//!
//! Try it: `cargo run --example services`, then `nc 127.0.0.1 7011`; Ctrl-C stops it in order.

use std::cell::RefCell;
use std::rc::Rc;

use ropewalk::bytes::BytesMut;
use ropewalk::{
    Deferred, ListeningService, Protocol, Reactor, Result, Service, Services, Transport,
};

type Word = Rc<RefCell<String>>;

struct ReadsWord(Word);

impl Service for ReadsWord {
    fn start(&mut self, reactor: &mut Reactor) -> Result<Option<Deferred<()>>> {
        let (word, (promise, started)) = (self.0.clone(), reactor.deferred());
        let read = reactor.defer_to_thread(|| std::fs::read_to_string("/etc/hostname"));
        read.then(move |_, read| {
            *word.borrow_mut() = read.ok().and_then(|read| read.ok()).unwrap_or_default();
            promise.succeed(());
        });
        Ok(Some(started))
    }
}

struct Says(Word);

impl Protocol for Says {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        transport.write(format!("this is {}\n", self.0.borrow().trim()).as_bytes());
        transport.lose_connection();
        Ok(())
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &mut BytesMut) -> Result {
        Ok(())
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7011".to_owned());
    let mut reactor = Reactor::new()?;
    let word = Word::default();
    let services = Services::new();
    services.add("word", ReadsWord(word.clone()))?;
    let factory = move || {
        let word = word.clone();
        move |_| Says(word.clone())
    };
    let server = ListeningService::new(address.parse()?, factory);
    services.add("server", server.on_listening(|at| println!("listening on {at}")))?;
    services.start(&mut reactor).forget();
    reactor.stop_on_signals()?;
    Ok(reactor.run()?)
}
