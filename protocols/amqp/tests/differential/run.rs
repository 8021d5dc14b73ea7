//! Runs a script against two brokers in step, and holds together what their clients see.
//!
//! What a step brings about can come late (RabbitMQ's queues are processes of their own), so
//! both are looked at until they agree, or for as long as nobody would wait.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use ropewalk_amqp::codec::ShortStr;
use ropewalk_amqp::codec::method::{exchange, queue};

use crate::normal::Names;
use crate::script::{CHANNELS, CONNECTIONS, Script, Sent, Step, Then};
use crate::wire::{Seen, Wire, encode};

/// How long the two may disagree.
const PATIENCE: Duration = Duration::from_secs(2);

/// An address for direct replies that leads nowhere.
const NOBODY: &str = "amq.rabbitmq.reply-to.nobody";

/// Connection and channel; channel 0 is the connection itself.
type Place = (usize, u16);

/// Added to the number of a connection for one beside it, that is greeted and refused.
const GREETING: usize = 100;

/// What the clients saw of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sight {
    answers: BTreeMap<Place, Vec<String>>,
    events: BTreeMap<Place, Vec<String>>,
    /// What came back; a channel of RabbitMQ sends it by itself, beside what its queues send.
    returns: BTreeMap<Place, Vec<String>>,
    confirms: BTreeMap<Place, BTreeMap<u64, bool>>,
    /// Each queue as somebody else sees it.
    queues: BTreeMap<String, String>,
}

struct Broker {
    address: SocketAddr,
    control: Wire,
    wires: Vec<Option<Wire>>,
    names: Names,
    /// The last address for direct replies that a client saw.
    address_for_replies: String,
    prefix: String,
    settled: BTreeMap<Place, BTreeMap<u64, bool>>,
    sight: Sight,
}

pub(crate) struct Both {
    rabbitmq: Broker,
    ours: Broker,
}

impl Both {
    pub(crate) fn connect(rabbitmq: SocketAddr, ours: SocketAddr) -> Both {
        Both { rabbitmq: Broker::connect(rabbitmq), ours: Broker::connect(ours) }
    }

    /// Runs a script; tells the first step of which the two make something different.
    pub(crate) fn run(&mut self, script: &Script) -> Result<(), String> {
        let result = self.steps(script);
        for broker in self.each() {
            broker.clean(script);
        }
        result
    }

    fn steps(&mut self, script: &Script) -> Result<(), String> {
        for broker in self.each() {
            broker.begin(script);
        }
        for (at, step) in script.steps.iter().enumerate() {
            for broker in self.each() {
                broker.take(step);
            }
            let started = Instant::now();
            loop {
                for broker in self.each() {
                    broker.look(&script.queues);
                }
                if self.rabbitmq.sight == self.ours.sight {
                    break;
                }
                if started.elapsed() > PATIENCE {
                    return Err(self.tell(&script.steps[..=at]));
                }
                thread::sleep(Duration::from_millis(2)); // nothing tells when RabbitMQ is done
            }
        }
        Ok(())
    }

    /// What the clients of each see of the last of these steps, until they have seen these parts of
    /// it, or as long as nobody would wait.
    pub(crate) fn probe(&mut self, steps: fn() -> Script, parts: [&str; 2]) -> [String; 2] {
        let script = steps();
        let mut seen = [String::new(), String::new()];
        for ((broker, part), seen) in self.each().into_iter().zip(parts).zip(&mut seen) {
            broker.begin(&script);
            broker.names.keep_known = true;
            for step in &script.steps {
                broker.take(step);
                broker.look(&script.queues);
            }
            let started = Instant::now();
            loop {
                let Sight { answers, events, returns, .. } = broker.sight.clone();
                let texts: Vec<_> = [answers, events, returns]
                    .into_iter()
                    .flat_map(BTreeMap::into_values)
                    .flatten()
                    .collect();
                *seen = texts.join("; ");
                if part.is_empty() || seen.contains(part) || started.elapsed() > PATIENCE {
                    break;
                }
                thread::sleep(Duration::from_millis(2)); // nothing tells when RabbitMQ is done
                broker.look(&script.queues);
            }
            broker.clean(&script);
        }
        seen
    }

    fn each(&mut self) -> [&mut Broker; 2] {
        [&mut self.rabbitmq, &mut self.ours]
    }

    fn tell(&self, steps: &[Step]) -> String {
        let mut text = String::new();
        for (at, step) in steps.iter().enumerate() {
            let _ = writeln!(text, "  {at}. {step}");
        }
        let (theirs, ours) =
            (format!("{:#?}", self.rabbitmq.sight), format!("{:#?}", self.ours.sight));
        let _ = writeln!(text, "  RabbitMQ (-) and ours (+):");
        let (theirs, ours): (Vec<_>, Vec<_>) = (theirs.lines().collect(), ours.lines().collect());
        let same = |a: &[&str], b: &[&str]| a.iter().all(|line| b.contains(line));
        if same(&theirs, &ours) && same(&ours, &theirs) {
            let _ = writeln!(text, "{theirs:#?}\n{ours:#?}"); // they differ in order
        }
        for line in &theirs {
            if !ours.contains(line) {
                let _ = writeln!(text, "  - {}", line.trim());
            }
        }
        for line in &ours {
            if !theirs.contains(line) {
                let _ = writeln!(text, "  + {}", line.trim());
            }
        }
        text
    }
}

impl Broker {
    fn connect(address: SocketAddr) -> Broker {
        Broker {
            address,
            control: Wire::connect(address),
            wires: Vec::new(),
            names: Names::default(),
            address_for_replies: String::new(),
            prefix: String::new(),
            settled: BTreeMap::new(),
            sight: Sight::default(),
        }
    }

    fn begin(&mut self, script: &Script) {
        self.wires = (0..CONNECTIONS).map(|_| None).collect();
        self.names = Names::default();
        NOBODY.clone_into(&mut self.address_for_replies);
        self.prefix.clone_from(&script.prefix);
        self.settled.clear();
        self.sight = Sight::default();
    }

    /// Hangs up, and deletes all that a script may have left.
    fn clean(&mut self, script: &Script) {
        self.wires.clear();
        let none = format!("{}none", script.prefix); // which a script may have declared
        for name in script.queues.iter().chain([&none]) {
            let queue = ShortStr::new(name.as_bytes()).unwrap();
            self.ask(&encode(1, &queue::Delete { queue, ..Default::default() }));
        }
        for name in script.exchanges.iter().chain([&none]) {
            let exchange = ShortStr::new(name.as_bytes()).unwrap();
            self.ask(&encode(1, &exchange::Delete { exchange, ..Default::default() }));
        }
    }

    /// Sends a step, on a channel that is opened if it is not open, and reads until all that it
    /// is answered with has come.
    fn take(&mut self, step: &Step) {
        self.sight = Sight::default();
        let (connection, channel) = (step.connection, step.channel);
        if let Sent::Greeting(octets) = &step.sent {
            return self.greet(connection, octets);
        }
        if !self.wires[connection].as_ref().is_some_and(|wire| wire.is_open) {
            self.settled.retain(|place, _| place.0 != connection);
            self.wires[connection] = Some(Wire::connect(self.address));
        }
        let Some(wire) = &mut self.wires[connection] else { return };
        if !wire.open.contains(&channel) {
            self.settled.remove(&(connection, channel));
            wire.open_channel(channel);
        }
        match &step.sent {
            Sent::Octets(octets) | Sent::Greeting(octets) => wire.send(octets),
            Sent::ToAddress(make) => wire.send(&make(channel, &self.address_for_replies)),
        }
        match step.then {
            Then::Answer => self.read_until(connection, |from, seen| {
                from == channel && matches!(seen, Seen::Answer(_) | Seen::Closed(_))
            }),
            Then::Ping => {
                wire.ping(channel);
                self.read_until(connection, |from, seen| match seen {
                    Seen::Pong => from == channel,
                    Seen::Closed(_) => from == channel,
                    _ => false,
                });
            }
            Then::ChannelEnds => self.read_until(connection, |from, seen| {
                from == channel && matches!(seen, Seen::Closed(_))
            }),
            // Who hangs up then is nobody's business.
            Then::ConnectionEnds => self
                .read_until(connection, |from, seen| from == 0 && matches!(seen, Seen::Closed(_))),
        }
        // What a channel that is closed in this step got before is nobody's any more, and what
        // RabbitMQ's queues had for it may or may not have come.
        if let Some(wire) = &self.wires[connection] {
            let is_open = |place: &Place| {
                place.0 != connection || place.1 == 0 || wire.open.contains(&place.1)
            };
            self.sight.events.retain(|place, _| is_open(place));
            self.sight.returns.retain(|place, _| is_open(place));
            self.sight.confirms.retain(|place, _| is_open(place));
            for (place, answers) in &mut self.sight.answers {
                if !is_open(place) && !answers.iter().any(|text| text == "as asked") {
                    answers.retain(|text| text.starts_with("Close ") || text == "gone");
                }
            }
            self.sight.answers.retain(|_, answers| !answers.is_empty());
        }
    }

    /// Says all that a client says from its protocol header on, and hears the answers.
    fn greet(&mut self, connection: usize, octets: &[u8]) {
        let mut wire = Wire::bare(self.address);
        wire.send(octets);
        loop {
            let (channel, seen) = wire.receive();
            if seen == Seen::Gone {
                break;
            }
            self.note((GREETING + connection, channel), seen);
        }
    }

    /// Reads until `enough`, or until the connection is gone.
    fn read_until(&mut self, connection: usize, enough: impl Fn(u16, &Seen) -> bool) {
        let Some(mut wire) = self.wires[connection].take() else { return };
        loop {
            let (channel, seen) = wire.receive();
            let is_enough = enough(channel, &seen) || seen == Seen::Gone;
            let is_silent = matches!(&seen, Seen::Answer(text) if text.starts_with("silence"));
            // RabbitMQ may send a message to a channel that it has just closed.
            let is_late = matches!(seen, Seen::Event(_)) && !wire.open.contains(&channel);
            if !is_late {
                self.note((connection, channel), seen);
            }
            if is_enough || is_silent {
                break;
            }
        }
        self.wires[connection] = Some(wire);
    }

    fn note(&mut self, place: Place, seen: Seen) {
        match seen {
            Seen::Pong => {}
            Seen::Gone => self.answered(place, "gone"),
            Seen::Answer(text) | Seen::Closed(text) => self.answered(place, &text),
            Seen::Event(text) => {
                let text = self.normal(&text);
                let events = match text.starts_with("BasicReturn") {
                    true => &mut self.sight.returns,
                    false => &mut self.sight.events,
                };
                events.entry(place).or_default().push(text);
            }
            Seen::Confirm(tag, multiple, good) => {
                let settled = self.settled.entry(place).or_default();
                let confirms = self.sight.confirms.entry(place).or_default();
                for tag in if multiple { 1..=tag } else { tag..=tag } {
                    if settled.insert(tag, good).is_none() {
                        confirms.insert(tag, good);
                    }
                }
            }
        }
    }

    fn answered(&mut self, place: Place, text: &str) {
        let text = self.normal(text);
        self.sight.answers.entry(place).or_default().push(text);
    }

    fn normal(&mut self, text: &str) -> String {
        if let Some((_, address)) = text.split_once("reply_to: Some(\"amq.rabbitmq.reply-to.")
            && let Some((token, _)) = address.split_once('"')
        {
            self.address_for_replies = format!("amq.rabbitmq.reply-to.{token}");
        }
        self.names.normalise(text).replace(&self.prefix, "")
    }

    /// Looks at every queue from outside, which has to wait for what the queue has been told;
    /// then at every open channel, to which the queue may have sent something.
    fn look(&mut self, queues: &[String]) {
        for name in queues {
            let queue = ShortStr::new(name.as_bytes()).unwrap();
            let passive = queue::Declare { queue, passive: true, ..Default::default() };
            let answer = self.ask(&encode(1, &passive));
            let (name, answer) = (self.normal(name), self.normal(&answer));
            self.sight.queues.insert(name, answer);
        }
        for connection in 0..CONNECTIONS {
            for channel in 1..=CHANNELS {
                let Some(wire) = &mut self.wires[connection] else { continue };
                if wire.open.contains(&channel) {
                    wire.ping(channel);
                    self.read_until(connection, |from, seen| {
                        from == channel && matches!(seen, Seen::Pong | Seen::Closed(_))
                    });
                }
            }
        }
    }

    /// The control connection's answer.
    fn ask(&mut self, octets: &[u8]) -> String {
        if !self.control.open.contains(&1) {
            self.control.open_channel(1);
        }
        self.control.send(octets);
        match self.control.receive() {
            (_, Seen::Answer(text) | Seen::Closed(text)) => text,
            (_, seen) => format!("{seen:?}"),
        }
    }
}
