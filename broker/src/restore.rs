//! Restoring: a broker made again from what a store kept.
//!
//! Definitions come first, in the order of their kinds, then what each queue holds. Nothing of
//! this is journaled, since the journal is set after it. Messages stay in the store until they
//! are wanted: restoring ten million takes as long as restoring one.

use crate::arguments::Settings;
use crate::binding::Target;
use crate::broker::Broker;
use crate::definition::Definition;
use crate::exchange::{ExchangeDeclare, alternate_of};
use crate::ids::{QueueId, VhostId};
use crate::journal::{Position, QueueNumber, QueueStore};
use crate::lease::Lease;
use crate::names::MAX_NAME;
use crate::paging::Paging;
use crate::permission::{Pattern, Permission, TopicPermission};
use crate::queue::QueueDeclare;
use crate::users::User;

/// What a store found in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoredQueue {
    /// Its number.
    pub number: QueueNumber,
    /// Above every position that the store ever saw in it.
    pub next_position: Position,
    /// The end of its newest lease; 0 if there is none.
    pub leased: Position,
    /// Messages in it.
    pub messages: u64,
    /// The bytes of their bodies.
    pub bytes: u64,
}

impl Broker {
    /// Makes again what a definition says; a virtual host, user or permission that is there
    /// already (the virtual host `/`, say) becomes what it says. Before
    /// [`set_journal`](Broker::set_journal).
    ///
    /// # Errors
    /// Why it cannot be, in words: what it belongs to is missing, it is there already, or a part
    /// of it is wrong. The others can still be restored.
    pub fn restore_definition(&mut self, definition: &Definition<'_>) -> Result<(), String> {
        match *definition {
            Definition::Vhost { name, description, tags, limits } => {
                check_name(name)?;
                let id = self.add_vhost(name);
                let vhost = &mut self.vhosts[id];
                description.clone_into(&mut vhost.description);
                vhost.tags = tags.to_vec();
                vhost.limits = limits;
                Ok(())
            }
            Definition::User { name, password, tags, limits } => {
                let mut user = User::new(password.cloned());
                user.tags = tags.to_vec();
                user.limits = limits;
                self.put_user(name, user);
                Ok(())
            }
            Definition::Permission { user, vhost, configure, write, read } => {
                self.restoring_vhost(vhost)?;
                let permission = Permission {
                    configure: Pattern::new(configure)?,
                    write: Pattern::new(write)?,
                    read: Pattern::new(read)?,
                };
                let known = self.set_user_permission(user, vhost, Some(permission));
                known.then_some(()).ok_or_else(|| missing("user", user))
            }
            Definition::TopicPermission { user, vhost, exchange, write, read } => {
                self.restoring_vhost(vhost)?;
                let topic = TopicPermission::new(write, read, user, vhost)?;
                let known = self.set_topic_permission(user, vhost, exchange, Some(topic));
                known.then_some(()).ok_or_else(|| missing("user", user))
            }
            Definition::Exchange { .. } => self.restore_exchange(definition),
            Definition::Queue { .. } => self.restore_queue(definition),
            Definition::Binding { .. } => self.restore_binding(definition),
        }
    }

    /// Says what a restored queue holds; false if no definition gave its number to a queue:
    /// then the store can forget it. Before [`set_journal`](Broker::set_journal).
    pub fn restore_messages(&mut self, found: &RestoredQueue) -> bool {
        let Some(&queue) = self.storing.restoring.get(&found.number) else { return false };
        let state = &mut self.queues[queue];
        let allowed = state.may_page();
        let Some(store) = &mut state.store else { return false };
        let count = usize::try_from(found.messages).unwrap_or(usize::MAX);
        store.paging = Paging::restored(allowed, count, found.bytes);
        store.lease = Lease::restored(found.leased, found.next_position);
        // Above the lease, so that nothing that is yet to come counts as handed out.
        state.next_position = found.next_position.max(found.leased);
        true
    }

    fn restore_exchange(&mut self, definition: &Definition<'_>) -> Result<(), String> {
        let Definition::Exchange { vhost, name, kind, auto_delete, internal, arguments } =
            *definition
        else {
            return Ok(());
        };
        check_name(name)?;
        let vhost = self.restoring_vhost(vhost)?;
        if self.find_exchange(vhost, name).is_ok() {
            return Err("it is there already".to_owned());
        }
        let alternate = alternate_of(self.exchange_resource(vhost, name), arguments);
        let alternate = alternate.map_err(|error| error.explanation().to_owned())?;
        let declare = ExchangeDeclare {
            name,
            kind: kind.name().as_bytes(),
            passive: false,
            durable: true,
            auto_delete,
            internal,
            arguments,
        };
        self.insert_exchange(vhost, name, kind, &declare, alternate);
        Ok(())
    }

    fn restore_queue(&mut self, definition: &Definition<'_>) -> Result<(), String> {
        let Definition::Queue { vhost, name, number, auto_delete, arguments } = *definition else {
            return Ok(());
        };
        check_name(name)?;
        let vhost = self.restoring_vhost(vhost)?;
        if self.find_queue(vhost, name).is_ok() {
            return Err("it is there already".to_owned());
        }
        if self.storing.restoring.contains_key(&number) {
            return Err(format!("another queue has its number, {number}"));
        }
        let declare = QueueDeclare {
            name,
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete,
            arguments,
        };
        let settings = Settings::parse(self.queue_resource(vhost, name), &declare);
        let settings = settings.map_err(|error| error.explanation().to_owned())?;
        let queue = self.insert_queue(vhost, name.into(), &declare, None, settings);
        self.begin_restored(queue, number);
        Ok(())
    }

    fn begin_restored(&mut self, queue: QueueId, number: QueueNumber) {
        let state = &mut self.queues[queue];
        let mut store = QueueStore::new(true, state.may_page());
        store.number = Some(number);
        state.store = Some(Box::new(store));
        self.storing.restoring.insert(number, queue);
        self.touch(queue);
    }

    fn restore_binding(&mut self, definition: &Definition<'_>) -> Result<(), String> {
        let Definition::Binding { vhost, source, destination, to_queue, routing_key, arguments } =
            *definition
        else {
            return Ok(());
        };
        let vhost = self.restoring_vhost(vhost)?;
        let explain = |error: crate::Error| error.explanation().to_owned();
        if source.is_empty() || routing_key.len() > MAX_NAME {
            return Err("no client can have made it".to_owned());
        }
        let target = match to_queue {
            true => self.find_queue(vhost, destination).map(Target::Queue),
            false => self.find_exchange(vhost, destination).map(Target::Exchange),
        };
        let target = target.map_err(explain)?;
        let source = self.find_exchange(vhost, source).map_err(explain)?;
        self.bind(source, target, routing_key.into(), arguments).map_err(explain)
    }

    fn restoring_vhost(&self, name: &[u8]) -> Result<VhostId, String> {
        self.vhost(name).map_err(|_| missing("virtual host", name))
    }
}

fn missing(what: &str, name: &[u8]) -> String {
    format!("there is no {what} '{}'", crate::error::text(name))
}

fn check_name(name: &[u8]) -> Result<(), String> {
    match name.len() {
        1..=MAX_NAME => Ok(()),
        len => Err(format!("its name has {len} bytes")),
    }
}
