//! Whatever is sent, and however it is cut.

use proptest::prelude::*;

use super::*;

/// Something to send.
#[derive(Debug, Clone)]
enum Act {
    Text(String),
    Binary(Vec<u8>),
    Fragments(Vec<String>),
    Ping(Vec<u8>),
}

fn act() -> impl Strategy<Value = Act> {
    let text = prop_oneof!["[a\u{e9}\u{20ac}\u{1f600}]{0,40}", "[ab]{300,2000}"];
    prop_oneof![
        text.clone().prop_map(Act::Text),
        prop::collection::vec(0u8..8, 0..3000).prop_map(Act::Binary),
        prop::collection::vec(text, 1..5).prop_map(Act::Fragments),
        prop::collection::vec(any::<u8>(), 0..126).prop_map(Act::Ping),
    ]
}

proptest! {
    #[test]
    fn what_one_side_sends_the_other_receives(
        acts in prop::collection::vec(act(), 0..12),
        from_client: bool,
        compression in prop::option::of((any::<bool>(), 8u8..=15)),
        step in 1usize..600,
        streams: bool,
    ) {
        let agreed = compression.map(|(is_alone, bits)| agreed(is_alone, bits));
        let config = Arc::new(Config::new().deflate(Deflate::new().min_size(16)));
        let client = Connection::client(config.clone(), agreed);
        let server = Connection::server(config, agreed);
        let (mut sender, mut receiver) =
            if from_client { (client, server) } else { (server, client) };
        let mut tape = Tape::default();
        let mut expected = Vec::new();
        let whole = |message: Message<'_>| match streams {
            true => Seen::Streamed(message.kind(), message.as_bytes().to_vec()),
            false => seen(message),
        };
        for act in acts {
            match act {
                Act::Text(text) => {
                    sender.send(Message::Text(&text), &mut tape);
                    expected.push(whole(Message::Text(&text)));
                }
                Act::Binary(data) => {
                    sender.send_bytes(data.clone().into(), &mut tape);
                    expected.push(whole(Message::Binary(&data)));
                }
                Act::Fragments(pieces) => {
                    for (at, piece) in pieces.iter().enumerate() {
                        let is_last = at + 1 == pieces.len();
                        sender.send_fragment(Message::Text(piece), is_last, &mut tape);
                    }
                    expected.push(whole(Message::Text(&pieces.concat())));
                }
                Act::Ping(data) => {
                    sender.ping(&data, &mut tape);
                    expected.push(Seen::Ping(data));
                }
            }
        }
        sender.close(CloseCode::NORMAL, "done", &mut tape);
        expected.push(Seen::Close(CloseCode::NORMAL, "done".to_owned()));
        prop_assert_eq!(receive(&mut receiver, &tape.octets, step, streams), expected);
    }

    #[test]
    fn how_input_is_cut_does_not_matter(
        frames in prop::collection::vec(
            (prop::sample::select(
                &[0x81u8, 0x01, 0x80, 0x00, 0x82, 0x89, 0xc1, 0xc2, 0x41, 0x88][..]),
             prop::collection::vec(any::<u8>(), 0..40)),
            0..6,
        ),
        step in 1usize..30,
        streams: bool,
    ) {
        let wire: Vec<u8> =
            frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect();
        let config = Arc::new(Config::new().max_message(60).deflate(Deflate::new()));
        let connection = || Connection::server(config.clone(), Some(agreed(false, 15)));
        let whole = receive(&mut connection(), &wire, wire.len(), streams);
        let cut = receive(&mut connection(), &wire, step, streams);
        // Of several faults in one compressed message, in pieces another may be seen first.
        let alike = |events: Vec<Seen>| {
            events.into_iter().map(|event| match event {
                Seen::Failed(Error::MessageTooLarge | Error::Inflate) => Seen::Failed(Error::Utf8),
                event => event,
            }).collect::<Vec<_>>()
        };
        prop_assert_eq!(alike(whole), alike(cut));
    }
}
