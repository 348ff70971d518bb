//! Messages that come later: delay levels, messages sent back (36), dead letters. By turning the clock.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::time::Duration;

use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::message::{OffsetMessageId, StoredMessage};
use rocketmq_sdk::protocol::request::send_back::SendBack;
use rocketmq_sdk::protocol::request::send_message::SendMessage;
use rocketmq_testkit::Cluster;
use support::{Client, Pulled, consumer, held_pull, message, pull};

/// In memory, with tokio's time paused: the clock moves only when it is turned.
async fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::builder()
        .topic("t", 1)
        .member_expiry(Duration::MAX)
        .in_memory()
        .start()
        .await
        .unwrap();
    let mut client = Client::broker(&cluster).await;
    client
        .heartbeat("c", &[consumer("g", &[("t", "*", 1)])])
        .await;
    client
        .request(RequestCode::NOTIFY_CONSUMER_IDS_CHANGED)
        .await;
    (cluster, client)
}

fn back(message: &StoredMessage, delay_level: i32) -> SendBack<'static> {
    SendBack {
        offset: message.physical_offset,
        group: "g".into(),
        delay_level,
        origin_topic: Some("t".into()),
        ..SendBack::default()
    }
}

async fn only_message(client: &mut Client, topic: &str, offset: i64) -> StoredMessage {
    let mut pulled = client.pull(&pull(topic, 0, offset, "*")).await;
    assert_eq!(pulled.messages.len(), 1, "{pulled:?}");
    pulled.messages.remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_delayed_message_arrives_when_its_level_is_over() {
    let (cluster, mut client) = cluster().await;
    let sent = message("t", 0, "DELAY\x013\x02TAGS\x01a\x02");
    client.produce(&sent, b"m").await;
    let held = client
        .send(&held_pull("t", 0, 0, "a", 3_600_000), b"")
        .await;
    cluster.clock().advance(Duration::from_secs(5));
    assert!(client.is_quiet().await, "level 3 is 10 s");
    cluster.clock().advance(Duration::from_secs(5));
    let got = Pulled::from(client.answer(held).await).messages.remove(0);
    assert_eq!(
        (&got.body[..], got.queue_offset, got.queue_id),
        (&b"m"[..], 0, 0)
    );
    for (name, value) in [
        ("DELAY", "3"),
        ("REAL_TOPIC", "t"),
        ("REAL_QID", "0"),
        ("TAGS", "a"),
    ] {
        assert_eq!(got.property(name), Some(value), "{name}");
    }
    assert!(got.store_timestamp - sent.born_timestamp > 10_000);
}

#[tokio::test(start_paused = true)]
async fn every_level_has_its_delay() {
    let delays = [
        1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200,
    ];
    let (cluster, mut client) = cluster().await;
    // The highest first, and one more: it is taken for the highest.
    for level in (1..=19).rev() {
        let properties = format!("DELAY\x01{level}\x02");
        client
            .produce(&message("t", 0, &properties), &[level])
            .await;
    }
    let mut now = Duration::ZERO;
    for (level, delay) in (1_u8..).zip(delays.map(Duration::from_secs)) {
        let offset = i64::from(level) - 1;
        cluster
            .clock()
            .advance(delay - now - Duration::from_millis(1));
        let early = client.pull(&pull("t", 0, offset, "*")).await;
        assert!(early.messages.is_empty(), "level {level}");
        cluster.clock().advance(Duration::from_millis(1));
        let pulled = client.pull(&pull("t", 0, offset, "*")).await;
        let expected: &[&[u8]] = if level == 18 {
            &[&[19], &[18]]
        } else {
            &[&[level]]
        };
        assert_eq!(pulled.bodies(), expected, "level {level}");
        now = delay;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_sent_back_comes_again_and_becomes_a_dead_letter() {
    let (cluster, mut client) = cluster().await;
    client
        .produce(&message("t", 0, "UNIQ_KEY\x01ABC\x02"), b"m")
        .await;
    let first = only_message(&mut client, "t", 0).await;
    let origin = OffsetMessageId {
        host: first.store_host,
        physical_offset: first.physical_offset,
    };
    let mut last = first.clone();
    let delays = [
        10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200,
    ];
    for (times, delay) in (1..).zip(delays) {
        client.ok(&back(&last, 0), b"").await;
        cluster.clock().advance(Duration::from_secs(delay - 1));
        let early = client.pull(&pull("%RETRY%g", 0, times - 1, "*")).await;
        assert!(early.messages.is_empty(), "try {times}");
        cluster.clock().advance(Duration::from_secs(1));
        last = only_message(&mut client, "%RETRY%g", times - 1).await;
        assert_eq!(i64::from(last.reconsume_times), times);
        assert_eq!(&last.body[..], b"m");
        assert_eq!(
            (last.born_timestamp, last.born_host),
            (first.born_timestamp, first.born_host)
        );
        assert_eq!(last.property("RETRY_TOPIC"), Some("t"));
        assert_eq!(
            last.property("ORIGIN_MESSAGE_ID"),
            Some(&*origin.to_string())
        );
        assert_eq!(last.property("UNIQ_KEY"), Some("ABC"));
    }
    client.ok(&back(&last, 0), b"").await;
    let dead = only_message(&mut client, "%DLQ%g", 0).await;
    assert_eq!(dead.reconsume_times, 17);
    for (name, value) in [
        ("RETRY_TOPIC", "t"),
        ("ORIGIN_MESSAGE_ID", &*origin.to_string()),
    ] {
        assert_eq!(dead.property(name), Some(value), "{name}");
    }
    assert_eq!(dead.property("DLQ_ORIGIN_TOPIC"), None);
    let mut names = Client::connect(&cluster, cluster.name_server_addr()).await;
    let route = names.route("%DLQ%g").await;
    assert_eq!(
        (
            route.queue_datas[0].perm,
            route.queue_datas[0].read_queue_nums
        ),
        (6, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn the_consumer_may_choose_the_level_or_the_dead_letters() {
    let (cluster, mut client) = cluster().await;
    client.produce(&message("t", 0, ""), b"m").await;
    let got = only_message(&mut client, "t", 0).await;
    client.ok(&back(&got, 1), b"").await;
    cluster.clock().advance(Duration::from_secs(1));
    let again = only_message(&mut client, "%RETRY%g", 0).await;
    assert_eq!(again.property("DELAY"), Some("1"));
    client.ok(&back(&got, -1), b"").await;
    assert_eq!(
        only_message(&mut client, "%DLQ%g", 0).await.reconsume_times,
        1
    );
    let impatient = SendBack {
        max_reconsume_times: Some(1),
        ..back(&again, 0)
    };
    client.ok(&impatient, b"").await;
    assert_eq!(
        only_message(&mut client, "%DLQ%g", 1).await.reconsume_times,
        2
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_cannot_be_sent_back() {
    let (_cluster, mut client) = cluster().await;
    client.produce(&message("t", 0, ""), b"m").await;
    let got = only_message(&mut client, "t", 0).await;
    let nowhere = SendBack {
        offset: 1,
        ..back(&got, 0)
    };
    assert_eq!(
        client.refused(&nowhere, b"").await,
        ResponseCode::SYSTEM_ERROR
    );
    let nobody = SendBack {
        group: "a b".into(),
        ..back(&got, 0)
    };
    let code = client.refused(&nobody, b"").await;
    assert_eq!(code, ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_a_consumer_sends_to_its_retry_topic_too_often_becomes_a_dead_letter() {
    let (cluster, mut client) = cluster().await;
    let retry = |times| SendMessage {
        reconsume_times: Some(times),
        max_reconsume_times: Some(2),
        ..message("%RETRY%g", 0, "DELAY\x014\x02RETRY_TOPIC\x01t\x02")
    };
    client.produce(&retry(2), b"again").await;
    client.produce(&retry(3), b"dead").await;
    assert_eq!(
        &only_message(&mut client, "%DLQ%g", 0).await.body[..],
        b"dead"
    );
    cluster.clock().advance(Duration::from_secs(30));
    assert_eq!(
        &only_message(&mut client, "%RETRY%g", 0).await.body[..],
        b"again"
    );
}
