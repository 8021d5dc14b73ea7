//! From the frames of one channel to whole commands: a method, with its content if it has one.
//!
//! A state machine without I/O; what a command means, and whether the channel is open, is not
//! decided here. The one rule: what a peer announces costs nothing, only what it sends does.

use super::method::{Method, MethodId};
use super::{
    Command, Content, ContentHeader, Error, Frame, FrameKind, Payload, RawCommand, Result,
};
use bytes::Bytes;
use std::mem;

/// The largest body that is taken unless set otherwise: 128 MiB, as RabbitMQ 3.x does.
pub const MAX_BODY_SIZE: u64 = 128 << 20;

/// Properties larger than this are moved into the command and not held in the assembler's own
/// buffer, so that between two commands a channel keeps no more than this and one method:
/// 4 KiB + about 1 KiB (four names of 255 octets).
const HELD_MAX: usize = 4096;

/// Assembles the commands of one channel.
///
/// Methods, headers and bodies come in that order and may not be mixed on a channel (AMQP 0-9-1
/// section 4.2.6). Each error has RabbitMQ's text, and ends the command that was under way.
#[derive(Debug)]
pub struct Assembler {
    state: State,
    /// The payload of the method that carries content, and then its properties if they are
    /// small: the frames that they came in are gone when the body comes.
    held: Vec<u8>,
    /// Octets of `held` that are the method.
    method_len: usize,
    /// The properties, if they are large.
    large_properties: Option<Bytes>,
    /// The body so far, of one that comes in several frames.
    body: Vec<u8>,
    max_body_size: u64,
}

/// What has to come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Method,
    Header {
        /// Of the method in `held`.
        method: MethodId,
    },
    Body {
        /// Of the method in `held`.
        method: MethodId,
        /// Octets still to come: more than 0.
        remaining: u64,
    },
}

impl Assembler {
    /// Refuses bodies larger than `max_body_size`; see [`MAX_BODY_SIZE`].
    #[must_use]
    pub const fn new(max_body_size: u64) -> Assembler {
        Assembler {
            state: State::Method,
            held: Vec::new(),
            method_len: 0,
            large_properties: None,
            body: Vec::new(),
            max_body_size,
        }
    }

    /// Takes the channel's next frame, and returns a command once it is whole.
    ///
    /// A heartbeat belongs to no channel and counts as any frame that is not expected.
    pub fn push<'a>(&'a mut self, frame: Frame<'a>) -> Result<Option<Command<'a>>> {
        self.push_raw(frame)?.map(RawCommand::decode).transpose()
    }

    /// As [`push`](Self::push), but leaves it to the caller to read the method; what is wrong with
    /// one that content follows is told here, before that content comes.
    #[inline(always)]
    pub fn push_raw<'a>(&'a mut self, frame: Frame<'a>) -> Result<Option<RawCommand<'a>>> {
        // Unless it turns out otherwise below: so an error leaves no half of a command.
        match (mem::replace(&mut self.state, State::Method), frame.kind) {
            (State::Method, FrameKind::Method) => self.method(frame.payload),
            (State::Method, _) => Err(Error::ExpectedMethod),
            (State::Header { method }, FrameKind::Header) => self.header(method, &frame.payload),
            (State::Header { method }, _) => Err(Error::ExpectedHeader { method, class_id: None }),
            (State::Body { method, remaining }, FrameKind::Body) => {
                self.body(method, remaining, frame.payload)
            }
            (State::Body { method, .. }, _) => Err(Error::ExpectedBody { method }),
        }
    }

    /// Whether the next frame has to be a method.
    #[must_use]
    #[inline]
    pub fn is_between_commands(&self) -> bool {
        self.state == State::Method
    }

    /// Whether a body of `size` octets is not too large.
    #[must_use]
    #[inline]
    pub fn allows_body(&self, size: u64) -> bool {
        size <= self.max_body_size
    }

    /// The octets that it holds of a command under way.
    #[must_use]
    pub fn buffered(&self) -> usize {
        match self.state {
            State::Method => 0,
            _ => {
                self.held.len()
                    + self.large_properties.as_ref().map_or(0, Bytes::len)
                    + self.body.len()
            }
        }
    }

    #[inline(always)]
    fn method<'a>(&mut self, payload: Payload<'a>) -> Result<Option<RawCommand<'a>>> {
        let Payload::Borrowed(payload) = payload else {
            return Err(Error::ExpectedMethod); // only bodies are ever shared
        };
        let Some(method) = MethodId::of(payload).filter(|method| method.carries_content()) else {
            return Ok(Some(RawCommand { method: payload, content: None }));
        };
        Method::decode(payload)?;
        self.held.clear();
        self.held.extend_from_slice(payload);
        self.method_len = payload.len();
        self.large_properties = None;
        self.body = Vec::new();
        self.state = State::Header { method };
        Ok(None)
    }

    #[inline(always)]
    fn header(&mut self, method: MethodId, payload: &[u8]) -> Result<Option<RawCommand<'_>>> {
        let ContentHeader { class_id, weight, body_size, properties } =
            ContentHeader::decode(payload)?;
        if class_id != method.class_id || weight != 0 {
            // RabbitMQ takes a header with a weight for none at all.
            let class_id = (weight == 0).then_some(class_id);
            return Err(Error::ExpectedHeader { method, class_id });
        }
        if body_size > self.max_body_size {
            let limit = self.max_body_size;
            return Err(Error::BodyTooLarge { method, size: body_size, limit });
        }
        if properties.len() <= HELD_MAX {
            self.held.extend_from_slice(properties);
        } else {
            self.large_properties = Some(Bytes::copy_from_slice(properties));
        }
        if body_size == 0 {
            return self.complete(Payload::Borrowed(&[]));
        }
        self.state = State::Body { method, remaining: body_size };
        Ok(None)
    }

    #[inline(always)]
    fn body<'a>(
        &'a mut self,
        method: MethodId,
        remaining: u64,
        piece: Payload<'a>,
    ) -> Result<Option<RawCommand<'a>>> {
        let after = match remaining.checked_sub(piece.len() as u64) {
            Some(after) => after,
            None => {
                self.body = Vec::new();
                return Err(Error::BodyOverrun { method });
            }
        };
        if after == 0 && self.body.is_empty() {
            return self.complete(piece);
        }
        self.gather(&piece, remaining);
        if after == 0 {
            let body = Bytes::from(mem::take(&mut self.body));
            return self.complete(Payload::Shared(body));
        }
        self.state = State::Body { method, remaining: after };
        Ok(None)
    }

    /// Adds a piece to the body, of which `remaining` octets are to come, this piece included.
    ///
    /// Room grows with what has come, twofold at most, and never beyond what was announced: a
    /// peer that announces 128 MiB and sends an octet has one octet of room.
    #[inline(never)]
    fn gather(&mut self, piece: &[u8], remaining: u64) {
        let needed = self.body.len() + piece.len();
        if needed > self.body.capacity() {
            let announced = self.body.len() as u64 + remaining;
            let doubled = needed.max(2 * self.body.capacity()) as u64;
            self.body.reserve_exact(announced.min(doubled) as usize - self.body.len());
        }
        self.body.extend_from_slice(piece);
    }

    #[inline(always)]
    fn complete<'a>(&'a mut self, body: Payload<'a>) -> Result<Option<RawCommand<'a>>> {
        let (method, properties) = self.held.split_at(self.method_len);
        let properties = match self.large_properties.take() {
            Some(properties) => Payload::Shared(properties),
            None => Payload::Borrowed(properties),
        };
        // It has been decoded when it came; to do so again costs less than to keep it in a form
        // that owns its strings.
        Ok(Some(RawCommand { method, content: Some(Content { properties, body }) }))
    }
}

impl Default for Assembler {
    fn default() -> Assembler {
        Assembler::new(MAX_BODY_SIZE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{EncodeMethod, ShortStr, method::basic, method::queue};

    fn payload(method: &impl EncodeMethod) -> Vec<u8> {
        let MethodId { class_id, method_id } = method.id();
        let mut payload = [class_id.to_be_bytes(), method_id.to_be_bytes()].concat();
        method.encode_arguments(&mut payload);
        payload
    }

    fn publish() -> Vec<u8> {
        payload(&basic::Publish { routing_key: ShortStr::literal("q"), ..Default::default() })
    }

    fn header(body_size: u64) -> Vec<u8> {
        let mut payload = Vec::new();
        ContentHeader { class_id: 60, weight: 0, body_size, properties: b"\x10\0\x02" }
            .encode(&mut payload);
        payload
    }

    fn frame(kind: FrameKind, payload: &[u8]) -> Frame<'_> {
        Frame { kind, channel: 1, payload: Payload::Borrowed(payload) }
    }

    use FrameKind::{Body, Header, Heartbeat, Method as MethodFrame};

    type Sent<'a> = (FrameKind, &'a [u8]);

    /// A method's name; properties and body.
    type Made = (&'static str, Option<(Vec<u8>, Vec<u8>)>);

    /// Pushes frames that make no command, and returns what the last one makes.
    fn push_all(assembler: &mut Assembler, frames: &[Sent<'_>]) -> Result<Option<Made>> {
        let (&(kind, last), before) = frames.split_last().expect("a frame");
        for (kind, payload) in before {
            assert_eq!(assembler.push(frame(*kind, payload)), Ok(None));
        }
        let command = assembler.push(frame(kind, last))?;
        Ok(command.map(|Command { method, content }| {
            let content =
                content.map(|content| (content.properties.to_vec(), content.body.to_vec()));
            (method.name(), content)
        }))
    }

    #[test]
    fn a_method_without_content_is_a_command_by_itself() {
        let mut assembler = Assembler::default();
        let made = push_all(&mut assembler, &[(MethodFrame, &payload(&queue::Purge::default()))]);
        assert_eq!(made, Ok(Some(("queue.purge", None))));
    }

    #[test]
    fn a_content_is_whole_when_its_body_is_however_it_is_cut() {
        let (publish, props) = (publish(), b"\x10\0\x02".to_vec());
        let mut assembler = Assembler::default();
        for pieces in
            [&[&b"hello"[..]][..], &[b"hel", b"lo"], &[b"", b"h", b"", b"e", b"l", b"l", b"o"]]
        {
            let header = header(5);
            let mut frames: Vec<Sent<'_>> = vec![(MethodFrame, &publish), (Header, &header)];
            frames.extend(pieces.iter().map(|piece| (Body, *piece)));
            let made = push_all(&mut assembler, &frames);
            assert_eq!(made, Ok(Some(("basic.publish", Some((props.clone(), b"hello".to_vec()))))));
            assert!(assembler.is_between_commands());
        }
        let made = push_all(&mut assembler, &[(MethodFrame, &publish), (Header, &header(0))]);
        assert_eq!(made, Ok(Some(("basic.publish", Some((props, vec![]))))));
    }

    #[test]
    fn the_method_is_the_one_that_came_before_the_content() {
        let (publish, header) = (publish(), header(1));
        let mut assembler = Assembler::default();
        assert_eq!(assembler.push(frame(MethodFrame, &publish)), Ok(None));
        assert_eq!(assembler.push(frame(Header, &header)), Ok(None));
        let command = assembler.push(frame(Body, b"x")).expect("legal").expect("whole");
        let Method::BasicPublish(publish) = command.method else { panic!("{command:?}") };
        assert_eq!(
            (publish.routing_key, publish.exchange),
            (ShortStr::literal("q"), ShortStr::EMPTY)
        );
    }

    #[test]
    fn a_single_large_body_is_passed_on_without_a_copy() {
        let large = Bytes::from(vec![7; 100_000]);
        let (publish, header) = (publish(), header(100_000));
        let mut assembler = Assembler::default();
        assert_eq!(assembler.push(frame(MethodFrame, &publish)), Ok(None));
        assert_eq!(assembler.push(frame(Header, &header)), Ok(None));
        let body = Frame { kind: Body, channel: 1, payload: Payload::Shared(large.clone()) };
        let command = assembler.push(body).expect("legal").expect("whole");
        let body = command.content.expect("content").body.into_bytes();
        assert_eq!(body.as_ptr(), large.as_ptr());
    }

    #[test]
    fn frames_out_of_order_are_refused_in_the_words_of_rabbitmq() {
        let (publish, header1) = (publish(), header(1));
        let mut other_class = header(1);
        other_class[1] = 50;
        let mut weighty = header(1);
        weighty[3] = 1;
        let method = (MethodFrame, &publish[..]);
        let no_method = "expected method frame, got non method frame instead";
        let no_header =
            "expected content header for class 60, got non content header frame instead";
        let no_body = "expected content body, got non content body frame instead";
        let cases: [(&[Sent<'_>], u16, &str); 12] = [
            (&[(Header, &header1)], 0, no_method),
            (&[(Body, b"x")], 0, no_method),
            (&[(Heartbeat, b"")], 0, no_method),
            (&[method, method], 60, no_header),
            (&[method, (Body, b"x")], 60, no_header),
            (&[method, (Heartbeat, b"")], 60, no_header),
            (&[method, (Header, &weighty)], 60, no_header),
            (
                &[method, (Header, &other_class)],
                60,
                "expected content header for class 60, got one for class 50 instead",
            ),
            (&[method, (Header, &header1), method], 60, no_body),
            (&[method, (Header, &header1), (Header, &header1)], 60, no_body),
            (&[method, (Header, &header1), (Heartbeat, b"")], 60, no_body),
            (
                &[method, (Header, &header1), (Body, b""), (Body, b"xy")],
                60,
                "content body frame exceeds remaining content size",
            ),
        ];
        for (frames, class_id, text) in cases {
            let mut assembler = Assembler::default();
            let error = push_all(&mut assembler, frames).expect_err(text);
            assert_eq!((error.method_id().class_id, error.to_string()), (class_id, text.into()));
            let hard = error.reply_code().number();
            assert_eq!(hard, if text.starts_with("content body frame") { 501 } else { 505 });
            assert!(assembler.is_between_commands());
        }
    }

    #[test]
    fn a_body_larger_than_allowed_is_refused_by_its_header_and_costs_only_the_channel() {
        let mut assembler = Assembler::new(10);
        let error = push_all(&mut assembler, &[(MethodFrame, &publish()), (Header, &header(11))])
            .expect_err("too large");
        assert!(!error.reply_code().is_hard());
        assert_eq!(error.method_id(), basic::Publish::ID);
        assert_eq!(
            error.reply_text(),
            "PRECONDITION_FAILED - message size 11 is larger than configured max size 10"
        );
        let at_limit = [(MethodFrame, &publish()[..]), (Header, &header(10)), (Body, &[0; 10])];
        assert!(push_all(&mut assembler, &at_limit).expect("allowed").is_some());
    }

    #[test]
    fn an_announced_body_takes_no_room_before_it_comes() {
        let mut assembler = Assembler::new(u64::MAX);
        for size in [1 << 20, u64::MAX] {
            let (publish, header) = (publish(), header(size));
            assert_eq!(assembler.push(frame(MethodFrame, &publish)), Ok(None));
            assert_eq!(assembler.push(frame(Header, &header)), Ok(None));
            for _ in 0..10 {
                assert_eq!(assembler.push(frame(Body, b"x")), Ok(None));
            }
            assert!(assembler.body.capacity() <= 16, "{}", assembler.body.capacity());
            assert_eq!(assembler.buffered(), publish.len() + 3 + 10);
            assembler = Assembler::new(u64::MAX);
        }
    }

    #[test]
    fn large_properties_are_moved_out_and_not_kept() {
        let mut assembler = Assembler::default();
        let properties = vec![0; HELD_MAX + 1];
        let mut header = Vec::new();
        ContentHeader { class_id: 60, weight: 0, body_size: 0, properties: &properties }
            .encode(&mut header);
        let made = push_all(&mut assembler, &[(MethodFrame, &publish()), (Header, &header)]);
        assert_eq!(made, Ok(Some(("basic.publish", Some((properties, vec![]))))));
        assert!(assembler.held.capacity() < HELD_MAX && assembler.large_properties.is_none());
    }
}
