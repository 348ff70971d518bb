//! Batches, keys that choose queues, and codecs: what either client makes of them, the other takes.

use std::collections::HashMap;

use rocketmq_sdk::protocol::compress::Codec;
use rocketmq_sdk::{Compression, DefaultProducer, ErrorKind, Message};
use serde_json::json;

use super::{assert_crossed, both, hex, kinds, of_java, of_ours, start, stored_codec, wait};
use crate::java::Java;
use crate::received::Received;
use crate::target::Target;

#[tokio::test]
async fn batches_cross_in_both_directions() {
    let target = Target::shared().await;
    let Some(mut java) = Java::start(&target, &[]).await else {
        return;
    };
    let topic = target.topic("crossing_batches", 2).await;
    let producer = target.producer().await;
    let batch = kinds().into_iter().map(|kind| of_ours(&topic, kind));
    let results = producer.send_batch(batch.collect()).await.unwrap();
    let mut ids: Vec<_> = results
        .iter()
        .map(|result| result.msg_id().to_owned())
        .collect();
    let batch: Vec<_> = kinds()
        .into_iter()
        .map(|kind| of_java(&topic, kind))
        .collect();
    let result = java.ask("batch", json!({"messages": batch})).await;
    let theirs = result["msgId"].as_str().expect("ids");
    ids.extend(theirs.split(',').map(str::to_owned));
    assert_eq!(ids.len(), 2 * kinds().len());

    let received = Received::default();
    let consumer = start(&target, &target.name("ours"), &topic, &received).await;
    java.consume("theirs", &target.name("theirs"), &topic).await;
    wait("both have all", || {
        received.count() >= ids.len() && java.messages().len() >= ids.len()
    })
    .await;
    let sent = kinds().into_iter().chain(kinds());
    for (at, (id, kind)) in ids.iter().zip(sent).enumerate() {
        let (ours, theirs) = both(id, &received, &java);
        assert_crossed(&ours, &theirs, kind);
        if let Some(result) = results.get(at) {
            assert_eq!(
                (ours.queue(), ours.queue_offset(), ours.offset_msg_id()),
                (
                    result.queue(),
                    result.queue_offset(),
                    result.offset_msg_id()
                )
            );
        }
    }
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
    java.shutdown().await;
}

#[tokio::test]
async fn a_key_goes_where_java_s_client_sends_it_and_keeps_its_order_across_both() {
    const STEPS: usize = 4;
    let target = Target::own_strict_pair().await;
    let Some(mut java) = Java::start(&target, &[]).await else {
        return;
    };
    let topic = target.topic("crossing_keys", 3).await;
    let producer = target.producer().await;
    // The hash of the first is the smallest number there is, which has no absolute value.
    let mut keys = vec!["polygenelubricants", "订单-7", "🚀", "a"];
    let orders: Vec<_> = (0..12).map(|order| format!("order-{order}")).collect();
    keys.extend(orders.iter().map(String::as_str));
    let mut places = HashMap::new();
    for step in 0..STEPS {
        for (at, key) in keys.iter().enumerate() {
            let body = format!("{key} {step}");
            let (broker_name, queue_id) = if (step + at) % 2 == 0 {
                let send = producer.send(Message::new(&*topic, body));
                let result = send.sharding_key(key).await.unwrap();
                let queue = result.queue();
                (queue.broker_name.to_string(), queue.queue_id.into())
            } else {
                let message = json!({
                    "topic": topic, "body": hex(body.as_bytes()), "flag": 0, "shardingKey": key,
                });
                let result = java.ask("send", message).await;
                let name = result["brokerName"].as_str().expect("a name");
                (
                    name.to_owned(),
                    result["queueId"].as_i64().expect("a number"),
                )
            };
            let place = (broker_name, queue_id);
            let before = places.insert(*key, place.clone());
            assert!(before.is_none_or(|before| before == place), "{key} {step}");
        }
    }
    if target.is_testkit() {
        // Java's orderly consumer locks its queues, which the testkit's brokers do not know of.
        producer.shutdown().await.unwrap();
        java.shutdown().await;
        return;
    }
    let consume = json!({
        "as": "orderly", "group": target.name("orderly"), "topic": topic, "tags": "*", "orderly": true,
    });
    java.ask("consume", consume).await;
    let count = keys.len() * STEPS;
    wait("all came", || java.messages().len() >= count).await;
    let came = java.messages();
    for key in keys {
        let of_key = hex(format!("{key} ").as_bytes());
        let bodies: Vec<_> = came
            .iter()
            .filter_map(|message| message["body"].as_str())
            .filter(|body| body.starts_with(&of_key))
            .collect();
        let sent: Vec<_> = (0..STEPS)
            .map(|step| hex(format!("{key} {step}").as_bytes()))
            .collect();
        assert_eq!(bodies, sent, "{key}");
    }
    producer.shutdown().await.unwrap();
    java.shutdown().await;
}

#[tokio::test]
async fn every_codec_crosses_in_both_directions() {
    let target = Target::shared().await;
    let Some(mut reader) = Java::start(&target, &[]).await else {
        return;
    };
    let is_4 = target.is_java_4();
    let body = "abc订单".repeat(4000).into_bytes();
    for (compression, codec) in [
        (Compression::Zlib, Codec::Zlib),
        (Compression::Lz4, Codec::Lz4),
        (Compression::Zstd, Codec::Zstd),
    ] {
        let producer = DefaultProducer::builder(target.name("codecs"))
            .name_server(target.name_server())
            .compression(compression);
        let producer = match producer.start().await {
            Ok(producer) => producer,
            // It is not built in.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
                continue;
            }
        };
        let name = codec.name();
        let topic = target.topic(&format!("crossing_{name}"), 1).await;
        let kind = (None, None, 0, None, body.clone());
        let result = producer.send(of_ours(&topic, kind.clone())).await.unwrap();
        let mut ids = vec![result.msg_id().to_owned()];
        // Java's 4.9 inflates every codec, and deflates with one.
        if codec == Codec::Zlib || !is_4 {
            let option = format!("-Drocketmq.message.compressType={}", name.to_uppercase());
            let Some(mut writer) = Java::start(&target, &[&option]).await else {
                return;
            };
            let result = writer.ask("send", of_java(&topic, kind.clone())).await;
            ids.push(result["msgId"].as_str().expect("an id").to_owned());
            writer.shutdown().await;
        }
        let received = Received::default();
        let consumer = start(&target, &target.name(name), &topic, &received).await;
        let group = target.name(&format!("java_{name}"));
        let before = reader.messages().len();
        reader.consume(name, &group, &topic).await;
        wait("both have all", || {
            received.count() >= ids.len() && reader.messages().len() >= before + ids.len()
        })
        .await;
        for id in ids {
            let (ours, theirs) = both(&id, &received, &reader);
            assert_crossed(&ours, &theirs, kind.clone());
            assert_eq!(stored_codec(&ours).await, Some(codec));
        }
        consumer.shutdown().await.unwrap();
        producer.shutdown().await.unwrap();
    }
    reader.shutdown().await;
}
