//! An answer, with its body gathered or as a stream.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ropewalk_reactor::{Deferred, Either, Error, Local, Reactor, either};
use url::Url;

use super::decode::Decoder;
use super::error::{ClientError, TimedOut, shown};
use super::incoming::Answer;
use crate::codec::ResponseHead;
use crate::{Headers, Status, Version};

/// An answer with its whole body.
#[derive(Clone)]
pub struct Response {
    pub(super) head: ResponseHead,
    pub(super) url: Url,
    pub(super) body: Bytes,
    pub(super) trailers: Headers,
}

/// An answer whose body is still to come. Dropping it gives the rest up, with its connection.
pub struct StreamedResponse {
    pub(super) head: ResponseHead,
    pub(super) url: Url,
    pub(super) body: ResponseBody,
}

/// A body that is read as it comes. What is not read waits, up to 64 KiB; then the server is slowed
/// down.
pub struct ResponseBody {
    pub(super) answer: Answer,
    pub(super) decoder: Option<Decoder>,
    pub(super) url: Url,
    pub(super) alarm: Alarm,
    pub(super) local: Local,
    /// It has ended, or failed.
    pub(super) is_over: bool,
}

/// The time that is left for all of a request.
pub(super) struct Alarm(pub(super) Option<(Deferred<()>, Duration)>);

impl Alarm {
    /// Waits for `future`, but no longer than there is time.
    pub(super) async fn within<T>(
        &mut self,
        url: &Url,
        future: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let Some((slept, limit)) = &mut self.0 else { return future.await };
        match either(future, slept).await {
            Either::Left(result) => result,
            Either::Right(_) => Err(ClientError::TimedOut {
                url: shown(url),
                phase: TimedOut::Whole,
                limit: *limit,
            }),
        }
    }
}

macro_rules! head {
    () => {
        /// The status.
        pub fn status(&self) -> Status {
            self.head.status()
        }

        /// The version of HTTP that the server speaks.
        pub fn version(&self) -> Version {
            self.head.version()
        }

        /// The header fields, as they came: a body that was decoded is still said to be encoded.
        pub fn headers(&self) -> &Headers {
            self.head.headers()
        }

        /// The value of the first header field called `name`, in any case, if it is UTF-8.
        pub fn header(&self, name: &str) -> Option<&str> {
            self.head.header(name)
        }

        /// The URL that answered: after redirections, the last one.
        pub fn url(&self) -> &str {
            self.url.as_str()
        }
    };
}

impl Response {
    head!();

    /// The body, decoded.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body as text; what is no UTF-8 in it is replaced by U+FFFD. (Whatever the Content-Type
    /// says: other charsets are none of the client's business.)
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The fields behind a chunked body.
    pub fn trailers(&self) -> &Headers {
        &self.trailers
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}, {} bytes", self.status(), shown(&self.url), self.body.len())
    }
}

impl StreamedResponse {
    head!();

    /// The body.
    pub fn body(&mut self) -> &mut ResponseBody {
        &mut self.body
    }

    /// The body alone.
    pub fn into_body(self) -> ResponseBody {
        self.body
    }

    /// Gathers the body, of at most `limit` bytes, decoded.
    ///
    /// # Errors
    /// As [`ResponseBody::read`], and [`ClientError::BodyTooLarge`].
    pub async fn gather(self, limit: u64) -> Result<Response, Error> {
        let Self { head, url, mut body } = self;
        let announced = head.header("content-length").and_then(|length| length.parse::<u64>().ok());
        if body.decoder.is_none()
            && announced.is_some_and(|length| length > limit)
            && !body.answer.is_over()
        {
            return Err(ClientError::BodyTooLarge { url: shown(&url), limit }.into());
        }
        let (body, trailers) = body.gather(limit).await?;
        Ok(Response { head, url, body, trailers })
    }
}

impl fmt::Debug for StreamedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.status(), shown(&self.url))
    }
}

impl ResponseBody {
    /// The next piece, never empty; `None` at the end, and after that again and again.
    ///
    /// It is safe to give up: a future that is dropped before it is done has taken nothing.
    ///
    /// # Errors
    /// A [`ClientError`]: the connection was lost, it took too long, or the coding is damaged.
    pub async fn read(&mut self) -> Result<Option<Bytes>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let read = self.read_piece().await;
        self.is_over = !matches!(read, Ok(Some(_)));
        Ok(read?)
    }

    /// Calls `heard` with each piece, in order. Unlike [`read`](Self::read), it needs no future.
    ///
    /// # Errors
    /// The deferred fails as [`read`](Self::read) does, else it brings the trailers. Dropping it gives
    /// the rest of the body up.
    pub fn for_each(
        mut self,
        mut heard: impl FnMut(&mut Reactor, Bytes) + 'static,
    ) -> Deferred<Headers> {
        let local = self.local.clone();
        local.clone().spawn_result(async move {
            while let Some(piece) = self.read().await? {
                // On the loop, and the next piece only after that.
                let called = local.call(move |reactor| {
                    heard(reactor, piece);
                    heard
                });
                heard = called.await?;
            }
            Ok(self.trailers())
        })
    }

    /// The fields behind a chunked body, once it has ended.
    pub fn trailers(&self) -> Headers {
        self.answer.trailers()
    }

    pub(super) async fn gather(&mut self, limit: u64) -> Result<(Bytes, Headers), Error> {
        let mut all = BytesMut::new();
        let mut only = Bytes::new();
        let mut length = 0;
        while let Some(piece) = self.read().await? {
            length += piece.len() as u64;
            if length > limit {
                return Err(ClientError::BodyTooLarge { url: shown(&self.url), limit }.into());
            }
            // Most bodies are one piece, which needs no copy.
            match (only.is_empty(), all.is_empty()) {
                (true, true) => only = piece,
                (false, _) => {
                    all.extend_from_slice(&only);
                    all.extend_from_slice(&piece);
                    only = Bytes::new();
                }
                (true, false) => all.extend_from_slice(&piece),
            }
        }
        let body = if all.is_empty() { only } else { all.freeze() };
        Ok((body, self.trailers()))
    }

    async fn read_piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        let Self { answer, decoder, url, alarm, .. } = self;
        let damaged = |url: &Url, problem| ClientError::Decoding { url: shown(url), problem };
        loop {
            if let Some(decoder) = decoder
                && let Some(made) = decoder.next().map_err(|problem| damaged(url, problem))?
            {
                return Ok(Some(made));
            }
            let piece = async {
                answer.piece().await.map_err(|failure| ClientError::from_failure(url, &failure))
            };
            match (alarm.within(url, piece).await?, &mut *decoder) {
                (Some(piece), Some(decoder)) => decoder.feed(piece),
                (None, Some(decoder)) => {
                    decoder.finish().map_err(|problem| damaged(url, problem))?;
                    return Ok(None);
                }
                (piece, None) => return Ok(piece),
            }
        }
    }
}
