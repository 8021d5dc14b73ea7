//! Ends of children as other systems than Linux tell of them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;

use super::*;
use crate::process::{ProcessProtocol, ProcessTransport, Program};
use crate::{Reactor, Result};

#[derive(Default)]
struct Heard {
    out: Vec<u8>,
    status: Option<ProcessStatus>,
}

struct Listener(Rc<RefCell<Heard>>);

impl ProcessProtocol for Listener {
    fn out_received(&mut self, _: &mut ProcessTransport<'_>, data: &mut BytesMut) -> Result {
        self.0.borrow_mut().out.extend_from_slice(&data.split());
        Ok(())
    }

    fn process_ended(&mut self, _: &mut ProcessTransport<'_>, status: ProcessStatus) {
        self.0.borrow_mut().status = Some(status);
    }
}

/// Starts another one from its own start, and waits until that has ended.
struct Starter(Option<Rc<RefCell<Heard>>>, Program);

impl ProcessProtocol for Starter {
    fn process_started(&mut self, transport: &mut ProcessTransport<'_>) -> Result {
        let program = std::mem::replace(&mut self.1, Program::new("true"));
        let heard = self.0.take().expect("it starts once");
        let child = transport.spawn_process(program, Listener(heard))?;
        let pid = transport.process(child).map_or(0, |child| child.pid());
        let pid = Pid::from_raw(pid as i32).expect("it runs");
        // Leaves it to be reaped.
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::Pid(pid), how)?;
        Ok(())
    }
}

#[test]
fn one_that_ends_before_its_protocol_is_there_is_told_to_it_later() {
    use crate::process::Wiring;

    let pipes = || Program::shell("echo said; exit 7");
    let none = || {
        let program = Program::shell("exit 7").stdin(Wiring::Null);
        program.stdout(Wiring::Null).stderr(Wiring::Null)
    };
    for (program, said) in [(pipes(), "said\n"), (none(), "")] {
        let mut reactor = Reactor::new().expect("a poller");
        reactor.core.children.portably = true;
        let heard = Rc::new(RefCell::new(Heard::default()));
        let starter = Starter(Some(heard.clone()), program);
        reactor.spawn_process(Program::new("true"), starter).expect("true");
        let mut turns = 0;
        while reactor.process_count() > 0 {
            reactor.turn(Some(Duration::from_secs(5))).expect("a turn");
            turns += 1;
            assert!(turns < 1_000, "{} are left", reactor.process_count());
        }
        assert_eq!(heard.borrow().status, Some(ProcessStatus::Exited(7)));
        assert_eq!(heard.borrow().out, said.as_bytes());
    }
}

#[test]
fn without_what_only_linux_has_all_are_reaped_and_inherit_nothing() {
    let null = std::fs::File::open("/dev/null").expect("Unix");
    let forgotten = rustix::io::fcntl_dupfd_cloexec(&null, 60).expect("a number");
    rustix::io::fcntl_setfd(&forgotten, rustix::io::FdFlags::empty()).expect("a descriptor");
    let mut reactor = Reactor::new().expect("a poller");
    reactor.core.children.portably = true;
    let mut heard = Vec::new();
    for code in 0..30 {
        let here = Rc::new(RefCell::new(Heard::default()));
        let line = format!("test -e /proc/self/fd/60 && echo it has it; exit {code}");
        let spawned = reactor.spawn_process(Program::shell(line), Listener(here.clone()));
        spawned.expect("sh");
        heard.push(here);
    }
    let mut turns = 0;
    while reactor.process_count() > 0 {
        reactor.turn(Some(Duration::from_secs(5))).expect("a turn");
        turns += 1;
        assert!(turns < 10_000, "{} are left", reactor.process_count());
    }
    for (code, heard) in (0..).zip(heard) {
        assert_eq!(heard.borrow().status, Some(ProcessStatus::Exited(code)));
        assert_eq!(heard.borrow().out, b"");
    }
    drop(forgotten);
}
