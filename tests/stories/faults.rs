//! Servers that go away and come back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rocketmq_sdk::{ConsumeFromWhere, ConsumeStatus, DefaultProducer, ErrorKind, Message};

use crate::received::{Received, wait_until};
use crate::target::Target;

/// Sends until it is told to stop; the bodies that were acknowledged.
fn send_steadily(
    producer: DefaultProducer,
    topic: String,
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicUsize>,
) -> tokio::task::JoinHandle<BTreeSet<String>> {
    tokio::spawn(async move {
        let mut done = BTreeSet::new();
        let mut at = 0;
        while !stop.load(Ordering::SeqCst) {
            let text = format!("m{at}");
            at += 1;
            if producer
                .send(Message::new(&*topic, text.clone()))
                .await
                .is_ok()
            {
                done.insert(text);
                acked.fetch_add(1, Ordering::SeqCst);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        done
    })
}

#[tokio::test]
async fn f01_a_broker_that_is_killed_and_started_again_loses_no_acknowledged_message() {
    let target = Target::own().await;
    let topic = target.topic("killed", 4).await;
    let received = Received::default();
    let consumer = target
        .consumer(&target.name("killed"))
        .subscribe(&*topic, "*");
    let consumer = consumer.consume_from(ConsumeFromWhere::FirstOffset);
    let consumer = consumer.listener_with(received.clone(), |received, messages| async move {
        received.add(messages);
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = consumer.start().await.unwrap();
    let producer = target.producer().await;
    let (stop, acked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let sending = send_steadily(
        producer.clone(),
        topic.clone(),
        Arc::clone(&stop),
        Arc::clone(&acked),
    );
    let more = |count: usize| {
        let goal = acked.load(Ordering::SeqCst) + count;
        let acked = Arc::clone(&acked);
        move || acked.load(Ordering::SeqCst) >= goal
    };
    wait_until(&target, "sending goes", more(100)).await;
    target.kill_broker().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    target.start_broker().await;
    wait_until(&target, "sending goes again", more(100)).await;
    stop.store(true, Ordering::SeqCst);
    let acknowledged = sending.await.unwrap();
    received
        .wait(&target, "every acknowledged message came", |received| {
            acknowledged.is_subset(&received.bodies())
        })
        .await;
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn f07_a_name_server_that_is_down_for_a_while_is_not_missed() {
    let target = Target::own().await;
    let topic = target.topic("nameless", 2).await;
    let producer = target.producer().await;
    let received = Received::default();
    let consumer = target
        .consumer(&target.name("nameless"))
        .subscribe(&*topic, "*");
    let consumer = consumer.consume_from(ConsumeFromWhere::FirstOffset);
    let consumer = consumer.listener_with(received.clone(), |received, messages| async move {
        received.add(messages);
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = consumer.start().await.unwrap();
    producer
        .send(Message::new(&*topic, "before"))
        .await
        .unwrap();
    target.stop_name_server().await;
    for at in 0..50 {
        producer
            .send(Message::new(&*topic, format!("during{at}")))
            .await
            .unwrap();
    }
    received
        .wait(&target, "51 messages came", |received| {
            received.bodies().len() == 51
        })
        .await;
    let error = producer
        .send(Message::new(target.name("unknown"), "x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NameServer, "{error}");
    assert!(error.to_string().contains(target.name_server()), "{error}");
    target.start_name_server().await;
    let after = target.name("after");
    wait_until_sent(&producer, &after).await;
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

/// Brokers register again within 30 s of a name server's start.
async fn wait_until_sent(producer: &DefaultProducer, topic: &str) {
    let until = tokio::time::Instant::now() + crate::target::PATIENCE;
    while let Err(error) = producer.send(Message::new(topic, "after")).await {
        assert!(tokio::time::Instant::now() < until, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn f07_without_a_name_server_the_first_send_says_so_in_bounded_time() {
    let producer = DefaultProducer::builder("nobody")
        .name_server("127.0.0.1:1")
        .start()
        .await
        .unwrap();
    let error = producer
        .send(Message::new("t", "x"))
        .timeout(Duration::from_secs(1))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(error.is_retryable());
    producer.shutdown().await.unwrap();
}
