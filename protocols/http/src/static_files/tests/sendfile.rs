//! Files that the system sends by itself. (Between simulated hosts they are read, at the same place.)

use super::*;
use crate::{Compression, HandlerExt};

fn text() -> String {
    (0..60_000).map(|number| format!("{number}\n")).collect()
}

fn ask(handler: impl Handler, fields: &str) -> String {
    let config = Arc::new(Config::new().date(false));
    let mut harness = Harness::new(HttpServer::with_config(config, handler));
    // The second one shows that the first one's end is known.
    let head = format!("GET /large.txt HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    harness.feed(format!("{head}HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    harness.advance(Duration::from_secs(5));
    String::from_utf8_lossy(&harness.written()).into_owned()
}

#[test]
fn it_makes_no_difference_to_the_client() {
    let scratch = Scratch::new("sendfile");
    scratch.write("large.txt", &text());
    let files = |sendfile| StaticFiles::new(scratch.path("")).sendfile(sendfile);
    for fields in ["", "Range: bytes=100-300000\r\n", "Range: bytes=0-99999,200000-300000\r\n"] {
        let sent = ask(files(true), fields);
        let read = ask(files(false), fields);
        let bodies = [sent, read].map(|answer| {
            // The boundary between parts is a random one.
            let boundary =
                answer.split("boundary=").nth(1).and_then(|rest| rest.split("\r\n").next());
            boundary
                .map_or(answer.clone(), |boundary| answer.replace(boundary.trim_matches('"'), ""))
        });
        assert!(bodies[0] == bodies[1], "{fields:?}");
        assert!(bodies[0].len() > 190_000 && bodies[0].contains("HTTP/1.1 403 "), "{fields:?}");
    }
}

#[test]
fn what_is_compressed_on_the_way_is_read() {
    let scratch = Scratch::new("sendfile-compressed");
    scratch.write("large.txt", &text());
    let files = StaticFiles::new(scratch.path("")).sendfile(true);
    let answer = ask(HandlerExt::with(files, Compression::new()), "Accept-Encoding: gzip\r\n");
    assert!(answer.contains("\r\nContent-Encoding: gzip\r\n"), "{}", &answer[..300]);
    assert!(!answer.contains("\n100\n101\n102\n"));
}

#[test]
fn a_slow_reader_who_does_read_is_not_given_up() {
    let scratch = Scratch::new("sendfile-slow");
    scratch.write("large.txt", &text());
    let files = StaticFiles::new(scratch.path("")).sendfile(true);
    let config = Arc::new(Config::new().date(false).send_timeout(Duration::from_secs(10)));
    let mut harness = Harness::new(HttpServer::with_config(config, files));
    harness.room(5000);
    harness.feed(b"GET /large.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut seen = Vec::new();
    for _ in 0..20 {
        harness.stop_reading();
        harness.advance(Duration::from_secs(9));
        harness.resume_reading();
        seen.extend_from_slice(&harness.written());
    }
    harness.advance(Duration::from_secs(5));
    seen.extend_from_slice(&harness.written());
    assert!(seen.ends_with(text().as_bytes()), "{} bytes", seen.len());
}
