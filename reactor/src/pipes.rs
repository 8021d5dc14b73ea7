//! A byte stream made of a descriptor to read from and another to write to: the pipes and the
//! terminal of a child, and this process's own standard input and output.
//!
//! The one rule: the descriptors may be shared with others (a shell, another process), so closing
//! one here takes it out of the poller first, which would keep it otherwise.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};

use bytes::BytesMut;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fs::FileType;
use rustix::termios::Winsize;

use crate::standard_io::Borrowed;
use crate::system::{self, again};

#[derive(Debug, Default)]
pub(crate) struct Pipes {
    input: Option<End>,
    output: Option<End>,
    /// What is put back when all is over; dropped last.
    pub(crate) borrowed: Option<Borrowed>,
}

#[derive(Debug)]
struct End {
    descriptor: OwnedFd,
    kind: Kind,
    /// The poller refuses it (epoll takes no files): it never blocks.
    is_always_ready: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Socket,
    Terminal,
    Other,
}

impl End {
    /// The caller has made it non-blocking.
    fn new(descriptor: OwnedFd) -> Self {
        let found = rustix::fs::fstat(&descriptor);
        let found = found.map_or(FileType::Unknown, |found| FileType::from_raw_mode(found.st_mode));
        let kind = match found {
            FileType::Socket => Kind::Socket,
            FileType::CharacterDevice if rustix::termios::isatty(&descriptor) => Kind::Terminal,
            _ => Kind::Other,
        };
        Self { descriptor, kind, is_always_ready: false }
    }

    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        match registry.register(&mut SourceFd(&self.descriptor.as_raw_fd()), token, interest) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                self.is_always_ready = true;
                Ok(())
            }
            registered => registered,
        }
    }

    fn deregister(&self, registry: &Registry) {
        if !self.is_always_ready {
            // Should this fail, it was never registered.
            let _ = registry.deregister(&mut SourceFd(&self.descriptor.as_raw_fd()));
        }
    }
}

impl Pipes {
    /// What is read from `input` and written to `output`; both are non-blocking.
    pub(crate) fn new(input: Option<OwnedFd>, output: Option<OwnedFd>) -> Self {
        Self { input: input.map(End::new), output: output.map(End::new), borrowed: None }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if let Some(input) = &mut self.input {
            input.register(registry, token, Interest::READABLE)?;
        }
        if let Some(output) = &mut self.output {
            // The edge comes only after a pipe was full, so it costs nothing to ask at once.
            output.register(registry, token, Interest::WRITABLE)?;
        }
        Ok(())
    }

    /// Takes both ends out of the poller, before they are closed.
    pub(crate) fn deregister(&self, registry: &Registry) {
        for end in self.input.iter().chain(&self.output) {
            end.deregister(registry);
        }
    }

    /// Receives at most `limit` bytes behind what `buffer` holds; 0 is the end.
    pub(crate) fn recv(&mut self, buffer: &mut BytesMut, limit: usize) -> io::Result<usize> {
        let Some(End { descriptor, kind, .. }) = &self.input else { return Ok(0) };
        match system::read(descriptor, buffer, limit) {
            // How Linux says that nobody has the other end of a terminal open.
            Err(error) if *kind == Kind::Terminal && error.raw_os_error() == Some(libc::EIO) => {
                Ok(0)
            }
            received => received,
        }
    }

    pub(crate) fn send(&mut self, segments: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(End { descriptor, .. }) = &self.output else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        // SIGPIPE is ignored by Rust's runtime.
        again(|| Ok(rustix::io::writev(descriptor, segments)?))
    }

    /// Whoever reads at the other end sees the end.
    pub(crate) fn shutdown_write(&mut self, registry: &Registry) -> io::Result<()> {
        let Some(output) = self.output.take() else { return Ok(()) };
        output.deregister(registry);
        if output.kind == Kind::Socket {
            // The input may be the same socket, which closing this end of it would not tell.
            rustix::net::shutdown(&output.descriptor, rustix::net::Shutdown::Write)?;
        }
        drop(output);
        if let Some(borrowed) = &mut self.borrowed {
            borrowed.give_back_output();
        }
        Ok(())
    }

    /// Whether input has to be looked for until there is none, or no end of it: a file tells no
    /// edge, and a terminal gives a line at a time.
    pub(crate) fn is_read_to_the_end(&self) -> bool {
        self.input.as_ref().is_some_and(|end| end.is_always_ready || end.kind == Kind::Terminal)
    }

    pub(crate) fn resize_terminal(&self, rows: u16, columns: u16) -> io::Result<()> {
        let terminal = self.output.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(&terminal.descriptor, size)?)
    }

    /// Whether closing it with unread input harms what was written: a socket's close would.
    pub(crate) fn needs_lingering(&self) -> bool {
        self.input.as_ref().is_some_and(|input| input.kind == Kind::Socket)
    }
}
