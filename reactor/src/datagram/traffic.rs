//! Datagrams in and out, in batches: one call receives up to 32 and delivers them one by one, one
//! call sends up to 32 that were posted in a turn.

use std::io;

use log::debug;

use super::port::DatagramId;
use super::socket::Received;
use super::{DatagramProtocol, DatagramTransport};
use crate::identity::Source;
use crate::network::Readiness;
use crate::system::BATCH;
use crate::{Address, LOG, Reactor, Result};

/// Batches that one socket may receive in a turn before the others have their share, and may send
/// (128 datagrams).
const BATCHES_A_TURN: usize = 4;

/// Where datagrams are received; kept for its allocation.
#[derive(Default)]
pub(crate) struct Room {
    bytes: Vec<u8>,
    received: Vec<Received>,
}

impl Reactor {
    pub(crate) fn datagram_ready(&mut self, slot: u32, ready: Readiness) {
        let Some(id) = self.core.ports.at(slot) else { return };
        let Some(port) = self.core.ports.open(id) else { return };
        port.readable |= ready.readable || ready.failed;
        port.failed |= ready.failed;
        if ready.writable && !port.writable {
            port.writable = true;
            // The edge that was asked for has come. (Should this fail, there are some too many.)
            let source = Source::Datagram(slot);
            let _ = self.core.network.watch_datagram(&mut port.socket, source, false);
            self.core.ports.mark_dirty(id);
        }
        // Its share of a turn is read from the list, so that it has no more than one.
        self.core.ports.mark_ready(id);
    }

    /// Receives a turn's share and delivers it.
    pub(crate) fn read_datagrams(&mut self) {
        for id in std::mem::take(&mut self.core.ports.ready) {
            if let Some(port) = self.core.ports.get_mut(id) {
                port.in_ready = false;
                self.receive(id);
            }
        }
    }

    fn receive(&mut self, id: DatagramId) {
        if self.datagrams.get(id.slot as usize).is_none_or(Option::is_none) {
            return self.core.ports.mark_ready(id); // it is yet to be born
        }
        for _ in 0..BATCHES_A_TURN {
            let Some(port) = self.core.ports.open(id).filter(|port| port.readable) else {
                return;
            };
            let (size, mut room) = (port.receive_limit, std::mem::take(&mut self.room));
            if room.bytes.len() < BATCH * size {
                room.bytes = vec![0; BATCH * size];
            }
            let result = port.socket.receive(&mut room.bytes, size, &mut room.received);
            if room.received.len() < BATCH && !port.failed {
                port.readable = false;
            }
            match result {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    port.readable = false;
                    port.failed = false;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.refused(id);
                }
                // Of something sent before, which may have been to anybody.
                Err(error) => debug!(target: LOG, "{}: {error}", port.host),
            }
            let places = room.bytes.chunks_exact(size);
            for (Received { length, from }, place) in room.received.drain(..).zip(places) {
                self.deliver_datagram(id, place.get(..length), length, from);
            }
            self.room = room;
        }
        if self.core.ports.open(id).is_some_and(|port| port.readable) {
            self.core.ports.mark_ready(id);
        }
    }

    fn deliver_datagram(
        &mut self,
        id: DatagramId,
        data: Option<&[u8]>,
        length: usize,
        from: Address,
    ) {
        if self.core.ports.open(id).is_none() {
            return; // closed over the one before it
        }
        let sender = from.clone();
        let result = self.datagram_callback(id, |protocol, transport| match data {
            Some(data) => protocol.datagram_received(transport, data, from),
            None => protocol.datagram_oversized(transport, length, from),
        });
        self.log_failure(id, Some(&sender), result);
    }

    fn refused(&mut self, id: DatagramId) {
        let result = self
            .datagram_callback(id, |protocol, transport| protocol.connection_refused(transport));
        self.log_failure(id, None, result);
    }

    /// Sends what was posted, as far as the kernel takes it.
    pub(crate) fn flush_datagrams(&mut self) {
        for id in std::mem::take(&mut self.core.ports.dirty) {
            if let Some(port) = self.core.ports.get_mut(id) {
                port.in_dirty = false;
                self.flush_port(id, BATCHES_A_TURN * BATCH);
            }
        }
    }

    /// Sends at most `budget` datagrams of what was posted.
    pub(super) fn flush_port(&mut self, id: DatagramId, mut budget: usize) {
        while budget > 0 {
            let Some(port) = self.core.ports.get_mut(id) else { return };
            if !port.writable || port.outbox.is_empty() {
                break;
            }
            match port.socket.send(&port.outbox) {
                Ok(sent) => {
                    (0..sent).for_each(|_| drop(port.outbox.pop()));
                    budget = budget.saturating_sub(sent);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    port.writable = false;
                    let source = Source::Datagram(id.slot);
                    let awaited = self.core.network.watch_datagram(&mut port.socket, source, true);
                    if let Err(error) = awaited {
                        debug!(target: LOG, "{}: {error}", port.host);
                        port.writable = true; // then it is tried again and again
                    }
                    break;
                }
                // Over an earlier one: this one was not sent, and will be.
                Err(error)
                    if error.kind() == io::ErrorKind::ConnectionRefused && port.peer.is_some() =>
                {
                    budget -= 1;
                    self.refused(id);
                }
                Err(error) => {
                    budget -= 1;
                    let to = port.outbox.pop();
                    let result = self.datagram_callback(id, |protocol, transport| {
                        protocol.send_failed(transport, to, &error)
                    });
                    self.log_failure(id, None, result);
                }
            }
        }
        let Some(port) = self.core.ports.open(id) else { return };
        if port.writable && !port.outbox.is_empty() {
            self.core.ports.mark_dirty(id);
        }
        let Some(port) = self.core.ports.open(id) else { return };
        if port.owes_resume && port.outbox.cost() <= port.queue_limit / 2 {
            port.owes_resume = false;
            let result = self.datagram_callback(id, |protocol, transport| {
                protocol.resume_producing(transport);
                Ok(())
            });
            self.log_failure(id, None, result);
        }
    }

    /// Makes a callback of a datagram protocol: its error, or its panic as an error.
    pub(crate) fn datagram_callback(
        &mut self,
        id: DatagramId,
        call: impl FnOnce(&mut dyn DatagramProtocol, &mut DatagramTransport<'_>) -> Result,
    ) -> Result {
        let Some(Some(protocol)) = self.datagrams.get_mut(id.slot as usize) else {
            return Ok(());
        };
        let mut transport = DatagramTransport { core: &mut self.core, id };
        crate::panics::isolate(|| call(&mut **protocol, &mut transport))
            .unwrap_or_else(|message| Err(format!("its protocol panicked: {message}").into()))
    }

    /// The socket lives on; the log says what happened, and over whose datagram.
    pub(crate) fn log_failure(&self, id: DatagramId, from: Option<&Address>, result: Result) {
        let (Err(error), Some(port)) = (result, self.core.ports.get(id)) else { return };
        match from {
            Some(from) => {
                log::error!(target: LOG, "{}: a datagram from {from}: {error}", port.host)
            }
            None => log::error!(target: LOG, "{}: {error}", port.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::UdpSocket;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::Posted;

    #[derive(Default)]
    struct Counts {
        refused: Cell<usize>,
        failed: Cell<usize>,
    }

    struct Client(Rc<Counts>);

    impl DatagramProtocol for Client {
        fn datagram_received(
            &mut self,
            _: &mut DatagramTransport<'_>,
            _: &[u8],
            _: Address,
        ) -> Result {
            Ok(())
        }

        fn connection_refused(&mut self, _: &mut DatagramTransport<'_>) -> Result {
            self.0.refused.set(self.0.refused.get() + 1);
            Ok(())
        }

        fn send_failed(
            &mut self,
            _: &mut DatagramTransport<'_>,
            _: Option<Address>,
            _: &io::Error,
        ) -> Result {
            self.0.failed.set(self.0.failed.get() + 1);
            Ok(())
        }
    }

    /// A refusal that comes in between reading and sending meets a datagram that has nothing to do
    /// with it.
    #[test]
    fn a_datagram_that_meets_the_refusal_of_an_earlier_one_is_sent_all_the_same() {
        let mut reactor = Reactor::new().expect("a poller");
        let nobody = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let there = nobody.local_addr().expect("it is bound");
        drop(nobody);
        let counts = Rc::new(Counts::default());
        reactor.connect_datagram(there, Client(counts.clone())).forget();
        reactor.turn(Some(Duration::ZERO)).expect("a turn");
        let id = reactor.core.ports.ids()[0];
        let send = |reactor: &mut Reactor, data: &[u8]| {
            assert_eq!(reactor.datagram(id).expect("it lives").send(data), Posted::Taken);
            reactor.flush_datagrams();
        };
        send(&mut reactor, b"refused");
        let somebody = UdpSocket::bind(there).expect("it is free");
        send(&mut reactor, b"taken");
        let mut buffer = [0; 10];
        somebody.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let count = somebody.recv(&mut buffer).expect("in time");
        assert_eq!(&buffer[..count], b"taken");
        assert_eq!((counts.refused.get(), counts.failed.get()), (1, 0));
    }
}
