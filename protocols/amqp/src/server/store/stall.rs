//! Stalls: a connection whose next answer has to wait for the store.
//!
//! What is declared, deleted or committed is answered when it is safe, and `basic.get` of a queue
//! whose next message is on the disk when that is loaded. Until then nothing more of the
//! connection is served, and it is not read: what it sent stays in order.

use ropewalk_reactor::Transport;

use crate::codec::method::basic;
use crate::codec::{Method, ShortStr};
use crate::server::command::Place;
use crate::server::connection::{Connection, Context, Running, Session, Stage};
use crate::server::fault::Fault;

/// What a connection waits with.
#[derive(Debug)]
pub(crate) enum Stall {
    /// An answer, to be sent when this record is safe.
    Answer { record: u64, octets: Vec<u8> },
    /// A fetch, to be tried again.
    Get { place: Place, queue: Box<[u8]>, no_ack: bool },
}

/// Whether the answer to a method has to wait until what it did is safe.
pub(crate) fn is_kept(method: &Method<'_>) -> bool {
    matches!(
        method,
        Method::ExchangeDeclare(_)
            | Method::ExchangeDelete(_)
            | Method::ExchangeBind(_)
            | Method::ExchangeUnbind(_)
            | Method::QueueDeclare(_)
            | Method::QueueDelete(_)
            | Method::QueueBind(_)
            | Method::QueueUnbind(_)
            | Method::TxCommit(_)
    )
}

impl Context<'_, '_> {
    /// Before a method whose answer may have to wait: from now on what is sent to the connection
    /// is held. Returns the last record that was made before.
    pub(crate) fn hold_answer(&mut self) -> u64 {
        if self.hub.keeper.is_some() {
            self.held = Some(Vec::new());
        }
        self.hub.last_record()
    }

    /// After that method: its answer goes out, or waits for the records that it has made. One that
    /// made none may tell of what another client has made just now: it waits for that.
    pub(crate) fn release_answer(&mut self, before: u64) {
        let Some(octets) = self.held.take() else { return };
        let last = self.hub.last_record();
        let record = if last > before { last } else { self.hub.last_definition() };
        if !octets.is_empty() && !self.hub.is_safe(record) {
            self.stall = Some(Stall::Answer { record, octets });
        } else {
            self.transport.write(&octets);
        }
    }
}

impl Session {
    /// Serves no more of this connection, if something it asked for has to wait: then true.
    pub(crate) fn stall(&mut self, context: &mut Context<'_, '_>) -> bool {
        if let Some(stall) = context.stall.take()
            && let Some(keeper) = &mut context.hub.keeper
        {
            let record = match &stall {
                Stall::Answer { record, .. } => *record,
                Stall::Get { .. } => 0,
            };
            keeper.stall(context.transport.id(), record);
            if let Stage::Running(Running { key, .. }) = self.stage
                && record > 0
            {
                context.hub.hold(key);
            }
            self.stall = Some(stall);
        }
        if self.stall.is_some() {
            context.transport.pause_reading();
        }
        self.stall.is_some()
    }

    /// What it waited for has come, or may have.
    fn go_on(&mut self, context: &mut Context<'_, '_>) {
        let Some(stall) = self.stall.take() else { return };
        let Stage::Running(Running { key, .. }) = self.stage else { return };
        match stall {
            Stall::Answer { octets, .. } => {
                context.transport.write(&octets);
                context.hub.release(key, context.transport);
            }
            Stall::Get { place, queue, no_ack } => {
                let get = basic::Get { queue: ShortStr::cut(&queue), no_ack, ..Default::default() };
                if let Err(fault) = crate::server::basic::get(context, place, &get) {
                    self.end_on(context, place, &fault);
                }
            }
        }
        if !self.stall(context) {
            context.transport.resume_reading();
        }
    }

    fn end_on(&mut self, context: &mut Context<'_, '_>, place: Place, fault: &Fault) {
        match fault.is_hard() {
            true => self.fail(context, fault),
            false => self.close_channel(context, place, fault),
        }
    }
}

impl Connection {
    /// The store has news for this connection.
    pub(crate) fn wake(&mut self, transport: &mut Transport<'_>) {
        self.with(transport, |session, context| session.go_on(context));
    }
}

/// A fetch that has to wait, kept to be tried again.
pub(crate) fn later(place: Place, get: &basic::Get<'_>) -> Stall {
    Stall::Get { place, queue: get.queue.as_bytes().into(), no_ack: get.no_ack }
}
