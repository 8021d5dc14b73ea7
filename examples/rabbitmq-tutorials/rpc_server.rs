//! RabbitMQ's tutorial 6, "RPC": answers with Fibonacci numbers.
//!
//! ```text
//! cargo run --example rpc_server
//! cargo run --example rpc_client -- 30
//! ```

use ropewalk::Reactor;
use ropewalk::amqp::client::{Client, ConsumeOptions, Delivery, Properties, QueueDeclare, Result};

fn main() -> Result {
    env_logger::init();
    Client::run(&url(), async |connection| {
        let channel = connection.open_channel().await?;
        channel.queue_declare(QueueDeclare::named("rpc_queue").quorum()).await?;
        channel.qos(1).await?;
        let serve = |_: &mut Reactor, request: Delivery| {
            if let Err(error) = answer(&request) {
                eprintln!(" [!] {error}");
            }
        };
        channel.consume("rpc_queue", ConsumeOptions::new(), serve).await?;
        println!(" [x] Awaiting RPC requests");
        Ok(connection.until_closed().await?)
    })
}

fn answer(request: &Delivery) -> Result {
    let number: u32 = request.text().parse().unwrap_or(0);
    println!(" [.] fib({number})");
    let asked = request.properties()?;
    if let Some(reply_to) = asked.reply_to.and_then(|reply_to| reply_to.as_str()) {
        let id = asked.correlation_id.map(|id| id.to_string()).unwrap_or_default();
        let properties = Properties::new().correlation_id(id);
        request.channel().publish("", reply_to, properties, fib(number).to_string())?;
    }
    request.ack()
}

fn fib(number: u32) -> u64 {
    (0..number).fold((0, 1), |(a, b): (u64, u64), _| (b, a.saturating_add(b))).0
}

fn url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into())
}
