//! PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361): what is read, what is held and until when.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::time::Duration;

use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::request::create_topic::CreateTopic;
use rocketmq_sdk::protocol::request::pull_message::{PullMessage, PullSysFlag};
use rocketmq_sdk::protocol::request::subscription_group::{GroupConfig, PutGroup};
use rocketmq_testkit::Cluster;
use support::{Client, Pulled, consumer, held_pull, message, pull};

const A: &str = "TAGS\x01a\x02";
const B: &str = "TAGS\x01b\x02";

/// Whose members stay, however far the clock is turned.
async fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::builder()
        .topic("t", 4)
        .member_expiry(Duration::MAX)
        .start()
        .await
        .unwrap();
    let client = Client::broker(&cluster).await;
    (cluster, client)
}

#[tokio::test]
async fn an_offset_outside_the_queue_is_corrected() {
    let (_cluster, mut client) = cluster().await;
    use ResponseCode as Code;
    let expect = |pulled: Pulled, code, next| {
        assert_eq!((pulled.code, pulled.next), (code, next));
        assert!(pulled.messages.is_empty());
    };
    // An empty queue.
    expect(
        client.pull(&pull("t", 0, 0, "*")).await,
        Code::PULL_NOT_FOUND,
        0,
    );
    expect(
        client.pull(&pull("t", 0, 5, "*")).await,
        Code::PULL_OFFSET_MOVED,
        0,
    );
    for _ in 0..3 {
        client.produce(&message("t", 0, ""), b"m").await;
    }
    expect(
        client.pull(&pull("t", 0, 3, "*")).await,
        Code::PULL_NOT_FOUND,
        3,
    );
    expect(
        client.pull(&pull("t", 0, 9, "*")).await,
        Code::PULL_OFFSET_MOVED,
        3,
    );
    expect(
        client.pull(&pull("t", 0, -1, "*")).await,
        Code::PULL_OFFSET_MOVED,
        0,
    );
}

#[tokio::test]
async fn what_the_store_has_dropped_is_an_offset_that_is_too_small() {
    let cluster = Cluster::builder()
        .topic("t", 1)
        .store_limit(4096)
        .start()
        .await
        .unwrap();
    let mut client = Client::broker(&cluster).await;
    for _ in 0..10 {
        client.produce(&message("t", 0, ""), &[0; 1000]).await;
    }
    let pulled = client.pull(&pull("t", 0, 0, "*")).await;
    assert_eq!(pulled.code, ResponseCode::PULL_OFFSET_MOVED);
    assert_eq!((pulled.next, pulled.min, pulled.max), (7, 7, 10));
    let pulled = client.pull(&pull("t", 0, 7, "*")).await;
    assert_eq!((pulled.messages.len(), pulled.next), (3, 10));
}

#[tokio::test]
async fn a_pull_gets_a_bounded_number_of_messages_and_bytes() {
    let (_cluster, mut client) = cluster().await;
    for _ in 0..40 {
        client.produce(&message("t", 0, ""), b"m").await;
    }
    let asked = |max_msg_nums, max_msg_bytes| PullMessage {
        max_msg_nums,
        max_msg_bytes,
        ..pull("t", 0, 0, "*")
    };
    for (count, bytes, got) in [
        (1, None, 1),
        (32, None, 32),
        (1024, None, 32),
        (32, Some(1), 1),
    ] {
        let pulled = client.pull(&asked(count, bytes)).await;
        assert_eq!(
            (pulled.messages.len(), pulled.next),
            (got, got as i64),
            "{count} {bytes:?}"
        );
    }
    // The first message goes whatever its size; the next one has to fit.
    for _ in 0..3 {
        client.produce(&message("t", 1, ""), &[0; 150_000]).await;
    }
    client.produce(&message("t", 2, ""), &[0; 1_000_000]).await;
    assert_eq!(client.pull(&pull("t", 1, 0, "*")).await.messages.len(), 1);
    assert_eq!(client.pull(&pull("t", 2, 0, "*")).await.messages.len(), 1);
}

#[tokio::test]
async fn only_messages_with_the_tags_asked_for_come() {
    let (_cluster, mut client) = cluster().await;
    for (body, properties) in [("1", A), ("2", B), ("3", ""), ("4", A)] {
        client
            .produce(&message("t", 0, properties), body.as_bytes())
            .await;
    }
    let cases = [("a", "14"), ("b || a", "124"), ("*", "1234"), ("", "1234")];
    for (expression, expected) in cases {
        let pulled = client.pull(&pull("t", 0, 0, expression)).await;
        let bodies = String::from_utf8(pulled.bodies().concat()).unwrap();
        assert_eq!(
            (bodies.as_str(), pulled.next),
            (expected, 4),
            "{expression}"
        );
    }
    let pulled = client.pull(&pull("t", 0, 1, "c")).await;
    assert_eq!(pulled.code, ResponseCode::PULL_RETRY_IMMEDIATELY);
    assert_eq!(pulled.next, 4);
    let code = client.refused(&pull("t", 0, 0, "||"), b"").await;
    assert_eq!(code, ResponseCode::SUBSCRIPTION_PARSE_FAILED);
}

#[tokio::test]
async fn without_an_expression_the_heartbeats_subscription_counts() {
    let (_cluster, mut client) = cluster().await;
    client.produce(&message("t", 0, A), b"m").await;
    let by_heartbeat = |sub_version| PullMessage {
        sys_flag: 0,
        subscription: None,
        sub_version,
        ..pull("t", 0, 0, "")
    };
    use ResponseCode as Code;
    // Nobody is in the group; then nobody reads the topic; then an older and a newer subscription.
    assert_eq!(
        client.refused(&by_heartbeat(7), b"").await,
        Code::SUBSCRIPTION_NOT_EXIST
    );
    client
        .heartbeat("c", &[consumer("consumers", &[("u", "*", 7)])])
        .await;
    assert_eq!(
        client.refused(&by_heartbeat(7), b"").await,
        Code::SUBSCRIPTION_NOT_EXIST
    );
    client
        .heartbeat("c", &[consumer("consumers", &[("t", "*", 6)])])
        .await;
    assert_eq!(
        client.refused(&by_heartbeat(7), b"").await,
        Code::SUBSCRIPTION_NOT_LATEST
    );
    client
        .heartbeat("c", &[consumer("consumers", &[("t", "*", 7)])])
        .await;
    assert_eq!(client.pull(&by_heartbeat(7)).await.bodies(), [b"m"]);
    assert_eq!(client.pull(&by_heartbeat(3)).await.bodies(), [b"m"]);

    // The hashes are the client's: here those of no tag at all.
    let mut none = consumer("consumers", &[("t", "a", 8)]);
    client.heartbeat("c", std::slice::from_ref(&none)).await;
    assert_eq!(
        client.pull(&by_heartbeat(8)).await.code,
        Code::PULL_RETRY_IMMEDIATELY
    );
    none.subscription_data_set[0].code_set = vec![97];
    none.subscription_data_set[0].sub_version = 9;
    client.heartbeat("c", &[none]).await;
    assert_eq!(client.pull(&by_heartbeat(9)).await.bodies(), [b"m"]);
}

#[tokio::test]
async fn what_may_not_be_read_is_refused() {
    let (_cluster, mut client) = cluster().await;
    let create = CreateTopic {
        topic: "write-only".into(),
        default_topic: "TBW102".into(),
        read_queue_nums: 1,
        write_queue_nums: 1,
        perm: 2,
        topic_filter_type: "SINGLE_TAG".into(),
        ..CreateTopic::default()
    };
    client.ok(&create, b"").await;
    let group = GroupConfig {
        group_name: "idle".to_owned(),
        consume_enable: false,
        ..GroupConfig::default()
    };
    client
        .ok(&PutGroup, &serde_json::to_vec(&group).unwrap())
        .await;
    let of_group = |group: &'static str| PullMessage {
        consumer_group: group.into(),
        ..pull("t", 0, 0, "*")
    };
    let sql = PullMessage {
        expression_type: Some("SQL92".into()),
        ..pull("t", 0, 0, "a > 1")
    };
    use ResponseCode as Code;
    let cases = [
        (pull("t", 4, 0, "*"), Code::INVALID_PARAMETER),
        (pull("t", -1, 0, "*"), Code::INVALID_PARAMETER),
        (pull("u", 0, 0, "*"), Code::TOPIC_NOT_EXIST),
        (pull("write-only", 0, 0, "*"), Code::NO_PERMISSION),
        (of_group("idle"), Code::NO_PERMISSION),
        (of_group("a b"), Code::SUBSCRIPTION_GROUP_NOT_EXIST),
        (sql, Code::SYSTEM_ERROR),
    ];
    for (header, code) in cases {
        assert_eq!(client.refused(&header, b"").await, code, "{header:?}");
    }
}

#[tokio::test]
async fn a_pull_of_a_lite_consumer_is_the_same() {
    let (_cluster, mut client) = cluster().await;
    client.produce(&message("t", 0, ""), b"m").await;
    let request = pull("t", 0, 0, "*");
    let opaque = client
        .send_code(RequestCode::LITE_PULL_MESSAGE, &request, b"")
        .await;
    let pulled = Pulled::from(client.answer(opaque).await);
    assert_eq!(pulled.bodies(), [b"m"]);
}

#[tokio::test]
async fn a_held_pull_ends_with_a_message_that_matches_and_not_with_another() {
    let (cluster, mut client) = cluster().await;
    let mut producer = Client::broker(&cluster).await;
    let held = client.send(&held_pull("t", 0, 0, "a", 60_000), b"").await;
    let other_queue = client.send(&held_pull("t", 1, 0, "*", 60_000), b"").await;
    assert!(client.is_quiet().await, "both pulls are held");
    producer.produce(&message("t", 0, B), b"b").await;
    assert!(client.is_quiet().await, "the message does not match");
    producer.produce(&message("t", 0, A), b"a").await;
    let pulled = Pulled::from(client.answer(held).await);
    assert_eq!((pulled.bodies(), pulled.next), (vec![&b"a"[..]], 2));
    assert!(
        client.is_quiet().await,
        "the other queue's pull is still held"
    );
    producer.produce(&message("t", 1, ""), b"c").await;
    assert_eq!(
        Pulled::from(client.answer(other_queue).await).bodies(),
        [b"c"]
    );
}

#[tokio::test]
async fn every_pull_that_waits_for_a_queue_gets_the_message() {
    let (cluster, mut client) = cluster().await;
    let mut other = Client::broker(&cluster).await;
    let first = client.send(&held_pull("t", 0, 0, "*", 60_000), b"").await;
    let second = other.send(&held_pull("t", 0, 0, "*", 60_000), b"").await;
    assert!(client.is_quiet().await && other.is_quiet().await);
    client.produce(&message("t", 0, ""), b"m").await;
    assert_eq!(Pulled::from(client.answer(first).await).bodies(), [b"m"]);
    assert_eq!(Pulled::from(other.answer(second).await).bodies(), [b"m"]);
}

#[tokio::test]
async fn a_held_pull_ends_when_its_time_is_over() {
    let (cluster, mut client) = cluster().await;
    let held = client
        .send(&held_pull("t", 0, 0, "*", 3_600_000), b"")
        .await;
    assert!(client.is_quiet().await);
    cluster.clock().advance(Duration::from_secs(3_500));
    assert!(client.is_quiet().await);
    cluster.clock().advance(Duration::from_secs(100));
    let pulled = Pulled::from(client.answer(held).await);
    assert_eq!(
        (pulled.code, pulled.next),
        (ResponseCode::PULL_NOT_FOUND, 0)
    );
}

#[tokio::test]
async fn a_held_pull_hears_of_messages_that_do_not_match_after_a_while() {
    let (cluster, mut client) = cluster().await;
    let held = client
        .send(&held_pull("t", 0, 0, "a", 3_600_000), b"")
        .await;
    assert!(client.is_quiet().await);
    client.produce(&message("t", 0, B), b"b").await;
    cluster.clock().advance(Duration::from_secs(5));
    let pulled = Pulled::from(client.answer(held).await);
    assert_eq!(
        (pulled.code, pulled.next),
        (ResponseCode::PULL_RETRY_IMMEDIATELY, 1)
    );
}

#[tokio::test]
async fn a_pull_without_the_flag_or_without_time_is_not_held() {
    let (_cluster, mut client) = cluster().await;
    for suspend_millis in [0, -5] {
        let pulled = client
            .pull(&held_pull("t", 0, 0, "*", suspend_millis))
            .await;
        assert_eq!(pulled.code, ResponseCode::PULL_NOT_FOUND);
    }
    let unflagged = PullMessage {
        sys_flag: PullSysFlag::SUBSCRIPTION,
        ..held_pull("t", 0, 0, "*", 60_000)
    };
    assert_eq!(
        client.pull(&unflagged).await.code,
        ResponseCode::PULL_NOT_FOUND
    );
}
