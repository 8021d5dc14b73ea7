//! What a child has from this process, and what not.

use std::fs::File;
use std::io::{PipeReader, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::process::Command;

use ropewalk_reactor::{Program, Reactor, Wiring};

use crate::common::turn_until;
use crate::probe::{Probe, Record, run, spawn};

/// The descriptors of the child, without the one by which it looks.
fn descriptors(program: impl FnOnce(Program) -> Program) -> Vec<u32> {
    let record = Record::new();
    run(program(Program::new("ls").arg("/proc/self/fd")), &record, Probe::new(&record));
    let mut found: Vec<_> = record.out().lines().filter_map(|line| line.parse().ok()).collect();
    let looks = (3..).find(|number| found.contains(number)).expect("ls opens the directory");
    found.retain(|&number| number != looks);
    found.sort_unstable();
    found
}

#[test]
fn a_child_has_the_descriptors_that_are_wired_and_no_others() {
    // One that some other part of the program opened, and forgot to mark.
    let null = File::open("/dev/null").expect("Linux");
    let forgotten = rustix::io::fcntl_dupfd_cloexec(&null, 20).expect("a number");
    rustix::io::fcntl_setfd(&forgotten, rustix::io::FdFlags::empty()).expect("a descriptor");
    assert_eq!(descriptors(|program| program), [0, 1, 2]);
    let found = descriptors(|program| {
        program.descriptor(7, Wiring::FromChild).descriptor(40, Wiring::ToChild)
    });
    assert_eq!(found, [0, 1, 2, 7, 40]);
    drop(forgotten);
}

#[test]
fn a_given_file_is_what_the_child_reads_and_writes() {
    let mut file = tempfile();
    file.write_all(b"in the file").expect("room");
    file.rewind().expect("a file");
    let mut result = tempfile();
    let record = Record::new();
    let program = Program::new("cat")
        .stdin(Wiring::Descriptor(file.into()))
        .stdout(Wiring::Descriptor(result.try_clone().expect("a descriptor").into()));
    run(program, &record, Probe::new(&record));
    let mut text = String::new();
    result.rewind().expect("a file");
    result.read_to_string(&mut text).expect("text");
    assert_eq!(text, "in the file");
}

/// A file without a name.
fn tempfile() -> File {
    let path = std::env::temp_dir().join(format!("ropewalk-{:?}", std::thread::current().id()));
    let path = format!("{}-{}", path.display(), std::process::id());
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
    std::fs::remove_file(&path).expect("it was just made");
    file.expect("a place for files")
}

/// A pipe with something in it, and its end.
fn holding(text: &str) -> PipeReader {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(text.as_bytes()).expect("room");
    reader
}

/// What a child reads from descriptors with these numbers, which are these pipes here.
fn read_by_child(pipes: Vec<(i32, PipeReader)>) -> String {
    let path = |(number, _): &(i32, PipeReader)| format!("/proc/self/fd/{number}");
    let mut program = Program::new("cat").args(pipes.iter().map(path));
    for (number, pipe) in pipes {
        program = program.descriptor(number, Wiring::Descriptor(pipe.into()));
    }
    let record = Record::new();
    run(program, &record, Probe::new(&record));
    record.out()
}

#[test]
fn given_descriptors_may_have_each_others_numbers() {
    let (one, two) = (holding("one "), holding("two "));
    let (at_one, at_two) = (one.as_raw_fd(), two.as_raw_fd());
    assert_eq!(read_by_child(vec![(at_two, one), (at_one, two)]), "one two ");
}

#[test]
fn many_given_descriptors_are_not_put_in_each_others_way() {
    let pipes: Vec<_> = (0..60).map(|number| holding(&format!("{number} "))).collect();
    // Where copies of them would be, were these made at the lowest numbers that are free.
    let free = File::open("/dev/null").expect("it is everywhere").as_raw_fd();
    let read = read_by_child((free + 20..).zip(pipes).collect());
    let expected: String = (0..60).map(|number| format!("{number} ")).collect();
    assert_eq!(read, expected);
}

#[test]
fn a_failed_start_is_told_though_many_numbers_are_wired() {
    let mut reactor = Reactor::new().expect("a poller");
    let mut program = Program::new("/no/such/program");
    for number in 3..200 {
        program = program.descriptor(number, Wiring::Null);
    }
    let error = reactor.spawn_process(program, Probe::new(&Record::new())).expect_err("not there");
    assert!(error.to_string().contains("/no/such/program"), "{error}");
}

#[test]
fn a_number_that_no_process_can_have_is_an_error() {
    let mut reactor = Reactor::new().expect("a poller");
    let program = Program::new("true").descriptor(i32::MAX, Wiring::Null);
    let error = reactor.spawn_process(program, Probe::new(&Record::new())).expect_err("too high");
    assert!(error.to_string().starts_with("cannot run true: "), "{error}");
}

#[test]
fn a_wiring_that_makes_no_sense_is_an_error() {
    let mut reactor = Reactor::new().expect("a poller");
    for (number, wiring) in [(-1, Wiring::Null), (5, Wiring::SameAs(6)), (5, Wiring::SameAs(5))] {
        let program = Program::new("true").descriptor(number, wiring);
        let error = reactor.spawn_process(program, Probe::new(&Record::new())).expect_err("wrong");
        assert!(error.to_string().contains("descriptor"), "{error}");
    }
}

#[test]
fn arguments_environment_and_directory_are_as_told() {
    let told = |program: Program| {
        let record = Record::new();
        run(program, &record, Probe::new(&record));
        record.out()
    };
    let program = Program::new("printf").args(["%s|%s", "a b", "$HOME; 'c"]);
    assert_eq!(told(program), "a b|$HOME; 'c");
    assert_eq!(told(Program::new("pwd").directory("/usr")), "/usr\n");
    let program =
        Program::new("/usr/bin/env").env("A", "1").env_clear().env("B", "2").env("C", "3");
    assert_eq!(told(program.env_remove("C")), "B=2\n");
    let program = Program::new("/bin/sh").name("-login").args(["-c", "echo $0"]);
    assert_eq!(told(program), "-login\n");
}

#[test]
fn another_user_and_group() {
    if !rustix::process::geteuid().is_root() {
        return; // nobody else can become somebody else
    }
    let record = Record::new();
    let program = Program::shell("id -u; id -g; id -G").user(65534).group(65533).directory("/");
    run(program, &record, Probe::new(&record));
    assert_eq!(record.out(), "65534\n65533\n65533\n");
}

#[test]
fn groups_and_sessions_of_its_own() {
    let told = |program: Program| {
        let record = Record::new();
        run(program, &record, Probe::new(&record));
        let numbers: Vec<u32> =
            record.out().split(' ').skip(4).take(2).map(|n| n.parse().expect("a number")).collect();
        (record.story().pid, numbers[0], numbers[1])
    };
    // The fifth and sixth of /proc/self/stat: process group, session. (`read` is the shell's own.)
    let stat = || Program::shell("read line </proc/self/stat; echo $line");
    let ours = rustix::process::getpgrp().as_raw_pid() as u32;
    let (_, group, _) = told(stat());
    assert_eq!(group, ours);
    let (pid, group, session) = told(stat().process_group());
    assert!(group == pid && session != pid);
    let (pid, group, session) = told(stat().session());
    assert!(group == pid && session == pid);
}

/// This test program was started with SIGTERM blocked, and Rust's runtime ignores SIGPIPE.
#[test]
fn the_childs_signals_are_as_usual() {
    const NAME: &str = "inheriting::the_childs_signals_are_as_usual";
    const MARK: &str = "ROPEWALK_TEST_BLOCKED";
    if std::env::var_os(MARK).is_none() {
        let block = "import signal, os, sys\n\
                     signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n\
                     os.execv(sys.argv[1], sys.argv[1:])";
        let output = Command::new("python3")
            .args(["-c", block])
            .arg(std::env::current_exe().expect("a test program"))
            .args([NAME, "--exact", "--nocapture", "--test-threads=1"])
            .env(MARK, "1")
            .output()
            .expect("python3");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let own = std::fs::read_to_string("/proc/thread-self/status").expect("Linux");
    const SIGTERM: u64 = 1 << 14;
    const SIGPIPE: u64 = 1 << 12;
    let set = |status: &str, name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("Linux");
        u64::from_str_radix(line.rsplit('\t').next().expect("a number"), 16).expect("a number")
    };
    assert_eq!((set(&own, "SigBlk") & SIGTERM, set(&own, "SigIgn") & SIGPIPE), (SIGTERM, SIGPIPE));
    let record = Record::new();
    let mut reactor = Reactor::new().expect("a poller");
    let program = Program::new("grep").args(["-E", "SigBlk|SigIgn", "/proc/self/status"]);
    spawn(&mut reactor, program, Probe::new(&record));
    turn_until(&mut reactor, |_| record.is_ended());
    assert_eq!((set(&record.out(), "SigBlk"), set(&record.out(), "SigIgn") & SIGPIPE), (0, 0));
}
