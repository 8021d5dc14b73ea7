//! Running a program for what it says.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{Deferred, Error, ProcessOutput, Program, Reactor};

use crate::common::{assert_same, pattern, turn_until};

fn result(
    reactor: &mut Reactor,
    deferred: Deferred<ProcessOutput>,
) -> Result<ProcessOutput, Error> {
    let result = Rc::new(RefCell::new(None));
    let place = result.clone();
    deferred.then(move |_, output| *place.borrow_mut() = Some(output));
    turn_until(reactor, |_| result.borrow().is_some());
    result.take().expect("it is there")
}

#[test]
fn its_output_errors_and_status_are_given() {
    let mut reactor = Reactor::new().expect("a poller");
    let deferred = reactor.run_process(Program::shell("echo out; echo err >&2; exit 3"));
    let output = result(&mut reactor, deferred).expect("it ran");
    assert_eq!(
        (output.out, output.err, output.status.code()),
        ("out\n".into(), "err\n".into(), Some(3))
    );
    // Its input is empty, not missing.
    let deferred = reactor.run_process(Program::new("cat"));
    let output = result(&mut reactor, deferred).expect("it ran");
    assert!(output.status.is_success() && output.out.is_empty());
}

#[test]
fn input_goes_in_while_output_comes_out() {
    let mut reactor = Reactor::new().expect("a poller");
    let input = pattern(0, 3 << 20); // many times what a pipe holds
    let program = Program::new("cat").receive_limit(4 << 20);
    let deferred = reactor.run_process_with_input(program, input.clone());
    let output = result(&mut reactor, deferred).expect("it ran");
    assert_same(&output.out, &input);
    // One that does not read it all.
    let deferred = reactor.run_process_with_input(Program::shell("echo enough"), input);
    assert_eq!(result(&mut reactor, deferred).expect("it ran").out, "enough\n");
}

#[test]
fn too_much_output_and_too_much_time_are_errors_and_end_it() {
    let mut reactor = Reactor::new().expect("a poller");
    let deferred = reactor.run_process(Program::new("yes").receive_limit(100_000));
    let error = result(&mut reactor, deferred).expect_err("yes never ends");
    assert!(error.to_string().contains("more than 100000 bytes"), "{error}");
    let program = Program::shell("sleep 1000").timeout(Duration::from_millis(50)).process_group();
    let deferred = reactor.run_process(program);
    assert!(matches!(result(&mut reactor, deferred), Err(Error::TimedOut)));
    let deferred = reactor.run_process(Program::new("/no/such/program"));
    assert!(matches!(result(&mut reactor, deferred), Err(Error::Spawn { .. })));
    assert_eq!(reactor.process_count(), 0);
}

#[test]
fn dropping_the_deferred_ends_the_program() {
    let mut reactor = Reactor::new().expect("a poller");
    drop(
        reactor.run_process(
            Program::new("cat").stdin(ropewalk_reactor::Wiring::Null).arg("/dev/zero"),
        ),
    );
    assert_eq!(reactor.process_count(), 1);
    turn_until(&mut reactor, |reactor| reactor.process_count() == 0);
}

#[test]
fn a_future_awaits_it() {
    let mut reactor = Reactor::new().expect("a poller");
    let local = reactor.local();
    let told = reactor.spawn(async move {
        let output = local.call(|reactor| reactor.run_process(Program::new("echo").arg("hello")));
        output.await?.await
    });
    let result = Rc::new(RefCell::new(None));
    let place = result.clone();
    told.then(move |_, output| *place.borrow_mut() = Some(output));
    turn_until(&mut reactor, |_| result.borrow().is_some());
    let output = result.take().expect("it is there").expect("no panic").expect("it ran");
    assert_eq!(output.out, "hello\n");
}
