//! RabbitMQ's tutorial 1, "Hello World!": prints what is sent to the queue.
//!
//! ```text
//! cargo run --example receive
//! cargo run --example send
//! ```

use ropewalk::amqp::client::{Client, ConsumeOptions, Delivery, QueueDeclare, Result};

fn main() -> Result {
    env_logger::init();
    Client::run(&url(), async |connection| {
        let channel = connection.open_channel().await?;
        channel.queue_declare(QueueDeclare::named("hello").quorum()).await?;

        let automatic = ConsumeOptions::new().no_ack();
        let print = |_: &mut _, delivery: Delivery| println!(" [x] Received {}", delivery.text());
        channel.consume("hello", automatic, print).await?;
        println!(" [*] Waiting for messages. To exit press CTRL+C");
        Ok(connection.until_closed().await?)
    })
}

fn url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into())
}
