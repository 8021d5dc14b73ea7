//! What clients do.

use ropewalk_broker::*;

use super::{Again, Item, Life, Model, ModelConsumer, body, is_durable, name, number};

impl Model {
    pub(super) fn born(&mut self, queue: usize, persistent: bool) {
        let number = self.published;
        let state = self.queue(queue);
        let item = Item { at: state.next, body: number, again: Again::No };
        state.ready.push(item);
        state.next += 1;
        let life = Life {
            at: item.at,
            kept: persistent && is_durable(queue),
            born: (self.began, usize::MAX),
            passed: false,
            ended: None,
            delivered: false,
        };
        self.lives.insert((queue, number), life);
    }

    pub(super) fn send(&mut self, exchange: &str, key: &str, persistent: bool) {
        let number = self.published;
        self.confirms.insert(self.next_confirm, number);
        self.next_confirm += 1;
        let text = body(number);
        let mut publish = Publish::new(exchange.as_bytes(), key.as_bytes(), text.as_bytes());
        publish.properties.persistent = persistent;
        self.house.broker.publish(self.admin, &publish).expect("published");
    }

    pub(super) fn publish(&mut self, queue: usize) {
        self.queue(queue);
        for _ in 0..1 + self.random.below(4) {
            self.published += 1;
            let persistent = !self.random.one_in(4);
            self.log.push(format!("publish {} to {queue}, {persistent}", self.published));
            self.born(queue, persistent);
            self.send("", &name(queue), persistent);
        }
    }

    pub(super) fn publish_to_all(&mut self) {
        self.published += 1;
        let persistent = !self.random.one_in(4);
        self.log.push(format!("publish {} to all, {persistent}", self.published));
        for queue in self.queues.keys().copied().collect::<Vec<_>>() {
            self.born(queue, persistent);
        }
        self.send("amq.fanout", "", persistent);
    }

    pub(super) fn end(&mut self, queue: usize, body: u64) {
        let life = self.lives.get_mut(&(queue, body)).expect("it was published");
        assert_eq!(life.ended, None, "{body} of {queue}");
        life.ended = Some((self.began, usize::MAX));
    }

    pub(super) fn settle(&mut self, channel: usize) {
        let state = self.channel(channel);
        let (id, transaction) = (state.id, state.transaction);
        let tags: Vec<u64> = state.unacked.keys().copied().collect();
        let Some(pick) = (self.random.next() as usize).checked_rem(tags.len()) else { return };
        let multiple = self.random.one_in(3);
        let tag = if multiple && self.random.one_in(4) { 0 } else { tags[pick] };
        let covered: Vec<u64> = match multiple {
            true => tags.into_iter().filter(|&it| tag == 0 || it <= tag).collect(),
            false => vec![tag],
        };
        let how = self.random.below(4);
        self.log.push(format!("settle {channel} {tag} multiple {multiple} how {how}"));
        let result = match how {
            0 | 1 => self.house.broker.ack(id, tag, multiple),
            _ => self.house.broker.nack(id, tag, multiple, how == 2),
        };
        result.expect("outstanding");
        if transaction {
            if self.random.one_in(4) {
                self.log.push("rolled back".to_owned());
                return self.house.broker.rollback(id).expect("a transaction");
            }
            self.house.broker.commit(id).expect("nothing is refused");
        }
        for tag in covered {
            let state = self.channels.get_mut(&channel).expect("open");
            let (item, from, _) = state.unacked.remove(&tag).expect("outstanding");
            match how {
                2 => self.put_back(item, from),
                _ if self.is_there(from) => self.end(from.0, item.body),
                _ => {}
            }
        }
    }

    pub(super) fn is_there(&self, (queue, incarnation): (usize, u64)) -> bool {
        self.queues.get(&queue).is_some_and(|state| state.incarnation == incarnation)
    }

    pub(super) fn put_back(&mut self, item: Item, from: (usize, u64)) {
        if self.is_there(from) {
            let state = self.queues.get_mut(&from.0).expect("there");
            state.ready.push(Item { again: Again::Yes, ..item });
            state.ready.sort_by_key(|item| item.at);
        }
    }

    pub(super) fn consume(&mut self, channel: usize, queue: usize) {
        self.queue(queue);
        let no_ack = self.random.one_in(4);
        let tag = format!("t{}", self.random.below(2));
        let state = self.channel(channel);
        if state.consumers.contains_key(&tag) {
            return;
        }
        let consumer = ModelConsumer { queue, no_ack, prefetch: state.prefetch };
        let id = state.id;
        state.consumers.insert(tag.clone(), consumer);
        self.log.push(format!("consume {channel} from {queue} as {tag} no_ack {no_ack}"));
        let flags = if no_ack { "no-ack" } else { "" };
        let none = Table::new();
        self.house.consume_with(id, &name(queue), &tag, flags, &none).expect("consuming");
    }

    pub(super) fn cancel(&mut self, channel: usize) {
        let tag = format!("t{}", self.random.below(2));
        let state = self.channel(channel);
        let id = state.id;
        state.consumers.remove(&tag);
        for (.., by) in state.unacked.values_mut() {
            if by.as_ref() == Some(&tag) {
                *by = Some(String::new());
            }
        }
        self.log.push(format!("cancel {channel} {tag}"));
        self.house.broker.cancel(id, tag.as_bytes()).expect("no error");
    }

    pub(super) fn get(&mut self, channel: usize, queue: usize) {
        self.queue(queue);
        let id = self.channel(channel).id;
        let no_ack = self.random.one_in(3);
        self.log.push(format!("get {channel} {queue} no_ack {no_ack}"));
        let fetch = self.house.broker.get(id, name(queue).as_bytes(), no_ack).expect("exists");
        let fetched = match fetch {
            Fetch::Loading => return self.log.push("  loading".to_owned()),
            Fetch::Empty => {
                assert!(self.queues[&queue].ready.is_empty(), "{queue} is not empty");
                return;
            }
            Fetch::Message(fetched) => fetched,
        };
        let (tag, again) = (fetched.delivery_tag, fetched.redelivered);
        let (number, left) = (number(fetched.message), fetched.message_count);
        let incarnation = self.queues[&queue].incarnation;
        let item = self.taken(queue, number, again);
        assert_eq!(self.queues[&queue].ready.len(), left);
        let state = self.channels.get_mut(&channel).expect("open");
        state.last_tag += 1;
        assert_eq!(tag, state.last_tag);
        match no_ack {
            true => self.end(queue, number),
            false => drop(state.unacked.insert(tag, (item, (queue, incarnation), None))),
        }
    }

    pub(super) fn qos(&mut self, channel: usize) {
        let count = self.random.below(5);
        let state = self.channel(channel);
        state.prefetch = count;
        let id = state.id;
        self.log.push(format!("qos {channel} {count}"));
        self.house.qos(id, count as u16, false);
    }

    pub(super) fn give_all_back(&mut self, channel: usize) {
        let state = self.channels.get_mut(&channel).expect("open");
        for (_, (item, from, _)) in std::mem::take(&mut state.unacked) {
            self.put_back(item, from);
        }
    }

    pub(super) fn close_channel(&mut self, channel: usize) {
        if self.channels.contains_key(&channel) {
            self.log.push(format!("close {channel}"));
            self.give_all_back(channel);
            let state = self.channels.remove(&channel).expect("open");
            self.house.broker.close_channel(state.id);
        }
    }

    pub(super) fn flow(&mut self) {
        self.writable = self.random.one_in(2);
        self.log.push(format!("flow {}", self.writable));
        self.house.broker.set_flow(self.connection, self.writable);
    }

    pub(super) fn recover(&mut self, channel: usize) {
        let id = self.channel(channel).id;
        self.log.push(format!("recover {channel}"));
        self.give_all_back(channel);
        self.house.broker.recover(id, true).expect("recovered");
    }

    pub(super) fn purge(&mut self, queue: usize) {
        if let Some(state) = self.queues.get_mut(&queue) {
            let ready = std::mem::take(&mut state.ready);
            self.log.push(format!("purge {queue}"));
            let purged = self.house.broker.purge_queue(self.admin, name(queue).as_bytes());
            assert_eq!(purged, Ok(ready.len()));
            ready.iter().for_each(|item| self.end(queue, item.body));
        }
    }

    pub(super) fn delete(&mut self, queue: usize) {
        if let Some(state) = self.queues.remove(&queue) {
            self.log.push(format!("delete {queue}"));
            let deleted =
                self.house.broker.delete_queue(self.admin, name(queue).as_bytes(), false, false);
            assert_eq!(deleted, Ok(state.ready.len()));
            self.end_all(queue);
        }
    }

    pub(super) fn end_all(&mut self, queue: usize) {
        let lives = self.lives.range_mut((queue, 0)..=(queue, u64::MAX));
        for (_, life) in lives.filter(|(_, life)| life.ended.is_none()) {
            life.ended = Some((self.began, usize::MAX));
        }
    }
}
