//! The codec alone: every way of cutting the bytes gives the same, and patterns match as in the
//! plainest reading of Redis's rules.

use bytes::Bytes;
use proptest::prelude::*;
use ropewalk_redis::codec::{
    Encoder, ReplyDecoder, ReplyError, ReplyLimits, RequestDecoder, RequestError, RequestLimits,
    Value, Version, encode_command, matches,
};

type Commands = Vec<Vec<Vec<u8>>>;

/// Feeds `chunks` as a connection would: what is not consumed is there again.
fn requests<'a>(
    limits: RequestLimits,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Commands, Option<RequestError>) {
    let (mut decoder, mut data, mut came) = (RequestDecoder::new(limits), Vec::new(), Vec::new());
    for chunk in chunks {
        data.extend_from_slice(chunk);
        loop {
            let used = match decoder.decode(&data) {
                Err(error) => return (came, Some(error)),
                Ok(None) => break,
                Ok(Some((request, used))) => {
                    came.push(request.from(0).map(<[u8]>::to_vec).collect());
                    used
                }
            };
            data.drain(..used);
        }
    }
    (came, None)
}

fn replies<'a>(
    limits: ReplyLimits,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Value>, Option<ReplyError>) {
    let (mut decoder, mut data, mut came) = (ReplyDecoder::new(limits), Vec::new(), Vec::new());
    for chunk in chunks {
        data.extend_from_slice(chunk);
        loop {
            match decoder.decode(&data) {
                Err(error) => return (came, Some(error)),
                Ok((used, value)) => {
                    data.drain(..used);
                    match value {
                        Some(value) => came.push(value),
                        None => break,
                    }
                }
            }
        }
    }
    (came, None)
}

fn cut<'a>(data: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut % (data.len() + 1)).collect();
    places.extend([0, data.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &data[pair[0]..pair[1]]).collect()
}

/// Bytes that look like the protocol, so that most of it is understood.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"*1\r\n".to_vec()),
        Just(b"*2\r\n".to_vec()),
        Just(b"*-1\r\n".to_vec()),
        Just(b"*0\r\n".to_vec()),
        Just(b"$1\r\na\r\n".to_vec()),
        Just(b"$3\r\nabc\r\n".to_vec()),
        Just(b"$0\r\n\r\n".to_vec()),
        Just(b"$9\r\n".to_vec()),
        Just(b"PING 'a b' \"c\\x41\"\r\n".to_vec()),
        Just(b"get x\n".to_vec()),
        Just(b"\r\n".to_vec()),
        proptest::collection::vec(
            prop_oneof![Just(b'*'), Just(b'$'), Just(b'1'), Just(b'\r'), Just(b'\n'), any::<u8>()],
            0..6
        ),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn reply_noise() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        &b"+OK\r\n"[..],
        &b"-ERR no\r\n"[..],
        &b":42\r\n"[..],
        &b"$3\r\nabc\r\n"[..],
        &b"$-1\r\n"[..],
        &b"_\r\n"[..],
        &b"#t\r\n"[..],
        &b",1.5\r\n"[..],
        &b"(123\r\n"[..],
        &b"=5\r\ntxt:a\r\n"[..],
        &b"!3\r\nERR\r\n"[..],
        &b"*2\r\n"[..],
        &b">1\r\n"[..],
        &b"%1\r\n"[..],
        &b"~0\r\n"[..],
        &b"|1\r\n"[..],
        &b"*?\r\n"[..],
        &b".\r\n"[..],
        &b"$?\r\n"[..],
        &b";2\r\nab\r\n"[..],
        &b";0\r\n"[..],
        &b"\r\n"[..],
        &b"*"[..],
    ];
    let piece = proptest::sample::select(pieces.to_vec());
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

fn small() -> RequestLimits {
    RequestLimits { arguments: 8, bulk: 16, request: 100, unauthenticated: false }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn commands_come_out_as_they_were_sent_however_they_were_cut(
        commands in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 1..6), 0..6),
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        let mut wire = Vec::new();
        for command in &commands {
            let arguments: Vec<_> = command.iter().map(Vec::as_slice).collect();
            encode_command(&mut wire, &arguments);
        }
        for chunks in [cut(&wire, &[]), cut(&wire, &cuts), wire.chunks(1).collect()] {
            prop_assert_eq!(requests(RequestLimits::default(), chunks), (commands.clone(), None));
        }
    }

    #[test]
    fn anything_is_read_the_same_however_it_was_cut(
        wire in noise(),
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        let whole = requests(small(), [&wire[..]]);
        prop_assert_eq!(&requests(small(), cut(&wire, &cuts)), &whole, "in pieces");
        prop_assert_eq!(&requests(small(), wire.chunks(1)), &whole, "byte by byte");
    }

    #[test]
    fn any_reply_is_read_the_same_however_it_was_cut(
        wire in reply_noise(),
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        let limits = ReplyLimits { depth: 3, values: 12, bytes: 20, line: 20 };
        let whole = replies(limits, [&wire[..]]);
        prop_assert_eq!(&replies(limits, cut(&wire, &cuts)), &whole, "in pieces");
        prop_assert_eq!(&replies(limits, wire.chunks(1)), &whole, "byte by byte");
    }

    #[test]
    fn a_pattern_matches_as_in_the_recursive_reading(
        pattern in letters("ab*?[]^-\\"),
        name in letters("ab-]"),
    ) {
        prop_assert_eq!(matches(&pattern, &name), model(&pattern, &name));
    }
}

fn letters(of: &'static str) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(proptest::sample::select(of.as_bytes()), 0..9)
}

/// Redis's rules, one call a byte: a star takes none, or one more.
fn model(pattern: &[u8], name: &[u8]) -> bool {
    let (Some(&first), Some(&byte)) = (pattern.first(), name.first()) else {
        return name.is_empty() && (pattern.is_empty());
    };
    let behind = |pattern: &[u8]| {
        let rest = &name[1..];
        // Behind the last byte, stars are nothing.
        match rest.is_empty() {
            true => pattern.iter().all(|&byte| byte == b'*'),
            false => model(pattern, rest),
        }
    };
    match first {
        b'*' if pattern[1..].iter().all(|&byte| byte == b'*') => true,
        b'*' => (0..name.len()).any(|taken| model(&pattern[1..], &name[taken..])),
        b'?' => behind(&pattern[1..]),
        b'[' => {
            let mut members = &pattern[1..];
            let negated = members.first() == Some(&b'^');
            members = &members[usize::from(negated)..];
            let mut found = false;
            loop {
                let used = match members {
                    [] => break,
                    [b'\\', member, ..] => {
                        found |= *member == byte;
                        2
                    }
                    [b']', ..] => {
                        members = &members[1..];
                        break;
                    }
                    [from, b'-', to, ..] => {
                        found |= (*from <= byte && byte <= *to) || (*to <= byte && byte <= *from);
                        3
                    }
                    [member, ..] => {
                        found |= *member == byte;
                        1
                    }
                };
                members = &members[used..];
            }
            found != negated && behind(members)
        }
        b'\\' if pattern.len() > 1 => pattern[1] == byte && behind(&pattern[2..]),
        literal => literal == byte && behind(&pattern[1..]),
    }
}

#[test]
fn bytes_of_an_unfinished_command_are_not_looked_at_again() {
    let mut decoder = RequestDecoder::default();
    let wire = b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$5\r\nhe";
    assert!(matches!(decoder.decode(wire), Ok(None)));
    // If they were, these would be an error.
    let mut later = vec![b'?'; wire.len() - 2];
    later.extend_from_slice(b"hello\r\n");
    let (request, used) = decoder.decode(&later).expect("no error").expect("it is whole");
    assert_eq!((&request[2], used), (&b"hello"[..], later.len()));

    let mut decoder = RequestDecoder::default();
    assert!(matches!(decoder.decode(b"PI\nNG".get(..2).expect("two")), Ok(None)));
    let (_, used) = decoder.decode(b"\n\nNG\n").expect("no error").expect("it is whole");
    assert_eq!(used, 5, "the line ends behind what was searched");
}

#[test]
fn what_is_too_much_is_refused_from_its_length() {
    let authenticated = RequestLimits::default();
    let unknown = RequestLimits::UNAUTHENTICATED;
    let long = "a".repeat(70_000);
    for (limits, wire, error) in [
        (authenticated, "*x\r\n", RequestError::InvalidMultibulkLength),
        (authenticated, "*1048577\r\n", RequestError::InvalidMultibulkLength),
        (authenticated, "*9999999999999999999\r\n", RequestError::InvalidMultibulkLength),
        (authenticated, "*1\r\n$x\r\n", RequestError::InvalidBulkLength),
        (authenticated, "*1\r\n$-1\r\n", RequestError::InvalidBulkLength),
        (authenticated, "*1\r\n$67108865\r\n", RequestError::InvalidBulkLength),
        (authenticated, "*1\r\n$9223372036854775807\r\n", RequestError::InvalidBulkLength),
        (authenticated, "*1\r\n:1\r\n", RequestError::ExpectedDollar(b':')),
        (authenticated, "PING 'a\r\n", RequestError::UnbalancedQuotes),
        (authenticated, &long, RequestError::InlineTooLong),
        (authenticated, &format!("*{long}"), RequestError::MultibulkLineTooLong),
        (authenticated, &format!("*1\r\n${long}"), RequestError::BulkLineTooLong),
        (unknown, "*11\r\n", RequestError::UnauthenticatedMultibulkLength),
        (unknown, "*1\r\n$16385\r\n", RequestError::UnauthenticatedBulkLength),
    ] {
        let (came, found) = requests(limits, [wire.as_bytes()]);
        assert_eq!(
            (came, found),
            (Commands::new(), Some(error)),
            "{}",
            &wire[..wire.len().min(40)]
        );
        assert!(error.to_string().starts_with("Protocol error: "));
    }
    let whole = requests(unknown, [&b"*10\r\n"[..]]);
    assert_eq!(whole, (vec![], None));
}

#[test]
fn a_whole_command_has_a_limit_too() {
    let mut wire = b"*8\r\n".to_vec();
    for _ in 0..8 {
        wire.extend_from_slice(b"$16\r\n0123456789abcdef\r\n");
    }
    assert_eq!(requests(small(), [&wire[..]]).1, Some(RequestError::InvalidBulkLength));
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn every_kind_of_reply_is_read() {
    let bulk = |it: &str| Value::Bulk(text(it));
    for (wire, expected) in [
        ("+OK\r\n", Value::Simple(text("OK"))),
        ("-ERR no such\r\n", Value::Error(text("ERR no such"))),
        (":-7\r\n", Value::Integer(-7)),
        ("$0\r\n\r\n", bulk("")),
        ("$4\r\na\r\nb\r\n", bulk("a\r\nb")),
        ("$-1\r\n", Value::Null),
        ("*-1\r\n", Value::Null),
        ("_\r\n", Value::Null),
        ("*0\r\n", Value::Array(vec![])),
        (
            "*2\r\n:1\r\n*1\r\n$1\r\na\r\n",
            Value::Array(vec![Value::Integer(1), Value::Array(vec![bulk("a")])]),
        ),
        (">2\r\n+a\r\n:1\r\n", Value::Push(vec![Value::Simple(text("a")), Value::Integer(1)])),
        ("%1\r\n+a\r\n:1\r\n", Value::Map(vec![(Value::Simple(text("a")), Value::Integer(1))])),
        ("~1\r\n:1\r\n", Value::Set(vec![Value::Integer(1)])),
        (",1.5\r\n", Value::Double(1.5)),
        (",-inf\r\n", Value::Double(f64::NEG_INFINITY)),
        ("#t\r\n", Value::Boolean(true)),
        ("#f\r\n", Value::Boolean(false)),
        ("(-12345678901234567890\r\n", Value::BigNumber(text("-12345678901234567890"))),
        ("!5\r\nERR x\r\n", Value::Error(text("ERR x"))),
        ("=7\r\ntxt:abc\r\n", Value::Verbatim(*b"txt", text("abc"))),
        ("|1\r\n+ttl\r\n:3\r\n:1\r\n", Value::Integer(1)),
        ("*1\r\n|1\r\n+ttl\r\n:3\r\n:1\r\n", Value::Array(vec![Value::Integer(1)])),
        ("$?\r\n;2\r\nab\r\n;1\r\nc\r\n;0\r\n", bulk("abc")),
        ("*?\r\n:1\r\n:2\r\n.\r\n", Value::Array(vec![Value::Integer(1), Value::Integer(2)])),
        (
            "%?\r\n+a\r\n:2\r\n.\r\n",
            Value::Map(vec![(Value::Simple(text("a")), Value::Integer(2))]),
        ),
    ] {
        let expected = (vec![expected], None);
        assert_eq!(replies(ReplyLimits::default(), [wire.as_bytes()]), expected, "{wire:?}");
        assert_eq!(
            replies(ReplyLimits::default(), wire.as_bytes().chunks(1)),
            expected,
            "{wire:?}"
        );
    }
}

#[test]
fn what_is_no_reply_is_refused() {
    let limits = ReplyLimits { depth: 3, values: 10, bytes: 10, line: 30 };
    for (wire, error) in [
        ("x", ReplyError::UnknownType(b'x')),
        (":1x\r\n", ReplyError::Malformed),
        ("$x\r\n", ReplyError::Malformed),
        ("$-2\r\n", ReplyError::Malformed),
        ("#x\r\n", ReplyError::Malformed),
        (",x\r\n", ReplyError::Malformed),
        ("(1x\r\n", ReplyError::Malformed),
        ("=3\r\ntxt\r\n", ReplyError::Malformed),
        ("+a\rb", ReplyError::LineEnd),
        ("$1\r\nabc", ReplyError::LineEnd),
        (".\r\n", ReplyError::UnknownType(b'.')),
        (";1\r\na\r\n", ReplyError::UnknownType(b';')),
        ("%?\r\n+a\r\n.\r\n", ReplyError::UnknownType(b'.')),
        ("$?\r\n+a\r\n", ReplyError::Malformed),
        ("*1\r\n*1\r\n*1\r\n*1\r\n", ReplyError::TooDeep),
        ("*11\r\n", ReplyError::TooLarge),
        (
            "*9\r\n*9\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
            ReplyError::TooLarge,
        ),
        ("$11\r\n", ReplyError::TooLarge),
        ("*2\r\n$9\r\n012345678\r\n$9\r\n012345678\r\n", ReplyError::TooLarge),
        ("+0123456789012345678901234567890", ReplyError::LineTooLong),
    ] {
        assert_eq!(replies(limits, [wire.as_bytes()]).1, Some(error), "{wire:?}");
        assert_eq!(replies(limits, wire.as_bytes().chunks(1)).1, Some(error), "{wire:?}");
    }
}

#[test]
fn what_the_encoder_writes_the_decoder_reads() {
    let mut wire = Vec::new();
    let mut encoder = Encoder::new(&mut wire, Version::Resp3);
    encoder.push(3);
    encoder.bulk("message");
    encoder.bulk("channel");
    encoder.bulk([0, 255, 13, 10]);
    let (came, error) = replies(ReplyLimits::default(), [&wire[..]]);
    assert_eq!(error, None);
    let items = came[0].as_items().expect("a push");
    assert_eq!(items[2].as_bytes().map(|it| &it[..]), Some(&[0, 255, 13, 10][..]));
}
