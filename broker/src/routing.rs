//! From an exchange and a routing key to the queues that get the message, each once.
//!
//! Each type of exchange has its own table, in a file of its own. The walk over exchanges bound
//! to exchanges stands here; an exchange and a queue carry the number of the routing that visited
//! them last, so that cycles end and no set of visited things is kept.

mod direct;
mod fanout;
mod headers;
mod topic;

use crate::binding::{Binding, Target};
use crate::broker::Broker;
use crate::error::Result;
use crate::exchange::{Exchange, ExchangeType};
use crate::ids::{BindingId, ExchangeId, QueueId, Slots};
use crate::names::{Name, NameHash};
use crate::value::Table;

use direct::Direct;
use fanout::Fanout;
use headers::Headers;
use topic::Topic;

/// An exchange's table of bindings.
pub(crate) enum Router {
    /// By the names of the virtual host's queues.
    Default,
    Direct(Direct),
    Fanout(Fanout),
    Topic(Topic),
    Headers(Headers),
}

/// A binding as a router keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) id: BindingId,
    pub(crate) target: Target,
}

/// What routing needs room for, kept from one message to the next.
#[derive(Default)]
pub(crate) struct Scratch {
    /// The number of the routing; the exchanges visited and the queues found in it carry it.
    pub(crate) routing: u64,
    /// The queues found.
    pub(crate) queues: Vec<QueueId>,
    exchanges: Vec<ExchangeId>,
    words: Vec<(u16, u16)>,
    found: Vec<Target>,
}

/// A message's headers, read when the first headers exchange asks.
pub(crate) struct LazyHeaders<'a> {
    pub(crate) raw: &'a [u8],
    pub(crate) present: bool,
    pub(crate) read: Option<Table>,
}

/// Whether a binding with these arguments makes sense from an exchange of this type.
pub(crate) fn check_binding(kind: ExchangeType, arguments: &Table) -> Result<()> {
    match kind {
        ExchangeType::Headers => headers::check(arguments),
        _ => Ok(()),
    }
}

impl Router {
    pub(crate) fn new(kind: ExchangeType, hash: NameHash) -> Router {
        match kind {
            ExchangeType::Direct => Router::Direct(Direct::new(hash)),
            ExchangeType::Fanout => Router::Fanout(Fanout::default()),
            ExchangeType::Topic => Router::Topic(Topic::new(hash)),
            ExchangeType::Headers => Router::Headers(Headers::default()),
        }
    }

    /// Whether a binding with these arguments makes sense here.
    pub(crate) fn check(&self, arguments: &Table) -> Result<()> {
        match self {
            Router::Headers(_) => check_binding(ExchangeType::Headers, arguments),
            _ => Ok(()),
        }
    }

    /// The binding that says the same already.
    pub(crate) fn find(
        &self,
        bindings: &Slots<BindingId, Binding>,
        target: Target,
        key: &[u8],
        arguments: &Table,
    ) -> Option<BindingId> {
        let candidates = match self {
            Router::Default => return None,
            Router::Direct(table) => table.bound(key),
            Router::Fanout(table) => table.bound(),
            Router::Topic(table) => table.bound(key),
            Router::Headers(table) => return table.find(bindings, target, key, arguments),
        };
        same_binding(candidates.iter(), bindings, target, key, arguments)
    }

    pub(crate) fn insert(&mut self, id: BindingId, binding: &Binding) {
        let bound = Bound { id, target: binding.target };
        match self {
            Router::Default => {}
            Router::Direct(table) => table.insert(&binding.key, bound),
            Router::Fanout(table) => table.insert(bound),
            Router::Topic(table) => table.insert(&binding.key, bound),
            Router::Headers(table) => table.insert(bound, &binding.arguments),
        }
    }

    pub(crate) fn remove(&mut self, id: BindingId, binding: &Binding) {
        match self {
            Router::Default => {}
            Router::Direct(table) => table.remove(&binding.key, id),
            Router::Fanout(table) => table.remove(id),
            Router::Topic(table) => table.remove(&binding.key, id),
            Router::Headers(table) => table.remove(id),
        }
    }
}

/// The first of `candidates` that is this very binding.
fn same_binding<'a>(
    candidates: impl Iterator<Item = &'a Bound>,
    bindings: &Slots<BindingId, Binding>,
    target: Target,
    key: &[u8],
    arguments: &Table,
) -> Option<BindingId> {
    let mut same = candidates.filter(|bound| {
        bound.target == target
            && bindings.get(bound.id).is_some_and(|binding| {
                *binding.key == *key && binding.arguments.same_entries(arguments)
            })
    });
    same.next().map(|bound| bound.id)
}

/// O(n) in the bindings of one key; the order of the others stays.
fn remove_bound(list: &mut Vec<Bound>, id: BindingId) {
    if let Some(at) = list.iter().position(|bound| bound.id == id) {
        list.remove(at);
    }
}

impl Broker {
    /// Leaves the queues that a message published to `exchange` reaches in `scratch.queues`, each
    /// once. Its keys go together: what one of them reaches keeps the alternate exchange out.
    pub(crate) fn route(
        &mut self,
        exchange: ExchangeId,
        key: &[u8],
        copies: &[Name],
        message: &mut LazyHeaders<'_>,
    ) {
        let Broker { exchanges, queues, vhosts, scratch, codec, .. } = self;
        scratch.routing += 1;
        scratch.queues.clear();
        let routing = scratch.routing;
        let keys = || std::iter::once(key).chain(copies.iter().map(|key| &**key));
        // Nothing can be bound to the default exchange, and it is nobody's alternate: it leads to a
        // queue for each key, or nowhere.
        if let Some(Exchange { router: Router::Default, vhost, .. }) = exchanges.get(exchange) {
            for key in keys() {
                if let Some(queue) = vhosts[*vhost].queue_named(key, queues)
                    && queues[queue].visited != routing
                {
                    queues[queue].visited = routing;
                    scratch.queues.push(queue);
                }
            }
            return;
        }
        scratch.exchanges.clear();
        scratch.exchanges.push(exchange);
        let mut next = 0;
        while let Some(&at) = scratch.exchanges.get(next) {
            next += 1;
            let Some(exchange) = exchanges.get_mut(at) else { continue };
            if exchange.visited == routing {
                continue;
            }
            exchange.visited = routing;
            let mut reached = false;
            let mut take = |target: Target| {
                reached = true;
                match target {
                    Target::Exchange(exchange) => scratch.exchanges.push(exchange),
                    Target::Queue(queue) => {
                        if let Some(state) = queues.get_mut(queue)
                            && state.visited != routing
                        {
                            state.visited = routing;
                            scratch.queues.push(queue);
                        }
                    }
                }
            };
            match &mut exchange.router {
                Router::Default => {} // see above
                Router::Direct(table) => {
                    for key in keys() {
                        table.bound(key).iter().for_each(|bound| take(bound.target));
                    }
                }
                Router::Fanout(table) => table.bound().iter().for_each(|it| take(it.target)),
                Router::Topic(table) => {
                    scratch.found.clear();
                    for key in keys() {
                        table.find_matches(key, &mut scratch.words, &mut scratch.found);
                    }
                    scratch.found.iter().for_each(|&target| take(target));
                }
                Router::Headers(table) => {
                    let LazyHeaders { raw, present, read } = &mut *message;
                    let headers = read.get_or_insert_with(|| match present {
                        true => codec.headers(raw),
                        false => Table::new(),
                    });
                    table.find_matches(headers, take);
                }
            }
            // The default exchange has no bindings: as an alternate it leads nowhere.
            if !reached
                && let Some(alternate) = &exchange.alternate
                && !alternate.is_empty()
                && let Some(&alternate) = vhosts[exchange.vhost].exchanges.get(alternate)
            {
                scratch.exchanges.push(alternate);
            }
        }
    }
}
