//! RabbitMQ's tutorials in Rust, on our own client, against the real binary. The programs are
//! those in `examples/rabbitmq-tutorials`.

mod support;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;

use support::{PATIENCE, Server, lines, wait};

/// Cargo puts the examples next to the directory of the tests' own binaries.
fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows where it is");
    let target = own.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps/TEST");
    let binary = target.join("examples").join(name);
    assert!(binary.exists(), "{}: cargo build --examples makes it", binary.display());
    binary
}

struct Program {
    child: Child,
    output: Receiver<String>,
}

impl Program {
    fn start(server: &Server, name: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(example(name))
            .args(arguments)
            .env("AMQP_URL", format!("amqp://guest:guest@{}/%2f", server.address()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was built");
        let output = lines(child.stdout.take().expect("it is piped"));
        Self { child, output }
    }

    /// The next line, which must begin like this.
    fn says(&self, line: &str) -> String {
        let said = self.output.recv_timeout(PATIENCE).expect(line);
        assert!(said.trim_start().starts_with(line), "{said:?}, not {line:?}");
        said
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn broker() -> Server {
    Server::start(&["amqp", "--listen", "127.0.0.1:0"], 1)
}

/// Runs a program that does its work and ends.
fn run(server: &Server, name: &str, arguments: &[&str]) {
    let mut program = Program::start(server, name, arguments);
    assert!(wait(&mut program.child).success());
}

#[test]
fn hello_world_is_sent_and_received() {
    let server = broker();
    let receiver = Program::start(&server, "receive", &[]);
    receiver.says("[*] Waiting");
    run(&server, "send", &[]);
    receiver.says("[x] Received Hello World!");
}

#[test]
fn a_worker_takes_its_tasks_in_order() {
    let server = broker();
    let worker = Program::start(&server, "worker", &[]);
    worker.says("[*] Waiting");
    run(&server, "new_task", &["one"]);
    run(&server, "new_task", &["two"]);
    for task in ["one", "two"] {
        worker.says(&format!("[x] Received {task}"));
        worker.says("[x] Done");
    }
}

#[test]
fn logs_reach_whoever_listens_by_all_three_kinds_of_exchange() {
    for (sender, receiver, bindings, arguments) in [
        ("emit_log", "receive_logs", &[][..], &["hello"][..]),
        ("emit_log_direct", "receive_logs_direct", &["error"][..], &["error", "hello"][..]),
        ("emit_log_topic", "receive_logs_topic", &["kern.*"][..], &["kern.critical", "hello"][..]),
    ] {
        let server = broker();
        let receiver = Program::start(&server, receiver, bindings);
        receiver.says("[*] Waiting");
        run(&server, sender, arguments);
        let said = receiver.says("[x]");
        assert!(said.contains("hello"), "{sender}: {said}");
    }
}

#[test]
fn a_remote_procedure_is_called() {
    let server = broker();
    let serving = Program::start(&server, "rpc_server", &[]);
    serving.says("[x] Awaiting");
    let calling = Program::start(&server, "rpc_client", &[]);
    calling.says("[x] Requesting fib(30)");
    let answer = calling.says("[.] Got");
    assert!(answer.contains("832040"), "{answer}");
}
