//! Sends messages that are not acknowledged: the fastest way, for what may get lost.

use rocketmq_sdk::{DefaultProducer, Message};

mod embedded;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;
    let producer = DefaultProducer::builder("example_producer")
        .name_server(servers.name_server())
        .start()
        .await?;

    for number in 0..10 {
        producer
            .send_oneway(Message::new("logs", format!("line {number}")))
            .await?;
    }
    println!("10 lines written; no answer tells whether they were stored");

    producer.shutdown().await?;
    Ok(())
}
