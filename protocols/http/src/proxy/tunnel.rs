//! Two connections that became one: what follows an upgrade goes both ways as it is.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::BytesMut;
use ropewalk_reactor::{ConnectionId, Protocol, Reason, Result, Transport, Written};

/// One end of a tunnel: what comes here goes out there.
pub(super) struct Tunnel {
    /// The other end.
    there: ConnectionId,
    early: Rc<RefCell<Early>>,
}

/// What the server sends before the client's connection has become a tunnel, too: its response must go
/// out first.
#[derive(Default)]
pub(super) struct Early {
    data: BytesMut,
    is_open: bool,
}

impl Tunnel {
    pub(super) fn new(there: ConnectionId, early: Rc<RefCell<Early>>) -> Self {
        Self { there, early }
    }
}

/// Both ends are there.
pub(super) struct Opening(pub(super) Tunnel);

impl Protocol for Tunnel {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        let mut early = self.early.borrow_mut();
        if !early.is_open {
            early.data.extend_from_slice(data);
            data.clear();
            transport.pause_reading(); // what has come by now is all there is to keep
            return Ok(());
        }
        drop(early);
        let written = transport.connection(self.there).map(|mut there| there.write(data));
        data.clear();
        match written {
            Some(Written::Taken) => {}
            Some(Written::AboveHighWater) => transport.pause_reading(),
            Some(Written::Gone) | None => transport.lose_connection(),
        }
        Ok(())
    }

    fn read_closed(&mut self, transport: &mut Transport<'_>) -> Result {
        if let Some(mut there) = transport.connection(self.there) {
            there.lose_write_connection();
        }
        Ok(())
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        if let Some(mut there) = transport.connection(self.there) {
            there.resume_reading();
        }
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        let is_orderly = matches!(reason, Reason::Done | Reason::Closed | Reason::Stopped);
        if let Some(mut there) = transport.connection(self.there) {
            if is_orderly { there.lose_connection() } else { there.abort_connection() }
        }
    }
}

/// The client's end, which is the later one: with it, what has come early goes out.
impl Protocol for Opening {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        let mut early = self.0.early.borrow_mut();
        early.is_open = true;
        if !early.data.is_empty() {
            transport.write(&early.data);
            early.data = BytesMut::new();
        }
        match transport.connection(self.0.there) {
            Some(mut there) => there.resume_reading(),
            None => transport.lose_connection(),
        }
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        self.0.data_received(transport, data)
    }

    fn read_closed(&mut self, transport: &mut Transport<'_>) -> Result {
        self.0.read_closed(transport)
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        self.0.resume_producing(transport);
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        self.0.connection_lost(transport, reason);
    }
}
