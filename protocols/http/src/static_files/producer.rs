//! Sends a file to one client, as fast as that reads: the next piece is read while the one before it is
//! sent, and none besides.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ropewalk_reactor::{BoxError, Error, Result, Written};

use super::body::{Body, Next, Reading};
use crate::{Exchange, ExchangeHandler};

/// When the pool has no room for a job, it is asked again after this.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Produces the body of a response from a file.
pub(super) struct Producer {
    /// For the log.
    path: PathBuf,
    body: Body,
    /// What was read and not written.
    ready: VecDeque<Bytes>,
    /// Stretches go out by the system's own means.
    sendfile: bool,
    /// A piece is on its way, or will be asked for again.
    is_reading: bool,
    /// Where it is put when it comes; then this producer is called, as soon as there is room.
    arrived: Rc<Cell<Option<Arrived>>>,
}

/// What came of a reading.
enum Arrived {
    Piece(Result<Bytes, Failure>),
    /// The pool had no room for it.
    Refused(Reading),
}

enum Failure {
    File(io::Error),
    Pool(Error),
}

impl Producer {
    /// Sends `first`, then `body`, of the file at `path`.
    pub(super) fn new(path: PathBuf, first: Bytes, body: Body, sendfile: bool) -> Self {
        let (ready, arrived) = ([first].into(), Rc::default());
        Self { path, body, ready, sendfile, is_reading: false, arrived }
    }

    /// Has the system send the next stretch, if it is to, and can.
    fn send(&mut self, exchange: &mut Exchange<'_>) -> Option<Written> {
        let (file, range) = self.sendfile.then(|| self.body.next_of_system()).flatten()?;
        let written = exchange.write_file(file, range.start, range.end - range.start);
        if written.is_none() {
            self.sendfile = false; // something wants to see the bytes
            self.body.put_back(range);
        }
        written
    }

    /// Has the next piece read; what needs no reading is ready at once. False if there is no more.
    fn read_ahead(&mut self, exchange: &mut Exchange<'_>) -> bool {
        if self.sendfile && self.body.is_of_system() {
            return true; // there is nothing to read
        }
        match self.body.next() {
            None => return false,
            Some(Next::Ready(text)) => self.ready.push_back(text),
            Some(Next::Read(reading)) => self.read(reading, exchange),
        }
        true
    }

    fn read(&mut self, reading: Reading, exchange: &mut Exchange<'_>) {
        self.is_reading = true;
        let job = reading.clone();
        let done = exchange.transport().defer_to_thread(move || job.run());
        let arrived = self.arrived.clone();
        exchange.when(done, move |exchange, read| {
            arrived.set(Some(match read {
                Ok(read) => Arrived::Piece(read.map_err(Failure::File)),
                Err(Error::PoolFull) => {
                    arrived.set(Some(Arrived::Refused(reading)));
                    exchange.call_later(ASK_AGAIN, |exchange| exchange.wake_producer());
                    return;
                }
                Err(error) => Arrived::Piece(Err(Failure::Pool(error))),
            }));
            exchange.wake_producer();
        });
    }

    /// What the response ends with. It has begun: all that the client can see is that it is cut.
    fn failed(&self, failure: Failure) -> BoxError {
        let path = self.path.display();
        let what = match failure {
            Failure::File(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                "the file became shorter while it was sent".to_owned()
            }
            Failure::File(error) => error.to_string(),
            Failure::Pool(error) => error.to_string(),
        };
        format!("{path}: {what}; its response was cut").into()
    }
}

impl ExchangeHandler for Producer {
    fn resume_producing(&mut self, exchange: &mut Exchange<'_>) -> Result {
        match self.arrived.take() {
            None => {}
            Some(Arrived::Refused(reading)) => self.read(reading, exchange),
            Some(Arrived::Piece(piece)) => {
                self.is_reading = false;
                self.ready.push_back(piece.map_err(|failure| self.failed(failure))?);
            }
        }
        loop {
            let piece = self.ready.pop_front();
            let mut written = piece.map_or(Written::Taken, |piece| exchange.write_bytes(piece));
            while written == Written::Taken
                && self.ready.is_empty()
                && !self.is_reading
                && let Some(sent) = self.send(exchange)
            {
                written = sent;
            }
            if self.ready.is_empty() && !self.is_reading && !self.read_ahead(exchange) {
                exchange.finish();
                return Ok(());
            }
            if written != Written::Taken || self.ready.is_empty() {
                return Ok(());
            }
        }
    }
}
