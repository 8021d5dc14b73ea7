//! Files that wait to be sent on a connection, between the bytes that were written before and behind
//! them. On a socket of Linux the kernel sends them by itself; everywhere else they are read a piece
//! at a time, in the place of the file.
//!
//! The one rule: a file costs a descriptor and no memory. At most one piece of it is ever in the
//! buffer, and that only while the bytes in front of the file have gone.

use std::fs::File;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use log::warn;

use super::{Output, QUEUED_FROM, Sent, Written};
use crate::core::Core;
use crate::protocol::Reason;
use crate::socket::Stream;
use crate::system;
use crate::transport::Transport;
use crate::{ConnectionId, LOG};

/// What the kernel may send of a file for one connection in one turn: for some tenths of a millisecond
/// the others wait, and the turn around it is a small part of that.
const FILE_SHARE: usize = 1024 * 1024;
/// What is read of a file at once, where the kernel does not send it: what a socket's buffer commonly
/// holds, and one turn's share of encryption.
const PIECE: usize = 64 * 1024;

/// A part of a file.
#[derive(Debug)]
pub(crate) struct QueuedFile {
    file: Arc<File>,
    offset: u64,
    left: u64,
    /// The most that the marks and limits see of it.
    window: usize,
    /// The kernel would not send it: it is read.
    is_read: bool,
}

/// Why output could not be sent.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The peer takes nothing more.
    Socket(io::Error),
    /// A file could not be read, or has ended too early.
    File(io::Error),
}

impl From<io::Error> for SendError {
    fn from(failure: io::Error) -> Self {
        Self::Socket(failure)
    }
}

impl QueuedFile {
    pub(crate) fn new(file: Arc<File>, offset: u64, length: u64, window: usize) -> Self {
        Self { file, offset, left: length, window, is_read: false }
    }

    fn left(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }

    fn counted(&self) -> usize {
        self.left().min(self.window)
    }

    fn advance(&mut self, count: usize) -> io::Result<()> {
        if count == 0 {
            let problem = format!("the file ends {} bytes before what was to be sent", self.left);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem));
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(())
    }

    /// Reads at most `limit` bytes, and at least one.
    fn read(&mut self, buffer: &mut BytesMut, limit: usize) -> io::Result<()> {
        let limit = self.left().min(limit);
        let count = system::read_at(&*self.file, buffer, limit, self.offset)?;
        self.advance(count)
    }

    /// Reads all of what is left, but no more than `limit` bytes.
    fn read_all(&mut self, limit: usize) -> io::Result<Bytes> {
        let mut data = BytesMut::with_capacity(self.left().min(limit));
        while self.left > 0 && data.len() < limit {
            let room = limit - data.len();
            self.read(&mut data, room)?;
        }
        Ok(data.freeze())
    }
}

impl Output {
    /// What the marks and limits see of the files that wait.
    pub(super) fn counted_of_files(&self) -> usize {
        self.files.iter().map(|(_, file)| file.counted()).sum()
    }

    /// All that has to go out, files with all of their bytes.
    pub(crate) fn total(&self) -> usize {
        let files = self.files.iter().map(|(_, file)| file.left());
        files.fold(self.in_memory(), usize::saturating_add)
    }

    /// The most that one [`flush`](Self::flush) sends.
    pub(crate) fn offer(&self, stream: &Stream) -> usize {
        match self.files.front() {
            None => self.in_memory(),
            Some((before, file)) if stream.sends_files() && !file.is_read => {
                before + file.left().min(FILE_SHARE)
            }
            Some((before, file)) => before + file.left().min(PIECE),
        }
    }

    /// Queues a file behind everything.
    pub(crate) fn push_file(&mut self, file: QueuedFile) {
        self.files.push_back((self.in_memory(), file));
    }

    /// A turn's share, at most `most` bytes: what is in memory with one call to the kernel, and when
    /// that is out the file behind it with another.
    pub(crate) fn flush(
        &mut self,
        stream: &mut Stream,
        mut most: usize,
    ) -> Result<Sent, SendError> {
        let Some(&(before, _)) = self.files.front() else { return Ok(self.send(stream, most)?) };
        if before > 0 {
            let follows = most > before;
            let sent = self.send_part(stream, most.min(before), follows)?;
            if sent == Sent::Blocked || self.files.front().is_some_and(|(before, _)| *before > 0) {
                return Ok(sent);
            }
            most -= before;
        }
        match most {
            0 => Ok(Sent::Some),
            most => self.send_file(stream, most),
        }
    }

    /// Sends of the file that is in front of everything.
    fn send_file(&mut self, stream: &mut Stream, most: usize) -> Result<Sent, SendError> {
        let mut share = most.min(FILE_SHARE);
        while let Some((0, queued)) = self.files.front_mut()
            && share > 0
        {
            if queued.is_read || !stream.sends_files() {
                self.load().map_err(SendError::File)?;
                return Ok(self.send(stream, share)?);
            }
            let count = queued.left().min(share);
            match stream.send_file(&queued.file, queued.offset, count) {
                Ok(sent) => {
                    queued.advance(sent).map_err(SendError::File)?;
                    share -= sent;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Sent::Blocked);
                }
                Err(error) if is_of_the_socket(&error) => return Err(SendError::Socket(error)),
                // Not a file that the kernel can send (one of /proc, say), or one that it cannot
                // read: reading tells.
                Err(_) => queued.is_read = true,
            }
            // A short count says nothing of the socket, since anything may interrupt the call: only
            // `WouldBlock` means that an edge will come.
            if self.files.front().is_some_and(|(_, file)| file.left == 0) {
                self.files.pop_front();
                break; // what follows has its turn in the next one
            }
        }
        Ok(if self.is_empty() { Sent::All } else { Sent::Some })
    }

    /// Where a file is in front of everything: reads a piece of it, which is in front then.
    fn load(&mut self) -> io::Result<()> {
        let Some((0, file)) = self.files.front_mut() else { return Ok(()) };
        let mut piece = BytesMut::with_capacity(file.left().min(PIECE));
        file.read(&mut piece, PIECE)?;
        if file.left == 0 {
            self.files.pop_front();
        }
        for (before, _) in &mut self.files {
            *before += piece.len();
        }
        for (before, _) in &mut self.descriptors {
            *before += piece.len();
        }
        self.queued += piece.len();
        self.queue.push_front(piece.freeze());
        Ok(())
    }

    /// The first of the bytes, out of a file where one is in front.
    #[cfg(feature = "_tls")]
    pub(crate) fn first(&mut self) -> io::Result<&[u8]> {
        self.load()?;
        let first = self.queue.front().map_or(&self.tail[..], |first| &first[..]);
        let before = self.files.front().map_or(usize::MAX, |(before, _)| *before);
        Ok(&first[..first.len().min(before)])
    }
}

/// Whether the kernel means the socket when it cannot send a file: the peer is gone.
fn is_of_the_socket(error: &io::Error) -> bool {
    !matches!(Reason::from_io(io::Error::from(error.kind())), Reason::Io(_))
}

impl Transport<'_> {
    /// Queues `length` bytes of `file` from `offset` on, behind what is queued already; what is written
    /// after this comes behind them. The file's own position is neither used nor moved, so one file can
    /// be sent to many at the same time; give an `Arc` of it then. It is let go when it is out, and
    /// at once when the connection is lost.
    ///
    /// On a TCP or Unix socket of Linux the bytes go from the page cache into the socket without being
    /// copied (`sendfile(2)`), 1 MiB a turn at most. With TLS, on pipes, on other systems and in a
    /// simulation, they are read in pieces of 64 KiB, of which no more than one is ever in memory. A
    /// file of less than 16 KiB is read now.
    ///
    /// **Marks and limits** see the bytes that are left of the file as if they were buffered, but no
    /// more of them than one above the [high-water mark](crate::ConnectionOptions::high_water_mark).
    /// So a larger file answers [`Written::AboveHighWater`], and when it is nearly out,
    /// [`resume_producing`](crate::Protocol::resume_producing) asks for the next; but no file by itself
    /// comes near the [`output_limit`](crate::ConnectionOptions::output_limit), as large as it may be.
    ///
    /// **A file that cannot be read**, or has fewer bytes than were promised of it (it was cut meanwhile),
    /// ends the connection at once with [`Reason::File`], since the peer has to see that bytes are
    /// missing. Of a file that is written to meanwhile, the peer may get the new bytes or the old ones: what
    /// is served while it changes is replaced by renaming.
    ///
    /// **The loop waits for the disk** when the bytes are not in the page cache, as every server does that
    /// sends files by itself. The kernel reads ahead, so that is mostly the first part of a file that
    /// nobody has asked for lately. Where it counts, let a job of the pool touch it first:
    ///
    /// ```no_run
    /// # use std::fs::File;
    /// # use std::os::unix::fs::FileExt;
    /// # use ropewalk_reactor::Transport;
    /// # struct Server;
    /// # fn serve(transport: &mut Transport<'_>, file: File, length: u64) {
    /// let warmed = transport.defer_to_thread(move || {
    ///     let _ = file.read_at(&mut [0; 128 * 1024], 0); // and the kernel begins to read ahead
    ///     file
    /// });
    /// transport.when(warmed, move |_: &mut Server, transport, file| {
    ///     if let Ok(file) = file {
    ///         transport.write_file(file, 0, length);
    ///     }
    /// });
    /// # }
    /// ```
    #[doc(alias = "sendfile")]
    #[doc(alias = "FileSender")]
    pub fn write_file(&mut self, file: impl Into<Arc<File>>, offset: u64, length: u64) -> Written {
        self.queue_file(file.into(), offset, length)
    }

    fn queue_file(&mut self, file: Arc<File>, offset: u64, length: u64) -> Written {
        let Some(connection) = self.core.connections.get_mut(self.id) else {
            return Written::Gone;
        };
        if !connection.takes_output() {
            return Written::Gone;
        }
        let window = connection.options.high_water_mark.saturating_add(1);
        let mut file = QueuedFile::new(file, offset, length, window);
        // A descriptor is worth more than that, and it saves a call to send the head in front of it.
        if length < QUEUED_FROM as u64 {
            return match file.read_all(QUEUED_FROM) {
                Ok(data) => self.write_bytes(data),
                Err(failure) => {
                    self.core.file_failed(self.id, failure);
                    Written::Gone
                }
            };
        }
        if connection.policed.is_some() {
            self.core.log_file(self.id, file.left(), |most| {
                let file = Arc::clone(&file.file);
                // (That it cannot be read is told when it is sent.)
                QueuedFile::new(file, offset, length, 0).read_all(most).unwrap_or_default()
            });
        }
        let Some(connection) = self.core.connections.get_mut(self.id) else {
            return Written::Gone;
        };
        let written = connection.write_file(file, &mut self.core.outputs);
        self.core.mark_dirty(self.id);
        written
    }
}

impl Core {
    /// What was to be sent is not there: the peer must not take what it got for the whole.
    pub(crate) fn file_failed(&mut self, id: ConnectionId, failure: impl Into<Rc<io::Error>>) {
        let reason = Reason::File(failure.into());
        if let Some(connection) = self.connections.get(id) {
            warn!(target: LOG, "{}: {reason}", connection.peer);
        }
        self.abort(id, reason);
    }
}
