//! One handler for all connections of a listener, or of several; its access log; and how it comes to
//! an end without cutting a response.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use ropewalk_reactor::{
    Address, ConnectionId, Deferred, Factory, Promise, Reactor, Reason, Result,
};

use crate::{AccessLog, Config, Exchange, ExchangeId, Handler, HttpServer, Intake, Reply, Request};

/// Serves HTTP with one handler, which all connections share: the factory to listen with.
///
/// ```no_run
/// use ropewalk_http::{Request, Site};
/// use ropewalk_reactor::Reactor;
///
/// # fn main() -> ropewalk_reactor::Result {
/// let mut reactor = Reactor::new()?;
/// let mut hits = 0;
/// let site = Site::new(move |_: &Request| {
///     hits += 1;
///     format!("hit number {hits}\n")
/// });
/// let listener = reactor.listen("127.0.0.1:8080", site.clone())?;
/// reactor.before_shutdown(move |reactor| {
///     reactor.stop_listening(listener);
///     site.drain(reactor)
/// });
/// reactor.stop_on_signals()?;
/// reactor.run()?;
/// # Ok(())
/// # }
/// ```
///
/// A handler of a site hears of every connection's exchanges; it tells them apart by
/// [`Exchange::id`]. Where each connection shall have a handler of its own, listen with a closure that
/// makes an [`HttpServer`] instead.
///
/// Clones serve the same.
#[derive(Clone)]
#[doc(alias = "HTTPFactory")]
pub struct Site {
    config: Arc<Config>,
    log: Option<AccessLog>,
    shared: Rc<Shared>,
}

/// What the connections of a site have in common.
pub(crate) struct Shared {
    /// Borrowed while it is called and no longer. No callback runs inside another, so it never is when
    /// it is to be called.
    handler: RefCell<Box<dyn Handler>>,
    /// Those that are there, but for those that another protocol has taken over.
    connections: RefCell<BTreeSet<ConnectionId>>,
    is_draining: Cell<bool>,
    /// Fired once the last connection has gone.
    drained: RefCell<Vec<Promise<()>>>,
}

impl Site {
    /// A site with the usual limits, and no access log.
    #[must_use]
    pub fn new(handler: impl Handler) -> Self {
        let shared = Shared {
            handler: RefCell::new(Box::new(handler)),
            connections: RefCell::default(),
            is_draining: Cell::new(false),
            drained: RefCell::default(),
        };
        Self { config: Arc::default(), log: None, shared: Rc::new(shared) }
    }

    /// Sets the limits and timeouts. Of clones it changes this one alone.
    #[must_use]
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config = config.into();
        self
    }

    /// Has every request written down. Of clones it changes this one alone.
    #[must_use]
    pub fn access_log(mut self, log: AccessLog) -> Self {
        self.log = Some(log);
        self
    }

    /// How many connections there are, those not counted that another protocol has taken over
    /// (WebSocket).
    pub fn connections(&self) -> usize {
        self.shared.connections.borrow().len()
    }

    /// Comes to an end in order: connections that are between two requests close now, all others
    /// after the response to the request they are at, which says `Connection: close` if it has yet to
    /// begin. A response that would go on for ever is told to end
    /// ([`ExchangeHandler::drain_began`](crate::ExchangeHandler::drain_began)). One that has
    /// not asked for anything yet has a second to do so. The deferred fires when all have been
    /// answered; a reactor that stops flushes what is still on its way.
    ///
    /// Stop listening first: connections that are made after this are served one request each.
    pub fn drain(&self, reactor: &mut Reactor) -> Deferred<()> {
        let (promise, drained) = reactor.deferred();
        self.shared.is_draining.set(true);
        if self.connections() == 0 {
            promise.succeed(());
            return drained;
        }
        self.shared.drained.borrow_mut().push(promise);
        let all: Vec<_> = self.shared.connections.borrow().iter().copied().collect();
        for id in all {
            reactor.with_protocol::<HttpServer, _>(id, HttpServer::drain);
        }
        drained
    }
}

impl Factory for Site {
    type Protocol = HttpServer;

    fn build_protocol(&mut self, _: Address) -> Option<HttpServer> {
        let handler = SharedHandler(self.shared.clone());
        let server = HttpServer::with_config(self.config.clone(), handler);
        Some(server.of_site(self.log.clone(), self.shared.clone()))
    }
}

impl Shared {
    pub(crate) fn connection_made(&self, id: ConnectionId) {
        self.connections.borrow_mut().insert(id);
    }

    /// It is lost, or another protocol has taken it over.
    pub(crate) fn connection_gone(&self, id: ConnectionId) {
        let mut connections = self.connections.borrow_mut();
        if connections.remove(&id) && connections.is_empty() {
            for promise in self.drained.take() {
                promise.succeed(());
            }
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.get()
    }
}

/// The handler of the site, as one connection has it.
struct SharedHandler(Rc<Shared>);

impl Handler for SharedHandler {
    fn request_received(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
    ) -> Result<Reply> {
        self.0.handler.borrow_mut().request_received(request, exchange)
    }

    fn body_expected(&mut self, request: &Request, exchange: &mut Exchange<'_>) -> Result<Intake> {
        self.0.handler.borrow_mut().body_expected(request, exchange)
    }

    fn exchange_lost(&mut self, exchange: ExchangeId, reason: &Reason) {
        self.0.handler.borrow_mut().exchange_lost(exchange, reason);
    }
}
