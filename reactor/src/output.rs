//! What waits to be sent on one connection. Small writes are copied behind one another into one
//! buffer; large payloads are queued as they are and sent vectored; files wait in between. It knows
//! no socket's state: the connection decides when to send.

pub(crate) mod files;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};

use bytes::{Buf, Bytes, BytesMut};

use crate::socket::Stream;
use files::QueuedFile;

/// Payloads of this size and more are queued instead of copied: below it, the copy costs less
/// than the bookkeeping of another segment.
const QUEUED_FROM: usize = 16 * 1024;
/// Segments offered to the kernel in one call; Linux takes up to 1024 (`UIO_MAXIOV`), but a
/// socket buffer is full long before.
const SEGMENTS_A_CALL: usize = 64;
/// An emptied buffer above this size is given back to the allocator.
const POOLED_CAPACITY: usize = 256 * 1024;
/// How many emptied buffers are kept for the busy.
const POOLED_BUFFERS: usize = 128;
/// And how much they may take in all. What is not kept is grown anew, by copying, in the next turn:
/// 64 messages of 1 KiB to each of 100 subscribers took three times as long that way.
const POOLED_BYTES: usize = 16 * 1024 * 1024;
/// Descriptors of one connection that wait to be sent: they are scarce, and a peer that does not
/// read keeps them. Also well below what one message carries (`SCM_MAX_FD`, 253).
pub(crate) const WAITING_DESCRIPTORS: usize = 64;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Taken, and buffered output is at or below the high-water mark.
    Taken,
    /// Taken, but buffered output is above the high-water mark: stop producing until
    /// [`resume_producing`](crate::Protocol::resume_producing), which comes for sure, also when
    /// the send at the end of this turn takes everything and nobody is paused.
    AboveHighWater,
    /// The connection is gone or its write half is closed; nothing was taken.
    Gone,
}

/// The segments that wait, oldest first: `queue`, then `tail`; and `files`, each in its place.
#[derive(Debug, Default)]
pub(crate) struct Output {
    queue: VecDeque<Bytes>,
    /// Bytes in `queue`.
    queued: usize,
    tail: BytesMut,
    /// What travels with bytes of a Unix socket: each with the number of bytes before the one
    /// that it goes with, in order. At most `WAITING_DESCRIPTORS`.
    descriptors: VecDeque<(usize, OwnedFd)>,
    /// Each with the number of bytes in `queue` and `tail` that go out before it, in order. None of
    /// them is at its end.
    files: VecDeque<(usize, QueuedFile)>,
}

/// How far one call to the kernel came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Everything is out.
    All,
    /// All that was offered in this call was taken; there is more.
    Some,
    /// The socket's buffer is full: wait for the writable edge.
    Blocked,
    /// Nothing was offered: a rate does not allow it yet.
    Rationed,
}

impl Output {
    /// What waits, as the marks and limits see it: all bytes that are in memory, and of each file some.
    pub(crate) fn len(&self) -> usize {
        self.in_memory() + self.counted_of_files()
    }

    fn in_memory(&self) -> usize {
        self.queued + self.tail.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_memory() == 0 && self.files.is_empty()
    }

    /// Where more can be put behind everything.
    #[cfg(feature = "_tls")]
    pub(crate) fn tail_mut(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    pub(crate) fn push_slice(&mut self, data: &[u8]) {
        if data.len() < QUEUED_FROM {
            self.tail.extend_from_slice(data);
        } else {
            self.enqueue(Bytes::copy_from_slice(data));
        }
    }

    pub(crate) fn push_bytes(&mut self, data: Bytes) {
        if data.len() < QUEUED_FROM {
            self.tail.extend_from_slice(&data);
        } else {
            self.enqueue(data);
        }
    }

    /// Descriptors that wait to be sent.
    pub(crate) fn descriptors(&self) -> usize {
        self.descriptors.len()
    }

    /// Attaches a descriptor to the byte that is pushed next.
    pub(crate) fn push_descriptor(&mut self, descriptor: OwnedFd) {
        self.descriptors.push_back((self.in_memory(), descriptor));
    }

    fn enqueue(&mut self, data: Bytes) {
        if !self.tail.is_empty() {
            let small = self.tail.split().freeze();
            self.queued += small.len();
            self.queue.push_back(small);
        }
        self.queued += data.len();
        self.queue.push_back(data);
    }

    /// One call to the kernel, with at most `most` bytes; takes out what it took. It stops at a file.
    pub(crate) fn send(&mut self, stream: &mut Stream, most: usize) -> io::Result<Sent> {
        let before = self.files.front().map_or(usize::MAX, |(before, _)| *before);
        self.send_part(stream, most.min(before), false)
    }

    /// As [`send`](Self::send), of what is before the first file. With `follows`, another call is
    /// about to send more, and a packet that is not full can wait for it.
    fn send_part(&mut self, stream: &mut Stream, most: usize, follows: bool) -> io::Result<Sent> {
        let (offered, sent) = if !self.descriptors.is_empty() {
            self.send_with_descriptors(stream, most)
        } else if follows {
            let (segments, used, offered) = self.segments(most);
            (offered, stream.send_before_more(&segments[..used]))
        } else if self.queue.is_empty() {
            let part = &self.tail[..self.tail.len().min(most)];
            (part.len(), stream.send(part))
        } else {
            let (segments, used, offered) = self.segments(most);
            (offered, stream.send_vectored(&segments[..used]))
        };
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Sent::Blocked),
            Err(error) => return Err(error),
        };
        self.advance(sent);
        Ok(match (sent < offered, self.is_empty()) {
            (true, _) => Sent::Blocked,
            (false, true) => Sent::All,
            (false, false) => Sent::Some,
        })
    }

    /// What to offer in one call, at most `limit` bytes of it: the segments, how many they are,
    /// and their bytes.
    fn segments(&self, limit: usize) -> ([IoSlice<'_>; SEGMENTS_A_CALL], usize, usize) {
        let mut segments = [IoSlice::new(&[]); SEGMENTS_A_CALL];
        let mut used = 0;
        let mut offered = 0;
        let waiting = self.queue.iter().map(|bytes| &bytes[..]);
        let tail = Some(&self.tail[..]).filter(|tail| !tail.is_empty());
        for (place, segment) in segments.iter_mut().zip(waiting.chain(tail)) {
            let part = &segment[..segment.len().min(limit - offered)];
            if part.is_empty() {
                break;
            }
            *place = IoSlice::new(part);
            offered += part.len();
            used += 1;
        }
        (segments, used, offered)
    }

    /// Sends up to the next byte that has descriptors, or that byte with them and what follows up
    /// to the next: a message carries its descriptors with its first byte.
    fn send_with_descriptors(
        &mut self,
        stream: &mut Stream,
        most: usize,
    ) -> (usize, io::Result<usize>) {
        let due = self.descriptors.iter().take_while(|(before, _)| *before == 0);
        let due: Vec<_> = due.map(|(_, descriptor)| descriptor.as_fd()).collect();
        let next = self.descriptors.get(due.len()).map_or(usize::MAX, |(before, _)| *before);
        let (segments, used, offered) = self.segments(next.min(most));
        let sent = match due.is_empty() {
            true => stream.send_vectored(&segments[..used]),
            false => stream.send_with_descriptors(&segments[..used], &due),
        };
        if sent.as_ref().is_ok_and(|&sent| sent > 0) {
            let count = due.len();
            self.descriptors.drain(..count);
        }
        (offered, sent)
    }

    /// Takes `sent` bytes out of the front.
    pub(crate) fn advance(&mut self, mut sent: usize) {
        for (before, _) in &mut self.descriptors {
            *before -= sent;
        }
        for (before, _) in &mut self.files {
            *before -= sent;
        }
        while sent > 0 {
            let Some(first) = self.queue.front_mut() else {
                if sent == self.tail.len() {
                    self.tail.clear(); // from its beginning again: its whole room can be used
                } else {
                    self.tail.advance(sent);
                }
                return;
            };
            let part = sent.min(first.len());
            first.advance(part);
            sent -= part;
            self.queued -= part;
            if first.is_empty() {
                self.queue.pop_front();
            }
        }
    }
}

/// Emptied buffers for the next connection that writes, so that an idle one holds none.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "the box itself is what is lent to a connection")]
pub(crate) struct OutputPool {
    buffers: Vec<Box<Output>>,
    /// The capacity of all of them.
    bytes: usize,
}

impl OutputPool {
    pub(crate) fn lend(&mut self) -> Box<Output> {
        let output = self.buffers.pop().unwrap_or_default();
        self.bytes -= output.tail.capacity(); // 0 for a new one
        output
    }

    pub(crate) fn give_back(&mut self, mut output: Box<Output>) {
        output.queue.clear();
        output.queued = 0;
        output.files = VecDeque::new();
        output.tail.clear();
        // What was sent from the front of the buffer, or was split off, is still a part of it: without
        // this, a large one would count by the rest, and one that is nearly all rest would be kept.
        // (It says no where there is nothing to reclaim; nobody shares it, since the queue is empty.)
        let _ = output.tail.try_reclaim(output.tail.capacity() + 1);
        let capacity = output.tail.capacity();
        if self.buffers.len() < POOLED_BUFFERS
            && capacity <= POOLED_CAPACITY
            && self.bytes + capacity <= POOLED_BYTES
            && output.queue.capacity() <= SEGMENTS_A_CALL
        {
            self.bytes += capacity;
            self.buffers.push(output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emptied(capacity: usize) -> Box<Output> {
        Box::new(Output { tail: BytesMut::with_capacity(capacity), ..Output::default() })
    }

    #[test]
    fn a_buffer_counts_as_a_whole_whatever_was_sent_out_of_it() {
        let mut sent_in_part = emptied(4 * POOLED_CAPACITY);
        sent_in_part.tail.resize(4 * POOLED_CAPACITY, 7);
        sent_in_part.advance(4 * POOLED_CAPACITY - 10);
        sent_in_part.advance(10);
        assert!(sent_in_part.tail.capacity() <= POOLED_CAPACITY, "or this tests nothing");
        let mut pool = OutputPool::default();
        pool.give_back(sent_in_part);
        assert_eq!((pool.buffers.len(), pool.bytes), (0, 0));

        let mut split = emptied(1000);
        split.push_slice(&[7; 900]);
        split.push_bytes(Bytes::from(vec![7; QUEUED_FROM]));
        split.push_slice(&[7; 50]);
        split.advance(900 + QUEUED_FROM + 50);
        pool.give_back(split);
        assert_eq!(pool.bytes, 1000);
        assert_eq!(pool.lend().tail.capacity(), 1000);
    }

    #[test]
    fn the_pool_keeps_no_more_than_its_share() {
        let mut pool = OutputPool::default();
        pool.give_back(emptied(POOLED_CAPACITY + 1));
        assert_eq!((pool.buffers.len(), pool.bytes), (0, 0));
        for _ in 0..200 {
            pool.give_back(emptied(POOLED_CAPACITY));
        }
        assert_eq!(pool.bytes, POOLED_BYTES);
        assert_eq!(pool.buffers.len(), POOLED_BYTES / POOLED_CAPACITY);
        // What is lent makes room, for one as large and no larger.
        assert_eq!(pool.lend().tail.capacity(), POOLED_CAPACITY);
        pool.give_back(emptied(100));
        pool.give_back(emptied(POOLED_CAPACITY));
        assert_eq!(pool.bytes, POOLED_BYTES - POOLED_CAPACITY + 100);
        let mut pool = OutputPool::default();
        for _ in 0..200 {
            pool.give_back(emptied(10));
        }
        assert_eq!(pool.buffers.len(), POOLED_BUFFERS);
        while !pool.buffers.is_empty() {
            pool.lend();
        }
        pool.lend();
        assert_eq!(pool.bytes, 0);
    }
}
