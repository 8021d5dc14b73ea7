//! Large files and slow readers; files that change meanwhile; networks of every kind.

use ropewalk_reactor::{Simulation, simulation};

use super::body::PIECE;
use super::*;

/// Text in which every place is told from its neighbours.
fn text(length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        text.push_str(&format!("{:x} ", text.len()));
    }
    text.truncate(length);
    text
}

#[test]
fn a_slow_reader_has_no_more_than_three_pieces_in_memory() {
    let content = text(40 * PIECE + 17);
    let read: Arc<AtomicUsize> = Arc::default();
    let counting =
        Counting { tree: tree(&[("a", &content)]), opened: Arc::default(), read: read.clone() };
    let files = StaticFiles::of(counting);
    let mut simulation = Simulation::calm();
    simulation.capacity(10_000);
    let listening = simulation.reactor().listen("10.0.0.1:80", move |_| server(files.clone()));
    assert!(listening.is_ok());
    let mut peer = simulation.dial("10.0.0.1:80").expect("a good address");
    peer.stop_reading();
    peer.write(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut seen, mut most) = (Vec::new(), 0);
    for _ in 0..3000 {
        simulation.run_for(Duration::from_secs(1));
        seen.extend_from_slice(&peer.read_at_most(3000));
        most = most.max(read.load(Ordering::Relaxed).saturating_sub(seen.len()));
    }
    assert!(most <= 3 * PIECE, "{most} bytes were read and not sent");
    assert!(most > PIECE, "{most} bytes: nothing was read ahead");
    while seen.len() < content.len() {
        let before = seen.len();
        simulation.run_for(Duration::from_secs(1));
        seen.extend_from_slice(&peer.read_at_most(10_000));
        assert!(seen.len() > before, "nothing comes any more");
    }
    simulation.run_for(Duration::from_secs(1));
    seen.extend_from_slice(&peer.read_at_most(10_000));
    let reply = split(&seen);
    assert_eq!(reply.field("Content-Length"), Some(content.len().to_string().as_str()));
    assert!(reply.text() == content, "what came is not what was there");
}

#[test]
fn the_next_piece_is_read_while_one_is_sent() {
    let content = text(10 * PIECE);
    let read: Arc<AtomicUsize> = Arc::default();
    let counting =
        Counting { tree: tree(&[("a", &content)]), opened: Arc::default(), read: read.clone() };
    let mut harness = harness(StaticFiles::of(counting));
    harness.stop_reading();
    harness.room(30_000);
    harness.feed(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    harness.advance(Duration::from_secs(1));
    assert_eq!(read.load(Ordering::Relaxed), 2 * PIECE, "one that waits to be sent, one ahead");
}

#[test]
fn a_file_that_becomes_shorter_cuts_the_connection() {
    let tree = tree(&[("a", &text(10 * PIECE))]);
    let mut harness = harness(StaticFiles::of(tree.clone()));
    harness.stop_reading();
    harness.room(30_000);
    harness.feed(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    harness.advance(Duration::from_secs(1));
    assert!(tree.overwrite("a", text(3 * PIECE), then()));
    harness.resume_reading();
    harness.advance(Duration::from_secs(1));
    let reply = split(&harness.written());
    assert_eq!(reply.body.len(), 3 * PIECE);
    assert!(harness.is_closed(), "the client sees that it is not whole");
}

#[test]
fn a_file_that_is_replaced_goes_out_as_it_was() {
    let (old, new) = (text(5 * PIECE), "new".repeat(2 * PIECE));
    let tree = tree(&[("a", &old)]);
    let mut harness = harness(StaticFiles::of(tree.clone()));
    harness.stop_reading();
    harness.room(30_000);
    harness.feed(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    harness.advance(Duration::from_secs(1));
    tree.insert("a", new.clone(), then());
    harness.resume_reading();
    harness.advance(Duration::from_secs(1));
    assert!(split(&harness.written()).text() == old);
    assert!(ask(&mut harness, "GET /a", "").text() == new);
}

#[test]
fn a_client_that_goes_away_ends_the_reading() {
    let read: Arc<AtomicUsize> = Arc::default();
    let counting = Counting {
        tree: tree(&[("a", &text(20 * PIECE))]),
        opened: Arc::default(),
        read: read.clone(),
    };
    let mut harness = harness(StaticFiles::of(counting));
    harness.stop_reading();
    harness.room(30_000);
    harness.feed(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    harness.advance(Duration::from_secs(1));
    harness.reset();
    harness.advance(Duration::from_secs(60));
    assert!(harness.is_lost());
    assert_eq!(read.load(Ordering::Relaxed), 2 * PIECE);
}

#[test]
fn pipelined_requests_are_answered_in_order_whatever_their_files_cost() {
    let large = text(3 * PIECE);
    let mut harness = harness(StaticFiles::of(tree(&[("large", &large), ("small", "s")])));
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let wire = ["/large", "/small", "/missing", "/large"].map(request).concat();
    harness.feed(wire.as_bytes());
    harness.advance(Duration::from_secs(5));
    let written = harness.written();
    let written = String::from_utf8_lossy(&written);
    let statuses: Vec<_> =
        written.match_indices("HTTP/1.1 ").map(|(at, _)| &written[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "200", "404", "200"]);
    assert!(written.ends_with(&large));
}

/// Whatever the network does, and whenever the disk answers: what arrives is the file.
#[test]
fn any_network_and_any_disk_bring_the_same_file() {
    let content = text(4 * PIECE + 99);
    simulation::seeds(0..60, |simulation: &mut Simulation| {
        let files = StaticFiles::of(tree(&[("a", &content)]));
        let hours = Duration::from_secs(1_000_000);
        let config = Config::new().date(false).head_timeout(hours).send_timeout(hours);
        let config = Arc::new(config);
        let listening = simulation
            .reactor()
            .listen("10.0.0.1:80", move |_| HttpServer::with_config(config.clone(), files.clone()));
        assert!(listening.is_ok());
        let mut peer = simulation.dial("10.0.0.1:80").expect("a good address");
        peer.write(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let mut seen = Vec::new();
        for _ in 0..1_000_000 {
            simulation.run_for(Duration::from_secs(1));
            seen.extend_from_slice(&peer.read());
            if peer.is_ended() {
                break;
            }
        }
        assert!(peer.is_ended());
        assert!(split(&seen).text() == content);
    });
}
