//! Forms that arrive at a server: stories on a simulated network, with files in memory, and some with
//! files on the disk.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use ropewalk_reactor::simulation::seeds;
use ropewalk_reactor::testing::Harness;
use ropewalk_reactor::{BoxError, Protocol as _, Simulation};

use super::*;
use crate::{Config, Exchange, HttpServer, Reply, Response, Site};

const PLACE: &str = "/uploads";

/// A body of one field and one file.
fn body(data: &[u8]) -> Vec<u8> {
    let mut body =
        b"--x\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nA title\r\n--x\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"../a.bin\"\r\n\
        Content-Type: image/png\r\n\r\n"
            .to_vec();
    body.extend_from_slice(data);
    body.extend_from_slice(b"\r\n--x--\r\n");
    body
}

fn head(path: &str, length: usize) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=x\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    head.into_bytes()
}

fn whole(path: &str, data: &[u8]) -> Vec<u8> {
    let body = body(data);
    [head(path, body.len()), body].concat()
}

fn forms(storage: &MemoryStorage) -> Forms {
    Forms::new().uploads_to(PLACE).storage(storage.clone())
}

/// Tells what it got; `/keep` keeps the file.
fn answer(mut form: Form, exchange: &mut Exchange<'_>) -> ropewalk_reactor::Result<Reply> {
    let mut text = String::new();
    for (name, value) in form.fields() {
        text += &format!("{name}={value};");
    }
    for file in form.files() {
        let (name, size) = (file.file_name(), file.size());
        text += &format!("{}:{name} of {size} as {:?};", file.name(), file.content_type());
    }
    if exchange.request().path() != "/keep" {
        return Ok(text.into());
    }
    let file = form.take_file("file").ok_or("no file")?;
    exchange.when(file.persist("/kept/a.bin"), |exchange, result| {
        exchange.respond(Response::text(format!("{result:?}")));
    });
    Ok(Reply::Later)
}

fn harness(forms: &Forms) -> Harness<HttpServer> {
    let config = Arc::new(Config::new().date(false));
    Harness::new(HttpServer::with_config(config, forms.handler(answer)))
}

/// Lets jobs be done.
fn written(harness: &mut Harness<HttpServer>) -> String {
    harness.advance(Duration::from_secs(1));
    String::from_utf8_lossy(&harness.written()).into_owned()
}

const TOLD: &str = "title=A title;file:a.bin of 5 as Some(\"image/png\");";

#[test]
fn a_form_comes_with_its_file_and_the_file_goes_unless_it_is_kept() {
    let storage = MemoryStorage::new();
    let mut harness = harness(&forms(&storage));
    harness.feed_bytewise(&whole("/", b"01234"));
    let answer = written(&mut harness);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(TOLD), "{answer}");
    assert_eq!(storage.files(), [], "it was dropped with the form");
    harness.feed(&whole("/keep", b"01234"));
    assert!(written(&mut harness).ends_with("Ok(())"));
    assert_eq!(storage.files(), [("/kept/a.bin".into(), b"01234".to_vec())]);
}

#[test]
fn a_file_without_content_is_one_if_it_has_a_name() {
    let storage = MemoryStorage::new();
    let mut harness = harness(&forms(&storage));
    harness.feed(&whole("/keep", b""));
    assert!(written(&mut harness).ends_with("Ok(())"));
    assert_eq!(storage.files(), [("/kept/a.bin".into(), Vec::new())]);
    // As browsers send it where no file was chosen.
    let unchosen = |data: &[u8]| {
        let body = String::from_utf8_lossy(&body(data)).replace("../a.bin", "").into_bytes();
        [head("/", body.len()), body].concat()
    };
    harness.feed(&unchosen(b""));
    assert!(written(&mut harness).ends_with("\r\n\r\ntitle=A title;"));
    harness.feed(&unchosen(b"1"));
    assert!(written(&mut harness).ends_with("file: of 1 as Some(\"image/png\");"));
}

#[test]
fn a_urlencoded_body_goes_to_the_same_handler_and_no_body_is_an_empty_form() {
    let mut harness = harness(&Forms::new().limits(FormLimits::new().fields(20)));
    let post = |kind: &str, body: &str| {
        let length = body.len();
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let urlencoded = "application/x-www-form-urlencoded";
    harness.feed_bytewise(post(urlencoded, "a=1&b=2+3&a=%C3%A9").as_bytes());
    assert!(written(&mut harness).ends_with("\r\n\r\na=1;b=2 3;a=\u{e9};"));
    harness.feed(post(urlencoded, "").as_bytes());
    assert!(written(&mut harness).ends_with("Content-Length: 0\r\n\r\n"));
    harness.feed(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(written(&mut harness).ends_with("Content-Length: 0\r\n\r\n"));
    harness.feed(post("text/plain", "a").as_bytes());
    assert!(written(&mut harness).starts_with("HTTP/1.1 415 Unsupported Media Type\r\n"));
    harness.feed(post(urlencoded, "a=1234567890123456789").as_bytes());
    assert!(written(&mut harness).starts_with("HTTP/1.1 413 Content Too Large\r\n"));
    harness.feed(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
          Transfer-Encoding: chunked\r\n\r\n14\r\na=123456789012345678\r\n1\r\n9\r\n0\r\n\r\n",
    );
    let answer = written(&mut harness);
    assert!(
        answer.contains("\r\n\r\n413 Content Too Large: the fields are too large\n"),
        "{answer}"
    );
    harness.feed(post("multipart/form-data; boundary=x", "").as_bytes());
    assert!(written(&mut harness).starts_with("HTTP/1.1 400 Bad Request\r\n"));
    harness.feed(&whole("/", b"01234"));
    assert!(written(&mut harness).ends_with("this form takes no files\n"));
}

#[test]
fn a_limit_or_a_fault_in_the_middle_removes_what_was_written() {
    let storage = MemoryStorage::new();
    let long = vec![b'a'; 300_000];
    let limits = FormLimits::new().file(250_000);
    let mut harness = harness(&forms(&storage).limits(limits));
    let body = body(&long);
    harness.feed(&head("/", body.len()));
    harness.feed(&body[..200_000]);
    harness.advance(Duration::from_secs(1));
    let there: Vec<_> = storage.files().into_iter().map(|(_, data)| data.len()).collect();
    assert!(matches!(there[..], [100_000..200_000]), "{there:?}");
    harness.feed(&body[200_000..]);
    let answer = written(&mut harness);
    assert!(answer.ends_with("\r\n\r\n413 Content Too Large: a file is too large\n"), "{answer}");
    assert_eq!(storage.files(), []);

    // The same, with a job under way, and a body that breaks off in mid-form.
    let mut harness = self::harness(&forms(&storage));
    let broken = [&body[..200_000], b"\r\n--x?"].concat();
    harness.feed(&head("/", broken.len()));
    harness.feed(&broken);
    let answer = written(&mut harness);
    assert!(
        answer.ends_with("\r\n\r\n400 Bad Request: malformed line at a boundary\n"),
        "{answer}"
    );
    assert_eq!(storage.files(), []);
}

#[test]
fn a_lost_connection_leaves_no_file_behind() {
    for waits in [Duration::ZERO, Duration::from_secs(1)] {
        let storage = MemoryStorage::new();
        let mut harness = harness(&forms(&storage));
        harness.feed(&whole("/", &[b'a'; 150_000])[..140_000]);
        harness.advance(waits);
        if !waits.is_zero() {
            assert_eq!(storage.files().len(), 1);
        }
        harness.reset();
        harness.advance(Duration::from_secs(1));
        assert!(harness.is_lost());
        assert_eq!(storage.files(), [], "after {waits:?}");
    }
}

#[test]
fn a_full_disk_is_told_as_such_and_frees_what_it_can() {
    let storage = MemoryStorage::new();
    storage.set_capacity(100_000);
    let mut harness = harness(&forms(&storage));
    harness.feed(&whole("/", &[b'a'; 100_000]));
    assert!(written(&mut harness).starts_with("HTTP/1.1 200 OK\r\n"));
    harness.feed(&whole("/", &[b'a'; 100_001]));
    let answer = written(&mut harness);
    assert!(answer.starts_with("HTTP/1.1 507 Insufficient Storage\r\n"), "{answer}");
    assert_eq!(storage.files(), []);
}

#[test]
fn a_client_that_is_faster_than_the_disk_waits_for_it() {
    let storage = MemoryStorage::new();
    let mut harness = harness(&forms(&storage));
    let body = body(&vec![b'a'; 2_000_000]);
    harness.feed(&head("/keep", body.len()));
    // No job comes back within one call: that is a disk that stands still.
    let taken = harness.with(|server, transport| {
        let mut taken = 0;
        for piece in body.chunks(50_000) {
            if transport.is_reading_paused() {
                break;
            }
            let mut data = BytesMut::from(piece);
            server.data_received(transport, &mut data).expect("it is well-formed");
            assert!(data.is_empty());
            taken += piece.len();
        }
        taken
    });
    assert_eq!(taken, 300_000, "the first piece above 256 KiB is the last");
    harness.advance(Duration::from_secs(1));
    assert!(!harness.with(|_, transport| transport.is_reading_paused()));
    harness.feed(&body[taken..]);
    assert!(written(&mut harness).ends_with("Ok(())"));
    assert_eq!(storage.files()[0].1.len(), 2_000_000);
}

#[test]
fn a_handlers_error_is_a_500_before_and_after_a_job() {
    for data in [&b""[..], b"01234"] {
        let storage = MemoryStorage::new();
        let handler = forms(&storage).handler(|_, _| Err::<Reply, BoxError>("its own".into()));
        let mut harness = Harness::new(HttpServer::new(handler));
        harness.feed(&whole("/", data));
        let answer = written(&mut harness);
        assert!(answer.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{answer}");
        assert!(harness.is_closed());
        assert_eq!(storage.files(), []);
    }
}

#[test]
fn on_any_network_an_upload_is_whole_or_nothing() {
    seeds(0..100, |simulation: &mut Simulation| {
        simulation.resets(200);
        let storage = MemoryStorage::new();
        let seen = Rc::new(Cell::new(0));
        let told = seen.clone();
        let handler = forms(&storage).handler(move |form, _| {
            told.set(told.get() + 1);
            Ok(format!("{}", form.files()[0].size()).into())
        });
        let hours = Duration::from_secs(1_000_000);
        let config = Config::new().body_timeout(hours).head_timeout(hours).min_body_rate(0);
        let site = Site::new(handler).config(config);
        simulation.reactor().listen("10.0.0.1:80", site).expect("the place is free");
        let mut peer = simulation.dial("10.0.0.1:80").expect("a good address");
        let data: Vec<u8> = (0..40_000u32).map(|at| (at % 251) as u8).collect();
        peer.write(&whole("/", &data));
        let mut answer = Vec::new();
        for _ in 0..100_000 {
            simulation.run_for(Duration::from_secs(1));
            answer.extend_from_slice(&peer.read());
            if peer.is_ended() || peer.was_reset() || answer.ends_with(b"40000") {
                break;
            }
        }
        if !peer.was_reset() {
            assert!(answer.ends_with(b"40000"), "{:?}", String::from_utf8_lossy(&answer));
            assert_eq!(seen.get(), 1);
        }
        drop(peer);
        simulation.run_for(Duration::from_secs(10));
        assert_eq!(storage.files(), []);
    });
}

#[test]
fn on_the_disk_a_file_is_its_owners_alone_and_an_existing_one_is_never_written_to() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let home = std::env::temp_dir().join(format!("ropewalk-forms-{}", std::process::id()));
    std::fs::create_dir_all(&home).expect("the temporary directory is writable");
    let disk = storage::Disk;
    let path = home.join("one");
    disk.create(&path).expect("it is new").write_all(b"one").expect("there is room");
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let kind = |path: &Path| disk.create(path).map(drop).map_err(|error| error.kind());
    assert_eq!(kind(&path), Err(io::ErrorKind::AlreadyExists));
    symlink("elsewhere", home.join("link")).expect("the directory is ours");
    assert_eq!(kind(&home.join("link")), Err(io::ErrorKind::AlreadyExists));
    disk.rename(&path, &home.join("two")).expect("it is there");
    assert_eq!(std::fs::read(home.join("two")).expect("it is there"), b"one");
    disk.remove(&home.join("two")).expect("it is there");
    std::fs::remove_dir_all(&home).expect("it is ours");
}

#[test]
fn the_answer_is_given_once() {
    let storage = MemoryStorage::new();
    let forms_seen = Rc::new(RefCell::new(Vec::new()));
    let seen = forms_seen.clone();
    let handler = forms(&storage).handler(move |form, _| {
        seen.borrow_mut().push(form.files().len());
        Ok("thanks".into())
    });
    let mut harness = Harness::new(HttpServer::new(handler));
    harness.feed(&[whole("/", b"1"), whole("/", b"2")].concat());
    assert_eq!(written(&mut harness).matches("thanks").count(), 2);
    assert_eq!(*forms_seen.borrow(), [1, 1]);
}
