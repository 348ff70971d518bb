//! Messages that come later: by a level, after a time, at a time; and those that are taken back.

use std::time::{Duration, SystemTime};

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::{
    ConsumeFromWhere, ConsumeStatus, Error, ErrorKind, Message, MessageBuilder, PushConsumer,
};

use crate::received::{Received, body, wait_until};
use crate::target::Target;

/// Why a story is not told on 4.9.
const NO_TIMER: &str = "4.9 delivers messages with a time at once, and recalls none";

/// Everything that comes to a topic of one queue, in the order in which it was stored.
async fn read(target: &Target, topic: &str) -> (PushConsumer, Received) {
    let received = Received::default();
    let consumer = target
        .consumer(&target.name("readers"))
        .subscribe(topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(received.clone(), |received, messages| async move {
            received.add(messages);
            ConsumeStatus::CONSUME_SUCCESS
        });
    (consumer.start().await.unwrap(), received)
}

/// How long after the message `marker` each of the others was put into the topic, in the broker's milliseconds.
fn delays(received: &Received) -> Vec<(String, i64)> {
    let mut all = received.all();
    all.sort_by_key(|message| message.queue_offset());
    let marker = all.iter().find(|message| body(message) == "marker");
    let start = marker.unwrap().store_timestamp();
    all.iter()
        .map(|message| (body(message), message.store_timestamp() - start))
        .collect()
}

#[tokio::test]
async fn a_message_comes_at_its_time_and_not_before() {
    let target = Target::shared().await;
    if target.is_apache_4() {
        target.skip(NO_TIMER);
        return;
    }
    let topic = target.topic("timed", 1).await;
    let producer = target.producer().await;
    let build = |body: &'static str| Message::builder(&*topic).body(body);
    let at = |seconds| SystemTime::now() + Duration::from_secs(seconds);
    // The times of the others are counted from here: it is stored when they are built.
    let marker = producer.send(build("marker").build()).await.unwrap();
    let mut handles = vec![marker.recall_handle().is_some()];
    for message in [
        build("after 4").delay(Duration::from_secs(4)),
        build("at 2").deliver_at(at(2)),
        build("past").deliver_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1)),
        build("level 1").delay_level(1),
    ] {
        let result = producer.send(message.build()).await.unwrap();
        handles.push(result.recall_handle().is_some());
    }
    assert_eq!(handles, [false, true, true, false, false]);
    let (consumer, received) = read(&target, &topic).await;
    received
        .wait(&target, "all came", |received| received.count() == 5)
        .await;
    let delays = delays(&received);
    let bodies: Vec<_> = delays.iter().map(|(body, _)| &**body).collect();
    assert_eq!(bodies, ["marker", "past", "level 1", "at 2", "after 4"]);
    for ((_, delay), least) in delays.iter().zip([0, 0, 1000, 2000, 4000]) {
        assert!(*delay >= least, "{delays:?}");
    }
    for message in received.all() {
        let timed = body(&message).contains("at 2") || body(&message).contains("after 4");
        let dequeued = message.property("TIMER_DEQUEUE_MS").is_some();
        assert_eq!(
            dequeued,
            timed,
            "{:?}",
            message.properties().collect::<Vec<_>>()
        );
        if timed {
            assert_eq!(message.property("REAL_TOPIC"), Some(&*topic));
            assert!(message.property("TIMER_OUT_MS").is_some());
            assert!(message.property("TIMER_ENQUEUE_MS").is_some());
        }
    }
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_broker_of_version_4_9_delivers_a_timed_message_at_once() {
    let target = Target::shared().await;
    if !target.is_apache_4() {
        target.skip("from 5.0 on brokers heed the time");
        return;
    }
    let topic = target.topic("untimed", 1).await;
    let producer = target.producer().await;
    let hour = Duration::from_secs(3600);
    let message = Message::builder(&*topic).delay(hour).body("m").build();
    let result = producer.send(message).await.unwrap();
    assert_eq!(result.recall_handle(), None);
    let (consumer, received) = read(&target, &topic).await;
    received
        .wait(&target, "it came", |received| received.count() == 1)
        .await;
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_time_that_is_too_far_away_is_the_broker_s_to_refuse() {
    let target = Target::shared().await;
    if target.is_apache_4() {
        target.skip(NO_TIMER);
        return;
    }
    let topic = target.topic("far", 1).await;
    let producer = target.producer().await;
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    let send = |builder: MessageBuilder| producer.send(builder.body("m").build());
    send(Message::builder(&*topic).delay(days(3) - days(1) / 24))
        .await
        .unwrap();
    for builder in [
        Message::builder(&*topic).delay(days(3) + days(1) / 24),
        Message::builder(&*topic).deliver_at(SystemTime::now() + days(4)),
    ] {
        let error = send(builder).await.unwrap_err();
        assert_eq!(error.response_code(), Some(ResponseCode::MESSAGE_ILLEGAL));
        assert!(
            error.to_string().contains("max delay 259200000ms"),
            "{error}"
        );
    }
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_message_that_was_recalled_does_not_come() {
    let target = Target::shared().await;
    if target.is_apache_4() {
        target.skip(NO_TIMER);
        return;
    }
    let topic = target.topic("recalled", 1).await;
    let producer = target.producer().await;
    let due = SystemTime::now() + Duration::from_secs(5);
    let send = |body: &'static str| {
        producer.send(Message::builder(&*topic).deliver_at(due).body(body).build())
    };
    let gone = send("gone").await.unwrap();
    send("kept").await.unwrap();
    let handle = gone.recall_handle().unwrap();
    producer.recall(handle).await.unwrap();
    let (consumer, received) = read(&target, &topic).await;
    received
        .wait(&target, "the other came", |received| received.count() == 1)
        .await;
    assert_eq!(received.bodies(), ["kept".to_owned()].into());
    let marker = producer
        .send(Message::new(&*topic, "marker"))
        .await
        .unwrap();
    assert_eq!(marker.queue_offset(), 1, "nothing else is in the queue");

    let late = producer.recall(handle).await.unwrap_err();
    assert_eq!(late.response_code(), Some(ResponseCode::ILLEGAL_OPERATION));
    assert!(late.to_string().contains("timestamp invalid"), "{late}");
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_recalled_is_refused() {
    let target = Target::shared().await;
    let producer = target.producer().await;
    let topic = target.name("nowhere");
    let handle = |topic: &str| {
        let handle = rocketmq_sdk::protocol::message::RecallHandle {
            topic: topic.to_owned(),
            broker_name: "broker-z".to_owned(),
            deliver_millis: "1".to_owned(),
            message_id: "ID".to_owned(),
        };
        handle.encode()
    };
    let refused = |error: Error, text: &str| {
        assert!(error.to_string().contains(text), "{error}");
        error.kind()
    };
    for (handle, text) in [
        ("no handle".to_owned(), "recall handle"),
        (handle("a.b"), "contains '.'"),
    ] {
        let error = producer.recall(&handle).await.unwrap_err();
        assert_eq!(refused(error, text), ErrorKind::InvalidInput);
    }
    let error = producer.recall(&handle(&topic)).await.unwrap_err();
    assert_eq!(refused(error, "broker-z"), ErrorKind::NoRoute);
    producer.shutdown().await.unwrap();
    let error = producer.recall(&handle(&topic)).await.unwrap_err();
    assert_eq!(refused(error, &topic), ErrorKind::Closed);
}

#[tokio::test]
async fn every_level_is_one_of_the_broker_s_delays() {
    let target = Target::shared().await;
    let delays = [
        1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200, 7200,
    ];
    // Where the clock cannot be turned, only those that do not take minutes.
    let levels = if target.is_testkit() { 19 } else { 3 };
    let topic = target.topic("levels", 1).await;
    let producer = target.producer().await;
    let marker = Message::new(&*topic, "marker");
    producer.send(marker).await.unwrap();
    for level in 1..=levels {
        let message = Message::builder(&*topic).delay_level(level);
        producer
            .send(message.body(format!("{level}")).build())
            .await
            .unwrap();
    }
    let (consumer, received) = read(&target, &topic).await;
    wait_until(&target, "all came", || {
        target.turn(Duration::from_secs(100));
        received.count() > levels as usize
    })
    .await;
    let all = received.all();
    let of = |name: &str| all.iter().find(|message| body(message) == name).unwrap();
    let start = of("marker").store_timestamp();
    for (level, seconds) in (1..=levels).zip(delays) {
        let delay = of(&level.to_string()).store_timestamp() - start;
        assert!(delay >= seconds * 1000, "{level}: {delay}");
        if target.is_testkit() {
            // The clock is turned by so much at a time.
            assert!(delay < seconds * 1000 + 110_000, "{level}: {delay}");
        }
    }
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}
