//! Messages that are delivered if a local transaction is committed: one is, one is rolled back, and one the broker has to ask about.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use rocketmq_sdk::{
    ConsumeStatus, Message, MessageExt, PushConsumer, TransactionProducer, TransactionState,
};
use tokio::sync::mpsc;

mod embedded;

/// The ids of the transactions that took effect: in earnest a table, written in the transaction itself.
type Database = Arc<Mutex<HashSet<String>>>;

async fn check(paid: Database, message: MessageExt) -> TransactionState {
    println!("the broker asks about {}", message.msg_id());
    match paid
        .lock()
        .is_ok_and(|paid| paid.contains(message.msg_id()))
    {
        true => TransactionState::Commit,
        false => TransactionState::Unknown,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;
    let (addr, paid) = (servers.name_server(), Database::default());
    let producer = TransactionProducer::builder("transaction_producer").name_server(addr);
    let producer = producer
        .topics(["paid_orders"])
        .check_with(paid.clone(), check);
    let producer = producer.start().await?;
    let (sender, mut came) = mpsc::unbounded_channel();
    let consumer = PushConsumer::builder("transaction_consumer").name_server(addr);
    let consumer = consumer.subscribe("paid_orders", "*");
    let consumer = consumer.listener_with(sender, |sender, messages| async move {
        // The receiver is gone only when the example ends.
        let _ = sender.send(messages);
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = consumer.start().await?;

    for (order, state) in [
        ("paid", TransactionState::Commit),
        ("cancelled", TransactionState::Rollback),
        ("paid, but nobody said so", TransactionState::Unknown),
    ] {
        let paid = paid.clone();
        let message = Message::new("paid_orders", order);
        let sending = producer.send_in_transaction(message, move |half| async move {
            if state != TransactionState::Rollback {
                let mut paid = paid.lock().map_err(|_| "the database is broken")?;
                paid.insert(half.transaction_id().to_owned());
            }
            Ok(state)
        });
        println!("{order}: {:?}", sending.await?.state());
    }
    for _ in 0..2 {
        let messages = came.recv().await.unwrap_or_default();
        println!("consumed {:?}", messages[0].body());
        servers.pass(std::time::Duration::from_secs(31)); // so that the broker asks at once
    }
    consumer.shutdown().await?;
    producer.shutdown().await?;
    Ok(())
}
