//! Consumes orders; one of them fails at first and comes again. Ends after six messages, or after Ctrl-C.

use rocketmq_sdk::{ConsumeFromWhere, ConsumeStatus, DefaultProducer, Message, PushConsumer};
use tokio::sync::mpsc;

mod embedded;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;
    let (sender, mut consumed) = mpsc::unbounded_channel();
    let consumer = PushConsumer::builder("example_consumer")
        .name_server(servers.name_server())
        .subscribe("orders", "created || paid")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(sender, |sender, messages| async move {
            for message in &messages {
                println!(
                    "{:?} {} (try {})",
                    message.tag(),
                    message.msg_id(),
                    message.reconsume_times() + 1
                );
                if message.body().as_ref() == b"order 3" && message.reconsume_times() == 0 {
                    println!("  this one fails; the broker brings it again in about 10 s");
                    return ConsumeStatus::RECONSUME_LATER;
                }
                // The receiver is gone only when the example ends.
                let _ = sender.send(());
            }
            ConsumeStatus::CONSUME_SUCCESS
        })
        .start()
        .await?;

    let producer = DefaultProducer::builder("example_producer")
        .name_server(servers.name_server())
        .start()
        .await?;
    for number in 0..6 {
        let tag = if number % 2 == 0 { "created" } else { "paid" };
        producer
            .send(
                Message::builder("orders")
                    .tag(tag)
                    .body(format!("order {number}"))
                    .build(),
            )
            .await?;
    }
    for _ in 0..6 {
        tokio::select! {
            _ = consumed.recv() => {}
            _ = tokio::signal::ctrl_c() => break,
        }
    }

    // Lets listeners end, commits, leaves the group.
    consumer.shutdown().await?;
    producer.shutdown().await?;
    Ok(())
}
