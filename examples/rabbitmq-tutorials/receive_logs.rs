//! RabbitMQ's tutorial 3, "Publish/Subscribe": prints every log message from now on.
//!
//! ```text
//! cargo run --example receive_logs
//! cargo run --example emit_log -- Hello everybody
//! ```

use ropewalk::amqp::client::{Client, ConsumeOptions, ExchangeDeclare, QueueDeclare, Result};

fn main() -> Result {
    env_logger::init();
    Client::run(&url(), async |connection| {
        let channel = connection.open_channel().await?;
        channel.exchange_declare(ExchangeDeclare::fanout("logs")).await?;
        let queue = channel.queue_declare(QueueDeclare::server_named().exclusive()).await?;
        channel.queue_bind(&queue.name, "logs", "").await?;

        let mut logs = channel.subscribe(&queue.name, ConsumeOptions::new().no_ack()).await?;
        println!(" [*] Waiting for logs. To exit press CTRL+C");
        while let Some(delivery) = logs.next().await? {
            println!(" [x] {}", delivery.text());
        }
        Ok(())
    })
}

fn url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into())
}
