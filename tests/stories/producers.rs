//! Producers that start and end, and those that cannot.

use std::time::Duration;

use futures::FutureExt;
use rocketmq_sdk::{
    Client, ClientConfig, DefaultProducer, DefaultProducerBuilder, ErrorKind, Message, MessageQueue,
};
use tokio::time::Instant;

use crate::target::{Target, wait_until_stored};

fn builder(target: &Target, base: &str) -> DefaultProducerBuilder {
    DefaultProducer::builder(target.name(base)).name_server(target.name_server())
}

#[tokio::test]
async fn a_pr_01_a_second_shutdown_does_nothing() {
    let target = Target::shared().await;
    let topic = target.topic("twice", 1).await;
    let producer = target.producer().await;
    let clone = producer.clone();
    producer.send(Message::new(&*topic, "x")).await.unwrap();
    for producer in [&producer, &producer, &clone] {
        assert_eq!(producer.shutdown().await.unwrap().unfinished(), 0);
    }
}

#[tokio::test]
async fn a_pr_02_without_a_name_server_the_start_or_the_first_send_says_so() {
    let nowhere = DefaultProducer::builder("nowhere").config(ClientConfig::default());
    let error = nowhere.start().await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("NAMESRV_ADDR"), "{error}");

    // Nobody listens there. Where topics are named, that shows at once.
    let config = ClientConfig::default().name_server("127.0.0.1:1");
    let config = config.request_timeout(Duration::from_millis(500));
    let builder = || DefaultProducer::builder("nobody").config(config.clone());
    let began = Instant::now();
    let named = builder().topics(["t"]).start().await.map(drop).unwrap_err();
    let producer = builder().start().await.unwrap();
    let send = producer.send(Message::new("t", "x"));
    let sent = send.timeout(Duration::from_millis(500)).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(30), "it is bounded");
    for error in [named, sent] {
        assert_eq!(error.kind(), ErrorKind::NameServer, "{error}");
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
        assert!(error.is_retryable());
    }
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_pr_03_a_host_that_nobody_knows_is_named() {
    let producer = DefaultProducer::builder("lost")
        .name_server("no-such-host.invalid:9876")
        .start()
        .await
        .unwrap();
    let send = producer.send(Message::new("t", "x"));
    let error = send.timeout(Duration::from_secs(2)).await.unwrap_err();
    assert!(
        error.to_string().contains("no-such-host.invalid"),
        "{error}"
    );
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_pr_04_a_group_that_cannot_be_is_refused() {
    let long = "g".repeat(121);
    for (group, named) in [
        ("", "empty"),
        ("a b", "a b"),
        (&long, "121 bytes, the limit is 120"),
        ("DEFAULT_PRODUCER", "DEFAULT_PRODUCER"),
    ] {
        let builder = DefaultProducer::builder(group).name_server("127.0.0.1:1");
        let error = builder.start().await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[tokio::test]
async fn a_pr_05_a_second_producer_of_a_group_needs_a_client_of_its_own() {
    let target = Target::shared().await;
    let topic = target.topic("same_client", 1).await;
    let client = Client::builder().name_server(target.name_server());
    let client = client.start().await.unwrap();
    let start = |group: &str| DefaultProducer::builder(group).client(&client).start();
    let (group, other) = (target.name("same"), target.name("other"));
    let (one, two) = (start(&group).await.unwrap(), start(&other).await.unwrap());
    let error = start(&group).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains(&group), "{error}");
    for producer in [&one, &two] {
        producer.send(Message::new(&*topic, "x")).await.unwrap();
    }
    // The group is free again.
    one.shutdown().await.unwrap();
    let again = start(&group).await.unwrap();
    again.send(Message::new(&*topic, "x")).await.unwrap();
    client.shutdown().await;
}

#[tokio::test]
async fn a_pr_06_two_producers_of_one_group_both_send() {
    let target = Target::shared().await;
    let topic = target.topic("pair", 2).await;
    let start = || builder(&target, "pair").start();
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

#[tokio::test]
async fn a_pr_07_without_retries_there_is_one_attempt() {
    let target = Target::shared().await;
    let topic = target.topic("once", 1).await;
    for (retries, attempts) in [(0, "attempt 1 of 1"), (1, "attempt 2 of 2")] {
        let producer = builder(&target, "once").retries(retries);
        let producer = producer.start().await.unwrap();
        let broker = producer.queues(&topic).await.unwrap()[0]
            .broker_name
            .clone();
        // Its broker refuses a queue that is not there; that may be a route that is out of date.
        let queue = MessageQueue::new(&*topic, broker, 9);
        let send = producer.send(Message::new(&*topic, "x")).to(queue);
        let error = send.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broker, "{error}");
        assert!(error.to_string().contains(attempts), "{error}");
        producer.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_pr_08_after_a_shutdown_every_way_of_sending_is_closed() {
    let target = Target::shared().await;
    let topic = target.topic("closed", 1).await;
    let producer = target.producer().await;
    producer.send(Message::new(&*topic, "x")).await.unwrap();
    producer.shutdown().await.unwrap();
    let message = || Message::new(&*topic, "x");
    let (report, reported) = tokio::sync::oneshot::channel();
    producer.send_callback(message(), |outcome| report.send(outcome.map(drop)).unwrap());
    for outcome in [
        producer.send(message()).now_or_never().unwrap().map(drop),
        producer.send_oneway(message()).now_or_never().unwrap(),
        producer.submit(message()).now_or_never().unwrap().map(drop),
        producer
            .send_batch(vec![message(), message()])
            .now_or_never()
            .unwrap()
            .map(drop),
        reported.await.unwrap(),
    ] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
    wait_until_stored(&target, &topic, 1, 1).await;
}
