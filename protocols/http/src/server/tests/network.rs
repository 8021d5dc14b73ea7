//! Slow and capricious networks.

use super::*;

#[test]
fn a_large_echo_to_a_slow_reader_is_bounded_and_whole() {
    let options = ConnectionOptions::default().high_water_mark(8000).low_water_mark(2000);
    let server = HttpServer::with_config(Arc::new(Config::new().date(false)), Echo);
    let mut harness = Harness::with_options(server, options);
    let body: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    harness.stop_reading();
    harness.room(5000);
    let head = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    harness.feed(head.as_bytes());
    harness.feed(&body);
    let held =
        harness.with(|server, transport| transport.buffered() + server.connection.output.len());
    assert!(held < 8000 + 2 * 70_000, "{held} bytes are held: more than a mark and a read");
    assert!(harness.with(|_, transport| transport.is_reading_paused()));
    harness.resume_reading();
    let answer = harness.written();
    assert!(answer.ends_with(&body));
    assert!(harness.is_closed());
}

/// What a calm network shows for these requests is what every network must show.
#[test]
fn any_network_carries_the_same_conversation() {
    let mut wire = Vec::new();
    for at in 0..12u32 {
        let body = vec![b'a' + at as u8; (at * at * 97) as usize];
        wire.extend_from_slice(match at % 4 {
            0 => b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n",
            1 => b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            2 => b"HEAD /2?q HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
            _ => b"\r\nPUT /3 HTTP/1.1\r\nHost: a\r\n",
        });
        match at % 4 {
            1 => {
                for chunk in body.chunks(1 + at as usize * 13) {
                    crate::codec::write_chunk(&mut wire, chunk);
                }
                crate::codec::write_last_chunk(&mut wire, &Headers::new());
            }
            3 => {
                let length = format!("Content-Length: {}\r\n\r\n", body.len());
                wire.extend_from_slice(length.as_bytes());
                wire.extend_from_slice(&body);
            }
            _ => {}
        }
    }
    let mut last = wire.clone();
    last.extend_from_slice(b"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");

    let mut calm = harness(Echo);
    calm.feed(&last);
    let expected = dechunked(&calm.written());
    assert!(calm.is_closed());

    for seed in 0..300 {
        let mut simulation = Simulation::new(seed);
        // Some of these networks carry four bytes a second.
        let hours = Duration::from_secs(100_000);
        let config =
            Config::new().date(false).head_timeout(hours).body_timeout(hours).send_timeout(hours);
        let config = Arc::new(config);
        let listening = simulation
            .reactor()
            .listen("10.0.0.1:80", move |_| HttpServer::with_config(config.clone(), Echo));
        assert!(listening.is_ok());
        let mut peer = simulation.dial("10.0.0.1:80").expect("a good address");
        peer.write(&last);
        let mut seen = Vec::new();
        for _ in 0..100_000 {
            simulation.run_for(Duration::from_secs(1));
            seen.extend_from_slice(&peer.read());
            if peer.is_ended() {
                break;
            }
        }
        assert!(peer.is_ended(), "seed {seed}: the server has not closed");
        assert!(dechunked(&seen) == expected, "seed {seed}: another conversation");
    }
}

/// The conversation without the borders of chunks, which follow those of the segments.
fn dechunked(mut wire: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while !wire.is_empty() {
        let end = wire.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
        let (head, rest) = wire.split_at(end);
        all.extend_from_slice(head);
        wire = rest;
        if head.windows(7).any(|seven| seven == b"chunked") {
            let (config, mut trailers) = (Config::new(), Headers::new());
            let mut decoder = crate::codec::ChunkedDecoder::new();
            loop {
                let (used, piece) =
                    decoder.decode(wire, &config, &mut trailers).expect("a valid body");
                wire = &wire[used..];
                match piece {
                    crate::codec::Piece::Data(data) => all.extend_from_slice(data),
                    crate::codec::Piece::Ended => break,
                    crate::codec::Piece::NeedMore => {
                        panic!("a cut body: {:?}", String::from_utf8_lossy(head))
                    }
                }
            }
        } else {
            let text = String::from_utf8_lossy(head).into_owned();
            let length = text.split("Content-Length: ").nth(1).and_then(|rest| {
                rest.split("\r\n").next().and_then(|number| number.parse::<usize>().ok())
            });
            // The only response without a body is HEAD's, and its text begins with `HEAD`.
            let length = if rest.starts_with(b"HTTP/1.1") { 0 } else { length.unwrap_or(0) };
            let (body, rest) = wire.split_at(length);
            all.extend_from_slice(body);
            wire = rest;
        }
    }
    all
}
