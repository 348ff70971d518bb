//! Asks for messages and commits them by hand; then takes more of them as a stream, which commits by itself.

use std::time::Duration;

use futures::StreamExt;
use rocketmq_sdk::{ConsumeFromWhere, DefaultProducer, LitePullConsumer, Message};

mod embedded;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;
    let producer = DefaultProducer::builder("lite_pull_producer");
    let producer = producer.name_server(servers.name_server()).start().await?;
    for number in 0..20 {
        let message = Message::new("readings", format!("reading {number}"));
        producer.send(message).await?;
    }

    let consumer = |auto_commit| {
        LitePullConsumer::builder("lite_pull_consumer")
            .name_server(servers.name_server())
            .subscribe("readings", "*")
            .consume_from(ConsumeFromWhere::FirstOffset)
            .auto_commit(auto_commit)
    };
    let by_hand = consumer(false).pull_batch_size(8).start().await?;
    let mut count = 0;
    while count < 10 {
        let messages = by_hand.poll(Duration::from_secs(5)).await?;
        for message in &messages {
            println!("polled {}", String::from_utf8_lossy(message.body()));
        }
        count += messages.len();
        by_hand.commit().await?; // what is not committed comes again
    }
    by_hand.shutdown().await?;

    let automatic = consumer(true).start().await?;
    let mut messages = automatic.stream().take(20 - count);
    while let Some(message) = messages.next().await {
        println!("streamed {}", String::from_utf8_lossy(message?.body()));
    }
    automatic.commit().await?; // the last one, too
    automatic.shutdown().await?;
    producer.shutdown().await?;
    Ok(())
}
