//! Bodies: gathered up to a limit, streamed either way, decoded.

use std::io::Write;

use bytes::Bytes;

use super::*;

fn large(world: &mut World, length: usize) {
    world.serve("10.0.0.1:80", move |_| {
        crate::Response::new(Status::OK).pulled(Some(length as u64), pieces(length))
    });
}

/// Pieces of 1000 bytes that are all different.
fn pieces(length: usize) -> impl Iterator<Item = Bytes> + 'static {
    (0..length / 1000).map(|at| Bytes::from(format!("{at:0>1000}").into_bytes()))
}

fn whole(length: usize) -> Vec<u8> {
    pieces(length).flatten().collect()
}

#[test]
fn a_gathered_body_has_a_limit() {
    let mut world = World::new(Client::builder().max_body(100_000));
    world.serve("10.0.0.1:80", |request| {
        let length = if request.path() == "/100" { 100_000 } else { 101_000 };
        let announced = request.query().is_none().then_some(length as u64);
        crate::Response::new(Status::OK).pulled(announced, pieces(length))
    });
    let answer = world.get("http://a.test/100").expect("an answer");
    assert_eq!(*answer.body(), whole(100_000));
    for url in ["http://a.test/101", "http://a.test/101?chunked"] {
        let error = world.get(url).expect_err("too long");
        assert!(matches!(error, ClientError::BodyTooLarge { limit: 100_000, .. }), "{error}");
    }
    let more = world.ask(Request::get("http://a.test/101").max_body(101_000));
    assert_eq!(world.result(&more).expect("an answer").body().len(), 101_000);
}

#[test]
fn a_streamed_body_waits_for_its_reader_and_the_server_with_it() {
    let mut world = World::new(Client::builder());
    world.simulation.capacity(20_000);
    let produced = Rc::new(Cell::new(0));
    let produce = Rc::clone(&produced);
    world.serve("10.0.0.1:80", move |_| {
        let produce = Rc::clone(&produce);
        let counted = pieces(2_000_000).inspect(move |_| produce.set(produce.get() + 1));
        crate::Response::new(Status::OK).pulled(Some(2_000_000), counted)
    });
    let pending = pending(world.client.stream(Request::get("http://a.test/")));
    let mut answer = world.result(&pending).expect("an answer");
    assert_eq!(answer.status(), Status::OK);
    world.simulation.run_for(seconds(50)); // the server has patience for 60 s
    assert!(produced.get() < 300, "{} pieces wait", produced.get());
    let reading = world.simulation.reactor().spawn(async move {
        let mut all = Vec::new();
        while let Some(piece) = answer.body().read().await? {
            all.extend_from_slice(&piece);
        }
        assert!(answer.body().read().await?.is_none(), "again and again");
        Ok::<_, Error>(all)
    });
    let reading = self::pending(reading);
    world.simulation.run_until(|_| reading.borrow().is_some());
    let all = reading.take().expect("fired").expect("run").expect("the body");
    assert!(all == whole(2_000_000));
    assert_eq!(world.client.idle_connections(), 1);
}

#[test]
fn a_body_is_heard_by_a_callback_without_a_future() {
    let mut world = World::new(Client::builder());
    large(&mut world, 500_000);
    let heard = Rc::new(RefCell::new(Vec::new()));
    let hear = Rc::clone(&heard);
    let ended = Rc::new(Cell::new(false));
    let end = Rc::clone(&ended);
    world.client.stream(Request::get("http://a.test/")).then(move |_, answer| {
        let body = answer.expect("an answer").into_body();
        let all = body.for_each(move |_, piece| hear.borrow_mut().extend_from_slice(&piece));
        all.then(move |_, result| end.set(result.is_ok()));
    });
    world.simulation.run_until(|_| ended.get());
    assert!(*heard.borrow() == whole(500_000));
}

#[test]
fn a_body_that_is_dropped_is_given_up_with_its_connection() {
    let mut world = World::new(Client::builder());
    large(&mut world, 50_000_000);
    let pending = pending(world.client.stream(Request::get("http://a.test/")));
    let answer = world.result(&pending).expect("an answer");
    drop(answer);
    world.simulation.run_for(seconds(5));
    assert_eq!(world.client.open_connections(), 0);
    assert_eq!(world.simulation.open_sockets(), 0);
}

#[test]
fn a_body_that_is_cut_is_never_whole() {
    for wire in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        for then in [Then::Close, Then::Reset] {
            let mut world = World::new(Client::builder());
            world.play("10.0.0.1:80", [Act::say(wire).then(then)]);
            let error = world.get("http://a.test/").expect_err("cut");
            assert!(matches!(error, ClientError::Lost { .. }), "{error}");
        }
    }
    let mut world = World::new(Client::builder());
    world.play("10.0.0.1:80", [Act::say("HTTP/1.1 200 OK\r\n\r\nhello").then(Then::Close)]);
    assert_eq!(world.get("http://a.test/").expect("an answer").text(), "hello");
}

#[test]
fn compressed_answers_are_decoded_unless_the_request_asks_itself() {
    let mut world = World::new(Client::builder().max_body(1_000_000));
    world.serve("10.0.0.1:80", |request| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        let length = if request.path() == "/bomb" { 100_000_000 } else { 500_000 };
        encoder.write_all(&vec![b'x'; length]).expect("into memory");
        let encoded = encoder.finish().expect("into memory");
        let encoded = if request.path() == "/cut" { encoded[..100].to_vec() } else { encoded };
        crate::Response::new(Status::OK).header("Content-Encoding", "deflate").body(encoded)
    });
    let answer = world.get("http://a.test/").expect("an answer");
    assert!(answer.body().len() == 500_000 && answer.body().iter().all(|&byte| byte == b'x'));
    let error = world.get("http://a.test/bomb").expect_err("a bomb");
    assert!(matches!(error, ClientError::BodyTooLarge { .. }), "{error}");
    let error = world.get("http://a.test/cut").expect_err("cut");
    assert!(matches!(error, ClientError::Decoding { .. }), "{error}");
    let raw = world.ask(Request::get("http://a.test/").header("Accept-Encoding", "deflate"));
    assert!(world.result(&raw).expect("an answer").body().len() < 1000);
    let head = world.ask(Request::head("http://a.test/"));
    assert!(world.result(&head).expect("an answer").body().is_empty());
}

/// Answers with what it was sent.
fn mirror(request: &crate::Request) -> crate::Response {
    let length = request.header("content-length").unwrap_or("chunked").to_owned();
    crate::Response::text(request.body().to_vec()).header("X-Length", length)
}

#[test]
fn a_pulled_body_is_sent_whole_with_a_length_or_without() {
    let mut world = World::new(Client::builder());
    world.simulation.capacity(10_000);
    world.serve("10.0.0.1:80", mirror);
    for (length, said) in [(Some(300_000), "300000"), (None, "chunked")] {
        let request = Request::post("http://a.test/").pulled(length, pieces(300_000));
        let pending = world.ask(request);
        let answer = world.result(&pending).expect("an answer");
        assert_eq!(answer.header("x-length"), Some(said));
        assert!(*answer.body() == whole(300_000));
    }
    let short = world.ask(Request::post("http://a.test/").pulled(Some(9), ["abc".into()]));
    let error = world.result(&short).expect_err("six are missing");
    assert!(matches!(error, ClientError::RequestBody { .. }), "{error}");
    assert!(error.to_string().contains("6 bytes before its announced length"), "{error}");
}

#[test]
fn a_file_is_sent_and_sent_again_where_a_redirection_wants_it() {
    let path = std::env::temp_dir().join(format!("ropewalk-upload-{}", std::process::id()));
    std::fs::write(&path, whole(300_000)).expect("a writable directory");
    let mut world = World::new(Client::builder());
    world.serve("10.0.0.1:80", |request| match request.path() {
        "/away" => crate::Response::redirect(Status::TEMPORARY_REDIRECT, "/"),
        _ => mirror(request),
    });
    for url in ["http://a.test/", "http://a.test/away"] {
        let pending = world.ask(Request::put(url).file(&path));
        let answer = world.result(&pending).expect("an answer");
        assert_eq!(answer.header("x-length"), Some("300000"));
        assert!(*answer.body() == whole(300_000));
    }
    std::fs::remove_file(&path).expect("it is ours");
    let pending = world.ask(Request::put("http://a.test/").file(&path));
    let error = world.result(&pending).expect_err("it has gone");
    assert!(matches!(error, ClientError::RequestBody { .. }), "{error}");
    assert!(error.to_string().contains("ropewalk-upload"), "{error}");
    let pending = world.ask(Request::put("http://a.test/").file("/"));
    assert!(world.result(&pending).is_err(), "a directory");
}
