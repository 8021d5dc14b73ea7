//! Octets from a client, as the HTTP/1.1 codec takes them: heads and chunked bodies.
//!
//! Beyond not crashing: a head is whole at one place only, whatever stands behind it; its fields
//! can be written and are read again; how a chunked body is cut does not matter, and what was read
//! of it can be written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ropewalk_http::codec::{
    ChunkedDecoder, Piece, check_partial, has_blank_line, parse_request, write_chunk,
    write_last_chunk,
};
use ropewalk_http::{Config, Error, Headers, Request, Version};

fuzz_target!(|input: &[u8]| {
    let Some((&step, octets)) = input.split_first() else { return };
    head(octets);
    chunked(octets, usize::from(step).max(1));
    let _ = (has_blank_line(octets), check_partial(octets, &Config::new()));
});

fn head(octets: &[u8]) {
    let config = Config::new().extension_methods(step_is_odd(octets));
    let mut request = Request::default();
    let Ok(Some((length, framing))) = parse_request(octets, &config, &mut request) else { return };
    assert!(has_blank_line(&octets[..length]));

    let mut again = Request::default();
    let alone = parse_request(&octets[..length], &config, &mut again);
    assert_eq!(alone, Ok(Some((length, framing))), "what follows a head changed it");
    assert_eq!(parse_request(&octets[..length - 1], &config, &mut again), Ok(None));

    // Everything can be asked, and what is written from the answers is the same request.
    let _ = (request.path(), request.query(), request.host(), request.target_form());
    let version = if request.version() == Version::Http10 { "1.0" } else { "1.1" };
    let mut wire =
        format!("{} {} HTTP/{version}\r\n", request.method(), request.target()).into_bytes();
    let mut headers = Headers::new();
    for (name, value) in request.headers().iter() {
        assert!(headers.append(name, value), "the parser let an invalid field through");
        wire.extend_from_slice(name.as_bytes());
        wire.extend_from_slice(b":");
        wire.extend_from_slice(value);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"\r\n");
    let read = parse_request(&wire, &config, &mut again);
    assert_eq!(read, Ok(Some((wire.len(), framing))));
    assert_eq!(again.headers(), &headers);
    assert_eq!((again.method(), again.target()), (request.method(), request.target()));
}

fn step_is_odd(octets: &[u8]) -> bool {
    octets.len() % 2 == 1
}

type Decoded = Result<Option<(Vec<u8>, usize, Headers)>, Error>;

fn chunked(octets: &[u8], step: usize) {
    let whole = decode(octets, octets.len().max(1));
    let cut = decode(octets, step);
    match (&whole, &cut) {
        // In pieces, a malformed trailer section is looked at when it may be whole, or too long.
        (Err(_), Ok(None)) | (Err(_), Err(_)) => {}
        _ => assert_eq!(whole, cut, "cutting the body changed its meaning"),
    }
    let Ok(Some((body, used, trailers))) = whole else { return };
    assert_eq!(decode(&octets[..used - 1], step), Ok(None), "a cut body was taken for a whole one");
    let mut wire = Vec::new();
    for data in body.chunks(step) {
        write_chunk(&mut wire, data);
    }
    write_last_chunk(&mut wire, &trailers);
    let length = wire.len();
    assert_eq!(decode(&wire, length), Ok(Some((body, length, trailers))));
}

/// Decodes `wire`, given out `step` octets at a time.
fn decode(wire: &[u8], step: usize) -> Decoded {
    let (config, mut trailers) = (Config::new(), Headers::new());
    let mut decoder = ChunkedDecoder::new();
    let (mut body, mut from, mut to) = (Vec::new(), 0, 0);
    loop {
        let (used, piece) = decoder.decode(&wire[from..to], &config, &mut trailers)?;
        from += used;
        match piece {
            Piece::Data(data) => body.extend_from_slice(data),
            Piece::Ended => return Ok(Some((body, from, trailers))),
            Piece::NeedMore if to == wire.len() => return Ok(None),
            Piece::NeedMore => to = (to + step).min(wire.len()),
        }
    }
}
