//! Stories of strings on a connection.

use ropewalk_line::{Error, Framing, LineTransport, StringProtocol, Strings};
use ropewalk_reactor::testing::{Harness, Pair};
use ropewalk_reactor::{Result, Simulation, Transport};

const FRAMINGS: [Framing; 4] =
    [Framing::Netstring, Framing::Prefix8, Framing::Prefix16, Framing::Prefix32];

/// Sends back what it gets, but for some words that it obeys.
struct Mirror(Framing);

impl StringProtocol for Mirror {
    fn string_received(&mut self, transport: &mut Transport<'_>, string: &[u8]) -> Result {
        match string {
            b"pause" => transport.pause_reading(),
            b"quit" => transport.lose_connection(),
            b"fail" => return Err("told to".into()),
            _ => drop(transport.send_string(self.0, string)?),
        }
        Ok(())
    }

    fn framing_failed(&mut self, transport: &mut Transport<'_>, error: &Error) {
        transport.write(error.to_string().as_bytes());
    }
}

/// Says a few things and keeps what it hears.
struct Caller(Framing, Vec<Vec<u8>>);

impl StringProtocol for Caller {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        for said in said() {
            transport.send_string(self.0, said)?;
        }
        Ok(())
    }

    fn string_received(&mut self, _: &mut Transport<'_>, string: &[u8]) -> Result {
        self.1.push(string.to_vec());
        Ok(())
    }
}

fn said() -> Vec<Vec<u8>> {
    vec![b"one".to_vec(), Vec::new(), vec![7; 255], b"3:abc,".to_vec()]
}

fn wire(framing: Framing, strings: &[&[u8]]) -> Vec<u8> {
    let framed = |string: &&[u8]| {
        let prefix = framing.prefix(string.len()).expect("short");
        [prefix.as_bytes(), string, framing.suffix()].concat()
    };
    strings.iter().flat_map(framed).collect()
}

fn harness(framing: Framing) -> Harness<Strings<Mirror>> {
    Harness::new(Strings::new(framing, Mirror(framing)).max_length(100))
}

#[test]
fn strings_are_delivered_whole_also_byte_by_byte() {
    for framing in FRAMINGS {
        let wire = wire(framing, &[b"one", b"", b"three"]);
        let mut whole = harness(framing);
        whole.feed(&wire);
        assert_eq!(whole.written(), wire);
        let mut bytewise = harness(framing);
        bytewise.feed_bytewise(&wire);
        assert_eq!(bytewise.written(), wire);
    }
}

#[test]
fn a_string_over_the_limit_is_refused_before_its_body_is_there() {
    for framing in FRAMINGS {
        let mut harness = harness(framing);
        let exact = wire(framing, &[&[b'x'; 100]]);
        harness.feed(&exact);
        assert_eq!(harness.written(), exact);
        harness.feed(framing.prefix(101).expect("short").as_bytes());
        assert_eq!(harness.written(), "a string is longer than 100 bytes", "the last words");
        assert!(harness.is_closed());
        harness.close();
        let Some(reason) = harness.reason() else { panic!("{framing:?}: not lost") };
        assert_eq!(reason.error(), Some(&Error::StringTooLong { limit: 100 }));
    }
}

#[test]
fn what_is_no_netstring_closes() {
    let mut harness = harness(Framing::Netstring);
    harness.feed(b"3:onexGET / HTTP/1.1\r\n");
    harness.close();
    let Some(reason) = harness.reason() else { panic!("not lost") };
    assert_eq!(reason.error(), Some(&Error::BadNetstring));
}

#[test]
fn nothing_behind_the_last_string_is_judged() {
    let mut harness = harness(Framing::Netstring);
    harness.feed(b"4:quit,no netstring");
    harness.close();
    assert_eq!(harness.reason().map(|reason| reason.to_string()).as_deref(), Some("closed here"));
}

#[test]
fn no_string_follows_the_one_that_paused_or_closed() {
    for framing in FRAMINGS {
        let mut harness = harness(framing);
        let rest = [&wire(framing, &[b"pause", b"two"])[..], b"\x00"].concat();
        harness.feed(&rest[..rest.len() - 1]);
        assert_eq!(harness.written(), "");
        harness.with(|_, transport| transport.resume_reading());
        assert_eq!(harness.written(), wire(framing, &[b"two"]));
        harness.feed(&wire(framing, &[b"quit", b"never"]));
        assert_eq!(harness.written(), "");
        assert!(harness.is_closed());
    }
}

#[test]
fn both_sides_understand_each_other_on_every_network() {
    for seed in 0..200 {
        for framing in FRAMINGS {
            let client = Strings::new(framing, Caller(framing, Vec::new()));
            let mut pair = Pair::new(seed, client, Strings::new(framing, Mirror(framing)));
            pair.settle();
            let heard = pair.client(|client, _| client.inner().1.clone());
            assert_eq!(heard, Some(said()), "seed {seed}, {framing:?}");
        }
    }
}

#[test]
fn calls_reach_the_protocol_inside() {
    let mut simulation = Simulation::calm();
    let reactor = simulation.reactor();
    let listening =
        reactor.listen("10.0.0.1:1", |_| Strings::netstrings(Mirror(Framing::Netstring)));
    assert!(listening.is_ok());
    let mut peer = simulation.dial("10.0.0.1:1").expect("a good address");
    simulation.settle();
    let id = simulation.reactor().connections()[0];
    let sent = simulation.reactor().with_protocol::<Mirror, _>(id, |_, transport| {
        transport.send_netstring("hello");
    });
    assert_eq!(sent, Some(()));
    simulation.settle();
    assert_eq!(peer.read(), "5:hello,");
}

#[test]
fn a_string_that_its_prefix_cannot_say_is_not_sent() {
    let mut harness = harness(Framing::Prefix8);
    let error = harness.with(|_, transport| transport.send_string(Framing::Prefix8, [0; 256]));
    assert_eq!(error, Err(Error::StringTooLong { limit: 255 }));
    assert_eq!(harness.written(), "");
}
