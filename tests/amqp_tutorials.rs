//! RabbitMQ's six tutorials across two languages: its own in Python with pika, as its site has
//! them today (with quorum queues) and as they were before, and ours in Rust from
//! `examples/rabbitmq-tutorials`. Each sender meets each receiver, through the real binary, or
//! through the broker that `AMQP_URL` names (RabbitMQ: `tests/debian/against-rabbitmq`).

#[path = "support/listening.rs"]
mod listening;
mod support;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, MutexGuard, PoisonError};

use listening::example;
use support::{PATIENCE, Server, lines, python, root, wait};

/// Who wrote a program.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Author {
    /// RabbitMQ, as its site has it today.
    Today,
    /// RabbitMQ, as its site had it before quorum queues.
    Before,
    /// We, in Rust, as RabbitMQ has it today.
    Ours,
}

use Author::{Before, Ours, Today};

/// Sender and receiver. Those of the two ages of queues would refuse each other's declarations.
const PAIRS: [(Author, Author); 5] =
    [(Today, Today), (Before, Before), (Today, Ours), (Ours, Today), (Ours, Ours)];

/// What all tutorials together declare.
const QUEUES: [&str; 3] = ["hello", "task_queue", "rpc_queue"];

struct Program {
    child: Child,
    output: Receiver<String>,
}

impl Program {
    fn start(broker: &Broker, author: Author, name: &str, arguments: &[&str]) -> Self {
        let mut command = match author {
            Ours => Command::new(example(name)),
            Today | Before => script(&format!("tutorials/{name}.py")),
        };
        command
            .args(arguments)
            .env("AMQP_URL", format!("amqp://guest:guest@{}/%2f", broker.address))
            .env("AMQP_PORT", broker.address.port().to_string())
            .env("TUTORIAL_ERA", if author == Before { "before" } else { "today" })
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("it was made just now");
        let output = lines(child.stdout.take().expect("it is piped"));
        Self { child, output }
    }

    fn says(&self, line: &str) {
        match self.output.recv_timeout(PATIENCE) {
            Ok(said) => assert_eq!(said, line),
            Err(_) => panic!("it never said {line:?}"),
        }
    }

    fn hears(&self) -> String {
        self.output.recv_timeout(PATIENCE).expect("a line")
    }

    /// Waits until it has ended well.
    fn ends(mut self) {
        assert!(wait(&mut self.child).success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn script(path: &str) -> Command {
    let mut command = Command::new(python());
    command.arg(root().join("tests/python").join(path));
    command.env("PYTHONUNBUFFERED", "1").env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Ours, one for each use; or that of `AMQP_URL`, for one at a time.
struct Broker {
    address: SocketAddr,
    _ours: Option<Server>,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Broker {
    fn start() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let Ok(url) = std::env::var("AMQP_URL") else {
            let server = Server::start(&["amqp", "--listen", "127.0.0.1:0"], 1);
            return Self { address: server.address(), _ours: Some(server), _turn: None };
        };
        let address =
            url.strip_prefix("amqp://guest:guest@").and_then(|rest| rest.split('/').next());
        let address = address.and_then(|address| address.parse().ok());
        let address: SocketAddr = address.expect("AMQP_URL=amqp://guest:guest@IP:PORT/%2f");
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut clean = script("delete_queues.py");
        let status = clean.args(QUEUES).env("AMQP_PORT", address.port().to_string()).status();
        assert!(status.expect("the interpreter was just made").success());
        Self { address, _ours: None, _turn: Some(turn) }
    }

    /// Runs a sender, which says one line, and waits for its end.
    fn send(&self, author: Author, name: &str, arguments: &[&str]) {
        let program = Program::start(self, author, name, arguments);
        let said = program.hears();
        assert!(said.starts_with(" [x] Sent "), "{said}");
        program.ends();
    }
}

const WAITING: &str = " [*] Waiting for messages. To exit press CTRL+C";
const WAITING_FOR_LOGS: &str = " [*] Waiting for logs. To exit press CTRL+C";

#[test]
fn hello_world_is_sent_and_received() {
    for (sender, receiver) in PAIRS {
        let broker = Broker::start();
        broker.send(sender, "send", &[]);
        let receiver = Program::start(&broker, receiver, "receive", &[]);
        // The message was there first, and may be: in ours the answer is awaited meanwhile.
        let mut said = [receiver.hears(), receiver.hears()];
        said.sort();
        assert_eq!(said, [WAITING, " [x] Received Hello World!"], "{sender:?}");
        broker.send(sender, "send", &[]);
        receiver.says(" [x] Received Hello World!");
    }
}

#[test]
fn two_workers_share_the_tasks() {
    for (sender, receiver) in PAIRS {
        let broker = Broker::start();
        // One after the other: RabbitMQ 3.10 ends a connection with 541 if a quorum queue is
        // declared by two at once.
        let workers = [0, 1].map(|_| {
            let worker = Program::start(&broker, receiver, "worker", &[]);
            worker.says(WAITING);
            worker
        });
        // Both are free: the broker deals to each in turn, whoever of them came first.
        for task in ["one", "two", "three", "four"] {
            broker.send(sender, "new_task", &[task]);
        }
        let mut heard = Vec::new();
        for worker in &workers {
            for _ in 0..2 {
                let said = worker.hears();
                heard.push(said.strip_prefix(" [x] Received ").expect(&said).to_owned());
                worker.says(" [x] Done");
            }
        }
        heard.sort();
        assert_eq!(heard, ["four", "one", "three", "two"], "{sender:?} to {receiver:?}");
    }
}

#[test]
fn a_worker_killed_in_mid_task_leaves_its_message_to_the_other_marked_redelivered() {
    for (sender, receiver) in PAIRS {
        let broker = Broker::start();
        let mut first = Program::start(&broker, receiver, "worker", &[]);
        first.says(WAITING);
        let task = "long work ...............................";
        broker.send(sender, "new_task", &[task]);
        first.says(&format!(" [x] Received {task}"));
        // The mark is printed by RabbitMQ's, which therefore is the one that is left.
        let author = if receiver == Before { Before } else { Today };
        let second = Program::start(&broker, author, "worker", &[]);
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
    /// What is sent, what a receiver makes of it, and which receivers get it, in this order.
    sent: &'static [(&'static [&'static str], &'static str, &'static [usize])],
}

const PUBLISH_SUBSCRIBE: Logs = Logs {
    sender: "emit_log",
    receiver: "receive_logs",
    asked: &[&[], &[]],
    sent: &[(&[], "info: Hello World!", &[0, 1]), (&["to", "all"], "to all", &[0, 1])],
};

const ROUTING: Logs = Logs {
    sender: "emit_log_direct",
    receiver: "receive_logs_direct",
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
    sender: "emit_log_topic",
    receiver: "receive_logs_topic",
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
        for (sender, receiver) in PAIRS {
            // These three declare no queue with a name: they have not changed with the ages.
            if sender == Before {
                continue;
            }
            let broker = Broker::start();
            let start = |asked: &&[&str]| Program::start(&broker, receiver, self.receiver, asked);
            let receivers: Vec<_> = self.asked.iter().map(start).collect();
            for receiver in &receivers {
                receiver.says(WAITING_FOR_LOGS);
            }
            for (arguments, ..) in self.sent {
                broker.send(sender, self.sender, arguments);
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
}

#[test]
fn a_remote_procedure_is_called_and_its_answer_comes_back() {
    for (caller, callee) in PAIRS {
        let broker = Broker::start();
        let server = Program::start(&broker, callee, "rpc_server", &[]);
        server.says(" [x] Awaiting RPC requests");
        for (n, answer) in [(12, 144), (20, 6765)] {
            let client = Program::start(&broker, caller, "rpc_client", &[&n.to_string()]);
            client.says(&format!(" [x] Requesting fib({n})"));
            server.says(&format!(" [.] fib({n})"));
            client.says(&format!(" [.] Got {answer}"));
            client.ends();
        }
    }
}
