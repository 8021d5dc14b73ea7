//! RabbitMQ's tutorial 2, "Work Queues": works on one task at a time, a second for each dot, and
//! acknowledges it when it is done.
//!
//! ```text
//! cargo run --example worker
//! cargo run --example new_task -- A very hard task which takes two seconds..
//! ```

use std::time::Duration;

use ropewalk::Reactor;
use ropewalk::amqp::client::{Client, ConsumeOptions, Delivery, QueueDeclare, Result};

fn main() -> Result {
    env_logger::init();
    Client::run(&url(), async |connection| {
        let channel = connection.open_channel().await?;
        channel.queue_declare(QueueDeclare::named("task_queue").quorum()).await?;
        channel.qos(1).await?;
        channel.consume("task_queue", ConsumeOptions::new(), work).await?;
        println!(" [*] Waiting for messages. To exit press CTRL+C");
        Ok(connection.until_closed().await?)
    })
}

/// Pretends to work: a callback never blocks, so the rest of it is a timer's.
fn work(reactor: &mut Reactor, delivery: Delivery) {
    println!(" [x] Received {}", delivery.text());
    let dots = delivery.body().iter().filter(|&&octet| octet == b'.').count();
    reactor.call_later(Duration::from_secs(dots as u64), move |_| match delivery.ack() {
        Ok(()) => println!(" [x] Done"),
        Err(error) => eprintln!(" [!] Could not acknowledge: {error}"),
    });
}

fn url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into())
}
