//! Messages that come later: sent by Java's client and ours, received and taken back by either.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rocketmq_sdk::Message;
use serde_json::{Value, json};

use super::{both, described, hex, start, wait};
use crate::java::Java;
use crate::received::Received;
use crate::target::Target;

/// How far the clocks of a client and of a broker may be apart, in milliseconds: one goes by monotonic time, the other is corrected.
const CLOCKS: i64 = 100;

/// When a message is due.
#[derive(Clone, Copy)]
enum Due {
    Level(u32),
    After(Duration),
    At(SystemTime),
}

impl Due {
    /// How long after its sending, in milliseconds.
    fn least(self, sent: i64) -> i64 {
        match self {
            Self::Level(level) => [1000, 5000][level as usize - 1],
            Self::After(delay) => delay.as_millis() as i64,
            Self::At(time) => millis(time) - sent,
        }
    }
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_millis() as i64
}

#[tokio::test]
async fn delayed_messages_cross_in_both_directions() {
    let target = Target::shared().await;
    let Some(mut java) = Java::start(&target, &[]).await else {
        return;
    };
    let topic = target.topic("crossing_delays", 1).await;
    let producer = target.producer().await;
    let mut dues = vec![Due::Level(1), Due::Level(2)];
    // 4.9 knows no times.
    if !target.is_java_4() {
        dues.push(Due::After(Duration::from_secs(3)));
        dues.push(Due::At(SystemTime::now() + Duration::from_secs(4)));
    }
    let mut sent = Vec::new();
    for due in dues {
        let builder = Message::builder(&*topic).body("ours");
        let mut message = json!({"topic": topic, "body": hex(b"Java's"), "flag": 0});
        let builder = match due {
            Due::Level(level) => {
                message["delayLevel"] = level.into();
                builder.delay_level(level)
            }
            Due::After(delay) => {
                message["delayMillis"] = (delay.as_millis() as u64).into();
                builder.delay(delay)
            }
            Due::At(time) => {
                message["deliverMillis"] = millis(time).into();
                builder.deliver_at(time)
            }
        };
        let java_s = java.ask("send", message).await;
        sent.push((java_s["msgId"].as_str().unwrap().to_owned(), due));
        let ours = producer.send(builder.build()).await.unwrap();
        assert_eq!(
            ours.recall_handle().is_some(),
            java_s["recallHandle"].is_string()
        );
        sent.push((ours.msg_id().to_owned(), due));
    }
    let received = Received::default();
    let consumer = start(&target, &target.name("ours"), &topic, &received).await;
    java.consume("theirs", &target.name("theirs"), &topic).await;
    wait("both have all", || {
        received.count() >= sent.len() && java.messages().len() >= sent.len()
    })
    .await;
    for (id, due) in &sent {
        let (ours, theirs) = both(id, &received, &java);
        for (field, value) in described(&ours).as_object().unwrap() {
            assert_eq!(*value, theirs[field], "{field} of {theirs}");
        }
        let took = ours.store_timestamp() - ours.born_timestamp();
        assert!(
            took + CLOCKS >= due.least(ours.born_timestamp()),
            "{took} of {theirs}"
        );
    }
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
    java.shutdown().await;
}

#[tokio::test]
async fn either_takes_back_what_the_other_sent() {
    let target = Target::shared().await;
    if target.is_java_4() {
        target.skip("4.9 recalls no messages");
        return;
    }
    let Some(mut java) = Java::start(&target, &[]).await else {
        return;
    };
    let topic = target.topic("crossing_recalls", 1).await;
    let producer = target.producer().await;
    let due = SystemTime::now() + Duration::from_secs(6);
    let message = |body: &[u8]| json!({"topic": topic, "body": hex(body), "flag": 0, "deliverMillis": millis(due)});
    let java_s = java.ask("send", message(b"Java's")).await;
    let ours = Message::builder(&*topic).deliver_at(due).body("ours");
    let ours = producer.send(ours.build()).await.unwrap();
    java.ask("send", message(b"kept")).await;

    let handle = java_s["recallHandle"].as_str().unwrap();
    producer.recall(handle).await.unwrap();
    let handle = json!({"topic": topic, "handle": ours.recall_handle()});
    let id = java.ask("recall", handle).await;
    assert_eq!(id, Value::from(ours.msg_id()));

    let received = Received::default();
    let consumer = start(&target, &target.name("ours"), &topic, &received).await;
    wait("the third came", || received.count() == 1).await;
    assert_eq!(received.bodies(), ["kept".to_owned()].into());
    let marker = producer.send(Message::new(&*topic, "marker")).await;
    assert_eq!(marker.unwrap().queue_offset(), 1, "nothing else came");
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
    java.shutdown().await;
}
