//! Connection requests, and who is meant by an address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{COMMON, End, Event, Net, Realm, mark_edge};
use crate::address::Address;

impl Net {
    pub(super) fn request(&mut self, client: usize) {
        let Some(end) = self.ends.get(&client) else { return };
        if end.closed || end.failure.is_some() {
            return;
        }
        let (from, to, caller) = (end.local.clone(), end.peer.clone(), end.port);
        if to.ip().is_some_and(|ip| self.silent.contains(&ip)) {
            return;
        }
        if !self.answers(caller, &to) {
            return self.request_lost(client);
        }
        let at = self.listening_at(caller, &to);
        if let Some(at) = &at {
            self.draw_listener(at);
        }
        let queue = at.as_ref().and_then(|at| self.listeners.get(at));
        match queue.map(|queue| queue.waiting.len() < queue.backlog) {
            Some(true) => {}
            Some(false) => {
                // As a full backlog does: the request is dropped, and sent again a second later.
                let again = self.clock.get() + 1_000_000_000;
                return self.later(again, Event::Request { end: client });
            }
            None => {
                let end = self.end(client);
                end.failure = Some(match end.peer {
                    Address::Unix(_) => io::ErrorKind::NotFound, // stopping removes the path
                    _ => io::ErrorKind::ConnectionRefused,
                });
                self.say_of(client, "is refused");
                return self.edge(client, |edge| {
                    edge.readable = true;
                    edge.writable = true;
                    edge.failed = true;
                });
            }
        }
        let Some((at, queue)) = at.and_then(|at| Some((at.clone(), self.listeners.get(&at)?)))
        else {
            return;
        };
        let (port, source, keep_alive) = (queue.port, queue.source, queue.keep_alive);
        let server = self.insert(End {
            connected: true,
            other: Some(client),
            keep_alive,
            ..End::new(port, to, from.clone())
        });
        let end = self.end(client);
        end.other = Some(server);
        end.connected = true;
        if let Some(queue) = self.listeners.get_mut(&at) {
            queue.waiting.push_back((server, from));
        }
        self.say_of(client, "is connected");
        self.edge(client, |edge| edge.writable = true);
        mark_edge(&mut self.edges[port], source, |edge| edge.readable = true);
    }

    /// The realm in which `address` has a meaning for what is on `port`.
    pub(in crate::simulation) fn realm(&self, port: usize, address: &Address) -> Realm {
        let own = |port: usize| self.places[port].address.map_or(COMMON, |_| port);
        match address.ip() {
            None => own(port), // a path is the machine's own
            Some(ip) if ip.is_loopback() || ip.is_unspecified() => own(port),
            Some(ip) => {
                let owner = self.places.iter().position(|place| place.address == Some(ip));
                owner.unwrap_or(COMMON)
            }
        }
    }

    /// Whether what is on `port` may bind to `address`.
    pub(in crate::simulation) fn may_bind(
        &self,
        port: usize,
        address: &Address,
    ) -> io::Result<Realm> {
        let realm = self.realm(port, address);
        let free = realm == port || (realm == COMMON && self.places[port].address.is_none());
        if free { Ok(realm) } else { Err(io::ErrorKind::AddrNotAvailable.into()) }
    }

    /// The listener that a request from `caller` for `to` finds.
    fn listening_at(&self, caller: usize, to: &Address) -> Option<(Realm, Address)> {
        let realm = self.realm(caller, to);
        let exact = (realm, to.clone());
        if self.listeners.contains_key(&exact) {
            return Some(exact);
        }
        let everywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), to.port()?);
        let everywhere = (realm, everywhere.into());
        self.listeners.contains_key(&everywhere).then_some(everywhere)
    }

    /// The port of whoever has `to`, as far as anybody does.
    pub(super) fn port_at(&self, caller: usize, to: &Address) -> Option<usize> {
        match self.realm(caller, to) {
            COMMON => {
                let at = self.listening_at(caller, to)?;
                self.listeners.get(&at).map(|queue| queue.port)
            }
            owner => Some(owner),
        }
    }

    pub(in crate::simulation) fn port_listening_at(&self, ip: IpAddr) -> Option<usize> {
        let listening = self.listeners.iter().find(|((_, at), _)| at.ip() == Some(ip));
        listening.map(|(_, queue)| queue.port)
    }
}
