//! Compression: for whom, of what, and what the head says of it.

use std::io::Read;

use super::*;
use crate::{Compression, HandlerExt, Status};

/// 3000 bytes of text.
fn page() -> String {
    "all work and no play\n".repeat(150)[..3000].to_owned()
}

/// A request, with these fields.
fn get(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

fn split(wire: &[u8]) -> (String, &[u8]) {
    let end = wire.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
    (String::from_utf8_lossy(&wire[..end]).into_owned(), &wire[end..])
}

/// The plain text of a body, which is chunked or not.
fn plain(head: &str, body: &[u8]) -> String {
    let mut whole = Vec::new();
    if head.contains("chunked") {
        let (config, mut trailers) = (Config::new(), Headers::new());
        let mut decoder = crate::codec::ChunkedDecoder::new();
        let mut wire = body;
        loop {
            let (used, piece) = decoder.decode(wire, &config, &mut trailers).expect("a valid body");
            wire = &wire[used..];
            match piece {
                crate::codec::Piece::Data(data) => whole.extend_from_slice(data),
                crate::codec::Piece::Ended | crate::codec::Piece::NeedMore => break,
            }
        }
    } else {
        whole.extend_from_slice(body);
    }
    decompressed(head, &whole)
}

fn decompressed(head: &str, body: &[u8]) -> String {
    let mut text = String::new();
    let read = if head.contains("Content-Encoding: gzip") {
        flate2::read::GzDecoder::new(body).read_to_string(&mut text)
    } else if head.contains("Content-Encoding: deflate") {
        flate2::read::ZlibDecoder::new(body).read_to_string(&mut text)
    } else {
        text = String::from_utf8(body.to_vec()).expect("it is text");
        Ok(text.len())
    };
    read.expect("it is whole");
    text
}

fn compressing(answer: impl FnMut(&Request) -> Response + 'static) -> Harness<HttpServer> {
    harness(answer.with(Compression::new()))
}

#[test]
fn a_page_is_compressed_for_who_takes_it() {
    let mut harness = compressing(|_| {
        Response::text(page()).header("ETag", "\"x\"").header("Accept-Ranges", "bytes")
    });
    for (accepted, coding) in [
        ("", None),
        ("Accept-Encoding: gzip\r\n", Some("gzip")),
        ("Accept-Encoding: deflate, br\r\n", Some("deflate")),
        ("Accept-Encoding: gzip, deflate, br, zstd\r\n", Some("gzip")),
        ("Accept-Encoding: gzip;q=0.2, deflate;q=0.8\r\n", Some("deflate")),
        ("Accept-Encoding: gzip;q=0\r\n", None),
        ("Accept-Encoding: gzip;q=0.5, identity\r\n", None),
        ("Accept-Encoding: *\r\n", Some("gzip")),
        ("Accept-Encoding: br\r\n", None),
    ] {
        for bytewise in [false, true] {
            if bytewise {
                harness.feed_bytewise(&get(accepted))
            } else {
                harness.feed(&get(accepted))
            }
            let wire = harness.written();
            let (head, body) = split(&wire);
            let told = coding.map(|coding| format!("\r\nContent-Encoding: {coding}\r\n"));
            assert_eq!(head.contains("Content-Encoding"), coding.is_some(), "{accepted}{head}");
            assert!(told.is_none_or(|told| head.contains(&told)), "{accepted}{head}");
            assert!(head.contains("\r\nVary: Accept-Encoding\r\n"), "{head}");
            assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
            assert_eq!(head.contains("ETag: W/\"x\""), coding.is_some(), "{head}");
            assert_eq!(head.contains("Accept-Ranges"), coding.is_none(), "{head}");
            assert_eq!(coding.is_some(), body.len() < 300);
            assert_eq!(plain(&head, body), page());
        }
    }
    harness.feed(b"HEAD / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let wire = harness.written();
    let (head, body) = split(&wire);
    assert!(head.contains("Content-Encoding: gzip") && body.is_empty(), "{head}");
}

#[test]
fn what_would_not_gain_or_must_not_change_goes_out_as_it_is() {
    let with = |name: &'static str, value: &'static str| {
        move || Response::text(page()).header(name, value)
    };
    let status = |status: Status| {
        move || {
            let mut response = Response::text(page());
            response.set_status(status);
            response
        }
    };
    let all: [(Box<dyn Fn() -> Response>, bool); 9] = [
        (Box::new(|| Response::text("short")), false),
        (Box::new(|| Response::new(Status::OK).body(page())), false),
        (Box::new(with("Content-Type", "image/png")), false),
        (Box::new(with("Cache-Control", "max-age=1, No-Transform")), false),
        (Box::new(with("Content-Encoding", "br")), true),
        (Box::new(with("Content-Digest", "sha-256=:x:")), true),
        (Box::new(status(Status::NO_CONTENT)), false),
        (Box::new(status(Status::NOT_MODIFIED)), true),
        (
            Box::new(|| {
                let mut response =
                    Response::text(page()).header("Content-Range", "bytes 0-2999/9000");
                response.set_status(Status::PARTIAL_CONTENT);
                response
            }),
            true,
        ),
    ];
    for (number, (response, varies)) in all.into_iter().enumerate() {
        let mut harness = compressing(move |_| response());
        harness.feed(&get("Accept-Encoding: gzip\r\n"));
        let (head, _) = split(&harness.written());
        assert!(!head.contains("gzip"), "{number}: {head}");
        assert_eq!(head.contains("Vary: Accept-Encoding"), varies, "{number}: {head}");
    }
}

#[test]
fn who_refuses_plain_text_is_spared_it() {
    let mut harness = compressing(|_| Response::text("short").header("Content-Type", "image/png"));
    harness.feed(&get("Accept-Encoding: gzip, identity;q=0\r\n"));
    let wire = harness.written();
    let (head, body) = split(&wire);
    assert!(head.contains("Content-Encoding: gzip"), "{head}");
    assert_eq!(plain(&head, body), "short");
    harness.feed(&get("Accept-Encoding: identity;q=0\r\n"));
    assert!(harness.written().ends_with(b"short"), "nothing else is there");
}

#[test]
fn vary_is_added_to_what_it_says_already_and_only_once() {
    for (there, expected) in [
        ("Cookie", "Vary: Cookie\r\nVary: Accept-Encoding\r\n"),
        ("cookie, accept-encoding", "Vary: cookie, accept-encoding\r\n"),
        ("*", "Vary: *\r\n"),
    ] {
        let mut harness = compressing(move |_| Response::text(page()).header("Vary", there));
        harness.feed(&get(""));
        let (head, _) = split(&harness.written());
        let varies: String = head
            .lines()
            .filter(|line| line.starts_with("Vary"))
            .map(|l| format!("{l}\r\n"))
            .collect();
        assert_eq!(varies, expected);
    }
}

#[test]
fn a_304_has_the_tag_that_the_client_was_given() {
    let mut harness = compressing(|_| Response::new(Status::NOT_MODIFIED).header("ETag", "\"x\""));
    for (condition, tag) in [("W/\"x\"", "ETag: W/\"x\""), ("\"x\"", "ETag: \"x\"")] {
        harness.feed(&get(&format!("If-None-Match: \"y\", {condition}\r\n")));
        let (head, _) = split(&harness.written());
        assert!(head.contains(tag) && head.contains("Vary: Accept-Encoding"), "{head}");
    }
}

#[test]
fn a_streamed_body_is_compressed_and_events_arrive_at_once() {
    for (kind, arrives_at_once) in [("text/event-stream", true), ("text/plain", false)] {
        let handler = with_exchange(move |_, exchange| {
            exchange.start(Response::new(Status::OK).header("Content-Type", kind), None);
            exchange.write(b"data: 0\n\n");
            for second in 1..4 {
                exchange.call_later(Duration::from_secs(second), move |exchange| {
                    exchange.write(format!("data: {second}\n\n").as_bytes());
                    if second == 3 {
                        exchange.finish();
                    }
                });
            }
            Ok(Reply::Later)
        });
        let mut harness = harness(handler.with(Compression::new()));
        harness.feed(&get("Accept-Encoding: gzip\r\n"));
        let mut wire = Vec::new();
        let mut expected = String::new();
        for second in 0..4 {
            wire.extend_from_slice(&harness.written());
            expected.push_str(&format!("data: {second}\n\n"));
            let (head, body) = split(&wire);
            if second < 3 {
                assert_eq!(so_far(body) == expected, arrives_at_once, "{kind}, {second}");
            } else {
                assert_eq!(plain(&head, body), expected, "{kind}");
            }
            harness.advance(Duration::from_secs(1));
        }
    }
}

/// As much as can be decompressed of the chunks that have come.
fn so_far(body: &[u8]) -> String {
    let mut whole = Vec::new();
    let (config, mut trailers) = (Config::new(), Headers::new());
    let mut decoder = crate::codec::ChunkedDecoder::new();
    let mut wire = body;
    while let Ok((used, crate::codec::Piece::Data(data))) =
        decoder.decode(wire, &config, &mut trailers)
    {
        whole.extend_from_slice(data);
        wire = &wire[used..];
    }
    let mut state = flate2::Decompress::new_gzip(15);
    let mut text = Vec::with_capacity(10_000);
    let _ = state.decompress_vec(&whole, &mut text, flate2::FlushDecompress::Sync);
    String::from_utf8(text).expect("it is text")
}

#[test]
fn a_large_body_is_the_same_when_it_is_decompressed() {
    // Text that does not shrink much: a generator of Lehmer's, written in hexadecimal.
    let mut state = 1_u64;
    let text: String = (0..100_000)
        .map(|_| {
            state = state * 48_271 % 0x7fff_ffff;
            format!("{state:08x}")
        })
        .collect();
    for pulled in [false, true] {
        let text = text.clone();
        let expected = text.clone();
        let mut harness = compressing(move |_| {
            if !pulled {
                return Response::text(text.clone());
            }
            let pieces: Vec<_> =
                text.as_bytes().chunks(70_001).map(Bytes::copy_from_slice).collect();
            Response::text("").pulled(Some(text.len() as u64), pieces)
        });
        harness.feed(&get("Accept-Encoding: deflate\r\n"));
        let wire = harness.written();
        let (head, body) = split(&wire);
        assert_eq!(head.contains("chunked"), pulled);
        assert!(plain(&head, body) == expected, "pulled: {pulled}");
    }
}

#[test]
fn a_large_file_is_compressed_on_its_way() {
    let text = page().repeat(300);
    let tree = crate::static_files::MemoryTree::new();
    tree.insert("a.txt", text.clone(), std::time::SystemTime::UNIX_EPOCH);
    let mut harness = harness(crate::StaticFiles::of(tree).with(Compression::new()));
    harness.feed(b"GET /a.txt HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    harness.advance(Duration::from_secs(1));
    let wire = harness.written();
    let (head, body) = split(&wire);
    assert!(head.contains("chunked") && head.contains("ETag: W/"), "{head}");
    assert!(plain(&head, body) == text);
    harness.feed(
        b"GET /a.txt HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nRange: bytes=0-3\r\n\r\n",
    );
    harness.advance(Duration::from_secs(1));
    let wire = harness.written();
    let (head, body) = split(&wire);
    assert!(head.contains(" 206 ") && head.contains("Vary: Accept-Encoding"), "{head}");
    assert_eq!(body, b"all ");
}
