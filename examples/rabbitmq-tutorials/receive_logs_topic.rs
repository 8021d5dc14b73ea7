//! RabbitMQ's tutorial 5, "Topics": prints log messages whose keys match one of the patterns.
//!
//! ```text
//! cargo run --example receive_logs_topic -- 'kern.*' '*.critical'
//! cargo run --example emit_log_topic -- kern.critical A critical kernel error
//! ```

use ropewalk::amqp::client::{Client, ConsumeOptions, ExchangeDeclare, QueueDeclare, Result};

fn main() -> Result {
    env_logger::init();
    let patterns: Vec<String> = std::env::args().skip(1).collect();
    if patterns.is_empty() {
        eprintln!("Usage: receive_logs_topic [binding_key]...");
        std::process::exit(1);
    }
    Client::run(&url(), async move |connection| {
        let channel = connection.open_channel().await?;
        channel.exchange_declare(ExchangeDeclare::topic("topic_logs")).await?;
        let queue = channel.queue_declare(QueueDeclare::server_named().exclusive()).await?;
        for pattern in &patterns {
            channel.queue_bind(&queue.name, "topic_logs", pattern).await?;
        }

        let mut logs = channel.subscribe(&queue.name, ConsumeOptions::new().no_ack()).await?;
        println!(" [*] Waiting for logs. To exit press CTRL+C");
        while let Some(delivery) = logs.next().await? {
            println!(" [x] {}:{}", delivery.routing_key(), delivery.text());
        }
        Ok(())
    })
}

fn url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into())
}
