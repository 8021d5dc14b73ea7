//! One channel on the wire, as this side knows it: what stage it is in, what it waits for, who
//! consumes on it, and what has to be said again on a new connection.

use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;

use ropewalk_reactor::{Promise, Reactor};

use super::Error;
use super::channel::ChannelShared;
use super::confirms::Confirms;
use super::consumer::Subscription;
use super::declare::ConsumeOptions;
use super::message::Returned;
use super::requests::Request;
use crate::codec::Assembler;

/// Where a channel is in its life. It is not there before `Opening` nor after `Closing`.
pub(super) enum Stage {
    /// `channel.open` is sent.
    Opening,
    Open,
    /// `channel.close` is sent; these want to know when it is answered. Whatever else comes is
    /// ignored.
    Closing(Vec<Promise<()>>),
}

/// What publishing means on a channel. It never changes back.
#[derive(Default)]
pub(super) enum Mode {
    #[default]
    Plain,
    Confirm(Confirms),
    Transaction,
}

/// A consumer on a channel.
pub(super) struct Consuming {
    pub(super) subscription: Rc<Subscription>,
    /// Under its name at that time; see `Topology::current`.
    pub(super) queue: String,
    pub(super) options: ConsumeOptions,
    /// The server has granted it.
    pub(super) is_started: bool,
    /// Nobody takes its deliveries any more; `basic.cancel` is on its way.
    pub(super) is_abandoned: bool,
}

pub(super) type ReturnCallback = Box<dyn FnMut(&mut Reactor, Returned)>;
pub(super) type CloseCallback = Box<dyn FnOnce(&mut Reactor, Error)>;
pub(super) type CancelCallback = Box<dyn FnMut(&mut Reactor, &str)>;

/// A channel.
pub(super) struct Lane {
    /// What its handles share; `None` for the one on which a lost topology is declared again.
    pub(super) shared: Option<Rc<ChannelShared>>,
    pub(super) stage: Stage,
    pub(super) assembler: Assembler,
    pub(super) pending: VecDeque<Request>,
    pub(super) consumers: Vec<Consuming>,
    pub(super) mode: Mode,
    /// The prefetch counts that were set: for each consumer to come, and for the channel.
    pub(super) qos: [Option<u16>; 2],
    /// The queue that an empty name stands for.
    pub(super) last_queue: String,
    /// It has been opened again, so that the server no longer knows its last queue.
    pub(super) is_reopened: bool,
    /// The server wants no messages on it (`channel.flow`).
    pub(super) is_stopped: bool,
    /// For names of consumers.
    pub(super) tags: u64,
    pub(super) on_return: Option<ReturnCallback>,
    pub(super) on_close: Option<CloseCallback>,
    pub(super) on_cancel: Option<CancelCallback>,
}

impl Lane {
    pub(super) fn new(shared: Option<Rc<ChannelShared>>, max_message_size: u64) -> Lane {
        Lane {
            shared,
            stage: Stage::Opening,
            assembler: Assembler::new(max_message_size),
            pending: VecDeque::new(),
            consumers: Vec::new(),
            mode: Mode::Plain,
            qos: [None; 2],
            last_queue: String::new(),
            is_reopened: false,
            is_stopped: false,
            tags: 0,
            on_return: None,
            on_close: None,
            on_cancel: None,
        }
    }

    /// Nothing that was asked for so far can be answered.
    pub(super) fn fail_requests(&mut self, error: &Error) {
        for request in mem::take(&mut self.pending) {
            request.fail(error);
        }
        if let Mode::Confirm(confirms) = &mut self.mode {
            confirms.fail(error);
        }
    }

    /// Whether somebody waits for an answer or a confirm on this channel.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.stage, Stage::Closing(_))
            || self.pending.iter().any(Request::is_awaited)
            || matches!(&self.mode, Mode::Confirm(confirms) if confirms.is_awaited())
    }

    pub(super) fn consuming(&self, tag: &[u8]) -> Option<&Consuming> {
        self.consumers.iter().find(|found| found.subscription.tag.as_bytes() == tag)
    }

    /// Takes a consumer off the list.
    pub(super) fn remove_consumer(&mut self, tag: &[u8]) -> Option<Consuming> {
        let found =
            self.consumers.iter().position(|found| found.subscription.tag.as_bytes() == tag)?;
        Some(self.consumers.remove(found))
    }
}
