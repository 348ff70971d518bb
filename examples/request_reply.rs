//! Asks with a request and waits for the reply of who consumes it; many requests at a time.

use std::time::Duration;

use futures::future::try_join_all;
use rocketmq_sdk::{ConsumeFromWhere, DefaultProducer, Message, PushConsumer};

mod embedded;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = embedded::Servers::start().await?;
    let addr = servers.name_server();
    let asker = DefaultProducer::builder("request_reply_asker");
    let asker = asker.name_server(addr).topics(["words"]).start().await?;
    asker.send(Message::new("words", "no request")).await?; // makes the topic

    let replier = DefaultProducer::builder("request_reply_replier");
    let replier = replier.name_server(addr).start().await?;
    let consumer = PushConsumer::builder("request_reply_consumer").name_server(addr);
    let consumer = consumer.consume_from(ConsumeFromWhere::FirstOffset);
    let consumer = consumer.subscribe("words", "*");
    let consumer = consumer.listener_with(replier.clone(), |replier, messages| async move {
        for request in messages.iter().filter(|message| message.is_request()) {
            let word = String::from_utf8_lossy(request.body());
            replier
                .reply(request, word.chars().rev().collect::<String>())
                .await?;
        }
        Ok(()) // an error means that the request comes again
    });
    let consumer = consumer.start().await?;

    let questions = ["live", "drawer", "stressed"].map(|word| {
        let request = asker.request(Message::new("words", word));
        request.timeout(Duration::from_secs(30))
    });
    for reply in try_join_all(questions).await? {
        println!("{}", String::from_utf8_lossy(reply.body()));
    }
    consumer.shutdown().await?;
    replier.shutdown().await?;
    asker.shutdown().await?;
    Ok(())
}
