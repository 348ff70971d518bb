//! Faults of the network before any broker, a real one too: the clients come through stand-ins.

use std::time::Duration;

use futures::future::join_all;
use rocketmq_sdk::{
    ConsumeFromWhere, ConsumeResult, ConsumeStatus, DefaultProducer, ErrorKind, Message,
    MessageExt, PushConsumer,
};
use rocketmq_testkit::{Entry, EntryKind, Relay, RelayNode, RequestCode, ResponseCode};
use tokio::time::Instant;

use crate::received::{Received, body, numbered, wait_until};
use crate::target::{Target, stored_at_least, wait_until_stored};

/// What a call has that must not run out of time because the machine is busy.
const SLOW: Duration = Duration::from_secs(10);

/// A topic of one queue, the stand-in of its broker, and a producer that comes through it.
async fn relayed(target: &Target, base: &str) -> (Relay, RelayNode, String, DefaultProducer) {
    let topic = target.topic(base, 1).await;
    let relay = Relay::start(target.name_server()).await.unwrap();
    let producer = DefaultProducer::builder(target.name(base))
        .name_server(relay.name_server_addr())
        .start()
        .await
        .unwrap();
    producer.send(Message::new(&*topic, "first")).await.unwrap();
    let broker = relay.broker("broker-a");
    (relay, broker, topic, producer)
}

#[tokio::test]
async fn f03_a_connection_that_says_nothing_any_more_is_given_up_for_a_new_one() {
    let target = Target::shared().await;
    let (relay, broker, topic, producer) = relayed(&target, "silent").await;
    let connected = |entry: &Entry| {
        (entry.node() == "broker-a" && entry.kind() == EntryKind::Connected)
            .then(|| entry.connection())
    };
    let old = relay.journal().entries().iter().filter_map(connected).max();
    let old = old.expect("a connection");
    let rule = broker.faults().on_any();
    rule.when(move |entry| entry.connection() <= old).drop();
    let mut failed = 0;
    let start = Instant::now();
    loop {
        let sent = producer.send(Message::new(&*topic, "m"));
        match sent.timeout(Duration::from_millis(500)).await {
            Ok(_) => break,
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::Timeout | ErrorKind::ConnectionLost),
                    "{error}"
                );
                failed += 1;
                assert!(failed < 100, "{error}");
            }
        }
    }
    println!("{failed} sends failed in {:?}", start.elapsed());
    let new = relay.journal().entries().iter().filter_map(connected).max();
    assert!(new > Some(old) && failed > 0);
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn f05_l15_an_answer_that_never_comes_ends_its_own_call_only() {
    let target = Target::shared().await;
    let (_relay, broker, topic, producer) = relayed(&target, "lost").await;
    let rule = broker.faults().on_sends().nth(50).answer().drop();
    let sends = (0..200).map(|at| {
        let sent = producer.send(Message::new(&*topic, format!("m{at}")));
        sent.timeout(SLOW)
    });
    let results = join_all(sends).await;
    let errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert_eq!(rule.hits(), 1);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].kind(), ErrorKind::Timeout, "{}", errors[0]);
    producer.shutdown().await.unwrap();
    // It was stored, as its error says that it may be.
    wait_until_stored(&target, &topic, 1, 201).await;
}

#[tokio::test]
async fn f15_an_answer_that_is_cut_anywhere_is_asked_for_again() {
    let target = Target::shared().await;
    let (_relay, broker, topic, producer) = relayed(&target, "cut").await;
    let mut sent = 1;
    // Each costs the pause before the next connection.
    for cut in [0, 3, 60, 150] {
        let rule = broker.faults().on_sends().times(1).answer().cut(cut);
        let sending = producer.send(Message::new(&*topic, format!("m{cut}")));
        sending.timeout(SLOW).await.unwrap();
        assert_eq!(rule.hits(), 1);
        rule.remove();
        sent += 1;
    }
    producer.shutdown().await.unwrap();
    let count = stored_at_least(&target, &topic, 1, sent).await;
    assert!(count <= 2 * sent, "{count} of {sent}");
}

#[tokio::test]
async fn f15_connections_that_are_reset_again_and_again_lose_no_message() {
    const MESSAGES: usize = 300;
    let target = Target::shared().await;
    let (relay, broker, topic, producer) = relayed(&target, "reset").await;
    let received = Received::default();
    let consumer = PushConsumer::builder(target.name("reset"))
        .name_server(relay.name_server_addr())
        .subscribe(&*topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(received.clone(), |received, messages| async move {
            received.add(messages);
            ConsumeStatus::CONSUME_SUCCESS
        });
    let consumer = consumer.start().await.unwrap();
    let sending = async {
        for at in 0..MESSAGES {
            let body = format!("m{at}");
            // What fails may have been stored; it is sent until it was.
            while producer
                .send(Message::new(&*topic, body.clone()))
                .await
                .is_err()
            {}
        }
    };
    let cutting = async {
        for cut in 1..=3 {
            let some = || received.count() >= cut * MESSAGES / 4;
            wait_until(&target, "some came", some).await;
            broker.cut().await.unwrap();
        }
    };
    tokio::join!(sending, cutting);
    received
        .wait(&target, "all came", |received| {
            received.bodies().is_superset(&numbered("m", MESSAGES))
        })
        .await;
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_a_broker_does_not_take_back_comes_again_as_a_copy_and_is_a_dead_letter_in_the_end() {
    let target = Target::shared().await;
    let (relay, broker, topic, producer) = relayed(&target, "copies").await;
    let group = target.name("copies");
    let lost = broker.faults().on(RequestCode::CONSUMER_SEND_MSG_BACK);
    let lost = lost.reply(ResponseCode::SYSTEM_ERROR, "look message by offset failed");
    let received = Received::default();
    let consumer = PushConsumer::builder(&*group)
        .name_server(relay.name_server_addr())
        .subscribe(&*topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .max_reconsume_times(1)
        .listener_with(received.clone(), |received, messages| async move {
            let fails = body(&messages[0]) == "poison";
            received.add(messages);
            if fails {
                return ConsumeResult::retry_after_level(1);
            }
            ConsumeResult::success()
        });
    let consumer = consumer.start().await.unwrap();
    let poison = Message::builder(&*topic).tag("tag").keys(["key"]);
    let poison = producer.send(poison.body("poison").build()).await.unwrap();
    producer.send(Message::new(&*topic, "last")).await.unwrap();

    let dead = Received::default();
    let reader = target
        .consumer(&target.name("letters"))
        .subscribe(format!("%DLQ%{group}"), "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(dead.clone(), |dead, messages| async move {
            dead.add(messages);
            ConsumeStatus::CONSUME_SUCCESS
        });
    let reader = reader.start().await.unwrap();
    dead.wait(&target, "it is a dead letter", |dead| dead.count() >= 1)
        .await;
    let letter = &dead.all()[0];
    assert_eq!(
        (&*body(letter), letter.origin_topic()),
        ("poison", Some(&*topic))
    );
    let mut all = received.all();
    all.retain(|message| body(message) == "poison");
    let times: Vec<_> = all.iter().map(MessageExt::reconsume_times).collect();
    assert_eq!((times, lost.hits()), (vec![0, 1], 2));
    for message in &all {
        assert_eq!(
            (message.topic(), message.msg_id()),
            (&*topic, poison.msg_id())
        );
        assert_eq!(
            (message.tag(), message.property("KEYS")),
            (Some("tag"), Some("key"))
        );
    }
    assert_eq!(
        received.bodies(),
        ["first", "poison", "last"].map(str::to_owned).into()
    );
    reader.shutdown().await.unwrap();
    assert!(consumer.shutdown().await.unwrap().is_clean());
    producer.shutdown().await.unwrap();
}
