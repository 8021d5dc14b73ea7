//! One message on its way in: gathered up to a limit, or handed on in pieces.

use crate::websocket::codec::Utf8;
use crate::websocket::{Error, Kind, Message, spare};

/// What becomes of a message.
#[derive(Debug)]
pub(super) enum Intake {
    Gather(Gathered),
    Stream,
}

/// What has come of it. Text is checked while it comes, and never again.
#[derive(Debug)]
pub(super) enum Gathered {
    Text(String),
    Binary(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) kind: Kind,
    pub(super) is_compressed: bool,
    pub(super) intake: Intake,
    utf8: Utf8,
}

/// A message or a piece of one, where it lies.
#[derive(Debug)]
pub(crate) enum Payload<'a> {
    /// In the input.
    Borrowed(Message<'a>),
    /// In a buffer of its own.
    Text(String),
    Binary(Vec<u8>),
}

impl Payload<'_> {
    pub(crate) fn message(&self) -> Message<'_> {
        match self {
            Self::Borrowed(message) => *message,
            Self::Text(text) => Message::Text(text),
            Self::Binary(data) => Message::Binary(data),
        }
    }

    /// Keeps the buffer for the next.
    pub(crate) fn recycle(self) {
        match self {
            Self::Borrowed(_) => {}
            Self::Text(text) => spare::give_back(text.into_bytes()),
            Self::Binary(data) => spare::give_back(data),
        }
    }
}

impl Incoming {
    pub(super) fn new(kind: Kind, is_compressed: bool) -> Self {
        let gathered = match kind {
            Kind::Text => Gathered::Text(String::new()),
            Kind::Binary => Gathered::Binary(Vec::new()),
        };
        Self { kind, is_compressed, intake: Intake::Gather(gathered), utf8: Utf8::default() }
    }

    /// Bytes that were gathered.
    pub(super) fn gathered(&self) -> usize {
        match &self.intake {
            Intake::Gather(Gathered::Text(text)) => text.len(),
            Intake::Gather(Gathered::Binary(data)) => data.len(),
            Intake::Stream => 0,
        }
    }

    /// Whether a frame may be handed on as it lies: the whole message is in it.
    pub(super) fn is_untouched(&self) -> bool {
        matches!(self.intake, Intake::Gather(_)) && self.gathered() == 0 && self.utf8.is_whole()
    }

    /// Takes a piece: what is to be handed on now, if it is streamed.
    pub(super) fn take<'a>(
        &mut self,
        data: &'a [u8],
        limit: usize,
    ) -> Result<Option<Payload<'a>>, Error> {
        if matches!(self.intake, Intake::Gather(_)) {
            if data.len() > limit.saturating_sub(self.gathered()) {
                return Err(Error::MessageTooLarge);
            }
            if self.gathered() == 0 {
                self.borrow();
            }
        }
        match (&mut self.intake, self.kind) {
            (Intake::Stream, Kind::Binary) => {
                Ok((!data.is_empty()).then_some(Payload::Borrowed(Message::Binary(data))))
            }
            (Intake::Stream, Kind::Text) => {
                let (first, text) = self.utf8.feed(data).map_err(|_| Error::Utf8)?;
                Ok(match first {
                    Some(first) => {
                        let mut owned = String::from(first);
                        owned.push_str(text);
                        Some(Payload::Text(owned))
                    }
                    None if text.is_empty() => None,
                    None => Some(Payload::Borrowed(Message::Text(text))),
                })
            }
            (Intake::Gather(Gathered::Binary(gathered)), _) => {
                gathered.extend_from_slice(data);
                Ok(None)
            }
            (Intake::Gather(Gathered::Text(gathered)), _) => {
                let (first, text) = self.utf8.feed(data).map_err(|_| Error::Utf8)?;
                gathered.extend(first);
                gathered.push_str(text);
                Ok(None)
            }
        }
    }

    /// The message is whole: what was gathered of it, or `None` if it was streamed.
    pub(super) fn finish(self) -> Result<Option<Payload<'static>>, Error> {
        if !self.utf8.is_whole() {
            return Err(Error::Utf8);
        }
        Ok(match self.intake {
            Intake::Stream => None,
            Intake::Gather(Gathered::Text(text)) => Some(Payload::Text(text)),
            Intake::Gather(Gathered::Binary(data)) => Some(Payload::Binary(data)),
        })
    }

    /// Takes a buffer to gather in, if it has none.
    fn borrow(&mut self) {
        match &mut self.intake {
            Intake::Gather(Gathered::Text(text)) if text.capacity() == 0 => {
                // Empty, and so UTF-8: the default is never taken.
                *text = String::from_utf8(spare::take()).unwrap_or_default();
            }
            Intake::Gather(Gathered::Binary(data)) if data.capacity() == 0 => *data = spare::take(),
            _ => {}
        }
    }
}
