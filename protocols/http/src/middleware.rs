//! What stands before a handler: it sees each request once, when its head is in, and may answer it
//! in the handler's stead, or add a filter to the response.

use std::sync::atomic::{AtomicU64, Ordering};

use ropewalk_reactor::{Reason, Result};

use crate::{Exchange, ExchangeId, Handler, Intake, Reply, Request, Response};

/// Stands before a [`Handler`]; [`HandlerExt::with`] puts it there.
///
/// ```
/// use ropewalk_http::{Exchange, HandlerExt, Middleware, Request, Response, Status};
///
/// struct OnlyLocal;
///
/// impl Middleware for OnlyLocal {
///     fn request_started(
///         &mut self,
///         _: &Request,
///         exchange: &mut Exchange<'_>,
///     ) -> ropewalk_reactor::Result<Option<Response>> {
///         let peer = exchange.transport().peer().socket_addr();
///         let is_local = peer.is_some_and(|peer| peer.ip().is_loopback());
///         Ok((!is_local).then(|| Response::status(Status::FORBIDDEN)))
///     }
/// }
///
/// let handler = (|_: &Request| "for your eyes only").with(OnlyLocal);
/// # let _ = handler;
/// ```
pub trait Middleware: 'static {
    /// A request's head is in; its body may have yet to come. Called once a request. A response
    /// answers it, and neither the handler nor a middleware behind this one sees it.
    ///
    /// # Errors
    /// As a handler's: it is logged, answered with 500, and closes the connection.
    fn request_started(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
    ) -> Result<Option<Response>>;
}

/// Every closure that answers so is a middleware.
impl<F> Middleware for F
where
    F: FnMut(&Request, &mut Exchange<'_>) -> Option<Response> + 'static,
{
    fn request_started(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
    ) -> Result<Option<Response>> {
        Ok(self(request, exchange))
    }
}

/// What every handler can do.
pub trait HandlerExt: Handler + Sized {
    /// Puts `middleware` before this handler. The one that is put there last sees requests first.
    fn with<M: Middleware>(self, middleware: M) -> With<M, Self> {
        With { number: NUMBERS.fetch_add(1, Ordering::Relaxed), middleware, handler: self }
    }
}

impl<H: Handler> HandlerExt for H {}

/// A handler behind a middleware.
pub struct With<M, H> {
    /// Tells it apart from all others of the process.
    number: u64,
    middleware: M,
    handler: H,
}

/// Which one comes first decides on nothing: numbers are only compared.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

impl<M: Middleware, H> With<M, H> {
    /// The answer in the handler's stead. A handler hears of one request more than once (its head,
    /// then its gathered body), a middleware once. That it was asked is noted in the exchange: if it
    /// were guessed by what was called, a handler in between that does not pass everything on would
    /// open a way around it.
    fn answer(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
    ) -> Result<Option<Response>> {
        if exchange.flow.asked.contains(&self.number) {
            return Ok(None);
        }
        exchange.flow.asked.push(self.number);
        self.middleware.request_started(request, exchange)
    }
}

impl<M: Middleware, H: Handler> Handler for With<M, H> {
    fn request_received(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
    ) -> Result<Reply> {
        match self.answer(request, exchange)? {
            Some(response) => Ok(response.into()),
            None => self.handler.request_received(request, exchange),
        }
    }

    fn body_expected(&mut self, request: &Request, exchange: &mut Exchange<'_>) -> Result<Intake> {
        match self.answer(request, exchange)? {
            Some(response) => Ok(Intake::Refuse(response)),
            None => self.handler.body_expected(request, exchange),
        }
    }

    fn exchange_lost(&mut self, exchange: ExchangeId, reason: &Reason) {
        self.handler.exchange_lost(exchange, reason);
    }
}
