//! A request's body on its way out, a piece at a time when there is room for one.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use ropewalk_reactor::{Result, Written};

use crate::client::{Exchange, HttpClient};

/// What is read of a file at once: as much as the reactor's high-water mark.
const FILE_PIECE: usize = 64 * 1024;

/// A body that is produced while it is sent.
pub(super) enum Upload {
    /// From an iterator; with what is left of an announced length.
    Pulled { left: Option<u64>, pieces: Box<dyn Iterator<Item = Bytes>> },
    /// From a file.
    File(Rc<RefCell<Reading>>),
}

/// A file that is being sent.
pub(super) struct Reading {
    /// `None` while a thread has it.
    file: Option<File>,
    left: u64,
}

/// Opens a file; its length is what it has now. For a thread of the pool.
pub(super) fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file, so its length is unknown"));
    }
    Ok((file, metadata.len()))
}

impl Upload {
    pub(super) fn file(file: File, length: u64) -> Self {
        Self::File(Rc::new(RefCell::new(Reading { file: Some(file), left: length })))
    }

    /// Produces until there is no more room.
    pub(super) fn produce(&mut self, exchange: &mut Exchange<'_>) -> Result {
        match self {
            Self::Pulled { left, pieces } => {
                loop {
                    let Some(piece) = pieces.next() else { break };
                    if let Some(left) = left {
                        *left = left.saturating_sub(piece.len() as u64);
                    }
                    let written = exchange.write_bytes(piece);
                    if *left == Some(0) {
                        break; // what is beyond is not asked for
                    }
                    if written != Written::Taken {
                        return Ok(());
                    }
                }
                match left {
                    Some(left @ 1..) => Err(short(*left)),
                    _ => {
                        exchange.finish();
                        Ok(())
                    }
                }
            }
            Self::File(reading) => {
                read_on(reading, exchange);
                Ok(())
            }
        }
    }
}

fn short(left: u64) -> ropewalk_reactor::BoxError {
    format!("it ended {left} bytes before its announced length").into()
}

/// Lets a thread read the next piece, unless one is at it, and sends that.
fn read_on(reading: &Rc<RefCell<Reading>>, exchange: &mut Exchange<'_>) {
    let Some(mut file) = reading.borrow_mut().file.take() else { return };
    let left = reading.borrow().left;
    if left == 0 {
        return exchange.finish();
    }
    let job = move || {
        let mut piece = vec![0; FILE_PIECE.min(usize::try_from(left).unwrap_or(FILE_PIECE))];
        let read = read_some(&mut file, &mut piece);
        (
            file,
            read.map(|length| {
                piece.truncate(length);
                Bytes::from(piece)
            }),
        )
    };
    let (id, reading) = (exchange.id(), reading.clone());
    let transport = exchange.transport();
    let job = transport.defer_to_thread(job);
    transport.when(job, move |client: &mut HttpClient, transport, result| {
        client.with_exchange(transport, id, |exchange| match result {
            Ok((_, Ok(piece))) if piece.is_empty() => exchange.abort_with(short(left)),
            Ok((file, Ok(piece))) => {
                {
                    let mut reading = reading.borrow_mut();
                    reading.file = Some(file);
                    reading.left -= piece.len() as u64;
                }
                let last = reading.borrow().left == 0;
                if exchange.write_bytes(piece) == Written::Taken || last {
                    read_on(&reading, exchange);
                }
            }
            Ok((_, Err(error))) => exchange.abort_with(error),
            Err(error) => exchange.abort_with(error),
        });
    });
}

/// Reads until something came, or the end.
fn read_some(file: &mut File, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
