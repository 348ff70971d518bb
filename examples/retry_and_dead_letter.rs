//! A message that always fails: it comes again after a time that grows, and is a dead letter in the end.

use rocketmq_sdk::{
    ConsumeContext, ConsumeFromWhere, ConsumeResult, DefaultProducer, Message, MessageExt,
    MessageListener, PushConsumer,
};
use tokio::sync::mpsc;

mod embedded;

struct Payments;

impl MessageListener for Payments {
    async fn consume(&self, messages: Vec<MessageExt>, context: &ConsumeContext) -> ConsumeResult {
        let (id, times) = (messages[0].msg_id(), context.reconsume_times());
        println!("{id} of {}, failed {times} times", messages[0].topic());
        // After a second; by itself the broker waits 10 s, then 30 s, and so on.
        ConsumeResult::retry_after_level(1)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;
    let group = "example_payments";
    let consumer = PushConsumer::builder(group)
        .name_server(servers.name_server())
        .subscribe("payments", "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        // Two more times; 16 unless it is said, or the group is set up otherwise.
        .max_reconsume_times(2)
        .message_listener(Payments)
        .start()
        .await?;
    let (sender, mut dead) = mpsc::unbounded_channel();
    let letters = PushConsumer::builder("example_letters")
        .name_server(servers.name_server())
        .subscribe(format!("%DLQ%{group}"), "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(sender, |sender, messages| async move {
            for message in messages {
                sender.send(message)?;
            }
            Ok(())
        })
        .start()
        .await?;

    let producer = DefaultProducer::builder("example_producer")
        .name_server(servers.name_server())
        .start()
        .await?;
    let payment = Message::builder("payments").key("payment-7").body("-1 EUR");
    let sent = producer.send(payment.build()).await?;
    while let Some(letter) = dead.recv().await {
        println!("dead: {} of {:?}", letter.msg_id(), letter.origin_topic());
        if letter.msg_id() == sent.msg_id() {
            break;
        }
    }
    for consumer in [consumer, letters] {
        consumer.shutdown().await?;
    }
    producer.shutdown().await?;
    Ok(())
}
