//! Publishing, as far as the state machine goes: a message on its way out, and its place among
//! those that are to be confirmed.

use bytes::Bytes;
use ropewalk_reactor::Promise;

use super::core::Core;
use super::lane::{Mode, Stage};
use super::message::Confirmation;
use super::requests::Request;
use super::{Error, Properties, Result};
use crate::codec::method::{basic, confirm};
use crate::codec::{FRAME_OVERHEAD, ShortStr};

/// What a content header has before the properties (AMQP 0-9-1 section 4.2.6.1).
const HEADER_FIXED: usize = 12;

/// One message, borrowed from whoever publishes it.
pub(super) struct Outgoing<'a> {
    pub(super) exchange: &'a str,
    pub(super) routing_key: &'a str,
    pub(super) mandatory: bool,
    pub(super) properties: &'a Properties,
    pub(super) body: &'a Bytes,
}

impl Core {
    /// Whether a message could be published on the channel now: to be asked before `publish`.
    pub(super) fn check_message(
        &mut self,
        number: u16,
        message: &Outgoing<'_>,
        buffered: usize,
    ) -> Result {
        self.usable()?;
        match self.lane_mut(number).map(|lane| &lane.stage) {
            Some(Stage::Open) => {}
            _ => return Err(Error::Closed),
        }
        if self.outbox.len() + buffered > self.options.output_limit {
            return Err(Error::OutputFull(self.options.output_limit));
        }
        for (name, text) in
            [("exchange's name", message.exchange), ("routing key", message.routing_key)]
        {
            if text.len() > ShortStr::MAX_LEN {
                return Err(Error::TooLong(name));
            }
        }
        self.scratch.clear();
        message.properties.encode(&mut self.scratch)?;
        let limit = self.limits.frame_max as usize - FRAME_OVERHEAD - HEADER_FIXED;
        if self.scratch.len() > limit {
            return Err(Error::TooLarge { size: self.scratch.len(), limit });
        }
        Ok(())
    }

    /// Sends a message that `check_message` has just let pass.
    pub(super) fn publish(
        &mut self,
        number: u16,
        message: &Outgoing<'_>,
        promise: Option<Promise<Confirmation>>,
    ) {
        if promise.is_some() {
            self.select_confirm(number);
        }
        let Some(lane) = self.lane_mut(number) else { return };
        if let Mode::Confirm(confirms) = &mut lane.mode {
            let is_awaited = promise.is_some();
            confirms.published(promise);
            if message.mandatory && is_awaited {
                confirms.is_mandatory(message.exchange, message.routing_key, message.body);
            }
        }
        let renamed;
        let mut routing_key = message.routing_key;
        if message.exchange.is_empty() {
            let current = self.topology.current(routing_key);
            if current != routing_key {
                renamed = current.to_owned();
                routing_key = &renamed;
            }
        }
        let method = basic::Publish {
            exchange: ShortStr::cut(message.exchange),
            routing_key: ShortStr::cut(routing_key),
            mandatory: message.mandatory,
            ..Default::default()
        };
        self.send_message(number, &method, message.body);
    }

    /// Asks for confirms if that has not been done. A transactional channel stays one.
    fn select_confirm(&mut self, number: u16) {
        if let Some(lane) = self.lane_mut(number)
            && let Mode::Plain = lane.mode
        {
            lane.mode = Mode::Confirm(super::confirms::Confirms::default());
            self.request(number, &confirm::Select::default(), Request::SelectConfirm(None));
        }
    }
}
