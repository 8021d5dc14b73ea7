//! Output: one send a connection and turn (and one more for a file that follows), then the marks are
//! judged by what is left.

use std::io;

use log::warn;

use crate::connection::{Intake, Stage};
use crate::core::Core;
use crate::identity::Source;
use crate::output::Sent;
use crate::output::files::SendError;
use crate::policy::Direction;
use crate::policy::rations::means;
use crate::protocol::Reason;
use crate::{ConnectionId, LOG, Reactor};

impl Reactor {
    /// Step 7: sends what was written in this turn, in one call a connection, judges the marks by
    /// what is left, and drives closing connections on.
    pub(crate) fn flush(&mut self) {
        let mut dirty = std::mem::replace(&mut self.core.dirty, std::mem::take(&mut self.spare));
        for id in dirty.drain(..) {
            self.flush_connection(id);
        }
        self.spare = dirty;
        self.flush_datagrams();
        self.flush_children();
    }

    fn flush_connection(&mut self, id: ConnectionId) {
        let core = &mut self.core;
        let Some(connection) = core.connections.get_mut(id) else { return };
        connection.in_dirty = false;
        if connection.stage == Stage::Lost {
            return;
        }
        if connection.filter.is_some() {
            core.seal(id);
        }
        let Some(connection) = core.connections.get_mut(id) else { return };
        if connection.writable
            && let Some(output) = &mut connection.output
        {
            let before = output.total();
            let most = match &mut connection.policed {
                None => usize::MAX,
                // What has trickled in since would go out in as many calls: the timer tells when
                // there is enough for one.
                Some(_) if connection.writing_rationed => 0,
                Some(policed) => {
                    let wanted = output.offer(&connection.stream);
                    policed.may(Direction::Out, wanted, id, &mut means!(core))
                }
            };
            connection.writing_rationed = most == 0;
            let sent = match most {
                0 => Ok(Sent::Rationed),
                most => output.flush(&mut connection.stream, most),
            };
            let left = output.total();
            connection.progressed |= left < before; // a short write is progress, too
            if let Some(policed) = &mut connection.policed
                && most > 0
            {
                policed.sent(before - left, most, left, &means!(core));
            }
            match sent {
                Ok(Sent::All) => {
                    if let Some(output) = connection.output.take() {
                        core.outputs.give_back(output);
                    }
                    if connection.buffered() > 0 && !connection.is_handshaking() {
                        core.mark_dirty(id); // a filter sealed its share, and there is more
                    }
                }
                // The turn's share: the rest has its turn in the next one.
                Ok(Sent::Some) => core.mark_dirty(id),
                Ok(Sent::Rationed) => {} // a timer will tell
                Ok(Sent::Blocked) => {
                    connection.writable = false;
                    let source = Source::Connection(id);
                    if let Err(failure) = core.network.await_room(&mut connection.stream, source) {
                        return core.send_failed(id, failure);
                    }
                }
                Err(SendError::Socket(failure)) => return core.send_failed(id, failure),
                Err(SendError::File(failure)) => return core.file_failed(id, failure),
            }
        }
        self.judge_marks(id);
        self.core.drive_closing(id);
    }

    fn judge_marks(&mut self, id: ConnectionId) {
        let Some(connection) = self.core.connections.get_mut(id) else { return };
        let (buffered, options) = (connection.buffered(), &connection.options);
        if connection.stage != Stage::Open {
            return;
        }
        if buffered > options.output_limit {
            let reason = Reason::OutputLimit(options.output_limit);
            warn!(target: LOG, "{}: {reason}", connection.peer);
            return self.core.abort(id, reason);
        }
        let (above, below) =
            (buffered > options.high_water_mark, buffered <= options.low_water_mark);
        if buffered > options.stop_reading_mark {
            connection.throttled = true;
        } else if connection.throttled && below {
            connection.throttled = false;
            self.core.mark_ready(id);
            self.core.silence_ended(id);
        }
        let Some(connection) = self.core.connections.get_mut(id) else { return };
        if above && !connection.producer_paused {
            connection.producer_paused = true;
            connection.owes_resume = true;
            self.callback(id, |protocol, transport| {
                protocol.pause_producing(transport);
                Ok(())
            });
        } else if below && connection.owes_resume {
            connection.producer_paused = false;
            connection.owes_resume = false;
            self.callback(id, |protocol, transport| {
                protocol.resume_producing(transport);
                Ok(())
            });
        }
    }
}

impl Core {
    /// The peer takes nothing more. What it had sent before may still be read; then it is lost.
    pub(crate) fn send_failed(&mut self, id: ConnectionId, failure: io::Error) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.broken = true;
        connection.readable = true;
        let plain = connection.filter.as_mut().and_then(|filter| filter.plain().take());
        for output in connection.output.take().into_iter().chain(plain) {
            self.garbage.push(output);
        }
        let held = connection.intake() == Intake::Hold;
        connection.reason = Some(Box::new(Reason::from_io(failure)));
        if held {
            self.finish(id);
        } else {
            self.mark_ready(id);
        }
    }
}
