//! A room in which everybody hears everybody. Who does not read loses the connection, not the room.
//!
//! ```text
//! cargo run --example chat
//! nc 127.0.0.1 7002        # as often as you like; the first line is your name
//! ```

use ropewalk::line::{Delimiter, LineProtocol, LineTransport, Lines};
use ropewalk::{ConnectionId, ConnectionOptions, ListenOptions, Reactor, Result, Transport};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// All guests share the list of names.
#[derive(Clone, Default)]
struct Guest(Rc<RefCell<BTreeMap<ConnectionId, String>>>);

impl Guest {
    fn tell_others(&self, transport: &mut Transport<'_>, line: &str) {
        let me = transport.id();
        for &id in self.0.borrow().keys().filter(|&&id| id != me) {
            if let Some(mut other) = transport.connection(id) {
                other.send_line(line);
            }
        }
    }
}

impl LineProtocol for Guest {
    fn line_received(&mut self, transport: &mut Transport<'_>, line: &[u8]) -> Result {
        let line = String::from_utf8_lossy(line).replace(char::is_control, "");
        let name = self.0.borrow().get(&transport.id()).cloned();
        if let Some(name) = name {
            self.tell_others(transport, &format!("{name}: {line}"));
        } else {
            self.tell_others(transport, &format!("{line} comes in"));
            self.0.borrow_mut().insert(transport.id(), line);
        }
        Ok(())
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &ropewalk::Reason) {
        let name = self.0.borrow_mut().remove(&transport.id());
        if let Some(name) = name {
            self.tell_others(transport, &format!("{name} has left"));
        }
    }
}

fn main() -> Result {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7002".to_owned());
    let options = ConnectionOptions::default().output_limit(256 * 1024); // for one guest
    let (options, guest) = (ListenOptions::default().connection(options), Guest::default());
    let mut reactor = Reactor::new()?;
    let lines = move |_| Lines::new(guest.clone()).delimiter(Delimiter::LfOrCrLf);
    let listener = reactor.listen_with(options, &address, lines)?;
    println!("listening on {}", reactor.address(listener).ok_or("it is closed")?);
    reactor.stop_on_signals()?;
    Ok(reactor.run()?)
}
