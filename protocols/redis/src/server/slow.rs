//! Subscribers that do not read as fast as others publish. Memory is finite: one that has too much
//! waiting, at once or for too long, is closed, and the log says so.

use log::warn;
use ropewalk_reactor::Transport;

use super::hub::{ClientId, Hub};
use super::session::Session;
use crate::LOG;

impl Hub {
    /// Looks at those that the last delivery has noted.
    #[cold]
    pub(crate) fn judge_lagging(&mut self, transport: &mut Transport<'_>) {
        for (subscriber, waiting) in std::mem::take(&mut self.lagging) {
            let id = subscriber.client;
            if waiting > self.config.hard_limit {
                let limit = self.config.hard_limit;
                let why = format!("{waiting} bytes are waiting for it, and {limit} may at once");
                if let Some(mut transport) = transport.connection(subscriber.connection) {
                    self.close_slow(&mut transport, id, &why);
                }
                continue;
            }
            let Some(client) = self.clients.get_mut(&id) else { continue };
            let is_above = waiting > self.config.soft_limit;
            match (is_above, client.soft) {
                (true, None) => {
                    let Some(mut transport) = transport.connection(subscriber.connection) else {
                        continue;
                    };
                    let timer =
                        transport.call_later(self.config.soft_time, Session::soft_limit_due);
                    client.soft = Some(timer);
                    self.soft += 1;
                }
                (false, Some(_)) => self.caught_up(transport, id),
                _ => {}
            }
        }
    }

    /// A client has little waiting: if its time was running, it is not any more.
    pub(crate) fn caught_up(&mut self, transport: &mut Transport<'_>, id: ClientId) {
        let timer = self.clients.get_mut(&id).and_then(|client| client.soft.take());
        if let Some(timer) = timer {
            transport.cancel(timer);
            self.soft -= 1;
        }
    }

    /// The time is over for which a client may have more waiting than the soft limit.
    pub(crate) fn judge_soft_limit(&mut self, transport: &mut Transport<'_>, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.soft.take().is_some() {
            self.soft -= 1;
        }
        let (waiting, limit) = (transport.buffered(), self.config.soft_limit);
        if waiting > limit {
            let time = self.config.soft_time;
            let why = format!("for {time:?} more than {limit} bytes have been waiting for it");
            self.close_slow(transport, id, &why);
        }
    }

    fn close_slow(&mut self, transport: &mut Transport<'_>, id: ClientId, why: &str) {
        if !self.clients.contains_key(&id) {
            return; // it went with an earlier pattern
        }
        warn!(target: LOG, "{}: a subscriber that is too slow is closed: {why}", transport.peer());
        self.totals.slow += 1;
        self.forget(id);
        transport.abort_connection();
    }
}
