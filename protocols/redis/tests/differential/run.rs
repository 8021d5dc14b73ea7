//! Both servers, and a script on one of them.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use ropewalk_reactor::{Handle, Reactor};
use ropewalk_redis::server::{Config, Server};

use crate::normal::normal;
use crate::script::Step;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Servers {
    redis: Child,
    theirs: SocketAddr,
    ours: SocketAddr,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Servers {
    pub(crate) fn start(password: Option<&'static str>) -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut reactor = Reactor::new().expect("a poller");
            let config = Config::default().password(password.unwrap_or_default());
            let port = reactor.listen("127.0.0.1:0", Server::new(config)).expect("a free port");
            let address = reactor.address(port).and_then(|address| address.socket_addr());
            sender.send((address.expect("it listens"), reactor.handle())).expect("it is awaited");
            reactor.run().expect("it turns");
        });
        let (ours, handle) = receiver.recv().expect("the reactor starts");
        // redis-server does not say which port it was given, so one is looked for here.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let theirs = free.expect("a free port");
        let mut command = Command::new("redis-server");
        command.args(["--port", &theirs.port().to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--dir", "/tmp"]);
        if let Some(password) = password {
            command.args(["--requirepass", password]);
        }
        let redis = command.stdout(Stdio::piped()).spawn();
        let mut redis = redis.expect("redis-server is missing: apt-get install redis-server");
        let mut said = BufReader::new(redis.stdout.take().expect("it is piped")).lines();
        let ready =
            said.by_ref().map_while(Result::ok).any(|line| line.contains("Ready to accept"));
        assert!(ready, "redis-server does not listen on {theirs}");
        std::thread::spawn(move || said.for_each(drop)); // what it says later must find room
        Self { redis, theirs, ours, handle, thread: Some(thread) }
    }

    pub(crate) fn theirs(&self) -> SocketAddr {
        self.theirs
    }

    pub(crate) fn ours(&self) -> SocketAddr {
        self.ours
    }

    /// Runs a script on both, and compares what each connection has got at each step.
    pub(crate) fn compare(&self, script: &[Step], what: &str) {
        let (theirs, ours) = (run(self.theirs, script), run(self.ours, script));
        for (at, step) in script.iter().enumerate() {
            for connection in 0..theirs[at].len() {
                let (theirs, ours) = (&theirs[at][connection], &ours[at][connection]);
                assert!(
                    normal(theirs) == normal(ours),
                    "{what}\nstep {at}: {step:?}\non connection {connection}\nredis: {:?}\nours:  {:?}",
                    theirs.escape_ascii().to_string(),
                    ours.escape_ascii().to_string(),
                );
            }
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.redis.kill();
        let _ = self.redis.wait();
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What each connection has got at each step; `<end>` where it was closed.
pub(crate) fn run(address: SocketAddr, script: &[Step]) -> Vec<Vec<Vec<u8>>> {
    let count = script.iter().map(|step| step.connection + 1).max().unwrap_or(0);
    let connect = || TcpStream::connect(address).expect("it listens");
    let mut control = connect();
    let mut connections: Vec<_> = (0..count).map(|_| (connect(), false)).collect();
    // Both servers have taken all of them, in this order.
    settle(&mut control);
    let mut seen = Vec::new();
    for step in script {
        // It may have been closed, by an error say.
        let _ = connections[step.connection].0.write_all(&step.bytes);
        settle(&mut control);
        seen.push(connections.iter_mut().map(available).collect());
    }
    seen
}

/// Once a server has answered this, three turns of its loop after another, it has written all that
/// the step before has caused. Any reply will do: an error says the same.
fn settle(control: &mut TcpStream) {
    control.set_read_timeout(Some(PATIENCE)).expect("not zero");
    for _ in 0..3 {
        control.write_all(b"PING\r\n").expect("nobody closes this one");
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            control.read_exact(&mut byte).expect("it answers");
            line.push(byte[0]);
        }
    }
}

fn available((stream, ended): &mut (TcpStream, bool)) -> Vec<u8> {
    stream.set_nonblocking(true).expect("a socket");
    let (mut all, mut part) = (Vec::new(), [0; 64 * 1024]);
    while !*ended {
        match stream.read(&mut part) {
            Ok(0) => {
                *ended = true;
                all.extend_from_slice(b"<end>");
            }
            Ok(count) => all.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => {
                *ended = true;
                all.extend_from_slice(b"<end>");
            }
        }
    }
    stream.set_nonblocking(false).expect("a socket");
    all
}
