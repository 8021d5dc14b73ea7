//! What comes to its end of a stream, and the edges that tell its reactor of it: once each, as
//! epoll does.

use std::collections::BTreeMap;
use std::io;

use super::Net;
use crate::identity::Source;
use crate::network::Readiness;

impl Net {
    /// Data reaches its end.
    pub(super) fn data_arrives(&mut self, to: usize, bytes: &[u8]) {
        let Some(end) = self.ends.get_mut(&to) else { return };
        end.under_way -= bytes.len();
        if end.is_dead() {
            // As TCP answers data for a socket that is gone.
            if let Some(other) = end.other {
                self.reset_now(other);
            }
        } else if end.failure.is_none() {
            end.arrived.extend_from_slice(bytes);
            self.edge(to, |edge| edge.readable = true);
        }
    }

    pub(super) fn fin_arrives(&mut self, to: usize) {
        let Some(end) = self.ends.get_mut(&to) else { return };
        end.fin_arrived = true;
        let (knows_nothing, other) = (end.vanished.is_some() || end.reset_lost, end.other);
        if knows_nothing && let Some(other) = other {
            return self.reset_now(other); // a FIN for a socket that is gone, likewise
        }
        self.edge(to, |edge| {
            edge.readable = true;
            edge.read_closed = true;
        });
    }

    /// Tells an edge to the reactor that the end belongs to.
    pub(super) fn edge(&mut self, end: usize, mark: impl FnOnce(&mut Readiness)) {
        let Some(found) = self.ends.get(&end).filter(|end| !end.closed) else { return };
        let Some(source) = found.source else { return };
        mark_edge(&mut self.edges[found.port], source, mark);
    }

    /// Everything that is true of a socket becomes an edge when it is registered, as epoll does.
    pub(super) fn edge_of_state(&mut self, index: usize) {
        let Some(end) = self.ends.get(&index) else { return };
        let readable = !end.arrived.is_empty() || end.fin_arrived || end.failure.is_some();
        let (read_closed, failed, writable) =
            (end.fin_arrived, end.failure.is_some(), end.connected);
        self.edge(index, |edge| {
            edge.readable |= readable;
            edge.writable |= writable;
            edge.read_closed |= read_closed;
            edge.failed |= failed;
        });
    }

    /// The reset is there: what had arrived and was not received is gone, as on most systems.
    pub(super) fn reset_now(&mut self, index: usize) {
        let Some(end) = self.ends.get_mut(&index).filter(|end| !end.closed) else { return };
        end.failure = Some(io::ErrorKind::ConnectionReset);
        end.arrived.clear();
        self.say_of(index, "is reset");
        self.edge(index, |edge| {
            edge.readable = true;
            edge.writable = true;
            edge.read_closed = true;
            edge.failed = true;
        });
    }

    /// Tells a reactor that something has happened to `source`.
    pub(crate) fn tell(&mut self, port: usize, source: Source) {
        mark_edge(&mut self.edges[port], source, |edge| edge.readable = true);
    }
}

pub(in crate::simulation) fn mark_edge(
    edges: &mut BTreeMap<Source, Readiness>,
    source: Source,
    mark: impl FnOnce(&mut Readiness),
) {
    mark(edges.entry(source).or_insert(Readiness {
        source,
        readable: false,
        writable: false,
        read_closed: false,
        failed: false,
    }));
}
