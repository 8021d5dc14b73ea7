//! The protocol behind a stream, and the factory that makes one out of an async function.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;

use super::AsyncStream;
use super::shared::{Failure, READ_MARK, Request, Shared};
use crate::address::Address;
use crate::protocol::{Factory, Protocol, Reason};
use crate::{Error, Result, Transport};

/// How long a function may go on without its connection: as long as a flush or a connect may take,
/// so that what it was in the middle of can be finished.
const GRACE: Duration = Duration::from_secs(30);

type Function = Pin<Box<dyn Future<Output = Result>>>;
type Begin = Rc<RefCell<dyn FnMut(AsyncStream) -> Function>>;

/// Makes a [`Factory`] of an async function: each connection is given to `function`, and what that
/// answers is run on the loop. It serves [`listen`](crate::Reactor::listen) and
/// [`connect`](crate::Reactor::connect) alike, on the system's sockets and in a simulation.
///
/// ```
/// use ropewalk_reactor::{Reactor, Result, async_protocol};
///
/// # fn main() -> Result {
/// let mut reactor = Reactor::new()?;
/// let echo = async_protocol(|mut stream| async move {
///     while let Some(data) = stream.read().await? {
///         stream.write(&data);
///         stream.drain().await?;
///     }
///     Ok(())
/// });
/// reactor.listen("127.0.0.1:0", echo)?;
/// # reactor.stop();
/// reactor.run()?;
/// # Ok(())
/// # }
/// ```
///
/// # How it ends
///
/// - The future's end closes the connection in order, what was written is flushed. If it gives
///   an error, that is the reason for the loss (and logged), as an `Err` from a callback; so
///   an error reply that was written before still goes out. A panic aborts the connection.
/// - When the connection is lost, whatever waits for it is done: reading gives what came before, and
///   then the error [`Error::Lost`](crate::Error::Lost), as does waiting for room. `?` ends the
///   function then. What waits for something else goes on; it may be in the middle of something
///   that wants to be finished. After [`grace`](AsyncFactory::grace), 30 s, it is dropped, with a
///   warning. ([`lost`](crate::AsyncWriter::lost) is there to wait for.)
/// - A stop of the reactor waits for the functions, too, until
///   [`shutdown_timeout`](crate::ReactorOptions::shutdown_timeout); those that are left are
///   dropped with the reactor.
/// - The peer's half close is no loss: reading gives `None`, and writing goes on.
#[doc(alias = "start_server")]
pub fn async_protocol<F, O>(mut function: F) -> AsyncFactory
where
    F: FnMut(AsyncStream) -> O + 'static,
    O: Future<Output = Result> + 'static,
{
    let begin = move |stream: AsyncStream| Box::pin(function(stream)) as Function;
    AsyncFactory { begin: Rc::new(RefCell::new(begin)), grace: GRACE, read_mark: READ_MARK }
}

/// What [`async_protocol`] makes.
#[derive(Clone)]
pub struct AsyncFactory {
    begin: Begin,
    grace: Duration,
    read_mark: usize,
}

impl AsyncFactory {
    /// How long a function may go on when its connection has been lost (30 s); then it is dropped.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How many bytes may wait unread until reading pauses (64 KiB); up to 64 KiB more may come with
    /// those that reach it.
    #[must_use]
    pub fn read_mark(mut self, bytes: usize) -> Self {
        self.read_mark = bytes.max(1);
        self
    }
}

impl Factory for AsyncFactory {
    type Protocol = AsyncProtocol;

    fn build_protocol(&mut self, _: Address) -> Option<AsyncProtocol> {
        Some(AsyncProtocol { shared: None, function: Some(self.clone()) })
    }
}

/// The protocol behind an [`AsyncStream`]: it hands over what it is called with.
pub struct AsyncProtocol {
    /// `None` until the connection is made, where there is a function.
    shared: Option<Rc<Shared>>,
    /// `None` behind a stream that was connected by a future.
    function: Option<AsyncFactory>,
}

impl AsyncProtocol {
    /// Behind a stream that is there already.
    pub(crate) fn around(shared: Rc<Shared>) -> Self {
        Self { shared: Some(shared), function: None }
    }
}

impl Protocol for AsyncProtocol {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        let shared =
            self.shared.get_or_insert_with(|| Rc::new(Shared::new(transport.local()))).clone();
        let (peer, host) = (transport.peer(), transport.host());
        let high_water_mark = transport.options().high_water_mark;
        let unwanted = shared.change(|state| {
            state.id = Some(transport.id());
            (state.peer, state.host) = (peer, host);
            state.high_water_mark = high_water_mark;
            state.is_closing()
        });
        if unwanted {
            transport.lose_connection(); // its stream was dropped before it was made
        }
        let Some(function) = &self.function else { return Ok(()) };
        shared.change(|state| state.read_mark = function.read_mark);
        // Nobody else borrows it: no callback runs inside another.
        let future = (function.begin.borrow_mut())(AsyncStream::new(shared.clone()));
        let asking = shared.clone();
        let task = transport.core.tasks.start(future, move |result| {
            asking.ask(Request::Ended(match result {
                Ok(result) => result.map_err(Failure::Error),
                Err(Error::Panicked(message)) => Err(Failure::Panic(message)),
                Err(error) => Err(Failure::Error(error.into())),
            }));
        });
        transport.core.functions += 1;
        shared.change(|state| state.task = Some(task));
        Ok(())
    }

    fn handshake_completed(&mut self, _: &mut Transport<'_>) -> Result {
        let Some(shared) = &self.shared else { return Ok(()) };
        if shared.has_unread() {
            return Err("something came before TLS began, and nobody had read it".into());
        }
        shared.change(|state| state.handshaken = true);
        shared.wake_waiters();
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        if let Some(shared) = &self.shared
            && shared.received(data)
        {
            transport.pause_reading();
        }
        Ok(())
    }

    fn read_closed(&mut self, _: &mut Transport<'_>) -> Result {
        if let Some(shared) = &self.shared {
            shared.read_closed();
        }
        Ok(())
    }

    fn pause_producing(&mut self, _: &mut Transport<'_>) {
        if let Some(shared) = &self.shared {
            shared.set_above(true);
        }
    }

    fn resume_producing(&mut self, _: &mut Transport<'_>) {
        if let Some(shared) = &self.shared {
            shared.set_above(false);
        }
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        let Some(shared) = &self.shared else { return };
        let runs = shared.change(|state| {
            state.lost = Some(reason.clone());
            state.task.is_some()
        });
        if runs && let Some(function) = &self.function {
            let late = shared.clone();
            let drop_it = Box::new(move |reactor: &mut crate::Reactor| {
                reactor.core_mut().drop_function(&late);
            });
            let grace = transport.core.call_later(function.grace, drop_it);
            shared.change(|state| state.grace = Some(grace));
        }
        shared.wake_reader();
        shared.wake_waiters();
    }
}
