//! Deadlines, on virtual time.

use super::*;

#[test]
fn an_idle_connection_is_closed_in_silence_and_each_request_begins_the_wait_anew() {
    let mut harness = hello();
    harness.advance(Duration::from_secs(70));
    harness.feed(GET);
    harness.advance(Duration::from_secs(70));
    assert!(!harness.is_closed());
    assert_eq!(written(&mut harness), ok("/ 0", ""));
    harness.feed(b"\r\n"); // is no request
    assert!(!harness.is_closed());
    harness.advance(Duration::from_secs(6));
    assert_eq!(written(&mut harness), "");
    assert!(harness.is_closed());
}

#[test]
fn a_head_that_drips_in_is_given_up_after_its_time_from_the_first_byte() {
    let mut harness = hello();
    harness.advance(Duration::from_secs(10));
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\n".iter().cycle().take(29) {
        harness.feed(&[*byte]);
        harness.advance(Duration::from_secs(1));
    }
    assert!(!harness.is_closed());
    harness.advance(Duration::from_secs(2));
    assert!(written(&mut harness).starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert!(harness.is_closed());
}

#[test]
fn a_body_may_stall_for_its_time_and_must_keep_a_rate() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    let mut harness = hello();
    harness.feed(head);
    harness.advance(Duration::from_secs(25));
    harness.feed(&[b'x'; 20_000]); // forty seconds' worth
    for _ in 0..2 {
        harness.advance(Duration::from_secs(20));
        harness.feed(b"x");
    }
    assert!(!harness.is_closed(), "65 s are over, 70 s are earned");
    harness.advance(Duration::from_secs(10));
    assert!(written(&mut harness).starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert!(harness.is_closed());

    let mut harness = hello();
    harness.feed(head);
    harness.feed(&[b'x'; 90_000]);
    harness.advance(Duration::from_secs(29));
    assert!(!harness.is_closed());
    harness.advance(Duration::from_secs(2));
    assert!(written(&mut harness).starts_with("HTTP/1.1 408 Request Timeout\r\n"));
}

#[test]
fn a_body_that_the_handler_has_paused_does_not_time_out() {
    struct Never;
    impl Handler for Never {
        fn body_expected(&mut self, _: &Request, _: &mut Exchange<'_>) -> Result<Intake> {
            Ok(Intake::Stream(Box::new(Never)))
        }
        fn request_received(&mut self, _: &Request, _: &mut Exchange<'_>) -> Result<Reply> {
            Ok(Reply::Later)
        }
    }
    impl ExchangeHandler for Never {
        fn body_received(&mut self, exchange: &mut Exchange<'_>, _: &[u8]) -> Result {
            exchange.pause_reading();
            Ok(())
        }
    }
    let mut harness = harness(Never);
    harness.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    harness.advance(Duration::from_secs(1000));
    assert!(!harness.is_closed() && !harness.is_lost());
    assert_eq!(written(&mut harness), "");
}

#[test]
fn a_peer_that_takes_nothing_of_a_response_is_given_up_and_a_slow_one_is_not() {
    let mut simulation = Simulation::calm();
    simulation.capacity(10_000);
    let listening = simulation.reactor().listen("10.0.0.1:80", |_| {
        let asked = Rc::new(Cell::new(0));
        HttpServer::new(move |_: &Request| {
            Response::new(Status::OK).pulled(None, pieces(10_000, &asked))
        })
    });
    assert!(listening.is_ok());
    let mut peer = simulation.dial("10.0.0.1:80").expect("a good address");
    peer.stop_reading();
    peer.write(GET);
    // Some 64 KB wait; they stay above the low-water mark, so the server hears nothing of this.
    for _ in 0..12 {
        simulation.run_for(Duration::from_secs(55));
        assert!(!peer.was_reset(), "it takes something");
        assert_eq!(peer.read_at_most(1000).len(), 1000);
    }
    simulation.run_for(Duration::from_secs(125));
    assert!(simulation.reactor().connections().is_empty());
}
