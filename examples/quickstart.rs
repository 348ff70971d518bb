//! Sends ten messages and consumes them, on a cluster inside this process: `cargo run --example quickstart`.

use rocketmq_sdk::{ConsumeFromWhere, ConsumeStatus, DefaultProducer, Message, PushConsumer};
use tokio::sync::mpsc;

mod embedded;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;

    let producer = DefaultProducer::builder("quickstart_producer")
        .name_server(servers.name_server())
        .start()
        .await?;
    for number in 0..10 {
        let result = producer
            .send(Message::new("01_hello", format!("hello, NBA {number}")))
            .await?;
        println!("sent {}", serde_json::to_string(&result)?);
    }

    let (sender, mut consumed) = mpsc::unbounded_channel();
    let consumer = PushConsumer::builder("quickstart_consumer")
        .name_server(servers.name_server())
        .subscribe("01_hello", "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(sender, |sender, messages| async move {
            for message in messages {
                println!(
                    "consumed {} from {}",
                    String::from_utf8_lossy(message.body()),
                    message.queue()
                );
                // The receiver is gone only when the example ends.
                let _ = sender.send(());
            }
            ConsumeStatus::CONSUME_SUCCESS
        })
        .start()
        .await?;
    for _ in 0..10 {
        consumed.recv().await;
    }

    consumer.shutdown().await?;
    producer.shutdown().await?;
    Ok(())
}
