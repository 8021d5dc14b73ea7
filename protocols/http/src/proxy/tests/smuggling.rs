//! What two servers on one path could understand differently goes no further than the first; what is
//! only unusual goes on in the usual form.

use super::*;
use crate::Request;
use crate::codec::parse_request;
use crate::connection::tests::malformed::{MALFORMED, MALFORMED_CHUNKS};
use crate::connection::tests::talk;

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_malformed_head_reaches_no_other_server() {
    for (wire, status, _) in MALFORMED {
        let origin = Origin::default();
        let mut simulation = network(proxy(), &origin);
        let mut peer = dial(&mut simulation, &[wire, SMUGGLED].concat());
        assert_eq!(origin.got(), "", "{wire:?}");
        let answer = text(&mut peer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{wire:?}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n") && peer.is_ended(), "{wire:?}");
    }
}

#[test]
fn a_malformed_chunk_reaches_no_other_server_and_neither_does_what_follows() {
    for (chunks, _) in MALFORMED_CHUNKS {
        let origin = Origin::answering(&[Some("")]);
        let mut simulation = network(proxy(), &origin);
        let head = "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let wire = [head, "1\r\n!\r\n", chunks, SMUGGLED].concat();
        let mut peer = dial(&mut simulation, &wire);
        simulation.run_for(Duration::from_secs(5));
        let got = origin.got();
        assert!(got.is_empty() || got.starts_with("POST /p HTTP/1.1\r\n"), "{chunks:?}: {got}");
        assert!(!got.contains("smuggled") && !got.contains("\r\n0\r\n"), "{chunks:?}: {got}");
        assert!(text(&mut peer).starts_with("HTTP/1.1 400 "), "{chunks:?}");
        assert!(peer.is_ended(), "{chunks:?}");
    }
}

#[test]
fn what_is_unusual_is_understood_by_both_as_the_same() {
    for (wire, seen) in [
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /"),
        ("GET / HTTP/1.0\r\n\r\n", "GET /"),
        ("GET / HTTP/1.7\r\nHost: a\r\n\r\n", "GET /"),
        ("GET http://b/c?d HTTP/1.1\r\nHost: a\r\n\r\n", "GET /c?d"),
        ("GET //b/c HTTP/1.1\r\nHost: a\r\n\r\n", "GET //b/c"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS *"),
        ("GET /caf\u{e9} HTTP/1.1\r\nHost: a\r\nX: caf\u{e9}\r\n\r\n", "GET /caf\u{e9}"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0003\r\n\r\nabc", "POST / abc"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , chunked ,\r\n\r\n\
             1;x=\"y\"\r\na\r\n000\r\nTransfer-Encoding: gzip\r\nContent-Length: 9\r\n\r\n",
            "POST / a",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            "POST / ab",
        ),
        // What others might take for framing is not passed on.
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer_Encoding: chunked\r\n\
             Connection: Content-Length\r\n\r\nab",
            "POST / ab",
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 50\r\n\r\n", "GET /"),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n", "GET /"),
    ] {
        let origin = Origin::answering(&[Some("")]);
        let mut simulation = network(proxy(), &origin);
        dial(&mut simulation, &[wire, SMUGGLED].concat());
        let got = origin.got();
        let story = talk(got.as_bytes(), 1000);
        assert_eq!((story.requests, story.error), (vec![seen.to_owned()], None), "{wire:?}: {got}");
        let mut request = Request::default();
        assert!(parse_request(got.as_bytes(), &Config::new(), &mut request).is_ok());
        let host: Vec<_> = request.headers().get_all("host").collect();
        assert_eq!(host, [b"10.0.0.2:9000"], "{got}");
        let framing = ["transfer_encoding", "content_length", "upgrade", "te"];
        for name in framing {
            assert!(request.headers().get(name).is_none(), "{name}: {got}");
        }
    }
}

#[test]
fn a_malformed_answer_reaches_no_client() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nabcde",
        "HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        let origin = Origin::answering(&[Some(answer)]);
        let mut simulation = network(proxy(), &origin);
        let mut peer = dial(&mut simulation, GET);
        let said = text(&mut peer);
        assert!(said.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer:?}: {said}");
    }
}
