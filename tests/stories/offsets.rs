//! Where consumption begins, and where it goes on.

use std::time::{Duration, SystemTime};

use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::{
    ConsumeFromWhere, ConsumeStatus, DefaultProducer, Message, MessageQueue, PushConsumer,
};
use rocketmq_testkit::{Cluster, Entry};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::committed::committed_offset;
use crate::history::Severed;
use crate::received::{Received, numbered};
use crate::target::{PATIENCE, Target, ask, wait_until_stored};

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
    // What a broker does not show yet would be new to the group.
    wait_until_stored(&target, &topic, 2, 10).await;
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
    wait_until_stored(&target, &topic, 1, 5).await;
    // The broker's clock has to have moved on, so that the times of both halves differ.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let between = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(50)).await;
    send(&target, &topic, "after", 5).await;
    wait_until_stored(&target, &topic, 1, 10).await;
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

#[tokio::test]
async fn a_of_06_a_group_of_which_the_broker_knows_no_offset_begins_where_it_wants() {
    let target = Target::shared().await;
    let topic = target.topic("unknown", 1).await;
    let group = target.name("unknown");
    let addr = target.brokers().await.remove(0);
    send(&target, &topic, "m", 3).await;
    let queue = MessageQueue::new(&*topic, "", 0);
    let unknown = committed_offset(&addr, &group, &queue).await;
    assert!(unknown.unwrap_or(0) <= 0, "{unknown:?}");
    let received = Received::default();
    let first = ConsumeFromWhere::FirstOffset;
    let consumer = start(&target, &group, &topic, first, &received).await;
    received
        .wait(&target, "all came", |received| {
            received.bodies() == numbered("m", 3)
        })
        .await;
    consumer.shutdown().await.unwrap();
    assert_eq!(committed_offset(&addr, &group, &queue).await, Some(3));
}

/// Sets a group's offset at the broker, as a tool may.
async fn commit(target: &Target, group: &str, topic: &str, offset: i64) {
    let addr = target.brokers().await.remove(0);
    let answer = ask(&addr, RequestCode::UPDATE_CONSUMER_OFFSET, |fields| {
        fields.put("consumerGroup", group);
        fields.put("topic", topic);
        fields.put_number("queueId", 0);
        fields.put_number("commitOffset", offset);
    })
    .await;
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
}

#[tokio::test]
async fn a_of_07_an_offset_behind_the_end_is_corrected_once() {
    let target = Target::shared().await;
    let topic = target.topic("beyond", 1).await;
    let group = target.name("beyond");
    send(&target, &topic, "old", 5).await;
    let received = Received::default();
    let first = ConsumeFromWhere::FirstOffset;
    let consumer = start(&target, &group, &topic, first, &received).await;
    received
        .wait(&target, "the old ones came", |received| {
            received.count() == 5
        })
        .await;
    consumer.shutdown().await.unwrap();
    commit(&target, &group, &topic, 1000).await;
    let received = Received::default();
    let consumer = start(&target, &group, &topic, first, &received).await;
    let addr = target.brokers().await.remove(0);
    let queue = MessageQueue::new(&*topic, "", 0);
    let until = Instant::now() + PATIENCE;
    while committed_offset(&addr, &group, &queue).await != Some(5) {
        assert!(Instant::now() < until, "it is not corrected");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    send(&target, &topic, "new", 5).await;
    received
        .wait(&target, "the new ones came", |received| {
            received.bodies() == numbered("new", 5)
        })
        .await;
    if let Some(cluster) = target.cluster() {
        let is_pull = |entry: &Entry| {
            entry.is_request(RequestCode::PULL_MESSAGE) && entry.topic() == Some(&topic)
        };
        let pulls = cluster.journal().count(is_pull);
        assert!(pulls < 30, "{pulls} pulls");
    }
    consumer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_of_07_an_offset_before_the_beginning_is_corrected_once() {
    // Only a broker in this process forgets its first messages within a test.
    let target = Target::shared().await;
    if !target.is_testkit() {
        target.skip("a real broker deletes its first messages after days");
        return;
    }
    let cluster = Cluster::builder()
        .topic("t", 1)
        .store_limit(64 * 1024)
        .start()
        .await
        .unwrap();
    let producer = DefaultProducer::builder("p").name_server(cluster.name_server_addr());
    let producer = producer.start().await.unwrap();
    let queue = |broker: &str| MessageQueue::new("t", broker, 0);
    let mut last = 0;
    for at in 0..40 {
        let message = Message::new("t", vec![at; 3000]);
        let send = producer.send(message).to(queue("broker-a"));
        last = send.await.unwrap().queue_offset();
    }
    let received = Received::default();
    let consumer = PushConsumer::builder("g")
        .name_server(cluster.name_server_addr())
        .subscribe("t", "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(received.clone(), |received, messages| async move {
            received.add(messages);
            ConsumeStatus::CONSUME_SUCCESS
        });
    let consumer = consumer.start().await.unwrap();
    received
        .wait(&target, "the last one came", |received| {
            received.all().iter().any(|one| one.queue_offset() == last)
        })
        .await;
    let all = received.all();
    let first = all.iter().map(|one| one.queue_offset()).min().unwrap();
    assert!(first > 0, "the first ones are gone");
    assert_eq!(all.len() as i64, last - first + 1);
    assert!(consumer.shutdown().await.unwrap().is_clean());
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_of_09_l29_a_commit_before_the_queues_are_shared_is_kept() {
    let target = Target::shared().await;
    let topic = target.topic("early", 1).await;
    let group = target.name("early");
    let received = Received::default();
    let last = ConsumeFromWhere::LastOffset;
    // The broker knows the group then.
    let consumer = start(&target, &group, &topic, last, &Received::default()).await;
    consumer.shutdown().await.unwrap();
    send(&target, &topic, "m", 5).await;
    wait_until_stored(&target, &topic, 1, 5).await;
    commit(&target, &group, &topic, 3).await;
    let builder = target.consumer(&group).subscribe(&*topic, "*");
    // Commits begin with the consumer's task, beside the first sharing.
    let consumer = builder
        .consume_from(ConsumeFromWhere::FirstOffset)
        .commit_interval(Duration::from_millis(1))
        .listener_with(received.clone(), |received, messages| async move {
            received.add(messages);
            ConsumeStatus::CONSUME_SUCCESS
        });
    let consumer = consumer.start().await.unwrap();
    received
        .wait(&target, "the last two came", |received| {
            received.count() >= 2
        })
        .await;
    let mut offsets: Vec<_> = received
        .all()
        .iter()
        .map(|one| one.queue_offset())
        .collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [3, 4]);
    consumer.shutdown().await.unwrap();
    let addr = target.brokers().await.remove(0);
    let queue = MessageQueue::new(&*topic, "", 0);
    assert_eq!(committed_offset(&addr, &group, &queue).await, Some(5));
}

#[tokio::test]
async fn f29_l28_what_is_sent_between_the_choice_of_an_offset_and_the_first_pull_comes() {
    let target = Target::shared().await;
    if target.is_apache_4() {
        target.skip(ZERO_FOR_A_NEW_GROUP);
        return;
    }
    let topic = target.topic("between", 1).await;
    let group = target.name("between");
    let last = ConsumeFromWhere::LastOffset;
    send(&target, &topic, "old", 3).await;
    wait_until_stored(&target, &topic, 1, 3).await;
    // The first member chooses the end, and is gone before it has consumed anything.
    let nobody = Received::default();
    let consumer = start(&target, &group, &topic, last, &nobody).await;
    drop(consumer);
    for round in 0..10 {
        let prefix = format!("r{round}-");
        send(&target, &topic, &prefix, 2).await;
        let received = Received::default();
        let consumer = start(&target, &group, &topic, last, &received).await;
        received
            .wait(&target, "both came", |received| {
                received.bodies().is_superset(&numbered(&prefix, 2))
            })
            .await;
        consumer.shutdown().await.unwrap();
    }
    assert_eq!(nobody.count(), 0);
}

#[tokio::test]
async fn f29_l28_what_is_sent_when_the_member_that_chose_the_end_was_killed_comes_to_the_next() {
    let target = Target::shared().await;
    if target.is_apache_4() {
        target.skip(ZERO_FOR_A_NEW_GROUP);
        return;
    }
    let topic = target.topic("killed", 1).await;
    let group = target.name("killed");
    send(&target, &topic, "old", 3).await;
    wait_until_stored(&target, &topic, 1, 3).await;
    let (nobody, received) = (Received::default(), Received::default());
    let builder = |received: &Received| {
        let builder = target.consumer(&group).subscribe(&*topic, "*");
        builder
            .consume_from(ConsumeFromWhere::LastOffset)
            // Nothing is committed later than the choice.
            .commit_interval(Duration::from_secs(3600))
            .listener_with(received.clone(), |received, messages| async move {
                received.add(messages);
                ConsumeStatus::CONSUME_SUCCESS
            })
    };
    let cut = CancellationToken::new();
    let severed = Severed::new(target.environment(), cut.clone());
    let killed = builder(&nobody).environment(severed).start().await.unwrap();
    // Without a farewell, in which it would commit.
    cut.cancel();
    drop(killed);
    send(&target, &topic, "new", 2).await;
    let next = builder(&received).start().await.unwrap();
    received
        .wait(&target, "both came", |received| received.count() >= 2)
        .await;
    assert_eq!(received.bodies(), numbered("new", 2));
    assert_eq!(nobody.count(), 0);
    next.shutdown().await.unwrap();
}
