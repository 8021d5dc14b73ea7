//! RabbitMQ's six Python tutorials, with RabbitMQ's own client (pika), against the real binary:
//! as its site has them today, with quorum queues, and as they were before.

mod support;

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;

use support::{PATIENCE, Server, lines, python, root, wait};

/// Those tutorials that declare a queue with a name (the first, the second and the sixth) are
/// run in both; the others have not changed.
const ERAS: [&str; 2] = ["today", "before"];

struct Program {
    child: Child,
    output: Receiver<String>,
}

impl Program {
    fn start(broker: &Broker, name: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(python())
            .arg(root().join("tests/python/tutorials").join(name))
            .args(arguments)
            .env("AMQP_PORT", broker.server.address().port().to_string())
            .env("TUTORIAL_ERA", broker.era)
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
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

    /// Waits until it has ended well, having said no more.
    fn ends(mut self) {
        assert!(wait(&mut self.child).success());
        assert_eq!(self.output.iter().next(), None);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Broker {
    server: Server,
    era: &'static str,
}

impl Broker {
    fn start(era: &'static str) -> Self {
        let server = Server::start(&["amqp", "--listen", "127.0.0.1:0"], 1);
        Self { server, era }
    }

    /// Runs a program that says one line and ends.
    fn run(&self, name: &str, arguments: &[&str], says: &str) {
        let program = Program::start(self, name, arguments);
        program.says(says);
        program.ends();
    }
}

const WAITING: &str = " [*] Waiting for messages. To exit press CTRL+C";
const WAITING_FOR_LOGS: &str = " [*] Waiting for logs. To exit press CTRL+C";

#[test]
fn hello_world_is_sent_and_received() {
    for broker in ERAS.map(Broker::start) {
        let send = || broker.run("send.py", &[], " [x] Sent 'Hello World!'");
        send();
        let receiver = Program::start(&broker, "receive.py", &[]);
        receiver.says(WAITING);
        receiver.says(" [x] Received Hello World!");
        send();
        receiver.says(" [x] Received Hello World!");
    }
}

#[test]
fn two_workers_share_the_tasks() {
    for broker in ERAS.map(Broker::start) {
        let workers = [0, 1].map(|_| Program::start(&broker, "worker.py", &[]));
        for worker in &workers {
            worker.says(WAITING);
        }
        // Both are free: the broker deals to each in turn, whoever of them came first.
        let mut heard = Vec::new();
        for task in ["one", "two", "three", "four"] {
            broker.run("new_task.py", &[task], &format!(" [x] Sent {task}"));
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
}

#[test]
fn a_worker_killed_in_mid_task_leaves_its_message_to_the_other_marked_redelivered() {
    for broker in ERAS.map(Broker::start) {
        let mut first = Program::start(&broker, "worker.py", &[]);
        first.says(WAITING);
        let task = "long work ...............................";
        broker.run("new_task.py", &[task], &format!(" [x] Sent {task}"));
        first.says(&format!(" [x] Received {task}"));
        let second = Program::start(&broker, "worker.py", &[]);
        second.says(WAITING);
        first.child.kill().expect("it works");
        second.says(&format!(" [x] Received {task} again"));
    }
}

/// A tutorial in which senders reach receivers through an exchange.
struct Logs {
    sender: &'static str,
    receiver: &'static str,
    /// What each receiver asks for.
    asked: &'static [&'static [&'static str]],
    /// What is sent, what its sender says then, and which receivers get it, in this order.
    sent: &'static [(&'static [&'static str], &'static str, &'static [usize])],
}

const PUBLISH_SUBSCRIBE: Logs = Logs {
    sender: "emit_log.py",
    receiver: "receive_logs.py",
    asked: &[&[], &[]],
    sent: &[(&[], "info: Hello World!", &[0, 1]), (&["to", "all"], "to all", &[0, 1])],
};

const ROUTING: Logs = Logs {
    sender: "emit_log_direct.py",
    receiver: "receive_logs_direct.py",
    asked: &[&["error"], &["info", "warning", "error"]],
    sent: &[
        (&[], "info:Hello World!", &[1]),
        (&["error", "Run.", "Or it will explode."], "error:Run. Or it will explode.", &[0, 1]),
        (&["debug", "nobody asked"], "debug:nobody asked", &[]),
        (&["warning", "careful"], "warning:careful", &[1]),
        (&["error", "the last"], "error:the last", &[0, 1]),
    ],
};

const TOPICS: Logs = Logs {
    sender: "emit_log_topic.py",
    receiver: "receive_logs_topic.py",
    asked: &[&["#"], &["kern.*"], &["*.critical"], &["kern.*", "*.critical"]],
    sent: &[
        (&[], "anonymous.info:Hello World!", &[0]),
        // One copy, though two of the last receiver's patterns fit.
        (&["kern.critical", "A critical error"], "kern.critical:A critical error", &[0, 1, 2, 3]),
        (&["kern.info", "booted"], "kern.info:booted", &[0, 1, 3]),
        (&["kern", "one word"], "kern:one word", &[0]),
        (&["kern.disk.critical", "three words"], "kern.disk.critical:three words", &[0]),
        (&["cron.critical", "late"], "cron.critical:late", &[0, 2, 3]),
        (&["kern.critical", "the last"], "kern.critical:the last", &[0, 1, 2, 3]),
    ],
};

#[test]
fn a_log_reaches_everybody_who_listens() {
    PUBLISH_SUBSCRIBE.run();
}

#[test]
fn a_log_reaches_those_who_asked_for_its_severity() {
    ROUTING.run();
}

#[test]
fn a_log_reaches_those_whose_patterns_fit_its_topic() {
    TOPICS.run();
}

impl Logs {
    fn run(&self) {
        let broker = Broker::start("today");
        let start = |asked: &&[&str]| Program::start(&broker, self.receiver, asked);
        let receivers: Vec<_> = self.asked.iter().map(start).collect();
        for receiver in &receivers {
            receiver.says(WAITING_FOR_LOGS);
        }
        for (arguments, line, _) in self.sent {
            broker.run(self.sender, arguments, &format!(" [x] Sent {line}"));
        }
        // The last message goes to all: what comes before it is all that a receiver got.
        for (receiver, program) in receivers.iter().enumerate() {
            for (_, line, to) in self.sent {
                if to.contains(&receiver) {
                    program.says(&format!(" [x] {line}"));
                }
            }
        }
    }
}

#[test]
fn a_remote_procedure_is_called_and_its_answer_comes_back() {
    for broker in ERAS.map(Broker::start) {
        let server = Program::start(&broker, "rpc_server.py", &[]);
        server.says(" [x] Awaiting RPC requests");
        let client = Program::start(&broker, "rpc_client.py", &["12", "20"]);
        for (n, answer) in [(12, 144), (20, 6765)] {
            client.says(&format!(" [x] Requesting fib({n})"));
            server.says(&format!(" [.] fib({n})"));
            client.says(&format!(" [.] Got {answer}"));
        }
        client.ends();
    }
}
