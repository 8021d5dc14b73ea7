//! A connection as a future sees it: read, write, and wait for room, with `await` between.
//!
//! It is thin: behind it stands a [`Protocol`](crate::Protocol) that puts what it is called with
//! where the future finds it. The one rule: a future holds no transport. It takes from a buffer of
//! its own, and what it asks for is queued and done in the same turn, after the futures' step.

use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::address::Address;
use crate::endpoint::IntoEndpoint;
use crate::local::Local;
use crate::options::ConnectOptions;
use crate::output::Written;
use crate::protocol::Reason;
use crate::{ConnectionId, Error, Reactor, Transport};

pub(crate) mod protocol;
mod reading;
pub(crate) mod serving;
pub(crate) mod shared;

use protocol::AsyncProtocol;
use shared::{Request, Shared};

/// One side of one connection, for the one future that reads from it.
///
/// [`async_protocol`](crate::async_protocol) gives each accepted connection one, and
/// [`connect`](Self::connect) makes one. Writing and closing are those of [`AsyncWriter`], which a
/// stream also is; a [`writer`](AsyncWriter::writer) can be given to other futures.
///
/// Dropping the stream closes the connection in order, as
/// [`lose_connection`](AsyncWriter::lose_connection) does.
///
/// **Reading is safe to give up.** Every reading future takes bytes only when it is done, so one
/// that is dropped (by [`either`](crate::either) or a [`timeout`](Local::timeout)) has taken
/// nothing.
///
/// **Reading holds back.** Once [`read_mark`](crate::AsyncFactory::read_mark) bytes (64 KiB) wait
/// unread, reading pauses, and TCP slows the peer down; less than 64 KiB more may come before it
/// does.
#[doc(alias = "StreamReader")]
pub struct AsyncStream {
    writer: AsyncWriter,
}

/// What may be asked of a connection besides reading: to write, to wait for room, to close. Cheap to
/// clone, and it keeps nothing open: once the connection has gone, writes are answered
/// [`Gone`](Written::Gone).
#[doc(alias = "StreamWriter")]
#[derive(Clone)]
pub struct AsyncWriter {
    pub(crate) shared: Rc<Shared>,
}

impl AsyncStream {
    pub(crate) fn new(shared: Rc<Shared>) -> Self {
        Self { writer: AsyncWriter { shared } }
    }

    /// Connects to `endpoint`, as [`Reactor::connect`] does. Dropping this future cancels that.
    ///
    /// # Errors
    /// As [`Reactor::connect`].
    pub async fn connect(local: &Local, endpoint: impl IntoEndpoint) -> Result<Self, Error> {
        Self::connect_with(local, ConnectOptions::default(), endpoint).await
    }

    /// As [`connect`](Self::connect), with options.
    ///
    /// # Errors
    /// As [`Reactor::connect`].
    pub async fn connect_with(
        local: &Local,
        options: ConnectOptions,
        endpoint: impl IntoEndpoint,
    ) -> Result<Self, Error> {
        let endpoint = endpoint.into_endpoint()?;
        let shared = Rc::new(Shared::new(local.clone()));
        let mut protocol = Some(AsyncProtocol::around(shared.clone()));
        // First: whatever becomes of the rest, dropping this closes what may have been made.
        let stream = Self::new(shared);
        let connecting = local.call(move |reactor| {
            reactor.connect_with(options, endpoint, move |_: Address| protocol.take())
        });
        connecting.await?.await?;
        Ok(stream)
    }

    /// Whatever has come and was not read yet, at least a byte; `None` once the peer has closed its
    /// half, and after that again and again.
    ///
    /// # Errors
    /// [`Error::Lost`] when the connection was lost before the peer's end of it.
    #[doc(alias = "recv")]
    pub async fn read(&mut self) -> Result<Option<BytesMut>, Error> {
        self.take(|input| (!input.is_empty()).then(|| Ok(input.len()))).await
    }

    /// Exactly `count` bytes; `None` if the peer has closed its half before the first of them.
    ///
    /// `count` bytes are held in memory until all are there: where the peer says how many, look
    /// first whether that is too many.
    ///
    /// # Errors
    /// [`Error::CutOff`] when the peer closed in their middle (what there is of them,
    /// [`read`](Self::read) still gives), and [`Error::Lost`].
    #[doc(alias = "readexactly")]
    pub async fn read_exact(&mut self, count: usize) -> Result<Option<BytesMut>, Error> {
        self.take(|input| (input.len() >= count).then_some(Ok(count))).await
    }

    /// Everything up to and with `delimiter`, of at most `limit` bytes in all; `None` if the peer
    /// has closed its half before the first of them. An empty delimiter is found at once.
    ///
    /// # Errors
    /// [`Error::TooLong`] when there is no delimiter within `limit`, [`Error::CutOff`] when the peer
    /// closed before it (what there is, [`read`](Self::read) still gives), and [`Error::Lost`].
    #[doc(alias = "readuntil")]
    pub async fn read_until(
        &mut self,
        delimiter: &[u8],
        limit: usize,
    ) -> Result<Option<BytesMut>, Error> {
        let mut looked_at = 0;
        self.take(|input| reading::find(input, delimiter, limit, &mut looked_at)).await
    }

    /// A line without its end (a line feed, or a carriage return and a line feed), of at most
    /// `limit` bytes; `None` once the peer has closed its half.
    ///
    /// A last line without an end is [`Error::CutOff`]: half a command may be another command.
    /// [`read`](Self::read) still gives it.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::CutOff`] and [`Error::Lost`].
    #[doc(alias = "readline")]
    pub async fn read_line(&mut self, limit: usize) -> Result<Option<BytesMut>, Error> {
        let mut looked_at = 0;
        let line = self.take(|input| reading::find_line(input, limit, &mut looked_at)).await?;
        Ok(line.map(|mut line| {
            line.truncate(line.len() - reading::line_end(&line));
            line
        }))
    }

    /// All that comes until the peer closes its half, of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error::TooLong`], and [`Error::Lost`].
    pub async fn read_to_end(&mut self, limit: usize) -> Result<BytesMut, Error> {
        let all = self.take(|input| (input.len() > limit).then_some(Err(Error::TooLong(limit))));
        match all.await {
            Err(Error::CutOff) => Ok(self.read().await?.unwrap_or_default()),
            all => Ok(all?.unwrap_or_default()),
        }
    }

    /// Begins TLS in mid-stream, as [`Transport::start_tls`] does, and waits for the end of the
    /// handshake. What was written before goes out as it is; what this future writes from now on
    /// is sent after the handshake.
    ///
    /// # Errors
    /// [`Error::Tls`] if something has come from the peer that was not read yet: it came before the
    /// stream was protected, and anybody may have put it there (CVE-2011-0411). Close then.
    /// [`Error::Lost`] when the handshake fails; the [`reason`](AsyncWriter::reason) tells why.
    #[cfg(feature = "_tls")]
    #[doc(alias = "startTLS")]
    pub async fn start_tls(&mut self, tls: impl Into<crate::tls::StartTls>) -> Result<(), Error> {
        if self.shared.has_unread() {
            return Err(Error::Tls {
                subject: "this connection for TLS".to_owned(),
                problem: "something came before it began; close, and let the peer wait for the \
                          answer"
                    .to_owned(),
            });
        }
        self.shared.ask(Request::StartTls(Box::new(tls.into())));
        let done = self.shared.wait(|state| match (state.handshaken, &state.lost) {
            (true, _) => Some(Ok(())),
            (false, Some(_)) => Some(Err(state.lost_error())),
            (false, None) => None,
        });
        done.await
    }

    /// Waits until `take` says how many of the bytes that wait are taken, or fails.
    async fn take(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Option<Result<usize, Error>>,
    ) -> Result<Option<BytesMut>, Error> {
        poll_fn(|context| self.shared.poll_read(context, &mut take)).await
    }
}

impl Deref for AsyncStream {
    type Target = AsyncWriter;

    fn deref(&self) -> &AsyncWriter {
        &self.writer
    }
}

impl Drop for AsyncStream {
    fn drop(&mut self) {
        self.lose_connection();
    }
}

impl fmt::Debug for AsyncStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsyncStream({})", self.peer())
    }
}

impl AsyncWriter {
    /// Another one of the same connection.
    pub fn writer(&self) -> AsyncWriter {
        self.clone()
    }

    /// Queues `data` behind what is queued already; it goes out at the end of this turn. Like
    /// [`Transport::write`] it is never refused while the connection is open: whoever writes much
    /// awaits [`drain`](Self::drain) now and then.
    pub fn write(&self, data: impl AsRef<[u8]>) -> Written {
        self.shared.write(data.as_ref())
    }

    /// As [`write`](Self::write); a payload of 16 KiB or more is queued without being copied.
    pub fn write_bytes(&self, data: Bytes) -> Written {
        self.shared.write_bytes(data)
    }

    /// Waits for as long as more than the high-water mark is waiting to be sent, until that is down
    /// to the low-water mark (see [`ConnectionOptions`](crate::ConnectionOptions)). With less, it
    /// is done at once.
    ///
    /// # Errors
    /// [`Error::Lost`] when the connection is lost, or was closed here: nothing more will be taken.
    pub fn drain(&self) -> impl Future<Output = Result<(), Error>> + use<> {
        self.shared.wait(|state| match state.writability() {
            Written::Taken => Some(Ok(())),
            Written::AboveHighWater => None,
            Written::Gone => Some(Err(state.lost_error())),
        })
    }

    /// What a write would answer now.
    pub fn writability(&self) -> Written {
        self.shared.borrow().writability()
    }

    /// Closes in order: what was written is flushed, then the peer sees the end. Nothing more is
    /// received.
    #[doc(alias = "loseConnection")]
    #[doc(alias = "close")]
    pub fn lose_connection(&self) {
        self.shared.close(Request::Lose);
    }

    /// Closes the sending half once what was written is flushed; the peer's own data still arrives.
    #[doc(alias = "loseWriteConnection")]
    #[doc(alias = "write_eof")]
    pub fn lose_write_connection(&self) {
        self.shared.close(Request::LoseWrite);
    }

    /// Ends the connection at once: what is buffered is thrown away, and the peer sees a reset.
    #[doc(alias = "abortConnection")]
    pub fn abort_connection(&self) {
        self.shared.close(Request::Abort);
    }

    /// Waits until the connection is lost, and gives the reason; at once if it is lost already.
    ///
    /// With [`either`](crate::either), whatever else a future waits for ends with the connection.
    #[doc(alias = "connectionLost")]
    #[doc(alias = "wait_closed")]
    pub fn lost(&self) -> impl Future<Output = Reason> + use<> {
        self.shared.wait(|state| state.lost.clone())
    }

    /// Why the connection was lost; `None` while it is not.
    pub fn reason(&self) -> Option<Reason> {
        self.shared.borrow().lost.clone()
    }

    /// Names the connection among those of its reactor.
    pub fn id(&self) -> ConnectionId {
        // A stream is handed out when its connection is made.
        self.shared.borrow().id.unwrap_or(ConnectionId::new(0, 0))
    }

    /// The other end's address; it stays readable when the connection is lost.
    #[doc(alias = "getPeer")]
    pub fn peer(&self) -> Address {
        self.shared.borrow().peer.clone()
    }

    /// This end's address; it stays readable when the connection is lost.
    #[doc(alias = "getHost")]
    pub fn host(&self) -> Address {
        self.shared.borrow().host.clone()
    }

    /// The reactor, for timers, other futures and connections.
    pub fn local(&self) -> Local {
        self.shared.local().clone()
    }

    /// Asks anything else of the connection, on the loop, and gives the answer; what was written
    /// before has been handed over by then.
    ///
    /// # Errors
    /// [`Error::Gone`] when the connection has gone.
    pub async fn with<R: 'static>(
        &self,
        call: impl FnOnce(&mut Transport<'_>) -> R + 'static,
    ) -> Result<R, Error> {
        let id = self.id();
        let called = self.shared.local().call(move |reactor: &mut Reactor| {
            reactor.connection(id).map(|mut transport| call(&mut transport))
        });
        called.await?.ok_or(Error::Gone)
    }
}

impl fmt::Debug for AsyncWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsyncWriter({})", self.peer())
    }
}
