//! RabbitMQ's Python tutorials, with RabbitMQ's own client (pika), against the real binary.

mod support;

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;

use support::{PATIENCE, Server, lines, python, root, wait};

struct Program {
    child: Child,
    output: Receiver<String>,
}

impl Program {
    fn start(server: &Server, name: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(python())
            .arg(root().join("tests/python/tutorials").join(name))
            .args(arguments)
            .env("AMQP_PORT", server.address().port().to_string())
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter was just made");
        let output = lines(child.stdout.take().expect("it is piped"));
        Self { child, output }
    }

    fn says(&self, line: &str) {
        match self.output.recv_timeout(PATIENCE) {
            Ok(said) => assert_eq!(said, line),
            Err(_) => panic!("it never said {line:?}"),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const WAITING: &str = " [*] Waiting for messages. To exit press CTRL+C";

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
    run(&server, "send.py", &[]);
    let receiver = Program::start(&server, "receive.py", &[]);
    receiver.says(WAITING);
    receiver.says(" [x] Received Hello World!");
    run(&server, "send.py", &[]);
    receiver.says(" [x] Received Hello World!");
}

#[test]
fn two_workers_share_the_tasks() {
    let server = broker();
    let workers = [0, 1].map(|_| Program::start(&server, "worker.py", &[]));
    for worker in &workers {
        worker.says(WAITING);
    }
    // Both are free: the broker deals to each in turn, whoever of them came first.
    let mut heard = Vec::new();
    for task in ["one", "two", "three", "four"] {
        run(&server, "new_task.py", &[task]);
    }
    for worker in &workers {
        for _ in 0..2 {
            let said = worker.output.recv_timeout(PATIENCE).expect("a task");
            heard.push(said.strip_prefix(" [x] Received ").expect(&said).to_owned());
            worker.says(" [x] Done");
        }
    }
    heard.sort();
    assert_eq!(heard, ["four", "one", "three", "two"]);
}

#[test]
fn a_worker_killed_in_mid_task_leaves_its_message_to_the_other_marked_redelivered() {
    let server = broker();
    let mut first = Program::start(&server, "worker.py", &[]);
    first.says(WAITING);
    run(&server, "new_task.py", &["long", "work", "..............................."]);
    first.says(" [x] Received long work ...............................");
    let second = Program::start(&server, "worker.py", &[]);
    second.says(WAITING);
    first.child.kill().expect("it works");
    second.says(" [x] Received long work ............................... again");
}
