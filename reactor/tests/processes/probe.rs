//! A process protocol that records its story and does what the test says.

use std::cell::{Ref, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;

use bytes::BytesMut;
use ropewalk_reactor::{
    ChildId, ProcessProtocol, ProcessStatus, ProcessTransport, Program, Reactor, Reason, Result,
};

use crate::common::turn_until;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happened {
    Started,
    Data(RawFd),
    Lost(RawFd),
    Paused(RawFd),
    Resumed(RawFd),
    Exited,
    Ended,
}

#[derive(Default)]
pub(crate) struct Story {
    pub(crate) events: Vec<Happened>,
    pub(crate) pid: u32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
    /// What came from other descriptors.
    pub(crate) other: Vec<u8>,
    pub(crate) status: Option<ProcessStatus>,
    pub(crate) reason: Option<Reason>,
    broken_rules: Vec<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Record(Rc<RefCell<Story>>);

impl Record {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn story(&self) -> Ref<'_, Story> {
        self.0.borrow()
    }

    pub(crate) fn has(&self, event: &Happened) -> bool {
        self.story().events.contains(event)
    }

    pub(crate) fn count(&self, event: &Happened) -> usize {
        self.story().events.iter().filter(|&happened| happened == event).count()
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.story().out).into_owned()
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.has(&Happened::Ended)
    }

    pub(crate) fn status(&self) -> ProcessStatus {
        self.story().status.expect("it has ended")
    }

    fn add(&self, event: Happened) {
        let mut story = self.0.borrow_mut();
        let begun = story.events.contains(&Happened::Started);
        let doubled = event == Happened::Exited && story.events.contains(&Happened::Exited);
        let early = event == Happened::Ended && !story.events.contains(&Happened::Exited);
        if begun == (event == Happened::Started)
            || story.events.contains(&Happened::Ended)
            || doubled
            || early
        {
            let broken = format!("{event:?} after {:?}", story.events);
            story.broken_rules.push(broken);
        }
        story.events.push(event);
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.broken_rules.is_empty(), "{:?}", self.broken_rules);
        }
    }
}

type On = Box<dyn FnMut(&mut ProcessTransport<'_>) -> Result>;
type OnData = Box<dyn FnMut(&mut ProcessTransport<'_>, RawFd, &mut BytesMut) -> Result>;
type OnStatus = Box<dyn FnMut(&mut ProcessTransport<'_>, ProcessStatus)>;

#[derive(Default)]
pub(crate) struct Probe {
    record: Record,
    started: Option<On>,
    data: Option<OnData>,
    resume: Option<On>,
    exited: Option<OnStatus>,
    ended: Option<OnStatus>,
}

impl Probe {
    pub(crate) fn new(record: &Record) -> Self {
        Self { record: record.clone(), ..Self::default() }
    }

    pub(crate) fn on_started(
        mut self,
        act: impl FnMut(&mut ProcessTransport<'_>) -> Result + 'static,
    ) -> Self {
        self.started = Some(Box::new(act));
        self
    }

    pub(crate) fn on_data(
        mut self,
        act: impl FnMut(&mut ProcessTransport<'_>, RawFd, &mut BytesMut) -> Result + 'static,
    ) -> Self {
        self.data = Some(Box::new(act));
        self
    }

    pub(crate) fn on_resume(
        mut self,
        act: impl FnMut(&mut ProcessTransport<'_>) -> Result + 'static,
    ) -> Self {
        self.resume = Some(Box::new(act));
        self
    }

    pub(crate) fn on_exited(
        mut self,
        act: impl FnMut(&mut ProcessTransport<'_>, ProcessStatus) + 'static,
    ) -> Self {
        self.exited = Some(Box::new(act));
        self
    }

    pub(crate) fn on_ended(
        mut self,
        act: impl FnMut(&mut ProcessTransport<'_>, ProcessStatus) + 'static,
    ) -> Self {
        self.ended = Some(Box::new(act));
        self
    }
}

impl ProcessProtocol for Probe {
    fn process_started(&mut self, transport: &mut ProcessTransport<'_>) -> Result {
        self.record.add(Happened::Started);
        self.record.0.borrow_mut().pid = transport.pid();
        self.started.as_mut().map_or(Ok(()), |act| act(transport))
    }

    fn child_data_received(
        &mut self,
        transport: &mut ProcessTransport<'_>,
        descriptor: RawFd,
        data: &mut BytesMut,
    ) -> Result {
        self.record.add(Happened::Data(descriptor));
        let before = data.clone();
        let result = match &mut self.data {
            Some(act) => act(transport, descriptor, data),
            None => {
                data.clear();
                Ok(())
            }
        };
        let consumed = &before[..before.len() - data.len()];
        let mut story = self.record.0.borrow_mut();
        match descriptor {
            1 => story.out.extend_from_slice(consumed),
            2 => story.err.extend_from_slice(consumed),
            _ => story.other.extend_from_slice(consumed),
        }
        result
    }

    fn child_connection_lost(
        &mut self,
        transport: &mut ProcessTransport<'_>,
        descriptor: RawFd,
    ) -> Result {
        self.record.add(Happened::Lost(descriptor));
        let _ = transport;
        Ok(())
    }

    fn pause_producing(&mut self, _: &mut ProcessTransport<'_>, descriptor: RawFd) {
        self.record.add(Happened::Paused(descriptor));
    }

    fn resume_producing(&mut self, transport: &mut ProcessTransport<'_>, descriptor: RawFd) {
        self.record.add(Happened::Resumed(descriptor));
        if let Some(act) = &mut self.resume {
            act(transport).expect("the tests resume without errors");
        }
    }

    fn process_exited(&mut self, transport: &mut ProcessTransport<'_>, status: ProcessStatus) {
        self.record.add(Happened::Exited);
        self.record.0.borrow_mut().status = Some(status);
        if let Some(act) = &mut self.exited {
            act(transport, status);
        }
    }

    fn process_ended(&mut self, transport: &mut ProcessTransport<'_>, status: ProcessStatus) {
        self.record.add(Happened::Ended);
        assert_eq!(self.record.status(), status);
        assert_eq!(self.record.story().pid, transport.pid());
        self.record.0.borrow_mut().reason = transport.reason();
        if let Some(act) = &mut self.ended {
            act(transport, status);
        }
    }
}

/// Runs `program` with `probe` until its story has ended.
pub(crate) fn run(program: Program, record: &Record, probe: Probe) {
    let mut reactor = Reactor::new().expect("a poller");
    spawn(&mut reactor, program, probe);
    turn_until(&mut reactor, |_| record.is_ended());
    assert!(is_gone(record.story().pid));
}

pub(crate) fn spawn(reactor: &mut Reactor, program: Program, probe: Probe) -> ChildId {
    reactor.spawn_process(program, probe).expect("it runs")
}

/// Whether there is no such process, not even as a zombie.
pub(crate) fn is_gone(pid: u32) -> bool {
    assert!(pid > 0);
    !std::path::Path::new(&format!("/proc/{pid}")).exists()
}
