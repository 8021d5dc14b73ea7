//! Messages that were published on a channel with confirms and that the server has not yet
//! confirmed: in the order of their numbers, each with whoever waits for it.

use std::collections::VecDeque;

use bytes::Bytes;
use ropewalk_reactor::Promise;

use super::Error;
use super::error::fail;
use super::message::{Confirmation, Message, Returned};

/// The messages of one channel, from its `confirm.select` on.
#[derive(Default)]
pub(super) struct Confirms {
    /// The number of the last message published: they count from 1 on each connection.
    published: u64,
    waiting: VecDeque<Unconfirmed>,
    /// Who waits until all up to this number are confirmed.
    settled: Vec<(u64, Promise<bool>)>,
    /// Some message was refused since somebody last asked.
    any_nacked: bool,
}

struct Unconfirmed {
    number: u64,
    /// `None` once it is confirmed, while others before it are not.
    state: Option<Awaited>,
}

#[derive(Default)]
struct Awaited {
    promise: Option<Promise<Confirmation>>,
    /// Of a mandatory message: to know it again when it comes back.
    mandatory: Option<Box<(String, String, Bytes)>>,
    returned: Option<Box<Returned>>,
}

impl Confirms {
    /// A message goes out.
    pub(super) fn published(&mut self, promise: Option<Promise<Confirmation>>) {
        self.published += 1;
        let state = Some(Awaited { promise, ..Awaited::default() });
        self.waiting.push_back(Unconfirmed { number: self.published, state });
    }

    /// Remembers the message that has just gone out, so that it is known if it comes back.
    pub(super) fn is_mandatory(&mut self, exchange: &str, routing_key: &str, body: &Bytes) {
        if let Some(Unconfirmed { state: Some(state), .. }) = self.waiting.back_mut() {
            let known = (exchange.to_owned(), routing_key.to_owned(), body.clone());
            state.mandatory = Some(Box::new(known));
        }
    }

    /// The server confirms, or refuses, a message or all up to it. False if the number is none
    /// that was published.
    pub(super) fn confirmed(&mut self, number: u64, multiple: bool, acked: bool) -> bool {
        if number > self.published {
            return false;
        }
        self.any_nacked |= !acked;
        let end = self.waiting.partition_point(|message| message.number <= number);
        let start = match multiple {
            true => 0,
            false => self.waiting.partition_point(|message| message.number < number),
        };
        for message in self.waiting.range_mut(start..end) {
            if let Some(state) = message.state.take() {
                state.settle(acked);
            }
        }
        while self.waiting.front().is_some_and(|message| message.state.is_none()) {
            self.waiting.pop_front();
        }
        self.tell_settled();
        true
    }

    /// A message has come back. The confirm of it follows, and will say so; `None` then.
    ///
    /// A return has no number. It belongs to the first of those that are alike: messages come
    /// back in the order in which they were published.
    pub(super) fn returned(&mut self, returned: Returned) -> Option<Returned> {
        let alike = |message: &Message, known: &(String, String, Bytes)| {
            message.exchange() == *known.0
                && message.routing_key() == *known.1
                && *message.body() == known.2
        };
        let found =
            self.waiting.iter_mut().filter_map(|message| message.state.as_mut()).find(|state| {
                state.returned.is_none()
                    && state.mandatory.as_ref().is_some_and(|known| alike(&returned.message, known))
            });
        match found {
            Some(state) => {
                state.returned = Some(Box::new(returned));
                None
            }
            None => Some(returned),
        }
    }

    /// Tells once all that have gone out so far are confirmed: whether none was refused.
    pub(super) fn when_settled(&mut self, promise: Promise<bool>) {
        self.settled.push((self.published, promise));
        self.tell_settled();
    }

    /// No confirm can come any more.
    pub(super) fn fail(&mut self, cause: &Error) {
        let error = Error::Unconfirmed(Box::new(cause.clone()));
        for message in self.waiting.drain(..) {
            if let Some(promise) = message.state.and_then(|state| state.promise) {
                fail(promise, &error);
            }
        }
        for (_, promise) in self.settled.drain(..) {
            fail(promise, &error);
        }
        *self = Confirms::default();
    }

    /// Whether somebody waits for a confirm.
    pub(super) fn is_awaited(&self) -> bool {
        !self.settled.is_empty()
            || self
                .waiting
                .iter()
                .any(|message| message.state.as_ref().is_some_and(|state| state.promise.is_some()))
    }

    fn tell_settled(&mut self) {
        let next = self.waiting.front().map_or(u64::MAX, |message| message.number);
        if self.settled.first().is_none_or(|(number, _)| *number >= next) {
            return;
        }
        let good = !std::mem::take(&mut self.any_nacked);
        let still = self.settled.split_off(self.settled.partition_point(|(n, _)| *n < next));
        for (_, promise) in std::mem::replace(&mut self.settled, still) {
            promise.succeed(good);
        }
    }
}

impl Awaited {
    fn settle(self, acked: bool) {
        let Some(promise) = self.promise else { return };
        promise.succeed(match (acked, self.returned) {
            (true, Some(returned)) => Confirmation::Returned(returned),
            (true, None) => Confirmation::Acked,
            (false, _) => Confirmation::Nacked,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Content, Payload, ShortStr, method::basic};
    use ropewalk_reactor::{Deferred, Simulation};

    fn publish(simulation: &mut Simulation, confirms: &mut Confirms) -> Deferred<Confirmation> {
        let (promise, deferred) = simulation.reactor().deferred();
        confirms.published(Some(promise));
        deferred
    }

    fn returned(routing_key: &str, body: &'static [u8]) -> Returned {
        let method = basic::Return {
            reply_code: 312,
            routing_key: ShortStr::cut(routing_key),
            ..Default::default()
        };
        let content =
            Content { properties: Payload::Borrowed(b"\0\0"), body: Payload::Borrowed(body) };
        Returned::new(&method, content)
    }

    /// What a deferred gives in the next turns.
    fn result(
        simulation: &mut Simulation,
        deferred: Deferred<Confirmation>,
    ) -> Result<Confirmation, Error> {
        let heard = std::rc::Rc::new(std::cell::RefCell::new(None));
        let told = heard.clone();
        deferred.then(move |_, result| *told.borrow_mut() = Some(result));
        simulation.settle();
        let result = heard.borrow_mut().take().expect("the promise was kept");
        result.map_err(Error::from)
    }

    #[test]
    fn one_confirm_settles_one_message_or_all_up_to_it() {
        let mut simulation = Simulation::calm();
        let mut confirms = Confirms::default();
        let messages: Vec<_> = (0..5).map(|_| publish(&mut simulation, &mut confirms)).collect();
        assert!(confirms.confirmed(2, false, true));
        assert!(messages[1].is_ready() && !messages[0].is_ready());
        assert!(confirms.confirmed(4, true, false));
        let ready: Vec<_> = messages.iter().map(Deferred::is_ready).collect();
        assert_eq!(ready, [true, true, true, true, false]);
        assert!(!confirms.confirmed(6, false, true), "number 6 was never published");
        confirms.fail(&Error::Closed);
        let results: Vec<_> = messages
            .into_iter()
            .map(|message| match result(&mut simulation, message) {
                Ok(confirmation) => format!("{confirmation:?}"),
                Err(error) => error.to_string(),
            })
            .collect();
        let unknown = "whether the server has the message is not known: closed";
        assert_eq!(results, ["Nacked", "Acked", "Nacked", "Nacked", unknown]);
    }

    #[test]
    fn a_returned_message_is_known_again_among_others() {
        let mut simulation = Simulation::calm();
        let mut confirms = Confirms::default();
        let mut messages = Vec::new();
        for (key, body) in [("a", &b"1"[..]), ("b", b"1"), ("a", b"2"), ("a", b"2")] {
            messages.push(publish(&mut simulation, &mut confirms));
            confirms.is_mandatory("", key, &Bytes::from_static(body));
        }
        assert_eq!(confirms.returned(returned("a", b"2")), None);
        assert!(confirms.returned(returned("c", b"1")).is_some(), "not one of these");
        assert!(confirms.confirmed(4, true, true));
        let kinds: Vec<_> = messages
            .into_iter()
            .map(|message| result(&mut simulation, message).expect("confirmed").is_acked())
            .collect();
        assert_eq!(kinds, [true, true, false, true]);
    }

    #[test]
    fn who_waits_for_all_hears_once_and_whether_any_was_refused() {
        let mut simulation = Simulation::calm();
        let mut confirms = Confirms::default();
        confirms.published(None);
        confirms.published(None);
        let (promise, first) = simulation.reactor().deferred();
        confirms.when_settled(promise);
        confirms.published(None);
        assert!(confirms.confirmed(2, false, false) && !first.is_ready());
        assert!(confirms.confirmed(1, false, true) && first.is_ready());
        first.then(|_, good| assert!(matches!(good, Ok(false))));
        assert!(confirms.confirmed(3, false, true));
        let (promise, second) = simulation.reactor().deferred();
        confirms.when_settled(promise);
        second.then(|_, good| assert!(matches!(good, Ok(true))));
        simulation.settle();
    }
}
