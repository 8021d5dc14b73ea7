//! Streams of events on a simulated network. Most clients speak HTTP/1.0 here: a body without chunks is
//! the stream itself.

use std::cell::Cell;
use std::io::Write as _;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::Simulation;
use ropewalk_reactor::simulation::{Peer, seeds};

use super::*;
use crate::{Compression, Config, HandlerExt, Request, Response, Site};

const PLACE: &str = "10.0.0.1:80";
const MOMENT: Duration = Duration::from_millis(10);

fn serve(events: impl Fn(Events) -> Events) -> (Simulation, Events, Site) {
    let mut simulation = Simulation::calm();
    let events = events(Events::new(simulation.reactor()));
    let site = listen(&mut simulation, &events);
    (simulation, events, site)
}

fn listen(simulation: &mut Simulation, events: &Events) -> Site {
    let site = Site::new(events.clone()).config(Config::new().date(false));
    simulation.reactor().listen(PLACE, site.clone()).expect("the place is free");
    site
}

/// Subscribes, with these fields in the request.
fn subscribe(simulation: &mut Simulation, fields: &str) -> Peer {
    let mut peer = simulation.dial(PLACE).expect("a good address");
    peer.write(format!("GET / HTTP/1.0\r\n{fields}\r\n").as_bytes());
    simulation.run_for(MOMENT);
    peer
}

/// What is new on the stream.
fn heard(simulation: &mut Simulation, peer: &mut Peer) -> String {
    simulation.run_for(MOMENT);
    let text = String::from_utf8_lossy(&peer.read()).into_owned();
    text.split_once("\r\n\r\n").map_or(text.clone(), |(_, stream)| stream.to_owned())
}

fn numbered(number: usize) -> Event {
    Event::new(format!("event {number}")).id(&number.to_string())
}

fn texts(numbers: std::ops::RangeInclusive<usize>) -> String {
    numbers.map(|number| format!("id: {number}\ndata: event {number}\n\n")).collect()
}

#[test]
fn a_subscriber_hears_what_is_sent_while_it_subscribes() {
    let (mut simulation, events, _) = serve(|events| events);
    assert_eq!(events.send(&numbered(0)), 0);
    let mut one = simulation.dial(PLACE).expect("a good address");
    one.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    simulation.run_for(MOMENT);
    assert_eq!(
        &one.read()[..],
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
          X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let mut two = subscribe(&mut simulation, "");
    assert_eq!(heard(&mut simulation, &mut two), "");
    assert_eq!(events.subscribers(), 2);
    assert_eq!((events.send(&numbered(1)), events.send(&numbered(2))), (2, 2));
    assert_eq!(heard(&mut simulation, &mut two), texts(1..=2));
    assert_eq!(heard(&mut simulation, &mut one), format!("2a\r\n{}\r\n", texts(1..=2)));
    one.reset();
    simulation.run_for(MOMENT);
    assert_eq!(events.send(&numbered(3)), 1);
    assert_eq!(heard(&mut simulation, &mut two), texts(3..=3));
    two.close(); // which shows with what is written next
    simulation.run_for(MOMENT);
    events.send(&numbered(4));
    simulation.run_for(MOMENT);
    assert_eq!(events.subscribers(), 0);
}

#[test]
fn one_who_comes_back_is_told_what_it_missed_and_nothing_twice() {
    let (mut simulation, events, _) = serve(|events| events.history(3));
    let _other = subscribe(&mut simulation, "");
    for number in 1..=5 {
        events.send(&numbered(number));
    }
    simulation.run_for(MOMENT);
    for (last, expected) in [("4", 5..=5), ("3", 4..=5), ("1", 3..=5), ("none", 3..=5)] {
        let mut peer = subscribe(&mut simulation, &format!("Last-Event-ID: {last}\r\n"));
        assert_eq!(heard(&mut simulation, &mut peer), texts(expected), "{last}");
    }
    for fields in ["Last-Event-ID: 5\r\n", "Last-Event-ID:\r\n", ""] {
        let mut peer = subscribe(&mut simulation, fields);
        assert_eq!(heard(&mut simulation, &mut peer), "", "{fields}");
    }
}

#[test]
fn what_is_sent_by_the_callback_that_subscribes_is_heard_once_by_all() {
    let mut simulation = Simulation::calm();
    let events = Events::new(simulation.reactor()).history(10);
    let sender = events.clone();
    let number = Cell::new(0);
    // Each request sends an event before it subscribes: it is in the history by then, and pending.
    let handler = events.clone().with(move |_: &Request, _: &mut crate::Exchange<'_>| {
        number.set(number.get() + 1);
        sender.send(&numbered(number.get()));
        None::<Response>
    });
    let site = Site::new(handler).config(Config::new().date(false));
    simulation.reactor().listen(PLACE, site).expect("the place is free");
    let mut one = subscribe(&mut simulation, "Last-Event-ID: x\r\n");
    let mut two = subscribe(&mut simulation, "Last-Event-ID: 1\r\n");
    let mut three = subscribe(&mut simulation, "");
    assert_eq!(heard(&mut simulation, &mut one), texts(1..=3));
    assert_eq!(heard(&mut simulation, &mut two), texts(2..=3));
    assert_eq!(heard(&mut simulation, &mut three), "");
}

#[test]
fn a_handler_tells_by_itself_what_a_client_has_missed() {
    let mut simulation = Simulation::calm();
    let events = Events::new(simulation.reactor());
    let hub = events.clone();
    let handler = crate::with_exchange(move |request, exchange| {
        let last: usize = request.last_event_id().and_then(|id| id.parse().ok()).unwrap_or(0);
        let missed: Vec<_> = (last + 1..=3).map(numbered).collect();
        Ok(hub.subscribe_after(exchange, &missed))
    });
    simulation.reactor().listen(PLACE, Site::new(handler)).expect("the place is free");
    let mut peer = subscribe(&mut simulation, "Last-Event-ID: 1\r\n");
    events.send(&numbered(4));
    assert_eq!(heard(&mut simulation, &mut peer), texts(2..=4));
}

#[test]
fn a_comment_is_sent_where_nothing_else_was_for_a_while() {
    let (mut simulation, events, _) = serve(|events| events);
    let mut peer = subscribe(&mut simulation, "");
    simulation.run_for(Duration::from_millis(14_900));
    assert_eq!(heard(&mut simulation, &mut peer), "");
    simulation.run_for(Duration::from_secs(16));
    assert_eq!(heard(&mut simulation, &mut peer), ":\n\n:\n\n");
    simulation.run_for(Duration::from_secs(10));
    events.send(&numbered(1));
    simulation.run_for(Duration::from_millis(14_900));
    assert_eq!(heard(&mut simulation, &mut peer), texts(1..=1));
    simulation.run_for(Duration::from_secs(1));
    assert_eq!(heard(&mut simulation, &mut peer), ":\n\n");
    // Nobody is there any more, then somebody is.
    peer.close();
    simulation.run_for(Duration::from_secs(100));
    assert_eq!(events.subscribers(), 0);
    let timers = simulation.reactor().timer_count();
    assert_eq!(timers, 0, "none is left");
    let mut peer = subscribe(&mut simulation, "");
    simulation.run_for(Duration::from_secs(31));
    assert_eq!(heard(&mut simulation, &mut peer), ":\n\n:\n\n");
}

#[test]
fn one_that_does_not_read_is_closed_and_the_others_lose_nothing() {
    let (mut simulation, events, _) = serve(|events| events.limit(100_000));
    simulation.capacity(10_000);
    let mut slow = subscribe(&mut simulation, "");
    slow.stop_reading();
    let mut quick = subscribe(&mut simulation, "");
    let (mut expected, mut got) = (String::new(), String::new());
    for number in 0..30 {
        let event = Event::new(format!("{number:0>10000}"));
        events.send(&event);
        expected += &String::from_utf8_lossy(&event.encode());
        got += &heard(&mut simulation, &mut quick);
    }
    assert!(got == expected);
    assert_eq!(events.subscribers(), 1);
    slow.resume_reading();
    simulation.run_for(MOMENT);
    assert!(slow.was_reset());
    // A burst above the limit closes nobody who reads.
    for _ in 0..30 {
        events.send(&Event::new("x".repeat(10_000)));
    }
    let mut heard_all = 0;
    while heard_all < 30 * 10_000 {
        let piece = heard(&mut simulation, &mut quick);
        assert!(!piece.is_empty(), "{heard_all} bytes were heard");
        heard_all += piece.len();
    }
    assert_eq!(events.subscribers(), 1);
}

#[test]
fn a_hub_that_closes_ends_its_streams_behind_what_was_sent() {
    let (mut simulation, events, _) = serve(|events| events);
    let mut peer = subscribe(&mut simulation, "");
    events.send(&numbered(1));
    events.close();
    assert_eq!(heard(&mut simulation, &mut peer), texts(1..=1));
    assert!(peer.is_ended());
    assert_eq!((events.subscribers(), events.send(&numbered(2))), (0, 0));
    let mut late = subscribe(&mut simulation, "");
    assert_eq!(heard(&mut simulation, &mut late), "");
    assert!(late.is_ended());
}

#[test]
fn a_site_that_drains_ends_streams_at_once_behind_what_was_sent() {
    let (mut simulation, events, site) = serve(|events| events);
    let mut peer = simulation.dial(PLACE).expect("a good address");
    peer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut fresh = simulation.dial(PLACE).expect("a good address");
    simulation.run_for(MOMENT);
    peer.read();
    events.send(&numbered(1));
    let drained = Rc::new(Cell::new(false));
    let told = drained.clone();
    site.drain(simulation.reactor()).then(move |_, _| told.set(true));
    simulation.run_for(MOMENT);
    let stream = String::from_utf8_lossy(&peer.read()).into_owned();
    assert_eq!(stream, format!("15\r\n{}\r\n0\r\n\r\n", texts(1..=1)));
    assert!(peer.is_ended(), "the connection is not kept for another request");
    // A connection that has not asked for anything yet does.
    fresh.write(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(heard(&mut simulation, &mut fresh), "");
    assert!(fresh.is_ended() && drained.get());
}

#[test]
fn a_compressed_stream_is_heard_at_once() {
    let mut simulation = Simulation::calm();
    let events = Events::new(simulation.reactor());
    let site = Site::new(events.clone().with(Compression::new()));
    simulation.reactor().listen(PLACE, site).expect("the place is free");
    let mut peer = simulation.dial(PLACE).expect("a good address");
    peer.write(b"GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    simulation.run_for(MOMENT);
    let head = String::from_utf8_lossy(&peer.read()).into_owned();
    assert!(head.contains("\r\nContent-Encoding: gzip\r\n"), "{head}");
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    for number in 1..=3 {
        events.send(&numbered(number));
        simulation.run_for(MOMENT);
        decoder.write_all(&peer.read()).and_then(|()| decoder.flush()).expect("valid gzip");
        assert_eq!(String::from_utf8_lossy(decoder.get_ref()), texts(1..=number));
    }
}

#[test]
fn only_get_subscribes() {
    let (mut simulation, events, _) = serve(|events| events);
    let mut peer = simulation.dial(PLACE).expect("a good address");
    peer.write(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n");
    simulation.run_for(MOMENT);
    let answers = String::from_utf8_lossy(&peer.read()).into_owned();
    let (head, post) = answers.split_once("\r\n\r\n").expect("two answers");
    assert!(head.contains("\r\nContent-Type: text/event-stream\r\n"), "{head}");
    assert!(post.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{post}");
    assert!(post.contains("\r\nAllow: GET, HEAD\r\n"), "{post}");
    assert_eq!(events.subscribers(), 0);
}

#[test]
fn any_network_carries_all_events_in_order() {
    seeds(0..100, |simulation: &mut Simulation| {
        let events = Events::new(simulation.reactor()).keep_alive(Duration::from_secs(1_000_000));
        listen(simulation, &events);
        let mut peer = simulation.dial(PLACE).expect("a good address");
        peer.write(b"GET / HTTP/1.0\r\n\r\n");
        let subscribed = events.clone();
        assert!(simulation.run_until(move |_| subscribed.subscribers() == 1));
        let mut stream = String::new();
        for number in 1..=20 {
            events.send(&numbered(number));
            simulation.run_for(Duration::from_millis(number as u64 % 7 * 100));
        }
        events.close();
        for _ in 0..100_000 {
            simulation.run_for(Duration::from_secs(1));
            stream += &String::from_utf8_lossy(&peer.read());
            if peer.is_ended() {
                break;
            }
        }
        assert!(stream.ends_with(&format!("\r\n\r\n{}", texts(1..=20))), "{stream}");
    });
}
