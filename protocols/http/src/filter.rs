//! What changes a response on its way out: its head once, and its body piece by piece (compression,
//! say). It belongs to one exchange, and knows neither the connection nor how a message is framed.
//!
//! The one rule: filters are asked in the order in which they were added, each with what the one
//! before it made of the response.

use crate::{Request, Response};

/// What a filter does to the body of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rewrite {
    /// It goes out as it is; the filter is not asked again.
    Nothing,
    /// [`ResponseFilter::body_written`] and [`ResponseFilter::body_finished`] make another body of
    /// it, whose length nobody knows before its end.
    Body,
}

/// Changes a response that is about to go out. Added with
/// [`Exchange::filter`](crate::Exchange::filter), most often by a [`Middleware`](crate::Middleware).
///
/// Answers that the server makes itself, since a request was malformed or its handler failed, are not
/// filtered.
pub trait ResponseFilter: 'static {
    /// The head is about to go out. `length` is that of the body, if it is known. Of `response` the
    /// status and the fields may be changed; its body is elsewhere by now.
    fn response_started(
        &mut self,
        request: &Request,
        response: &mut Response,
        length: Option<u64>,
    ) -> Rewrite;

    /// A piece of the body was written; what goes out in its stead is put behind what `out` holds,
    /// now or later.
    fn body_written(&mut self, data: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(data);
    }

    /// The body is complete; whatever was held back is put into `out`.
    fn body_finished(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }
}

/// The filters of an exchange.
#[derive(Default)]
pub(crate) struct Filters {
    all: Vec<Box<dyn ResponseFilter>>,
    /// From the start of a response on, `all` are those that rewrite its body.
    has_started: bool,
    /// What goes from one to the next.
    pieces: [Vec<u8>; 2],
}

impl Filters {
    /// Adds one; too late for a response that has begun.
    pub(crate) fn add(&mut self, filter: Box<dyn ResponseFilter>) {
        if !self.has_started {
            self.all.push(filter);
        }
    }

    /// There is another exchange, or none.
    pub(crate) fn clear(&mut self) {
        if !self.all.is_empty() || self.has_started {
            *self = Self::default();
        }
    }

    /// Lets all see the head. True if there are some that rewrite the body.
    pub(crate) fn start(
        &mut self,
        request: &Request,
        response: &mut Response,
        mut length: Option<u64>,
    ) -> bool {
        self.has_started = true;
        self.all.retain_mut(|filter| {
            let rewrites = filter.response_started(request, response, length) == Rewrite::Body;
            if rewrites {
                length = None;
            }
            rewrites
        });
        self.rewrites()
    }

    /// Whether what is written has to go through [`write`](Self::write).
    pub(crate) fn rewrites(&self) -> bool {
        self.has_started && !self.all.is_empty()
    }

    /// Takes a piece of the body through all filters.
    pub(crate) fn write(&mut self, data: &[u8]) -> &[u8] {
        let [from, to] = &mut self.pieces;
        let mut filters = self.all.iter_mut();
        from.clear();
        if let Some(first) = filters.next() {
            first.body_written(data, from);
        }
        for filter in filters {
            to.clear();
            filter.body_written(from, to);
            std::mem::swap(from, to);
        }
        from
    }

    /// Takes the end of the body through all filters: what one held back goes to the next, then that
    /// one's end.
    pub(crate) fn finish(&mut self) -> &[u8] {
        let [from, to] = &mut self.pieces;
        from.clear();
        for filter in &mut self.all {
            to.clear();
            if !from.is_empty() {
                filter.body_written(from, to);
            }
            filter.body_finished(to);
            std::mem::swap(from, to);
        }
        self.all.clear();
        from
    }
}
