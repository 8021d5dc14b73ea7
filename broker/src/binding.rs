//! Bindings: which messages of an exchange go to which queue or on to which exchange.
//!
//! A binding is one thing, known to its source's router and to both ends, so that whichever end
//! goes can take it along.

use crate::access::Access;
use crate::broker::Broker;
use crate::error::{Result, access_refused};
use crate::exchange::refuse_default;
use crate::ids::{BindingId, ChannelId, ExchangeId, QueueId, VhostId};
use crate::names::{Name, strip_line_ends};
use crate::reply_to::is_reply_name;
use crate::value::Table;

pub(crate) struct Binding {
    pub(crate) source: ExchangeId,
    pub(crate) target: Target,
    pub(crate) key: Name,
    pub(crate) arguments: Table,
}

/// Where a binding leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Queue(QueueId),
    Exchange(ExchangeId),
}

/// What the four calls of this file take: `queue.bind`, `queue.unbind`, `exchange.bind` and
/// `exchange.unbind`.
#[derive(Debug, Clone, Copy)]
pub struct Bind<'a> {
    /// The exchange that messages come from.
    pub source: &'a [u8],
    /// The queue or exchange that they go to. An empty queue name means the queue that the
    /// channel declared last.
    pub destination: &'a [u8],
    /// The binding key.
    pub routing_key: &'a [u8],
    /// What a headers exchange compares; part of the binding's identity for every type.
    pub arguments: &'a Table,
}

impl Broker {
    /// Binds a queue to an exchange; again is no error.
    pub fn bind_queue(&mut self, channel: ChannelId, bind: &Bind<'_>) -> Result<()> {
        let vhost = self.channel(channel)?.vhost;
        let (name, key) = self.queue_and_key(channel, bind)?;
        let source = strip_line_ends(bind.source);
        self.permit_queue(channel, Access::Write, &name)?;
        refuse_default(&source)?;
        self.permit_exchange(channel, Access::Read, &source)?;
        let source = self.find_exchange(vhost, &source)?;
        let queue = self.find_queue(vhost, &name)?;
        self.permit_topic(channel, Access::Read, source, &key)?;
        self.check_owner(channel, queue)?;
        self.bind(source, Target::Queue(queue), key, bind.arguments)
    }

    /// Undoes [`bind_queue`](Broker::bind_queue); what is not there is no error.
    pub fn unbind_queue(&mut self, channel: ChannelId, bind: &Bind<'_>) -> Result<()> {
        let vhost = self.channel(channel)?.vhost;
        let (name, key) = self.queue_and_key(channel, bind)?;
        let source = strip_line_ends(bind.source);
        self.permit_queue(channel, Access::Write, &name)?;
        refuse_default(&source)?;
        self.permit_exchange(channel, Access::Read, &source)?;
        let Ok(queue) = self.find_queue(vhost, &name) else { return Ok(()) };
        let Ok(source) = self.find_exchange(vhost, &source) else { return Ok(()) };
        self.permit_topic(channel, Access::Read, source, &key)?;
        // Whose queue it is matters only to a binding that is there.
        let target = Target::Queue(queue);
        if self.find_binding(source, target, &key, bind.arguments).is_some() {
            self.check_owner(channel, queue)?;
            self.unbind(source, target, &key, bind.arguments);
        }
        Ok(())
    }

    /// Binds an exchange to an exchange; again is no error, nor are cycles.
    pub fn bind_exchange(&mut self, channel: ChannelId, bind: &Bind<'_>) -> Result<()> {
        let (vhost, source, destination) = self.exchange_ends(channel, bind)?;
        let source = self.find_exchange(vhost, &source)?;
        let destination = self.find_exchange(vhost, &destination)?;
        self.permit_topic(channel, Access::Read, source, bind.routing_key)?;
        self.bind(source, Target::Exchange(destination), bind.routing_key.into(), bind.arguments)
    }

    /// Undoes [`bind_exchange`](Broker::bind_exchange); what is not there is no error.
    pub fn unbind_exchange(&mut self, channel: ChannelId, bind: &Bind<'_>) -> Result<()> {
        let (vhost, source, destination) = self.exchange_ends(channel, bind)?;
        if let (Ok(source), Ok(destination)) =
            (self.find_exchange(vhost, &source), self.find_exchange(vhost, &destination))
        {
            self.permit_topic(channel, Access::Read, source, bind.routing_key)?;
            let target = Target::Exchange(destination);
            self.unbind(source, target, bind.routing_key, bind.arguments);
        }
        Ok(())
    }

    fn exchange_ends(&self, channel: ChannelId, bind: &Bind<'_>) -> Result<(VhostId, Name, Name)> {
        let vhost = self.channel(channel)?.vhost;
        let source = strip_line_ends(bind.source);
        let destination = strip_line_ends(bind.destination);
        self.permit_exchange(channel, Access::Write, &destination)?;
        refuse_default(&destination)?;
        refuse_default(&source)?;
        self.permit_exchange(channel, Access::Read, &source)?;
        Ok((vhost, (*source).into(), (*destination).into()))
    }

    /// The queue that is bound or unbound, and the key. Both names empty mean the queue declared last, as name and as key (AMQP 0-9-1,
    /// `queue.bind`).
    fn queue_and_key(&self, channel: ChannelId, bind: &Bind<'_>) -> Result<(Name, Name)> {
        let name = self.queue_name(channel, bind.destination)?;
        if is_reply_name(&name) {
            let text = "cannot bind or unbind to a volatile (direct reply-to) queue";
            return Err(access_refused(text));
        }
        let key = match bind.destination.is_empty() && bind.routing_key.is_empty() {
            true => name.clone(),
            false => bind.routing_key.into(),
        };
        Ok((name, key))
    }

    pub(crate) fn bind(
        &mut self,
        source: ExchangeId,
        target: Target,
        key: Name,
        arguments: &Table,
    ) -> Result<()> {
        let router = &self.exchanges[source].router;
        router.check(arguments)?;
        if router.find(&self.bindings, target, &key, arguments).is_some() {
            return Ok(());
        }
        let binding = Binding { source, target, key, arguments: arguments.clone() };
        let id = self.bindings.insert(binding);
        let state = &mut self.exchanges[source];
        state.outgoing.push(id);
        state.router.insert(id, &self.bindings[id]);
        match target {
            Target::Queue(queue) => self.queues[queue].bindings.push(id),
            Target::Exchange(exchange) => self.exchanges[exchange].incoming.push(id),
        }
        self.journal_bound(id);
        Ok(())
    }

    fn find_binding(
        &self,
        source: ExchangeId,
        target: Target,
        key: &[u8],
        arguments: &Table,
    ) -> Option<BindingId> {
        self.exchanges[source].router.find(&self.bindings, target, key, arguments)
    }

    fn unbind(&mut self, source: ExchangeId, target: Target, key: &[u8], arguments: &Table) {
        if let Some(id) = self.find_binding(source, target, key, arguments) {
            match target {
                Target::Queue(queue) => remove(&mut self.queues[queue].bindings, id),
                Target::Exchange(exchange) => remove(&mut self.exchanges[exchange].incoming, id),
            }
            self.forget_binding_from(id);
        }
    }

    /// The destination goes: takes the binding out of its source, and the source with it if it
    /// lived by its bindings and this was the last.
    pub(crate) fn forget_binding_from(&mut self, id: BindingId) {
        self.journal_unbound(id);
        let Some(binding) = self.bindings.remove(id) else { return };
        let Some(source) = self.exchanges.get_mut(binding.source) else { return };
        source.router.remove(id, &binding);
        remove(&mut source.outgoing, id);
        if source.auto_delete && source.outgoing.is_empty() {
            self.remove_exchange(binding.source);
        }
    }

    /// The source goes: takes the binding out of its destination.
    pub(crate) fn forget_binding_to(&mut self, id: BindingId) {
        self.journal_unbound(id);
        let Some(binding) = self.bindings.remove(id) else { return };
        match binding.target {
            Target::Queue(queue) => {
                if let Some(queue) = self.queues.get_mut(queue) {
                    remove(&mut queue.bindings, id);
                }
            }
            Target::Exchange(exchange) => {
                if let Some(exchange) = self.exchanges.get_mut(exchange) {
                    remove(&mut exchange.incoming, id);
                }
            }
        }
    }
}

/// O(n) in the bindings of one end, searched from the back, where the latest are: unbinding and
/// deleting ten thousand costs milliseconds.
fn remove(list: &mut Vec<BindingId>, id: BindingId) {
    if let Some(at) = list.iter().rposition(|&it| it == id) {
        list.swap_remove(at);
    }
}
