//! Where a new group begins: at the first message, at the last, or at a time. A group that was there before goes on where it ended.

use std::time::{Duration, SystemTime};

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
    let send = async |text: &str| {
        let message = Message::new("strategies", text.to_owned());
        producer.send(message).await
    };
    let run = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_millis();
    let start = async |name: &str, from: ConsumeFromWhere| {
        let (sender, mut received) = mpsc::unbounded_channel();
        let consumer = PushConsumer::builder(format!("example_{name}_{run}"))
            .name_server(servers.name_server())
            .subscribe("strategies", "*")
            .consume_from(from)
            .listener_with(sender, |sender, messages| async move {
                for message in messages {
                    sender.send(message)?;
                }
                Ok(())
            })
            .start()
            .await?;
        let mut seen = Vec::new();
        while let Ok(Some(message)) =
            tokio::time::timeout(Duration::from_millis(300), received.recv()).await
        {
            seen.push(String::from_utf8_lossy(message.body()).into_owned());
        }
        println!("{name}: {seen:?}");
        consumer.shutdown().await
    };

    send("early").await?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let noon = SystemTime::now();
    send("late").await?;
    start("first", ConsumeFromWhere::FirstOffset).await?;
    start("time", ConsumeFromWhere::Timestamp(noon)).await?;
    start("last", ConsumeFromWhere::LastOffset).await?;
    // The group's own offset wins over what is asked for.
    send("later still").await?;
    start("last", ConsumeFromWhere::FirstOffset).await?;
    producer.shutdown().await?;
    Ok(())
}
