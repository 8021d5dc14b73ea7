//! Publishes each of its arguments to a queue and tells what became of it: taken, refused, or
//! sent back because there is no such queue.
//!
//! ```text
//! cargo run --example amqp_broker
//! cargo run --example reliable_publisher -- orders apples pears
//! ```

use ropewalk::amqp::client::{
    Channel, Client, Confirmation, Error, Properties, Publish, QueueDeclare, Result,
};

fn main() -> Result {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let queue = arguments.next().unwrap_or_else(|| "orders".to_owned());
    Client::run(&url(), async move |connection| {
        connection.on_notice(|_, notice| eprintln!("{notice}"));
        let channel = connection.open_channel().await?;
        channel.queue_declare(QueueDeclare::named(&queue).durable()).await?;
        for order in arguments {
            println!("{order}: {}", publish(&channel, &queue, &order).await?);
        }
        println!("stray: {}", publish(&channel, "no such queue", "stray").await?);
        Ok(())
    })
}

/// Publishes until the broker has said what it made of the message.
async fn publish(channel: &Channel, queue: &str, order: &str) -> Result<&'static str> {
    let persistent = Properties::new().persistent();
    let message = Publish::to_queue(queue).mandatory().properties(persistent);
    loop {
        channel.connection().ready().await?;
        let confirmed = channel.publish_confirmed_with(message.clone(), order.to_owned());
        match confirmed.await.map_err(Error::from) {
            Ok(Confirmation::Acked) => return Ok("taken"),
            Ok(Confirmation::Returned(_)) => return Ok("sent back: no queue wants it"),
            Ok(_) => return Ok("refused"),
            // Nobody knows whether the broker has it. Sent again, it may be there twice.
            Err(Error::Unconfirmed(_) | Error::Reconnecting) => {}
            Err(error) => return Err(error),
        }
    }
}

fn url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into())
}
