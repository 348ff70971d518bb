//! Where consumption begins, and where it goes on.

use std::time::{Duration, SystemTime};

use rocketmq_sdk::{ConsumeFromWhere, ConsumeStatus, Message, PushConsumer};

use crate::received::{Received, numbered};
use crate::target::Target;

/// What 4.9 brokers do: they know no `setZeroIfNotFound`.
const ZERO_FOR_A_NEW_GROUP: &str =
    "a 4.9 broker answers 0 for a new group of a topic whose first message is in memory";

async fn send(target: &Target, topic: &str, prefix: &str, count: usize) {
    let producer = target.producer().await;
    for at in 0..count {
        producer
            .send(Message::new(topic, format!("{prefix}{at}")))
            .await
            .unwrap();
    }
    producer.shutdown().await.unwrap();
}

async fn start(
    target: &Target,
    group: &str,
    topic: &str,
    from: ConsumeFromWhere,
    received: &Received,
) -> PushConsumer {
    let consumer = target
        .consumer(group)
        .subscribe(topic, "*")
        .consume_from(from);
    let consumer = consumer.listener_with(received.clone(), |received, messages| async move {
        received.add(messages);
        ConsumeStatus::CONSUME_SUCCESS
    });
    consumer.start().await.unwrap()
}

#[tokio::test]
async fn a_of_04_05_a_group_goes_on_where_it_ended() {
    let target = Target::shared().await;
    let topic = target.topic("resume", 4).await;
    let group = target.name("resume");
    send(&target, &topic, "a", 30).await;
    let first = Received::default();
    let consumer = start(
        &target,
        &group,
        &topic,
        ConsumeFromWhere::FirstOffset,
        &first,
    )
    .await;
    first
        .wait(&target, "30 messages came", |received| {
            received.bodies() == numbered("a", 30)
        })
        .await;
    consumer.shutdown().await.unwrap();
    send(&target, &topic, "b", 30).await;
    let second = Received::default();
    // What the group has committed wins over where it would begin.
    let consumer = start(
        &target,
        &group,
        &topic,
        ConsumeFromWhere::FirstOffset,
        &second,
    )
    .await;
    second
        .wait(&target, "30 more came", |received| {
            received.bodies() == numbered("b", 30)
        })
        .await;
    assert_eq!((first.count(), second.count()), (30, 30));
    consumer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_of_01_from_the_first_offset_the_backlog_comes() {
    let target = Target::shared().await;
    let topic = target.topic("first", 2).await;
    send(&target, &topic, "old", 10).await;
    let received = Received::default();
    let consumer = start(
        &target,
        &target.name("first"),
        &topic,
        ConsumeFromWhere::FirstOffset,
        &received,
    )
    .await;
    received
        .wait(&target, "the backlog came", |received| {
            received.bodies() == numbered("old", 10)
        })
        .await;
    consumer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_of_02_from_the_last_offset_only_what_is_new_comes() {
    let target = Target::shared().await;
    if target.is_apache_4() {
        target.skip(ZERO_FOR_A_NEW_GROUP);
        return;
    }
    let topic = target.topic("last", 2).await;
    send(&target, &topic, "old", 10).await;
    let received = Received::default();
    let consumer = start(
        &target,
        &target.name("last"),
        &topic,
        ConsumeFromWhere::LastOffset,
        &received,
    )
    .await;
    received_nothing_old(&target, &topic, &received).await;
    consumer.shutdown().await.unwrap();
}

/// New messages are sent until one of each queue came; nothing else may come.
async fn received_nothing_old(target: &Target, topic: &str, received: &Received) {
    let producer = target.producer().await;
    for at in 0..200 {
        producer
            .send(Message::new(topic, format!("new{at}")))
            .await
            .unwrap();
        let queues = received
            .all()
            .iter()
            .map(|message| message.queue().queue_id)
            .collect::<std::collections::BTreeSet<_>>();
        if queues.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    producer.shutdown().await.unwrap();
    received
        .wait(target, "new messages came", |received| {
            received.count() >= 2
        })
        .await;
    let bodies = received.bodies();
    assert!(
        bodies.iter().all(|body| body.starts_with("new")),
        "{bodies:?}"
    );
}

#[tokio::test]
async fn a_of_03_from_a_time_on_what_came_after_it_comes() {
    let target = Target::shared().await;
    if target.is_apache_4() {
        target.skip(ZERO_FOR_A_NEW_GROUP);
        return;
    }
    let topic = target.topic("time", 1).await;
    send(&target, &topic, "before", 5).await;
    // The broker's clock has to have moved on, so that the times of both halves differ.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let between = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(50)).await;
    send(&target, &topic, "after", 5).await;
    let received = Received::default();
    let from = ConsumeFromWhere::Timestamp(between);
    let consumer = start(&target, &target.name("time"), &topic, from, &received).await;
    received
        .wait(&target, "the later half came", |received| {
            received.count() >= 5
        })
        .await;
    assert_eq!(received.bodies(), numbered("after", 5));
    consumer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_of_10_what_was_not_consumed_comes_again_after_a_restart() {
    let target = Target::shared().await;
    let topic = target.topic("unfinished", 1).await;
    let group = target.name("unfinished");
    send(&target, &topic, "m", 5).await;
    let first = Received::default();
    let consumer = target
        .consumer(&group)
        .subscribe(&*topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset);
    let consumer = consumer.listener_with(first.clone(), |received, messages| async move {
        let stuck = messages
            .iter()
            .any(|message| crate::received::body(message) == "m2");
        received.add(messages);
        if stuck {
            std::future::pending::<()>().await;
        }
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = consumer
        .shutdown_timeout(Duration::from_millis(200))
        .start()
        .await
        .unwrap();
    first
        .wait(&target, "all were seen", |received| {
            received.bodies() == numbered("m", 5)
        })
        .await;
    let report = consumer.shutdown().await.unwrap();
    assert_eq!(report.unfinished(), 1);
    let second = Received::default();
    let consumer = start(
        &target,
        &group,
        &topic,
        ConsumeFromWhere::LastOffset,
        &second,
    )
    .await;
    second
        .wait(&target, "the unfinished one came again", |received| {
            received.bodies().contains("m2")
        })
        .await;
    assert!(!second.bodies().contains("m0") && !second.bodies().contains("m1"));
    consumer.shutdown().await.unwrap();
}
