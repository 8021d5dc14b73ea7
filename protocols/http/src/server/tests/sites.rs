//! Sites: one handler for all connections, the access log, and an end that cuts nothing.

use std::io;
use std::sync::Mutex;

use ropewalk_reactor::ListenerId;
use ropewalk_reactor::simulation::Peer;

use super::*;
use crate::{AccessLog, Site};

/// What was written, readable from outside.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl io::Write for Paper {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().map_or(Ok(0), |mut text| {
            text.extend_from_slice(data);
            Ok(data.len())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    /// The lines, each from the quote before the request line on.
    fn lines(&self) -> Vec<String> {
        let text = self.0.lock().map(|text| text.clone()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().map(|line| line.split_once("] ").map_or("", |it| it.1).to_owned()).collect()
    }
}

fn later() -> impl Handler {
    with_exchange(|request, exchange| {
        if request.path() != "/later" {
            return Ok("now".into());
        }
        exchange.call_later(Duration::from_secs(5), |exchange| {
            exchange.respond(Response::text("late"));
        });
        Ok(Reply::Later)
    })
}

const LATER: &[u8] = b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n";
const PLACE: &str = "10.0.0.1:80";

fn serve(site: &Site) -> (Simulation, ListenerId) {
    let mut simulation = Simulation::calm();
    let listener = simulation.reactor().listen(PLACE, site.clone()).expect("the place is free");
    (simulation, listener)
}

fn dial(simulation: &mut Simulation, wire: &[u8]) -> Peer {
    let mut peer = simulation.dial(PLACE).expect("a good address");
    peer.write(wire);
    simulation.run_for(Duration::from_millis(1));
    peer
}

fn text(peer: &mut Peer) -> String {
    String::from_utf8_lossy(&peer.read()).into_owned()
}

#[test]
fn connections_of_a_site_share_its_handler() {
    let mut hits = 0;
    let site = Site::new(move |_: &Request| {
        hits += 1;
        format!("{hits}")
    })
    .config(Config::new().date(false));
    let (mut simulation, _) = serve(&site);
    let mut peers = Vec::new();
    for number in 1..=3 {
        let mut peer = dial(&mut simulation, GET);
        assert_eq!(text(&mut peer), ok(&number.to_string(), ""));
        peers.push(peer);
        assert_eq!(site.connections(), number);
    }
    peers.clear();
    simulation.run_for(Duration::from_millis(1));
    assert_eq!(site.connections(), 0);
}

#[test]
fn a_site_that_drains_cuts_no_response_and_waits_for_the_last() {
    let site = Site::new(later()).config(Config::new().date(false));
    let (mut simulation, listener) = serve(&site);
    let mut idle = dial(&mut simulation, GET);
    let mut busy = dial(&mut simulation, &[LATER, GET].concat());
    let mut halfway = dial(&mut simulation, b"GET / HT");
    let mut late = dial(&mut simulation, b"");
    let mut silent = dial(&mut simulation, b"");
    assert_eq!(text(&mut idle), ok("now", ""));

    let drained = Rc::new(Cell::new(false));
    let (told, drain) = (drained.clone(), site.clone());
    simulation.reactor().before_shutdown(move |reactor| {
        reactor.stop_listening(listener);
        let (promise, held) = reactor.deferred();
        drain.drain(reactor).then(move |_, _| {
            told.set(true);
            promise.succeed(());
        });
        held
    });
    simulation.reactor().stop();
    simulation.run_for(Duration::from_millis(1));
    assert!(idle.is_ended() && !busy.is_ended() && !halfway.is_ended() && !late.is_ended());
    late.write(GET);
    halfway.write(b"TP/1.1\r\nHost: a\r\n\r\n");
    simulation.run_for(Duration::from_millis(1));
    for peer in [&mut late, &mut halfway] {
        assert_eq!(text(peer), ok("now", "Connection: close\r\n"));
        assert!(peer.is_ended());
    }
    simulation.run_for(Duration::from_millis(1500));
    assert!(silent.is_ended() && text(&mut silent).is_empty(), "it had its second");
    assert!(!drained.get());
    simulation.run_for(Duration::from_secs(5));
    let answer = ok("late", "Connection: close\r\n");
    assert_eq!(text(&mut busy), answer, "the request behind it was not taken");
    assert!(busy.is_ended() && drained.get());
    assert_eq!(site.connections(), 0);
}

#[test]
fn every_request_is_written_down_once_with_what_came_of_it() {
    let paper = Paper::default();
    let site = Site::new(later()).access_log(AccessLog::to(paper.clone()));
    let (mut simulation, _) = serve(&site);
    let head = b"HEAD / HTTP/1.1\r\nHost: a\r\nUser-Agent: u\r\n\r\n";
    let _kept = dial(&mut simulation, &[GET, head, GET].concat());
    simulation.run_for(Duration::from_secs(1));
    assert_eq!(
        paper.lines(),
        [
            "\"GET / HTTP/1.1\" 200 3 \"-\" \"-\"",
            "\"HEAD / HTTP/1.1\" 200 - \"-\" \"u\"",
            "\"GET / HTTP/1.1\" 200 3 \"-\" \"-\"",
        ]
    );
    dial(&mut simulation, LATER).reset(); // before its answer
    let _bad = dial(&mut simulation, b"BAD\x16 / HTTP/1.1\r\n\r\n");
    let _slow = dial(&mut simulation, b"GET /slow");
    let mut late = dial(&mut simulation, LATER);
    simulation.run_for(Duration::from_secs(31));
    assert!(text(&mut late).ends_with("late"));
    let lines = &paper.lines()[3..];
    assert_eq!(
        lines,
        [
            "\"GET /later HTTP/1.1\" 499 - \"-\" \"-\"",
            "\"BAD\\x16 / HTTP/1.1\" 400 40 \"-\" \"-\"",
            "\"GET /later HTTP/1.1\" 200 4 \"-\" \"-\"",
            "\"-\" 408 47 \"-\" \"-\"",
        ]
    );
}

#[test]
fn what_is_left_of_a_body_is_no_request_of_its_own() {
    let paper = Paper::default();
    let handler = with_exchange(|_, _| Ok(Reply::Later));
    let refuse = |_: &Request, _: &mut Exchange<'_>| Some(Response::text("no"));
    let site = Site::new(crate::HandlerExt::with(handler, refuse));
    let (mut simulation, _) = serve(&site.access_log(AccessLog::to(paper.clone())));
    let mut peer =
        dial(&mut simulation, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nab");
    assert!(text(&mut peer).ends_with("no"));
    peer.shutdown();
    let mut other =
        dial(&mut simulation, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    other.write(b"nonsense\r\n");
    simulation.run_for(Duration::from_secs(1));
    let line = "\"POST / HTTP/1.1\" 200 2 \"-\" \"-\"";
    assert_eq!(paper.lines(), [line, line]);
}
