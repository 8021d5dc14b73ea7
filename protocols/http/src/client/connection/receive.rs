//! Reading responses: informational heads, one head, then its body, as far as the input goes.

use super::{ClientConnection, Event, Receiving, Sending};
use crate::codec::{
    Piece, ResponseFraming, ResponseHead, ResponseLength, has_blank_line, parse_response,
};
use crate::{Error, Status};

impl ClientConnection {
    /// Consumes a piece of `input`: how many bytes, and what came of them. Call it again with the
    /// rest until it answers `NeedMore`, `Blocked` or `Over`. After an error, and after an `Over` that
    /// leaves input, the connection is of no more use.
    pub(crate) fn receive<'a>(
        &mut self,
        input: &'a [u8],
        head: &mut ResponseHead,
    ) -> Result<(usize, Event<'a>), Error> {
        let (used, event) = match self.receiving {
            Receiving::Idle | Receiving::Over => return Ok((0, Event::Over)),
            Receiving::Head { scanned } => self.receive_head(input, scanned, head)?,
            _ => self.receive_body(input)?,
        };
        self.received += used as u64;
        Ok((used, event))
    }

    fn receive_head<'a>(
        &mut self,
        input: &'a [u8],
        scanned: usize,
        head: &mut ResponseHead,
    ) -> Result<(usize, Event<'a>), Error> {
        self.answer_begun |= !input.is_empty();
        let new = scanned.saturating_sub(3).min(input.len());
        let config = &self.config.codec;
        // Looked at when it begins, and when it may be whole or is too long: else a head that drips in
        // would be parsed at each of its bytes.
        let dripping = scanned > 0 && !has_blank_line(&input[new..]);
        let parsed = if dripping && input.len() <= config.max_head {
            None
        } else {
            parse_response(input, self.method, config, head)?
        };
        match parsed {
            Some((length, framing)) => Ok((length, self.begin(framing, head)?)),
            None if self.input_ended => Err(Error::Truncated),
            None => {
                self.receiving = Receiving::Head { scanned: input.len() };
                Ok((0, Event::NeedMore))
            }
        }
    }

    /// A head is in.
    fn begin(
        &mut self,
        framing: ResponseFraming,
        head: &ResponseHead,
    ) -> Result<Event<'static>, Error> {
        let status = head.status();
        if framing.length == ResponseLength::Tunnel {
            if status == Status::SWITCHING_PROTOCOLS && !self.upgrades {
                return Err(Error::UnaskedUpgrade);
            }
            self.keep_alive = false;
            self.awaits_continue = false;
            self.sending = Sending::Raw;
            self.receiving = Receiving::UntilClose;
            return Ok(Event::HeadReceived);
        }
        if status.is_informational() {
            self.informational += 1;
            if self.informational > self.config.max_informational {
                return Err(Error::TooManyInformational);
            }
            if status == Status::CONTINUE {
                self.awaits_continue = false;
            }
            self.receiving = Receiving::Head { scanned: 0 };
            return Ok(Event::InformationalReceived);
        }
        self.keep_alive &= framing.keep_alive;
        if self.awaits_continue {
            // The answer came instead of a 100: the body is not wanted (RFC 9110 §10.1.1).
            self.awaits_continue = false;
            self.sending = Sending::Cut;
        }
        self.receiving = match framing.length {
            ResponseLength::Exact(left) => Receiving::Exact { left },
            ResponseLength::Chunked => Receiving::Chunked(Box::default()),
            ResponseLength::UntilClose | ResponseLength::Tunnel => Receiving::UntilClose,
        };
        Ok(Event::HeadReceived)
    }

    fn receive_body<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), Error> {
        if self.body_paused {
            return Ok((0, Event::Blocked));
        }
        let ended = self.input_ended;
        let (used, piece) = match &mut self.receiving {
            Receiving::Exact { left: 0 } => (0, Piece::Ended),
            Receiving::Exact { left } => {
                let used = usize::try_from(*left).map_or(input.len(), |l| l.min(input.len()));
                *left -= used as u64;
                match &input[..used] {
                    [] => (0, Piece::NeedMore),
                    data => (used, Piece::Data(data)),
                }
            }
            Receiving::Chunked(decoder) => {
                decoder.decode(input, &self.config.codec, &mut self.trailers)?
            }
            Receiving::UntilClose if !input.is_empty() => (input.len(), Piece::Data(input)),
            Receiving::UntilClose if ended => (0, Piece::Ended),
            _ => (0, Piece::NeedMore),
        };
        match piece {
            Piece::Data(data) => Ok((used, Event::BodyReceived(data))),
            Piece::NeedMore if ended => Err(Error::Truncated),
            Piece::NeedMore => Ok((used, Event::NeedMore)),
            Piece::Ended => {
                self.settle();
                Ok((used, Event::BodyEnded))
            }
        }
    }
}
