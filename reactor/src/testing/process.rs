//! One process protocol in a harness: the test plays the child.

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::simulation::{ChildEvent, SimulatedChild};
use crate::{
    ChildId, ProcessProtocol, ProcessStatus, ProcessTransport, Program, Reactor, Reason, Result,
    Signal, Simulation,
};

/// One process protocol and a child that does what the test says: let it speak, read what it was
/// written, see which signals it got, let it exit.
///
/// ```
/// # use bytes::BytesMut;
/// # use ropewalk_reactor::{ProcessProtocol, ProcessTransport, Result};
/// use ropewalk_reactor::testing::ProcessHarness;
///
/// /// Asks a `bc` for one sum.
/// #[derive(Default)]
/// struct Sum(String);
///
/// impl ProcessProtocol for Sum {
///     fn process_started(&mut self, transport: &mut ProcessTransport<'_>) -> Result {
///         transport.write(b"1+2\n");
///         Ok(())
///     }
///
///     fn out_received(&mut self, transport: &mut ProcessTransport<'_>, data: &mut BytesMut) -> Result {
///         if data.ends_with(b"\n") {
///             self.0 = String::from_utf8(data.split().to_vec())?;
///             transport.close_stdin();
///         }
///         Ok(())
///     }
/// }
///
/// let mut harness = ProcessHarness::new(Sum::default());
/// assert_eq!(harness.written(), "1+2\n");
/// harness.say(1, b"3\n");
/// assert!(harness.is_closed(0));
/// harness.exit(0);
/// assert_eq!(harness.into_protocol().0, "3\n");
/// ```
pub struct ProcessHarness<P: ProcessProtocol> {
    simulation: Simulation,
    id: ChildId,
    child: SimulatedChild,
    heard: Rc<RefCell<Heard>>,
    fate: Rc<RefCell<Fate<P>>>,
}

/// What the child has been told.
#[derive(Default)]
struct Heard {
    input: Vec<(RawFd, Bytes)>,
    closed: Vec<RawFd>,
    signals: Vec<Signal>,
    survives: bool,
}

/// What is left of a protocol when its story has ended.
struct Fate<P> {
    ended: Option<ProcessStatus>,
    reason: Option<Reason>,
    protocol: Option<P>,
}

const PROGRAM: &str = "program";

impl<P: ProcessProtocol> ProcessHarness<P> {
    /// Gives `protocol` a child with the usual three pipes: `process_started` has been called when
    /// this returns.
    pub fn new(protocol: P) -> Self {
        Self::with_program(Program::new(PROGRAM), protocol)
    }

    /// As [`new`](Self::new), with other wirings, limits, or a terminal. What it names does not
    /// matter.
    ///
    /// # Panics
    /// If its wirings make no sense.
    pub fn with_program(mut program: Program, protocol: P) -> Self {
        let mut simulation = Simulation::calm();
        let heard: Rc<RefCell<Heard>> = Rc::default();
        let hears = heard.clone();
        simulation.program(PROGRAM, move || {
            let hears = hears.clone();
            move |child: &SimulatedChild, event| {
                let mut heard = hears.borrow_mut();
                match event {
                    ChildEvent::Input(descriptor, data) => heard.input.push((descriptor, data)),
                    ChildEvent::InputClosed(descriptor) => heard.closed.push(descriptor),
                    ChildEvent::Signalled(signal) => {
                        heard.signals.push(signal);
                        if heard.survives {
                            child.survive();
                        }
                    }
                    _ => {}
                }
            }
        });
        program.program = PROGRAM.into();
        let fate = Rc::new(RefCell::new(Fate { ended: None, reason: None, protocol: None }));
        let watched = Watched { inner: Some(protocol), fate: fate.clone() };
        let id = simulation.reactor().spawn_process(program, watched);
        let id = id.expect("the program is known, and its wirings make sense");
        let child = simulation.children().remove(0);
        let mut harness = Self { simulation, id, child, heard, fate };
        harness.run();
        harness
    }

    /// The child says `data`, in one piece: 1 is its standard output, 2 its standard error.
    pub fn say(&mut self, descriptor: RawFd, data: &[u8]) {
        self.child.write(descriptor, data);
        self.run();
    }

    /// The child says `data` one byte at a time, each in a call of its own.
    pub fn say_bytewise(&mut self, descriptor: RawFd, data: &[u8]) {
        for byte in data.chunks(1) {
            self.say(descriptor, byte);
        }
    }

    /// What was written to the child's standard input since the last call.
    pub fn written(&mut self) -> Bytes {
        self.written_to(0)
    }

    /// What was written to another descriptor since the last call.
    pub fn written_to(&mut self, descriptor: RawFd) -> Bytes {
        let mut heard = self.heard.borrow_mut();
        let mut written = BytesMut::new();
        heard.input.retain(|(from, data)| {
            let wanted = *from == descriptor;
            if wanted {
                written.extend_from_slice(data);
            }
            !wanted
        });
        written.freeze()
    }

    /// Whether the protocol has closed a descriptor that it writes to: the child sees the end.
    pub fn is_closed(&self, descriptor: RawFd) -> bool {
        self.heard.borrow().closed.contains(&descriptor)
    }

    /// The signals that the child was sent since the last call, but for SIGKILL, which nobody
    /// hears.
    pub fn signals(&mut self) -> Vec<Signal> {
        std::mem::take(&mut self.heard.borrow_mut().signals)
    }

    /// From now on, the child goes on in spite of all signals but SIGKILL.
    pub fn survive_signals(&mut self) {
        self.heard.borrow_mut().survives = true;
    }

    /// The child takes nothing more of its input, which fills up.
    pub fn stop_reading(&mut self) {
        self.child.stop_reading();
    }

    /// The child takes everything again.
    pub fn resume_reading(&mut self) {
        self.child.resume_reading();
        self.run();
    }

    /// From now on, a pipe holds at most `bytes`.
    pub fn room(&mut self, bytes: usize) {
        self.simulation.capacity(bytes);
    }

    /// The child closes one of its descriptors.
    pub fn close(&mut self, descriptor: RawFd) {
        self.child.close(descriptor);
        self.run();
    }

    /// The child ends by itself, with this code.
    pub fn exit(&mut self, code: i32) {
        self.child.exit(code);
        self.run();
    }

    /// A signal ends the child.
    pub fn killed_by(&mut self, signal: Signal) {
        self.child.killed_by(signal);
        self.run();
    }

    /// Lets virtual time pass; timers that are due meanwhile fire.
    pub fn advance(&mut self, duration: Duration) {
        self.simulation.run_for(duration);
        self.run();
    }

    /// How the child ended, once `process_ended` has been called.
    pub fn ended(&self) -> Option<ProcessStatus> {
        self.fate.borrow().ended
    }

    /// Why this side ended the child, as `process_ended` could read it.
    pub fn reason(&self) -> Option<Reason> {
        self.fate.borrow().reason.clone()
    }

    /// Calls `call` with the protocol and its transport, then lets the loop run.
    ///
    /// # Panics
    /// If its story has ended: see [`into_protocol`](Self::into_protocol).
    pub fn with<R>(&mut self, call: impl FnOnce(&mut P, &mut ProcessTransport<'_>) -> R) -> R {
        let id = self.id;
        let answer = self.simulation.reactor().with_process::<P, R>(id, call);
        self.run();
        answer.expect("the child's story has ended")
    }

    /// The protocol, after `process_ended`.
    ///
    /// # Panics
    /// If it has not been called.
    pub fn into_protocol(self) -> P {
        let protocol = self.fate.borrow_mut().protocol.take();
        protocol.expect("the child's story has not ended")
    }

    /// The reactor that the protocol lives on.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.simulation.reactor()
    }

    /// Lets the loop run until nothing more happens without time passing.
    fn run(&mut self) {
        self.simulation.settle_now();
    }
}

/// Hands everything on, and keeps the protocol when its story has ended.
struct Watched<P: ProcessProtocol> {
    inner: Option<P>,
    fate: Rc<RefCell<Fate<P>>>,
}

impl<P: ProcessProtocol> Watched<P> {
    fn inner(&mut self) -> &mut P {
        self.inner.as_mut().expect("it leaves only with the last callback")
    }
}

impl<P: ProcessProtocol> ProcessProtocol for Watched<P> {
    fn process_started(&mut self, transport: &mut ProcessTransport<'_>) -> Result {
        self.inner().process_started(transport)
    }

    fn child_data_received(
        &mut self,
        transport: &mut ProcessTransport<'_>,
        descriptor: RawFd,
        data: &mut BytesMut,
    ) -> Result {
        self.inner().child_data_received(transport, descriptor, data)
    }

    fn child_connection_lost(
        &mut self,
        transport: &mut ProcessTransport<'_>,
        descriptor: RawFd,
    ) -> Result {
        self.inner().child_connection_lost(transport, descriptor)
    }

    fn pause_producing(&mut self, transport: &mut ProcessTransport<'_>, descriptor: RawFd) {
        self.inner().pause_producing(transport, descriptor);
    }

    fn resume_producing(&mut self, transport: &mut ProcessTransport<'_>, descriptor: RawFd) {
        self.inner().resume_producing(transport, descriptor);
    }

    fn process_exited(&mut self, transport: &mut ProcessTransport<'_>, status: ProcessStatus) {
        self.inner().process_exited(transport, status);
    }

    fn process_ended(&mut self, transport: &mut ProcessTransport<'_>, status: ProcessStatus) {
        self.inner().process_ended(transport, status);
        let mut fate = self.fate.borrow_mut();
        fate.ended = Some(status);
        fate.reason = transport.reason();
        fate.protocol = self.inner.take();
    }

    fn layer(&mut self, of: std::any::TypeId) -> Option<&mut dyn std::any::Any> {
        let inner: &mut dyn ProcessProtocol = self.inner.as_mut()?;
        crate::process::layer_of_process(inner, of)
    }
}
