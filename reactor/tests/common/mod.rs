//! What the tests share: seeds, a protocol that records its story and does what the test says, and
//! a reactor on loopback sockets that is driven until something is true.
//!
//! The one rule: nothing sleeps. Whatever waits has a deadline, and passing it fails the test.

#![allow(dead_code, unreachable_pub, reason = "every test program uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "clients and deadlines of tests are no protocols")]

use std::cell::{Ref, RefCell};
use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ropewalk_reactor::simulation::Peer;
use ropewalk_reactor::{
    Address, ConnectionId, ConnectionOptions, Deferred, Error, Factory, ListenOptions, Protocol,
    Reactor, Reason, Result, Simulation, Transport,
};

#[cfg(feature = "_tls")]
pub mod certificates;
pub mod logs;

/// No test on this machine takes longer, however busy it is.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The seeds to run: `count` of them, or more if `ROPEWALK_SEEDS` says so; `ROPEWALK_SEED` replays
/// a single one. A panic in the loop over them prints the seed.
pub fn seeds(count: u64) -> Seeds {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    match number("ROPEWALK_SEED") {
        Some(seed) => Seeds { next: seed, end: seed + 1 },
        None => Seeds { next: 0, end: number("ROPEWALK_SEEDS").unwrap_or(0).max(count) },
    }
}

pub struct Seeds {
    next: u64,
    end: u64,
}

impl Seeds {
    /// Every `of`-th seed, from the `part`-th on: one thread's share.
    pub fn share(self, part: u64, of: u64) -> impl Iterator<Item = u64> {
        self.filter(move |seed| seed % of == part)
    }
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let seed = self.next;
        (seed < self.end).then(|| {
            self.next += 1;
            seed
        })
    }
}

impl Drop for Seeds {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.next.saturating_sub(1);
            eprintln!("failed with seed {seed}; ROPEWALK_SEED={seed} replays it");
        }
    }
}

/// Chances of the test's own (SplitMix64), apart from those of the simulation.
#[derive(Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x5bd1_e995_9d1b_54a5)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Bytes in which every position can be told: what is lost, doubled or moved shows.
pub fn pattern(from: usize, length: usize) -> Vec<u8> {
    (from..from + length).map(pattern_at).collect()
}

pub fn pattern_at(position: usize) -> u8 {
    let word = (position as u64 / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (word >> (8 * (position % 8))) as u8
}

/// A file without a name that holds the first `length` bytes of the pattern.
pub fn file_of(length: usize) -> File {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let name = format!("ropewalk-sent-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut open = File::options();
    let mut file =
        open.read(true).write(true).create(true).truncate(true).open(&path).expect("a new file");
    std::fs::remove_file(path).expect("it is ours");
    file.write_all(&pattern(0, length)).expect("room on the disk");
    file
}

/// Holds bytes against what they should be; a failure says where they differ, and shows no more.
#[track_caller]
pub fn assert_same(actual: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) {
    let (actual, expected) = (actual.as_ref(), expected.as_ref());
    let differ = actual.iter().zip(expected).position(|(one, other)| one != other);
    assert!(
        actual == expected,
        "{} bytes instead of {}, and they differ at {differ:?}",
        actual.len(),
        expected.len(),
    );
}

/// What happened to a connection, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    Made,
    HandshakeCompleted,
    Data(usize),
    ReadClosed,
    Paused,
    Resumed,
    Lost,
}

/// The story of one connection, readable while it goes on and after its end.
#[derive(Clone, Default)]
pub struct Record(Rc<RefCell<Story>>);

#[derive(Default)]
pub struct Story {
    pub id: Option<ConnectionId>,
    pub events: Vec<Happened>,
    /// All that was delivered and consumed.
    pub data: Vec<u8>,
    pub reason: Option<Reason>,
    broken_rules: Vec<String>,
}

impl Record {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn story(&self) -> Ref<'_, Story> {
        self.0.borrow()
    }

    pub fn id(&self) -> ConnectionId {
        self.0.borrow().id.expect("the connection was made")
    }

    pub fn is_made(&self) -> bool {
        self.0.borrow().id.is_some()
    }

    pub fn is_lost(&self) -> bool {
        self.0.borrow().reason.is_some()
    }

    pub fn data(&self) -> Vec<u8> {
        self.0.borrow().data.clone()
    }

    pub fn reason(&self) -> Reason {
        self.0.borrow().reason.clone().expect("the connection was lost")
    }

    pub fn count(&self, event: &Happened) -> usize {
        self.0.borrow().events.iter().filter(|&happened| happened == event).count()
    }

    /// Data was delivered so many times.
    pub fn deliveries(&self) -> usize {
        self.0.borrow().events.iter().filter(|event| matches!(event, Happened::Data(_))).count()
    }

    pub fn has(&self, event: &Happened) -> bool {
        self.count(event) > 0
    }

    fn add(&self, event: Happened) {
        let mut story = self.0.borrow_mut();
        let begun = story.events.contains(&Happened::Made);
        if begun == (event == Happened::Made) || story.events.contains(&Happened::Lost) {
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

type OnTransport<R> = Box<dyn FnMut(&mut Transport<'_>) -> R>;
type OnData = Box<dyn FnMut(&mut Transport<'_>, &mut BytesMut) -> Result>;
type OnLost = Box<dyn FnMut(&mut Transport<'_>, &Reason)>;

/// A protocol that records, and does what the test says; else it takes all data, and closes at the
/// peer's end as protocols do.
#[derive(Default)]
pub struct Probe {
    pub record: Record,
    made: Option<OnTransport<Result>>,
    handshake: Option<OnTransport<Result>>,
    data: Option<OnData>,
    read_closed: Option<OnTransport<Result>>,
    pause: Option<OnTransport<()>>,
    resume: Option<OnTransport<()>>,
    lost: Option<OnLost>,
}

impl Probe {
    pub fn new(record: &Record) -> Self {
        Self { record: record.clone(), ..Self::default() }
    }

    /// Sends back all that it gets.
    pub fn echo(record: &Record) -> Self {
        Self::new(record).on_data(|transport, data| {
            transport.write(data);
            data.clear();
            Ok(())
        })
    }

    pub fn on_made(mut self, act: impl FnMut(&mut Transport<'_>) -> Result + 'static) -> Self {
        self.made = Some(Box::new(act));
        self
    }

    pub fn on_handshake(mut self, act: impl FnMut(&mut Transport<'_>) -> Result + 'static) -> Self {
        self.handshake = Some(Box::new(act));
        self
    }

    pub fn on_data(
        mut self,
        act: impl FnMut(&mut Transport<'_>, &mut BytesMut) -> Result + 'static,
    ) -> Self {
        self.data = Some(Box::new(act));
        self
    }

    pub fn on_read_closed(
        mut self,
        act: impl FnMut(&mut Transport<'_>) -> Result + 'static,
    ) -> Self {
        self.read_closed = Some(Box::new(act));
        self
    }

    pub fn on_pause(mut self, act: impl FnMut(&mut Transport<'_>) + 'static) -> Self {
        self.pause = Some(Box::new(act));
        self
    }

    pub fn on_resume(mut self, act: impl FnMut(&mut Transport<'_>) + 'static) -> Self {
        self.resume = Some(Box::new(act));
        self
    }

    pub fn on_lost(mut self, act: impl FnMut(&mut Transport<'_>, &Reason) + 'static) -> Self {
        self.lost = Some(Box::new(act));
        self
    }
}

impl Protocol for Probe {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        self.record.add(Happened::Made);
        self.record.0.borrow_mut().id = Some(transport.id());
        self.made.as_mut().map_or(Ok(()), |act| act(transport))
    }

    fn handshake_completed(&mut self, transport: &mut Transport<'_>) -> Result {
        self.record.add(Happened::HandshakeCompleted);
        self.handshake.as_mut().map_or(Ok(()), |act| act(transport))
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        self.record.add(Happened::Data(data.len()));
        let before = data.clone();
        let result = match &mut self.data {
            Some(act) => act(transport, data),
            None => {
                data.clear();
                Ok(())
            }
        };
        let consumed = before.len() - data.len();
        self.record.0.borrow_mut().data.extend_from_slice(&before[..consumed]);
        result
    }

    fn read_closed(&mut self, transport: &mut Transport<'_>) -> Result {
        self.record.add(Happened::ReadClosed);
        match &mut self.read_closed {
            Some(act) => act(transport),
            None => {
                transport.lose_connection();
                Ok(())
            }
        }
    }

    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        self.record.add(Happened::Paused);
        if let Some(act) = &mut self.pause {
            act(transport);
        }
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        self.record.add(Happened::Resumed);
        if let Some(act) = &mut self.resume {
            act(transport);
        }
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        self.record.add(Happened::Lost);
        self.record.0.borrow_mut().reason = Some(reason.clone());
        if let Some(act) = &mut self.lost {
            act(transport, reason);
        }
    }
}

/// A factory that gives out one protocol and refuses everybody after it.
pub fn once<P: Protocol>(protocol: P) -> impl FnMut(Address) -> Option<P> {
    let mut protocol = Some(protocol);
    move |_| protocol.take()
}

/// Listens on a free port of loopback.
pub fn listen(reactor: &mut Reactor, factory: impl Factory) -> SocketAddr {
    listen_with(reactor, ConnectionOptions::default(), factory)
}

pub fn listen_with(
    reactor: &mut Reactor,
    options: ConnectionOptions,
    factory: impl Factory,
) -> SocketAddr {
    let options = ListenOptions::default().connection(options);
    let listener = reactor.listen_with(options, "127.0.0.1:0", factory).expect("a free port");
    let address = reactor.address(listener).expect("it listens");
    address.socket_addr().expect("it is TCP")
}

/// Turns the reactor until `done`.
pub fn turn_until(reactor: &mut Reactor, mut done: impl FnMut(&mut Reactor) -> bool) {
    let began = Instant::now();
    while !done(reactor) {
        reactor.turn(Some(Duration::from_millis(5))).expect("the loop goes on");
        assert!(began.elapsed() < PATIENCE, "it never came to that");
    }
}

/// As [`turn_until`], but the loop sleeps for as long as it likes: something has to wake it.
pub fn sleep_until(reactor: &mut Reactor, mut done: impl FnMut(&mut Reactor) -> bool) {
    let began = Instant::now();
    while !done(reactor) {
        reactor.turn(Some(PATIENCE)).expect("the loop goes on");
        assert!(began.elapsed() < PATIENCE, "nothing woke the loop");
    }
}

/// Turns the reactor while `client` runs in a thread of its own, and gives what it answers.
pub fn turn_while<T: Send + 'static>(
    reactor: &mut Reactor,
    client: impl FnOnce() -> T + Send + 'static,
) -> T {
    let handle = reactor.handle();
    let client = spawn(move || {
        let answer = client();
        let _ = handle.call_from_thread(|_| {}); // wakes the loop
        answer
    });
    turn_until(reactor, |_| client.is_finished());
    match client.join() {
        Ok(answer) => answer,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Words of a simulation's record, at least one for each kind of fault that it plays.
pub const FAULTS_TOLD: [&str; 14] = [
    "is cut",
    "mended",
    "crashes",
    "is killed",
    "starts again",
    "stands still",
    "is slow",
    "is thin",
    "loses datagrams",
    "doubles datagrams",
    "resets its connection",
    "ahead",
    "drifts",
    "descriptors",
];

/// A thread of the test's own.
pub fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::spawn(run)
}

/// A client of std's: blocking, but never for longer than a test may take.
pub fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Makes the close of `stream` a reset.
pub fn reset(stream: TcpStream) {
    let socket = socket2::SockRef::from(&stream);
    socket.set_linger(Some(Duration::ZERO)).expect("a socket");
}

/// A simulation with one listening `protocol` on its first reactor, and a peer that dialled it and
/// is connected.
pub fn served(seed: Option<u64>, protocol: impl Protocol) -> (Simulation, Peer) {
    served_with(seed, ConnectionOptions::default(), protocol)
}

/// The address at which [`served`] listens.
pub const SERVER: &str = "10.0.0.1:7";

/// A simulation that serves with `factory`, and a peer that has dialled and is not accepted yet.
pub fn dialled(
    seed: Option<u64>,
    options: ConnectionOptions,
    factory: impl Factory,
) -> (Simulation, Peer) {
    let mut simulation = seed.map_or_else(Simulation::calm, Simulation::new);
    let options = ListenOptions::default().connection(options);
    simulation.reactor().listen_with(options, SERVER, factory).expect("a free address");
    let peer = simulation.dial(SERVER).expect("a good address");
    (simulation, peer)
}

pub fn served_with(
    seed: Option<u64>,
    options: ConnectionOptions,
    protocol: impl Protocol,
) -> (Simulation, Peer) {
    let (mut simulation, peer) = dialled(seed, options, once(protocol));
    // It never comes to that when the connection is lost in the turn of its birth.
    simulation.run_until(|simulation| simulation.reactor().connection_count() > 0);
    (simulation, peer)
}

/// What a deferred came to; empty while it has not, and never more than one.
pub type Outcome<T> = Rc<RefCell<Vec<Result<T, Error>>>>;

pub fn outcome<T: 'static>(deferred: Deferred<T>) -> Outcome<T> {
    let outcome = Rc::new(RefCell::new(Vec::new()));
    let told = outcome.clone();
    deferred.then(move |_, result| told.borrow_mut().push(result));
    assert!(outcome.borrow().is_empty(), "from inside");
    outcome
}

/// Sends a signal to this process, by its name without `SIG`.
pub fn raise(name: &str) {
    let own = std::process::id().to_string();
    let sent = Command::new("kill").args(["-s", name, &own]).status();
    assert!(sent.expect("kill is everywhere").success());
}

/// Runs the test `name` in a process of its own, since it changes what belongs to the process.
pub fn in_its_own_process(name: &str, body: impl FnOnce()) {
    run_apart(name, None, body);
}

fn run_apart(name: &str, descriptors: Option<usize>, body: impl FnOnce()) {
    const MARK: &str = "ROPEWALK_TEST_PROCESS";
    if std::env::var(MARK).is_ok_and(|marked| marked == name) {
        return body();
    }
    let program = std::env::current_exe().expect("a test program");
    let mut command = match descriptors {
        None => Command::new(program),
        Some(most) => {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(format!("ulimit -n {most} && exec \"$0\" \"$@\"")).arg(program);
            shell
        }
    };
    let arguments = [name, "--exact", "--nocapture", "--test-threads=1"];
    let output = command.args(arguments).env(MARK, name).output().expect("a process");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "no test is named {name}: {said}");
}

/// As [`in_its_own_process`], in one that may have no more than `most` descriptors.
pub fn with_few_descriptors(name: &str, most: usize, body: impl FnOnce()) {
    run_apart(name, Some(most), body);
}

/// Opens files until there is no descriptor left.
pub fn use_up_descriptors() -> Vec<std::fs::File> {
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    files
}

/// How many descriptors this process has.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux").count()
}
