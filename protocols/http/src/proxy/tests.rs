//! The proxy between clients and servers of the simulated network, in the wire's own words.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ropewalk_reactor::simulation::Peer;
use ropewalk_reactor::{Address, Protocol, Simulation, Transport};

use super::*;
use crate::{Config, HttpServer, Response, Routes, Site, Status, with_exchange};

mod smuggling;

const PROXY: &str = "10.0.0.1:80";
const ORIGIN: &str = "10.0.0.2:9000";

/// A server that notes what it gets and answers each head with a script of its own.
#[derive(Clone, Default)]
struct Origin {
    got: Rc<RefCell<Vec<u8>>>,
    connections: Rc<Cell<usize>>,
    /// What is written when a head is in; `None` closes, an empty one waits.
    answers: Rc<RefCell<Vec<Option<Bytes>>>>,
}

struct OriginConnection(Origin);

impl Protocol for OriginConnection {
    fn connection_made(&mut self, _: &mut Transport<'_>) -> Result {
        self.0.connections.set(self.0.connections.get() + 1);
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        let heads = data.windows(4).filter(|four| four == b"\r\n\r\n").count();
        self.0.got.borrow_mut().extend_from_slice(data);
        data.clear();
        for _ in 0..heads {
            let answer = self.0.answers.borrow_mut().pop();
            match answer {
                Some(Some(answer)) => {
                    transport.write_bytes(answer);
                }
                Some(None) => transport.abort_connection(),
                None => {}
            }
        }
        Ok(())
    }
}

impl Origin {
    fn answering(answers: &[Option<&'static str>]) -> Self {
        let origin = Self::default();
        let answers = answers.iter().rev().map(|answer| answer.map(Bytes::from));
        origin.answers.borrow_mut().extend(answers);
        origin
    }

    fn got(&self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut *self.got.borrow_mut())).into_owned()
    }
}

fn proxy() -> ReverseProxy {
    ReverseProxy::to("http://10.0.0.2:9000").expect("a good URL")
}

/// A proxy, and behind it a server.
fn network(proxy: impl Handler, origin: &Origin) -> Simulation {
    let mut simulation = Simulation::calm();
    let origin = origin.clone();
    let reactor = simulation.reactor();
    reactor.listen(ORIGIN, move |_| OriginConnection(origin.clone())).expect("a free place");
    let site = Site::new(proxy).config(Config::new().date(false));
    reactor.listen(PROXY, site).expect("a free place");
    simulation
}

fn dial(simulation: &mut Simulation, wire: &str) -> Peer {
    let mut peer = simulation.dial(PROXY).expect("a good address");
    peer.write(wire.as_bytes());
    simulation.run_for(Duration::from_millis(1));
    peer
}

fn text(peer: &mut Peer) -> String {
    String::from_utf8_lossy(&peer.read()).into_owned()
}

const OK: &str = "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nhi";
const GET: &str = "GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn a_request_and_its_response_go_through_with_what_is_added_and_left_out() {
    let origin = Origin::answering(&[Some(
        "HTTP/1.1 201 Made\r\nX-A: b\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
         Set-Cookie: a\r\nSet-Cookie: b\r\nServer: s\r\nContent-Length: 2\r\n\r\nhi",
    )]);
    let mut simulation = network(proxy(), &origin);
    let mut peer = dial(
        &mut simulation,
        "POST http://h:81/a%2Fb?q HTTP/1.1\r\nHost: other\r\nX-B: c\r\nConnection: X-Secret, close\r\n\
         X-Secret: 1\r\nTE: trailers\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\
         X_Under: 1\r\nVia: 1.0 fred\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    );
    assert_eq!(
        origin.got(),
        "POST /a%2Fb?q HTTP/1.1\r\nHost: 10.0.0.2:9000\r\nX-B: c\r\nX-Forwarded-Host: h:81\r\n\
         X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\
         Forwarded: for=127.0.0.1;proto=http;host=\"h:81\"\r\nVia: 1.0 fred, 1.1 ropewalk\r\n\
         Content-Length: 3\r\n\r\nabc"
    );
    assert_eq!(
        text(&mut peer),
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nX-A: b\r\nSet-Cookie: a\r\n\
         Set-Cookie: b\r\nServer: s\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    );
}

#[test]
fn connections_are_kept_and_a_request_is_repeated_if_a_kept_one_is_closed() {
    let origin = Origin::answering(&[Some(OK), Some(OK), None, Some(OK), None]);
    let mut simulation = network(proxy(), &origin);
    let mut peer = dial(&mut simulation, &[GET, GET].concat());
    assert_eq!(text(&mut peer), [OK, OK].concat());
    assert_eq!(origin.connections.get(), 1);
    peer.write(GET.as_bytes());
    simulation.run_for(Duration::from_millis(1));
    assert_eq!(text(&mut peer), OK, "the third was closed, and repeated");
    assert_eq!(origin.connections.get(), 2);
    peer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    simulation.run_for(Duration::from_millis(1));
    assert!(text(&mut peer).starts_with("HTTP/1.1 502 Bad Gateway"), "POST is not repeated");
    simulation.run_for(Duration::from_secs(31));
    assert_eq!(origin.connections.get(), 2);
}

#[test]
fn a_server_that_is_not_there_or_answers_wrongly_or_never_is_told_to_the_client() {
    let mut simulation = Simulation::calm();
    simulation.reactor().listen(PROXY, Site::new(proxy())).expect("a free place");
    let mut peer = dial(&mut simulation, GET);
    assert!(text(&mut peer).starts_with("HTTP/1.1 502 Bad Gateway\r\n"));

    for (answer, status) in [
        (Some("SSH-2.0-OpenSSH\r\n\r\n"), "502 Bad Gateway"),
        (
            Some("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            "502 Bad Gateway",
        ),
        (None, "502 Bad Gateway"),
        (Some(""), "504 Gateway Timeout"),
    ] {
        let origin = Origin::answering(&[answer]);
        let mut simulation = network(proxy(), &origin);
        let mut peer = dial(&mut simulation, GET);
        simulation.run_for(Duration::from_secs(61));
        let answer = text(&mut peer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        peer.write(GET.as_bytes());
        simulation.run_for(Duration::from_secs(61));
        assert!(!text(&mut peer).is_empty(), "the client's connection goes on");
    }
}

#[test]
fn a_response_that_is_cut_is_cut_for_the_client() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab";
    let origin = Origin::answering(&[Some(cut), None]);
    let mut simulation = network(proxy(), &origin);
    let mut peer = dial(&mut simulation, GET);
    assert_eq!(text(&mut peer), cut);
    assert!(!peer.is_ended());
    simulation.run_for(Duration::from_secs(61)); // nothing more comes
    assert_eq!(text(&mut peer), "");
    assert!(peer.is_ended());
}

#[test]
fn a_client_that_goes_away_takes_its_request_along() {
    let origin = Origin::answering(&[Some("")]);
    let mut simulation = network(proxy(), &origin);
    let mut peer = dial(&mut simulation, GET);
    assert!(origin.got().starts_with("GET /a?b"));
    peer.reset();
    simulation.run_for(Duration::from_millis(10));
    let mut peer = dial(&mut simulation, GET);
    assert_eq!(origin.connections.get(), 2, "a connection with an answer on its way is not used");
    assert_eq!(text(&mut peer), "");
}

#[test]
fn paths_below_a_mount_are_put_behind_the_base_and_dots_lead_nowhere() {
    let proxy = || ReverseProxy::to("http://10.0.0.2:9000/base/").expect("a good URL");
    for (path, answer) in [
        ("/m/x/y?z", Ok("/base/x/y?z")),
        ("/m", Ok("/base/")),
        ("/m/", Ok("/base/")),
        ("/m/a%20b", Ok("/base/a%20b")),
        ("/m/..", Err("400")),
        ("/m/../x", Err("400")),
        ("/m/%2e%2E/x", Err("400")),
        ("/m/a/./b", Err("400")),
        ("/m/a%2F..%2Fb", Err("400")),
        ("/m/a%5c..%5cb", Err("400")),
        ("/m/..;/x", Err("400")),
        ("/m/..;a=b/x", Err("400")),
        ("/m/%2e%2e;/x", Err("400")),
        ("/m/..%3bx/y", Err("400")),
        ("/m/.;/x", Err("400")),
        ("/m/a..b", Ok("/base/a..b")),
        ("/m/a;..", Ok("/base/a;..")),
    ] {
        let origin = Origin::answering(&[Some(OK)]);
        let mut simulation = network(Routes::new().mount("/m", proxy()), &origin);
        let mut peer = dial(&mut simulation, &format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let (got, said) = (origin.got(), text(&mut peer));
        match answer {
            Ok(target) => assert!(got.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{got}"),
            Err(status) => {
                assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {said}");
                assert_eq!(got, "");
            }
        }
    }
    let origin = Origin::default();
    let mut simulation = network(proxy(), &origin);
    let mut peer = dial(&mut simulation, "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(text(&mut peer).starts_with("HTTP/1.1 405 "));
}

#[test]
fn a_trusted_client_is_believed_and_the_host_is_kept_on_request() {
    let origin = Origin::answering(&[Some(OK)]);
    let mut simulation = network(proxy().trust_forwarded().preserve_host(), &origin);
    dial(
        &mut simulation,
        "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: outer\r\nForwarded: for=1.1.1.1\r\n\r\n",
    );
    assert_eq!(
        origin.got(),
        "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: outer\r\n\
         X-Forwarded-For: 1.1.1.1, 2.2.2.2, 127.0.0.1\r\n\
         Forwarded: for=1.1.1.1, for=127.0.0.1;proto=http;host=\"h\"\r\nVia: 1.1 ropewalk\r\n\r\n"
    );
}

#[test]
fn chunked_bodies_and_trailers_go_both_ways() {
    let origin = Origin::answering(&[
        Some(""), // the head's; the next is that of the trailers
        Some(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
             Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: u\r\n\r\n",
        ),
    ]);
    let mut simulation = network(proxy(), &origin);
    let mut peer = dial(
        &mut simulation,
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n",
    );
    peer.write(b"1\r\n!\r\n0\r\nX-S: t\r\n\r\n");
    simulation.run_for(Duration::from_millis(1));
    let got = origin.got();
    assert!(got.contains("\r\nTransfer-Encoding: chunked\r\n"), "{got}");
    assert!(got.ends_with("\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\nX-S: t\r\n\r\n"), "{got}");
    assert_eq!(
        text(&mut peer),
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: u\r\n\r\n"
    );
}

#[test]
fn an_upgrade_makes_a_tunnel_in_which_bytes_go_as_they_are() {
    let origin = Origin::answering(&[Some(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\nX-A: b\r\n\r\nearly",
    )]);
    let mut simulation = network(proxy().upgrade_to("x"), &origin);
    let wire = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x, y\r\n\r\nfirst";
    let mut peer = dial(&mut simulation, wire);
    assert_eq!(
        text(&mut peer),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nX-A: b\r\nConnection: Upgrade\r\n\r\nearly"
    );
    let got = origin.got();
    assert!(got.contains("\r\nUpgrade: x\r\n") && got.contains("\r\nConnection: Upgrade\r\n"));
    assert!(got.ends_with("\r\n\r\nfirst"), "{got}");
    peer.write(b"raw \0 bytes");
    simulation.run_for(Duration::from_millis(1));
    assert_eq!(origin.got(), "raw \0 bytes");
    peer.shutdown();
    simulation.run_for(Duration::from_secs(5));
    assert!(peer.is_ended(), "a close goes through, and comes back");
}

#[test]
fn a_slow_server_holds_the_client_back() {
    let mut simulation = Simulation::calm();
    struct Deaf;
    impl Protocol for Deaf {
        fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
            transport.pause_reading();
            Ok(())
        }
        fn data_received(&mut self, _: &mut Transport<'_>, _: &mut BytesMut) -> Result {
            Ok(())
        }
    }
    simulation.reactor().listen(ORIGIN, |_| Deaf).expect("a free place");
    simulation.reactor().listen(PROXY, Site::new(proxy())).expect("a free place");
    simulation.capacity(10_000);
    let mut peer = simulation.dial(PROXY).expect("a good address");
    peer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000000\r\n\r\n");
    peer.write(&vec![b'x'; 20_000_000]);
    simulation.run_for(Duration::from_secs(20));
    let sent = 20_000_000 - peer.unsent();
    assert!(sent < 1_000_000, "{sent} bytes are on their way to one that does not read");
}

#[test]
fn what_would_be_a_way_around_the_proxy_does_not_go_on() {
    let upgrade = "Connection: Upgrade\r\nUpgrade: h2c";
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket, h2c";
    for (head, goes_on) in [
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{upgrade}\r\n\r\n"), None),
        (format!("GET / HTTP/1.0\r\nHost: h\r\n{websocket}\r\n\r\n"), None),
        (format!("POST / HTTP/1.1\r\nHost: h\r\n{websocket}\r\nContent-Length: 1\r\n\r\na"), None),
        (
            format!("GET / HTTP/1.1\r\nHost: h\r\n{websocket}\r\n\r\n"),
            Some("\r\nUpgrade: websocket\r\n"),
        ),
    ] {
        let origin = Origin::answering(&[Some("")]);
        let mut simulation = network(proxy(), &origin);
        dial(&mut simulation, &head);
        let got = origin.got();
        match goes_on {
            Some(line) => assert!(got.contains(line), "{got}"),
            None => assert!(!got.contains("Upgrade") && got.contains(" / HTTP"), "{got}"),
        }
    }
    let origin = Origin::answering(&[Some(""), Some("")]);
    let mut simulation = network(proxy(), &origin);
    dial(
        &mut simulation,
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\
         X-Forwarded-For: 6.6.6.6\r\nX_Real_IP: 6.6.6.6\r\nAuthorization: x\r\n\
         Transfer-Encoding: gzip\r\nX-Sum: 1\r\n\r\n",
    );
    let got = origin.got();
    assert!(got.ends_with("\r\n0\r\nX-Sum: 1\r\n\r\n"), "{got}");
}

#[test]
fn the_last_proxy_of_a_chain_answers_itself() {
    for (method, hops, status) in [("OPTIONS", "0", "204"), ("TRACE", "0", "405")] {
        let origin = Origin::default();
        let mut simulation = network(proxy(), &origin);
        let head = format!("{method} / HTTP/1.1\r\nHost: h\r\nMax-Forwards: {hops}\r\n\r\n");
        let mut peer = dial(&mut simulation, &head);
        assert!(text(&mut peer).starts_with(&format!("HTTP/1.1 {status} ")), "{method}");
        assert_eq!(origin.got(), "");
    }
    let origin = Origin::answering(&[Some("")]);
    let mut simulation = network(proxy(), &origin);
    dial(&mut simulation, "OPTIONS / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 3\r\n\r\n");
    assert!(origin.got().contains("\r\nMax-Forwards: 2\r\n"));
}

#[test]
fn a_body_that_somebody_has_had_gathered_goes_on_whole() {
    let origin = Origin::answering(&[Some(OK)]);
    let mut inner = proxy();
    let outer = with_exchange(move |request, exchange| inner.request_received(request, exchange));
    let mut simulation = network(outer, &origin);
    let wire =
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    let mut peer = dial(&mut simulation, wire);
    assert!(origin.got().ends_with("\r\nContent-Length: 2\r\n\r\nab"));
    assert_eq!(text(&mut peer), OK);
}

/// Whatever the network does, both bodies come through whole, and memory stays bounded.
#[test]
fn any_network_carries_both_bodies_whole() {
    for seed in 0..60 {
        let mut simulation = Simulation::new(seed);
        let hours = Duration::from_secs(1_000_000);
        let patient = Config::new()
            .date(false)
            .head_timeout(hours)
            .body_timeout(hours)
            .min_body_rate(0)
            .send_timeout(hours);
        let patient = Arc::new(patient);
        let config = patient.clone();
        let echo = move |_: Address| HttpServer::with_config(config.clone(), crate::Echo);
        simulation.reactor().listen(ORIGIN, echo).expect("a free place");
        let client =
            ConnectionConfig::new().head_timeout(hours).body_timeout(hours).send_timeout(hours);
        let site = Site::new(proxy().connections(client)).config(patient);
        simulation.reactor().listen(PROXY, site).expect("a free place");
        let mut peer = simulation.dial(PROXY).expect("a good address");
        let body: Vec<u8> = (0..40_000u32).map(|at| (at % 251) as u8).collect();
        let head =
            "POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 40000\r\n\r\n";
        peer.write(head.as_bytes());
        peer.write(&body);
        let mut seen = Vec::new();
        for _ in 0..200_000 {
            simulation.run_for(Duration::from_secs(1));
            seen.extend_from_slice(&peer.read());
            if peer.is_ended() {
                break;
            }
        }
        assert!(seen.ends_with(&body), "seed {seed}: {} bytes", seen.len());
    }
}

#[test]
fn a_slow_client_holds_the_server_back_whether_or_not_the_length_is_known() {
    hold_back(true);
    hold_back(false);
}

fn hold_back(known: bool) {
    let produced = Rc::new(Cell::new(0));
    let count = produced.clone();
    let mut simulation = Simulation::calm();
    let origin = move |_: Address| {
        let count = count.clone();
        HttpServer::new(with_exchange(move |_, _| {
            let count = count.clone();
            let length = known.then_some(20_000_000);
            let pieces = (0..2000).map(move |_| {
                count.set(count.get() + 10_000);
                Bytes::from(vec![b'x'; 10_000])
            });
            Ok(Response::new(Status::OK).pulled(length, pieces).into())
        }))
    };
    simulation.reactor().listen(ORIGIN, origin).expect("a free place");
    simulation.reactor().listen(PROXY, Site::new(proxy())).expect("a free place");
    simulation.capacity(10_000);
    let mut peer = simulation.dial(PROXY).expect("a good address");
    peer.stop_reading();
    peer.write(GET.as_bytes());
    simulation.run_for(Duration::from_secs(5));
    let held = produced.get();
    assert!(held < 1_000_000, "{held} bytes are on their way to one that does not read");
    peer.resume_reading();
    let mut seen = 0;
    for _ in 0..10_000 {
        simulation.run_for(Duration::from_millis(10));
        seen += peer.read().len();
    }
    assert!(seen > 20_000_000, "{seen}");
}
