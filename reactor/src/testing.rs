//! For tests of protocols: one protocol in a harness, or two back to back. Virtual time, no
//! sockets, no threads; every call returns when nothing more would happen by itself.
//!
//! For whole programs, many connections and a hostile network, see
//! [`simulation`](crate::simulation).

mod process;

pub use process::ProcessHarness;

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::simulation::Peer;
use crate::{
    Address, ConnectionId, ConnectionOptions, ListenOptions, Protocol, Reactor, Reason, Result,
    Simulation, Transport,
};

/// One protocol on one connection: feed it bytes, read what it wrote, let time pass.
///
/// ```
/// # use bytes::BytesMut;
/// # use ropewalk_reactor::{Protocol, Result, Transport};
/// use ropewalk_reactor::testing::Harness;
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
/// #         transport.write(&data.split());
/// #         Ok(())
/// #     }
/// # }
/// let mut harness = Harness::new(Echo);
/// harness.feed(b"hello");
/// assert_eq!(harness.written(), "hello");
/// harness.close();
/// assert!(harness.is_lost());
/// ```
pub struct Harness<P: Protocol> {
    simulation: Simulation,
    peer: Peer,
    id: ConnectionId,
    fate: Rc<RefCell<Fate<P>>>,
}

/// What is left of a protocol when its connection is lost.
struct Fate<P> {
    id: Option<ConnectionId>,
    lost: Option<Reason>,
    protocol: Option<P>,
}

const HERE: &str = "10.0.0.1:1000";

impl<P: Protocol> Harness<P> {
    /// Connects `protocol` to the test: `connection_made` has been called when this returns.
    pub fn new(protocol: P) -> Self {
        Self::with_options(protocol, ConnectionOptions::default())
    }

    /// As [`new`](Self::new), with marks, limits and timeouts.
    pub fn with_options(protocol: P, options: ConnectionOptions) -> Self {
        let mut simulation = Simulation::calm();
        let fate = Rc::new(RefCell::new(Fate { id: None, lost: None, protocol: None }));
        let mut once = Some(Watched { inner: Some(protocol), fate: fate.clone() });
        let listening = simulation.reactor().listen_with(
            ListenOptions::default().connection(options),
            HERE,
            move |_: Address| once.take(),
        );
        assert!(listening.is_ok(), "a fresh simulation's address is free");
        let peer = simulation.dial(HERE).expect("a good address");
        let found = fate.clone();
        simulation.run_until(move |_| found.borrow().id.is_some());
        let id = fate.borrow().id.expect("the simulation runs until it is set");
        let mut harness = Self { simulation, peer, id, fate };
        harness.run();
        harness
    }

    /// Gives the protocol `data` in one piece, and lets the loop run until nothing more happens.
    pub fn feed(&mut self, data: &[u8]) {
        self.peer.write(data);
        self.run();
    }

    /// Gives the protocol `data` one byte at a time, each in a call of its own.
    pub fn feed_bytewise(&mut self, data: &[u8]) {
        for byte in data.chunks(1) {
            self.feed(byte);
        }
    }

    /// What the protocol has written since the last call.
    pub fn written(&mut self) -> Bytes {
        self.peer.read()
    }

    /// The peer takes nothing more: what the protocol writes fills up, 16 MiB further on.
    /// [`room`](Self::room) makes that less.
    pub fn stop_reading(&mut self) {
        self.peer.stop_reading();
    }

    /// The peer takes everything again.
    pub fn resume_reading(&mut self) {
        self.peer.resume_reading();
        self.run();
    }

    /// From now on, the network between the protocol and its peer holds at most `bytes`.
    pub fn room(&mut self, bytes: usize) {
        self.simulation.capacity(bytes);
    }

    /// Lets virtual time pass; timers that are due meanwhile fire.
    pub fn advance(&mut self, duration: Duration) {
        self.simulation.run_for(duration);
        self.run();
    }

    /// The peer closes its sending half (its FIN).
    pub fn close(&mut self) {
        self.peer.shutdown();
        self.run();
    }

    /// The peer resets the connection.
    pub fn reset(&mut self) {
        self.peer.reset();
        self.run();
    }

    /// Whether the protocol has closed its sending half: the peer sees the end.
    pub fn is_closed(&self) -> bool {
        self.peer.is_ended()
    }

    /// Whether `connection_lost` has been called.
    pub fn is_lost(&self) -> bool {
        self.fate.borrow().lost.is_some()
    }

    /// The reason that `connection_lost` was given.
    pub fn reason(&self) -> Option<Reason> {
        self.fate.borrow().lost.clone()
    }

    /// The name of the connection.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Calls `call` with the protocol and its transport, then lets the loop run.
    ///
    /// # Panics
    /// If the connection is lost: see [`into_protocol`](Self::into_protocol).
    pub fn with<R>(&mut self, call: impl FnOnce(&mut P, &mut Transport<'_>) -> R) -> R {
        let id = self.id;
        let answer = self.simulation.reactor().with_protocol::<P, R>(id, call);
        self.run();
        answer.expect("the connection is lost")
    }

    /// The protocol, after the connection was lost.
    ///
    /// # Panics
    /// If it was not.
    pub fn into_protocol(self) -> P {
        let protocol = self.fate.borrow_mut().protocol.take();
        protocol.expect("the connection is not lost")
    }

    /// The reactor that the protocol lives on.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.simulation.reactor()
    }

    /// Lets the loop run until nothing more happens without time passing.
    fn run(&mut self) {
        self.simulation.settle_now();
    }
}

/// Hands everything on, and keeps the protocol when its connection is lost.
struct Watched<P: Protocol> {
    inner: Option<P>,
    fate: Rc<RefCell<Fate<P>>>,
}

impl<P: Protocol> Watched<P> {
    fn inner(&mut self) -> &mut P {
        self.inner.as_mut().expect("it leaves only with the connection's loss, the last callback")
    }
}

impl<P: Protocol> Protocol for Watched<P> {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        self.fate.borrow_mut().id = Some(transport.id());
        self.inner().connection_made(transport)
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        self.inner().data_received(transport, data)
    }

    fn descriptor_received(
        &mut self,
        transport: &mut Transport<'_>,
        descriptor: OwnedFd,
    ) -> Result {
        self.inner().descriptor_received(transport, descriptor)
    }

    fn handshake_completed(&mut self, transport: &mut Transport<'_>) -> Result {
        self.inner().handshake_completed(transport)
    }

    fn read_closed(&mut self, transport: &mut Transport<'_>) -> Result {
        self.inner().read_closed(transport)
    }

    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        self.inner().pause_producing(transport);
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        self.inner().resume_producing(transport);
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        self.inner().connection_lost(transport, reason);
        let mut fate = self.fate.borrow_mut();
        fate.lost = Some(reason.clone());
        fate.protocol = self.inner.take();
    }

    fn layer(&mut self, of: std::any::TypeId) -> Option<&mut dyn std::any::Any> {
        crate::protocol::layer_of(self.inner.as_mut()?, of)
    }
}

/// Two protocols back to back, on one simulated reactor.
///
/// ```
/// # use bytes::BytesMut;
/// # use ropewalk_reactor::{Protocol, Result, Transport};
/// use ropewalk_reactor::testing::Pair;
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
/// #         transport.write(&data.split());
/// #         Ok(())
/// #     }
/// # }
/// # #[derive(Default)]
/// # struct Client(Vec<u8>);
/// # impl Protocol for Client {
/// #     fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
/// #         transport.write(b"hello");
/// #         Ok(())
/// #     }
/// #     fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
/// #         self.0.extend_from_slice(&data.split());
/// #         Ok(())
/// #     }
/// # }
/// let mut pair = Pair::new(1, Client::default(), Echo);
/// pair.settle();
/// let heard = pair.client(|client, _| client.0.clone());
/// assert_eq!(heard.as_deref(), Some(&b"hello"[..]));
/// ```
pub struct Pair<C: Protocol, S: Protocol> {
    simulation: Simulation,
    client: Rc<RefCell<Fate<C>>>,
    server: Rc<RefCell<Fate<S>>>,
}

impl<C: Protocol, S: Protocol> Pair<C, S> {
    /// Connects `client` to `server` over a network that plays as `seed` says.
    pub fn new(seed: u64, client: C, server: S) -> Self {
        let mut simulation = Simulation::new(seed);
        let client_fate = Rc::new(RefCell::new(Fate { id: None, lost: None, protocol: None }));
        let server_fate = Rc::new(RefCell::new(Fate { id: None, lost: None, protocol: None }));
        let mut server = Some(Watched { inner: Some(server), fate: server_fate.clone() });
        let mut client = Some(Watched { inner: Some(client), fate: client_fate.clone() });
        let reactor = simulation.reactor();
        let listening = reactor.listen(HERE, move |_: Address| server.take());
        assert!(listening.is_ok(), "a fresh simulation's address is free");
        reactor.connect(HERE, move |_: Address| client.take()).forget();
        Self { simulation, client: client_fate, server: server_fate }
    }

    /// Lets both run until nothing more happens within an hour of virtual time.
    pub fn settle(&mut self) {
        self.simulation.settle();
    }

    /// Lets virtual time pass.
    pub fn advance(&mut self, duration: Duration) {
        self.simulation.run_for(duration);
    }

    /// The simulation that both live in.
    pub fn simulation(&mut self) -> &mut Simulation {
        &mut self.simulation
    }

    /// Calls `call` with the client's protocol and transport; `None` when it is not connected.
    pub fn client<R>(&mut self, call: impl FnOnce(&mut C, &mut Transport<'_>) -> R) -> Option<R> {
        let id = self.client.borrow().id?;
        self.simulation.reactor().with_protocol::<C, R>(id, call)
    }

    /// Calls `call` with the server's protocol and transport; `None` when it is not connected.
    pub fn server<R>(&mut self, call: impl FnOnce(&mut S, &mut Transport<'_>) -> R) -> Option<R> {
        let id = self.server.borrow().id?;
        self.simulation.reactor().with_protocol::<S, R>(id, call)
    }

    /// Why the client's connection was lost, if it was, and its protocol.
    pub fn lost_client(&mut self) -> Option<(C, Reason)> {
        let mut fate = self.client.borrow_mut();
        Some((fate.protocol.take()?, fate.lost.clone()?))
    }

    /// Why the server's connection was lost, if it was, and its protocol.
    pub fn lost_server(&mut self) -> Option<(S, Reason)> {
        let mut fate = self.server.borrow_mut();
        Some((fate.protocol.take()?, fate.lost.clone()?))
    }
}
