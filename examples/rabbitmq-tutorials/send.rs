//! RabbitMQ's tutorial 1, "Hello World!": sends one message.
//!
//! ```text
//! cargo run --example receive
//! cargo run --example send
//! ```

use ropewalk::amqp::client::{Client, Properties, QueueDeclare, Result};

fn main() -> Result {
    Client::run(&url(), async |connection| {
        let channel = connection.open_channel().await?;
        channel.queue_declare(QueueDeclare::named("hello").quorum()).await?;

        channel.publish("", "hello", Properties::new(), "Hello World!")?;
        println!(" [x] Sent 'Hello World!'");
        Ok(())
    })
}

fn url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into())
}
