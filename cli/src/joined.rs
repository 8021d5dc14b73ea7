//! The bridges that run, and becoming those of a changed configuration: one that stays is not touched,
//! and one that changes begins when the former has ended, or messages would cross twice.

use std::cell::RefCell;
use std::rc::Rc;

use log::{info, warn};
use ropewalk::bridge::{Bridge, Options};
use ropewalk::{Address, Reactor};

use crate::bridge::{BridgeError, NamedBridge, Secrets};
use crate::config::{Configuration, Settings, differences};
use crate::serve::Problem;
use crate::sockets::Sockets;

/// All bridges.
#[derive(Default)]
pub(crate) struct Joined {
    all: Vec<One>,
}

struct One {
    name: String,
    asked: Asked,
    /// `None` before the former one of its name has ended, and once it is not wanted any more.
    bridge: Rc<RefCell<Slot>>,
}

enum Slot {
    /// It begins when the former one has ended.
    Waiting,
    Running(Bridge),
    Unwanted,
}

/// What makes a bridge this one and no other.
struct Asked {
    settings: Settings,
    secrets: Secrets,
    addresses: Vec<Option<Address>>,
}

impl Asked {
    fn is_same(&self, other: &Self) -> bool {
        differences(&self.settings, &other.settings).is_empty()
            && self.secrets == other.secrets
            && self.addresses == other.addresses
    }
}

/// What was read for the bridges of a configuration, in their order.
pub(crate) struct Prepared(Vec<Secrets>);

impl Joined {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Reads what the bridges need; nothing is changed.
    pub(crate) fn prepare(configuration: &Configuration) -> Result<Prepared, Problem> {
        let secrets = configuration.bridges.iter().map(|NamedBridge { name, bridge, .. }| {
            bridge.secrets(&configuration.services).map_err(|error| problem(name, error))
        });
        Ok(Prepared(secrets.collect::<Result<_, _>>()?))
    }

    /// Becomes what the configuration says, whose services listen on `sockets` already.
    pub(crate) fn apply(
        &mut self,
        reactor: &mut Reactor,
        configuration: &Configuration,
        sockets: &Sockets,
        Prepared(secrets): Prepared,
    ) -> Result<(), Problem> {
        let mut wanted = Vec::new();
        for (NamedBridge { name, bridge, settings }, secrets) in
            configuration.bridges.iter().zip(secrets)
        {
            let address = |service: &str| sockets.reached_at(service);
            let options = bridge.options(name, &secrets, &address);
            let options = options.map_err(|error| problem(name, error))?;
            let addresses = bridge.services().map(address).collect();
            wanted.push((name, Asked { settings: settings.clone(), secrets, addresses }, options));
        }
        let mut before = std::mem::take(&mut self.all);
        for (name, asked, options) in wanted {
            let place = before.iter().position(|one| one.name == *name);
            let former = place.map(|place| before.remove(place));
            let one = match former {
                Some(former) if former.asked.is_same(&asked) => former,
                former => One::begin(reactor, name, asked, options, former),
            };
            self.all.push(one);
        }
        for gone in before {
            info!("{}: it is no longer wanted", gone.name);
            gone.end(reactor, |_| ());
        }
        Ok(())
    }
}

impl One {
    fn begin(
        reactor: &mut Reactor,
        name: &str,
        asked: Asked,
        options: Options,
        former: Option<Self>,
    ) -> Self {
        let bridge = Rc::new(RefCell::new(Slot::Waiting));
        let (slot, own) = (bridge.clone(), name.to_owned());
        let start = move |reactor: &mut Reactor| {
            if matches!(*slot.borrow(), Slot::Unwanted) {
                return;
            }
            match Bridge::start(reactor, options) {
                Ok(bridge) => *slot.borrow_mut() = Slot::Running(bridge),
                Err(error) => warn!("{own}: {error}"),
            }
        };
        match former {
            Some(former) => former.end(reactor, start),
            None => start(reactor),
        }
        Self { name: name.to_owned(), asked, bridge }
    }

    /// Ends it, and calls `then` when it has ended.
    fn end(self, reactor: &mut Reactor, then: impl FnOnce(&mut Reactor) + 'static) {
        match self.bridge.replace(Slot::Unwanted) {
            Slot::Running(bridge) => bridge.stop().then(move |reactor, _| then(reactor)),
            Slot::Waiting | Slot::Unwanted => then(reactor),
        }
    }
}

fn problem(name: &str, error: BridgeError) -> Problem {
    Problem::Bridge { name: name.to_owned(), error }
}
