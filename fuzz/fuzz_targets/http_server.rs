//! Octets from a client, given to a whole HTTP/1.1 server on a simulated connection.
//!
//! Beyond not crashing: how the input is cut does not change which requests are seen, nor what is
//! answered to them; and the server never sends what is no response.

#![no_main]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ropewalk_http::{Config, HttpServer, Request, Response};
use ropewalk_reactor::Reason;
use ropewalk_reactor::testing::Harness;

fuzz_target!(|input: &[u8]| {
    let Some((&step, octets)) = input.split_first() else { return };
    let (whole, answers) = talk(octets, octets.len().max(1));
    let (cut, cut_answers) = talk(octets, usize::from(step).max(1));
    assert_eq!(whole, cut, "cutting the input changed the requests");
    assert_eq!(before_refusal(&answers), before_refusal(&cut_answers));
});

/// The answers without the refusal that ends them: in pieces a malformed head is looked at later,
/// and may be refused for another of its faults, or for being cut.
fn before_refusal(answers: &[u8]) -> &[u8] {
    let refusal = answers.windows(10).position(|ten| ten == b"HTTP/1.1 4" || ten == b"HTTP/1.1 5");
    &answers[..refusal.unwrap_or(answers.len())]
}

/// What the handler saw, and what the client got.
fn talk(octets: &[u8], step: usize) -> (Vec<String>, Vec<u8>) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let see = seen.clone();
    let config = Config::new().date(false).max_head(2000).max_body(1000).max_drain(500);
    let server = HttpServer::with_config(Arc::new(config), move |request: &Request| {
        let text = format!(
            "{} {} {:?} {}",
            request.method(),
            request.target(),
            request.headers(),
            String::from_utf8_lossy(request.body())
        );
        see.borrow_mut().push(text);
        Response::text(request.body().to_vec())
    });
    let mut harness = Harness::new(server);
    for piece in octets.chunks(step) {
        harness.feed(piece);
    }
    harness.close();
    harness.advance(Duration::from_secs(200));
    let answers = harness.written().to_vec();
    assert!(answers.is_empty() || answers.starts_with(b"HTTP/1.1 "));
    assert!(harness.is_lost(), "the connection stayed");
    assert!(!matches!(harness.reason(), Some(Reason::Panic(_))), "{:?}", harness.reason());
    (seen.take(), answers)
}
