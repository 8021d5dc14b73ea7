//! RabbitMQ's tutorial 4, "Routing": prints log messages of the severities that are named.
//!
//! ```text
//! cargo run --example receive_logs_direct -- warning error
//! cargo run --example emit_log_direct -- error Run, run, or it will explode
//! ```

use ropewalk::amqp::client::{Client, ConsumeOptions, ExchangeDeclare, QueueDeclare, Result};

fn main() -> Result {
    env_logger::init();
    let severities: Vec<String> = std::env::args().skip(1).collect();
    if severities.is_empty() {
        eprintln!("Usage: receive_logs_direct [info] [warning] [error]");
        std::process::exit(1);
    }
    Client::run(&url(), async move |connection| {
        let channel = connection.open_channel().await?;
        channel.exchange_declare(ExchangeDeclare::direct("direct_logs")).await?;
        let queue = channel.queue_declare(QueueDeclare::server_named().exclusive()).await?;
        for severity in &severities {
            channel.queue_bind(&queue.name, "direct_logs", severity).await?;
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
