//! Messages that have begun to come: what their frames hold until the last one is there.
//!
//! No alarm bounds that, since a connection that is blocked in the middle of a message gives back
//! nothing. So all connections together may hold as much of it as messages may, and one message
//! of the largest size more; who goes beyond is closed. The one rule: what a channel counted here
//! is taken off when its message is whole, or when the channel goes.

use crate::codec::{FrameKind, MethodId, ReplyCode};

use super::channel::Channel;
use super::config::Config;
use super::connection::Session;
use super::fault::Fault;
use super::hub::Hub;

/// A header below this is not counted: 2,047 channels of 4 KiB are 8 MiB a connection.
const SMALL_HEADER: usize = 4096;

/// What the unfinished messages of all connections hold.
pub(super) struct Unfinished {
    octets: u64,
    limit: u64,
}

impl Unfinished {
    pub(super) fn new(config: &Config) -> Unfinished {
        let most = |limit: u64| limit.saturating_add(config.broker.max_message_size);
        Unfinished { octets: 0, limit: config.memory_limit.map_or(u64::MAX, most) }
    }
}

/// A frame of a message has come on this channel that was not the last one. `held` is what all
/// channels of the connection hold.
#[inline]
pub(super) fn hold(
    hub: &mut Hub,
    held: &mut u64,
    channel: &mut Channel,
    (kind, len): (FrameKind, usize),
) -> Result<(), Fault> {
    match kind {
        FrameKind::Body => {}
        FrameKind::Header if len > SMALL_HEADER => {}
        _ => return Ok(()),
    }
    channel.unfinished += len as u64;
    *held += len as u64;
    let all = &mut hub.unfinished;
    all.octets += len as u64;
    if all.octets <= all.limit {
        return Ok(());
    }
    let text =
        format!("unfinished messages hold {} octets, the limit is {}", all.octets, all.limit);
    Err(Fault::new(ReplyCode::ResourceError, MethodId::NONE, text))
}

/// The message of this channel is whole, or given up.
#[inline]
pub(super) fn let_go(hub: &mut Hub, held: &mut u64, channel: &mut Channel) {
    if channel.unfinished > 0 {
        hub.unfinished.octets -= channel.unfinished;
        *held -= channel.unfinished;
        channel.unfinished = 0;
    }
}

impl Session {
    /// All channels of the connection go.
    pub(super) fn let_all_go(&mut self, hub: &mut Hub) {
        hub.unfinished.octets -= std::mem::take(&mut self.unfinished);
    }
}
