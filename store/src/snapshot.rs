//! The state as octets, and back: what a segment begins with, so that the segments before it
//! need not be read to know what is in them.

use crate::codec::{Reader, put_short_blob, put_varint};
use crate::queue::Queue;
use crate::ranges::Ranges;
use crate::runs::Run;
use crate::space::Segment;
use crate::state::State;

const EXACT: u64 = 1;
const PERSISTENT: u64 = 2;
const TRANSIENT: u64 = 4;

/// Writes the state. `previous` is the segment of the snapshot before this one.
pub(crate) fn encode(out: &mut Vec<u8>, state: &State, previous: u64) {
    put_varint(out, previous);
    put_varint(out, state.next_queue);
    put_varint(out, state.definitions.len() as u64);
    for (key, value) in &state.definitions {
        put_short_blob(out, key);
        put_short_blob(out, value);
    }
    put_varint(out, state.segments.len() as u64);
    for (&number, segment) in &state.segments {
        put_varint(out, number);
        for octets in [
            segment.length,
            segment.index_octets,
            segment.octets,
            segment.drift,
            segment.largest,
            segment.damaged.into(),
        ] {
            put_varint(out, octets);
        }
    }
    put_varint(out, state.queues.len() as u64);
    for (&id, queue) in &state.queues {
        put_varint(out, id);
        put_varint(out, queue.next);
        put_varint(out, queue.leased);
        queue.delivered.encode(out);
        queue.gone.encode(out);
        put_varint(out, queue.runs.len() as u64);
        for run in queue.runs.iter() {
            let flag = |set, flag| if set { flag } else { 0 };
            put_varint(out, run.first);
            put_varint(out, run.last - run.first);
            put_varint(out, run.segment);
            put_varint(out, run.octets);
            let flags = flag(run.exact, EXACT)
                | flag(run.persistent, PERSISTENT)
                | flag(run.transient, TRANSIENT);
            put_varint(out, flags);
        }
        put_varint(out, queue.returns.len() as u64);
        for (&position, &returns) in &queue.returns {
            put_varint(out, position);
            put_varint(out, returns.into());
        }
    }
}

/// Reads it again, with the segment of the snapshot before it. `None` if it contradicts itself:
/// the checksum is the frame's, but nothing that is read may lead to a panic later.
pub(crate) fn decode(octets: &[u8]) -> Option<(State, u64)> {
    let reader = &mut Reader::new(octets);
    let previous = reader.varint()?;
    let mut state = State { next_queue: reader.varint()?, ..State::default() };
    for _ in 0..reader.count(2)? {
        let (key, value) = (reader.short_blob()?, reader.short_blob()?);
        state.definitions.insert(key.to_vec(), value.to_vec());
    }
    for _ in 0..reader.count(7)? {
        let number = reader.varint()?;
        let segment = Segment {
            length: reader.varint()?,
            index_octets: reader.varint()?,
            octets: reader.varint()?,
            drift: reader.varint()?,
            largest: reader.varint()?,
            damaged: reader.varint()? != 0,
            live: 0,
        };
        // So large that no sum of them overflows.
        (segment.length.max(segment.index_octets).max(segment.octets) < 1 << 48).then_some(())?;
        state.segments.insert(number, segment);
    }
    for _ in 0..reader.count(7)? {
        let id = reader.varint()?;
        let queue = queue(reader, &mut state)?;
        state.queues.insert(id, queue);
    }
    reader.rest.is_empty().then_some((state, previous))
}

fn queue(reader: &mut Reader<'_>, state: &mut State) -> Option<Queue> {
    let mut queue = Queue {
        next: reader.varint()?,
        leased: reader.varint()?,
        delivered: Ranges::decode(reader)?,
        gone: Ranges::decode(reader)?,
        ..Queue::default()
    };
    for _ in 0..reader.count(5)? {
        let first = reader.varint()?;
        let last = reader.varint()?.checked_add(first)?;
        let (segment, octets, flags) = (reader.varint()?, reader.varint()?, reader.varint()?);
        // What is live need not be believed: it is what is not gone.
        let live = (last - first).checked_add(1)? - queue.gone.count(first, last);
        (live > 0 && last < queue.next && octets < 1 << 48).then_some(())?;
        queue.messages = queue.messages.checked_add(live)?;
        if let Some(segment) = state.segments.get_mut(&segment) {
            segment.live = segment.live.checked_add(live)?;
        }
        let run = Run {
            first,
            last,
            segment,
            live,
            octets,
            exact: flags & EXACT != 0,
            persistent: flags & PERSISTENT != 0,
            transient: flags & TRANSIENT != 0,
        };
        queue.runs.restore(run).then_some(())?;
    }
    for _ in 0..reader.count(2)? {
        let position = reader.varint()?;
        let returns = u32::try_from(reader.varint()?).ok()?;
        queue.returns.insert(position, returns);
    }
    Some(queue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Reference};
    use crate::index::Index;
    use crate::record::Records;
    use crate::state::Place;
    use proptest::prelude::*;

    /// A state that came of records.
    fn state() -> impl Strategy<Value = State> {
        let one = (0..8u8, 0..4u64, 0..20u64, 0..6u64);
        prop::collection::vec(one, 0..80).prop_map(|list| {
            let (mut batch, mut state) = (Batch::new(), State::default());
            for (kind, queue, number, more) in list {
                batch.clear();
                let next = state.queues.get(&queue).map_or(0, |queue| queue.next);
                let segment = 1 + number / 7;
                match kind {
                    0 => batch.put(&[number as u8], &[more as u8; 5]),
                    1 => batch.acknowledged(queue, number, number + more),
                    2 => batch.leased(queue, number),
                    3 => batch.returned(queue, number, more as u32),
                    _ => {
                        let position = next + more / 5;
                        let reference = Reference { queue, position, expires: 7 };
                        batch.message(&[reference], more % 2 == 0, number, &[&[0; 9]]);
                    }
                }
                let mut index = Index::default();
                for record in Records::new(&batch.octets).flatten() {
                    let index = &mut index;
                    let mut place = Place { segment, base: 0, index, revive: false };
                    state.apply(&record, &mut place);
                }
            }
            state
        })
    }

    proptest! {
        #[test]
        fn a_state_is_read_as_it_was_written(state in state(), previous: u64) {
            let mut out = Vec::new();
            encode(&mut out, &state, previous);
            prop_assert_eq!(decode(&out), Some((state, previous)));
            for end in 0..out.len() {
                prop_assert_eq!(decode(&out[..end]), None);
            }
        }

        #[test]
        fn whatever_is_read_as_a_state_does_no_harm(
            state in state(), at: prop::sample::Index, octet: u8,
        ) {
            let mut out = Vec::new();
            encode(&mut out, &state, 1);
            let at = at.index(out.len());
            out[at] = octet;
            let _ = decode(&out);
        }
    }
}
