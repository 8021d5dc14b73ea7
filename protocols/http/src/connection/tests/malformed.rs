//! What is refused, and what is merely unusual: request smuggling lives in the difference.

use super::*;

/// Heads and bodies that another server on the path could read otherwise, or that are not HTTP.
/// The number is the status they get; each ends the connection.
pub(crate) const MALFORMED: &[(&str, u16, Error)] = &[
    // RFC 9112 §3: the request line
    ("GET /\r\n\r\n", 400, Error::RequestLine),
    ("GET\r\n\r\n", 400, Error::RequestLine),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::RequestLine),
    ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::RequestLine),
    ("GET / a HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::RequestLine),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, Error::LineEnd),
    ("GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::RequestLine),
    (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::RequestLine),
    ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::RequestLine),
    ("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::RequestLine),
    ("G{T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::RequestLine),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", 400, Error::RequestLine),
    ("GET / HTTP/11\r\nHost: a\r\n\r\n", 400, Error::RequestLine),
    ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, Error::LineEnd),
    ("GET / HTTP/x.1\r\nHost: a\r\n\r\n", 400, Error::RequestLine),
    ("\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n", 400, Error::RequestLine),
    // RFC 9110 §15.6.6: the major version
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, Error::Version),
    ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, Error::Version),
    ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, Error::Version),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, Error::Version),
    // RFC 9110 §15.6.2: methods
    ("FOO / HTTP/1.1\r\nHost: a\r\n\r\n", 501, Error::Method),
    ("get / HTTP/1.1\r\nHost: a\r\n\r\n", 501, Error::Method),
    ("A-METHOD-OF-MORE-THAN-22-BYTES / HTTP/1.1\r\nHost: a\r\n\r\n", 501, Error::Method),
    // RFC 9112 §3.2: the target
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::Target),
    ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::Target),
    ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::Target),
    ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::Target),
    ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::Target),
    ("GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::Target),
    ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::Target),
    ("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::Target),
    // RFC 9112 §3.2: Host
    ("GET / HTTP/1.1\r\n\r\n", 400, Error::HostMissing),
    ("GET http://a/ HTTP/1.1\r\n\r\n", 400, Error::HostMissing),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, Error::HostRepeated),
    ("GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", 400, Error::HostRepeated),
    ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, Error::HostRepeated),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, Error::HostInvalid),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, Error::HostInvalid),
    ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, Error::HostInvalid),
    ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, Error::HostInvalid),
    ("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", 400, Error::HostInvalid),
    // RFC 9112 §2.2 and §5: lines and fields
    ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::LineEnd),
    ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, Error::LineEnd),
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400, Error::LineEnd),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400, Error::LineEnd),
    ("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, Error::LineEnd),
    ("GET / HTTP/1.1\r\nHost: a\r\nX:\n\r\n", 400, Error::LineEnd),
    ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400, Error::LineEnd),
    ("GET / HTTP/1.1\n\n", 400, Error::LineEnd),
    ("GET / HTTP/1.1\rHost: a\r\n\r\n", 400, Error::LineEnd),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400, Error::FieldValue),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400, Error::FieldValue),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x08b\r\n\r\n", 400, Error::FieldValue),
    ("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400, Error::FieldName),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, Error::FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, Error::FieldName),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, Error::FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", 400, Error::FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400, Error::FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400, Error::FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n", 400, Error::FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\n(X): y\r\n\r\n", 400, Error::FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nCaf\u{e9}: y\r\n\r\n", 400, Error::FieldName),
    // RFC 9110 §8.6 and RFC 9112 §6.3: Content-Length
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", 400, Error::ContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400, Error::ContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400, Error::ContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 2\r\n\r\n", 400, Error::ContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n", 400, Error::ContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", 400, Error::ContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1.0\r\n\r\n", 400, Error::ContentLength),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
        400,
        Error::ContentLength,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
        Error::ContentLengthRepeated,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        400,
        Error::ContentLengthRepeated,
    ),
    // RFC 9112 §6.1 and §6.3: Transfer-Encoding
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        Error::LengthConflict,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n",
        400,
        Error::LengthConflict,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 1\r\n\r\na",
        400,
        Error::LengthConflict,
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400, Error::TransferEncoding),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \r\n\r\n", 400, Error::TransferEncoding),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        400,
        Error::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n",
        400,
        Error::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n",
        400,
        Error::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        400,
        Error::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        400,
        Error::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
        400,
        Error::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        400,
        Error::FieldName,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
        Error::FieldValue,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n",
        400,
        Error::FieldValue,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        400,
        Error::FieldName,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        Error::FieldName,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        400,
        Error::FieldName,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunk\r\n\r\n0\r\n\r\n",
        400,
        Error::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked identity\r\n\r\n0\r\n\r\n",
        400,
        Error::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: 'chunked'\r\n\r\n0\r\n\r\n",
        400,
        Error::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\u{a0}\r\n\r\n0\r\n\r\n",
        400,
        Error::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\rTransfer-Encoding: chunked\r\n\r\na",
        400,
        Error::FieldValue,
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \u{ff11}\r\n\r\na", 400, Error::ContentLength),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        501,
        Error::TransferCoding,
    ),
    (
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        Error::TransferEncodingVersion,
    ),
    ("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na", 400, Error::BodyNotAllowed),
    // RFC 9110 §10.1.1: expectations
    ("GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417, Error::Expectation),
    ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, tea\r\n\r\n", 417, Error::Expectation),
];

/// Behind a head that asks for a chunked body.
pub(crate) const MALFORMED_CHUNKS: &[(&str, Error)] = &[
    ("x\r\n", Error::ChunkSize),
    ("\r\n", Error::ChunkSize),
    ("-1\r\n", Error::ChunkSize),
    ("0x2\r\nab\r\n", Error::ChunkSize),
    ("2\nab\r\n", Error::ChunkSize),
    (" 2\r\nab\r\n", Error::ChunkSize),
    ("2 \r\nab\r\n", Error::ChunkSize),
    ("10000000000000000\r\n", Error::ChunkSize),
    ("fffffffffffffffff\r\n", Error::ChunkSize),
    ("2\r\nabc\r\n", Error::ChunkEnd),
    ("2\r\nab0\r\n\r\n", Error::ChunkEnd),
    ("2;a\nb\r\nab\r\n", Error::ChunkExtension),
    ("2;a\0\r\nab\r\n", Error::ChunkExtension),
    ("2;a\rb\r\nab\r\n", Error::ChunkSize),
    ("2\rab\r\n", Error::ChunkSize),
    ("2\t\r\nab\r\n", Error::ChunkSize),
    ("+2\r\nab\r\n", Error::ChunkSize),
    ("2_0\r\nab\r\n", Error::ChunkSize),
    ("2,\r\nab\r\n", Error::ChunkSize),
    ("00000000000000002\r\nab\r\n", Error::ChunkSize),
    ("2\r\nab\n0\r\n\r\n", Error::ChunkEnd),
    ("2\r\nab\r0\r\n\r\n", Error::ChunkEnd),
    ("0\r\nX: y\n\r\n", Error::LineEnd),
    ("0\r\n\n", Error::LineEnd),
    ("0\r\nX : y\r\n\r\n", Error::FieldName),
    ("0\r\nX: a\r\n b\r\n\r\n", Error::FieldName),
];

#[test]
fn what_is_malformed_is_refused_and_ends_the_connection() {
    for &(wire, status, error) in MALFORMED {
        let smuggled = format!("{wire}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        for wire in [wire, &smuggled] {
            for step in [1, 2, 3, 1000] {
                let story = talk(wire.as_bytes(), step);
                let what = wire.escape_debug();
                assert_eq!(story.error, Some(error), "{what} in steps of {step}");
                assert_eq!(story.statuses(), [status], "{what} in steps of {step}");
                assert!(story.over && story.requests.is_empty(), "{what} in steps of {step}");
                assert!(story.output.contains("\r\nConnection: close\r\n"), "{what}");
                assert!(story.output.contains("Content-Type: text/plain"), "{what}");
            }
        }
    }
}

#[test]
fn a_malformed_chunked_body_is_refused_and_ends_the_connection() {
    for &(chunks, error) in MALFORMED_CHUNKS {
        let wire =
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        for step in [1, 2, 3, 1000] {
            let story = talk(wire.as_bytes(), step);
            assert_eq!(story.error, Some(error), "{chunks:?}");
            assert_eq!(story.statuses(), [400], "{chunks:?}");
            assert!(story.over && story.requests.is_empty(), "{chunks:?}");
        }
    }
}

#[test]
fn what_is_unusual_but_valid_is_answered() {
    for (wire, seen) in [
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET /"),
        ("GET / HTTP/1.1\r\nhOsT:\t[::1]:80 \t\r\n\r\n", "GET /"),
        ("GET / HTTP/1.0\r\n\r\n", "GET /"),
        ("GET http://b/c?d HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://b/c?d"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS *"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "CONNECT a:443"),
        ("GET /caf\u{e9} HTTP/1.1\r\nHost: a\r\nX: caf\u{e9}\r\n\r\n", "GET /caf\u{e9}"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \t \r\n\r\n", "GET /"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0003\r\n\r\nabc", "POST / abc"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , chunked ,\r\n\r\n1\r\na\r\n0\r\n\r\n",
            "POST / a",
        ),
        ("GET / HTTP/1.0\r\nHost: a\r\nExpect: tea\r\n\r\n", "GET /"),
        ("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "TRACE /"),
    ] {
        let story = talk_in_all_ways(wire.as_bytes());
        assert_eq!(story.error, None, "{wire:?}");
        assert_eq!(story.requests, [seen], "{wire:?}");
        assert_eq!(story.statuses(), [200], "{wire:?}");
    }
}
