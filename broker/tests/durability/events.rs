//! What the broker says, and whether it may.

use ropewalk_broker::*;

use super::{Again, Held, Item, Model, ModelChannel, QUEUES, name, number};

impl Model {
    pub(super) fn has_room(&self, channel: &ModelChannel, tag: &str) -> bool {
        let consumer = &channel.consumers[tag];
        let held = |(.., by): &&Held| by.as_deref() == Some(tag);
        let own = channel.unacked.values().filter(held).count() as u64;
        self.writable && (consumer.no_ack || consumer.prefetch == 0 || own < consumer.prefetch)
    }

    pub(super) fn drain(&mut self) {
        loop {
            let delivered = match self.house.broker.next_event() {
                None => break,
                Some(Event::Delivered(it)) => {
                    let tag = String::from_utf8_lossy(it.consumer_tag).into_owned();
                    let (key, number) = (usize::from(it.to.channel) - 1, number(it.message));
                    (key, tag, it.delivery_tag, number, it.redelivered)
                }
                Some(Event::Confirmed { delivery_tag, multiple, taken, .. }) => {
                    assert!(taken);
                    self.confirmed(delivery_tag, multiple);
                    continue;
                }
                Some(Event::Cancelled { to, consumer_tag }) => {
                    let tag = String::from_utf8_lossy(consumer_tag).into_owned();
                    let channel = self.channels.get_mut(&(usize::from(to.channel) - 1));
                    let channel = channel.expect("open");
                    channel.consumers.remove(&tag).expect("it was there");
                    for (.., by) in channel.unacked.values_mut() {
                        if by.as_ref() == Some(&tag) {
                            *by = Some(String::new());
                        }
                    }
                    continue;
                }
                Some(other) => panic!("{other:?}"),
            };
            let (key, tag, delivery, number, again) = delivered;
            self.log.push(format!("  delivered {number} to {tag} of {key}"));
            let channel = &self.channels[&key];
            assert!(self.has_room(channel, &tag), "{tag} of {key} has no room for {number}");
            let (queue, no_ack) = (channel.consumers[&tag].queue, channel.consumers[&tag].no_ack);
            let incarnation = self.queues[&queue].incarnation;
            let item = self.taken(queue, number, again);
            let channel = self.channels.get_mut(&key).expect("open");
            channel.last_tag += 1;
            assert_eq!(channel.last_tag, delivery, "tags run on");
            if no_ack {
                let was_stored = self.is_stored_now(queue, number);
                let life = self.lives.get_mut(&(queue, number)).expect("published");
                life.passed = life.born.1 == usize::MAX && !was_stored;
                self.end(queue, number);
            } else {
                channel.unacked.insert(delivery, (item, (queue, incarnation), Some(tag)));
            }
        }
        // All windows that were opened in this step end here.
        let now = self.house.journaled();
        for life in self.lives.values_mut() {
            life.born.1 = life.born.1.min(now);
            if let Some(ended) = &mut life.ended {
                ended.1 = ended.1.min(now);
            }
        }
    }

    pub(super) fn confirmed(&mut self, tag: u64, multiple: bool) {
        let first = if multiple { 0 } else { tag };
        let numbers: Vec<u64> = self.confirms.range(first..=tag).map(|(it, _)| *it).collect();
        assert!(numbers.last() == Some(&tag), "{tag} is confirmed twice or never");
        for number in numbers {
            let body = self.confirms.remove(&number).expect("just seen");
            for queue in 0..QUEUES as usize {
                let Some(life) = self.lives.get(&(queue, body)) else { continue };
                let lost = life.kept && life.ended.is_none() && life.born.1 > self.synced;
                assert!(!lost, "{body} of {queue} is confirmed and could be lost: {life:?}");
            }
        }
    }

    pub(super) fn check(&mut self) {
        for (&queue, state) in &self.queues {
            let (ready, _) = self.house.counts(self.admin, &name(queue));
            assert_eq!(ready, state.ready.len(), "the count of {queue}");
        }
        if self.random.one_in(4) {
            self.check_store();
        }
    }

    /// The head of a queue was handed out.
    pub(super) fn taken(&mut self, queue: usize, number: u64, again: bool) -> Item {
        let state = self.queues.get_mut(&queue).expect("it has messages");
        assert!(!state.ready.is_empty(), "{number} of {queue} is not there");
        let item = state.ready.remove(0);
        assert_eq!(item.body, number, "the head of queue {queue}");
        assert!(
            item.again == Again::Maybe || (item.again == Again::Yes) == again,
            "{number} of {queue}: again {again}, but {item:?}"
        );
        self.lives.get_mut(&(queue, number)).expect("it was published").delivered = true;
        item
    }
}
