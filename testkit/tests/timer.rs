//! Messages that are due at a given time, and taking them back (370). By turning the clock.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::time::{Duration, SystemTime};

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::message::{RecallHandle, StoredMessage};
use rocketmq_sdk::protocol::request::recall_message::{RecallMessage, RecallMessageResponse};
use rocketmq_sdk::protocol::request::send_message::SendMessageResponse;
use rocketmq_testkit::Cluster;
use support::{Client, message, pull};

const DAY: u64 = 24 * 3600;

/// In memory, with tokio's time paused: the clock moves only when it is turned. It begins at the start of a second.
async fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::builder()
        .topic("t", 1)
        .member_expiry(Duration::MAX)
        .recall(true)
        .in_memory()
        .start()
        .await
        .unwrap();
    let past = now(&cluster) % 1000;
    cluster
        .clock()
        .advance(Duration::from_millis((1000 - past) as u64));
    let client = Client::broker(&cluster).await;
    (cluster, client)
}

fn now(cluster: &Cluster) -> i64 {
    let since = cluster.clock().now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_millis() as i64
}

async fn handle(client: &mut Client, properties: &str) -> Option<String> {
    let answer = client.ok(&message("t", 0, properties), b"m").await;
    let header: SendMessageResponse<'_> = answer.header().unwrap();
    header.recall_handle.map(|handle| handle.to_string())
}

async fn all(client: &mut Client) -> Vec<StoredMessage> {
    client.pull(&pull("t", 0, 0, "*")).await.messages
}

fn recall(handle: &str) -> RecallMessage<'_> {
    RecallMessage {
        producer_group: Some("producers".into()),
        topic: "t".into(),
        recall_handle: handle.into(),
        broker_name: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_comes_when_the_second_that_it_is_due_in_is_over_and_never_early() {
    for (property, value) in [
        ("TIMER_DELAY_SEC", 90_i64),
        ("TIMER_DELAY_MS", 89_001),
        ("TIMER_DELIVER_MS", 89_001),
    ] {
        let (cluster, mut client) = cluster().await;
        let start = now(&cluster);
        let value = if property == "TIMER_DELIVER_MS" {
            start + value
        } else {
            value
        };
        handle(
            &mut client,
            &format!("{property}\x01{value}\x02TAGS\x01a\x02"),
        )
        .await;
        cluster.clock().advance(Duration::from_millis(89_999));
        assert!(all(&mut client).await.is_empty(), "{property}");
        cluster.clock().advance(Duration::from_millis(1));
        let got = all(&mut client).await.remove(0);
        let out = (start + 89_000).to_string();
        let (enqueued, dequeued) = (start.to_string(), now(&cluster).to_string());
        for (name, value) in [
            ("TIMER_OUT_MS", &*out),
            ("TIMER_ENQUEUE_MS", &enqueued),
            ("TIMER_DEQUEUE_MS", &dequeued),
            ("REAL_TOPIC", "t"),
            ("REAL_QID", "0"),
            ("TAGS", "a"),
            (property, &value.to_string()),
        ] {
            assert_eq!(got.property(name), Some(value), "{name}");
        }
        let pulled = client.pull(&pull("t", 0, 0, "a")).await;
        assert_eq!(pulled.bodies(), [b"m"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_that_is_past_and_a_level_beside_it_leave_no_timer() {
    let (cluster, mut client) = cluster().await;
    let past = now(&cluster);
    assert_eq!(
        handle(&mut client, &format!("TIMER_DELIVER_MS\x01{past}\x02")).await,
        None
    );
    assert_eq!(all(&mut client).await.len(), 1, "it is there at once");
    assert_eq!(
        handle(&mut client, "DELAY\x012\x02TIMER_DELAY_SEC\x0160\x02").await,
        None
    );
    cluster.clock().advance(Duration::from_secs(5));
    let got = all(&mut client).await.remove(1);
    assert_eq!(got.property("TIMER_DELAY_SEC"), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_time_and_what_is_too_far_away_is_refused() {
    let (_cluster, mut client) = cluster().await;
    let limit = 3 * DAY * 1000;
    handle(&mut client, &format!("TIMER_DELAY_MS\x01{limit}\x02"))
        .await
        .unwrap();
    for properties in [
        format!("TIMER_DELAY_MS\x01{}\x02", limit + 1),
        format!("TIMER_DELAY_SEC\x01{}\x02", i64::MAX),
        format!("TIMER_DELAY_MS\x01{}\x02", i64::MAX),
        "TIMER_DELIVER_MS\x01soon\x02".to_owned(),
        "TIMER_DELIVER_MS\x011\x02TIMER_DEL_UNIQKEY\x01t+x\x02".to_owned(),
    ] {
        let answer = client.call(&message("t", 0, &properties), b"m").await;
        assert_eq!(
            answer.response_code(),
            ResponseCode::MESSAGE_ILLEGAL,
            "{properties}"
        );
        let remark = answer.remark.unwrap().to_string();
        assert!(
            remark.contains("bigger than the max delay 259200000ms"),
            "{remark}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_recalled_message_is_not_delivered_and_others_are() {
    let (cluster, mut client) = cluster().await;
    let due = |id: &str| format!("UNIQ_KEY\x01{id}\x02TIMER_DELAY_MS\x0160000\x02");
    let gone = handle(&mut client, &due("GONE")).await.unwrap();
    handle(&mut client, &due("KEPT")).await.unwrap();
    let answer = client.ok(&recall(&gone), b"").await;
    let header: RecallMessageResponse<'_> = answer.header().unwrap();
    assert_eq!(
        (&*header.msg_id, header.region.as_deref()),
        ("GONE", Some("DefaultRegion"))
    );
    // Again, and one that never was: the broker cannot tell.
    client.ok(&recall(&gone), b"").await;
    cluster.clock().advance(Duration::from_secs(61));
    let got = all(&mut client).await;
    let ids: Vec<_> = got
        .iter()
        .map(|message| message.property("UNIQ_KEY"))
        .collect();
    assert_eq!(ids, [Some("KEPT")]);
    let answer = client.call(&recall(&gone), b"").await;
    assert_eq!(
        answer.remark.as_deref(),
        Some("recall failed, timestamp invalid")
    );
}

#[tokio::test(start_paused = true)]
async fn a_recall_that_cannot_be_is_refused_in_the_words_of_apache() {
    let (cluster, mut client) = cluster().await;
    let handle = |topic: &str, broker: &str, deliver_millis: String, id: &str| {
        let handle = RecallHandle {
            topic: topic.to_owned(),
            broker_name: broker.to_owned(),
            deliver_millis,
            message_id: id.to_owned(),
        };
        handle.encode()
    };
    let soon = (now(&cluster) + 5_000).to_string();
    let far = (now(&cluster) + 3 * DAY as i64 * 1000).to_string();
    let fits = handle("t", "broker-a", soon.clone(), "ID");
    for (request, code, remark) in [
        (
            RecallMessage {
                topic: "u".into(),
                ..recall(&fits)
            },
            ResponseCode::TOPIC_NOT_EXIST,
            "recall failed, the topic[u] not exist",
        ),
        (
            recall("x"),
            ResponseCode::ILLEGAL_OPERATION,
            "recall handle is invalid",
        ),
        (
            recall(&handle("u", "broker-a", soon.clone(), "ID")),
            ResponseCode::ILLEGAL_OPERATION,
            "recall failed, topic not match",
        ),
        (
            recall(&handle("t", "broker-b", soon.clone(), "ID")),
            ResponseCode::ILLEGAL_OPERATION,
            "recall failed, broker service not available",
        ),
        (
            recall(&handle("t", "broker-a", far, "ID")),
            ResponseCode::ILLEGAL_OPERATION,
            "recall failed, timestamp invalid",
        ),
        (
            recall(&handle("t", "broker-a", "soon".to_owned(), "ID")),
            ResponseCode::ILLEGAL_OPERATION,
            "recall failed, timestamp invalid",
        ),
        (
            recall(&handle("t", "broker-a", soon, "I\x02D")),
            ResponseCode::ILLEGAL_OPERATION,
            "recall handle is invalid",
        ),
    ] {
        let answer = client.call(&request, b"").await;
        assert_eq!(
            (answer.response_code(), answer.remark.as_deref()),
            (code, Some(remark))
        );
    }
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    let answer = client.call(&recall(&fits), b"").await;
    assert_eq!(
        (answer.response_code(), answer.remark.as_deref()),
        (
            ResponseCode::NO_PERMISSION,
            Some("recall failed, operation is forbidden")
        )
    );
}
