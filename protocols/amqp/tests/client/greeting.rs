//! The greeting: how a connection comes to be, and in how many ways it does not.

use std::time::Duration;

use ropewalk_amqp::client::{Client, Error, Mechanism, Options, Reconnect, Uri};
use ropewalk_amqp::codec::method::{basic, connection};
use ropewalk_amqp::codec::{ReplyCode, ShortStr};
use ropewalk_reactor::Simulation;

use super::{Story, peer};

#[test]
fn the_client_logs_in_settles_the_limits_and_enters_the_virtual_host() {
    let mut story = Story::new();
    let options = Options::from_uri("amqp://me:secret@10.0.0.1/v?channel_max=9").unwrap();
    let connection = story.connect_with(options).unwrap();
    let heard = std::mem::take(&mut story.broker.borrow_mut().heard);
    assert_eq!(
        heard,
        ["0 connection.start-ok PLAIN", "0 connection.tune-ok 9 131072 0", "0 connection.open v"]
    );
    assert_eq!(connection.server_properties().as_table().get_str("product"), Some("Peer"));
    story.run(async move { Ok(connection.close().await?) }).unwrap();
    let heard = std::mem::take(&mut story.broker.borrow_mut().heard);
    assert_eq!(heard, ["0 connection.close 200"]);
    assert_eq!(story.notices(), ["closed: closed"]);
}

#[test]
fn it_greets_also_one_octet_at_a_time() {
    for seed in 0..20 {
        let mut simulation = Simulation::new(seed);
        simulation.capacity(1);
        let mut story = Story::on(simulation);
        let connection = story.connect();
        assert!(connection.is_open(), "seed {seed}");
    }
}

#[test]
fn a_server_without_a_way_to_log_in_is_left() {
    let mut story = Story::new();
    story.broker.borrow_mut().mechanisms = "EXTERNAL RABBIT-CR-DEMO";
    let error = story.connect_with(Story::options()).unwrap_err();
    assert!(matches!(error, Error::NoMechanism { .. }), "{error}");
    story.broker.borrow_mut().mechanisms = "AMQPLAIN";
    story.connect();
    assert!(story.broker.borrow().heard.iter().any(|line| line.ends_with("start-ok AMQPLAIN")));
    let uri: Uri = "amqp://h?auth_mechanism=EXTERNAL".parse().unwrap();
    assert_eq!(uri.mechanisms, [Mechanism::External]);
}

#[test]
fn a_refused_login_is_told_in_the_servers_words_or_guessed_from_its_silence() {
    let mut story = Story::new();
    story.broker.borrow_mut().held.insert("connection.start-ok");
    let connecting = Client::connect(story.simulation.reactor(), peer::URI);
    story.settle();
    let close = connection::Close {
        reply_code: 403,
        reply_text: ShortStr::literal("ACCESS_REFUSED - Login was refused"),
        ..Default::default()
    };
    story.say(&peer::method(0, &close));
    let error = story.run(async { Ok(connecting.await?) }).unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::AccessRefused), "{error}");

    let connecting = Client::connect(story.simulation.reactor(), peer::URI);
    story.settle();
    story.cut();
    let error = story.run(async { Ok(connecting.await?) }).unwrap_err();
    assert!(matches!(error, Error::Refused), "{error}");
}

#[test]
fn a_server_that_never_answers_is_given_up_in_time() {
    let mut story = Story::new();
    story.broker.borrow_mut().held.insert("connection.start");
    let began = story.simulation.elapsed();
    let options = Story::options().connection_timeout(Duration::from_secs(7));
    let error = story.connect_with(options).unwrap_err();
    assert!(matches!(error, Error::TimedOut), "{error}");
    assert_eq!((story.simulation.elapsed() - began).as_secs(), 7);
}

#[test]
fn another_protocol_is_named() {
    let mut simulation = Simulation::calm();
    struct Other;
    impl ropewalk_reactor::Protocol for Other {
        fn connection_made(
            &mut self,
            transport: &mut ropewalk_reactor::Transport<'_>,
        ) -> ropewalk_reactor::Result {
            transport.write(b"AMQP\x03\x01\0\0");
            Ok(())
        }
        fn data_received(
            &mut self,
            _: &mut ropewalk_reactor::Transport<'_>,
            _: &mut bytes::BytesMut,
        ) -> ropewalk_reactor::Result {
            Ok(())
        }
    }
    simulation.reactor().listen("10.0.0.2:5672", |_| Other).unwrap();
    let mut story = Story::on(simulation);
    let error = story.connect_with(Options::from_uri("amqp://10.0.0.2").unwrap()).unwrap_err();
    assert!(matches!(error, Error::ProtocolMismatch(_)), "{error}");
}

#[test]
fn nobody_at_the_address_fails_at_once_unless_another_address_or_patience_helps() {
    let mut story = Story::new();
    let nobody = || Options::from_uri("amqp://10.0.0.9").unwrap();
    let error = story.connect_with(nobody()).unwrap_err();
    assert!(matches!(error, Error::Reactor(_)), "{error}");

    story.connect_with(nobody().or_endpoint("10.0.0.1:5672").unwrap()).unwrap();

    let patient = nobody().reconnect(Reconnect::default().initially(true).max_attempts(3));
    let began = story.simulation.elapsed();
    let error = story.connect_with(patient).unwrap_err();
    assert!(matches!(error, Error::Reactor(_)), "{error}");
    // Between half of 0.5 + 1 + 2 seconds, and all of it.
    let took = (story.simulation.elapsed() - began).as_millis();
    assert!((1750..3600).contains(&took), "{took}");
}

#[test]
fn a_bad_uri_and_tls_are_refused_without_a_connection() {
    let mut story = Story::new();
    let connecting = Client::connect(story.simulation.reactor(), "amqps://host");
    let error = story.run(async { Ok(connecting.await?) }).unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
}

#[test]
fn heartbeats_go_out_when_nothing_else_does_and_a_silent_server_is_left() {
    let mut story = Story::new();
    story.broker.borrow_mut().tune.2 = 10;
    let options = Story::options().reconnect(None);
    let connection = story.connect_with(options).unwrap();
    assert_eq!(connection.heartbeat(), 10);
    story.broker.borrow_mut().heard.clear();
    // A sign of life every five seconds keeps it, whatever it is.
    for _ in 0..20 {
        story.simulation.run_for(Duration::from_secs(5));
        let channel = connection.clone();
        story.run(async move { Ok(channel.update_secret("s", "r").await?) }).unwrap();
    }
    assert!(connection.is_open());
    let beats = |story: &Story| {
        story.broker.borrow().heard.iter().filter(|line| line.ends_with("heartbeat")).count()
    };
    let before = beats(&story);
    story.simulation.run_for(Duration::from_secs(16));
    assert_eq!(beats(&story) - before, 2, "the first half interval had another sign of life");
    story.simulation.run_for(Duration::from_secs(10));
    let error = connection.closed().unwrap();
    assert!(matches!(error, Error::HeartbeatMissed(10)), "{error}");
}

#[test]
fn what_breaks_the_protocol_closes_the_connection_with_a_reason() {
    let mut story = Story::new();
    let connection = story.connect_with(Story::options().reconnect(None)).unwrap();
    story.say(&peer::method(7, &basic::QosOk {}));
    let error = connection.closed().unwrap();
    assert!(matches!(error, Error::Unexpected(_)), "{error}");
    let heard = std::mem::take(&mut story.broker.borrow_mut().heard);
    assert_eq!(heard.last().unwrap(), "0 connection.close 503");

    let connection = story.connect_with(Story::options().reconnect(None)).unwrap();
    story.say(b"\x01\0\x01\0\0\0\x00\xff");
    assert!(matches!(connection.closed().unwrap(), Error::Codec(_)));
}
