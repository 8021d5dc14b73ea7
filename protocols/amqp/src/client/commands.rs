//! What the server sends on a channel: deliveries, confirms, returns, closes, and the answers to
//! what was asked for.

use std::rc::Rc;

use super::channel::Channel;
use super::consumer::Consumer;
use super::core::{Core, Event, Settle, closed};
use super::lane::{Mode, Stage};
use super::message::{DeclaredQueue, Delivery, Fetched, Message, Returned};
use super::requests::{Consumed, Request};
use super::topology::Binding;
use super::{Error, LOG, Result};
use crate::codec::method::{basic, channel};
use crate::codec::{Command, Content, EncodeMethod, Method};

impl Core {
    /// A whole command on an open channel.
    pub(super) fn command(&mut self, number: u16, command: Command<'_>) -> Result {
        let Command { method, content } = command;
        match (method, content) {
            (Method::BasicDeliver(deliver), Some(content)) => {
                self.delivered(number, &deliver, content);
            }
            (Method::BasicReturn(returned), Some(content)) => {
                self.returned(number, Returned::new(&returned, content));
            }
            (Method::BasicAck(ack), _) => {
                return self.confirmed(number, ack.delivery_tag, ack.multiple, true);
            }
            (Method::BasicNack(nack), _) => {
                return self.confirmed(number, nack.delivery_tag, nack.multiple, false);
            }
            (Method::BasicCancel(cancel), _) => self.cancelled(number, &cancel),
            (Method::ChannelFlow(flow), _) => {
                if let Some(lane) = self.lane_mut(number) {
                    lane.is_stopped = !flow.active;
                }
                self.send(number, &channel::FlowOk { active: flow.active });
            }
            (Method::ChannelClose(close), _) => {
                self.send(number, &channel::CloseOk {});
                let error = Error::ChannelClosed(closed(
                    close.reply_code,
                    close.reply_text,
                    close.class_id,
                    close.method_id,
                ));
                if !self.replay_refused(number, &error) {
                    self.end_lane(number, &error);
                    self.recover();
                }
            }
            (method, content) => return self.answered(number, method, content),
        }
        Ok(())
    }

    /// A method on a channel that is being closed from here: only the end of it counts.
    pub(super) fn closing_method(&mut self, number: u16, payload: &[u8]) -> Result {
        match Method::decode(payload)? {
            Method::ChannelClose(_) => self.send(number, &channel::CloseOk {}), // both at once
            Method::ChannelCloseOk(_) => {
                self.end_lane(number, &Error::Closed);
                self.recover(); // which may have waited for this channel
            }
            _ => {}
        }
        Ok(())
    }

    fn delivered(&mut self, number: u16, deliver: &basic::Deliver<'_>, content: Content<'_>) {
        let epoch = self.epoch;
        let Some(lane) = self.lane_mut(number) else { return };
        let (Some(consuming), Some(shared)) = (lane.consuming(&deliver.consumer_tag), &lane.shared)
        else {
            let tag = deliver.consumer_tag;
            log::warn!(target: LOG, "dropped a delivery to {tag}, which is no consumer here");
            return;
        };
        let subscription = consuming.subscription.clone();
        let no_ack = subscription.no_ack;
        if consuming.is_abandoned {
            if !no_ack {
                let back = Settle::Reject { requeue: true };
                self.settle(number, deliver.delivery_tag, back);
            }
            return;
        }
        let delivery = Delivery::new(
            Message::new(deliver.exchange, deliver.routing_key, content),
            Channel::from_shared(shared.clone()),
            subscription.tag.clone(),
            deliver.delivery_tag,
            deliver.redelivered,
            epoch,
            no_ack,
        );
        self.held += delivery.cost();
        self.events.push_back(Event::Delivery(subscription, delivery));
    }

    fn returned(&mut self, number: u16, returned: Returned) {
        let Some(lane) = self.lane_mut(number) else { return };
        let returned = match &mut lane.mode {
            Mode::Confirm(confirms) => confirms.returned(returned),
            _ => Some(returned),
        };
        let (Some(returned), Some(shared)) = (returned, &lane.shared) else { return };
        if lane.on_return.is_none() {
            log::warn!(
                target: LOG,
                "dropped a message that came back: {} {}, exchange '{}', routing key '{}'",
                returned.code,
                returned.text,
                returned.message.exchange(),
                returned.message.routing_key(),
            );
            return;
        }
        let event = Event::Returned(shared.clone(), returned);
        self.events.push_back(event);
    }

    fn confirmed(&mut self, number: u16, tag: u64, multiple: bool, acked: bool) -> Result {
        let is_expected = match self.lane_mut(number).map(|lane| &mut lane.mode) {
            Some(Mode::Confirm(confirms)) => confirms.confirmed(tag, multiple, acked),
            _ => false,
        };
        let name = if acked { basic::Ack::NAME } else { basic::Nack::NAME };
        if is_expected { Ok(()) } else { Err(Error::Unexpected(name)) }
    }

    /// The server has cancelled a consumer.
    fn cancelled(&mut self, number: u16, cancel: &basic::Cancel<'_>) {
        if !cancel.nowait {
            self.send(number, &basic::CancelOk { consumer_tag: cancel.consumer_tag });
        }
        let Some(lane) = self.lane_mut(number) else { return };
        let Some(consuming) = lane.remove_consumer(&cancel.consumer_tag) else { return };
        let shared = lane.shared.clone();
        let subscription = consuming.subscription;
        let tag = subscription.tag.clone();
        let cause = Err(Error::ConsumerCancelled);
        self.events.push_back(Event::ConsumerEnd(subscription, cause));
        if let Some(shared) = shared {
            self.events.push_back(Event::Cancelled(shared, tag));
        }
        self.consumer_gone(&consuming.queue);
    }

    /// Sends how a delivery is settled.
    pub(super) fn settle(&mut self, number: u16, delivery_tag: u64, how: Settle) {
        match how {
            Settle::Ack { multiple } => self.send(number, &basic::Ack { delivery_tag, multiple }),
            Settle::Reject { requeue } => {
                self.send(number, &basic::Reject { delivery_tag, requeue });
            }
            Settle::Nack { multiple, requeue } => {
                self.send(number, &basic::Nack { delivery_tag, multiple, requeue });
            }
        }
    }

    /// The answer to the oldest request on the channel.
    fn answered(
        &mut self,
        number: u16,
        method: Method<'_>,
        content: Option<Content<'_>>,
    ) -> Result {
        let epoch = self.epoch;
        let Some(lane) = self.lane_mut(number) else { return Ok(()) };
        let request = match lane.pending.pop_front() {
            Some(request) if method.id().answers(request.id()) => request,
            Some(request) => {
                lane.pending.push_front(request); // it fails with the connection
                return Err(Error::Unexpected(method.name()));
            }
            None => return Err(Error::Unexpected(method.name())),
        };
        match (request, method) {
            (Request::Replay(_), method) => self.replayed(number, &method),
            (Request::OpenChannel(promise), _) => {
                lane.stage = Stage::Open;
                if let Some(shared) = &lane.shared {
                    promise.succeed(Channel::from_shared(shared.clone()));
                }
            }
            (Request::DeclareExchange(declare, promise), _) => {
                self.topology.exchange_declared(declare);
                promise.succeed(());
            }
            (Request::DeleteExchange(exchange, promise), _) => {
                self.topology.exchange_deleted(&exchange);
                promise.succeed(());
            }
            (Request::BindExchange(binding, promise), _) => {
                self.topology.bound(binding);
                promise.succeed(());
            }
            (Request::UnbindExchange(binding, promise), _) => {
                self.topology.unbound(&binding);
                promise.succeed(());
            }
            (Request::DeclareQueue(declare, promise), Method::QueueDeclareOk(ok)) => {
                let name = ok.queue.to_string();
                lane.last_queue.clone_from(&name);
                self.topology.queue_declared(declare, &name);
                let (message_count, consumer_count) = (ok.message_count, ok.consumer_count);
                promise.succeed(DeclaredQueue { name, message_count, consumer_count });
            }
            (Request::DeleteQueue(queue, promise), Method::QueueDeleteOk(ok)) => {
                let queue = or_last(queue, &lane.last_queue);
                self.topology.queue_deleted(&queue);
                promise.succeed(ok.message_count);
            }
            (Request::PurgeQueue(promise), Method::QueuePurgeOk(ok)) => {
                promise.succeed(ok.message_count);
            }
            (Request::BindQueue(binding, promise), _) => {
                let destination = or_last(binding.destination, &lane.last_queue);
                self.topology.bound(Binding { destination, ..binding });
                promise.succeed(());
            }
            (Request::UnbindQueue(binding, promise), _) => {
                let destination = or_last(binding.destination, &lane.last_queue);
                self.topology.unbound(&Binding { destination, ..binding });
                promise.succeed(());
            }
            (Request::Consume(subscription, promise), _) => {
                let last_queue = lane.last_queue.clone();
                let mut consumers = lane.consumers.iter_mut();
                let found = consumers.find(|found| Rc::ptr_eq(&found.subscription, &subscription));
                let (Some(consuming), Some(shared)) = (found, &lane.shared) else { return Ok(()) };
                consuming.is_started = true;
                consuming.queue = or_last(std::mem::take(&mut consuming.queue), &last_queue);
                let channel = Channel::from_shared(shared.clone());
                match promise {
                    Consumed::ByCallback(promise) => promise.succeed(subscription.tag.to_string()),
                    Consumed::ByStream(promise) => {
                        promise.succeed(Consumer::new(subscription, channel));
                    }
                }
            }
            (Request::Cancel(tag, promise), _) => {
                self.consumer_cancelled(number, &tag, promise);
                self.recover(); // which may have waited for this answer
            }
            (Request::Get { promise, .. }, Method::BasicGetEmpty(_)) => promise.succeed(None),
            (Request::Get { no_ack, promise }, Method::BasicGetOk(ok)) => {
                let (Some(content), Some(shared)) = (content, &lane.shared) else { return Ok(()) };
                let delivery = Delivery::new(
                    Message::new(ok.exchange, ok.routing_key, content),
                    Channel::from_shared(shared.clone()),
                    Rc::from(""),
                    ok.delivery_tag,
                    ok.redelivered,
                    epoch,
                    no_ack,
                );
                promise.succeed(Some(Fetched { delivery, message_count: ok.message_count }));
            }
            (Request::SelectConfirm(Some(promise)), _)
            | (Request::Qos(promise), _)
            | (Request::Recover(promise), _)
            | (Request::SelectTx(promise), _)
            | (Request::CommitTx(promise), _)
            | (Request::RollbackTx(promise), _) => promise.succeed(()),
            (Request::SelectConfirm(None), _) => {}
            // `answers` has matched the methods.
            (_, method) => return Err(Error::Unexpected(method.name())),
        }
        Ok(())
    }
}

/// An empty name stands for the last queue declared on the channel.
fn or_last(queue: String, last: &str) -> String {
    if queue.is_empty() { last.to_owned() } else { queue }
}
