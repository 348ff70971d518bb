//! Ending a consumer without losing anything: by Ctrl-C, or after a second here. What listeners have is finished, what fails goes back,
//! offsets are committed, and the group hears of it.

use std::time::Duration;

use rocketmq_sdk::{ConsumeFromWhere, DefaultProducer, Message, PushConsumer};
use tokio::time::sleep;

mod embedded;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;
    let producer = DefaultProducer::builder("example_producer")
        .name_server(servers.name_server())
        .start()
        .await?;
    for number in 0..100 {
        let message = Message::new("shutdown", format!("task {number}"));
        producer.send(message).await?;
    }
    let consumer = PushConsumer::builder("example_shutdown")
        .name_server(servers.name_server())
        .subscribe("shutdown", "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .concurrency(4)
        // Listeners that take longer are given up; their messages come again.
        .shutdown_timeout(Duration::from_secs(5))
        .on_revoked(|queue| async move { println!("{queue} is given up") })
        .listener(|messages| async move {
            println!("{} ...", String::from_utf8_lossy(messages[0].body()));
            sleep(Duration::from_millis(400)).await;
            Ok(())
        })
        .start()
        .await?;

    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = sleep(Duration::from_secs(1)) => {}
    }
    let report = consumer.shutdown().await?;
    println!(
        "clean: {}; {} messages were not finished, of {} queues the offset was not committed",
        report.is_clean(),
        report.unfinished(),
        report.uncommitted().len()
    );
    producer.shutdown().await?;
    Ok(())
}
