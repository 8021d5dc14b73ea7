//! RabbitMQ's tutorial 6, "RPC": asks the server for fib(30), or for another one.
//!
//! ```text
//! cargo run --example rpc_server
//! cargo run --example rpc_client -- 30
//! ```

use ropewalk::amqp::client::{Client, ConsumeOptions, Properties, QueueDeclare, Result};

fn main() -> Result {
    env_logger::init();
    let number = std::env::args().nth(1).unwrap_or_else(|| "30".into());
    Client::run(&url(), async move |connection| {
        let channel = connection.open_channel().await?;
        let replies = channel.queue_declare(QueueDeclare::server_named().exclusive()).await?;
        let mut answers = channel.subscribe(&replies.name, ConsumeOptions::new().no_ack()).await?;

        println!(" [x] Requesting fib({number})");
        let request = Properties::new().reply_to(replies.name).correlation_id("the only one");
        channel.publish("", "rpc_queue", request, number)?;
        while let Some(answer) = answers.next().await? {
            let properties = answer.properties()?;
            if properties.correlation_id.is_some_and(|id| id == "the only one") {
                println!(" [.] Got {}", answer.text());
                break;
            }
        }
        Ok(())
    })
}

fn url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into())
}
