//! Order: messages of one queue are stored and consumed in the order in which they were acknowledged. One queue for everything is a
//! global order; one queue for each key is an order for each key, and lets brokers and consumers share the work.

use rocketmq_sdk::{DefaultProducer, Message};

mod embedded;

const STEPS: [&str; 3] = ["created", "paid", "shipped"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;
    let producer = DefaultProducer::builder("example_producer")
        .name_server(servers.name_server())
        .start()
        .await?;

    println!("order for each key: the steps of an order stand in one queue, in their order");
    for step in STEPS {
        for order in ["order-1", "order-2", "order-3"] {
            let message = Message::new("order_steps", format!("{order} {step}"));
            let result = producer.send(message).sharding_key(order).await?;
            let queue = result.queue().queue_id;
            println!(
                "  {order} {step}: queue {queue} offset {}",
                result.queue_offset()
            );
        }
    }

    println!("global order: every message goes to one queue");
    let queue = producer.queues("ledger").await?.remove(0);
    for entry in 1..=3 {
        let message = Message::new("ledger", format!("entry {entry}"));
        let result = producer.send(message).to(queue.clone()).await?;
        let queue = result.queue().queue_id;
        println!(
            "  entry {entry}: queue {queue} offset {}",
            result.queue_offset()
        );
    }

    producer.shutdown().await?;
    Ok(())
}
