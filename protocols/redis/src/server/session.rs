//! One connection: takes commands out of the stream, has them carried out, and writes the replies
//! to all of them in one go.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::{Buf, BytesMut};
use log::debug;
use ropewalk_reactor::{Protocol, Reason, Result, Transport, Written};

use super::dispatch::Call;
use super::hub::{ClientId, Hub, Vitals};
use crate::LOG;
use crate::codec::{Encoder, RequestDecoder, RequestError, RequestLimits, Version};

/// Replies are handed over when they have grown to this, and the buffer does not stay larger.
const WRITE_AT: usize = 64 * 1024;
/// With so many replies waiting, no more commands are taken: a client has to read to be served.
/// The reactor stops reading at the same mark, but what was read by then may ask for much more.
const PAUSE_AT: usize = 1024 * 1024;
/// Below it, nobody looks at what is waiting for a subscriber.
const HIGH_WATER_MARK: usize = 64 * 1024;
/// Read in one go behind an unfinished command.
const READ_BEHIND: usize = 512 * 1024;

/// Whether replies are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Replies {
    #[default]
    On,
    Off,
    /// Not to the command after this one.
    SkipNext,
    /// Not to this one.
    Skip,
}

impl Replies {
    pub(crate) fn is_muted(self) -> bool {
        matches!(self, Self::Off | Self::Skip)
    }

    /// What it is for the next command.
    fn after_command(self) -> Self {
        match self {
            Self::SkipNext => Self::Skip,
            Self::Skip => Self::On,
            other => other,
        }
    }
}

/// What a session knows of its client without looking it up.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) client: ClientId,
    pub(crate) version: Version,
    pub(crate) is_authenticated: bool,
    pub(crate) is_subscribed: bool,
    pub(crate) replies: Replies,
    /// Nothing more is taken; what is written still goes out.
    pub(crate) is_closing: bool,
    pub(crate) vitals: Rc<Vitals>,
}

/// One connection of a [`Server`](super::Server).
pub struct Session {
    hub: Rc<RefCell<Hub>>,
    decoder: RequestDecoder,
    /// `None` before the connection is made, and where there were too many clients.
    state: Option<State>,
    /// This session has paused reading until its client has read.
    is_holding: bool,
}

impl Session {
    pub(crate) fn new(hub: Rc<RefCell<Hub>>) -> Self {
        Self { hub, decoder: RequestDecoder::default(), state: None, is_holding: false }
    }

    pub(crate) fn soft_limit_due(&mut self, transport: &mut Transport<'_>) {
        if let Some(state) = &self.state {
            self.hub.borrow_mut().judge_soft_limit(transport, state.client);
        }
    }

    /// Takes over the limits that the server has now.
    pub(crate) fn keep_to_config(&mut self, transport: &mut Transport<'_>) {
        let Some(state) = &self.state else { return };
        let hub = self.hub.borrow();
        let config = &hub.config;
        // Slow subscribers are judged here, by what is waiting above the high-water mark.
        // One mark, not two: a subscriber that has come down to it is told of at once.
        let mark = config.hard_limit.min(config.soft_limit).min(HIGH_WATER_MARK);
        let options = transport.options().high_water_mark(mark).low_water_mark(mark);
        let options = options.stop_reading_mark(PAUSE_AT);
        // The replies to one command above what may wait before it.
        let most = config.hard_limit.max(2 * config.requests.request).saturating_add(2 * PAUSE_AT);
        let options = options.output_limit(most.max(64 << 20));
        transport.set_options(options.receive_limit(config.requests.request + READ_BEHIND));
        self.decoder.set_limits(match state.is_authenticated {
            true => config.requests,
            false => RequestLimits::UNAUTHENTICATED,
        });
    }

    /// From here on the client is none of the server's.
    fn forget(&mut self) {
        if let Some(state) = &mut self.state {
            state.is_closing = true;
            self.hub.borrow_mut().forget(state.client);
        }
    }
}

impl Protocol for Session {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        let mut hub = self.hub.borrow_mut();
        let addresses = (transport.peer(), transport.host());
        let Some((client, vitals)) = hub.admit(transport.id(), addresses, transport.now()) else {
            transport.write(b"-ERR max number of clients reached\r\n");
            transport.lose_connection();
            return Ok(());
        };
        let is_open = hub.config.password.is_none();
        debug!(target: LOG, "{}: client {client}", transport.peer());
        self.state = Some(State {
            client,
            version: Version::Resp2,
            is_authenticated: is_open,
            is_subscribed: false,
            replies: Replies::On,
            is_closing: false,
            vitals,
        });
        drop(hub);
        self.keep_to_config(transport);
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        let Some(state) = &mut self.state else {
            data.clear();
            return Ok(());
        };
        let mut hub = self.hub.borrow_mut();
        let hub = &mut *hub;
        state.vitals.active.set(transport.now());
        let mut at = 0;
        while !state.is_closing {
            match self.decoder.decode(&data[at..]) {
                Ok(None) => break,
                Ok(Some((request, used))) => {
                    at += used;
                    if request.is_empty() {
                        continue;
                    }
                    let was_authenticated = state.is_authenticated;
                    Call { hub, state, transport }.run(&request);
                    state.replies = state.replies.after_command();
                    if state.is_authenticated != was_authenticated {
                        self.decoder.set_limits(match state.is_authenticated {
                            true => hub.config.requests,
                            false => RequestLimits::UNAUTHENTICATED,
                        });
                    }
                }
                Err(error) => {
                    debug!(target: LOG, "{}: {error}", transport.peer());
                    refuse(hub, state, error);
                }
            }
            if hub.out.len() >= WRITE_AT {
                write_out(&mut hub.out, transport);
                if transport.buffered() > PAUSE_AT {
                    transport.pause_reading();
                    self.is_holding = true;
                    break;
                }
            }
        }
        if !hub.out.is_empty() {
            write_out(&mut hub.out, transport);
        }
        if state.is_closing {
            hub.forget(state.client);
            data.clear();
            transport.lose_connection();
        } else if at == data.len() {
            data.clear();
        } else {
            data.advance(at);
        }
        Ok(())
    }

    fn read_closed(&mut self, transport: &mut Transport<'_>) -> Result {
        self.forget();
        transport.lose_connection();
        Ok(())
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        if std::mem::take(&mut self.is_holding) {
            transport.resume_reading();
        }
        if let Some(state) = &self.state {
            self.hub.borrow_mut().caught_up(transport, state.client);
        }
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        if let Some(state) = &self.state {
            debug!(target: LOG, "{}: client {}: {reason}", transport.peer(), state.client);
        }
        self.forget();
    }
}

fn write_out(out: &mut Vec<u8>, transport: &mut Transport<'_>) {
    let _: Written = transport.write(out);
    out.clear();
    out.shrink_to(2 * WRITE_AT);
}

/// Tells what is wrong with a request that cannot be read.
fn refuse(hub: &mut Hub, state: &mut State, error: RequestError) {
    state.is_closing = true;
    if state.replies.is_muted() {
        return;
    }
    let mut text = b"ERR ".to_vec();
    match error {
        // As it came: it need not be a letter.
        RequestError::ExpectedDollar(got) => {
            text.extend_from_slice(b"Protocol error: expected '$', got '");
            text.extend([got, b'\'']);
        }
        error => text.extend_from_slice(error.to_string().as_bytes()),
    }
    Encoder::new(&mut hub.out, state.version).error(text);
}
