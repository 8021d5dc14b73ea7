//! What a callback may ask of the reactor: to write, to close, to wait, to connect, on its own
//! connection or any other. A transport only takes notes; nothing that it is asked for runs user
//! code before the callback has returned.

use std::any::{Any, TypeId};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::address::Address;
use crate::connection::Stage;
use crate::core::{Alarm, Core, ProtocolCall};
use crate::endpoint::IntoEndpoint;
use crate::options::{ConnectOptions, ConnectionOptions, ListenOptions};
use crate::output::Written;
use crate::policy::Direction;
use crate::protocol::{Protocol, Reason, layer_of};
#[cfg(feature = "_tls")]
use crate::tls::{self, StartTls};
use crate::{ConnectionId, Deferred, Error, Factory, ListenerId, TimerId};

/// A connection as its protocol sees it, for as long as a callback runs.
pub struct Transport<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) id: ConnectionId,
}

impl Transport<'_> {
    /// Names this connection; any later callback can reach it by this name.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Any other connection of this reactor, to write to, pause, measure or close; `None` when
    /// it has gone. Its protocol sees nothing of this but the effects.
    pub fn connection(&mut self, id: ConnectionId) -> Option<Transport<'_>> {
        reach(self.core, id)
    }

    // Writing.

    /// Queues `data` to be sent at the end of this turn, behind what is queued already. It is
    /// never refused while the connection is open; a connection that has more than
    /// [`output_limit`](ConnectionOptions::output_limit) waiting at the end of a turn is aborted.
    pub fn write(&mut self, data: &[u8]) -> Written {
        let Some(connection) = self.core.connections.get_mut(self.id) else {
            return Written::Gone;
        };
        let is_policed = connection.policed.is_some();
        let written = connection.write(data, &mut self.core.outputs);
        if !connection.in_dirty && written != Written::Gone {
            connection.in_dirty = true;
            self.core.dirty.push(self.id);
        }
        if is_policed && written != Written::Gone {
            self.core.log_traffic(self.id, Direction::Out, data);
        }
        written
    }

    /// As [`write`](Self::write); a payload of 16 KiB or more is queued without being copied.
    pub fn write_bytes(&mut self, data: Bytes) -> Written {
        let Some(connection) = self.core.connections.get_mut(self.id) else {
            return Written::Gone;
        };
        let policed = connection.policed.as_ref().map(|_| data.clone());
        let written = connection.write_bytes(data, &mut self.core.outputs);
        if !connection.in_dirty && written != Written::Gone {
            connection.in_dirty = true;
            self.core.dirty.push(self.id);
        }
        if let Some(data) = policed.filter(|_| written != Written::Gone) {
            self.core.log_traffic(self.id, Direction::Out, &data);
        }
        written
    }

    /// Bytes written and not yet taken by the kernel; those that are encrypted already count with
    /// what TLS adds to them. A [file](Self::write_file) counts for what is left of it, but for no more
    /// than one byte above the high-water mark: it takes no memory.
    pub fn buffered(&self) -> usize {
        self.core.connections.get(self.id).map_or(0, |connection| connection.buffered())
    }

    /// The same, with all bytes that are left of files: it falls whenever the peer has taken something.
    pub fn unsent(&self) -> usize {
        self.core.connections.get(self.id).map_or(0, |connection| connection.unsent())
    }

    /// What a write would answer now.
    pub fn writability(&self) -> Written {
        match self.core.connections.get(self.id) {
            Some(connection) if connection.takes_output() => connection.judge(),
            _ => Written::Gone,
        }
    }

    // Closing.

    /// Closes in order: what was written is flushed, then the peer sees the end. No more data is
    /// received; `connection_lost` comes when all is done, or when the peer took nothing for
    /// [`flush_timeout`](ConnectionOptions::flush_timeout).
    #[doc(alias = "loseConnection")]
    pub fn lose_connection(&mut self) {
        let done =
            self.core.connections.get(self.id).is_some_and(|connection| connection.read_ended);
        let reason = if done { Reason::Done } else { Reason::Closed };
        self.core.lose(self.id, reason, false);
    }

    /// Closes the sending half once what was written is flushed: the peer sees the end, and its
    /// own data still arrives here.
    ///
    /// With TLS, not every peer goes on: TLS 1.2 told it to close at once, and to drop what it had
    /// yet to say (RFC 5246 §7.2.1). Where the answer counts, wait for it.
    #[doc(alias = "loseWriteConnection")]
    pub fn lose_write_connection(&mut self) {
        if let Some(connection) = self.core.connections.get_mut(self.id)
            && connection.stage == Stage::Open
            && !connection.write_closing
        {
            connection.write_closing = true;
            self.core.mark_dirty(self.id);
        }
    }

    /// Ends the connection at once: what is buffered is thrown away, and the peer sees a reset.
    #[doc(alias = "abortConnection")]
    pub fn abort_connection(&mut self) {
        self.core.abort(self.id, Reason::Aborted);
    }

    /// Whether the connection is on its way out: it delivers nothing and takes nothing more.
    pub fn is_closing(&self) -> bool {
        self.core.connections.get(self.id).is_none_or(|connection| connection.stage != Stage::Open)
    }

    // Reading.

    /// No more `data_received` until [`resume_reading`](Self::resume_reading): what arrives waits
    /// in the kernel, and the peer is slowed down by TCP itself.
    #[doc(alias = "pauseProducing")]
    pub fn pause_reading(&mut self) {
        if let Some(connection) = self.core.connections.get_mut(self.id) {
            connection.paused = true;
        }
    }

    /// Reads again. What `data_received` left in its buffer when it paused is delivered again,
    /// whether or not more has arrived; so is a FIN that came meanwhile.
    #[doc(alias = "resumeProducing")]
    pub fn resume_reading(&mut self) {
        self.core.resume_reading(self.id);
    }

    /// Whether reading is paused by [`pause_reading`](Self::pause_reading).
    pub fn is_reading_paused(&self) -> bool {
        self.core.connections.get(self.id).is_some_and(|connection| connection.paused)
    }

    // TLS.

    /// Begins TLS in mid-stream: everything that was written before goes out as it is, everything
    /// written from now on is sent after the handshake, and the next bytes of the peer have to be its
    /// handshake. The protocol stays the same; [`handshake_completed`](Protocol::handshake_completed)
    /// tells when it is done.
    ///
    /// In `data_received`, consume the message that asks for TLS and nothing behind it. What is left
    /// in `data` is taken for the beginning of the handshake: a command that somebody smuggled in
    /// there, before the stream was protected, makes the handshake fail and is never seen
    /// (CVE-2011-0411). A loop over `data` has to end: see [`wants_data`](Self::wants_data).
    ///
    /// # Errors
    /// [`Error::Tls`] if TLS has begun already, or a half of the connection is closed.
    #[cfg(feature = "_tls")]
    #[doc(alias = "startTLS")]
    pub fn start_tls(&mut self, tls: impl Into<StartTls>) -> Result<(), Error> {
        self.core.start_tls(self.id, tls.into().0)
    }

    /// What a TLS session has agreed on: `None` without TLS, and before the handshake is done. It
    /// stays readable in `connection_lost`.
    #[cfg(feature = "_tls")]
    pub fn tls(&self) -> Option<tls::Info<'_>> {
        let filter = match (self.core.connections.get(self.id), &self.core.departed) {
            (Some(connection), _) => &connection.filter,
            (None, Some(departed)) if departed.id == self.id => &departed.filter,
            (None, _) => return None,
        };
        filter.as_ref()?.tls()
    }

    /// Whether a TLS handshake is under way, also if it was only just asked for: nothing that is
    /// left in `data` is the protocol's any more.
    pub fn is_handshaking(&self) -> bool {
        self.core.connections.get(self.id).is_some_and(|connection| connection.is_handshaking())
    }

    /// Whether more may be delivered: the connection is not closing, reading is not paused, and no
    /// handshake is under way. A loop over `data` asks this before each message.
    pub fn wants_data(&self) -> bool {
        self.core.connections.get(self.id).is_some_and(|connection| {
            connection.stage == Stage::Open && !connection.paused && !connection.is_handshaking()
        })
    }

    // Addresses and options.

    /// The other end's address; it stays readable in `connection_lost`.
    #[doc(alias = "getPeer")]
    pub fn peer(&self) -> Address {
        match (self.core.connections.get(self.id), &self.core.departed) {
            (Some(connection), _) => connection.peer.clone(),
            (None, Some(departed)) if departed.id == self.id => departed.peer.clone(),
            (None, _) => UNKNOWN,
        }
    }

    /// This end's address; it stays readable in `connection_lost`.
    #[doc(alias = "getHost")]
    pub fn host(&self) -> Address {
        match (self.core.connections.get(self.id), &self.core.departed) {
            (Some(connection), _) => connection.stream.local_address().unwrap_or(UNKNOWN),
            (None, Some(departed)) if departed.id == self.id => {
                departed.host.clone().unwrap_or(UNKNOWN)
            }
            (None, _) => UNKNOWN,
        }
    }

    /// Changes marks and limits of this connection. Socket options keep what they were.
    pub fn set_options(&mut self, options: ConnectionOptions) {
        if let Some(connection) = self.core.connections.get_mut(self.id) {
            connection.options = Rc::new(options);
            self.core.mark_dirty(self.id);
        }
    }

    /// The marks and limits of this connection.
    pub fn options(&self) -> ConnectionOptions {
        self.core
            .connections
            .get(self.id)
            .map_or_else(ConnectionOptions::default, |connection| (*connection.options).clone())
    }

    // Time, chance, and the rest of the reactor.

    crate::any_transport::any_transport!();

    /// Calls `call` with this connection's protocol after `delay`, unless the connection has gone
    /// by then. Never runs inside this call, even with a delay of zero. `P` is the protocol's
    /// type, or that of a layer inside it; for any other type the call is dropped with a log line.
    ///
    /// The delay counts from the beginning of this turn.
    #[doc(alias = "callLater")]
    pub fn call_later<P: Any>(
        &mut self,
        delay: Duration,
        call: impl FnOnce(&mut P, &mut Transport<'_>) + 'static,
    ) -> TimerId {
        let call = typed::<P>(call);
        let alarm = Alarm::Protocol(self.id, call);
        let timer = self.core.timers.insert(self.core.clock.after(delay), alarm);
        match self.core.connections.get_mut(self.id) {
            Some(connection) if connection.stage != Stage::Lost => {
                self.core.timers.own(&mut connection.timers, timer);
            }
            _ => drop(self.core.cancel(timer)),
        }
        timer
    }

    /// As [`Reactor::listen`](crate::Reactor::listen).
    ///
    /// # Errors
    /// The address is bad, in use, or not permitted.
    pub fn listen(
        &mut self,
        endpoint: impl IntoEndpoint,
        factory: impl Factory,
    ) -> Result<ListenerId, Error> {
        self.listen_with(ListenOptions::default(), endpoint, factory)
    }

    /// As [`listen`](Self::listen), with options.
    ///
    /// # Errors
    /// The address is bad, in use, or not permitted.
    pub fn listen_with(
        &mut self,
        options: ListenOptions,
        endpoint: impl IntoEndpoint,
        factory: impl Factory,
    ) -> Result<ListenerId, Error> {
        self.core.listen(endpoint.into_endpoint(), Box::new(factory), options)
    }

    /// As [`Reactor::connect`](crate::Reactor::connect).
    pub fn connect(
        &mut self,
        endpoint: impl IntoEndpoint,
        factory: impl Factory,
    ) -> Deferred<ConnectionId> {
        self.connect_with(ConnectOptions::default(), endpoint, factory)
    }

    /// As [`connect`](Self::connect), with options.
    pub fn connect_with(
        &mut self,
        options: ConnectOptions,
        endpoint: impl IntoEndpoint,
        factory: impl Factory,
    ) -> Deferred<ConnectionId> {
        self.core.connect(endpoint.into_endpoint(), Box::new(factory), options)
    }

    /// Calls `call` with this connection's protocol and the result of `deferred`, once it is
    /// there; if the connection has gone by then, the result is dropped.
    pub fn when<P: Any, T: 'static>(
        &mut self,
        deferred: Deferred<T>,
        call: impl FnOnce(&mut P, &mut Transport<'_>, Result<T, Error>) + 'static,
    ) {
        let id = self.id;
        deferred.then(move |reactor, result| {
            reactor.with_protocol::<P, _>(id, move |protocol, transport| {
                call(protocol, transport, result);
            });
        });
    }

    /// Runs a future on the loop; see [`Reactor::spawn`](crate::Reactor::spawn).
    pub fn spawn<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> Deferred<T> {
        self.core.local.spawn(future)
    }

    /// Runs `job` on the thread pool; see
    /// [`Reactor::defer_to_thread`](crate::Reactor::defer_to_thread).
    #[doc(alias = "deferToThread")]
    pub fn defer_to_thread<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Deferred<T> {
        self.core.defer_to_thread(job)
    }
}

/// The transport of a connection that has not gone.
pub(crate) fn reach(core: &mut Core, id: ConnectionId) -> Option<Transport<'_>> {
    let connection = core.connections.get(id)?;
    (connection.stage != Stage::Lost).then_some(Transport { core, id })
}

/// What an address reads as when its connection has long gone.
const UNKNOWN: Address = Address::Tcp(std::net::SocketAddr::V4(std::net::SocketAddrV4::new(
    std::net::Ipv4Addr::UNSPECIFIED,
    0,
)));

/// Wraps a call that names its protocol's type, to be made with a protocol of unknown type.
fn typed<P: Any>(call: impl FnOnce(&mut P, &mut Transport<'_>) + 'static) -> ProtocolCall {
    Box::new(move |protocol, transport| match downcast::<P>(protocol) {
        Some(protocol) => call(protocol, transport),
        None => log::error!(
            target: crate::LOG,
            "{}: a call was set for a {}, which its protocol is not",
            transport.peer(),
            std::any::type_name::<P>(),
        ),
    })
}

/// The layer of type `P` of a protocol.
pub(crate) fn downcast<P: Any>(protocol: &mut dyn Protocol) -> Option<&mut P> {
    layer_of(protocol, TypeId::of::<P>())?.downcast_mut()
}
