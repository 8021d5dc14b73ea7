//! Running a program for what it says: its whole output at once, and how it ended.

use std::os::fd::RawFd;

use bytes::{Bytes, BytesMut};

use super::{ProcessProtocol, ProcessStatus, ProcessTransport, Program};
use crate::core::Core;
use crate::protocol::Reason;
use crate::{Deferred, Error, Promise, Reactor, Result, Transport};

/// What a program has said, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessOutput {
    /// How it ended; a code that is not 0 is no error here.
    pub status: ProcessStatus,
    /// All of its standard output.
    pub out: Bytes,
    /// All of its standard error.
    pub err: Bytes,
}

impl Reactor {
    /// Runs a program to its end, and gives all that it said. Its standard input is empty; see
    /// [`run_process_with_input`](Self::run_process_with_input).
    ///
    /// It fails with [`Error::Spawn`], with [`Error::TimedOut`] after [`Program::timeout`], with
    /// [`Error::Other`] when one of the two outputs is longer than [`Program::receive_limit`]
    /// (1 MiB), and with [`Error::Stopped`]; the program is terminated then. Dropping the deferred
    /// terminates it as well. A program that leaves others behind which hold its output is only
    /// over when these are, or time is up.
    ///
    /// With [`Program::process_group`], all that it has started ends with it when it is terminated.
    #[doc(alias = "getProcessOutputAndValue")]
    #[doc(alias = "getProcessOutput")]
    #[doc(alias = "getProcessValue")]
    pub fn run_process(&mut self, program: Program) -> Deferred<ProcessOutput> {
        self.run_process_with_input(program, Bytes::new())
    }

    /// As [`run_process`](Self::run_process), with `input` as the program's standard input. One
    /// that does not read it all is no error.
    pub fn run_process_with_input(
        &mut self,
        program: Program,
        input: impl Into<Bytes>,
    ) -> Deferred<ProcessOutput> {
        self.refresh_clock();
        self.core.run_process(program, input.into())
    }
}

impl Transport<'_> {
    /// As [`Reactor::run_process`](crate::Reactor::run_process).
    pub fn run_process(&mut self, program: Program) -> Deferred<ProcessOutput> {
        self.core.run_process(program, Bytes::new())
    }

    /// As [`Reactor::run_process_with_input`](crate::Reactor::run_process_with_input).
    pub fn run_process_with_input(
        &mut self,
        program: Program,
        input: impl Into<Bytes>,
    ) -> Deferred<ProcessOutput> {
        self.core.run_process(program, input.into())
    }
}

impl Core {
    fn run_process(&mut self, mut program: Program, input: Bytes) -> Deferred<ProcessOutput> {
        let (promise, deferred) = self.local.deferred();
        program.output_limit = program.output_limit.max(input.len()); // it is its own limit
        let collector = Collector {
            promise: Some(promise),
            input,
            out: BytesMut::new(),
            err: BytesMut::new(),
            limit: program.receive_limit,
        };
        match self.spawn_process(program, Box::new(collector)) {
            Ok(id) => {
                deferred.on_cancel(true, move |reactor| {
                    if let Some(mut child) = reactor.process(id) {
                        child.terminate();
                    }
                });
                deferred
            }
            Err(error) => {
                // Its own promise waits to be dropped with the collector; nobody hears that.
                let (promise, failed) = self.local.deferred();
                promise.fail(error);
                failed
            }
        }
    }
}

struct Collector {
    /// Until it is known what becomes of it.
    promise: Option<Promise<ProcessOutput>>,
    input: Bytes,
    out: BytesMut,
    err: BytesMut,
    limit: usize,
}

impl ProcessProtocol for Collector {
    fn process_started(&mut self, transport: &mut ProcessTransport<'_>) -> Result {
        transport.write_bytes(std::mem::take(&mut self.input));
        transport.close_stdin();
        Ok(())
    }

    fn child_data_received(
        &mut self,
        _: &mut ProcessTransport<'_>,
        descriptor: RawFd,
        data: &mut BytesMut,
    ) -> Result {
        let kept = match descriptor {
            1 => &mut self.out,
            2 => &mut self.err,
            _ => {
                data.clear();
                return Ok(());
            }
        };
        if kept.len() + data.len() > self.limit {
            return Err(format!("more than {} bytes of output", self.limit).into());
        }
        kept.extend_from_slice(data);
        data.clear();
        Ok(())
    }

    fn process_ended(&mut self, transport: &mut ProcessTransport<'_>, status: ProcessStatus) {
        let Some(promise) = self.promise.take() else { return };
        let (out, err) = (std::mem::take(&mut self.out), std::mem::take(&mut self.err));
        promise.fire(match transport.reason() {
            None => Ok(ProcessOutput { status, out: out.freeze(), err: err.freeze() }),
            Some(Reason::TimedOut(_)) => Err(Error::TimedOut),
            Some(Reason::Stopped) => Err(Error::Stopped),
            Some(Reason::Closed | Reason::Aborted) => Err(Error::Cancelled),
            Some(Reason::Error(error)) => Err(Error::Other(error.to_string().into())),
            Some(other) => Err(Error::Other(other.to_string().into())),
        });
    }
}
