//! Messages that come later - by a level of the broker, after a time, at a time - and one that is taken back.

use std::time::{Duration, SystemTime};

use rocketmq_sdk::{ConsumeFromWhere, ConsumeStatus, DefaultProducer, Message, PushConsumer};
use tokio::sync::mpsc;

mod embedded;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;
    let addr = servers.name_server();
    let producer = DefaultProducer::builder("delay_producer");
    let producer = producer.name_server(addr).start().await?;
    let (began, seconds) = (SystemTime::now(), Duration::from_secs);
    let reminder = |body: &'static str| Message::builder("reminders").body(body);
    for message in [
        reminder("by level 2, which is 5 s").delay_level(2),
        reminder("after 3 s").delay(seconds(3)),
        reminder("at a time").deliver_at(began + seconds(1)),
    ] {
        producer.send(message.build()).await?;
    }
    // Brokers do this from 5.3.2 on, where they were told to: recallMessageEnable=true.
    let regretted = reminder("never").delay(seconds(2)).build();
    if let Some(handle) = producer.send(regretted).await?.recall_handle() {
        println!("recalled: {:?}", producer.recall(handle).await);
    }

    let (sender, mut came) = mpsc::unbounded_channel();
    let consumer = PushConsumer::builder("delay_consumer").name_server(addr);
    let consumer = consumer.consume_from(ConsumeFromWhere::FirstOffset);
    let consumer = consumer.subscribe("reminders", "*");
    let consumer = consumer.listener_with(sender, |sender, messages| async move {
        // The receiver is gone only when the example ends.
        let _ = sender.send(messages);
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = consumer.start().await?;
    for _ in 0..3 {
        let messages = came.recv().await.unwrap_or_default();
        let after = began.elapsed()?.as_secs_f32();
        println!("{:?} came after {after:.1} s", messages[0].body());
    }
    consumer.shutdown().await?;
    producer.shutdown().await?;
    Ok(())
}
