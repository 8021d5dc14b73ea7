//! Which messages are one's own: what a client publishes and hears itself, on one connection.
//!
//! A server carries out one command after the other, so the copy of a message that goes to its
//! publisher stands next to the reply: before it up to Redis 7.0, behind it since. The one rule:
//! for each publication that was answered, one copy for each subscription that it matched is taken
//! out, and never more; which of several that say the same makes no difference, since none of those
//! stand between others.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::core::Key;
use super::{Kind, Message};
use crate::codec::matches;

/// A message that the client has published and that has no reply yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) is_sharded: bool,
    pub(crate) channel: Bytes,
    pub(crate) payload: Bytes,
}

/// Copies that are to come behind their reply; on Redis they come at once. A server that is like it
/// and sends none (its patterns are others, say) leaves them here: the eldest are forgotten.
const OWED: usize = 1024;

/// What one connection of a client has heard and not yet told apart.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// What the server has confirmed.
    subscribed: BTreeSet<Key>,
    /// Messages like the publication whose reply comes next; no more than it has copies.
    held: VecDeque<(Key, Message)>,
    /// Copies of publications that were answered before they came.
    owed: VecDeque<(Key, Message)>,
}

impl Own {
    pub(crate) fn subscribed(&mut self, key: Key) {
        self.subscribed.insert(key);
    }

    pub(crate) fn unsubscribed(&mut self, key: &Key) {
        self.subscribed.remove(key);
    }

    /// A message has come while `next` is the publication whose reply comes next. What is another's
    /// goes to `others`; it may come later, but in its order.
    pub(crate) fn heard(
        &mut self,
        next: Option<&Publication>,
        message: (Key, Message),
        others: &mut VecDeque<(Key, Message)>,
    ) {
        if let Some(place) = self.owed.iter().position(|owed| *owed == message) {
            self.owed.remove(place);
            return;
        }
        let copies = next.map_or_else(Vec::new, |publication| self.copies(publication));
        if copies.contains(&message) {
            self.held.push_back(message);
            // The copies are those next to the reply.
            while self.held.len() > copies.len() {
                others.extend(self.held.pop_front());
            }
        } else {
            others.append(&mut self.held);
            others.push_back(message);
        }
    }

    /// The publication was answered: `receivers` have it.
    pub(crate) fn answered(
        &mut self,
        publication: &Publication,
        receivers: i64,
        others: &mut VecDeque<(Key, Message)>,
    ) {
        let copies = self.copies(publication);
        let is_whole =
            copies.len() == self.held.len() && copies.iter().all(|copy| self.held.contains(copy));
        if is_whole {
            return self.held.clear();
        }
        others.append(&mut self.held);
        if receivers >= i64::try_from(copies.len()).unwrap_or(i64::MAX) {
            self.owed.extend(copies);
        }
        while self.owed.len() > OWED {
            self.owed.pop_front();
        }
    }

    /// What a publication comes back as.
    fn copies(&self, publication: &Publication) -> Vec<(Key, Message)> {
        let Publication { is_sharded, channel, payload } = publication;
        let keys = self.subscribed.iter().filter(|(kind, name)| match kind {
            Kind::Channel => !is_sharded && name == channel,
            Kind::Pattern => !is_sharded && matches(name, channel),
            Kind::Shard => *is_sharded && name == channel,
        });
        let copies = keys.map(|key| {
            let pattern = (key.0 == Kind::Pattern).then(|| key.1.clone());
            let message = Message { channel: channel.clone(), pattern, payload: payload.clone() };
            (key.clone(), message)
        });
        copies.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn publication(channel: &'static str, payload: &'static str) -> Publication {
        Publication { is_sharded: false, channel: text(channel), payload: text(payload) }
    }

    fn by(
        kind: Kind,
        name: &'static str,
        channel: &'static str,
        said: &'static str,
    ) -> (Key, Message) {
        let pattern = (kind == Kind::Pattern).then(|| text(name));
        ((kind, text(name)), Message { channel: text(channel), pattern, payload: text(said) })
    }

    /// What comes, in its order, on a connection that has subscribed to `n*`.
    enum Comes {
        /// A message: where, and what it says.
        Message(&'static str, &'static str),
        /// The reply to the publication that is next.
        Reply,
    }
    use Comes::{Message as M, Reply};

    fn others(published: &[(&'static str, &'static str)], comes: &[Comes]) -> Vec<String> {
        let mut own = Own::default();
        own.subscribed((Kind::Pattern, text("n*")));
        let mut next: VecDeque<_> =
            published.iter().map(|(channel, said)| publication(channel, said)).collect();
        let mut others = VecDeque::new();
        for comes in comes {
            match comes {
                M(channel, said) => {
                    let message = by(Kind::Pattern, "n*", channel, said);
                    own.heard(next.front(), message, &mut others);
                }
                Reply => {
                    let publication = next.pop_front().expect("it was published");
                    own.answered(&publication, 1, &mut others);
                }
            }
        }
        assert!(own.held.is_empty() && own.owed.is_empty(), "nothing is left");
        let said = |(_, message): (Key, Message)| message.payload;
        others
            .into_iter()
            .map(said)
            .map(|said| String::from_utf8_lossy(&said).into_owned())
            .collect()
    }

    #[test]
    fn the_copy_stands_before_the_reply_or_behind_it() {
        let one = [("news", "x")];
        assert_eq!(
            others(&one, &[M("news", "a"), M("news", "x"), Reply, M("news", "b")]),
            ["a", "b"]
        );
        assert_eq!(
            others(&one, &[M("news", "a"), Reply, M("news", "x"), M("news", "b")]),
            ["a", "b"]
        );
        assert!(others(&[("other", "x")], &[Reply]).is_empty(), "it matches nothing");
    }

    #[test]
    fn what_others_say_at_the_same_moment_is_theirs_and_keeps_its_place() {
        let one = [("news", "x")];
        // Before the reply; the last of them is the client's own.
        let comes = [M("news", "x"), M("news", "y"), M("news", "x"), Reply];
        assert_eq!(others(&one, &comes), ["x", "y"]);
        let comes = [M("news", "x"), M("news", "x"), Reply, M("news", "x")];
        assert_eq!(others(&one, &comes), ["x", "x"]);
        // Behind it.
        let comes = [M("news", "x"), M("news", "y"), Reply, M("news", "x"), M("news", "x")];
        assert_eq!(others(&one, &comes), ["x", "y", "x"]);
        let comes = [M("news", "x"), Reply, M("news", "x"), M("news", "y")];
        assert_eq!(others(&one, &comes), ["x", "y"]);
    }

    #[test]
    fn several_publications_of_the_same_text_are_as_many_copies() {
        let twice = [("news", "x"), ("news", "x")];
        let comes = [M("news", "x"), Reply, M("news", "x"), M("news", "x"), Reply];
        assert_eq!(others(&twice, &comes), ["x"]);
        let comes = [Reply, M("news", "x"), Reply, M("news", "x"), M("news", "x")];
        assert_eq!(others(&twice, &comes), ["x"]);
    }

    #[test]
    fn a_channel_and_a_pattern_are_two_copies() {
        let mut own = Own::default();
        own.subscribed((Kind::Channel, text("news")));
        own.subscribed((Kind::Pattern, text("n*")));
        let (mut heard, next) = (VecDeque::new(), publication("news", "x"));
        for _ in 0..2 {
            own.heard(Some(&next), by(Kind::Channel, "news", "news", "x"), &mut heard);
            own.heard(Some(&next), by(Kind::Pattern, "n*", "news", "x"), &mut heard);
        }
        own.answered(&next, 3, &mut heard);
        assert_eq!(heard.len(), 2, "another one has said the same");
        own.unsubscribed(&(Kind::Channel, text("news")));
        own.answered(&next, 2, &mut heard);
        own.heard(None, by(Kind::Pattern, "n*", "news", "x"), &mut heard);
        assert_eq!((heard.len(), own.owed.len()), (2, 0));
    }

    #[test]
    fn copies_that_never_come_are_forgotten_in_the_end() {
        let mut own = Own::default();
        own.subscribed((Kind::Pattern, text("n*")));
        for _ in 0..2 * OWED {
            own.answered(&publication("news", "x"), 1, &mut VecDeque::new());
        }
        assert_eq!(own.owed.len(), OWED);
    }
}
