//! A peer on the simulated network that is no reactor: raw bytes, sent and read by hand. It moves
//! whenever the simulation takes a step.

use std::cell::RefCell;
use std::io::IoSlice;
use std::rc::{Rc, Weak};

use bytes::{Bytes, BytesMut};

use super::network::Stream;

/// Received in one go; more waits for the next step.
const READ_SIZE: usize = 64 * 1024;

/// One end of a connection, in the hands of a test.
///
/// It sends as the network has room, and receives all that arrives unless reading is
/// [stopped](Self::stop_reading). Dropping it closes the socket as [`close`](Self::close) does.
#[derive(Debug)]
pub struct Peer(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    stream: Option<Stream>,
    unsent: BytesMut,
    received: BytesMut,
    reads: bool,
    shut: bool,
    ended: bool,
    reset: bool,
}

/// The peers of a simulation, as far as tests still hold them.
#[derive(Default)]
pub(crate) struct Peers(Vec<Weak<RefCell<State>>>);

impl Peers {
    pub(crate) fn add(&mut self, stream: Stream) -> Peer {
        let peer = Peer::new(stream);
        self.0.push(Rc::downgrade(&peer.0));
        peer
    }

    pub(crate) fn pump(&mut self) {
        self.0.retain(|peer| match peer.upgrade() {
            None => false,
            Some(state) => {
                state.borrow_mut().pump();
                true
            }
        });
    }
}

impl State {
    fn pump(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        if stream.is_connecting() {
            return;
        }
        while !self.unsent.is_empty() {
            match stream.send(&[IoSlice::new(&self.unsent)]) {
                Ok(count) => drop(self.unsent.split_to(count)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => self.unsent.clear(),
            }
        }
        if self.shut && self.unsent.is_empty() {
            stream.shutdown_write();
        }
        if self.reads {
            while self.receive(READ_SIZE) > 0 {}
        }
    }

    fn receive(&mut self, limit: usize) -> usize {
        let Some(stream) = &mut self.stream else { return 0 };
        match stream.recv(&mut self.received, limit) {
            Ok(0) => {
                self.ended = true;
                0
            }
            Ok(count) => count,
            Err(error) => {
                let failed = error.kind() != std::io::ErrorKind::WouldBlock;
                self.ended |= failed;
                self.reset |= failed;
                0
            }
        }
    }
}

impl Peer {
    /// One that moves when it is [pumped](Self::pump).
    pub(super) fn new(stream: Stream) -> Self {
        Self(Rc::new(RefCell::new(State {
            stream: Some(stream),
            unsent: BytesMut::new(),
            received: BytesMut::new(),
            reads: true,
            shut: false,
            ended: false,
            reset: false,
        })))
    }

    pub(super) fn pump(&self) {
        self.0.borrow_mut().pump();
    }

    /// Sends `data`, behind what still waits.
    pub fn write(&mut self, data: &[u8]) {
        let mut state = self.0.borrow_mut();
        state.unsent.extend_from_slice(data);
        state.pump();
    }

    /// Bytes written that the network has not taken yet.
    pub fn unsent(&self) -> usize {
        self.0.borrow().unsent.len()
    }

    /// What was received since the last call.
    pub fn read(&mut self) -> Bytes {
        let mut state = self.0.borrow_mut();
        state.pump();
        state.received.split().freeze()
    }

    /// Receives nothing more by itself: what arrives stays in the network, which fills up.
    pub fn stop_reading(&mut self) {
        self.0.borrow_mut().reads = false;
    }

    /// Receives again all that arrives.
    pub fn resume_reading(&mut self) {
        self.0.borrow_mut().reads = true;
    }

    /// Receives at most `limit` bytes while reading is stopped: a slow reader.
    pub fn read_at_most(&mut self, limit: usize) -> Bytes {
        let mut state = self.0.borrow_mut();
        if limit > 0 {
            state.receive(limit);
        }
        state.received.split().freeze()
    }

    /// Whether the other side's end was read: its FIN, or a failure of the connection.
    pub fn is_ended(&self) -> bool {
        self.0.borrow().ended
    }

    /// Whether the connection was reset, or refused.
    pub fn was_reset(&self) -> bool {
        self.0.borrow().reset
    }

    /// Closes the sending half once everything is sent.
    pub fn shutdown(&mut self) {
        let mut state = self.0.borrow_mut();
        state.shut = true;
        state.pump();
    }

    /// Closes the socket; input that arrived and was not read makes it a reset, as with the
    /// kernel's.
    pub fn close(&mut self) {
        let mut state = self.0.borrow_mut();
        state.pump();
        state.stream = None;
    }

    /// Is gone without a word, as a machine whose cable is pulled: whoever was connected is not told,
    /// and what is sent gets no answer.
    pub fn vanish(&mut self) {
        let mut state = self.0.borrow_mut();
        if let Some(stream) = &mut state.stream {
            stream.vanish();
        }
        state.stream = None;
    }

    /// Closes the socket with a reset.
    pub fn reset(&mut self) {
        let mut state = self.0.borrow_mut();
        if let Some(stream) = &mut state.stream {
            stream.reset_on_close();
        }
        state.stream = None;
    }
}
