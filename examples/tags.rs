//! Groups that choose messages by their tags, and change what they choose while they run.

use rocketmq_sdk::{ConsumeFromWhere, DefaultProducer, Message, PushConsumer};
use tokio::sync::mpsc;

mod embedded;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;
    let producer = DefaultProducer::builder("example_producer")
        .name_server(servers.name_server())
        .start()
        .await?;
    for tag in ["created", "paid", "sent", "paid"] {
        let order = Message::builder("tagged_orders").tag(tag).body(tag);
        producer.send(order.build()).await?;
    }

    let (sender, mut received) = mpsc::unbounded_channel();
    let start = |group: &'static str, tags: &'static str| {
        PushConsumer::builder(group)
            .name_server(servers.name_server())
            .subscribe("tagged_orders", tags)
            .consume_from(ConsumeFromWhere::FirstOffset)
            .listener_with(sender.clone(), move |sender, messages| async move {
                for message in messages {
                    sender.send(format!("{group} ({tags}): {:?}", message.tag()))?;
                }
                Ok(())
            })
            .start()
    };
    // Brokers choose by a hash of the tag, the client by the tag itself. All members of a group have to choose the same.
    let everything = start("example_everything", "*").await?;
    let bookkeeping = start("example_bookkeeping", "paid").await?;
    let shipping = start("example_shipping", "paid || sent").await?;
    for _ in 0..4 + 2 + 3 {
        println!("{}", received.recv().await.unwrap_or_default());
    }

    bookkeeping.subscribe("tagged_orders", "cancelled")?;
    for consumer in [everything, bookkeeping, shipping] {
        consumer.shutdown().await?;
    }
    producer.shutdown().await?;
    Ok(())
}
