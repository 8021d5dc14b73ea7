//! A virtual host with a bit of everything that definitions can say, and what clients see of it:
//! the same at every broker that has those definitions.

#![allow(unreachable_pub, reason = "a module of tests")]

use ropewalk::amqp::client::{
    Client, Connection, Error, ExchangeDeclare, Options, Properties, Publish, QueueDeclare, Result,
};
use ropewalk::amqp::codec::{ArrayBuf, ReplyCode, Table, TableBuf, Value as Argument};

/// The virtual host.
pub const SHOP: &str = "Läden & mehr";

/// May do everything in the shop, and has two tags.
pub const SHOPPER: (&str, &str) = ("käufer", "ein Geheimnis: ü");
/// May do a half of it.
pub const HALF: (&str, &str) = ("half", "h:h");
/// May open one channel. RabbitMQ counts one that is closed for a while, so it is nobody else.
pub const NARROW: (&str, &str) = ("narrow", "n");
/// Has no password, and so cannot log in.
pub const NOBODY: &str = "nobody";
/// The user that every new broker has.
pub const GUEST: (&str, &str) = ("guest", "guest");

/// A virtual host with room for no queue.
pub const FULL: &str = "full";

/// Arguments of every type that JSON has a place for; they say nothing to either broker.
fn values_of_every_type() -> TableBuf {
    let list = ArrayBuf::new().with(1_i64).with("two").with(&TableBuf::new().with("three", 3_i64));
    TableBuf::new()
        .with("bool", true)
        .with("byte", Argument::ShortShortInt(-1))
        .with("unsigned byte", Argument::ShortShortUint(200))
        .with("short", Argument::ShortInt(-300))
        .with("unsigned short", Argument::ShortUint(60_000))
        .with("int", -70_000_i32)
        .with("unsigned int", Argument::LongUint(3_000_000_000))
        .with("long", i64::MAX)
        .with("double", 0.5_f64)
        .with("text ü", "数")
        .with("empty", "")
        .with("list", &list)
        .with("empty list", &ArrayBuf::new())
        .with("table", &TableBuf::new().with("a", 1_i64))
        .with("empty table", &TableBuf::new())
}

/// Makes all of it: exchanges, queues and bindings. What is there already has to be the same.
pub async fn furnish(connection: &Connection) -> Result {
    let channel = connection.open_channel().await?;
    let durable_queue = |name: &str| QueueDeclare::named(name).durable();
    let exchanges = [
        ExchangeDeclare::fanout("unrouted").durable().internal(),
        ExchangeDeclare::fanout("leftover").durable(),
        ExchangeDeclare::topic("orders").durable().argument("alternate-exchange", "leftover"),
        ExchangeDeclare::direct("hidden").durable().argument("alternate-exchange", "unrouted"),
        ExchangeDeclare::headers("Köpfe").durable(),
        ExchangeDeclare::direct("passing").durable().auto_delete(),
    ];
    for exchange in exchanges {
        channel.exchange_declare(exchange).await?;
    }
    let queues = [
        durable_queue("größe 数"),
        durable_queue("lost"),
        durable_queue("passing").auto_delete(),
        durable_queue("prio").argument("x-max-priority", 10_i32),
        durable_queue("short")
            .argument("x-message-ttl", 60_000_i32)
            .argument("x-expires", 3_600_000_i64)
            .argument("x-max-length", Argument::ShortInt(5))
            .argument("x-max-length-bytes", 100_000_i32)
            .argument("x-overflow", "reject-publish")
            .argument("x-dead-letter-exchange", "leftover")
            .argument("x-dead-letter-routing-key", "dead")
            .argument("x-queue-mode", "lazy")
            .argument("x-single-active-consumer", true),
        durable_queue("typed").arguments(values_of_every_type()),
        durable_queue("said to be classic").argument("x-queue-type", "classic"),
        durable_queue("quorum").quorum(),
        durable_queue("limited quorum")
            .quorum()
            .argument("x-delivery-limit", 3_i32)
            .argument("x-quorum-initial-group-size", 1_i32)
            .argument("x-max-in-memory-length", 100_i32)
            .argument("x-dead-letter-exchange", ""),
    ];
    for queue in queues {
        channel.queue_declare(queue).await?;
    }
    let every_type = values_of_every_type();
    let like_kind_and_number =
        TableBuf::new().with("x-match", "all").with("kind", "a").with("n", 5_i32);
    channel.queue_bind("größe 数", "orders", "order.#").await?;
    channel.queue_bind("größe 数", "orders", "order.ü").await?;
    channel.queue_bind("lost", "leftover", "").await?;
    channel.queue_bind("lost", "unrouted", "").await?;
    channel.queue_bind("quorum", "amq.direct", "q").await?;
    channel.queue_bind("passing", "passing", "").await?;
    channel.queue_bind_with("prio", "Köpfe", "", like_kind_and_number.as_table()).await?;
    channel.queue_bind_with("größe 数", "Köpfe", "", every_type.as_table()).await?;
    channel.exchange_bind("orders", "amq.topic", "up.*", Table::EMPTY).await?;
    channel.close().await?;
    Ok(())
}

/// What clients see of it, and of the users. Not all brokers have `unrouted`, which is internal:
/// RabbitMQ leaves such exchanges out of its exports.
pub fn prove(options: &Options, with_internal: bool) {
    let login = |(name, password): (&str, &str), vhost: &str| {
        options.clone().reconnect(None).credentials(name, password).vhost(vhost)
    };
    for user in [GUEST, SHOPPER, HALF, NARROW] {
        Client::run(login(user, "/"), async |_| Ok(())).expect(user.0);
        let wrong = Client::run(login((user.0, "wrong"), "/"), async |_| Ok(()));
        assert_eq!(code(wrong), Some(ReplyCode::AccessRefused), "{user:?}");
    }
    let without = Client::run(login((NOBODY, ""), "/"), async |_| Ok(()));
    assert_eq!(code(without), Some(ReplyCode::AccessRefused));
    Client::run(login(SHOPPER, SHOP), async move |connection| {
        sell(&connection, with_internal).await
    })
    .expect("the shopper may do everything");
    Client::run(login(HALF, SHOP), async |connection| may_do_half(&connection).await)
        .expect("half may do something");
    // The limits of the user `narrow` and of the virtual host `full`.
    let two = Client::run(login(NARROW, "/"), async |connection| {
        let _first = connection.open_channel().await?;
        connection.open_channel().await?;
        Ok(())
    });
    assert_eq!(code(two), Some(ReplyCode::NotAllowed));
    Client::run(login(SHOPPER, FULL), async |connection| {
        let declare = QueueDeclare::named("one more");
        let full = connection.open_channel().await?.queue_declare(declare).await;
        assert_eq!(code(full), Some(ReplyCode::PreconditionFailed));
        Ok(())
    })
    .expect("it is open to the shopper");
}

/// Declares all of it once more, and follows messages through it.
async fn sell(connection: &Connection, with_internal: bool) -> Result {
    if with_internal {
        furnish(connection).await?;
    }
    let channel = connection.open_channel().await?;
    let number = |n: i32| Properties::new().headers(TableBuf::new().with("kind", "a").with("n", n));
    let everything = values_of_every_type();
    for (exchange, key, properties, queue) in [
        ("orders", "order.new", Properties::new(), "größe 数"),
        ("amq.topic", "up.there", Properties::new(), "lost"), // to orders, and its alternate
        ("Köpfe", "", number(5), "prio"),
        ("Köpfe", "", Properties::new().headers(everything), "größe 数"),
        ("amq.direct", "q", Properties::new(), "quorum"),
        ("hidden", "", Properties::new(), if with_internal { "lost" } else { "" }),
    ] {
        let publish = Publish::to(exchange, key).mandatory().properties(properties);
        let sent = channel.publish_confirmed_with(publish, exchange.to_owned()).await?;
        assert_eq!(sent.is_acked(), !queue.is_empty(), "{exchange} {key}: {sent:?}");
        if !queue.is_empty() {
            let got = channel.get(queue, true).await?;
            let got = got.unwrap_or_else(|| panic!("{exchange} {key}: nothing in {queue}"));
            assert_eq!(got.delivery.text(), exchange);
        }
    }
    let six = Publish::to("Köpfe", "").mandatory().properties(number(6));
    assert!(!channel.publish_confirmed_with(six, "six").await?.is_acked());
    for priority in [1, 9, 5] {
        let properties = Properties::new().priority(priority);
        channel.publish_confirmed("", "prio", properties, vec![priority]).await?;
    }
    for priority in [9, 5, 1] {
        let got = channel.get("prio", true).await?.expect("it was confirmed");
        assert_eq!(got.delivery.body()[..], [priority]);
    }
    let short = QueueDeclare::named("short").durable().argument("x-message-ttl", 1_i32);
    assert_eq!(code(channel.queue_declare(short).await), Some(ReplyCode::PreconditionFailed));
    Ok(())
}

/// What permissions and topic permissions let `half` do, and what not.
async fn may_do_half(connection: &Connection) -> Result {
    let channel = connection.open_channel().await?;
    channel.queue_declare(QueueDeclare::named("half-mine").auto_delete()).await?;
    channel.queue_delete("half-mine").await?;
    channel.publish_confirmed("orders", "order.x", Properties::new(), "x").await?;
    assert!(channel.get("größe 数", true).await?.is_some());
    let refused = channel.publish_confirmed("orders", "other", Properties::new(), "x").await;
    assert_eq!(code(refused), Some(ReplyCode::AccessRefused));
    let channel = connection.open_channel().await?;
    let refused = channel.queue_declare(QueueDeclare::named("others")).await;
    assert_eq!(code(refused), Some(ReplyCode::AccessRefused));
    let channel = connection.open_channel().await?;
    assert_eq!(code(channel.get("lost", true).await), Some(ReplyCode::AccessRefused));
    Ok(())
}

fn code<T, E: Into<Error>>(result: std::result::Result<T, E>) -> Option<ReplyCode> {
    result.err()?.into().reply_code()
}
