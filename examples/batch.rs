//! Sends many messages of one topic in one request, and a batch that is too large in parts.

use rocketmq_sdk::{DefaultProducer, Message};

mod embedded;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;
    let producer = DefaultProducer::builder("example_producer")
        .name_server(servers.name_server())
        .max_message_size(64 * 1024)
        .start()
        .await?;

    let batch = (0..5).map(|number| Message::new("readings", format!("reading {number}")));
    for result in producer.send_batch(batch.collect()).await? {
        println!("{} is at offset {}", result.msg_id(), result.queue_offset());
    }

    let large: Vec<_> = (0..100)
        .map(|_| Message::new("readings", vec![b'x'; 2000]))
        .collect();
    match producer.send_batch(large.clone()).await {
        Ok(_) => println!("the broker takes everything"),
        Err(error) => println!("{error}"),
    }

    // One outcome for each message: a part may fail when those before it are stored.
    let outcomes = producer.send_batch(large).split().await;
    let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    println!("in parts: {stored} of {} are stored", outcomes.len());

    producer.shutdown().await?;
    Ok(())
}
