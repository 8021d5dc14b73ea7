//! Who has subscribed to what: channels by name, patterns in the order in which they came.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use ropewalk_reactor::ConnectionId;

use super::hub::ClientId;
use crate::codec::Version;

/// The name of a channel, or a pattern; whoever subscribes shares it.
pub(crate) type Name = Rc<[u8]>;

/// Where a message goes. It has all that a delivery needs, so that none has to look anything up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscriber {
    pub(crate) connection: ConnectionId,
    pub(crate) client: ClientId,
    pub(crate) version: Version,
}

/// Channels that have subscribers.
#[derive(Debug, Default)]
pub(crate) struct Channels(HashMap<Name, Vec<Subscriber>>);

impl Channels {
    /// The subscribers of a channel, in the order in which they came.
    pub(crate) fn subscribers(&self, name: &[u8]) -> &[Subscriber] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Adds one who is not among them; the channel's name is shared.
    pub(crate) fn add(&mut self, name: &[u8], subscriber: Subscriber) -> Name {
        if let Some((name, _)) = self.0.get_key_value(name) {
            let name = name.clone();
            self.0.entry(name.clone()).or_default().push(subscriber);
            return name;
        }
        let name = Name::from(name);
        self.0.insert(name.clone(), vec![subscriber]);
        name
    }

    /// O(n) in the channel's subscribers; fine below 100,000.
    pub(crate) fn remove(&mut self, name: &[u8], client: ClientId) {
        let Some(subscribers) = self.0.get_mut(name) else { return };
        take_out(subscribers, client);
        if subscribers.is_empty() {
            self.0.remove(name);
        }
    }

    pub(crate) fn set_version(&mut self, name: &[u8], client: ClientId, version: Version) {
        if let Some(subscribers) = self.0.get_mut(name) {
            change_version(subscribers, client, version);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// All names in their alphabetical order: the map's own is another each time.
    pub(crate) fn names(&self) -> Vec<&[u8]> {
        let mut names: Vec<_> = self.0.keys().map(|name| &name[..]).collect();
        names.sort_unstable();
        names
    }
}

/// A pattern that has subscribers.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) name: Name,
    pub(crate) subscribers: Vec<Subscriber>,
}

/// Patterns that have subscribers, the eldest first.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    /// By number: the later it came, the greater. A client with a million of them ends each in no
    /// time.
    list: BTreeMap<u64, Pattern>,
    numbers: HashMap<Name, u64>,
    last: u64,
}

impl Patterns {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.list.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    fn find(&mut self, name: &[u8]) -> Option<&mut Pattern> {
        self.list.get_mut(self.numbers.get(name)?)
    }

    pub(crate) fn add(&mut self, name: &[u8], subscriber: Subscriber) -> Name {
        if let Some(pattern) = self.find(name) {
            pattern.subscribers.push(subscriber);
            return pattern.name.clone();
        }
        self.last += 1;
        let name = Name::from(name);
        self.numbers.insert(name.clone(), self.last);
        let pattern = Pattern { name: name.clone(), subscribers: vec![subscriber] };
        self.list.insert(self.last, pattern);
        name
    }

    pub(crate) fn remove(&mut self, name: &[u8], client: ClientId) {
        let Some(pattern) = self.find(name) else { return };
        take_out(&mut pattern.subscribers, client);
        if pattern.subscribers.is_empty()
            && let Some(number) = self.numbers.remove(name)
        {
            self.list.remove(&number);
        }
    }

    pub(crate) fn set_version(&mut self, name: &[u8], client: ClientId, version: Version) {
        if let Some(pattern) = self.find(name) {
            change_version(&mut pattern.subscribers, client, version);
        }
    }
}

/// The others keep their order.
fn take_out(subscribers: &mut Vec<Subscriber>, client: ClientId) {
    // Whoever leaves soon after coming is at the end.
    if let Some(place) = subscribers.iter().rposition(|found| found.client == client) {
        subscribers.remove(place);
        if subscribers.len() * 4 < subscribers.capacity() {
            subscribers.shrink_to(subscribers.len() * 2);
        }
    }
}

fn change_version(subscribers: &mut [Subscriber], client: ClientId, version: Version) {
    if let Some(found) = subscribers.iter_mut().find(|found| found.client == client) {
        found.version = version;
    }
}

/// What one client has subscribed to of one kind.
#[derive(Debug, Default)]
pub(crate) struct Names {
    numbers: HashMap<Name, u64>,
    last: u64,
}

impl Names {
    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.numbers.contains_key(name)
    }

    pub(crate) fn insert(&mut self, name: Name) {
        self.last += 1;
        self.numbers.insert(name, self.last);
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        self.numbers.remove(name).is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// All of them, the eldest first.
    pub(crate) fn in_order(&self) -> Vec<Name> {
        let mut names: Vec<_> = self.numbers.iter().collect();
        names.sort_unstable_by_key(|(_, number)| **number);
        names.into_iter().map(|(name, _)| name.clone()).collect()
    }
}
