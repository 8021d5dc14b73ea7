//! Bringing back what was there before the connection was lost.
//!
//! Users' channels are opened again at once, each with its prefetch and its mode. Meanwhile a
//! channel of our own declares exchanges and queues, then the bindings between them; only then
//! do consumers start again. All of one stage goes out without waiting: the server answers in
//! order. The one rule: what the server refuses is told, left out, and stops nothing else.

use std::collections::VecDeque;
use std::fmt;

use super::connection::Notice;
use super::core::{Core, Event};
use super::lane::{Lane, Mode, Stage};
use super::requests::Request;
use super::topology::{Binding, Destination};
use super::{Error, LOG};
use crate::codec::method::{basic, channel, confirm, exchange, queue, tx};
use crate::codec::{Method, ReplyCode, ShortStr};

/// How far it has come.
pub(super) struct Recovery {
    stage: RecoveryStage,
    /// The channel of our own; 0 if there was none left.
    number: u16,
    /// What was sent on it and is not answered.
    steps: VecDeque<Step>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RecoveryStage {
    Declaring,
    Binding,
    Consuming,
}

/// One thing to declare again.
enum Step {
    Exchange(String),
    Queue(String),
    Binding(Binding),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(name) => write!(f, "exchange '{name}'"),
            Self::Queue(name) => write!(f, "queue '{name}'"),
            Self::Binding(binding) => {
                write!(f, "binding of '{}' to '{}'", binding.destination, binding.source)
            }
        }
    }
}

impl Core {
    /// Opens the channels, and begins to declare.
    pub(super) fn begin_recovery(&mut self) -> Recovery {
        for number in 1..=self.lanes.len() as u16 {
            self.reopen(number);
        }
        let exchanges = self.topology.exchanges.keys().cloned().map(Step::Exchange);
        let queues = self.topology.queues.keys().cloned().map(Step::Queue);
        let steps: VecDeque<Step> = exchanges.chain(queues).collect();
        let nothing = steps.is_empty() && self.topology.bindings.is_empty();
        let stage = RecoveryStage::Declaring;
        let number = match self.free_number() {
            _ if nothing => 0,
            Ok(number) => number,
            Err(error) => {
                self.tell_failed("the topology", &error);
                return Recovery {
                    stage: RecoveryStage::Binding,
                    number: 0,
                    steps: VecDeque::new(),
                };
            }
        };
        let mut recovery = Recovery { stage, number, steps };
        if number != 0 {
            self.open_own_lane(&mut recovery);
        }
        recovery
    }

    /// Goes on as far as the answers allow; whether everything is there again.
    pub(super) fn advance(&mut self, recovery: &mut Recovery) -> bool {
        loop {
            match recovery.stage {
                RecoveryStage::Declaring if recovery.steps.is_empty() => {
                    recovery.stage = RecoveryStage::Binding;
                    if recovery.number != 0 {
                        let bindings = self.topology.bindings.iter().cloned();
                        recovery.steps = bindings.map(Step::Binding).collect();
                        self.send_steps(recovery);
                    }
                }
                RecoveryStage::Binding if recovery.steps.is_empty() => {
                    recovery.stage = RecoveryStage::Consuming;
                    if recovery.number != 0 {
                        self.close_lane(recovery.number, ReplyCode::ReplySuccess, "recovered");
                    }
                    for number in 1..=self.lanes.len() as u16 {
                        self.consume_again(number);
                    }
                }
                RecoveryStage::Consuming => {
                    let mut lanes = self.lanes.iter().flatten();
                    return lanes.all(|lane| lane.pending.is_empty());
                }
                _ => return false,
            }
        }
    }

    /// The server's answer to a part of it, on the channel `number`.
    pub(super) fn replayed(&mut self, number: u16, method: &Method<'_>) {
        if let Method::ChannelOpenOk(_) = method {
            if let Some(lane) = self.lane_mut(number) {
                lane.stage = Stage::Open;
            }
        } else if let Some(recovery) = self.recovery_mut()
            && recovery.number == number
            && let Some(step) = recovery.steps.pop_front()
            && let (Step::Queue(old), Method::QueueDeclareOk(declared)) = (step, method)
        {
            let new = declared.queue.to_string();
            if old != new {
                self.topology.queue_renamed(&old, &new);
                self.events.push_back(Event::Notice(Notice::QueueRenamed { old, new }));
            }
        }
        self.recover();
    }

    /// The server has closed the channel `number`. True if it was our own: then what it refused is
    /// left out, and the rest goes on.
    pub(super) fn replay_refused(&mut self, number: u16, error: &Error) -> bool {
        let Some(recovery) = self.recovery_mut() else { return false };
        if recovery.number != number || recovery.stage == RecoveryStage::Consuming {
            return false;
        }
        let refused = recovery.steps.pop_front();
        let mut rest =
            Recovery { stage: recovery.stage, number, steps: std::mem::take(&mut recovery.steps) };
        if let Some(refused) = refused {
            self.tell_failed(&refused.to_string(), error);
        }
        self.open_own_lane(&mut rest);
        if let Some(recovery) = self.recovery_mut() {
            *recovery = rest;
        }
        self.recover();
        true
    }

    fn open_own_lane(&mut self, recovery: &mut Recovery) {
        let lane = Lane::new(None, self.options.max_message_size);
        self.open_lane(recovery.number, lane, Request::Replay(channel::Open::ID));
        self.send_steps(recovery);
    }

    /// Opens a user's channel again, as it was.
    fn reopen(&mut self, number: u16) {
        let Some(lane) = self.lane_mut(number) else { return };
        lane.stage = Stage::Opening;
        lane.is_reopened = true;
        lane.is_stopped = false;
        let qos = lane.qos;
        let mode = match lane.mode {
            Mode::Plain => None,
            Mode::Confirm(_) => Some(confirm::Select::ID),
            Mode::Transaction => Some(tx::Select::ID),
        };
        self.request(number, &channel::Open::default(), Request::Replay(channel::Open::ID));
        for (count, global) in qos.into_iter().zip([false, true]) {
            if let Some(prefetch_count) = count {
                let method = basic::Qos { prefetch_size: 0, prefetch_count, global };
                self.request(number, &method, Request::Replay(basic::Qos::ID));
            }
        }
        match mode {
            Some(confirm::Select::ID) => {
                self.request(
                    number,
                    &confirm::Select::default(),
                    Request::Replay(confirm::Select::ID),
                );
            }
            Some(_) => self.request(number, &tx::Select {}, Request::Replay(tx::Select::ID)),
            None => {}
        }
    }

    fn consume_again(&mut self, number: u16) {
        let Some(lane) = self.lane_mut(number) else { return };
        if let Stage::Closing(_) = lane.stage {
            return;
        }
        let consumers: Vec<_> = lane
            .consumers
            .iter()
            .filter(|found| !found.is_abandoned)
            .map(|found| {
                (found.subscription.tag.clone(), found.queue.clone(), found.options.clone())
            })
            .collect();
        for (tag, queue, options) in consumers {
            let queue = self.topology.current(&queue).to_owned();
            let method = basic::Consume {
                queue: ShortStr::cut(&queue),
                consumer_tag: ShortStr::cut(tag.as_bytes()),
                no_local: options.no_local,
                no_ack: options.no_ack,
                exclusive: options.exclusive,
                arguments: options.arguments.as_table(),
                ..Default::default()
            };
            self.request(number, &method, Request::Replay(basic::Consume::ID));
        }
    }

    fn send_steps(&mut self, recovery: &Recovery) {
        for step in &recovery.steps {
            self.send_step(recovery.number, step);
        }
    }

    fn send_step(&mut self, number: u16, step: &Step) {
        match step {
            Step::Exchange(name) => {
                let Some(declare) = self.topology.exchanges.get(name).cloned() else { return };
                let method = declare.method();
                self.request(number, &method, Request::Replay(exchange::Declare::ID));
            }
            Step::Queue(name) => {
                let Some(recorded) = self.topology.queues.get(name).cloned() else { return };
                let method = recorded.declare.method();
                self.request(number, &method, Request::Replay(queue::Declare::ID));
            }
            Step::Binding(binding) => match binding.kind {
                Destination::Exchange => {
                    let method = binding.exchange_method();
                    self.request(number, &method, Request::Replay(exchange::Bind::ID));
                }
                Destination::Queue => {
                    let method = binding.queue_method();
                    self.request(number, &method, Request::Replay(queue::Bind::ID));
                }
            },
        }
    }

    fn tell_failed(&mut self, what: &str, error: &Error) {
        log::warn!(target: LOG, "after the reconnection, {what} is missing: {error}");
        let (what, error) = (what.to_owned(), error.clone());
        self.events.push_back(Event::Notice(Notice::RecoveryFailed { what, error }));
    }
}
