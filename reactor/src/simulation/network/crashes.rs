//! What a test does to machines and lines, as far as it is the network's affair.

use super::{COMMON, Event, Net, Vanished};
use crate::address::Address;
use crate::simulation::links::Links;

impl Net {
    /// Does something to the line from one machine to another, which may cut or mend it.
    pub(in crate::simulation) fn change_line(
        &mut self,
        from: usize,
        to: usize,
        change: impl FnOnce(&mut Links),
    ) {
        let before = self.links.is_open(from, to);
        change(&mut self.links);
        let after = self.links.is_open(from, to);
        if before == after {
            return;
        }
        let (one, other) = (&self.places[from].name, &self.places[to].name);
        let what = if before { "cut" } else { "mended" };
        self.trace.add(format_args!("the line from {one} to {other} is {what}"));
        if before {
            self.watch_over_all(|net, end| {
                let between = (net.ends[&end].port, net.port_of_other(end));
                between == (from, Some(to)) || between == (to, Some(from))
            });
        }
    }

    /// Ends that have keep-alive, and may be concerned, look whether the other is there.
    fn watch_over_all(&mut self, concerned: impl Fn(&Self, usize) -> bool) {
        let ends: Vec<_> = self.ends.keys().copied().filter(|&end| concerned(self, end)).collect();
        for end in ends {
            self.watch_over(end);
        }
    }

    fn port_of_other(&self, end: usize) -> Option<usize> {
        let other = self.ends.get(&end)?.other?;
        self.ends.get(&other).map(|other| other.port)
    }

    /// All that a machine had open is gone, and nothing is sent.
    pub(in crate::simulation) fn crash(&mut self, port: usize) {
        self.places[port].up = false;
        let queues = self.listeners.iter().flat_map(|(at, first)| {
            let all = std::iter::once(first).chain(&first.behind);
            all.map(|queue| (at.clone(), queue.owner()))
        });
        let own: Vec<_> = queues.filter(|(_, (owner, _))| *owner == port).collect();
        let mut addresses = Vec::new();
        for (at, owner) in own {
            self.remove_listener(&at, owner);
            if !self.listeners.contains_key(&at) {
                addresses.push(at);
            }
        }
        let dead = addresses.into_iter().filter(|(realm, _)| *realm == COMMON);
        self.places[port].dead = dead.map(|(_, address)| address).collect();
        let ends = self.ends.iter().filter(|(_, end)| end.port == port && !end.closed);
        let ends: Vec<_> = ends.map(|(&index, _)| index).collect();
        for index in ends {
            self.vanish(index, Vanished::Crashed);
        }
        self.crash_datagrams(port);
    }

    /// Whatever held the sockets has been dropped.
    pub(in crate::simulation) fn crashed(&mut self, port: usize) {
        self.edges[port].clear();
        self.descriptors[port].0 = 0;
    }

    pub(in crate::simulation) fn comes_up(&mut self, port: usize) {
        self.places[port].up = true;
        self.places[port].dead.clear();
    }

    fn vanish(&mut self, index: usize, how: Vanished) {
        let Some(end) = self.ends.get_mut(&index) else { return };
        (end.closed, end.vanished, end.retry) = (true, Some(how), None);
        end.arrived.clear();
        let (is_on_one_machine, other) = (end.local.socket_addr().is_none(), end.other);
        if let Some(other) = other {
            if is_on_one_machine {
                self.towards(other, Event::Reset { to: other });
            }
            self.watch_over(other);
        }
        self.forget_if_over(index);
    }

    /// An end is gone for good, and nobody is told or answered.
    pub(super) fn vanish_silently(&mut self, index: usize) {
        let Some(end) = self.ends.get(&index).filter(|end| !end.closed) else { return };
        let port = end.port;
        self.vanish(index, Vanished::Silent);
        self.give_descriptor_back(port);
    }

    /// Whether a request from `caller` for `to` gets any answer.
    pub(super) fn answers(&self, caller: usize, to: &Address) -> bool {
        if matches!(to, Address::Unix(_)) {
            return true;
        }
        // First who is there now: somebody may have taken over the address of one that is down.
        let Some(port) = self.port_at(caller, to) else {
            // Refused, unless nobody is left to do that.
            return !self.places.iter().any(|place| !place.up && place.dead.contains(to));
        };
        self.carries_between(caller, port) && self.carries_between(port, caller)
    }

    /// A line of the trace about one end of a stream, seen from where it is.
    pub(super) fn say_of(&self, end: usize, what: impl std::fmt::Display) {
        if !self.trace.is_on() {
            return;
        }
        let Some(found) = self.ends.get(&end) else { return };
        let place = &self.places[found.port].name;
        let (local, peer) = (&found.local, &found.peer);
        self.trace.add(format_args!("{place}: {local} ↔ {peer} {what}"));
    }

    pub(in crate::simulation) fn say(&self, what: std::fmt::Arguments<'_>) {
        self.trace.add(what);
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data { bytes, .. } => write!(f, "{} bytes", bytes.len()),
            Self::Fin { .. } => f.write_str("its FIN"),
            _ => f.write_str("a word"),
        }
    }
}
