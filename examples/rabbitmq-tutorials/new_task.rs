//! RabbitMQ's tutorial 2, "Work Queues": a task whose dots are seconds of work.
//!
//! ```text
//! cargo run --example worker
//! cargo run --example new_task -- A very hard task which takes two seconds..
//! ```

use ropewalk::amqp::client::{Client, Properties, QueueDeclare, Result};

fn main() -> Result {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let message = if words.is_empty() { "Hello World!".to_owned() } else { words.join(" ") };
    Client::run(&url(), async move |connection| {
        let channel = connection.open_channel().await?;
        channel.queue_declare(QueueDeclare::named("task_queue").quorum()).await?;

        let persistent = Properties::new().persistent();
        let confirmation =
            channel.publish_confirmed("", "task_queue", persistent, message.clone()).await?;
        println!(" [x] Sent '{message}', which the broker has {confirmation:?}");
        Ok(())
    })
}

fn url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into())
}
