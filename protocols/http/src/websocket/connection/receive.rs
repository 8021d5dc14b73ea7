//! Reading frames: a head, then its payload as far as the input goes, unmasked where it lies.

use super::incoming::{Incoming, Intake, Payload};
use super::{Connection, Event, Receiving, Role};
use crate::websocket::codec::{FrameHead, Opcode, mask};
use crate::websocket::deflate::{Inflater, TAIL};
use crate::websocket::{Close, Error, Kind, Message, spare};

/// Compressed octets are unmasked here, so many at a time: a step may leave some of them, which must
/// then be found in the input as they came.
const UNMASKED: usize = 4096;

impl Connection {
    /// Consumes a piece of `input`: how many bytes, and what came of them. Call it again with the
    /// rest until it answers `NeedMore` or `Over`. What it has consumed of `input` is changed, the
    /// rest is not. After an error the connection can only be closed.
    pub(crate) fn receive<'a>(&mut self, input: &'a mut [u8]) -> Result<(usize, Event<'a>), Error> {
        match self.receiving {
            Receiving::Head => self.receive_head(input),
            Receiving::Payload { left, .. } if self.is_close_sent => {
                self.incoming = None;
                self.receiving = Receiving::Skipped { left };
                Ok((0, Event::Nothing))
            }
            Receiving::Tail { .. } | Receiving::End if self.is_close_sent => {
                self.incoming = None;
                self.receiving = Receiving::Head;
                Ok((0, Event::Nothing))
            }
            Receiving::Payload { head, left } => {
                if self.incoming.as_ref().is_some_and(|incoming| incoming.is_compressed) {
                    self.receive_compressed(input, head, left)
                } else {
                    self.receive_payload(input, head, left)
                }
            }
            Receiving::Tail { at } => {
                let (taken, event) = self.inflate(&TAIL[at..])?;
                if at + taken < TAIL.len() || self.is_inflater_full() {
                    self.receiving = Receiving::Tail { at: at + taken };
                    return Ok((0, event));
                }
                self.receiving = Receiving::End;
                Ok((0, event))
            }
            Receiving::End => self.end_message().map(|event| (0, event)),
            Receiving::Skipped { left } => {
                let taken = least(left, input.len());
                self.receiving = match left - taken as u64 {
                    0 => Receiving::Head,
                    left => Receiving::Skipped { left },
                };
                Ok((taken, if taken as u64 == left { Event::Nothing } else { Event::NeedMore }))
            }
            Receiving::Over => Ok((input.len(), Event::Over)),
        }
    }

    fn receive_head<'a>(&mut self, input: &'a mut [u8]) -> Result<(usize, Event<'a>), Error> {
        let Some((head, size)) = FrameHead::parse(input)? else {
            return Ok((0, Event::NeedMore));
        };
        match (&self.role, head.mask) {
            (Role::Server, None) => return Err(Error::Unmasked),
            (Role::Client(_), Some(_)) => return Err(Error::Masked),
            _ => {}
        }
        let kind = match head.opcode {
            Opcode::Continuation => None,
            Opcode::Text => Some(Kind::Text),
            Opcode::Binary => Some(Kind::Binary),
            _ => return self.receive_control(input, head, size),
        };
        if head.length > self.config.max_frame {
            return Err(Error::FrameTooLarge);
        }
        if self.is_close_sent {
            self.receiving = Receiving::Skipped { left: head.length };
            return Ok((size, Event::Nothing));
        }
        // Only a message's first frame says that it is compressed (RFC 7692 §6.1).
        if head.is_compressed && (self.agreed.is_none() || kind.is_none()) {
            return Err(Error::ReservedBits);
        }
        self.receiving = Receiving::Payload { head, left: head.length };
        match (kind, &self.incoming) {
            (None, None) => Err(Error::ContinuationUnexpected),
            (Some(_), Some(_)) => Err(Error::ContinuationMissing),
            (None, Some(_)) => Ok((size, Event::Nothing)),
            (Some(kind), None) => {
                self.incoming = Some(Incoming::new(kind, head.is_compressed));
                Ok((size, Event::MessageStarted(kind)))
            }
        }
    }

    /// A control frame is short: it is looked at once it is whole.
    fn receive_control<'a>(
        &mut self,
        input: &'a mut [u8],
        head: FrameHead,
        size: usize,
    ) -> Result<(usize, Event<'a>), Error> {
        let end = size + head.length as usize;
        let Some(payload) = input.get_mut(size..end) else { return Ok((0, Event::NeedMore)) };
        if let Some(key) = head.mask {
            mask(payload, key, 0);
        }
        let event = match head.opcode {
            Opcode::Ping => Event::PingReceived(payload),
            Opcode::Pong => Event::PongReceived(payload),
            _ => {
                self.close_received = Some(Box::new(Close::parse(payload)?));
                self.receiving = Receiving::Over;
                self.incoming = None;
                Event::CloseReceived
            }
        };
        Ok((end, event))
    }

    fn receive_payload<'a>(
        &mut self,
        input: &'a mut [u8],
        head: FrameHead,
        left: u64,
    ) -> Result<(usize, Event<'a>), Error> {
        let limit = self.config.max_message;
        let Some(incoming) = &mut self.incoming else { return Err(Error::ContinuationUnexpected) };
        // What is announced is refused before it comes.
        if matches!(incoming.intake, Intake::Gather(_))
            && left > limit.saturating_sub(incoming.gathered()) as u64
        {
            return Err(Error::MessageTooLarge);
        }
        let taken = least(left, input.len());
        if taken == 0 && left > 0 {
            return Ok((0, Event::NeedMore));
        }
        if let Some(key) = head.mask {
            mask(&mut input[..taken], key, head.length - left);
        }
        let left = left - taken as u64;
        let is_last = left == 0 && head.is_final;
        self.receiving = match left {
            0 if is_last => Receiving::End,
            0 => Receiving::Head,
            left => Receiving::Payload { head, left },
        };
        let data = &input[..taken];
        if is_last && incoming.is_untouched() {
            let message = match incoming.kind {
                Kind::Binary => Message::Binary(data),
                Kind::Text => Message::Text(str::from_utf8(data).map_err(|_| Error::Utf8)?),
            };
            self.incoming = None;
            self.receiving = Receiving::Head;
            return Ok((taken, Event::MessageReceived(Payload::Borrowed(message))));
        }
        let piece = incoming.take(data, limit)?;
        Ok((taken, piece.map_or(Event::Nothing, Event::PieceReceived)))
    }

    fn receive_compressed<'a>(
        &mut self,
        input: &mut [u8],
        head: FrameHead,
        left: u64,
    ) -> Result<(usize, Event<'a>), Error> {
        let size = least(left, input.len()).min(UNMASKED);
        if size == 0 && left > 0 && !self.is_inflater_full() {
            return Ok((0, Event::NeedMore));
        }
        let mut plain = [0; UNMASKED];
        let plain = &mut plain[..size];
        plain.copy_from_slice(&input[..size]);
        if let Some(key) = head.mask {
            mask(plain, key, head.length - left);
        }
        let (taken, event) = if plain.is_empty() && !self.is_inflater_full() {
            (0, Event::Nothing)
        } else {
            self.inflate(plain)?
        };
        let left = left - taken as u64;
        self.receiving = match left {
            0 if self.is_inflater_full() => Receiving::Payload { head, left },
            0 if !head.is_final => Receiving::Head,
            0 if self.inflater.as_ref().is_some_and(|inflater| inflater.is_ended()) => {
                Receiving::End
            }
            0 => Receiving::Tail { at: 0 },
            left => Receiving::Payload { head, left },
        };
        Ok((taken, event))
    }

    /// One step of inflating: how much of `data` it took, and a piece, if the message is streamed.
    fn inflate<'a>(&mut self, data: &[u8]) -> Result<(usize, Event<'a>), Error> {
        let (Some(agreed), Some(incoming)) = (self.agreed, &mut self.incoming) else {
            return Err(Error::ReservedBits);
        };
        let inflater = self.inflater.get_or_insert_with(|| Box::new(Inflater::new(agreed)));
        let mut out = spare::take();
        let taken = inflater.step(data, &mut out)?;
        // A piece of octets goes on in its buffer, one of text in one of its own.
        let piece = if matches!((&incoming.intake, incoming.kind), (Intake::Stream, Kind::Binary)) {
            (!out.is_empty()).then_some(Payload::Binary(out))
        } else {
            let piece = match incoming.take(&out, self.config.max_message)? {
                Some(Payload::Borrowed(message)) => {
                    message.text().map(|text| Payload::Text(text.to_owned()))
                }
                Some(Payload::Text(text)) => Some(Payload::Text(text)),
                Some(Payload::Binary(_)) | None => None,
            };
            spare::give_back(out);
            piece
        };
        Ok((taken, piece.map_or(Event::Nothing, Event::PieceReceived)))
    }

    fn is_inflater_full(&self) -> bool {
        self.inflater.as_ref().is_some_and(|inflater| inflater.is_full())
    }

    fn end_message<'a>(&mut self) -> Result<Event<'a>, Error> {
        self.receiving = Receiving::Head;
        let Some(incoming) = self.incoming.take() else { return Ok(Event::Nothing) };
        if incoming.is_compressed
            && let Some(inflater) = &mut self.inflater
        {
            inflater.finish();
        }
        let whole = incoming.finish()?;
        Ok(whole.map_or(Event::MessageEnded, Event::MessageReceived))
    }
}

/// The lesser of what is left and what is there.
fn least(left: u64, there: usize) -> usize {
    usize::try_from(left).map_or(there, |left| left.min(there))
}
