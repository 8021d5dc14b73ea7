//! RabbitMQ's tutorial 4, "Routing": a log message of some severity.
//!
//! ```text
//! cargo run --example receive_logs_direct -- warning error
//! cargo run --example emit_log_direct -- error Run, run, or it will explode
//! ```

use ropewalk::amqp::client::{Client, ExchangeDeclare, Properties, Result};

fn main() -> Result {
    let mut words = std::env::args().skip(1);
    let severity = words.next().unwrap_or_else(|| "info".into());
    let rest: Vec<String> = words.collect();
    let message = if rest.is_empty() { "Hello World!".into() } else { rest.join(" ") };
    Client::run(&url(), async move |connection| {
        let channel = connection.open_channel().await?;
        channel.exchange_declare(ExchangeDeclare::direct("direct_logs")).await?;

        channel.publish("direct_logs", &severity, Properties::new(), message.clone())?;
        println!(" [x] Sent '{severity}':'{message}'");
        Ok(())
    })
}

fn url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into())
}
