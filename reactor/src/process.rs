//! Child processes: the contract between the reactor and a protocol that speaks with a program
//! through its standard input and output, or other descriptors.
//!
//! The one rule is that of all callbacks: none runs inside another.

use std::any::{Any, TypeId};
use std::os::fd::RawFd;

use bytes::BytesMut;

use crate::Result;

mod child;
mod ending;
mod launch;
mod lives;
mod output;
mod program;
mod requests;
mod status;
mod traffic;
mod transport;

pub use child::ChildId;
pub use output::ProcessOutput;
pub use program::{Program, Wiring};
pub use status::ProcessStatus;
pub use transport::ProcessTransport;

pub(crate) use child::{Children, PipeWay};
pub(crate) use launch::OurEnd;
pub(crate) use transport::ProcessCall;

/// What speaks with one child.
///
/// Its story is [`process_started`](Self::process_started) first, then any number of the others,
/// [`process_exited`](Self::process_exited) once, and [`process_ended`](Self::process_ended) once
/// and last. Output that the child left in its pipes comes after `process_exited`, before
/// `process_ended`.
///
/// Descriptors have the child's numbers: 0 is its standard input, which is written to here, 1 its
/// standard output and 2 its standard error, which are read.
///
/// An `Err` from a callback terminates the child (see [`Program::stop_signal`]), and what it still
/// says is thrown away. A panic kills it. Either is logged once with the program's name and process
/// number, `process_exited` and `process_ended` still come, and everything else goes on.
pub trait ProcessProtocol: Any {
    /// The program runs. What is written here is sent.
    #[doc(alias = "connectionMade")]
    #[doc(alias = "makeConnection")]
    fn process_started(&mut self, transport: &mut ProcessTransport<'_>) -> Result {
        let _ = transport;
        Ok(())
    }

    /// The child wrote to `descriptor`. `data` holds all that it wrote there and that is not yet
    /// consumed: what is left in it is there again, with more behind it, at the next call. What is
    /// left counts against [`receive_limit`](Program::receive_limit).
    ///
    /// Unless this is overridden, 1 goes to [`out_received`](Self::out_received), 2 to
    /// [`err_received`](Self::err_received), and everything else is thrown away.
    #[doc(alias = "childDataReceived")]
    fn child_data_received(
        &mut self,
        transport: &mut ProcessTransport<'_>,
        descriptor: RawFd,
        data: &mut BytesMut,
    ) -> Result {
        match descriptor {
            1 => self.out_received(transport, data),
            2 => self.err_received(transport, data),
            _ => {
                data.clear();
                Ok(())
            }
        }
    }

    /// The child wrote to its standard output, or to its terminal. Unless this is overridden, it is
    /// thrown away.
    #[doc(alias = "outReceived")]
    fn out_received(
        &mut self,
        transport: &mut ProcessTransport<'_>,
        data: &mut BytesMut,
    ) -> Result {
        let _ = transport;
        data.clear();
        Ok(())
    }

    /// The child wrote to its standard error. Unless this is overridden, it is thrown away.
    #[doc(alias = "errReceived")]
    fn err_received(
        &mut self,
        transport: &mut ProcessTransport<'_>,
        data: &mut BytesMut,
    ) -> Result {
        let _ = transport;
        data.clear();
        Ok(())
    }

    /// A pipe has closed: the child (and all that it handed the descriptor on to) has closed its
    /// end, or it was closed here. Unless this is overridden, 0, 1 and 2 go to
    /// [`in_connection_lost`](Self::in_connection_lost),
    /// [`out_connection_lost`](Self::out_connection_lost) and
    /// [`err_connection_lost`](Self::err_connection_lost).
    #[doc(alias = "childConnectionLost")]
    fn child_connection_lost(
        &mut self,
        transport: &mut ProcessTransport<'_>,
        descriptor: RawFd,
    ) -> Result {
        match descriptor {
            0 => self.in_connection_lost(transport),
            1 => self.out_connection_lost(transport),
            2 => self.err_connection_lost(transport),
            _ => Ok(()),
        }
    }

    /// The child's standard input has closed: what is written to it goes nowhere.
    #[doc(alias = "inConnectionLost")]
    fn in_connection_lost(&mut self, transport: &mut ProcessTransport<'_>) -> Result {
        let _ = transport;
        Ok(())
    }

    /// The child's standard output has closed: all of it was received.
    #[doc(alias = "outConnectionLost")]
    fn out_connection_lost(&mut self, transport: &mut ProcessTransport<'_>) -> Result {
        let _ = transport;
        Ok(())
    }

    /// The child's standard error has closed: all of it was received.
    #[doc(alias = "errConnectionLost")]
    fn err_connection_lost(&mut self, transport: &mut ProcessTransport<'_>) -> Result {
        let _ = transport;
        Ok(())
    }

    /// What waits to be taken by the child from `descriptor` has passed the high-water mark: stop
    /// producing until [`resume_producing`](Self::resume_producing).
    #[doc(alias = "pauseProducing")]
    fn pause_producing(&mut self, transport: &mut ProcessTransport<'_>, descriptor: RawFd) {
        let _ = (transport, descriptor);
    }

    /// It has fallen to the low-water mark, after a [`pause_producing`](Self::pause_producing) or a
    /// write that answered [`AboveHighWater`](crate::Written::AboveHighWater): produce again.
    #[doc(alias = "resumeProducing")]
    fn resume_producing(&mut self, transport: &mut ProcessTransport<'_>, descriptor: RawFd) {
        let _ = (transport, descriptor);
    }

    /// The child has ended and was reaped. Some of its output may still be on its way, and a
    /// process that it started may hold its pipes for as long as it likes:
    /// [`terminate`](ProcessTransport::terminate) receives what is in them, and waits no longer.
    #[doc(alias = "processExited")]
    fn process_exited(&mut self, transport: &mut ProcessTransport<'_>, status: ProcessStatus) {
        let _ = (transport, status);
    }

    /// The child has ended, and its pipes have closed: the last callback.
    #[doc(alias = "processEnded")]
    fn process_ended(&mut self, transport: &mut ProcessTransport<'_>, status: ProcessStatus) {
        let _ = (transport, status);
    }

    /// What of type `of` is inside this one, for a protocol that wraps another, as
    /// [`Protocol::layer`](crate::Protocol::layer).
    fn layer(&mut self, of: TypeId) -> Option<&mut dyn Any> {
        let _ = of;
        None
    }
}

/// The layer of type `of` in `protocol`: itself, or one that it wraps.
pub(crate) fn layer_of_process(
    protocol: &mut dyn ProcessProtocol,
    of: TypeId,
) -> Option<&mut dyn Any> {
    if Any::type_id(protocol) == of { Some(protocol) } else { protocol.layer(of) }
}
