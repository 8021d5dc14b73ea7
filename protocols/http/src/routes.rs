//! Which handler answers which path and method: patterns with parameters, and whole subtrees.
//!
//! The one rule: the most particular pattern wins, whatever the order in which they were added: a
//! literal segment before a parameter, a parameter before a mount.

mod pattern;
mod tree;

use std::sync::atomic::{AtomicU64, Ordering};

use ropewalk_reactor::{Reason, Result};

use self::tree::{Found, Tree};
use crate::{
    Exchange, ExchangeId, Handler, Intake, Method, Reply, Request, Response, Status, TargetForm,
};

/// Hands each request to the handler of its path and method.
///
/// ```
/// use ropewalk_http::{Request, Routes, Site};
///
/// let routes = Routes::new()
///     .get("/", |_: &Request| "home")
///     .get("/users/{id}", |request: &Request| {
///         format!("user {}", request.parameter("id").unwrap_or_default())
///     })
///     .post("/users", |request: &Request| format!("{} bytes", request.body().len()))
///     .mount("/files", |request: &Request| request.remaining_path().to_owned());
/// let site = Site::new(routes);
/// # let _ = site;
/// ```
///
/// A pattern is a path: its segments stand for themselves, or, in braces, for any one segment that is
/// not empty, whose text (decoded) is [`Request::parameter`]. `/a` and `/a/` are different paths. The
/// request's segments are percent-decoded before they are compared, so `%2F` in one is a part of it.
///
/// Where no pattern fits, the answer is 404, or that of [`fallback`](Self::fallback); where one fits and
/// the method does not, 405 with Allow. A handler for GET answers HEAD, too, and OPTIONS is answered
/// with Allow, unless they have a handler of their own. A path that is not percent-encoded UTF-8 is
/// answered with 400 if nothing but that is in the way.
///
/// The time to find a handler depends on the number of segments, not on the number of patterns, but
/// for patterns that differ first behind parameters: those are tried one after the other.
pub struct Routes {
    /// Tells it apart from all others of the process, to find what it has noted in a request.
    number: u64,
    tree: Tree,
    handlers: Vec<Box<dyn Handler>>,
    fallback: Option<Box<dyn Handler>>,
}

/// The place of the handler for what fits no pattern.
const FALLBACK: usize = usize::MAX;

/// Numbers are only compared.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

impl Default for Routes {
    fn default() -> Self {
        Self::new()
    }
}

impl Routes {
    /// No routes: 404 for all.
    #[must_use]
    pub fn new() -> Self {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Self { number, tree: Tree::default(), handlers: Vec::new(), fallback: None }
    }

    /// GET, and HEAD unless that has its own handler. See [`on`](Self::on).
    #[must_use]
    pub fn get(self, pattern: &str, handler: impl Handler) -> Self {
        self.on(Method::Get, pattern, handler)
    }

    /// POST. See [`on`](Self::on).
    #[must_use]
    pub fn post(self, pattern: &str, handler: impl Handler) -> Self {
        self.on(Method::Post, pattern, handler)
    }

    /// PUT. See [`on`](Self::on).
    #[must_use]
    pub fn put(self, pattern: &str, handler: impl Handler) -> Self {
        self.on(Method::Put, pattern, handler)
    }

    /// PATCH. See [`on`](Self::on).
    #[must_use]
    pub fn patch(self, pattern: &str, handler: impl Handler) -> Self {
        self.on(Method::Patch, pattern, handler)
    }

    /// DELETE. See [`on`](Self::on).
    #[must_use]
    pub fn delete(self, pattern: &str, handler: impl Handler) -> Self {
        self.on(Method::Delete, pattern, handler)
    }

    /// Has requests of `method` for paths that fit `pattern` answered by `handler`.
    ///
    /// # Panics
    /// If the pattern does not begin with `/`, has braces that are not around a whole segment, has a
    /// name twice, or has a handler for this method already.
    #[must_use]
    pub fn on(mut self, method: Method, pattern: &str, handler: impl Handler) -> Self {
        let place = self.handlers.len();
        if let Err(problem) = self.tree.insert(pattern, Some(method), place) {
            panic!("the route {method} {pattern}: {problem}");
        }
        self.handlers.push(Box::new(handler));
        self
    }

    /// The same for all methods that have no handler of their own.
    ///
    /// # Panics
    /// As [`on`](Self::on).
    #[must_use]
    pub fn any(mut self, pattern: &str, handler: impl Handler) -> Self {
        let place = self.handlers.len();
        if let Err(problem) = self.tree.insert(pattern, None, place) {
            panic!("the route {pattern}: {problem}");
        }
        self.handlers.push(Box::new(handler));
        self
    }

    /// Has every request for `prefix` or for what lies below it answered by `handler`, whatever its
    /// method; what lies below is [`Request::remaining_path`]. The prefix may have parameters; `/` is
    /// everything.
    ///
    /// # Panics
    /// As [`on`](Self::on).
    #[must_use]
    pub fn mount(mut self, prefix: &str, handler: impl Handler) -> Self {
        let place = self.handlers.len();
        if let Err(problem) = self.tree.mount(prefix, place) {
            panic!("the mount {prefix}: {problem}");
        }
        self.handlers.push(Box::new(handler));
        self
    }

    /// Has requests whose path fits no pattern answered by `handler`.
    #[must_use]
    pub fn fallback(mut self, handler: impl Handler) -> Self {
        self.fallback = Some(Box::new(handler));
        self
    }

    /// The handler of a request, or the answer where there is none.
    ///
    /// With `again` it will be asked for once more, for the same request: then it is noted, since a
    /// router further in may shorten the path meanwhile.
    fn find(&mut self, request: &Request, again: bool) -> Result<&mut dyn Handler, Response> {
        let place = match request.routed_by(self.number) {
            Some(place) => place,
            None => match self.route(request, again) {
                Err(response)
                    if response.code() == Status::NOT_FOUND && self.fallback.is_some() =>
                {
                    if again {
                        request.note_route(self.number, FALLBACK, [].into(), Vec::new(), None);
                    }
                    FALLBACK
                }
                place => place?,
            },
        };
        let handler = match place {
            FALLBACK => self.fallback.as_mut(),
            place => self.handlers.get_mut(place),
        };
        handler.map(|handler| &mut **handler).ok_or(Response::status(Status::NOT_FOUND))
    }

    fn route(&self, request: &Request, again: bool) -> Result<usize, Response> {
        match request.target_form() {
            TargetForm::Asterisk => return Err(Response::new(Status::NO_CONTENT)),
            TargetForm::Authority => return Err(Response::status(Status::NOT_FOUND)),
            _ => {}
        }
        let path = request.remaining_path();
        match self.tree.find(path, request.method()) {
            Found::Handler { place, names, values, rest } => {
                if again || !values.is_empty() || rest.is_some() {
                    request.note_route(self.number, place, names, values, rest);
                }
                Ok(place)
            }
            Found::OtherMethods(allow) => {
                let is_options = request.method() == Method::Options;
                Err(if is_options {
                    Response::new(Status::NO_CONTENT).header("Allow", allow)
                } else {
                    Response::status(Status::METHOD_NOT_ALLOWED).header("Allow", allow)
                })
            }
            Found::Malformed => Err(Response::status(Status::BAD_REQUEST)),
            Found::Nothing => Err(Response::status(Status::NOT_FOUND)),
        }
    }
}

impl Handler for Routes {
    fn request_received(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
    ) -> Result<Reply> {
        match self.find(request, false) {
            Ok(handler) => handler.request_received(request, exchange),
            Err(response) => Ok(response.into()),
        }
    }

    fn body_expected(&mut self, request: &Request, exchange: &mut Exchange<'_>) -> Result<Intake> {
        match self.find(request, true) {
            Ok(handler) => handler.body_expected(request, exchange),
            Err(response) => Ok(Intake::Refuse(response)),
        }
    }

    /// Every handler is told: an exchange that waits is in nobody's list. One that does not know it
    /// has nothing to do.
    fn exchange_lost(&mut self, exchange: ExchangeId, reason: &Reason) {
        for handler in self.handlers.iter_mut().chain(&mut self.fallback) {
            handler.exchange_lost(exchange, reason);
        }
    }
}

#[cfg(test)]
mod tests;
