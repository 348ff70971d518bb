//! Transactions of Java's producers and ours, and answers of either for the other's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rocketmq_sdk::{Message, MessageExt, TransactionProducer, TransactionState};
use serde_json::{Value, json};

use super::{described, hex, start, wait};
use crate::java::Java;
use crate::received::Received;
use crate::target::Target;

/// What a message says its transaction's state is, by Java's name: to whoever is asked.
const CHECKED: &str = "checked";

const STATES: [(&str, TransactionState); 3] = [
    ("COMMIT_MESSAGE", TransactionState::Commit),
    ("ROLLBACK_MESSAGE", TransactionState::Rollback),
    ("UNKNOW", TransactionState::Unknown),
];

async fn producer(target: &Target, group: &str, topic: &str) -> TransactionProducer {
    let check = |message: MessageExt| async move {
        let said = message.property(CHECKED);
        let state = STATES.iter().find(|(name, _)| said == Some(name));
        state.map_or(TransactionState::Unknown, |(_, state)| *state)
    };
    let builder = TransactionProducer::builder(group)
        .name_server(target.name_server())
        .topics([topic]);
    builder.check(check).start().await.unwrap()
}

/// What the local transaction ends with, and what a check answers.
async fn send_with_java(java: &mut Java, topic: &str, state: &str, checked: &str) -> String {
    let message = json!({
        "topic": topic, "body": hex(format!("Java's {state}").as_bytes()), "tag": "paid", "keys": "k", "flag": 0,
        "properties": {CHECKED: checked}, "state": state,
    });
    let result = java.ask("transaction", message).await;
    result["msgId"].as_str().expect("an id").to_owned()
}

async fn send_with_ours(
    producer: &TransactionProducer,
    topic: &str,
    state: (&str, TransactionState),
    checked: &str,
) -> String {
    let (name, state) = state;
    let message = Message::builder(topic)
        .tag("paid")
        .key("k")
        .property(CHECKED, checked)
        .body(format!("our {name}"));
    let sending = producer.send_in_transaction(message.build(), move |_| async move { state });
    let result = sending.await.unwrap();
    result.send_result().msg_id().to_owned()
}

/// What Java's consumer has, by its place in the queue.
fn theirs(java: &Java) -> BTreeMap<i64, Value> {
    let mut messages = java.messages();
    messages.retain(|message| message["client"] == "theirs");
    let place = |message: &Value| message["queueOffset"].as_i64().unwrap();
    messages
        .into_iter()
        .map(|message| (place(&message), message))
        .collect()
}

/// Lets the testkit's brokers ask.
fn let_brokers_ask(target: &Target) {
    target.turn(Duration::from_secs(40));
}

#[tokio::test]
async fn transactions_cross_in_both_directions_with_their_checks() {
    let target = Target::shared().await;
    let Some(mut java) = Java::start(&target, &[]).await else {
        return;
    };
    let topic = target.topic("crossing_transactions", 1).await;
    java.ask("group", json!({"group": target.name("java_payers")}))
        .await;
    let producer = producer(&target, &target.name("payers"), &topic).await;
    let mut delivered = BTreeSet::new();
    for state in STATES {
        let checked = "COMMIT_MESSAGE";
        let java_s = send_with_java(&mut java, &topic, state.0, checked).await;
        let our = send_with_ours(&producer, &topic, state, checked).await;
        if state.1 != TransactionState::Rollback {
            delivered.extend([java_s, our]);
        }
    }
    let received = Received::default();
    let consumer = start(&target, &target.name("ours"), &topic, &received).await;
    java.consume("theirs", &target.name("theirs"), &topic).await;
    let have = |count: usize| received.bodies().len() >= count && theirs(&java).len() >= count;
    wait("both have what was committed", || have(2)).await;
    let_brokers_ask(&target);
    // A broker that asks may ask once more before it has noted the answer: then a message comes twice.
    wait("both have what was asked about", || have(4)).await;
    let sent: BTreeSet<_> = received
        .all()
        .iter()
        .map(|m| m.msg_id().to_owned())
        .collect();
    assert_eq!(sent, delivered);
    for ours in received.all() {
        let theirs = theirs(&java).remove(&ours.queue_offset()).unwrap();
        assert_eq!(ours.property("TRAN_MSG"), Some("true"));
        for (field, value) in described(&ours).as_object().unwrap() {
            assert_eq!(*value, theirs[field], "{field} of {theirs}");
        }
    }
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
    java.shutdown().await;
}

#[tokio::test]
async fn java_s_producer_and_ours_answer_for_each_other_when_one_is_gone() {
    let target = Target::shared().await;
    let Some(mut java) = Java::start(&target, &[]).await else {
        return;
    };
    let topic = target.topic("crossing_heirs", 1).await;
    let group = target.name("mixed_payers");
    java.ask("group", json!({ "group": group })).await;
    let received = Received::default();
    let consumer = start(&target, &target.name("ours"), &topic, &received).await;
    let unknown = STATES[2];
    // Java's producer is known to a broker only after it has sent something.
    let message = json!({"topic": topic, "body": hex(b"hello"), "flag": 0});
    java.ask("send", message).await;

    let gone = producer(&target, &group, &topic).await;
    let ours = send_with_ours(&gone, &topic, unknown, "COMMIT_MESSAGE").await;
    gone.shutdown().await.unwrap();
    let_brokers_ask(&target);
    let came = |text: &str| received.bodies().contains(text);
    wait("Java has answered for ours", || came("our UNKNOW")).await;
    for asked in java.messages() {
        let of = &asked["properties"]["UNIQ_KEY"];
        assert_eq!((&asked["client"], of), (&"check".into(), &(*ours).into()));
    }

    send_with_java(&mut java, &topic, unknown.0, "COMMIT_MESSAGE").await;
    java.shutdown().await;
    let heir = producer(&target, &group, &topic).await;
    let_brokers_ask(&target);
    wait("ours has answered for Java", || came("Java's UNKNOW")).await;
    consumer.shutdown().await.unwrap();
    heir.shutdown().await.unwrap();
}
