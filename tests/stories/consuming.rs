//! Listeners: what they get, and what happens when they fail.

use std::collections::BTreeSet;
use std::time::Duration;

use rocketmq_sdk::{
    ConsumeFromWhere, ConsumeStatus, DefaultProducer, ErrorKind, Message, PushConsumer,
};
use rocketmq_testkit::{Cluster, Entry, RequestCode};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::received::{Received, body, numbered, wait_until};
use crate::target::Target;

async fn send_tagged(target: &Target, topic: &str, tags: &[Option<&str>]) {
    let producer = target.producer().await;
    for (at, tag) in tags.iter().enumerate() {
        let message = Message::builder(topic).body(format!("{}{at}", tag.unwrap_or("none")));
        let message = match tag {
            Some(tag) => message.tag(*tag).build(),
            None => message.build(),
        };
        producer.send(message).await.unwrap();
    }
    producer.shutdown().await.unwrap();
}

async fn start(
    target: &Target,
    group: &str,
    topic: &str,
    tags: &str,
    received: &Received,
) -> PushConsumer {
    let consumer = target
        .consumer(group)
        .subscribe(topic, tags)
        .consume_from(ConsumeFromWhere::FirstOffset);
    let consumer = consumer.listener_with(received.clone(), |received, messages| async move {
        received.add(messages);
        ConsumeStatus::CONSUME_SUCCESS
    });
    consumer.start().await.unwrap()
}

#[tokio::test]
async fn a_pc_04_a_subscription_of_everything_gets_everything_once() {
    let target = Target::shared().await;
    let topic = target.topic("all", 4).await;
    let received = Received::default();
    let consumer = start(&target, &target.name("all"), &topic, "*", &received).await;
    let producer = target.producer().await;
    for at in 0..40 {
        producer
            .send(Message::new(&*topic, format!("m{at}")))
            .await
            .unwrap();
    }
    received
        .wait(&target, "40 messages came", |received| {
            received.bodies() == numbered("m", 40)
        })
        .await;
    assert_eq!(received.count(), 40);
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_pc_05_06_08_tags_choose_messages() {
    let target = Target::shared().await;
    let topic = target.topic("tags", 2).await;
    send_tagged(
        &target,
        &topic,
        &[Some("A"), Some("B"), Some("C"), None, Some("a"), Some("A")],
    )
    .await;
    for (at, (expression, wanted)) in [
        ("A", vec!["A0", "A5"]),
        (" A||  B ", vec!["A0", "A5", "B1"]),
        ("A||B||X", vec!["A0", "A5", "B1"]),
        ("a", vec!["a4"]),
    ]
    .into_iter()
    .enumerate()
    {
        let received = Received::default();
        let group = target.name(&format!("tags{at}"));
        let consumer = start(&target, &group, &topic, expression, &received).await;
        let wanted: BTreeSet<String> = wanted.into_iter().map(str::to_owned).collect();
        received
            .wait(&target, expression, |received| received.bodies() == wanted)
            .await;
        assert_eq!(received.count(), wanted.len());
        consumer.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_pc_07_tags_with_one_hash_code_are_told_apart() {
    let target = Target::shared().await;
    let topic = target.topic("collide", 1).await;
    send_tagged(
        &target,
        &topic,
        &[Some("AaAa"), Some("BBBB"), Some("AaBB"), Some("BBBB")],
    )
    .await;
    let received = Received::default();
    let consumer = start(&target, &target.name("collide"), &topic, "BBBB", &received).await;
    received
        .wait(&target, "both came", |received| received.count() >= 2)
        .await;
    assert_eq!(
        received.bodies(),
        BTreeSet::from(["BBBB1".to_owned(), "BBBB3".to_owned()])
    );
    consumer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_pc_02_a_consumer_that_cannot_work_does_not_start() {
    let target = Target::shared().await;
    let listen = |builder: rocketmq_sdk::PushConsumerBuilder| {
        builder.listener(|_| async { ConsumeStatus::CONSUME_SUCCESS })
    };
    let cases = [
        listen(target.consumer("").subscribe("t", "*")),
        listen(target.consumer("a b").subscribe("t", "*")),
        listen(target.consumer("DEFAULT_CONSUMER").subscribe("t", "*")),
        listen(target.consumer("g")),
        target.consumer("g").subscribe("t", "*"),
        listen(target.consumer("g").subscribe("t", "")),
        listen(target.consumer("g").subscribe("a b", "*")),
        listen(target.consumer("g").subscribe("t", "*")).commit_interval(Duration::ZERO),
        listen(target.consumer("g").subscribe("t", "*")).commit_interval(Duration::MAX),
        listen(target.consumer("g").subscribe("t", "*")).consume_timeout(Duration::MAX),
        listen(target.consumer("g").subscribe("t", "*")).shutdown_timeout(Duration::MAX),
    ];
    for case in cases {
        let error = case.start().await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
}

#[tokio::test]
async fn a_consumer_without_a_name_server_says_that_it_could_not_start() {
    let builder = PushConsumer::builder("g").name_server("127.0.0.1:1");
    let builder = builder
        .subscribe("t", "*")
        .listener(|_| async { ConsumeStatus::CONSUME_SUCCESS });
    let error = builder.start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NameServer);
    let text = error.to_string();
    let expected = "start a consumer (topic t, group g): no name server answers";
    assert!(text.starts_with(expected), "{text}");
}

#[tokio::test]
async fn a_consumer_that_has_ended_takes_no_subscription() {
    let target = Target::shared().await;
    let consumer = target
        .consumer(&target.name("ended"))
        .subscribe("t", "*")
        .listener(|_| async { ConsumeStatus::CONSUME_SUCCESS });
    let consumer = consumer.start().await.unwrap();
    consumer.subscribe("u", "*").unwrap();
    consumer.shutdown().await.unwrap();
    let error = consumer.subscribe("v", "*").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
}

#[tokio::test]
async fn a_pc_03_a_topic_that_comes_later_is_found() {
    let target = Target::shared().await;
    let topic = target.name("later");
    let received = Received::default();
    let consumer = target
        .consumer(&target.name("later"))
        .subscribe(&*topic, "*");
    let consumer = consumer.consume_from(ConsumeFromWhere::FirstOffset);
    let consumer = consumer.listener_with(received.clone(), |received, messages| async move {
        received.add(messages);
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = consumer.start().await.unwrap();
    assert_eq!(target.topic("later", 2).await, topic);
    send_tagged(&target, &topic, &[None, None]).await;
    received
        .wait(&target, "both came", |received| {
            received.bodies() == numbered("none", 2)
        })
        .await;
    consumer.shutdown().await.unwrap();
}

/// On the testkit alone, where time can stand still.
#[tokio::test(start_paused = true)]
async fn a_topic_that_comes_much_later_is_found_within_seconds() {
    let cluster = Cluster::builder().in_memory().start().await.unwrap();
    let (addr, environment) = (cluster.name_server_addr(), cluster.environment());
    let (sender, mut came) = mpsc::unbounded_channel();
    let consumer = PushConsumer::builder("g")
        .name_server(addr)
        .environment(environment.clone())
        .subscribe("later", "*")
        .listener_with(sender, |sender, messages| async move {
            sender.send(messages.len())?;
            Ok(())
        })
        .start()
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(70)).await;
    let producer = DefaultProducer::builder("p")
        .name_server(addr)
        .environment(environment)
        .start()
        .await
        .unwrap();
    let sent = Instant::now();
    producer.send(Message::new("later", "x")).await.unwrap();
    assert_eq!(came.recv().await, Some(1));
    assert!(sent.elapsed() < Duration::from_secs(7));
    // It is asked for seldom all the same.
    let is_look_up = |entry: &Entry| {
        entry.is_request(RequestCode::GET_ROUTEINFO_BY_TOPIC) && entry.topic() == Some("later")
    };
    let look_ups = cluster.journal().count(is_look_up);
    assert!(look_ups < 30, "{look_ups}");
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_rt_01_05_a_message_for_later_comes_again_after_ten_seconds() {
    let target = Target::shared().await;
    let topic = target.topic("again", 1).await;
    let received = Received::default();
    let consumer = target
        .consumer(&target.name("again"))
        .subscribe(&*topic, "*");
    let consumer = consumer.consume_from(ConsumeFromWhere::FirstOffset);
    let consumer = consumer.listener_with(received.clone(), |received, messages| async move {
        let later = messages
            .iter()
            .any(|message| body(message) == "bad" && message.reconsume_times() < 2);
        received.add(messages);
        if later {
            ConsumeStatus::RECONSUME_LATER
        } else {
            ConsumeStatus::CONSUME_SUCCESS
        }
    });
    let consumer = consumer.start().await.unwrap();
    let producer = target.producer().await;
    for text in ["good", "bad", "fine"] {
        producer
            .send(Message::builder(&*topic).key(text).body(text).build())
            .await
            .unwrap();
    }
    received
        .wait(&target, "the bad one came three times", |received| {
            received.count() >= 5
        })
        .await;
    assert_eq!(
        received.times().into_values().collect::<Vec<_>>(),
        [3, 1, 1]
    );
    let all = received.all();
    let bad: Vec<_> = all
        .iter()
        .filter(|message| body(message) == "bad")
        .collect();
    assert_eq!(
        bad.iter()
            .map(|message| message.reconsume_times())
            .collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert!(
        bad.iter().all(|message| message.topic() == topic),
        "the original topic is restored"
    );
    assert!(
        bad.iter()
            .all(|message| message.msg_id() == bad[0].msg_id())
    );
    let pauses: Vec<_> = bad
        .iter()
        .map(|message| message.store_timestamp())
        .collect();
    assert!(
        pauses[1] - pauses[0] >= 9_000,
        "the first retry comes after about 10 s: {pauses:?}"
    );
    assert!(
        pauses[2] - pauses[1] >= 29_000,
        "the second after about 30 s: {pauses:?}"
    );
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_rt_03_an_error_and_a_panic_are_failures_of_their_message_only() {
    let target = Target::shared().await;
    let topic = target.topic("fail", 1).await;
    let received = Received::default();
    let consumer = target
        .consumer(&target.name("fail"))
        .subscribe(&*topic, "*");
    let consumer = consumer.consume_from(ConsumeFromWhere::FirstOffset);
    let consumer = consumer.listener_with(received.clone(), |received, messages| async move {
        let (text, first) = (body(&messages[0]), messages[0].reconsume_times() == 0);
        received.add(messages);
        match &*text {
            "panic" if first => panic!("on purpose"),
            "error" if first => Err("on purpose".into()),
            _ => Ok(()),
        }
    });
    let consumer = consumer.start().await.unwrap();
    let producer = target.producer().await;
    for text in ["a", "panic", "b", "error", "c"] {
        producer.send(Message::new(&*topic, text)).await.unwrap();
    }
    received
        .wait(&target, "both came again", |received| received.count() >= 7)
        .await;
    assert_eq!(
        received.times().into_values().collect::<Vec<_>>(),
        [1, 1, 1, 2, 2]
    );
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_rt_02_without_retries_a_failure_is_a_dead_letter() {
    let target = Target::shared().await;
    let topic = target.topic("dead", 1).await;
    let group = target.name("dead");
    let received = Received::default();
    let consumer = target
        .consumer(&group)
        .subscribe(&*topic, "*")
        .max_reconsume_times(0);
    let consumer = consumer.consume_from(ConsumeFromWhere::FirstOffset);
    let consumer = consumer.listener_with(received.clone(), |received, messages| async move {
        received.add(messages);
        ConsumeStatus::RECONSUME_LATER
    });
    let consumer = consumer.start().await.unwrap();
    let producer = target.producer().await;
    producer
        .send(Message::new(&*topic, "poison"))
        .await
        .unwrap();
    received
        .wait(&target, "it came", |received| received.count() >= 1)
        .await;
    let dead = Received::default();
    let letters = format!("%DLQ%{group}");
    let reader = start(&target, &target.name("letters"), &letters, "*", &dead).await;
    dead.wait(&target, "the dead letter came", |dead| dead.count() >= 1)
        .await;
    assert_eq!(
        (body(&dead.all()[0]), received.count()),
        ("poison".to_owned(), 1)
    );
    reader.shutdown().await.unwrap();
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_pc_01_a_blocking_listener_works_too() {
    let target = Target::shared().await;
    let topic = target.topic("blocking", 2).await;
    send_tagged(&target, &topic, &[None; 10]).await;
    let received = Received::default();
    let consumer = target
        .consumer(&target.name("blocking"))
        .subscribe(&*topic, "*");
    let consumer = consumer.consume_from(ConsumeFromWhere::FirstOffset);
    let seen = received.clone();
    let consumer = consumer.blocking_listener(move |messages| {
        seen.add(messages);
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = consumer.start().await.unwrap();
    wait_until(&target, "10 messages came", || {
        received.bodies() == numbered("none", 10)
    })
    .await;
    consumer.shutdown().await.unwrap();
}
