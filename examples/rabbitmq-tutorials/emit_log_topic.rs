//! RabbitMQ's tutorial 5, "Topics": a log message of some facility and severity.
//!
//! ```text
//! cargo run --example receive_logs_topic -- 'kern.*' '*.critical'
//! cargo run --example emit_log_topic -- kern.critical A critical kernel error
//! ```

use ropewalk::amqp::client::{Client, ExchangeDeclare, Properties, Result};

fn main() -> Result {
    let mut words = std::env::args().skip(1);
    let routing_key = words.next().unwrap_or_else(|| "anonymous.info".into());
    let rest: Vec<String> = words.collect();
    let message = if rest.is_empty() { "Hello World!".into() } else { rest.join(" ") };
    Client::run(&url(), async move |connection| {
        let channel = connection.open_channel().await?;
        channel.exchange_declare(ExchangeDeclare::topic("topic_logs")).await?;

        channel.publish("topic_logs", &routing_key, Properties::new(), message.clone())?;
        println!(" [x] Sent '{routing_key}':'{message}'");
        Ok(())
    })
}

fn url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into())
}
