//! Requests and replies between Java's clients and ours.

use futures::future::join_all;
use rocketmq_sdk::{ConsumeFromWhere, Message};
use serde_json::json;

use super::hex;
use crate::java::Java;
use crate::received::body;
use crate::target::{PATIENCE, Target};

#[tokio::test]
async fn our_requests_are_answered_by_java_s_consumer() {
    let target = Target::shared().await;
    let Some(mut java) = Java::start(&target, &[]).await else {
        return;
    };
    let topic = target.topic("crossing_to_java", 2).await;
    let large = "a reply ".repeat(2000);
    for (name, reply) in [("small", "a reply"), ("large", &*large)] {
        let consume = json!({
            "as": name, "group": target.name(name), "topic": topic, "tags": name, "reply": hex(reply.as_bytes()),
        });
        java.ask("consume", consume).await;
    }
    let producer = target.producer().await;
    let ask = |tag: &str| {
        let message = Message::builder(&*topic).tag(tag).body("?").build();
        producer.request(message).timeout(PATIENCE)
    };
    let asking = ["small", "large", "small", "small"].map(ask);
    for (at, reply) in join_all(asking).await.into_iter().enumerate() {
        let reply = reply.unwrap();
        let expected = if at == 1 { &*large } else { "a reply" };
        assert_eq!(body(&reply), expected);
        assert_eq!(reply.property("MSG_TYPE"), Some("reply"));
    }
    assert_eq!(producer.unclaimed_replies(), 0);
    producer.shutdown().await.unwrap();
    java.shutdown().await;
}

#[tokio::test]
async fn java_s_requests_are_answered_by_our_consumer() {
    let target = Target::shared().await;
    let Some(mut java) = Java::start(&target, &[]).await else {
        return;
    };
    let topic = target.topic("crossing_to_ours", 2).await;
    let replier = target.producer().await;
    let consumer = target
        .consumer(&target.name("repliers"))
        .subscribe(&*topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(replier.clone(), |replier, messages| async move {
            for request in &messages {
                let reply = Message::reply_to(request)
                    .property("to", body(request))
                    .body(body(request).repeat(3));
                replier.send(reply.build()).await?;
            }
            Ok(())
        });
    let consumer = consumer.start().await.unwrap();
    // Both compress the second one's reply, ours in Java's codec.
    for text in ["small".to_owned(), "large ".repeat(2000)] {
        let short = &text[..5];
        let message = json!({"topic": topic, "body": hex(text.as_bytes()), "flag": 0});
        let reply = java.ask("request", message).await;
        assert_eq!(reply["body"], hex(text.repeat(3).as_bytes()), "{short}");
        assert_eq!(reply["properties"]["to"], text, "{short}");
        assert_eq!(reply["properties"]["MSG_TYPE"], "reply", "{short}");
    }
    consumer.shutdown().await.unwrap();
    replier.shutdown().await.unwrap();
    java.shutdown().await;
}
