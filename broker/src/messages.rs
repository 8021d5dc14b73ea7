//! Where messages are stored: slots in chunks, counted references, no allocation in the steady
//! state.
//!
//! A message is reached by a four-byte handle, which is what queues, unacknowledged deliveries
//! and the outbox hold. It goes with its last reference; a chunk whose messages have all gone
//! gives its memory back, but for a few: a drained backlog of ten million leaves next to nothing
//! behind, and one that grows and shrinks by some thousands allocates nothing.
//!
//! What all of them hold is counted as it comes and goes, so that a limit costs one comparison.

use crate::message::{KEPT_BUFFER, Message, Publish};

/// The handle of a stored message. Holding one means owning one of its references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MessageId(u32);

impl MessageId {
    /// A handle that names no message, for a hole.
    pub(crate) const NONE: MessageId = MessageId(u32::MAX);
}

/// A handle with what a queue asks of its message, so that ten queues need not look it up ten
/// times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) id: MessageId,
    pub(crate) priority: u8,
    pub(crate) persistent: bool,
    /// Of the body.
    pub(crate) bytes: u64,
    /// The message's own time to live in milliseconds.
    pub(crate) ttl: Option<u64>,
    /// It is a dead letter, and the store has the message that died.
    pub(crate) is_letter: bool,
}

/// Messages a chunk: 1,024 of 64 bytes are 64 KiB, so a backlog grows without moving anything.
const CHUNK: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 10;

/// So many emptied chunks keep their memory beside the one in use.
const SPARES: usize = 4;

/// What a reference costs wherever it lies: as much as an unacknowledged delivery, the largest of
/// its places; an entry of a queue has half of it, and a ring grows twofold.
const REFERENCE: u64 = 48;

/// Buffers of freed slots are kept for the next messages up to this many octets in all: as much
/// as the chunk in use can take. Beyond it a buffer is freed with its message.
const KEPT_MAX: usize = CHUNK * KEPT_BUFFER;

#[derive(Default)]
pub(crate) struct Messages {
    chunks: Vec<Chunk>,
    /// Chunks with room, the one in use last.
    roomy: Vec<u32>,
    live: usize,
    /// What the stored messages and the references to them hold, in octets.
    held: u64,
    /// Octets of the buffers that freed slots have kept.
    kept: usize,
}

#[derive(Default)]
struct Chunk {
    /// Empty while the chunk has given its memory back.
    slots: Vec<Message>,
    free: Vec<u16>,
    live: u16,
}

impl Messages {
    /// Stores a message with `references` references to it.
    pub(crate) fn insert(
        &mut self,
        publish: &Publish<'_>,
        ttl: Option<u64>,
        references: u32,
    ) -> MessageId {
        let at = match self.roomy.last() {
            Some(&at) => at,
            None => {
                let at = u32::try_from(self.chunks.len()).expect("memory ends before the handles");
                self.chunks.push(Chunk::default());
                self.roomy.push(at);
                at
            }
        };
        let chunk = &mut self.chunks[at as usize];
        let slot = match chunk.free.pop() {
            Some(slot) => usize::from(slot),
            None => {
                if chunk.slots.capacity() == 0 {
                    chunk.slots.reserve_exact(CHUNK);
                }
                chunk.slots.push(Message::default());
                chunk.slots.len() - 1
            }
        };
        let message = &mut chunk.slots[slot];
        self.kept -= message.buffer();
        message.fill(publish, ttl);
        message.references = references;
        self.held += message.footprint() + u64::from(references) * REFERENCE;
        chunk.live += 1;
        if usize::from(chunk.live) == CHUNK {
            self.roomy.pop();
        }
        self.live += 1;
        MessageId(at << CHUNK_BITS | slot as u32)
    }

    pub(crate) fn stored(&self, id: MessageId) -> Stored {
        let message = self.get(id);
        Stored {
            id,
            priority: message.priority(),
            persistent: message.persistent(),
            bytes: message.body().len() as u64,
            ttl: message.ttl(),
            is_letter: false,
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: MessageId) -> &Message {
        let (chunk, slot) = split(id);
        &self.chunks[chunk].slots[slot]
    }

    /// Notes with which ticket the confirm of a message waits, if the message is still there: it
    /// may be in the store only.
    pub(crate) fn set_ticket(&mut self, id: MessageId, ticket: u64) {
        let (chunk, slot) = split(id);
        if let Some(message) = self.chunks[chunk].slots.get_mut(slot) {
            message.ticket = ticket; // no harm to a free slot
        }
    }

    /// Adds a reference.
    #[inline]
    pub(crate) fn retain(&mut self, id: MessageId) {
        let (chunk, slot) = split(id);
        self.chunks[chunk].slots[slot].references += 1;
        self.held += REFERENCE;
    }

    /// Gives a reference back; the last one frees the message.
    #[inline]
    pub(crate) fn release(&mut self, id: MessageId) {
        let (at, slot) = split(id);
        let chunk = &mut self.chunks[at];
        let message = &mut chunk.slots[slot];
        message.references -= 1;
        self.held -= REFERENCE;
        if message.references == 0 {
            self.held -= message.footprint();
            message.clear(self.kept < KEPT_MAX);
            self.kept += message.buffer();
            chunk.free.push(slot as u16);
            let was_full = usize::from(chunk.live) == CHUNK;
            chunk.live -= 1;
            self.live -= 1;
            if was_full {
                // Those in use before it were emptied in this order, if queues are first in, first
                // out: the last few are kept.
                if let Some(&old) = self.roomy.iter().rev().nth(SPARES)
                    && self.chunks[old as usize].live == 0
                {
                    self.kept -= std::mem::take(&mut self.chunks[old as usize]).kept();
                }
                self.roomy.push(at as u32);
            } else if chunk.live == 0 && self.roomy.last() != Some(&(at as u32)) {
                // It stays in `roomy`, and gets its memory again when its turn comes. The chunk
                // in use keeps its memory, or every message would allocate one.
                self.kept -= std::mem::take(chunk).kept();
            }
        }
    }

    /// How many messages are stored.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// The octets that the stored messages hold, with all references to them.
    #[inline]
    pub(crate) fn held(&self) -> u64 {
        self.held
    }
}

impl Chunk {
    /// The octets that its slots keep, all of which are free.
    fn kept(&self) -> usize {
        self.slots.iter().map(Message::buffer).sum()
    }
}

fn split(id: MessageId) -> (usize, usize) {
    ((id.0 >> CHUNK_BITS) as usize, id.0 as usize & (CHUNK - 1))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn insert(messages: &mut Messages, body: &[u8]) -> MessageId {
        messages.insert(&Publish::new(b"x", b"key", body), None, 1)
    }

    #[test]
    fn a_message_goes_with_its_last_reference_and_its_slot_is_used_again() {
        let mut messages = Messages::default();
        let first = insert(&mut messages, b"one");
        messages.retain(first);
        messages.release(first);
        assert_eq!(messages.get(first).body(), b"one");
        assert_eq!(messages.get(first).exchange(), b"x");
        assert_eq!(messages.get(first).routing_key(), b"key");
        messages.release(first);
        assert_eq!(messages.len(), 0);
        assert_eq!(insert(&mut messages, b"two"), first);
    }

    #[test]
    fn a_drained_backlog_gives_its_chunks_back() {
        let mut messages = Messages::default();
        let ids: Vec<_> = (0..CHUNK * 20).map(|_| insert(&mut messages, b"m")).collect();
        ids.iter().for_each(|&id| messages.release(id));
        let held = messages.chunks.iter().filter(|chunk| chunk.slots.capacity() > 0).count();
        assert!(held <= SPARES + 1, "{held} chunks still hold memory");
        let again: Vec<_> = (0..CHUNK * 20).map(|_| insert(&mut messages, b"n")).collect();
        assert!(again.iter().all(|&id| messages.get(id).body() == b"n"));
        assert_eq!(messages.chunks.len(), 20, "the chunks are used again");
    }

    #[test]
    fn a_backlog_that_grows_and_shrinks_keeps_its_memory() {
        let mut messages = Messages::default();
        let mut backlog: VecDeque<_> =
            (0..CHUNK * 8).map(|_| insert(&mut messages, b"m")).collect();
        let memory = |messages: &Messages| -> Vec<_> {
            messages.chunks.iter().map(|chunk| chunk.slots.as_ptr()).collect()
        };
        let before = memory(&messages);
        for _ in 0..10 {
            backlog.drain(..CHUNK * 3).for_each(|id| messages.release(id));
            backlog.extend((0..CHUNK * 3).map(|_| insert(&mut messages, b"n")));
        }
        assert_eq!(memory(&messages), before);
    }

    #[test]
    fn what_messages_hold_is_counted_once_for_all_references_and_gone_with_them() {
        let mut messages = Messages::default();
        let small = messages.insert(&Publish::new(b"x", b"key", &[1; 100]), None, 10);
        let overhead = messages.held() - 104;
        assert!((64..200).contains(&(overhead - 10 * REFERENCE)), "{overhead}");
        let large = insert(&mut messages, &[2; 1 << 20]);
        let both = messages.held();
        assert!((1 << 20..(1 << 20) + 1000).contains(&both), "{both}");
        messages.retain(large);
        assert_eq!(messages.held(), both + REFERENCE);
        for _ in 0..10 {
            messages.release(small);
        }
        messages.release(large);
        messages.release(large);
        assert_eq!(messages.held(), 0);
    }

    #[test]
    fn freed_slots_keep_a_bounded_amount_of_memory_however_the_rest_is_scattered() {
        let mut messages = Messages::default();
        let body = [3; 1900];
        let ids: Vec<_> = (0..CHUNK * 8).map(|_| insert(&mut messages, &body)).collect();
        // One in a hundred stays, in each of the chunks.
        let (stay, go): (Vec<_>, Vec<_>) = (0..ids.len()).partition(|index| index % 100 == 0);
        go.iter().for_each(|&index| messages.release(ids[index]));
        let free = messages.chunks.iter().flat_map(|chunk| &chunk.slots);
        let kept: usize = free.filter(|slot| slot.references == 0).map(Message::buffer).sum();
        assert!(kept > 0 && kept <= KEPT_MAX + KEPT_BUFFER, "{kept}");
        assert_eq!(kept, messages.kept);
        stay.iter().for_each(|&index| messages.release(ids[index]));
        let again: Vec<_> = (0..CHUNK * 8).map(|_| insert(&mut messages, &body)).collect();
        assert_eq!(messages.kept, 0, "all that was kept is in use");
        again.iter().for_each(|&id| messages.release(id));
        assert_eq!(messages.held(), 0);
    }

    #[test]
    fn a_small_message_does_not_sit_in_the_buffer_of_a_larger_one() {
        let mut messages = Messages::default();
        for _ in 0..1000 {
            let large = insert(&mut messages, &[4; 2000]);
            messages.release(large);
            insert(&mut messages, b"small"); // it takes the slot just freed
        }
        assert!(messages.held() < 1000 * 400, "{}", messages.held());
    }

    #[test]
    fn a_stored_message_takes_no_more_than_64_bytes_beside_its_bytes() {
        assert!(size_of::<Message>() <= 64, "{}", size_of::<Message>());
    }
}
