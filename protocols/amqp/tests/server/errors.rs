//! Every refusal, with its code, its text, and the method that failed.

use ropewalk_amqp::codec::method::{
    access, basic, channel, confirm, connection, exchange, queue, tx,
};
use ropewalk_amqp::codec::{BasicProperties, EncodeMethod, ShortStr, TableBuf};
use ropewalk_amqp::server::{Authenticator, Config, Login};
use ropewalk_broker::{Access, Permissions};

use crate::wire::*;

const Q: ShortStr<'static> = ShortStr::literal("q");
const X: ShortStr<'static> = ShortStr::literal("x");
const NOPE: ShortStr<'static> = ShortStr::literal("nope");

/// A world in which queue `q` (not durable) and exchange `x` (direct) exist, and queue `mine` is
/// exclusive to another connection, which is kept alive.
fn furnished() -> (World, Client, Client) {
    let mut world = World::new();
    let mut owner = world.open();
    let mine =
        queue::Declare { queue: ShortStr::literal("mine"), exclusive: true, ..Default::default() };
    owner.send(&mut world, 1, &mine);
    owner.next(&mut world);
    let mut client = world.open();
    client.declare(&mut world, "q");
    let declare = exchange::Declare { exchange: X, ..Default::default() };
    client.call(&mut world, 1, &declare, exchange::DeclareOk {});
    (world, client, owner)
}

/// Sends `octets` on channel 1 and expects the channel to be closed; then everything but
/// `close-ok` is discarded, the number can be used again, and another channel never noticed.
#[track_caller]
fn closes_channel(octets: &[u8], text: &str, failing: (u16, u16)) {
    let (mut world, mut client, _owner) = furnished();
    client.open_channel(&mut world, 2);
    client.raw(&mut world, octets);
    client.expect_channel_close(&mut world, 1, text, failing);
    client.raw(&mut world, &publish(1, "q", b"discarded"));
    client.send(
        &mut world,
        1,
        &queue::Declare { passive: true, queue: NOPE, ..Default::default() },
    );
    client.expect_nothing(&mut world);
    client.send(&mut world, 1, &channel::CloseOk {});
    client.expect_nothing(&mut world);
    client.open_channel(&mut world, 1);
    let declare_ok = queue::DeclareOk { queue: Q, ..Default::default() };
    let passive = queue::Declare { queue: Q, passive: true, ..Default::default() };
    client.call(&mut world, 2, &passive, declare_ok);
    client.call(&mut world, 1, &passive, declare_ok);
}

/// Sends `octets` and expects the connection to be closed; what follows is discarded until
/// `close-ok`, and another connection never noticed.
#[track_caller]
fn closes_connection(octets: &[u8], text: &str, failing: (u16, u16)) {
    let (mut world, mut client, mut owner) = furnished();
    let connections = world.connections();
    client.raw(&mut world, octets);
    client.expect_close(&mut world, text, failing);
    assert_eq!(world.connections(), connections - 1);
    client.raw(&mut world, &publish(1, "q", b"discarded"));
    client.expect_nothing(&mut world);
    assert!(!client.is_ended(&mut world));
    client.send(&mut world, 0, &connection::CloseOk {});
    assert!(client.is_ended(&mut world));
    owner.call(&mut world, 1, &confirm::Select::default(), confirm::SelectOk {});
}

/// As [`closes_connection`], where there is no telling what follows: the end comes at once.
#[track_caller]
fn ends_connection(octets: &[u8], text: &str) {
    let (mut world, mut client, mut owner) = furnished();
    client.raw(&mut world, octets);
    client.expect_close(&mut world, text, (0, 0));
    assert!(client.is_ended(&mut world));
    owner.call(&mut world, 1, &confirm::Select::default(), confirm::SelectOk {});
}

fn on_1(sent: &impl EncodeMethod) -> Vec<u8> {
    method(1, sent)
}

#[test]
fn what_does_not_exist_is_404() {
    let q_text = "404 NOT_FOUND - no queue 'nope' in vhost '/'";
    let x_text = "404 NOT_FOUND - no exchange 'nope' in vhost '/'";
    let declare = queue::Declare { queue: NOPE, passive: true, ..Default::default() };
    closes_channel(&on_1(&declare), q_text, (50, 10));
    let declare = queue::Declare { nowait: true, ..declare };
    closes_channel(&on_1(&declare), q_text, (50, 10));
    let declare = exchange::Declare { exchange: NOPE, passive: true, ..Default::default() };
    closes_channel(&on_1(&declare), x_text, (40, 10));
    let bind = queue::Bind { queue: NOPE, exchange: X, ..Default::default() };
    closes_channel(&on_1(&bind), q_text, (50, 20));
    let bind = queue::Bind { queue: Q, exchange: NOPE, ..Default::default() };
    closes_channel(&on_1(&bind), x_text, (50, 20));
    let bind = exchange::Bind { source: X, destination: NOPE, ..Default::default() };
    closes_channel(&on_1(&bind), x_text, (40, 30));
    closes_channel(&on_1(&queue::Purge { queue: NOPE, ..Default::default() }), q_text, (50, 30));
    closes_channel(&on_1(&basic::Consume { queue: NOPE, ..Default::default() }), q_text, (60, 20));
    closes_channel(&on_1(&basic::Get { queue: NOPE, ..Default::default() }), q_text, (60, 70));
    let to_nope = basic::Publish { exchange: NOPE, ..Default::default() };
    let octets = publish_with(1, &to_nope, &BasicProperties::default(), b"x");
    closes_channel(&octets, x_text, (60, 40));
    let mut world = World::new();
    let mut client = world.open();
    client.send(&mut world, 1, &basic::Consume::default());
    let text = "404 NOT_FOUND - no previously declared queue";
    client.expect_channel_close(&mut world, 1, text, (60, 20));
}

#[test]
fn what_is_not_allowed_is_403() {
    let text = "403 ACCESS_REFUSED - operation not permitted on the default exchange";
    let bind = queue::Bind { queue: Q, ..Default::default() };
    closes_channel(&on_1(&bind), text, (50, 20));
    closes_channel(&on_1(&queue::Unbind { queue: Q, ..Default::default() }), text, (50, 50));
    closes_channel(&on_1(&exchange::Declare::default()), text, (40, 10));
    closes_channel(&on_1(&exchange::Delete::default()), text, (40, 20));
    let bind = exchange::Bind { destination: X, ..Default::default() };
    closes_channel(&on_1(&bind), text, (40, 30));

    let text = "403 ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*'";
    let amq = ShortStr::literal("amq.foo");
    closes_channel(&on_1(&queue::Declare { queue: amq, ..Default::default() }), text, (50, 10));
    let text = "403 ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*'";
    let declare = exchange::Declare { exchange: amq, ..Default::default() };
    closes_channel(&on_1(&declare), text, (40, 10));

    let text =
        "403 ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed";
    let exchange = ShortStr::literal("amq.direct");
    closes_channel(&on_1(&exchange::Delete { exchange, ..Default::default() }), text, (40, 20));

    let mut octets = on_1(&basic::Consume { queue: Q, nowait: true, ..Default::default() });
    octets.extend(on_1(&basic::Consume { queue: Q, exclusive: true, ..Default::default() }));
    let text = "403 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use";
    closes_channel(&octets, text, (60, 20));

    let exchange = ShortStr::literal("amq.rabbitmq.trace");
    let internal = basic::Publish { exchange, ..Default::default() };
    let octets = publish_with(1, &internal, &BasicProperties::default(), b"");
    let text = "403 ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' \
                in vhost '/'";
    closes_channel(&octets, text, (60, 40));
}

#[test]
fn anothers_exclusive_queue_is_405() {
    let text = "405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in \
                vhost '/'. It could be originally declared on another connection or the \
                exclusive property value does not match that of the original declaration.";
    let queue = ShortStr::literal("mine");
    closes_channel(&on_1(&queue::Declare { queue, ..Default::default() }), text, (50, 10));
    let passive = queue::Declare { queue, passive: true, ..Default::default() };
    closes_channel(&on_1(&passive), text, (50, 10));
    closes_channel(&on_1(&queue::Delete { queue, ..Default::default() }), text, (50, 40));
    closes_channel(&on_1(&queue::Purge { queue, ..Default::default() }), text, (50, 30));
    closes_channel(&on_1(&basic::Consume { queue, ..Default::default() }), text, (60, 20));
    closes_channel(&on_1(&basic::Get { queue, ..Default::default() }), text, (60, 70));
    let bind = queue::Bind { queue, exchange: X, ..Default::default() };
    closes_channel(&on_1(&bind), text, (50, 20));
}

#[test]
fn what_contradicts_what_is_there_is_406() {
    let declare = queue::Declare { queue: Q, durable: true, ..Default::default() };
    let text = "406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': \
                received 'true' but current is 'false'";
    closes_channel(&on_1(&declare), text, (50, 10));

    let ttl = TableBuf::new().with("x-message-ttl", 1000i16);
    let declare = queue::Declare { queue: Q, arguments: ttl.as_table(), ..Default::default() };
    let text = "406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost \
                '/': received the value '1000' of type 'short' but current is none";
    closes_channel(&on_1(&declare), text, (50, 10));

    let length = argument("x-max-length", -1);
    let declare =
        queue::Declare { queue: NOPE, arguments: length.as_table(), ..Default::default() };
    let text = "406 PRECONDITION_FAILED - invalid arg 'x-max-length' for queue 'nope' in vhost \
                '/': {value_negative,-1}";
    closes_channel(&on_1(&declare), text, (50, 10));

    let exchange_type = ShortStr::literal("fanout");
    let declare = exchange::Declare { exchange: X, exchange_type, ..Default::default() };
    let text = "406 PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost '/': \
                received 'fanout' but current is 'direct'";
    closes_channel(&on_1(&declare), text, (40, 10));

    let exchange_type = ShortStr::literal("odd");
    let declare = exchange::Declare { exchange: NOPE, exchange_type, ..Default::default() };
    let text = "406 PRECONDITION_FAILED - unknown exchange type 'odd'";
    closes_channel(&on_1(&declare), text, (40, 10));

    let mut octets = on_1(&basic::Consume { queue: Q, nowait: true, ..Default::default() });
    octets.extend(on_1(&queue::Delete { queue: Q, if_unused: true, ..Default::default() }));
    let text = "406 PRECONDITION_FAILED - queue 'q' in vhost '/' in use";
    closes_channel(&octets, text, (50, 40));

    let bind = queue::Bind { queue: Q, exchange: X, nowait: true, ..Default::default() };
    let mut octets = on_1(&bind);
    octets.extend(on_1(&exchange::Delete { exchange: X, if_unused: true, ..Default::default() }));
    let text = "406 PRECONDITION_FAILED - exchange 'x' in vhost '/' in use";
    closes_channel(&octets, text, (40, 20));
}

#[test]
fn a_queue_that_is_not_empty_is_not_deleted_if_empty() {
    let mut world = World::new();
    let mut client = world.open();
    client.declare(&mut world, "q");
    client.publish(&mut world, "q", "x");
    client.send(&mut world, 1, &queue::Delete { queue: Q, if_empty: true, ..Default::default() });
    let text = "406 PRECONDITION_FAILED - queue 'q' in vhost '/' not empty";
    client.expect_channel_close(&mut world, 1, text, (50, 40));
}

#[test]
fn a_tag_that_is_not_outstanding_is_406() {
    let text = "406 PRECONDITION_FAILED - unknown delivery tag 1";
    let (delivery_tag, multiple, requeue) = (1, false, true);
    closes_channel(&on_1(&basic::Ack { delivery_tag, multiple }), text, (60, 80));
    closes_channel(&on_1(&basic::Ack { delivery_tag, multiple: true }), text, (60, 80));
    closes_channel(&on_1(&basic::Nack { delivery_tag, multiple, requeue }), text, (60, 120));
    closes_channel(&on_1(&basic::Reject { delivery_tag, requeue }), text, (60, 90));
    let text = "406 PRECONDITION_FAILED - unknown delivery tag 0";
    closes_channel(&on_1(&basic::Ack { delivery_tag: 0, multiple }), text, (60, 80));
}

#[test]
fn a_publish_that_cannot_be_is_406() {
    let with = |properties: BasicProperties<'_>| publish_with(1, &to("q"), &properties, b"x");
    let expiration = Some(ShortStr::literal("abc"));
    let octets = with(BasicProperties { expiration, ..Default::default() });
    let text = "406 PRECONDITION_FAILED - invalid expiration 'abc': no_integer";
    closes_channel(&octets, text, (60, 40));
    let user_id = Some(ShortStr::literal("bob"));
    let octets = with(BasicProperties { user_id, ..Default::default() });
    let text = "406 PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user \
                was 'guest'";
    closes_channel(&octets, text, (60, 40));
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_header() {
    let mut world = World::with(Config::default().max_message_size(1000));
    let mut client = world.open();
    client.declare(&mut world, "q");
    client.publish(&mut world, "q", [7; 1000]);
    assert_eq!(world.messages(), 1);
    let mut octets = method(1, &to("q"));
    octets.extend(frame(2, 1, &header(1001, b"\0\0")));
    client.raw(&mut world, &octets);
    let text =
        "406 PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000";
    client.expect_channel_close(&mut world, 1, text, (60, 40));
    client.raw(&mut world, &frame(3, 1, &[7; 1001])); // what was on its way is discarded
    client.send(&mut world, 1, &channel::CloseOk {});
    client.open_channel(&mut world, 1);
}

#[test]
fn what_is_not_served_closes_the_connection_with_540() {
    let text = "540 NOT_IMPLEMENTED - active=false";
    closes_connection(&on_1(&channel::Flow { active: false }), text, (20, 20));
    let text = "540 NOT_IMPLEMENTED - requeue=false";
    closes_connection(&on_1(&basic::Recover { requeue: false }), text, (60, 110));
    closes_connection(&on_1(&basic::RecoverAsync { requeue: false }), text, (60, 100));
    let text = "540 NOT_IMPLEMENTED - prefetch_size!=0 (10)";
    let qos = basic::Qos { prefetch_size: 10, ..Default::default() };
    closes_connection(&on_1(&qos), text, (60, 10));
    let text = "540 NOT_IMPLEMENTED - immediate=true";
    let immediate = basic::Publish { immediate: true, ..to("q") };
    let octets = publish_with(1, &immediate, &BasicProperties::default(), b"x");
    closes_connection(&octets, text, (60, 40));
    let text = "540 NOT_IMPLEMENTED - unknown method {60,99}";
    closes_connection(&frame(1, 1, &[0, 60, 0, 99]), text, (60, 99));
}

#[test]
fn channels_that_are_not_or_already_open_are_504() {
    let text = "504 CHANNEL_ERROR - second 'channel.open' seen";
    closes_connection(&on_1(&channel::Open::default()), text, (20, 10));
    let text = "504 CHANNEL_ERROR - expected 'channel.open'";
    closes_connection(&method(7, &queue::Declare::default()), text, (50, 10));
    closes_connection(&method(65_535, &to("q")), text, (60, 40));
    let text = "504 CHANNEL_ERROR - unexpected method in connection state running";
    closes_connection(&method(0, &queue::Declare::default()), text, (50, 10));
    closes_connection(&method(0, &connection::CloseOk {}), text, (10, 51));
    closes_connection(&method(0, &open("/")), text, (10, 40));
    // Before `close-ok`, a channel that the server has closed is not free.
    let mut octets = on_1(&basic::Ack { delivery_tag: 1, multiple: false });
    octets.extend(on_1(&channel::Open::default()));
    let (mut world, mut client, _owner) = furnished();
    client.raw(&mut world, &octets);
    let text = "406 PRECONDITION_FAILED - unknown delivery tag 1";
    client.expect_channel_close(&mut world, 1, text, (60, 80));
    let text = "504 CHANNEL_ERROR - second 'channel.open' seen";
    client.expect_close(&mut world, text, (20, 10));
}

#[test]
fn a_method_on_the_wrong_side_is_503() {
    let text = "503 COMMAND_INVALID - unimplemented method";
    closes_connection(&on_1(&connection::Open::default()), text, (10, 40));
    closes_connection(&on_1(&connection::Close::default()), text, (10, 50));
    closes_connection(&on_1(&queue::DeclareOk::default()), text, (50, 11));
    closes_connection(&on_1(&channel::CloseOk {}), text, (20, 41));
    closes_connection(&on_1(&access::RequestOk::default()), text, (30, 11));
}

#[test]
fn a_consumer_tag_is_not_used_twice_on_a_channel() {
    let consumer_tag = ShortStr::literal("t");
    let consume = basic::Consume { queue: Q, consumer_tag, nowait: true, ..Default::default() };
    let text = "530 NOT_ALLOWED - attempt to reuse consumer tag 't'";
    closes_connection(&[on_1(&consume), on_1(&consume)].concat(), text, (60, 20));
}

#[test]
fn frames_that_cannot_be_cut_end_the_connection_at_once() {
    let mut octets = frame(1, 1, &[0, 20, 0, 10]);
    *octets.last_mut().unwrap() = 0;
    let text = "501 FRAME_ERROR - type 1, all octets = <<0,20,0,10>>: {invalid_frame_end_marker,0}";
    ends_connection(&octets, text);
    let text = "501 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,200000,131064}";
    ends_connection(&[3, 0, 1, 0, 3, 13, 64], text);
}

#[test]
fn frames_that_say_nothing_close_the_connection() {
    let text = "501 FRAME_ERROR - type 9, all octets = <<>>: unknown_frame";
    closes_connection(&frame(9, 1, b""), text, (0, 0));
    let text = "501 FRAME_ERROR - cannot decode <<0>>";
    closes_connection(&frame(1, 1, &[0, 50, 0, 10, 0]), text, (50, 10));
    let mut octets = method(1, &to("q"));
    octets.extend(frame(2, 1, &header(0, b"\x80\0")));
    let text = "541 INTERNAL_ERROR - cannot decode the content's properties";
    closes_connection(&octets, text, (0, 0));
}

#[test]
fn content_out_of_order_is_505() {
    let text = "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead";
    closes_connection(&frame(3, 1, b"x"), text, (0, 0));
    closes_connection(&frame(2, 9, &header(1, b"\0\0")), text, (0, 0));
    let publish = on_1(&to("q"));
    let text = "505 UNEXPECTED_FRAME - expected content header for class 60, got non content \
                header frame instead";
    closes_connection(&[&publish[..], &frame(3, 1, b"x")].concat(), text, (60, 40));
    let mut other_class = header(1, b"\0\0");
    other_class[1] = 50;
    let text = "505 UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 \
                instead";
    closes_connection(&[&publish[..], &frame(2, 1, &other_class)].concat(), text, (60, 40));
    let text = "505 UNEXPECTED_FRAME - expected content body, got non content body frame instead";
    let head = [&publish[..], &frame(2, 1, &header(2, b"\0\0"))].concat();
    closes_connection(&[&head[..], &publish].concat(), text, (60, 40));
    let text = "501 FRAME_ERROR - content body frame exceeds remaining content size";
    closes_connection(&[&head[..], &frame(3, 1, b"xyz")].concat(), text, (60, 40));
    let text = "505 UNEXPECTED_FRAME - type 8, all octets = <<>>";
    closes_connection(&frame(8, 1, b""), text, (0, 0));
}

#[test]
fn content_on_two_channels_may_be_interleaved() {
    let (mut world, mut client, _owner) = furnished();
    client.open_channel(&mut world, 2);
    let mut octets = Vec::new();
    for number in [1, 2] {
        octets.extend(method(number, &to("q")));
    }
    for number in [2, 1] {
        octets.extend(frame(2, number, &header(4, b"\0\0")));
    }
    octets.extend(frame(3, 1, b"on"));
    octets.extend(frame(3, 2, b"two"));
    octets.extend(frame(8, 0, b""));
    octets.extend(frame(3, 2, b"!"));
    octets.extend(frame(3, 1, b""));
    octets.extend(frame(3, 1, b"e!"));
    client.raw(&mut world, &octets);
    client.consume(&mut world, "q", "c", true);
    assert_eq!(client.bodies(&mut world), ["two!", "one!"]);
}

#[test]
fn the_channels_are_counted_not_their_numbers() {
    let mut world = World::new();
    let mut client = world.dial();
    let tune_ok = connection::TuneOk { channel_max: 2, frame_max: 4096, heartbeat: 0 };
    client.raw(&mut world, &opening(&Opening { tune_ok, ..Default::default() }));
    for _ in 0..3 {
        client.next(&mut world);
    }
    client.open_channel(&mut world, 65_535);
    client.open_channel(&mut world, 300);
    client.call(&mut world, 300, &channel::Close::default(), channel::CloseOk {});
    client.open_channel(&mut world, 1);
    client.send(&mut world, 2, &channel::Open::default());
    let text = "530 NOT_ALLOWED - number of channels opened (2) has reached the negotiated \
                channel_max (2)";
    client.expect_close(&mut world, text, (0, 0));
}

#[test]
fn a_close_that_crosses_ours_is_answered() {
    let (mut world, mut client, _owner) = furnished();
    // On the channel ...
    let mut octets = on_1(&basic::Ack { delivery_tag: 1, multiple: false });
    octets.extend(on_1(&channel::Close::default()));
    client.raw(&mut world, &octets);
    let text = "406 PRECONDITION_FAILED - unknown delivery tag 1";
    client.expect_channel_close(&mut world, 1, text, (60, 80));
    client.expect(&mut world, 1, channel::CloseOk {});
    client.send(&mut world, 1, &channel::CloseOk {});
    client.open_channel(&mut world, 1);
    // ... and on the connection.
    let mut octets = on_1(&channel::Open::default());
    octets.extend(method(0, &connection::Close::default()));
    client.raw(&mut world, &octets);
    let text = "504 CHANNEL_ERROR - second 'channel.open' seen";
    client.expect_close(&mut world, text, (20, 10));
    client.expect(&mut world, 0, connection::CloseOk {});
    client.send(&mut world, 0, &connection::CloseOk {});
    assert!(client.is_ended(&mut world));
}

#[test]
fn who_never_answers_a_close_is_dropped() {
    let (mut world, mut client, _owner) = furnished();
    client.raw(&mut world, &on_1(&channel::Open::default()));
    world.simulation.run_for(std::time::Duration::from_secs(29));
    assert!(!client.is_ended(&mut world));
    world.simulation.run_for(std::time::Duration::from_secs(2));
    assert!(client.is_ended(&mut world));
}

#[test]
fn modes_are_not_mixed() {
    let text = "406 PRECONDITION_FAILED - channel is not transactional";
    closes_channel(&on_1(&tx::Commit {}), text, (90, 20));
    closes_channel(&on_1(&tx::Rollback {}), text, (90, 30));
    let confirm = on_1(&confirm::Select { nowait: true });
    let text = "406 PRECONDITION_FAILED - cannot switch from confirm to tx mode";
    closes_channel(&[confirm.clone(), on_1(&tx::Select {})].concat(), text, (90, 10));
    let (mut world, mut client, _owner) = furnished();
    client.call(&mut world, 1, &tx::Select {}, tx::SelectOk {});
    client.raw(&mut world, &confirm);
    let text = "406 PRECONDITION_FAILED - cannot switch from tx to confirm mode";
    client.expect_channel_close(&mut world, 1, text, (85, 10));
}

#[test]
fn a_user_may_do_what_its_permissions_allow() {
    struct ReadOnly;
    impl Authenticator for ReadOnly {
        fn authenticate(&self, login: &Login<'_>) -> Result<(), String> {
            assert_eq!((login.user, login.password), (&b"guest"[..], &b"guest"[..]));
            Ok(())
        }
        fn permissions(&self, _user: &[u8], _vhost: &[u8]) -> Option<Box<dyn Permissions>> {
            Some(Box::new(|access: Access, _name: &[u8]| access == Access::Read))
        }
    }
    let mut world = World::with(Config::default().authenticator(ReadOnly));
    let mut client = world.open();
    client.send(&mut world, 1, &queue::Declare { queue: Q, ..Default::default() });
    let text = "403 ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'guest'";
    client.expect_channel_close(&mut world, 1, text, (50, 10));
}

#[test]
fn what_was_delivered_before_the_fault_arrives_before_the_close() {
    let last_words = |fault: Vec<u8>| {
        let (mut world, mut client, _owner) = furnished();
        client.consume(&mut world, "q", "c", true);
        client.raw(&mut world, &[publish(1, "q", b"last words"), fault].concat());
        let delivered = client.delivery(&mut world).expect("the delivery");
        assert_eq!(delivered.body, b"last words");
        (world, client)
    };
    let (mut world, mut client) =
        last_words(on_1(&basic::Ack { delivery_tag: 9, multiple: false }));
    let text = "406 PRECONDITION_FAILED - unknown delivery tag 9";
    client.expect_channel_close(&mut world, 1, text, (60, 80));
    let (mut world, mut client) = last_words(on_1(&channel::Flow { active: false }));
    client.expect_close(&mut world, "540 NOT_IMPLEMENTED - active=false", (20, 20));
    let (mut world, mut client) = last_words(on_1(&channel::Close::default()));
    client.expect(&mut world, 1, channel::CloseOk {});
    let (mut world, mut client) = last_words(method(0, &connection::Close::default()));
    client.expect(&mut world, 0, connection::CloseOk {});
}
