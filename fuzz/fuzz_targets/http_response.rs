//! Octets from a server, given to the parser of response heads and to one connection of an HTTP/1.1
//! client.
//!
//! Beyond not crashing: a head is whole at one place only, whatever stands behind it; how an answer is
//! cut does not change what is made of it; an exchange ends exactly once; and a connection on which
//! something is left over takes no other request.

#![no_main]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ropewalk_http::client::{
    Exchange, Failure, HttpClient, RequestBody, RequestHead, ResponseHandler,
};
use ropewalk_http::codec::{ResponseHead, has_blank_line, parse_response};
use ropewalk_http::{Config, Headers, Method};
use ropewalk_reactor::testing::Harness;
use ropewalk_reactor::{Reason, Result};

const METHODS: [(Method, &str); 3] =
    [(Method::Get, "/"), (Method::Head, "/"), (Method::Connect, "a:1")];

fuzz_target!(|input: &[u8]| {
    let [step, method, octets @ ..] = input else { return };
    let (method, target) = METHODS[usize::from(*method) % METHODS.len()];
    head(octets, method);
    let whole = talk(octets, octets.len().max(1), method, target);
    let cut = talk(octets, usize::from(*step).max(1), method, target);
    // In pieces, another of its faults may be seen first; and bytes behind an answer may come when
    // the next request could have been sent.
    assert_eq!(whole.ended, cut.ended, "cutting the answer changed how it ends");
    if whole.ended {
        assert_eq!(whole.status, cut.status);
        assert!(whole.body == cut.body, "cutting the answer changed its body");
    }
});

fn head(octets: &[u8], method: Method) {
    let config = Config::new();
    let mut response = ResponseHead::default();
    let Ok(Some((length, framing))) = parse_response(octets, method, &config, &mut response) else {
        return;
    };
    assert!(has_blank_line(&octets[..length]));
    let mut again = ResponseHead::default();
    let alone = parse_response(&octets[..length], method, &config, &mut again);
    assert_eq!(alone, Ok(Some((length, framing))), "what follows a head changed it");
    assert_eq!(again, response);
    assert_eq!(parse_response(&octets[..length - 1], method, &config, &mut again), Ok(None));
    let mut headers = Headers::new();
    for (name, value) in response.headers().iter() {
        assert!(headers.append(name, value), "the parser let an invalid field through");
    }
}

#[derive(Default)]
struct Story {
    status: Option<u16>,
    body: Vec<u8>,
    ended: bool,
    lost: bool,
}

struct Note(Rc<RefCell<Story>>);

impl ResponseHandler for Note {
    fn head_received(&mut self, _: &mut Exchange<'_>, head: &ResponseHead) -> Result {
        let mut story = self.0.borrow_mut();
        assert!(story.status.is_none() && !story.ended && !story.lost);
        story.status = Some(head.status().code());
        Ok(())
    }

    fn body_received(&mut self, _: &mut Exchange<'_>, data: &[u8]) -> Result {
        let mut story = self.0.borrow_mut();
        assert!(story.status.is_some() && !story.ended && !story.lost && !data.is_empty());
        story.body.extend_from_slice(data);
        Ok(())
    }

    fn body_ended(&mut self, _: &mut Exchange<'_>, _: &Headers) -> Result {
        let mut story = self.0.borrow_mut();
        assert!(story.status.is_some() && !story.ended && !story.lost);
        story.ended = true;
        Ok(())
    }

    fn exchange_lost(&mut self, _: &Failure) {
        let mut story = self.0.borrow_mut();
        assert!(!story.ended && !story.lost);
        story.lost = true;
    }
}

fn talk(octets: &[u8], step: usize, method: Method, target: &str) -> Story {
    let story = Rc::new(RefCell::new(Story::default()));
    let mut harness = Harness::new(HttpClient::new());
    let request = RequestHead::new(method, "a", target).expect("it is valid");
    let handler = Box::new(Note(story.clone()));
    harness.with(|client, transport| {
        let sent = client.send(transport, &request, RequestBody::Empty, handler);
        assert!(sent.is_ok());
    });
    for piece in octets.chunks(step) {
        let was_over = story.borrow().ended;
        harness.feed(piece);
        if was_over {
            assert!(harness.is_closed() || harness.is_lost(), "it may be used again");
        }
    }
    harness.close();
    harness.advance(Duration::from_secs(200));
    assert!(harness.is_lost(), "the connection stayed");
    assert!(!matches!(harness.reason(), Some(Reason::Panic(_))), "{:?}", harness.reason());
    drop(harness);
    let story = story.take();
    assert!(story.ended != story.lost, "an exchange ends once");
    story
}
