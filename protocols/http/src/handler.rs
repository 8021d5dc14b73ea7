//! What a user writes to answer requests: a closure for whole requests, a [`Handler`] to choose,
//! an [`ExchangeHandler`] for bodies that are streamed.
//!
//! Nothing here knows how HTTP/1.1 puts a message on the wire. Events are in the past tense and
//! never come from inside a call that a handler makes.

use ropewalk_reactor::{Protocol, Reason, Result};

use crate::{Exchange, ExchangeId, Headers, Request, Response, Status};

/// Answers the requests of one connection.
///
/// Every `FnMut(&Request) -> Response` is a handler (or `-> Status`, `&'static str`, `String`,
/// [`Reply`]): it is called once a request is whole, with the body gathered up to
/// [`Config::max_body`](crate::Config::max_body). Implement the trait, or use
/// [`with_exchange`], to answer later, to stream, or to hold state.
///
/// An error is logged, answered with 500 if the response has not begun, and closes the connection.
pub trait Handler: 'static {
    /// A request is whole: it has no body, or its body was gathered and is in
    /// [`Request::body`].
    fn request_received(&mut self, request: &Request, exchange: &mut Exchange<'_>)
    -> Result<Reply>;

    /// A head has arrived whose body has yet to come. Unless this is overridden the body is
    /// gathered, then [`request_received`](Self::request_received) is called. A client that sent
    /// `Expect: 100-continue` is told to go on only if the answer takes the body.
    fn body_expected(&mut self, request: &Request, exchange: &mut Exchange<'_>) -> Result<Intake> {
        let _ = (request, exchange);
        Ok(Intake::Gather)
    }

    /// The connection was lost before the response was complete, and no [`ExchangeHandler`] had
    /// taken the exchange.
    fn exchange_lost(&mut self, exchange: ExchangeId, reason: &Reason) {
        let _ = (exchange, reason);
    }
}

/// How a request is answered.
#[non_exhaustive]
pub enum Reply {
    /// With this, now.
    Now(Response),
    /// Later: keep [`Exchange::id`], or use [`Exchange::call_later`] or [`Exchange::when`]. The
    /// connection's next request waits until then.
    Later,
    /// By this, step by step.
    Stream(Box<dyn ExchangeHandler>),
    /// By handing the connection over: `101 Switching Protocols` (or a 2xx to CONNECT), then the
    /// bytes are this protocol's (RFC 9110 §7.8). Its `connection_made` is called first; what
    /// the client has sent already follows. Only HTTP/1.1 has this.
    Upgrade(Response, Box<dyn Protocol>),
}

impl Reply {
    /// Answers the exchange so.
    pub(crate) fn give(self, exchange: &mut Exchange<'_>) {
        match self {
            Self::Now(response) => exchange.respond(response),
            Self::Later => {}
            Self::Stream(handler) => exchange.hand_over(handler),
            Self::Upgrade(response, protocol) => exchange.upgrade(&response, protocol),
        }
    }
}

/// What becomes of a request's body.
#[non_exhaustive]
pub enum Intake {
    /// It is gathered, up to [`Config::max_body`](crate::Config::max_body); a longer one is
    /// answered with 413.
    Gather,
    /// The same, up to so many bytes.
    GatherUpTo(u64),
    /// It goes to this, piece by piece, and the response comes from there too.
    Stream(Box<dyn ExchangeHandler>),
    /// It is not wanted: this is the answer (401, say, before a large upload).
    Refuse(Response),
}

/// Follows one exchange step by step: takes the request's body, produces the response's.
///
/// It lives until the response is complete, then it is dropped.
pub trait ExchangeHandler: 'static {
    /// Bytes of the request's body arrived; copy what you keep. To slow the client down, call
    /// [`Exchange::pause_reading`].
    fn body_received(&mut self, exchange: &mut Exchange<'_>, data: &[u8]) -> Result {
        let _ = (exchange, data);
        Ok(())
    }

    /// The request's body is whole. `trailers` are the fields behind a chunked one; not called for
    /// a request that had no body.
    fn body_ended(&mut self, exchange: &mut Exchange<'_>, trailers: &Headers) -> Result {
        let _ = (exchange, trailers);
        Ok(())
    }

    /// What was written waits above the high-water mark: stop producing.
    fn pause_producing(&mut self, exchange: &mut Exchange<'_>) {
        let _ = exchange;
    }

    /// There is room for output. Called once when this handler takes the exchange, and again each
    /// time after a write answered [`Written::AboveHighWater`](ropewalk_reactor::Written) or
    /// [`pause_producing`](Self::pause_producing) was called. To produce a body on demand, write
    /// here until a write answers anything but `Taken`.
    fn resume_producing(&mut self, exchange: &mut Exchange<'_>) -> Result {
        let _ = exchange;
        Ok(())
    }

    /// The site [drains](crate::Site::drain): a response that would go on for ever is to end now, with
    /// [`Exchange::finish`]. All others go on.
    fn drain_began(&mut self, exchange: &mut Exchange<'_>) -> Result {
        let _ = exchange;
        Ok(())
    }

    /// The connection was lost before the response was complete. The last call.
    fn exchange_lost(&mut self, reason: &Reason) {
        let _ = reason;
    }
}

impl<F, R> Handler for F
where
    F: FnMut(&Request) -> R + 'static,
    R: Into<Reply>,
{
    fn request_received(&mut self, request: &Request, _: &mut Exchange<'_>) -> Result<Reply> {
        Ok(self(request).into())
    }
}

/// Makes a handler of a closure that needs the exchange, to answer later for instance:
///
/// ```
/// use std::time::Duration;
/// use ropewalk_http::{Exchange, HttpServer, Reply, Request, Response, with_exchange};
///
/// let server = HttpServer::new(with_exchange(|_: &Request, exchange: &mut Exchange<'_>| {
///     exchange.call_later(Duration::from_secs(1), |exchange| {
///         exchange.respond(Response::text("sorry for the delay\n"));
///     });
///     Ok(Reply::Later)
/// }));
/// # let _ = server;
/// ```
pub fn with_exchange<F>(answer: F) -> impl Handler
where
    F: FnMut(&Request, &mut Exchange<'_>) -> Result<Reply> + 'static,
{
    WithExchange(answer)
}

struct WithExchange<F>(F);

impl<F> Handler for WithExchange<F>
where
    F: FnMut(&Request, &mut Exchange<'_>) -> Result<Reply> + 'static,
{
    fn request_received(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
    ) -> Result<Reply> {
        (self.0)(request, exchange)
    }
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::Now(response)
    }
}

impl From<Status> for Reply {
    fn from(status: Status) -> Self {
        Self::Now(status.into())
    }
}

impl From<&'static str> for Reply {
    fn from(text: &'static str) -> Self {
        Self::Now(text.into())
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Self {
        Self::Now(text.into())
    }
}
