//! Sends without waiting in between: with a callback, with receipts, and many futures at once.

use futures::future::try_join_all;
use rocketmq_sdk::{DefaultProducer, Message};

mod embedded;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;
    let producer = DefaultProducer::builder("example_producer")
        .name_server(servers.name_server())
        .start()
        .await?;

    producer.send_callback(
        Message::new("events", "by callback"),
        |outcome| match outcome {
            Ok(result) => println!("callback: {}", result.msg_id()),
            Err(error) => eprintln!("callback: {error}"),
        },
    );

    // The first await: the producer has it and sees it through. The second: the broker has it.
    let receipt = producer
        .submit(Message::new("events", "by receipt"))
        .await?;
    println!("receipt: {}", receipt.await?.msg_id());

    let sends =
        (0..5).map(|number| producer.send(Message::new("events", format!("together {number}"))));
    for result in try_join_all(sends).await? {
        println!("together: {}", result.msg_id());
    }

    // Waits for what is still in flight, the callback's message too.
    producer.shutdown().await?;
    Ok(())
}
