//! Standard input and output as a connection: this test program runs itself, on pipes, files,
//! sockets and terminals.

#![allow(clippy::disallowed_methods, reason = "deadlines of tests are no protocols")]

mod common;

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use bytes::BytesMut;
use ropewalk_reactor::{
    Address, ConnectionOptions, Error, ProcessProtocol, ProcessStatus, ProcessTransport, Program,
    Protocol, Reactor, Reason, Result, Simulation, Transport,
};

use common::{PATIENCE, Probe, Record, assert_same, once, pattern, turn_until};

/// Names the part that a child plays; the name of the test that contains it is the argument.
const PART: &str = "ROPEWALK_TEST_PART";

/// What the children do. It is a test that passes when it is not called for.
#[test]
fn parts() {
    let Ok(part) = std::env::var(PART) else { return };
    match &*part {
        "echo" => echo(),
        "half close" => half_close(),
        "idle" => idle(),
        "print" => print(),
        part => panic!("there is no part {part}"),
    }
    std::process::exit(0); // before the test harness says that all is well
}

/// This program, to play a part. (What the harness says first goes to standard output, too: one
/// empty line, and what it runs.)
fn play(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test program"));
    command.args(["parts", "--exact", "--nocapture", "--test-threads=1", "-q"]).env(PART, part);
    command
}

/// What the harness of a child says before the part begins.
const PREAMBLE: &str = "\nrunning 1 test\n";

fn without_preamble(said: &[u8]) -> &[u8] {
    said.strip_prefix(PREAMBLE.as_bytes()).expect("the harness's first words")
}

/// Sends everything back, and says on standard error why it ended.
fn echo() {
    struct Echo;
    impl Protocol for Echo {
        fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
            assert_eq!((transport.peer(), transport.host()), (Address::Stdio, Address::Stdio));
            Ok(())
        }

        fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
            let close = data.ends_with(b"close\n");
            if !close {
                transport.write(&data.split());
                return Ok(());
            }
            data.clear();
            transport.write(b"closing\n");
            transport.lose_connection();
            Ok(())
        }

        fn pause_producing(&mut self, transport: &mut Transport<'_>) {
            transport.pause_reading();
        }

        fn resume_producing(&mut self, transport: &mut Transport<'_>) {
            transport.resume_reading();
        }

        fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
            eprint!("{reason}");
            transport.stop();
        }
    }
    let mut reactor = Reactor::new().expect("a poller");
    // A second one while the first lives is refused.
    reactor.standard_io(Echo).forget();
    reactor.standard_io(Echo).then(|_, second| {
        assert!(matches!(second, Err(Error::Connect { .. })));
    });
    reactor.run().expect("it stops");
}

/// Closes its output at the first data, and tells on standard error what it still receives.
fn half_close() {
    let record = Record::new();
    let probe = Probe::new(&record)
        .on_data(|transport, data| {
            transport.write(b"bye");
            transport.lose_write_connection();
            eprint!("{}", String::from_utf8_lossy(&data.split()));
            Ok(())
        })
        .on_lost(|transport, _| transport.stop());
    let mut reactor = Reactor::new().expect("a poller");
    reactor.standard_io(probe).forget();
    reactor.run().expect("it stops");
}

/// Does nothing until it is stopped by a signal.
fn idle() {
    let mut reactor = Reactor::new().expect("a poller");
    reactor.stop_on_signals().expect("signals");
    let probe = Probe::new(&Record::new()).on_made(|transport| {
        transport.write(b"ready\n");
        Ok(())
    });
    reactor.standard_io(probe).forget();
    reactor.run().expect("it stops");
}

/// Prints before, during and after the connection.
fn print() {
    println!("before");
    let mut reactor = Reactor::new().expect("a poller");
    let probe = Probe::new(&Record::new())
        .on_made(|transport| {
            println!("in between");
            transport.write(b"written\n");
            transport.lose_connection();
            Ok(())
        })
        .on_lost(|transport, _| transport.stop());
    reactor.standard_io(probe).forget();
    reactor.run().expect("it stops");
    println!("after");
}

/// Its end has to come, and to be a good one.
fn wait(mut child: Child) {
    let (ended, end) = std::sync::mpsc::channel();
    let waiting = common::spawn(move || ended.send(child.wait().expect("a child")));
    let status = end.recv_timeout(PATIENCE).expect("it never ended");
    assert!(status.success());
    waiting.join().expect("no panic").expect("it was awaited");
}

#[test]
fn pipes_carry_megabytes_both_ways_and_the_end_of_input_is_the_peers_end() {
    let mut child = play("echo")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a test program");
    let mut input = child.stdin.take().expect("a pipe");
    let sent = pattern(0, 4 << 20);
    let writer = common::spawn(move || input.write_all(&sent).expect("it is read"));
    let mut said = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut said).expect("a pipe");
    writer.join().expect("no panic");
    assert_same(without_preamble(&said), pattern(0, 4 << 20));
    let mut reason = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut reason).expect("a pipe");
    assert_eq!(reason, "closed by the peer");
    wait(child);
}

#[test]
fn files_are_read_to_their_end_and_written() {
    let path = std::env::temp_dir().join(format!("ropewalk-stdio-{}", std::process::id()));
    std::fs::write(&path, pattern(0, 3 << 20)).expect("room");
    let mut result = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path.with_extension("out"))
        .expect("a place");
    let input = File::open(&path).expect("it was written");
    let mut child = play("echo");
    child.stdin(input).stdout(result.try_clone().expect("a descriptor")).stderr(Stdio::null());
    wait(child.spawn().expect("a test program"));
    let mut said = Vec::new();
    result.rewind().expect("a file");
    result.read_to_end(&mut said).expect("a file");
    assert_same(without_preamble(&said), pattern(0, 3 << 20));
    std::fs::remove_file(&path).expect("it is there");
    std::fs::remove_file(path.with_extension("out")).expect("it is there");
}

#[test]
fn nothing_in_and_nothing_out_ends_at_once() {
    let mut child = play("echo");
    child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    wait(child.spawn().expect("a test program"));
}

#[test]
fn a_socket_is_left_in_the_blocking_mode_in_which_it_was() {
    let (mut here, there) = UnixStream::pair().expect("two sockets");
    here.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let kept = there.try_clone().expect("a descriptor"); // as the shell has it
    let blocking = || {
        let flags = rustix::fs::fcntl_getfl(&kept).expect("a socket");
        !flags.contains(rustix::fs::OFlags::NONBLOCK)
    };
    let child = play("echo")
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(there.try_clone().expect("a descriptor"))))
        .stdout(Stdio::from(std::os::fd::OwnedFd::from(there)))
        .stderr(Stdio::null())
        .spawn()
        .expect("a test program");
    here.write_all(b"hello").expect("room");
    let mut said = vec![0; PREAMBLE.len() + 5];
    here.read_exact(&mut said).expect("it is echoed");
    assert_eq!(without_preamble(&said), b"hello");
    assert!(!blocking());
    here.write_all(b"close\n").expect("room");
    let mut rest = String::new();
    here.read_to_string(&mut rest).expect("its end comes, though the socket is held here");
    assert_eq!(rest, "closing\n");
    drop(here);
    wait(child);
    assert!(blocking());
}

#[test]
fn a_pipe_is_not_made_non_blocking_for_others() {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let (mut output, far) = std::io::pipe().expect("a pipe");
    let (kept, kept_far) = (reader.try_clone().expect("one"), far.try_clone().expect("one"));
    let mut command = play("echo");
    let child = command.stdin(reader).stdout(far).stderr(Stdio::null()).spawn();
    let child = child.expect("a test program");
    drop(command);
    writer.write_all(b"hello").expect("room");
    let mut said = vec![0; PREAMBLE.len() + 5];
    output.read_exact(&mut said).expect("it is echoed");
    for end in [rustix::fs::fcntl_getfl(&kept), rustix::fs::fcntl_getfl(&kept_far)] {
        assert!(!end.expect("a pipe").contains(rustix::fs::OFlags::NONBLOCK));
    }
    drop(writer);
    wait(child);
}

#[test]
fn a_half_close_ends_the_output_while_input_still_comes() {
    let mut child = play("half close")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a test program");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"one ").expect("room");
    let mut said = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut said).expect("its end comes");
    assert_eq!(without_preamble(&said), b"bye");
    input.write_all(b"two").expect("it is still read");
    drop(input);
    let mut told = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut told).expect("a pipe");
    assert_eq!(told, "one two");
    wait(child);
}

#[test]
fn what_is_printed_meanwhile_does_not_get_into_the_stream_and_a_file_is_put_back() {
    let path = std::env::temp_dir().join(format!("ropewalk-print-{}", std::process::id()));
    let result = File::create(&path).expect("a place");
    let mut child = play("print");
    child.stdin(Stdio::null()).stdout(result).stderr(Stdio::null());
    wait(child.spawn().expect("a test program"));
    let said = std::fs::read(&path).expect("it was written");
    assert_eq!(without_preamble(&said), b"before\nwritten\nafter\n");
    std::fs::remove_file(&path).expect("it is there");
}

/// What a child on a terminal has said so far.
#[derive(Clone, Default)]
struct Screen(std::rc::Rc<std::cell::RefCell<(String, Option<ProcessStatus>)>>);

impl ProcessProtocol for Screen {
    fn out_received(&mut self, _: &mut ProcessTransport<'_>, data: &mut BytesMut) -> Result {
        self.0.borrow_mut().0.push_str(&String::from_utf8_lossy(&data.split()));
        Ok(())
    }

    fn process_ended(&mut self, _: &mut ProcessTransport<'_>, status: ProcessStatus) {
        self.0.borrow_mut().1 = Some(status);
    }
}

impl Screen {
    fn shows(&self, text: &str) -> bool {
        self.0.borrow().0.contains(text)
    }

    fn is_over(&self) -> bool {
        self.0.borrow().1.is_some()
    }
}

fn on_a_terminal(part: &str) -> Program {
    let command = play(part);
    Program::new(command.get_program()).args(command.get_args()).env(PART, part).terminal(24, 80)
}

#[test]
fn a_terminal_gives_line_by_line_and_its_end_with_ctrl_d() {
    let mut reactor = Reactor::new().expect("a poller");
    let screen = Screen::default();
    let child = reactor.spawn_process(on_a_terminal("echo"), screen.clone()).expect("it runs");
    turn_until(&mut reactor, |_| screen.shows("running 1 test"));
    // Two lines at once: one read gives the first of them, and no edge tells of the second.
    reactor.process(child).expect("it runs").write(b"line one\nline two\n");
    // Each is there twice: as it was typed, and as it comes back.
    turn_until(&mut reactor, |_| screen.0.borrow().0.matches("line two").count() == 2);
    reactor.process(child).expect("it runs").write(b"\x04");
    turn_until(&mut reactor, |_| screen.is_over());
    assert!(screen.shows("closed by the peer"), "{:?}", screen.0.borrow().0);
}

#[test]
fn a_terminal_is_left_as_it_was_for_the_shell() {
    let mut reactor = Reactor::new().expect("a poller");
    let screen = Screen::default();
    // The shell goes on reading and writing after the child; a non-blocking terminal would fail it.
    let Some(program) = std::env::current_exe().ok() else { return };
    let line = format!(
        "{}=echo {} parts --exact --nocapture -q 2>/dev/null; echo back; read line; echo then $line",
        "ROPEWALK_TEST_PART",
        program.display(),
    );
    let child = Program::shell(line).terminal(24, 80);
    let child = reactor.spawn_process(child, screen.clone()).expect("it runs");
    turn_until(&mut reactor, |_| screen.shows("running 1 test"));
    reactor.process(child).expect("it runs").write(b"close\n");
    turn_until(&mut reactor, |_| screen.shows("closing") && screen.shows("back"));
    reactor.process(child).expect("it runs").write(b"goes on\n");
    turn_until(&mut reactor, |_| screen.is_over());
    assert!(screen.shows("then goes on"), "{:?}", screen.0.borrow().0);
}

#[test]
fn a_stop_ends_an_idle_one_and_flushes() {
    let mut child =
        play("idle").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a test program");
    let mut output = child.stdout.take().expect("a pipe");
    let mut said = vec![0; PREAMBLE.len() + 6];
    output.read_exact(&mut said).expect("it says so");
    assert_eq!(without_preamble(&said), b"ready\n");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    wait(child);
}

#[test]
fn a_simulation_has_none() {
    let mut simulation = Simulation::calm();
    let failed = std::rc::Rc::new(std::cell::Cell::new(false));
    let told = failed.clone();
    let options = ConnectionOptions::default();
    let probe = once(Probe::new(&Record::new()))(Address::Stdio).expect("the first");
    simulation.reactor().standard_io_with(options, probe).then(move |_, result| {
        told.set(matches!(result, Err(Error::Connect { .. })));
    });
    simulation.settle();
    assert!(failed.get());
}
