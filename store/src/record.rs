//! The records of a batch as octets, and back. A record is a kind and its fields, numbers with
//! their lowest octet first; nothing in it says where it is, nor checks it: that is the frame's.

use crate::batch::{Position, QueueId, Reference};
use crate::codec::{Reader, put_blob, put_u32, put_u64s};

/// The octets of a reference: queue, position, expires.
pub(crate) const REFERENCE_OCTETS: usize = 24;
/// No record has more beside keys, values, payloads and references.
pub(crate) const MAX_FIXED_OCTETS: usize = 32;

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const MESSAGE: u8 = 3;
const MOVED: u8 = 4;
const ACKNOWLEDGED: u8 = 5;
const LEASED: u8 = 6;
const RETURNED: u8 = 7;
const QUEUE_REMOVED: u8 = 8;
const SNAPSHOT: u8 = 9;
const OPENED: u8 = 10;
const CLOSED: u8 = 11;
const DAMAGED: u8 = 12;

/// A record, read from octets that it borrows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Record<'a> {
    Put {
        key: &'a [u8],
        value: &'a [u8],
    },
    Remove {
        key: &'a [u8],
    },
    Message(Message<'a>),
    Acknowledged {
        queue: QueueId,
        first: Position,
        last: Position,
    },
    Leased {
        queue: QueueId,
        end: Position,
    },
    Returned {
        queue: QueueId,
        position: Position,
        returns: u32,
    },
    QueueRemoved {
        queue: QueueId,
    },
    /// All that the log knew when the segment that begins with it was begun.
    Snapshot {
        state: &'a [u8],
    },
    /// A program opened the log: the leases of the one before it have become deliveries.
    Opened,
    /// It closed it in order.
    Closed,
    /// A segment could not be read as a whole.
    Damaged {
        segment: u64,
    },
}

/// A message with its places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    /// Whether this is a copy, from a segment that was given up, of a message that has its
    /// places already.
    pub(crate) moved: bool,
    pub(crate) persistent: bool,
    /// What it counts for in its queues.
    pub(crate) body: u32,
    references: &'a [u8],
    pub(crate) payload: &'a [u8],
    /// Where the payload begins, counted from the first octet of the records.
    pub(crate) offset: usize,
}

impl<'a> Message<'a> {
    pub(crate) fn references(&self) -> impl Iterator<Item = Reference> + use<'a> {
        self.references.chunks_exact(REFERENCE_OCTETS).map_while(|octets| {
            let mut reader = Reader::new(octets);
            Some(Reference {
                queue: reader.u64()?,
                position: reader.u64()?,
                expires: reader.u64()?,
            })
        })
    }
}

/// Something that is no record stands where one should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads the records of a batch one after another; ends after the first that is none.
#[derive(Debug, Clone)]
pub(crate) struct Records<'a> {
    reader: Reader<'a>,
    length: usize,
}

impl<'a> Records<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Records<'a> {
        Records { reader: Reader::new(octets), length: octets.len() }
    }

    /// Whether all of it is records.
    pub(crate) fn are_whole(&self) -> bool {
        self.clone().all(|record| record.is_ok())
    }

    fn read(&mut self) -> Option<Record<'a>> {
        let reader = &mut self.reader;
        Some(match reader.u8()? {
            PUT => Record::Put { key: reader.blob()?, value: reader.blob()? },
            REMOVE => Record::Remove { key: reader.blob()? },
            kind @ (MESSAGE | MOVED) => {
                let persistent = match reader.u8()? {
                    0 => false,
                    1 => true,
                    _ => return None,
                };
                let body = reader.u32()?;
                let count = reader.u32()? as usize;
                let references = reader.octets(count.checked_mul(REFERENCE_OCTETS)?)?;
                let payload = reader.blob()?;
                let offset = self.length - reader.rest.len() - payload.len();
                Record::Message(Message {
                    moved: kind == MOVED,
                    persistent,
                    body,
                    references,
                    payload,
                    offset,
                })
            }
            ACKNOWLEDGED => Record::Acknowledged {
                queue: reader.u64()?,
                first: reader.u64()?,
                last: reader.u64()?,
            },
            LEASED => Record::Leased { queue: reader.u64()?, end: reader.u64()? },
            RETURNED => Record::Returned {
                queue: reader.u64()?,
                position: reader.u64()?,
                returns: reader.u32()?,
            },
            QUEUE_REMOVED => Record::QueueRemoved { queue: reader.u64()? },
            SNAPSHOT => Record::Snapshot { state: reader.blob()? },
            OPENED => Record::Opened,
            CLOSED => Record::Closed,
            DAMAGED => Record::Damaged { segment: reader.u64()? },
            _ => return None,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.rest.is_empty() {
            return None;
        }
        match self.read() {
            Some(record) => Some(Ok(record)),
            None => {
                self.reader.rest = &[];
                Some(Err(Malformed))
            }
        }
    }
}

pub(crate) fn put(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.push(PUT);
    put_blob(out, key);
    put_blob(out, value);
}

pub(crate) fn remove(out: &mut Vec<u8>, key: &[u8]) {
    out.push(REMOVE);
    put_blob(out, key);
}

pub(crate) fn message(
    out: &mut Vec<u8>,
    moved: bool,
    references: &[Reference],
    persistent: bool,
    body: u32,
    parts: &[&[u8]],
) {
    out.push(if moved { MOVED } else { MESSAGE });
    out.push(u8::from(persistent));
    put_u32(out, body);
    put_u32(out, references.len() as u32);
    for reference in references {
        put_u64s(out, [reference.queue, reference.position, reference.expires]);
    }
    let payload: usize = parts.iter().map(|part| part.len()).sum();
    put_u32(out, payload as u32);
    for part in parts {
        out.extend_from_slice(part);
    }
}

pub(crate) fn acknowledged(out: &mut Vec<u8>, queue: QueueId, first: Position, last: Position) {
    out.push(ACKNOWLEDGED);
    put_u64s(out, [queue, first, last]);
}

pub(crate) fn leased(out: &mut Vec<u8>, queue: QueueId, end: Position) {
    out.push(LEASED);
    put_u64s(out, [queue, end]);
}

pub(crate) fn returned(out: &mut Vec<u8>, queue: QueueId, position: Position, returns: u32) {
    out.push(RETURNED);
    put_u64s(out, [queue, position]);
    put_u32(out, returns);
}

pub(crate) fn queue_removed(out: &mut Vec<u8>, queue: QueueId) {
    out.push(QUEUE_REMOVED);
    put_u64s(out, [queue]);
}

/// The state is what [`crate::snapshot`] makes of it, shorter than 4 GiB.
pub(crate) fn snapshot(out: &mut Vec<u8>, state: impl FnOnce(&mut Vec<u8>)) {
    out.push(SNAPSHOT);
    let length = out.len();
    put_u32(out, 0);
    let start = out.len();
    state(out);
    let octets = (out.len() - start) as u32;
    out[length..start].copy_from_slice(&octets.to_le_bytes());
}

pub(crate) fn opened(out: &mut Vec<u8>) {
    out.push(OPENED);
}

pub(crate) fn closed(out: &mut Vec<u8>) {
    out.push(CLOSED);
}

pub(crate) fn damaged(out: &mut Vec<u8>, segment: u64) {
    out.push(DAMAGED);
    put_u64s(out, [segment]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A record with everything in it owned, to be compared.
    type Plain = (u8, Vec<u64>, Vec<u8>, Vec<u8>);

    fn plain(record: &Record<'_>, octets: &[u8]) -> Plain {
        match *record {
            Record::Put { key, value } => (1, vec![], key.to_vec(), value.to_vec()),
            Record::Remove { key } => (2, vec![], key.to_vec(), vec![]),
            Record::Message(message) => {
                let there = &octets[message.offset..message.offset + message.payload.len()];
                assert_eq!(there, message.payload);
                let mut numbers =
                    vec![message.moved.into(), message.persistent.into(), message.body.into()];
                for Reference { queue, position, expires } in message.references() {
                    numbers.extend([queue, position, expires]);
                }
                (3, numbers, message.payload.to_vec(), vec![])
            }
            Record::Acknowledged { queue, first, last } => {
                (4, vec![queue, first, last], vec![], vec![])
            }
            Record::Leased { queue, end } => (5, vec![queue, end], vec![], vec![]),
            Record::Returned { queue, position, returns } => {
                (6, vec![queue, position, returns.into()], vec![], vec![])
            }
            Record::QueueRemoved { queue } => (8, vec![queue], vec![], vec![]),
            Record::Snapshot { state } => (9, vec![], state.to_vec(), vec![]),
            Record::Opened => (10, vec![], vec![], vec![]),
            Record::Closed => (11, vec![], vec![], vec![]),
            Record::Damaged { segment } => (12, vec![segment], vec![], vec![]),
        }
    }

    fn write(out: &mut Vec<u8>, (kind, numbers, one, two): &Plain) {
        match (kind, &numbers[..]) {
            (1, _) => put(out, one, two),
            (2, _) => remove(out, one),
            (3, &[moved, persistent, body, ref rest @ ..]) => {
                let references: Vec<Reference> = rest
                    .chunks_exact(3)
                    .map(|n| Reference { queue: n[0], position: n[1], expires: n[2] })
                    .collect();
                let (head, tail) = one.split_at(one.len() / 2);
                let (moved, persistent) = (moved == 1, persistent == 1);
                message(out, moved, &references, persistent, body as u32, &[head, b"", tail]);
            }
            (4, &[queue, first, last]) => acknowledged(out, queue, first, last),
            (5, &[queue, end]) => leased(out, queue, end),
            (6, &[queue, position, returns]) => returned(out, queue, position, returns as u32),
            (8, &[queue]) => queue_removed(out, queue),
            (9, _) => snapshot(out, |out| out.extend_from_slice(one)),
            (10, _) => opened(out),
            (11, _) => closed(out),
            (_, &[segment]) => damaged(out, segment),
            other => panic!("{other:?}"),
        }
    }

    fn records() -> impl Strategy<Value = Vec<Plain>> {
        let octets = || prop::collection::vec(any::<u8>(), 0..40);
        let numbers = |kind| {
            let numbers = |count| prop::collection::vec(any::<u64>(), count);
            match kind {
                3 => (any::<(bool, bool, u32)>(), 0..4usize)
                    .prop_flat_map(move |((moved, persistent, body), places)| {
                        numbers(places * 3).prop_map(move |rest| {
                            [vec![moved.into(), persistent.into(), body.into()], rest].concat()
                        })
                    })
                    .boxed(),
                4 => numbers(3).boxed(),
                5 => numbers(2).boxed(),
                6 => any::<(u64, u64, u32)>().prop_map(|(q, p, r)| vec![q, p, r.into()]).boxed(),
                8 | 12 => numbers(1).boxed(),
                _ => Just(vec![]).boxed(),
            }
        };
        let kinds = prop_oneof![1..=6u8, 8..=12u8];
        let one = kinds.prop_flat_map(move |kind| {
            (Just(kind), numbers(kind), octets(), octets()).prop_map(|(kind, numbers, one, two)| {
                let one = if matches!(kind, 1 | 2 | 3 | 9) { one } else { vec![] };
                let two = if kind == 1 { two } else { vec![] };
                (kind, numbers, one, two)
            })
        });
        prop::collection::vec(one, 0..10)
    }

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(records in records()) {
            let mut out = Vec::new();
            for record in &records {
                let before = out.len();
                write(&mut out, record);
                let variable = record.2.len() + record.3.len() + record.1.len() * 8;
                prop_assert!(out.len() - before <= variable + MAX_FIXED_OCTETS);
            }
            prop_assert!(Records::new(&out).are_whole());
            let read: Result<Vec<_>, Malformed> =
                Records::new(&out).map(|record| Ok(plain(&record?, &out))).collect();
            prop_assert_eq!(read, Ok(records));
        }

        #[test]
        fn whatever_is_read_as_records_ends(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Records::new(&octets).count() <= octets.len());
        }
    }

    #[test]
    fn a_record_that_is_cut_off_is_none() {
        let mut out = Vec::new();
        let reference = Reference { queue: 1, position: 2, expires: 3 };
        message(&mut out, false, &[reference], true, 7, &[b"payload"]);
        for end in 1..out.len() {
            assert!(!Records::new(&out[..end]).are_whole(), "cut off at {end}");
        }
        assert!(Records::new(&out).are_whole());
    }
}
