//! Which queue a message goes to: the next one in turn, the one of its key, the one that the application chooses, or a given one.

use rocketmq_sdk::{DefaultProducer, Message, MessageQueue};

mod embedded;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;
    let producer = DefaultProducer::builder("example_producer")
        .name_server(servers.name_server())
        .start()
        .await?;
    let message = |text: &str| Message::new("sharding", text.to_owned());

    for turn in 1..=3 {
        let result = producer.send(message("in turn")).await?;
        println!("in turn, number {turn}: queue {}", result.queue().queue_id);
    }

    // The same key goes to the same queue, and to the one that Java's client chooses for it.
    for key in ["alice", "bob", "alice"] {
        let result = producer.send(message("by key")).sharding_key(key).await?;
        println!("key {key}: queue {}", result.queue().queue_id);
    }

    // The application is given the queues and the message, and returns an index.
    let last = |queues: &[MessageQueue], _: &Message| queues.len() - 1;
    let result = producer.send(message("the last one")).select(last).await?;
    println!("own choice: queue {}", result.queue().queue_id);

    let queues = producer.queues("sharding").await?;
    let result = producer.send(message("here")).to(queues[1].clone()).await?;
    println!("given: queue {}", result.queue().queue_id);

    producer.shutdown().await?;
    Ok(())
}
