//! Compresses responses on their way out, for clients that take it (RFC 9110 §8.4).
//!
//! The one rule: what a cache may get hold of stays true. A response that could have been compressed
//! varies by Accept-Encoding, whether it was or not; one that was has a weak entity tag, and no ranges.

use flate2::{Compress, FlushCompress, Status as Progress};
use ropewalk_reactor::Result;

use crate::content_coding::{Accepted, Coding};
use crate::headers::elements;
use crate::{Exchange, LOG, Middleware, Request, Response, ResponseFilter, Rewrite, Status};

/// What is shorter saves no packet, and may even grow.
const MIN_LENGTH: u64 = 1024;
/// Between nginx's 1 and gzip's 6: the loop does the work.
const LEVEL: u32 = 4;
/// What the compressor is given to write into at once.
const ROOM: usize = 16 * 1024;
/// Its largest window, 32 KiB, and the smallest that all decoders are sure to have.
const WINDOWS: std::ops::RangeInclusive<u8> = 9..=15;

/// What this makes, the better one first.
const OFFERED: [Coding; 2] = [Coding::Gzip, Coding::Deflate];

/// Types besides `text/*`, `*+json` and `*+xml` that become shorter. Images, films and archives are
/// compressed as they are.
const SHRINKING: &[&str] = &[
    "application/javascript",
    "application/json",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/xml",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/vnd.microsoft.icon",
    "image/x-icon",
];

/// With one of these the body is what it is: compressed already, a part, or vouched for.
const UNTOUCHABLE: &[&str] = &[
    "content-encoding",
    "content-range",
    "content-digest",
    "repr-digest",
    "digest",
    "content-md5",
];

/// Compresses the responses of a [`Handler`](crate::Handler), with gzip or deflate as the client likes
/// it.
///
/// ```
/// use ropewalk_http::{Compression, HandlerExt, Site, StaticFiles};
///
/// let site = Site::new(StaticFiles::new("/srv/www").precompressed(true).with(Compression::new()));
/// # let _ = site;
/// ```
///
/// A response is compressed if its type is one that becomes shorter, if it is not known to be shorter
/// than 1 KiB, if it is whole (not 206, 204 or 304), has no Content-Encoding, and if nobody said
/// `Cache-Control: no-transform`. Streamed bodies stay streamed; of `text/event-stream` every piece that
/// is written goes out at once, and of all others when there is enough of it.
///
/// It works on the loop, where everybody else waits meanwhile, and needs 130 to 256 KiB (by zlib's own
/// arithmetic) for each response that is under way: files that are asked for often are better compressed
/// beforehand ([`precompressed`](crate::StaticFiles::precompressed)).
///
/// **Secrets.** Whoever can make a browser send requests with text of his own choosing, and sees how long
/// the (encrypted) responses are, can guess what else is in them: text that is there already makes it
/// shorter (BREACH). Do not compress pages that hold both a secret (a CSRF token, say) and something
/// taken from the request: put this before other handlers only, or have the page say `no-transform`.
#[derive(Debug, Clone)]
#[doc(alias = "EncodingResourceWrapper")]
pub struct Compression {
    level: u32,
    min_length: u64,
}

impl Compression {
    /// At level 4, from 1 KiB on.
    pub fn new() -> Self {
        Self { level: LEVEL, min_length: MIN_LENGTH }
    }

    /// How hard it tries: 1 is the fastest, 9 the shortest.
    #[must_use]
    pub fn level(mut self, level: u32) -> Self {
        self.level = level.clamp(1, 9);
        self
    }

    /// Bodies that are known to be shorter (1 KiB) are left alone.
    #[must_use]
    pub fn min_length(mut self, bytes: u64) -> Self {
        self.min_length = bytes;
        self
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::new()
    }
}

impl Middleware for Compression {
    fn request_started(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
    ) -> Result<Option<Response>> {
        // Also for a client that takes none: the response has to say that it varies.
        exchange.filter(Compressor {
            settings: self.clone(),
            accepted: Accepted::of(request.headers()),
            state: None,
            flushes: false,
        });
        Ok(None)
    }
}

/// Compresses one response.
struct Compressor {
    settings: Compression,
    accepted: Accepted,
    /// There once it is clear that the response is compressed.
    state: Option<Compress>,
    /// Every piece goes out at once.
    flushes: bool,
}

impl ResponseFilter for Compressor {
    fn response_started(
        &mut self,
        request: &Request,
        response: &mut Response,
        length: Option<u64>,
    ) -> Rewrite {
        if response.code() == Status::NOT_MODIFIED {
            keep_true(request, response);
            return Rewrite::Nothing;
        }
        // Whoever refuses the plain text gets none if that can be helped.
        let must = self.accepted.weight(Coding::Identity) == 0;
        let is_part = response.code() == Status::PARTIAL_CONTENT;
        let is_short = length.is_some_and(|length| length < self.settings.min_length) && !is_part;
        let kind = response.header_value("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if response.code().is_bodiless()
            || response.headers().has_token("cache-control", "no-transform")
            || !(must || shrinks(&kind) && !is_short)
        {
            return Rewrite::Nothing;
        }
        vary(response);
        if is_part {
            return Rewrite::Nothing; // its ranges are those of the plain text
        }
        if UNTOUCHABLE.iter().any(|name| response.headers().get(name).is_some()) {
            return Rewrite::Nothing;
        }
        let Some(&coding) = self.accepted.choose(&OFFERED).first() else {
            return Rewrite::Nothing;
        };
        response.set_header("Content-Encoding", coding.name());
        response.remove_header("Accept-Ranges");
        weaken(response);
        let level = flate2::Compression::new(self.settings.level);
        let window = window_for(length);
        self.state = Some(match coding {
            Coding::Gzip => Compress::new_gzip(level, window),
            _ => Compress::new_with_window_bits(level, true, window),
        });
        self.flushes = kind == "text/event-stream";
        Rewrite::Body
    }

    fn body_written(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let flush = if self.flushes { FlushCompress::Sync } else { FlushCompress::None };
        self.compress(data, flush, out);
    }

    fn body_finished(&mut self, out: &mut Vec<u8>) {
        self.compress(&[], FlushCompress::Finish, out);
        self.state = None;
    }
}

impl Compressor {
    fn compress(&mut self, mut data: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
        let Some(state) = &mut self.state else { return };
        if data.is_empty() && flush == FlushCompress::None {
            return;
        }
        loop {
            out.reserve(ROOM);
            let before = state.total_in();
            let progress = state.compress_vec(data, out, flush);
            data = &data[(state.total_in() - before) as usize..];
            match progress {
                Ok(Progress::StreamEnd) => return,
                // It has room left: so there is nothing more that it wants to write.
                Ok(_)
                    if data.is_empty()
                        && out.len() < out.capacity()
                        && flush != FlushCompress::Finish =>
                {
                    return;
                }
                Ok(_) => {}
                Err(error) => {
                    // Only a stream that has ended refuses data. The client sees that it is cut.
                    log::error!(target: LOG, "a response could not be compressed: {error}");
                    self.state = None;
                    return;
                }
            }
        }
    }
}

/// Whether what is of this type becomes shorter.
fn shrinks(kind: &str) -> bool {
    kind.starts_with("text/")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || SHRINKING.contains(&kind)
}

/// A window no larger than the body: it is memory that has to be cleared.
fn window_for(length: Option<u64>) -> u8 {
    let Some(length) = length else { return *WINDOWS.end() };
    WINDOWS.into_iter().find(|bits| 1 << bits >= length).unwrap_or(*WINDOWS.end())
}

/// Caches must tell requests apart by what they accept.
fn vary(response: &mut Response) {
    let headers = response.headers();
    if !headers.has_token("vary", "accept-encoding") && !headers.has_token("vary", "*") {
        response.add_header("Vary", "Accept-Encoding");
    }
}

/// What is compressed anew each time is the same in what it says, not in its bytes (RFC 9110 §8.8.1).
fn weaken(response: &mut Response) {
    let strong = response.header_value("etag").filter(|tag| tag.starts_with('"'));
    if let Some(weak) = strong.map(|tag| format!("W/{tag}")) {
        response.set_header("ETag", weak);
    }
}

/// A 304 has the validators of what the client has (RFC 9110 §15.4.5), which may have been compressed
/// here: its type, and so whether it was, is unknown by now.
fn keep_true(request: &Request, response: &mut Response) {
    vary(response);
    let Some(tag) = response.header_value("etag") else { return };
    let weak = format!("W/{tag}");
    let mut known = request.headers().get_all("if-none-match").flat_map(elements);
    if known.any(|there| there == weak.as_bytes()) {
        weaken(response);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_shrinks_and_what_is_compressed_does_not() {
        for kind in ["text/html", "text/event-stream", "image/svg+xml", "application/ld+json"] {
            assert!(shrinks(kind), "{kind}");
        }
        for kind in ["", "image/png", "video/mp4", "application/zip", "application/octet-stream"] {
            assert!(!shrinks(kind), "{kind}");
        }
    }

    #[test]
    fn a_window_holds_the_body_if_it_can() {
        for (length, bits) in
            [(Some(0), 9), (Some(512), 9), (Some(513), 10), (Some(1 << 20), 15), (None, 15)]
        {
            assert_eq!(window_for(length), bits, "{length:?}");
        }
    }
}
