//! What the journal hears of definitions: durable things as they are made, changed and deleted.
//!
//! Each is told where it happens, whoever asked for it: a client, an import, or the end of what
//! it lived by. Without a journal these calls cost a branch.

use crate::binding::{Binding, Target};
use crate::broker::Broker;
use crate::definition::{Definition, DefinitionKey};
use crate::ids::{BindingId, ExchangeId, QueueId, VhostId};
use crate::journal::QueueStore;
use crate::queue::Queue;
use crate::users::User;
use crate::vhost::is_predeclared;

impl Broker {
    pub(crate) fn journal_vhost(&mut self, vhost: VhostId) {
        let (Some(journal), Some(state)) = (&mut self.journal, self.vhosts.get(vhost)) else {
            return;
        };
        journal.defined(&Definition::Vhost {
            name: &state.name,
            description: &state.description,
            tags: &state.tags,
            limits: state.limits,
        });
    }

    pub(crate) fn journal_user(&mut self, name: &[u8]) {
        let (Some(journal), Some(user)) = (&mut self.journal, self.users.get(name)) else { return };
        journal.defined(&Definition::User {
            name,
            password: user.password.as_ref(),
            tags: &user.tags,
            limits: user.limits,
        });
    }

    /// A user has gone, and all that it was allowed.
    pub(crate) fn journal_user_deleted(&mut self, name: &[u8], user: &User) {
        let Some(journal) = &mut self.journal else { return };
        for (vhost, exchange, _) in user.topic_permissions() {
            journal.undefined(&DefinitionKey::TopicPermission { user: name, vhost, exchange });
        }
        for (vhost, _) in user.permissions() {
            journal.undefined(&DefinitionKey::Permission { user: name, vhost });
        }
        journal.undefined(&DefinitionKey::User { name });
    }

    /// What a user may do in a virtual host has changed; nothing any more if it is not there.
    pub(crate) fn journal_permission(&mut self, user: &[u8], vhost: &[u8]) {
        let (Some(journal), Some(state)) = (&mut self.journal, self.users.get(user)) else {
            return;
        };
        match state.permission(vhost) {
            Some(permission) => journal.defined(&Definition::Permission {
                user,
                vhost,
                configure: permission.configure.as_str(),
                write: permission.write.as_str(),
                read: permission.read.as_str(),
            }),
            None => journal.undefined(&DefinitionKey::Permission { user, vhost }),
        }
    }

    /// The same for a topic exchange.
    pub(crate) fn journal_topic_permission(&mut self, user: &[u8], vhost: &[u8], exchange: &[u8]) {
        let (Some(journal), Some(state)) = (&mut self.journal, self.users.get(user)) else {
            return;
        };
        match state.topic_permission(vhost, exchange) {
            Some(topic) => journal.defined(&Definition::TopicPermission {
                user,
                vhost,
                exchange,
                write: topic.write().as_str(),
                read: topic.read().as_str(),
            }),
            None => journal.undefined(&DefinitionKey::TopicPermission { user, vhost, exchange }),
        }
    }

    pub(crate) fn journal_exchange(&mut self, exchange: ExchangeId) {
        let Broker { journal: Some(journal), exchanges, vhosts, .. } = self else { return };
        let state = &exchanges[exchange];
        if state.durable && !is_predeclared(&state.name) {
            journal.defined(&Definition::Exchange {
                vhost: &vhosts[state.vhost].name,
                name: &state.name,
                kind: state.kind,
                auto_delete: state.auto_delete,
                internal: state.internal,
                arguments: &state.arguments,
            });
        }
    }

    /// An exchange is about to go.
    pub(crate) fn journal_exchange_deleted(&mut self, exchange: ExchangeId) {
        if self.journal.is_none() {
            return;
        }
        let Some(state) = self.exchanges.get(exchange) else { return };
        for binding in [&state.outgoing[..], &state.incoming].concat() {
            self.journal_unbound(binding);
        }
        let Broker { journal: Some(journal), exchanges, vhosts, .. } = self else { return };
        let state = &exchanges[exchange];
        if state.durable && !is_predeclared(&state.name) {
            let (vhost, name) = (&vhosts[state.vhost].name, &state.name);
            journal.undefined(&DefinitionKey::Exchange { vhost, name });
        }
    }

    /// A queue was made: what it keeps in the store is decided here.
    pub(crate) fn journal_queue(&mut self, queue: QueueId) {
        if self.journal.is_none() {
            return;
        }
        let state = &mut self.queues[queue];
        let durable = state.durable;
        state.store = Some(Box::new(QueueStore::new(durable, state.may_page())));
        if !durable {
            return;
        }
        let number = self.number_of(queue);
        let Broker { journal: Some(journal), queues, vhosts, .. } = self else { return };
        let state = &queues[queue];
        journal.defined(&Definition::Queue {
            vhost: &vhosts[state.vhost].name,
            name: &state.name,
            number,
            auto_delete: state.auto_delete,
            arguments: &state.arguments,
        });
    }

    /// A queue has gone with all that it had in the store.
    pub(crate) fn journal_queue_deleted(&mut self, queue: &Queue) {
        let (Some(journal), Some(store)) = (&mut self.journal, &queue.store) else { return };
        if store.keeps {
            let (vhost, name) = (&self.vhosts[queue.vhost].name, &queue.name);
            journal.undefined(&DefinitionKey::Queue { vhost, name });
        }
        if let Some(number) = store.number {
            journal.queue_removed(number);
        }
    }

    pub(crate) fn journal_bound(&mut self, binding: BindingId) {
        self.journal_binding(binding, true);
    }

    /// A binding is about to go. Nothing if one of its ends has gone already: that end has told.
    pub(crate) fn journal_unbound(&mut self, binding: BindingId) {
        self.journal_binding(binding, false);
    }

    fn journal_binding(&mut self, binding: BindingId, made: bool) {
        let Broker { journal: Some(journal), bindings, exchanges, queues, vhosts, .. } = self
        else {
            return;
        };
        let Some(Binding { source, target, key, arguments }) = bindings.get(binding) else {
            return;
        };
        let Some(source) = exchanges.get(*source).filter(|source| source.durable) else { return };
        let destination = match *target {
            Target::Queue(queue) => {
                queues.get(queue).filter(|it| it.durable).map(|it| (&it.name, true))
            }
            Target::Exchange(exchange) => {
                exchanges.get(exchange).filter(|it| it.durable).map(|it| (&it.name, false))
            }
        };
        let Some((destination, to_queue)) = destination else { return };
        let definition = Definition::Binding {
            vhost: &vhosts[source.vhost].name,
            source: &source.name,
            destination,
            to_queue,
            routing_key: key,
            arguments,
        };
        match made {
            true => journal.defined(&definition),
            false => journal.undefined(&definition.key()),
        }
    }
}
