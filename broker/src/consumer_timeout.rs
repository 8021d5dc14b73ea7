//! Deliveries that nobody acknowledges: a channel that holds one for too long is to be closed, lest
//! a consumer that hangs keeps its messages from others for ever (RabbitMQ's `consumer_timeout`).
//!
//! Nothing is noted for a delivery. Every now and then each channel's newest delivery tag is marked
//! with the time: what has a tag up to that was out by then.

use std::collections::VecDeque;
use std::time::Duration;

use crate::backlog::NEVER;
use crate::broker::Broker;
use crate::channel::Channel;
use crate::ids::ChannelId;

/// Channels are looked at thirty times in a timeout, but not more often than once a second and not
/// more rarely than once a minute, which is RabbitMQ's interval (`channel_tick_interval`).
const LOOKS: u32 = 30;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Every tag up to this had been given out at this time of the broker's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    tag: u64,
    at: u64,
}

/// What a channel's deliveries were marked with; the oldest mark first.
#[derive(Debug, Default)]
pub(crate) struct Marks(VecDeque<Mark>);

impl Marks {
    /// Marks `last`, the newest tag, with the time. Returns since when at least the delivery of
    /// tag `oldest`, the first that is not acknowledged, is out; `None` if that is not known yet.
    fn look(&mut self, oldest: Option<u64>, last: u64, now: u64) -> Option<u64> {
        let Some(oldest) = oldest else {
            self.0 = VecDeque::new();
            return None;
        };
        while self.0.front().is_some_and(|mark| mark.tag < oldest) {
            self.0.pop_front();
        }
        if self.0.back().is_none_or(|mark| mark.tag < last) {
            self.0.push_back(Mark { tag: last, at: now });
        }
        self.0.front().map(|mark| mark.at)
    }
}

/// When channels are looked at next.
pub(crate) struct Watch {
    pub(crate) due: u64,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch { due: NEVER }
    }
}

impl Broker {
    /// A channel was opened: from now on channels are looked at, until there is none.
    pub(crate) fn watch_channels(&mut self) {
        if self.watch.due == NEVER
            && let Some(timeout) = self.config.consumer_timeout
        {
            let interval = (timeout / LOOKS).clamp(SHORTEST, LONGEST);
            let interval = u64::try_from(interval.as_nanos()).unwrap_or(NEVER);
            self.watch.due = self.now.saturating_add(interval);
        }
    }

    /// Tells of the channels that hold a delivery for longer than the timeout. One that is told of
    /// and stays open is told of again.
    pub(crate) fn look_at_channels(&mut self) {
        let Some(timeout) = self.config.consumer_timeout else { return };
        if self.now < self.watch.due {
            return;
        }
        self.watch.due = NEVER;
        let (now, patience) = (self.now, u64::try_from(timeout.as_nanos()).unwrap_or(NEVER));
        let Broker { channels, outbox, .. } = self;
        let mut any = false;
        for (id, channel) in channels.iter_mut() {
            any = true;
            let Channel { unacked, marks, last_tag, .. } = channel;
            let oldest = unacked.first_tag();
            let since = marks.look(oldest, *last_tag, now);
            if let Some(tag) = oldest.filter(|_| since.is_some_and(|at| now - at >= patience)) {
                outbox.time_out(id, tag);
            }
        }
        if any {
            self.watch_channels();
        }
    }

    /// Whether this delivery, the oldest that the channel held, is not acknowledged yet.
    pub(crate) fn still_holds(&self, channel: ChannelId, tag: u64) -> bool {
        self.channels.get(channel).is_some_and(|it| it.unacked.first_tag() == Some(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_as_old_as_the_first_mark_that_has_its_tag() {
        let mut marks = Marks::default();
        assert_eq!(marks.look(None, 7, 1), None);
        assert_eq!(marks.look(Some(8), 9, 2), Some(2));
        assert_eq!(marks.look(Some(8), 9, 3), Some(2));
        assert_eq!(marks.look(Some(9), 12, 4), Some(2));
        assert_eq!(marks.look(Some(10), 13, 5), Some(4));
        assert_eq!(marks.look(Some(13), 13, 6), Some(5));
        assert_eq!(marks.look(None, 13, 7), None);
        assert_eq!(marks.look(Some(13), 13, 8), Some(8)); // it was given back, and given out
    }

    #[test]
    fn marks_of_what_is_acknowledged_are_forgotten() {
        let mut marks = Marks::default();
        for at in 0..1000 {
            marks.look(Some(at + 1), at + 5, at);
        }
        assert!(marks.0.len() <= 5, "{}", marks.0.len());
    }
}
