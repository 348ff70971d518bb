//! Our clients beside Apache's Java client: what one sends the other gets, and they share a group.

use std::collections::BTreeSet;
use std::time::Duration;

use rocketmq_sdk::protocol::code::RequestCode;
use rocketmq_sdk::protocol::compress::Codec;
use rocketmq_sdk::protocol::fields::Header;
use rocketmq_sdk::protocol::message::StoredMessage;
use rocketmq_sdk::protocol::request::view_message::ViewMessage;
use rocketmq_sdk::{
    ConsumeFromWhere, ConsumeStatus, DefaultProducer, Message, MessageExt, PushConsumer,
};
use serde_json::{Value, json};

use crate::java::Java;
use crate::received::{Received, body};
use crate::target::{PATIENCE, Target, ask};

mod delays;
mod groups;
mod requests;
mod sends;
mod transactions;

const QUEUES: usize = 5;

async fn start(target: &Target, group: &str, topic: &str, received: &Received) -> PushConsumer {
    let consumer = target
        .consumer(group)
        .subscribe(topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset);
    let consumer = consumer.listener_with(received.clone(), |received, messages| async move {
        received.add(messages);
        ConsumeStatus::CONSUME_SUCCESS
    });
    consumer.start().await.unwrap()
}

/// Waits in real time: Java's clients do not go by a clock that a story could turn.
async fn wait(what: &str, done: impl Fn() -> bool) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(
            tokio::time::Instant::now() < until,
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a message carries: tag, keys, flag, a property, body.
type Kind = (
    Option<&'static str>,
    Option<&'static str>,
    i32,
    Option<(&'static str, &'static str)>,
    Vec<u8>,
);

fn kinds() -> Vec<Kind> {
    vec![
        (None, None, 0, None, b"plain".to_vec()),
        (
            Some("TagA"),
            Some("order-1"),
            0,
            None,
            b"tag and key".to_vec(),
        ),
        (
            Some("标签"),
            Some("键1 k2"),
            -7,
            Some(("名", "值 🚀")),
            "订单🚀".into(),
        ),
        (
            None,
            Some("k"),
            i32::MAX,
            Some(("a b", " = \u{3}")),
            (0..=255).collect(),
        ),
        // From 4 KiB on both compress.
        (Some("zip"), None, 0, None, vec![b'x'; 4096]),
        (
            None,
            None,
            0,
            Some(("p", "v")),
            "abc订单".repeat(4000).into_bytes(),
        ),
    ]
}

fn of_ours(topic: &str, kind: Kind) -> Message {
    let (tag, keys, flag, property, body) = kind;
    let mut message = Message::builder(topic).flag(flag).body(body);
    if let Some(tag) = tag {
        message = message.tag(tag);
    }
    if let Some(keys) = keys {
        message = message.keys(keys.split(' '));
    }
    if let Some((name, value)) = property {
        message = message.property(name, value);
    }
    message.build()
}

fn of_java(topic: &str, kind: Kind) -> Value {
    let (tag, keys, flag, property, body) = kind;
    let properties: serde_json::Map<_, _> = property
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "topic": topic, "tag": tag, "keys": keys, "flag": flag, "properties": properties, "body": hex(&body),
    })
}

async fn send_with_ours(producer: &DefaultProducer, topic: &str, kind: Kind) -> String {
    let result = producer.send(of_ours(topic, kind)).await.unwrap();
    result.msg_id().to_owned()
}

async fn send_with_java(java: &mut Java, topic: &str, kind: Kind) -> String {
    let result = java.ask("send", of_java(topic, kind)).await;
    result["msgId"].as_str().expect("an id").to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What both clients know of a received message, as `Peer.java` writes it.
fn described(message: &MessageExt) -> Value {
    let properties: serde_json::Map<_, _> = message
        .properties()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "topic": message.topic(),
        "brokerName": message.broker_name(),
        "queueId": message.queue_id(),
        "queueOffset": message.queue_offset(),
        "commitLogOffset": message.commit_log_offset(),
        "msgId": message.msg_id(),
        "offsetMsgId": message.offset_msg_id(),
        "tag": message.tag(),
        "keys": message.property("KEYS"),
        "flag": message.flag(),
        "properties": properties,
        "reconsumeTimes": message.reconsume_times(),
        "bornTimestamp": message.born_timestamp(),
        "bornHost": message.born_host().to_string(),
        "storeTimestamp": message.store_timestamp(),
        "storeHost": message.store_host().to_string(),
        "body": hex(message.body()),
    })
}

/// The one message with this id that our consumer has, and the same as Java's consumer describes it.
fn both(id: &str, ours: &Received, java: &Java) -> (MessageExt, Value) {
    let mut ours = ours.all();
    ours.retain(|message| message.msg_id() == id);
    let mut theirs = java.messages();
    theirs.retain(|message| message["msgId"] == id);
    assert_eq!((ours.len(), theirs.len()), (1, 1), "of {id}");
    (ours.remove(0), theirs.remove(0))
}

/// How the broker holds the message's body compressed.
async fn stored_codec(message: &MessageExt) -> Option<Codec> {
    let addr = message.store_host().to_string();
    let view = ViewMessage {
        offset: message.commit_log_offset(),
        topic: Some(message.topic().into()),
        ..ViewMessage::default()
    };
    let answer = ask(&addr, RequestCode::VIEW_MESSAGE_BY_ID, |fields| {
        view.encode(fields);
    });
    let stored = StoredMessage::decode(&mut answer.await.body).unwrap();
    stored.sys_flag.codec().unwrap()
}

/// Whether the message is of this kind, and both describe it alike.
fn assert_crossed(ours: &MessageExt, theirs: &Value, kind: Kind) {
    let (tag, keys, flag, property, body) = kind;
    let described = described(ours);
    assert_eq!(described["tag"], json!(tag));
    assert_eq!(described["keys"], json!(keys));
    assert_eq!(described["flag"], flag);
    assert_eq!(ours.body(), &body);
    if let Some((name, value)) = property {
        assert_eq!(ours.property(name), Some(value));
    }
    for (field, value) in described.as_object().unwrap() {
        assert_eq!(*value, theirs[field], "{field} of {theirs}");
    }
}

#[tokio::test]
async fn messages_cross_in_both_directions_with_all_that_they_carry() {
    let target = Target::shared().await;
    let Some(mut java) = Java::start(&target, &[]).await else {
        return;
    };
    let topic = target.topic("crossing", 2).await;
    let producer = target.producer().await;
    let mut sent = Vec::new();
    for kind in kinds() {
        let id = send_with_ours(&producer, &topic, kind.clone()).await;
        sent.push((id, kind.clone()));
        let id = send_with_java(&mut java, &topic, kind.clone()).await;
        sent.push((id, kind));
    }
    let received = Received::default();
    let consumer = start(&target, &target.name("ours"), &topic, &received).await;
    java.consume("theirs", &target.name("theirs"), &topic).await;
    wait("both have all", || {
        received.count() >= sent.len() && java.messages().len() >= sent.len()
    })
    .await;
    for (id, kind) in sent {
        let (ours, theirs) = both(&id, &received, &java);
        let is_compressed = stored_codec(&ours).await.is_some();
        assert_eq!(is_compressed, kind.4.len() >= 4096);
        assert_crossed(&ours, &theirs, kind);
    }
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
    java.shutdown().await;
}

/// The queues that a round's messages came from, at our consumer and at Java's.
fn owners(round: &str, ours: &Received, java: &Java) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let round_in_hex = hex(round.as_bytes());
    let of_round = |body: &Value| {
        body.as_str()
            .is_some_and(|body| body.starts_with(&round_in_hex))
    };
    let ours = ours.all();
    let ours = ours
        .iter()
        .filter(|message| body(message).starts_with(round));
    let theirs = java.messages();
    let theirs = theirs.iter().filter(|message| of_round(&message["body"]));
    (
        ours.filter_map(|message| message.queue_id().try_into().ok())
            .collect(),
        theirs
            .filter_map(|message| message["queueId"].as_u64())
            .collect(),
    )
}

/// A group with a member of ours and one of Java's, and what was sent to it.
struct Mixed {
    producer: DefaultProducer,
    topic: String,
    ours: Received,
    java: Java,
    sent: BTreeSet<String>,
}

impl Mixed {
    /// Sends rounds of one message to each queue until one is shared as wanted; gives the queues of both.
    async fn send_until(
        &mut self,
        name: &str,
        wanted: impl Fn(&BTreeSet<u64>, &BTreeSet<u64>) -> bool,
    ) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let until = tokio::time::Instant::now() + PATIENCE;
        for round in 0.. {
            for queue in 0..QUEUES {
                let text = format!("{name}{round}.{queue}");
                let message = Message::new(&*self.topic, text.clone());
                let sending = self.producer.send(message).select(move |_, _| queue);
                sending.await.unwrap();
                self.sent.insert(text);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            for round in 0..=round {
                let (ours, theirs) = owners(&format!("{name}{round}."), &self.ours, &self.java);
                let whole = ours.len() + theirs.len() == QUEUES && ours.is_disjoint(&theirs);
                if whole && wanted(&ours, &theirs) {
                    return (ours, theirs);
                }
            }
            assert!(
                tokio::time::Instant::now() < until,
                "waited in vain for {name}"
            );
        }
        unreachable!("rounds do not end")
    }

    /// Waits until every message came to one of the two.
    async fn wait_for_all(&self) {
        wait("everything came", || {
            let mut seen = self.ours.bodies();
            let theirs = self.java.messages();
            let bodies = theirs.iter().filter_map(|message| message["body"].as_str());
            let mut missing: BTreeSet<_> =
                self.sent.iter().map(|text| hex(text.as_bytes())).collect();
            for body in bodies {
                missing.remove(body);
            }
            seen.retain(|text| missing.contains(&hex(text.as_bytes())));
            seen.len() == missing.len()
        })
        .await;
    }
}

/// Whether both have a run of queues, of which one is longer by one: average allocation of five queues to two members.
fn is_average(ours: &BTreeSet<u64>, theirs: &BTreeSet<u64>) -> bool {
    let is_run = |queues: &BTreeSet<u64>| {
        let ends = queues.first().zip(queues.last());
        ends.is_some_and(|(first, last)| last - first + 1 == queues.len() as u64)
    };
    ours.len().abs_diff(theirs.len()) == 1 && is_run(ours) && is_run(theirs)
}

#[tokio::test]
async fn a_java_consumer_and_ours_share_the_queues_of_a_group() {
    let target = Target::shared().await;
    // The other serialisation, so that both are tried.
    let Some(java) = Java::start(&target, &["-Drocketmq.serialize.type=ROCKETMQ"]).await else {
        return;
    };
    let topic = target.topic("mixed", QUEUES as i32).await;
    let group = target.name("mixed");
    let mut mixed = Mixed {
        producer: target.producer().await,
        topic: topic.clone(),
        ours: Received::default(),
        java,
        sent: BTreeSet::new(),
    };

    let consumer = start(&target, &group, &topic, &mixed.ours).await;
    mixed.java.consume("one", &group, &topic).await;
    let (_, theirs) = mixed.send_until("shared", is_average).await;
    let asked = json!({"as": "one", "topic": topic});
    let said: Vec<_> = theirs.into_iter().map(Value::from).collect();
    assert_eq!(mixed.java.ask("queues", asked).await, Value::from(said));

    consumer.shutdown().await.unwrap();
    mixed.send_until("theirs", |ours, _| ours.is_empty()).await;

    let consumer = start(&target, &group, &topic, &mixed.ours).await;
    mixed.send_until("again", is_average).await;
    mixed.java.ask("stop", json!({"as": "one"})).await;
    mixed
        .send_until("ours", |_, theirs| theirs.is_empty())
        .await;

    mixed.wait_for_all().await;
    consumer.shutdown().await.unwrap();
    mixed.producer.shutdown().await.unwrap();
    mixed.java.shutdown().await;
}
