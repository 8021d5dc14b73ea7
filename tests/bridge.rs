//! A bridge between Redis and AMQP as operators run it: third-party clients at both ends, servers that
//! are killed and come back, and a configuration that is read again.

#![allow(clippy::disallowed_methods, reason = "tests of whole programs live in real time")]

#[path = "support/configuration.rs"]
mod configuration;
mod support;

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use configuration::File;
use ropewalk::amqp::client::{
    Client as Amqp, ConsumeOptions, Error, ExchangeDeclare, QueueDeclare,
};
use ropewalk::redis::client::Client as Redis;
use support::{Server, python, root};

const SERVICES: &str = "[[service]]\nkind = 'redis'\nlisten = ['127.0.0.1:0']\npassword = 'secret'\n\
    [[service]]\nkind = 'amqp'\nlisten = ['127.0.0.1:0']\nmemory = true\n";

fn bridge(name: &str, redis: &str, amqp: &str, channels: &str) -> String {
    format!(
        "[[bridge]]\nname = '{name}'\nredis = '{redis}'\namqp = '{amqp}'\nchannels = '{channels}'\n\
         exchange = 'news'\n"
    )
}

/// What the exchange gets when these are published on these channels, up to the first one.
fn first_to_cross(redis: SocketAddr, amqp: SocketAddr, channels: &[&str]) -> String {
    let channels: Vec<_> = channels.iter().map(|channel| (*channel).to_owned()).collect();
    let heard = Amqp::run(&*format!("amqp://guest:guest@{amqp}"), move |connection| async move {
        let local = connection.local();
        let client = local.call(move |reactor| {
            let options = ropewalk::redis::client::ClientOptions::default().password("secret");
            Redis::with_options(reactor, redis, options)
        });
        let client = client.await??;
        let channel = connection.open_channel().await?;
        channel.exchange_declare(ExchangeDeclare::topic("news").durable()).await?;
        let queue = channel.queue_declare(QueueDeclare::server_named().exclusive()).await?.name;
        channel.queue_bind(&queue, "news", "#").await?;
        let mut consumer = channel.subscribe(&queue, ConsumeOptions::new().no_ack()).await?;
        for channel in channels {
            client.publish(&channel, "hello").await?;
        }
        let delivery = consumer.next().await?.ok_or(Error::Closed)?;
        client.close();
        Ok(delivery.routing_key().to_string())
    });
    heard.expect("it works")
}

fn address(server: &Server, kind: &str) -> SocketAddr {
    let mut listening = server.listening.iter();
    let (_, address) = listening.find(|(found, _)| found == kind).expect("it listens");
    address.strip_prefix("tcp://").expect("TCP").parse().expect("an address")
}

#[test]
fn redis_py_and_pika_hear_what_either_says_once() {
    let example = fs::read_to_string(root().join("examples/bridge.toml")).expect("it is there");
    let text = example.replace(":6379", ":0").replace(":5672", ":0");
    let file = File::new(&text);
    let mut server = Server::start(&["serve", "--config", &file.path], 2);
    server.said_until("are joined");
    let ports = ["redis", "amqp"].map(|kind| address(&server, kind).port().to_string());
    let script = root().join("tests/python/bridge.py");
    let output = Command::new(python()).arg(script).args(ports).output().expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let said = server.said_until("news: stopped: ");
    assert!(!said.contains("WARN"), "{said}");
    let line = said.lines().last().unwrap_or_default();
    assert!(line.contains("1004 messages to AMQP, 1004 to Redis, 0 dropped, 0 unknown"), "{line}");
}

#[test]
fn a_reload_adds_changes_and_ends_bridges() {
    let news = bridge("news", "redis", "amqp", "news.*");
    let file = File::new(SERVICES);
    let mut server = Server::start(&["serve", "--config", &file.path], 2);
    let (redis, amqp) = (address(&server, "redis"), address(&server, "amqp"));
    file.write(&format!("{SERVICES}{news}"));
    server.signal("HUP");
    server.said_until("news: channels news.* of");
    assert_eq!(first_to_cross(redis, amqp, &["sport.a", "news.a"]), "news.a");
    // One that stays is not touched, and neither is what is written around it.
    file.write(&format!("{SERVICES}# The same:\n{news}"));
    server.signal("HUP");
    let said = server.said_until("] reloaded");
    assert!(!said.contains("joined") && !said.contains("stopped"), "{said}");
    file.write(&format!("{SERVICES}{}", bridge("news", "redis", "amqp", "sport.*")));
    server.signal("HUP");
    let said = server.said_until("news: channels sport.* of");
    assert!(said.contains("news: stopped: 1 messages to AMQP"), "{said}");
    assert_eq!(first_to_cross(redis, amqp, &["news.a", "sport.a"]), "sport.a");
    file.write(&format!("{SERVICES}{}", bridge("news", "redis", "nobody", "sport.*")));
    server.signal("HUP");
    server.said_until("there is no service `nobody`");
    assert_eq!(first_to_cross(redis, amqp, &["sport.b"]), "sport.b");
    file.write(SERVICES);
    server.signal("HUP");
    let said = server.said_until("news: stopped: ");
    assert!(said.contains("news: it is no longer wanted"), "{said}");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn servers_elsewhere_are_joined_and_again_when_they_have_been_killed() {
    let redis = ["redis", "--password", "secret", "--listen"];
    let amqp = ["amqp", "--memory", "--listen"];
    let start = |command: &[&str], at: &str| Server::start(&[command, &[at]].concat(), 1);
    let (mut first, mut second) = (start(&redis, "127.0.0.1:0"), start(&amqp, "127.0.0.1:0"));
    let (at_redis, at_amqp) = (first.address(), second.address());
    let text = bridge("far", &format!("redis://{at_redis}"), &format!("amqp://{at_amqp}"), "*");
    let file = File::new(&format!("{text}redis-password = 'secret'\n"));
    let mut server = Server::start(&["serve", "--config", &file.path], 0);
    server.said_until("are joined");
    assert_eq!(first_to_cross(at_redis, at_amqp, &["one"]), "one");
    first.kill();
    let said = server.said_until("far: Redis was lost: ");
    assert!(!said.contains("secret"), "{said}");
    first = start(&redis, &at_redis.to_string());
    server.said_until("are joined");
    assert_eq!(first_to_cross(at_redis, at_amqp, &["two"]), "two");
    second.kill();
    server.said_until("far: AMQP was lost: ");
    second = start(&amqp, &at_amqp.to_string());
    server.said_until("are joined");
    assert_eq!(first_to_cross(at_redis, at_amqp, &["three"]), "three");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    drop((first, second));
}

#[test]
fn a_check_reads_what_a_bridge_needs() {
    let check = |text: &str| {
        let file = File::new(text);
        let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
        command.args(["serve", "--check", "--config", &file.path]).env_remove("RUST_LOG");
        let output = command.output().expect("it was built for this test");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let good = format!("{SERVICES}{}", bridge("news", "redis", "amqp", "news.*"));
    let (code, said) = check(&good);
    assert!(said.contains("fine, 2 services on 2 addresses, 1 bridge"), "{said}");
    assert_eq!(code, Some(0));
    let (code, said) = check(&format!("{good}amqp-password-file = '/nowhere'\n"));
    assert!(said.contains("news: /nowhere: No such file"), "{said}");
    assert_eq!(code, Some(1));
}
