//! Where a datagram socket gets its protocol, and where it loses it.

use std::rc::Rc;

use log::{debug, error};

use super::DatagramTransport;
use super::port::{DatagramId, PortBirth};
use crate::panics::isolate;
use crate::protocol::Reason;
use crate::{LOG, Reactor};

impl Reactor {
    pub(crate) fn datagram_births_and_losses(&mut self) {
        for PortBirth { id, protocol, promise } in std::mem::take(&mut self.core.ports.births) {
            if self.core.ports.open(id).is_none() {
                // Closed before it was told of anything.
                self.core.garbage.push(Box::new(protocol));
                continue;
            }
            let slot = id.slot as usize;
            if self.datagrams.len() <= slot {
                self.datagrams.resize_with(slot + 1, || None);
            }
            self.datagrams[slot] = Some(protocol);
            let started =
                self.datagram_callback(id, |protocol, transport| protocol.started(transport));
            if let Err(failure) = started {
                let reason = Reason::Error(Rc::new(failure));
                if let Some(port) = self.core.ports.get(id) {
                    error!(target: LOG, "{}: {reason}", port.host);
                }
                self.core.close_datagram(id, reason);
            }
            if let Some(promise) = promise {
                promise.succeed(id);
            }
        }
        for id in std::mem::take(&mut self.core.ports.closed) {
            self.bury_datagram(id);
        }
    }

    /// Sends what waits, as far as that goes, closes the socket, and tells the protocol.
    fn bury_datagram(&mut self, id: DatagramId) {
        self.flush_port(id, usize::MAX); // there is no other turn for it
        if self.core.ports.get(id).is_none() {
            return;
        }
        let port = self.core.ports.slots.remove(id.slot as usize);
        let protocol = self.datagrams.get_mut(id.slot as usize).and_then(Option::take);
        for timer in port.timers {
            self.core.cancel(timer);
        }
        let (host, reason) = (port.host, port.reason.unwrap_or(Reason::Closed));
        drop(port.socket);
        debug!(target: LOG, "{host}: closed for datagrams: {reason}");
        let Some(mut protocol) = protocol else { return };
        self.core.departed_port = Some((id, host.clone()));
        let mut transport = DatagramTransport { core: &mut self.core, id };
        if let Err(message) = isolate(|| protocol.stopped(&mut transport, &reason)) {
            error!(target: LOG, "{host}: stopped panicked: {message}");
        }
        self.core.departed_port = None;
        if let Err(message) = isolate(|| drop(protocol)) {
            error!(target: LOG, "{host}: the protocol panicked when it was dropped: {message}");
        }
    }
}
