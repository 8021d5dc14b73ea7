//! Clients that do not speak AMQP, or stop in the middle of it.

use ropewalk_amqp::codec::method::{basic, channel, confirm, connection, exchange, queue};
use ropewalk_amqp::codec::{BasicProperties, PROTOCOL_HEADER, ShortStr, TableBuf};
use ropewalk_amqp::server::Config;

use crate::wire::*;

const Q: ShortStr<'static> = ShortStr::literal("q");

/// A session with something of everything.
fn session() -> Vec<u8> {
    let mut octets = opening(&Opening::default());
    let table = TableBuf::new().with("x-max-length", 10).with("note", "text");
    let headers = TableBuf::new().with("a", 1i64);
    octets.extend(method(1, &channel::Open::default()));
    octets.extend(method(
        1,
        &queue::Declare { queue: Q, arguments: table.as_table(), ..Default::default() },
    ));
    octets.extend(method(
        1,
        &exchange::Declare { exchange: ShortStr::literal("x"), ..Default::default() },
    ));
    octets.extend(method(
        1,
        &queue::Bind { queue: Q, exchange: ShortStr::literal("x"), ..Default::default() },
    ));
    octets.extend(method(1, &confirm::Select::default()));
    let properties = BasicProperties {
        headers: Some(headers.as_table()),
        content_type: Some(ShortStr::literal("text/plain")),
        ..Default::default()
    };
    octets.extend(publish_with(1, &to("q"), &properties, &[b'x'; 500]));
    octets.extend(frame(8, 0, b""));
    octets.extend(method(1, &basic::Consume { queue: Q, ..Default::default() }));
    octets.extend(method(1, &basic::Ack { delivery_tag: 1, multiple: false }));
    octets.extend(method(1, &channel::Close::default()));
    octets
}

/// Small random numbers that repeat (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit as u64) as usize
    }
}

/// The server lives, and serves a well-behaved client.
fn still_serves(world: &mut World) {
    let mut client = world.open();
    client.declare(world, "sane");
    client.consume(world, "sane", "c", true);
    client.publish(world, "sane", "hello");
    assert_eq!(client.bodies(world), ["hello"]);
}

#[test]
fn a_session_may_end_after_any_octet_and_leaves_nothing_behind() {
    let octets = session();
    for end in 0..=octets.len() {
        // Without the timer of the broker, which may ring once more for channels that have gone.
        let mut world = World::with(Config::default().consumer_timeout(None));
        let mut client = world.dial();
        client.raw(&mut world, &octets[..end]);
        match end % 3 {
            0 => client.peer.close(),
            1 => client.peer.reset(),
            _ => client.peer.shutdown(),
        }
        world.run();
        assert_eq!(world.connections(), 0, "{end}");
        assert_eq!(world.simulation.reactor().connection_count(), 0, "{end}");
        assert_eq!(world.simulation.reactor().timer_count(), 0, "{end}");
        if end % 64 == 0 {
            still_serves(&mut world);
        }
    }
}

#[test]
fn a_mebibyte_of_noise_harms_nobody() {
    let mut world = World::new();
    let mut bystander = world.open();
    bystander.declare(&mut world, "bystander");
    bystander.consume(&mut world, "bystander", "c", true);
    for seed in 0..8 {
        let mut dice = Dice(seed);
        let noise: Vec<u8> = (0..1 << 20).map(|_| dice.roll() as u8).collect();
        // To a server that expects the header, a login, or anything at all.
        let octets = opening(&Opening::default());
        for polite in [0, PROTOCOL_HEADER.len(), octets.len()] {
            let mut client = world.dial();
            client.raw(&mut world, &octets[..polite]);
            client.raw(&mut world, &noise);
            for _ in 0..10 {
                world.run();
            }
            assert!(client.peer.is_ended(), "seed {seed}, after {polite} octets");
            bystander.publish(&mut world, "bystander", format!("{seed}"));
            assert_eq!(bystander.bodies(&mut world), [format!("{seed}")]);
        }
    }
    assert_eq!(world.connections(), 1);
}

#[test]
fn sessions_with_some_octets_changed_harm_nobody() {
    let octets = session();
    let start = opening(&Opening::default()).len();
    for seed in 0..3000 {
        let mut dice = Dice(seed);
        let mut changed = octets.clone();
        for _ in 0..=dice.below(3) {
            let at = start + dice.below(octets.len() - start);
            changed[at] = dice.roll() as u8;
        }
        let mut world = World::new();
        let mut client = world.dial();
        client.raw(&mut world, &changed);
        client.parse_all();
        client.peer.close();
        world.run();
        assert_eq!(world.connections(), 0, "seed {seed}");
    }
}

#[test]
fn frames_in_random_order_harm_nobody() {
    let parts: Vec<Vec<u8>> = vec![
        method(1, &channel::Open::default()),
        method(1, &channel::Close::default()),
        method(1, &channel::CloseOk {}),
        method(2, &channel::Open::default()),
        method(1, &queue::Declare { queue: Q, ..Default::default() }),
        method(1, &queue::Delete { queue: Q, ..Default::default() }),
        method(1, &basic::Consume { queue: Q, no_ack: true, ..Default::default() }),
        method(2, &basic::Consume { queue: Q, ..Default::default() }),
        method(2, &basic::Recover { requeue: true }),
        method(1, &basic::Get { queue: Q, ..Default::default() }),
        method(1, &basic::Ack { delivery_tag: 0, multiple: true }),
        method(1, &confirm::Select::default()),
        publish(1, "q", b"one"),
        publish(2, "q", &[b'2'; 5000]),
        frame(8, 0, b""),
        method(1, &to("q")),
        frame(2, 1, &header(3, b"\0\0")),
        frame(3, 1, b"abc"),
    ];
    for seed in 0..2000 {
        let mut dice = Dice(seed);
        let mut world = World::new();
        let mut client = world.connect();
        for _ in 0..40 {
            // Mostly what is legal at the beginning, then anything.
            let rude = if dice.below(4) == 0 { 0 } else { 3 };
            let part = dice.below(parts.len() - rude);
            client.peer.write(&parts[part]);
        }
        world.run();
        client.parse_all();
        client.peer.close();
        world.run();
        assert_eq!(world.connections(), 0, "seed {seed}");
        still_serves(&mut world);
    }
}

/// A table that holds a table that holds a table …, this deep; each level is an array if `array`.
fn nested(depth: usize, array: bool) -> Vec<u8> {
    let mut inner = Vec::new();
    // From the innermost out: what a level adds stands before what it holds.
    let mut heads = Vec::new();
    let mut len = 0_u32;
    for _ in 0..depth {
        let mut head: Vec<u8> = if array { Vec::new() } else { vec![1, b'a'] };
        head.push(if array { b'A' } else { b'F' });
        head.extend_from_slice(&len.to_be_bytes());
        len += head.len() as u32;
        heads.push(head);
    }
    if array {
        // The outermost is a table in any case: `{"a": [[[…]]]}`.
        inner.extend_from_slice(b"\x01a");
        len += 2;
    }
    let mut table = len.to_be_bytes().to_vec();
    table.append(&mut inner);
    heads.iter().rev().for_each(|head| table.extend_from_slice(head));
    table
}

#[test]
fn tables_nested_ten_thousand_deep_are_refused_wherever_they_come() {
    let declare = |table: &[u8]| {
        let mut payload = b"\0\x32\0\x0a\0\0\x01q\0".to_vec();
        payload.extend_from_slice(table);
        frame(1, 1, &payload)
    };
    let content = |table: &[u8]| {
        let mut octets = method(1, &to("q"));
        octets.extend(frame(2, 1, &header(0, &[&[0x20, 0], table].concat())));
        octets
    };
    let start_ok = |table: &[u8]| {
        let payload = [b"\0\x0a\0\x0b", table, b"\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US"];
        frame(1, 0, &payload.concat())
    };
    for array in [false, true] {
        let deep = nested(10_000, array);
        let cases = [
            (declare(&deep), "SYNTAX_ERROR - tables nested more than 64 deep"),
            (content(&deep), "INTERNAL_ERROR - cannot decode the content's properties"),
        ];
        for (octets, expected) in cases {
            let mut world = World::new();
            let mut bystander = world.open();
            let mut client = world.open();
            client.declare(&mut world, "q");
            client.raw(&mut world, &octets);
            let Some(Seen::Method(0, "connection.close", text)) = client.next(&mut world) else {
                panic!("it is refused")
            };
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(text.contains(expected), "{text}");
            bystander.declare(&mut world, "other");
            assert_eq!(world.connections(), 1);
            assert_eq!(world.messages(), 0);
        }
        // In a handshake, whose frames have 8 KiB, there is room for a thousand.
        let mut world = World::new();
        let mut client = world.dial();
        client.raw(&mut world, &PROTOCOL_HEADER);
        client.raw(&mut world, &start_ok(&nested(1_100, array)));
        client.next(&mut world);
        let seen = client.next(&mut world);
        assert!(matches!(seen, Some(Seen::Method(0, "connection.close", _))), "{seen:?}");
        still_serves(&mut world);
    }
}

#[test]
fn a_client_that_opens_channels_without_end_is_closed_and_takes_all_of_them_along() {
    for (limit, most) in [(2047, 2047), (0, 65_535)] {
        let mut world = World::with(Config::default().channel_max(limit));
        let mut bystander = world.open();
        let mut client = world.dial();
        let tune_ok = connection::TuneOk { channel_max: limit, frame_max: 131_072, heartbeat: 0 };
        client.raw(&mut world, &opening(&Opening { tune_ok, ..Default::default() }));
        for number in 1..=u16::MAX {
            client.peer.write(&method(number, &channel::Open::default()));
        }
        // More there are none: the next one is open already.
        client.peer.write(&method(1, &channel::Open::default()));
        let (mut opened, mut last) = (0, None);
        while let Some(seen) = client.next(&mut world) {
            opened += usize::from(matches!(seen, Seen::Method(_, "channel.open-ok", _)));
            last = Some(seen);
        }
        assert_eq!(opened, most);
        let Some(Seen::Method(0, "connection.close", text)) = last else { panic!("{last:?}") };
        let text = String::from_utf8_lossy(&text).into_owned();
        let expected = match limit {
            0 => "CHANNEL_ERROR - second 'channel.open' seen".to_owned(),
            _ => format!(
                "NOT_ALLOWED - number of channels opened ({most}) has reached the negotiated \
                 channel_max ({most})"
            ),
        };
        assert!(text.contains(&expected), "{text}");
        let channels = world.server.with_broker(|broker| broker.totals().channels);
        assert_eq!(channels, Some(1), "the bystander's");
        bystander.declare(&mut world, "undisturbed");
    }
}
