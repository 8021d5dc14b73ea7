//! What the access log is told of each exchange, once, when it is over.

use std::time::SystemTime;

use ropewalk_reactor::Transport;

use super::HttpServer;
use crate::AccessLog;
use crate::access_log::Entry;

/// What is known of the current exchange.
pub(super) struct Record {
    log: AccessLog,
    /// When its head was in; `None` once it was written down.
    began: Option<SystemTime>,
    /// The first line of what could not be read.
    unreadable: Option<Vec<u8>>,
}

/// Of what could not be read, so much at most is kept.
const LONGEST_LINE: usize = 1024;

impl Record {
    pub(super) fn new(log: AccessLog) -> Self {
        Self { log, began: None, unreadable: None }
    }

    /// A head is in.
    pub(super) fn begin(&mut self, transport: &mut Transport<'_>) {
        self.began = Some(transport.wall_clock());
    }
}

impl HttpServer {
    /// The head of a request, or its body, was refused.
    pub(super) fn note_unreadable(&mut self, input: &[u8]) {
        let Some(record) = &mut self.record else { return };
        // What is left of the body of a request that was answered is none of its own.
        if record.began.is_none() && self.connection.is_between_requests() {
            let input = &input[..input.len().min(LONGEST_LINE)];
            let end = memchr::memchr(b'\n', input).unwrap_or(input.len());
            let line = &input[..end];
            record.unreadable = Some(line.strip_suffix(b"\r").unwrap_or(line).to_vec());
        }
    }

    /// Writes the current exchange down if it is over and was not written down yet.
    pub(super) fn write_down_finished(&mut self, transport: &mut Transport<'_>) {
        if self.record.is_some() && !self.connection.is_answering() {
            self.write_down(transport);
        }
    }

    /// The connection is lost, perhaps in the middle of an exchange.
    pub(super) fn write_down_lost(&mut self, transport: &mut Transport<'_>) {
        if self.record.is_some() {
            self.write_down(transport);
        }
    }

    fn write_down(&mut self, transport: &mut Transport<'_>) {
        let Some(record) = &mut self.record else { return };
        let unreadable = record.unreadable.take();
        let (at, request) = match (record.began.take(), &self.request, &unreadable) {
            (Some(at), Some(request), _) => (at, Ok(&**request)),
            (_, _, Some(line)) => (transport.wall_clock(), Err(&line[..])),
            _ => return,
        };
        let (status, body) = self.connection.answered();
        let entry = Entry {
            peer: transport.peer(),
            user: self.flow.user.as_deref(),
            at,
            request,
            status,
            body,
        };
        record.log.write(&entry, transport);
    }
}
