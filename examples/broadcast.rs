//! Two members of a broadcasting group: each gets every message, and keeps its own offsets in a file.

use rocketmq_sdk::{DefaultProducer, Message, MessageModel, PushConsumer};
use tokio::sync::mpsc;

mod embedded;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;
    let folder = tempfile::tempdir()?;
    let (sender, mut received) = mpsc::unbounded_channel();
    let mut members = Vec::new();
    for name in ["one", "two"] {
        let consumer = PushConsumer::builder("example_broadcast")
            .name_server(servers.name_server())
            .subscribe("news", "*")
            .message_model(MessageModel::Broadcasting)
            // In a program of its own a member needs no folder: there is one in the user's home.
            .local_offset_dir(folder.path().join(name))
            .listener_with(sender.clone(), move |sender, messages| async move {
                for message in messages {
                    sender.send((name, message))?;
                }
                // A message that fails is logged, and does not come again.
                Ok(())
            });
        members.push(consumer.start().await?);
    }

    let producer = DefaultProducer::builder("example_producer")
        .name_server(servers.name_server())
        .start()
        .await?;
    for number in 1..=3 {
        let text = format!("news {number}");
        producer.send(Message::new("news", text)).await?;
    }
    for _ in 0..6 {
        if let Some((name, message)) = received.recv().await {
            println!("{name}: {}", String::from_utf8_lossy(message.body()));
        }
    }
    for consumer in members {
        consumer.shutdown().await?;
    }
    producer.shutdown().await?;
    Ok(())
}
