//! A store in memory: a journal that keeps its records, answers loads, and can be cut anywhere,
//! as a crash would, for another broker to be restored from it.
//!
//! It is strict: a position that comes out of order, or an end of what is not there, is a
//! mistake of the broker.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ropewalk_broker::*;

use super::House;

/// A definition as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kept {
    Vhost(Vec<u8>, String, Vec<String>, VhostLimits),
    User(Vec<u8>, Option<PasswordHash>, Vec<String>, UserLimits),
    Permission([Vec<u8>; 2], [String; 3]),
    Topic([Vec<u8>; 3], [String; 2]),
    Exchange([Vec<u8>; 2], ExchangeType, [bool; 2], Table),
    Queue([Vec<u8>; 2], QueueNumber, bool, Table),
    Binding([Vec<u8>; 4], bool, Table),
}

impl Kept {
    fn of(definition: &Definition<'_>) -> Kept {
        match *definition {
            Definition::Vhost { name, description, tags, limits } => {
                Kept::Vhost(name.to_vec(), description.to_owned(), tags.to_vec(), limits)
            }
            Definition::User { name, password, tags, limits } => {
                Kept::User(name.to_vec(), password.cloned(), tags.to_vec(), limits)
            }
            Definition::Permission { user, vhost, configure, write, read } => Kept::Permission(
                [user, vhost].map(<[u8]>::to_vec),
                [configure, write, read].map(str::to_owned),
            ),
            Definition::TopicPermission { user, vhost, exchange, write, read } => Kept::Topic(
                [user, vhost, exchange].map(<[u8]>::to_vec),
                [write, read].map(str::to_owned),
            ),
            Definition::Exchange { vhost, name, kind, auto_delete, internal, arguments } => {
                let names = [vhost, name].map(<[u8]>::to_vec);
                Kept::Exchange(names, kind, [auto_delete, internal], arguments.clone())
            }
            Definition::Queue { vhost, name, number, auto_delete, arguments } => {
                let names = [vhost, name].map(<[u8]>::to_vec);
                Kept::Queue(names, number, auto_delete, arguments.clone())
            }
            Definition::Binding {
                vhost,
                source,
                destination,
                to_queue,
                routing_key,
                arguments,
            } => {
                let names = [vhost, source, destination, routing_key].map(<[u8]>::to_vec);
                Kept::Binding(names, to_queue, arguments.clone())
            }
        }
    }

    fn with<T>(&self, use_it: impl FnOnce(&Definition<'_>) -> T) -> T {
        use_it(&match self {
            Kept::Vhost(name, description, tags, limits) => {
                Definition::Vhost { name, description, tags, limits: *limits }
            }
            Kept::User(name, password, tags, limits) => {
                Definition::User { name, password: password.as_ref(), tags, limits: *limits }
            }
            Kept::Permission([user, vhost], [configure, write, read]) => {
                Definition::Permission { user, vhost, configure, write, read }
            }
            Kept::Topic([user, vhost, exchange], [write, read]) => {
                Definition::TopicPermission { user, vhost, exchange, write, read }
            }
            Kept::Exchange([vhost, name], kind, [auto_delete, internal], arguments) => {
                Definition::Exchange {
                    vhost,
                    name,
                    kind: *kind,
                    auto_delete: *auto_delete,
                    internal: *internal,
                    arguments,
                }
            }
            Kept::Queue([vhost, name], number, auto_delete, arguments) => Definition::Queue {
                vhost,
                name,
                number: *number,
                auto_delete: *auto_delete,
                arguments,
            },
            Kept::Binding([vhost, source, destination, routing_key], to_queue, arguments) => {
                Definition::Binding {
                    vhost,
                    source,
                    destination,
                    to_queue: *to_queue,
                    routing_key,
                    arguments,
                }
            }
        })
    }
}

/// Sorts definitions in the order in which they must be restored.
fn key(key: &DefinitionKey<'_>) -> (usize, String) {
    let kind = match key {
        DefinitionKey::Vhost { .. } => 0,
        DefinitionKey::User { .. } => 1,
        DefinitionKey::Permission { .. } => 2,
        DefinitionKey::TopicPermission { .. } => 3,
        DefinitionKey::Exchange { .. } => 4,
        DefinitionKey::Queue { .. } => 5,
        DefinitionKey::Binding { .. } => 6,
    };
    (kind, format!("{key:?}"))
}

#[derive(Debug, Clone)]
pub(crate) enum Record {
    Defined((usize, String), Kept),
    Undefined((usize, String)),
    Message {
        references: Vec<Reference>,
        persistent: bool,
        body: u64,
        payload: Bytes,
    },
    Acknowledged(QueueNumber, Position, Position),
    Leased(QueueNumber, Position),
    Returned(QueueNumber, Position, u32),
    Removed(QueueNumber),
    /// A broker was restored here.
    Restart,
}

/// A message in a queue.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) expires: u64,
    pub(crate) persistent: bool,
    pub(crate) body: u64,
    pub(crate) payload: Bytes,
    pub(crate) returns: u32,
}

impl Stored {
    pub(crate) fn body(&self) -> &[u8] {
        &self.payload[self.payload.len() - self.body as usize..]
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct StoredQueue {
    pub(crate) messages: BTreeMap<Position, Stored>,
    pub(crate) next_position: Position,
    pub(crate) leased: Position,
}

/// What the records say.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) definitions: BTreeMap<(usize, String), Kept>,
    pub(crate) queues: BTreeMap<QueueNumber, StoredQueue>,
    removed: BTreeSet<QueueNumber>,
}

impl State {
    fn apply(&mut self, record: &Record) {
        match record {
            Record::Defined(key, kept) => {
                self.definitions.insert(key.clone(), kept.clone());
            }
            Record::Undefined(key) => {
                self.definitions.remove(key);
            }
            Record::Message { references, persistent, body, payload } => {
                assert!(!references.is_empty());
                for at in references {
                    assert!(!self.removed.contains(&at.queue), "{at:?}: the queue has gone");
                    let queue = self.queues.entry(at.queue).or_default();
                    assert!(at.position >= queue.next_position, "{at:?} is out of order");
                    queue.next_position = at.position + 1;
                    let (expires, persistent) = (at.expires, *persistent);
                    let (body, payload, returns) = (*body, payload.clone(), 0);
                    let stored = Stored { expires, persistent, body, payload, returns };
                    queue.messages.insert(at.position, stored);
                }
            }
            Record::Acknowledged(number, first, last) => {
                let queue = self.queues.get_mut(number).expect("it has messages");
                let there: Vec<_> =
                    queue.messages.range(first..=last).map(|(position, _)| *position).collect();
                assert!(!there.is_empty(), "{record:?}: nothing is there");
                there.iter().for_each(|position| drop(queue.messages.remove(position)));
            }
            Record::Leased(number, end) => {
                self.queues.entry(*number).or_default().leased = *end;
            }
            Record::Returned(number, position, returns) => {
                let queue = self.queues.get_mut(number).expect("it has messages");
                queue.messages.get_mut(position).expect("it is there").returns = *returns;
            }
            Record::Removed(number) => {
                self.queues.remove(number);
                assert!(self.removed.insert(*number), "{number} went twice");
            }
            Record::Restart => self.restart(),
        }
    }

    /// Forgets what a restart does not find.
    fn restart(&mut self) {
        let known: BTreeSet<_> = self
            .definitions
            .values()
            .filter_map(|kept| match kept {
                Kept::Queue(_, number, ..) => Some(*number),
                _ => None,
            })
            .collect();
        self.queues.retain(|number, _| known.contains(number));
        for queue in self.queues.values_mut() {
            queue.messages.retain(|_, stored| stored.persistent);
        }
    }

    /// Numbers of queues by their names in `/`.
    pub(crate) fn number(&self, name: &str) -> Option<QueueNumber> {
        self.definitions.values().find_map(|kept| match kept {
            Kept::Queue([vhost, known], number, ..) if known == name.as_bytes() => {
                (vhost == b"/").then_some(*number)
            }
            _ => None,
        })
    }
}

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) records: Vec<Record>,
    pub(crate) state: State,
}

impl Store {
    /// The store after a crash that left the first `cut` records.
    pub(crate) fn cut(records: &[Record], cut: usize) -> Store {
        let mut store = Store::default();
        records[..cut].iter().for_each(|record| store.push(record.clone()));
        store.push(Record::Restart);
        store
    }

    fn push(&mut self, record: Record) {
        self.state.apply(&record);
        self.records.push(record);
    }

    pub(crate) fn load(&self, load: &Load) -> Vec<LoadedMessage> {
        let Some(queue) = self.state.queues.get(&load.queue) else { return Vec::new() };
        let mut octets = 0;
        let mut messages = Vec::new();
        for (&position, stored) in queue.messages.range(load.from..).take(load.max_messages) {
            if octets >= load.max_octets {
                break;
            }
            octets += stored.payload.len();
            let (expires, returns) = (stored.expires, stored.returns);
            let payload = stored.payload.clone();
            let redelivered = false; // this store knows nothing that the broker does not
            messages.push(LoadedMessage { position, expires, returns, redelivered, payload });
        }
        messages
    }

    /// Restores a broker that has nothing yet.
    pub(crate) fn restore(self, house: &mut House) {
        let broker = &mut house.broker;
        for kept in self.state.definitions.values() {
            kept.with(|it| broker.restore_definition(it)).expect("it was made once");
        }
        for (&number, queue) in &self.state.queues {
            let found = RestoredQueue {
                number,
                next_position: queue.next_position,
                leased: queue.leased,
                messages: queue.messages.len() as u64,
                bytes: queue.messages.values().map(|stored| stored.body).sum(),
            };
            assert!(broker.restore_messages(&found));
        }
        let queues = self.state.definitions.values().filter_map(|kept| match kept {
            Kept::Queue(_, number, ..) => Some(*number),
            _ => None,
        });
        let seen = queues.chain(self.state.queues.keys().copied());
        let next = seen.chain(self.state.removed.iter().copied()).max().map_or(0, |max| max + 1);
        broker.set_journal(Box::new(self), next);
    }
}

impl Journal for Store {
    fn defined(&mut self, definition: &Definition<'_>) {
        self.push(Record::Defined(key(&definition.key()), Kept::of(definition)));
    }

    fn undefined(&mut self, gone: &DefinitionKey<'_>) {
        self.push(Record::Undefined(key(gone)));
    }

    fn message(&mut self, message: &JournaledMessage<'_>) {
        self.push(Record::Message {
            references: message.references.to_vec(),
            persistent: message.persistent,
            body: message.body,
            payload: message.parts.concat().into(),
        });
    }

    fn acknowledged(&mut self, queue: QueueNumber, first: Position, last: Position) {
        self.push(Record::Acknowledged(queue, first, last));
    }

    fn leased(&mut self, queue: QueueNumber, end: Position) {
        self.push(Record::Leased(queue, end));
    }

    fn returned(&mut self, queue: QueueNumber, position: Position, returns: u32) {
        self.push(Record::Returned(queue, position, returns));
    }

    fn queue_removed(&mut self, queue: QueueNumber) {
        self.push(Record::Removed(queue));
    }
}

impl House {
    /// With a store that is empty.
    pub(crate) fn with_store(config: Config) -> House {
        let mut house = House::with(config);
        Store::default().restore(&mut house);
        house
    }

    /// Another house, with a broker restored from the first `cut` records of this one's store.
    pub(crate) fn restored(&mut self, cut: usize, config: Config) -> House {
        let mut house = House::with_codec(config, self.codec.clone());
        house.advance(self.now.as_millis() as u64);
        Store::cut(&self.store().records, cut).restore(&mut house);
        house
    }

    /// The same with nothing lost.
    pub(crate) fn restored_all(&mut self, config: Config) -> House {
        let all = self.journaled();
        self.restored(all, config)
    }

    pub(crate) fn store(&mut self) -> &mut Store {
        self.broker.journal_mut().expect("it has one")
    }

    /// How many records there are.
    pub(crate) fn journaled(&mut self) -> usize {
        self.store().records.len()
    }

    /// The store has everything, and gives what is wanted.
    pub(crate) fn settle(&mut self) -> super::Events {
        let mut events = Vec::new();
        loop {
            events.extend(self.drain());
            let ticket = self.broker.last_ticket();
            self.broker.stored(ticket);
            let mut idle = !self.broker.has_events();
            while let Some(load) = self.broker.next_load() {
                let messages = self.store().load(&load);
                self.broker.loaded(&load, messages);
                idle = false;
            }
            if idle {
                return events;
            }
        }
    }
}
