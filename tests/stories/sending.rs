//! The ways of sending.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use rocketmq_sdk::{Message, MessageQueue, SendStatus};

use crate::received::{Received, numbered, wait_until};
use crate::target::{Target, wait_until_stored};

#[tokio::test]
async fn a_se_01_10_a_send_is_acknowledged_with_ids_and_growing_offsets() {
    let target = Target::shared().await;
    let topic = target.topic("plain", 1).await;
    let producer = target.producer().await;
    let mut ids = BTreeSet::new();
    for offset in 0..5 {
        let result = producer
            .send(Message::new(&*topic, format!("m{offset}")))
            .await
            .unwrap();
        assert_eq!(result.status(), SendStatus::SEND_OK);
        assert_eq!(
            (result.queue_offset(), result.queue().queue_id),
            (offset, 0)
        );
        assert_eq!(&*result.queue().topic, topic);
        assert_eq!(
            (result.msg_id().len(), result.offset_msg_id().len()),
            (32, 32)
        );
        assert!(ids.insert(result.msg_id().to_owned()));
        let json = serde_json::to_value(&result).unwrap();
        assert_eq!(
            (&json["sendStatus"], &json["queueOffset"]),
            (&"SEND_OK".into(), &offset.into())
        );
    }
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_se_01_a_topic_that_is_not_there_is_made() {
    let target = Target::shared().await;
    let topic = target.name("made");
    let producer = target.producer().await;
    let results =
        join_all((0..8).map(|at| producer.send(Message::new(&*topic, format!("m{at}"))))).await;
    let queues: BTreeSet<i32> = results
        .iter()
        .map(|result| result.as_ref().unwrap().queue().queue_id)
        .collect();
    assert!(
        queues.iter().all(|queue| (0..4).contains(queue)),
        "{queues:?}"
    );
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_se_02_a_send_to_a_given_queue_goes_there() {
    let target = Target::shared().await;
    let topic = target.topic("given", 4).await;
    let producer = target.producer().await;
    let first = producer.send(Message::new(&*topic, "first")).await.unwrap();
    let broker = &first.queue().broker_name;
    for queue_id in [3, 1, 3] {
        let queue = MessageQueue::new(&*topic, Arc::clone(broker), queue_id);
        let result = producer
            .send(Message::new(&*topic, "here"))
            .to(queue.clone())
            .await
            .unwrap();
        assert_eq!(*result.queue(), queue);
    }
    let result = producer
        .send(Message::new(&*topic, "by hand"))
        .select(|queues, _| queues.len() - 1)
        .await
        .unwrap();
    assert_eq!(result.queue().queue_id, 3);
    let one = producer
        .send(Message::new(&*topic, "a"))
        .sharding_key("order-7")
        .await
        .unwrap();
    let two = producer
        .send(Message::new(&*topic, "b"))
        .sharding_key("order-7")
        .await
        .unwrap();
    assert_eq!(
        (one.queue(), one.queue_offset() + 1),
        (two.queue(), two.queue_offset())
    );
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_se_04_every_callback_is_called_once() {
    let target = Target::shared().await;
    let topic = target.topic("callback", 4).await;
    let producer = target.producer().await;
    let (done, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for at in 0..50 {
        let (done, failed) = (Arc::clone(&done), Arc::clone(&failed));
        producer.send_callback(Message::new(&*topic, format!("m{at}")), move |outcome| {
            match outcome {
                Ok(_) => done.fetch_add(1, Ordering::SeqCst),
                Err(_) => failed.fetch_add(1, Ordering::SeqCst),
            };
        });
    }
    wait_until(&target, "all callbacks were called", || {
        done.load(Ordering::SeqCst) == 50
    })
    .await;
    assert_eq!(failed.load(Ordering::SeqCst), 0);
    wait_until_stored(&target, &topic, 4, 50).await;
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_se_04_a_receipt_is_acknowledged_later() {
    let target = Target::shared().await;
    let topic = target.topic("receipt", 4).await;
    let producer = target.producer().await;
    let mut receipts = Vec::new();
    for at in 0..20 {
        receipts.push(
            producer
                .submit(Message::new(&*topic, format!("m{at}")))
                .await
                .unwrap(),
        );
    }
    // A receipt that is dropped does not take its message back.
    receipts.truncate(10);
    for receipt in receipts {
        assert_eq!(receipt.await.unwrap().status(), SendStatus::SEND_OK);
    }
    producer.shutdown().await.unwrap();
    wait_until_stored(&target, &topic, 4, 20).await;
}

#[tokio::test]
async fn a_se_08_oneway_messages_arrive() {
    let target = Target::shared().await;
    let topic = target.topic("oneway", 4).await;
    let producer = target.producer().await;
    let received = Received::default();
    let consumer = {
        let received = received.clone();
        let consumer = target
            .consumer(&target.name("oneway"))
            .subscribe(&*topic, "*");
        let consumer = consumer.consume_from(rocketmq_sdk::ConsumeFromWhere::FirstOffset);
        consumer.listener_with(received, |received, messages| async move {
            received.add(messages);
            rocketmq_sdk::ConsumeStatus::CONSUME_SUCCESS
        })
    };
    let consumer = consumer.start().await.unwrap();
    for at in 0..20 {
        producer
            .send_oneway(Message::new(&*topic, format!("m{at}")))
            .await
            .unwrap();
    }
    received
        .wait(&target, "20 messages came", |received| {
            received.bodies() == numbered("m", 20)
        })
        .await;
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_se_13_a_thousand_first_sends_of_a_topic_all_succeed() {
    let target = Target::shared().await;
    let topic = target.topic("crowd", 8).await;
    let producer = target.producer().await;
    let sends = (0..1000).map(|at| {
        producer
            .send(Message::new(&*topic, format!("m{at}")))
            .timeout(Duration::from_secs(20))
    });
    for outcome in join_all(sends).await {
        outcome.unwrap();
    }
    wait_until_stored(&target, &topic, 8, 1000).await;
    producer.shutdown().await.unwrap();
}
