//! RabbitMQ's tutorial 3, "Publish/Subscribe": a log message for everybody.
//!
//! ```text
//! cargo run --example receive_logs
//! cargo run --example emit_log -- Hello everybody
//! ```

use ropewalk::amqp::client::{Client, ExchangeDeclare, Properties, Result};

fn main() -> Result {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let message = if words.is_empty() { "info: Hello World!".into() } else { words.join(" ") };
    Client::run(&url(), async move |connection| {
        let channel = connection.open_channel().await?;
        channel.exchange_declare(ExchangeDeclare::fanout("logs")).await?;

        channel.publish("logs", "", Properties::new(), message.clone())?;
        println!(" [x] Sent '{message}'");
        Ok(())
    })
}

fn url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into())
}
