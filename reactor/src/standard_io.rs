//! This process's standard input and output as a connection, for any [`Protocol`].
//!
//! The one rule: they are borrowed. Others have them as well (the shell, what runs before and behind
//! in the pipeline), so nothing that is set on them here outlives the connection.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FileType, Mode, OFlags};

use crate::address::Address;
use crate::core::{Birth, Core};
use crate::options::ConnectionOptions;
use crate::pipes::Pipes;
use crate::protocol::Protocol;
use crate::socket::Stream;
use crate::{ConnectionId, Deferred, Error, Reactor, Transport};

/// A process has one standard input and output.
static TAKEN: AtomicBool = AtomicBool::new(false);

impl Reactor {
    /// Makes a connection of this process's standard input and output, and gives it `protocol`:
    /// what comes in is received, what is written goes out, and the end of the input is
    /// [`read_closed`](Protocol::read_closed). They may be pipes, a terminal, sockets, or files; reading a
    /// file is bounded in a turn like all reading, but waits for the disk. Closing is as for any connection,
    /// but nothing is thrown away: what was not read stays for whoever reads after this process.
    ///
    /// As long as the connection lives it has them to itself: descriptors 0 and 1 lead to
    /// `/dev/null` meanwhile, so that nothing that is printed elsewhere gets in between (standard
    /// error stays what it is). Afterwards a terminal and a file are put back, in the blocking mode
    /// in which they were; a pipe and a socket have been closed, so that their readers see
    /// the end.
    ///
    /// The address of both ends is [`Address::Stdio`]. The deferred fires after `connection_made`. It fails
    /// with [`Error::Connect`] while another such connection lives in this process, and in a
    /// simulation.
    #[doc(alias = "StandardIO")]
    pub fn standard_io(&mut self, protocol: impl Protocol) -> Deferred<ConnectionId> {
        self.standard_io_with(ConnectionOptions::default(), protocol)
    }

    /// As [`standard_io`](Self::standard_io), with marks, limits and timeouts.
    pub fn standard_io_with(
        &mut self,
        options: ConnectionOptions,
        protocol: impl Protocol,
    ) -> Deferred<ConnectionId> {
        self.core_mut().standard_io(options, Box::new(protocol))
    }
}

impl Transport<'_> {
    /// As [`Reactor::standard_io`](crate::Reactor::standard_io).
    pub fn standard_io(&mut self, protocol: impl Protocol) -> Deferred<ConnectionId> {
        self.core.standard_io(ConnectionOptions::default(), Box::new(protocol))
    }
}

impl Core {
    fn standard_io(
        &mut self,
        options: ConnectionOptions,
        protocol: Box<dyn Protocol>,
    ) -> Deferred<ConnectionId> {
        let (promise, deferred) = self.local.deferred();
        let taken = match self.network.simulated() {
            _ if self.shutdown.is_stopping() => Err(Error::Stopped),
            None => take().map_err(failed),
            Some(_) => {
                let problem = "a simulation has no standard input and output";
                Err(failed(io::Error::new(io::ErrorKind::Unsupported, problem)))
            }
        };
        match taken {
            Ok(pipes) => {
                let stream = Stream::Pipes(Box::new(pipes));
                let options = Rc::new(options);
                self.births.push_back(Birth::Standard { stream, protocol, options, promise });
            }
            Err(error) => {
                self.garbage.push(Box::new(protocol));
                promise.fail(error);
            }
        }
        deferred
    }
}

fn failed(source: io::Error) -> Error {
    Error::Connect { endpoint: Address::Stdio.into(), source }
}

/// What is put back at the end.
#[derive(Debug)]
pub(crate) struct Borrowed {
    input: Option<Lent>,
    output: Option<Lent>,
}

impl Borrowed {
    /// The output is closed, and the input lives on.
    pub(crate) fn give_back_output(&mut self) {
        self.output = None;
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.output = None;
        self.input = None;
        TAKEN.store(false, Ordering::Release);
    }
}

/// One of the two, as it was.
#[derive(Debug)]
struct Lent {
    /// `None` for one that was opened again: whoever waits for the end of a pipe waits for all
    /// descriptors of it.
    original: Option<OwnedFd>,
    is_output: bool,
    /// It was made non-blocking, for all who have it.
    was_blocking: bool,
    /// Nobody waits for its end: it is what it was, for this process, too.
    returns: bool,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(original) = &self.original else { return };
        // Neither can fail, but for descriptors that somebody else has closed.
        if self.was_blocking {
            let _ = rustix::io::ioctl_fionbio(original, false);
        }
        if self.returns {
            let _ = place(original, self.is_output);
        }
    }
}

/// Takes both over.
fn take() -> io::Result<Pipes> {
    if TAKEN.swap(true, Ordering::AcqRel) {
        let problem = "another connection of this process has them";
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, problem));
    }
    let both = || {
        let nowhere = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let (input, input_lent) = lend(rustix::stdio::stdin(), false)?;
        let (output, output_lent) = lend(rustix::stdio::stdout(), true)?;
        let mut pipes = Pipes::new(Some(input), Some(output));
        pipes.borrowed = Some(Borrowed { input: Some(input_lent), output: Some(output_lent) });
        place(&nowhere, false)?;
        place(&nowhere, true)?;
        Ok(pipes)
    };
    both().inspect_err(|_| TAKEN.store(false, Ordering::Release))
}

/// A descriptor to use, non-blocking where that means something, and what is to be put back.
fn lend(standard: BorrowedFd<'_>, is_output: bool) -> io::Result<(OwnedFd, Lent)> {
    let original = standard.try_clone_to_owned()?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&original)?.st_mode);
    let is_terminal = rustix::termios::isatty(&original);
    let mut lent = Lent { original: None, is_output, was_blocking: false, returns: false };
    if is_terminal || kind == FileType::Fifo {
        lent.returns = is_terminal;
        // Opened again, it is non-blocking for us alone, and nothing is left behind, not even by a
        // crash. That is not always permitted (a terminal after `su`).
        if let Some(own) = open_again(&original, is_output) {
            lent.original = is_terminal.then_some(original);
            return Ok((own, lent));
        }
    } else if kind != FileType::Socket {
        lent.returns = true; // a file, /dev/null: it never blocks
        let own = original.try_clone()?;
        lent.original = Some(original);
        return Ok((own, lent));
    }
    lent.was_blocking = !rustix::fs::fcntl_getfl(&original)?.contains(OFlags::NONBLOCK);
    rustix::io::ioctl_fionbio(&original, true)?;
    let own = original.try_clone()?;
    lent.original = Some(original);
    Ok((own, lent))
}

#[cfg(target_os = "linux")]
fn open_again(descriptor: &OwnedFd, is_output: bool) -> Option<OwnedFd> {
    let way = if is_output { OFlags::WRONLY } else { OFlags::RDONLY };
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let flags = way | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

/// Elsewhere `/dev/fd` gives the same open file, not another one.
#[cfg(not(target_os = "linux"))]
fn open_again(_: &OwnedFd, _: bool) -> Option<OwnedFd> {
    None
}

/// Makes descriptor 0 or 1 lead to where `descriptor` leads.
fn place(descriptor: impl AsFd, is_output: bool) -> io::Result<()> {
    match is_output {
        false => rustix::stdio::dup2_stdin(descriptor)?,
        true => rustix::stdio::dup2_stdout(descriptor)?,
    }
    Ok(())
}
