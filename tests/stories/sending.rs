//! The ways of sending.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use rocketmq_sdk::{DefaultProducer, ErrorKind, Message, MessageQueue, SendStatus};

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
async fn a_ms_09_bodies_and_properties_arrive_as_they_were_sent() {
    let target = Target::shared().await;
    let topic = target.topic("faithful", 1).await;
    let producer = target.producer().await;
    let bytes: Vec<u8> = (0..=255).collect();
    let large = "abc订单".repeat(4000).into_bytes();
    for sent in [
        b" ".to_vec(),
        "订单".into(),
        "🚀".into(),
        bytes.clone(),
        large.clone(),
    ] {
        let message = Message::builder(&*topic)
            .key("k1")
            .key("键2")
            .tag("标签")
            .property("名", "值")
            .body(sent)
            .build();
        producer.send(message).await.unwrap();
    }
    let received = Received::default();
    let consumer = target
        .consumer(&target.name("faithful"))
        .subscribe(&*topic, "标签");
    let consumer = consumer.consume_from(rocketmq_sdk::ConsumeFromWhere::FirstOffset);
    let consumer = consumer.listener_with(received.clone(), |received, messages| async move {
        received.add(messages);
        rocketmq_sdk::ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = consumer.start().await.unwrap();
    received
        .wait(&target, "5 messages came", |received| received.count() >= 5)
        .await;
    let mut all = received.all();
    all.sort_by_key(|message| message.queue_offset());
    let bodies: Vec<_> = all.iter().map(|message| message.body().to_vec()).collect();
    assert_eq!(
        bodies,
        [b" ".to_vec(), "订单".into(), "🚀".into(), bytes, large]
    );
    for message in &all {
        assert_eq!(
            (message.tag(), message.property("名")),
            (Some("标签"), Some("值"))
        );
        assert_eq!(message.keys().collect::<Vec<_>>(), ["k1", "键2"]);
    }
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ms_01_02_03_05_bad_messages_are_refused_before_anything_is_sent() {
    let target = Target::shared().await;
    let topic = target.topic("refused", 1).await;
    let producer = target.producer().await;
    let long = "t".repeat(128);
    let cases = [
        (Message::new("", "x"), "topic"),
        (Message::new("a b", "x"), "a b"),
        (Message::new(&*long, "x"), "127"),
        (
            Message::new("SCHEDULE_TOPIC_XXXX", "x"),
            "SCHEDULE_TOPIC_XXXX",
        ),
        (Message::new(&*topic, ""), "body"),
        (
            Message::new(&*topic, vec![0; 4 * 1024 * 1024 + 1]),
            "4194304",
        ),
        (
            Message::builder(&*topic)
                .property("UNIQ_KEY", "x")
                .body("x")
                .build(),
            "UNIQ_KEY",
        ),
        (
            Message::builder(&*topic)
                .property("a\u{1}b", "x")
                .body("x")
                .build(),
            "a",
        ),
        (
            Message::builder(&*topic)
                .property("a", "")
                .body("x")
                .build(),
            "a",
        ),
    ];
    for (message, named) in cases {
        for outcome in [
            producer.send(message.clone()).await.map(drop),
            producer.send_oneway(message.clone()).await,
            producer.submit(message).await.map(drop),
        ] {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(
                error.to_string().contains(named),
                "{error} should name {named}"
            );
        }
    }
    wait_until_stored(&target, &topic, 1, 0).await;
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

#[tokio::test]
async fn a_pr_02_03_04_08_starts_and_ends_that_cannot_be_are_errors() {
    let target = Target::shared().await;
    let start = |group: String, addr: String| async move {
        DefaultProducer::builder(group)
            .name_server(&addr)
            .start()
            .await
            .map(drop)
            .unwrap_err()
    };
    let good = target.name_server().to_owned();
    for group in ["", "a b", "DEFAULT_PRODUCER", &"g".repeat(121)] {
        let error = start(group.to_owned(), good.clone()).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    let producer = target.producer().await;
    producer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
    let error = producer.send(Message::new("any", "x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
}

#[tokio::test]
async fn a_pr_05_06_two_producers_of_one_group_both_send() {
    let target = Target::shared().await;
    let topic = target.topic("pair", 2).await;
    let group = target.name("pair");
    let start = || {
        DefaultProducer::builder(&*group)
            .name_server(target.name_server())
            .start()
    };
    let (one, two) = (start().await.unwrap(), start().await.unwrap());
    let results = [
        one.send(Message::new(&*topic, "one")).await.unwrap(),
        two.send(Message::new(&*topic, "two")).await.unwrap(),
    ];
    assert_ne!(results[0].msg_id(), results[1].msg_id());
    one.shutdown().await.unwrap();
    two.send(Message::new(&*topic, "three")).await.unwrap();
    two.shutdown().await.unwrap();
    wait_until_stored(&target, &topic, 2, 3).await;
}
