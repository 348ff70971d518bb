//! Sends messages and waits for each acknowledgement.

use rocketmq_sdk::{DefaultProducer, Message};

mod embedded;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;
    let producer = DefaultProducer::builder("example_producer")
        .name_server(servers.name_server())
        .start()
        .await?;

    for number in 0..5 {
        let message = Message::builder("orders")
            .tag("created")
            .key(format!("order-{number}"))
            .property("region", "north")
            .body(format!("order {number}"))
            .build();
        match producer.send(message).await {
            Ok(result) => println!(
                "{} at {} offset {}",
                result.msg_id(),
                result.queue(),
                result.queue_offset()
            ),
            Err(error) => eprintln!("{error}; worth another try: {}", error.is_retryable()),
        }
    }

    producer.shutdown().await?;
    Ok(())
}
