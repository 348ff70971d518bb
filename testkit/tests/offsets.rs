//! Committed offsets (14, 15) and where a queue begins and ends (29 to 32).
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::time::{Duration, SystemTime};

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::request::consumer_offset::{
    QueryConsumerOffset, QueryConsumerOffsetResponse, UpdateConsumerOffset,
};
use rocketmq_sdk::protocol::request::pull_message::{PullMessage, PullSysFlag};
use rocketmq_sdk::protocol::request::queue_offset::{
    GetEarliestStoreTime, GetMaxOffset, GetMinOffset, QueueOffsetResponse, SearchOffset,
    StoreTimeResponse,
};
use rocketmq_sdk::protocol::request::subscription_group::DeleteGroup;
use rocketmq_sdk::protocol::request::view_message::ViewMessage;
use rocketmq_testkit::Cluster;
use support::{Client, consumer, message, pull};

async fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::builder()
        .topic("t", 4)
        .store_limit(8192)
        .start()
        .await
        .unwrap();
    let mut client = Client::broker(&cluster).await;
    client
        .heartbeat("c", &[consumer("g", &[("t", "*", 1)])])
        .await;
    (cluster, client)
}

fn query(queue_id: i32, set_zero_if_not_found: Option<bool>) -> QueryConsumerOffset<'static> {
    QueryConsumerOffset {
        consumer_group: "g".into(),
        topic: "t".into(),
        queue_id,
        set_zero_if_not_found,
        broker_name: None,
    }
}

fn commit(group: &str, topic: &str, queue_id: i32, offset: i64) -> UpdateConsumerOffset<'static> {
    UpdateConsumerOffset {
        consumer_group: group.to_owned().into(),
        topic: topic.to_owned().into(),
        queue_id,
        commit_offset: offset,
        broker_name: None,
    }
}

async fn committed(client: &mut Client, queue_id: i32) -> i64 {
    let answer = client.ok(&query(queue_id, Some(false)), b"").await;
    answer
        .header::<QueryConsumerOffsetResponse>()
        .unwrap()
        .offset
}

#[tokio::test]
async fn the_last_commit_counts() {
    let (_cluster, mut client) = cluster().await;
    for offset in [7, 3] {
        client.ok(&commit("g", "t", 1, offset), b"").await;
        assert_eq!(committed(&mut client, 1).await, offset);
    }
    use ResponseCode as Code;
    let cases = [
        (
            commit("nobody", "t", 1, 1),
            Code::SUBSCRIPTION_GROUP_NOT_EXIST,
        ),
        (commit("g", "nothing", 1, 1), Code::TOPIC_NOT_EXIST),
        (commit("g", "t", 4, 1), Code::INVALID_PARAMETER),
        (commit("g", "t", -1, 1), Code::INVALID_PARAMETER),
    ];
    for (header, code) in cases {
        assert_eq!(client.refused(&header, b"").await, code, "{header:?}");
    }
}

#[tokio::test]
async fn a_pull_commits_along() {
    let (_cluster, mut client) = cluster().await;
    let request = PullMessage {
        consumer_group: "g".into(),
        sys_flag: PullSysFlag::SUBSCRIPTION | PullSysFlag::COMMIT_OFFSET,
        commit_offset: 5,
        ..pull("t", 2, 0, "*")
    };
    client.pull(&request).await;
    assert_eq!(committed(&mut client, 2).await, 5);
}

#[tokio::test]
async fn a_new_group_starts_at_0_where_the_first_message_is_still_there() {
    let (_cluster, mut client) = cluster().await;
    // An empty queue.
    let code = client.refused(&query(0, None), b"").await;
    assert_eq!(code, ResponseCode::QUERY_NOT_FOUND);
    client.produce(&message("t", 0, ""), &[0; 1000]).await;
    for zero in [None, Some(true)] {
        let answer = client.ok(&query(0, zero), b"").await;
        let found: QueryConsumerOffsetResponse = answer.header().unwrap();
        assert_eq!(found.offset, 0);
    }
    let code = client.refused(&query(0, Some(false)), b"").await;
    assert_eq!(code, ResponseCode::QUERY_NOT_FOUND);
    // The first message is gone.
    for _ in 0..20 {
        client.produce(&message("t", 0, ""), &[0; 1000]).await;
    }
    let code = client.refused(&query(0, None), b"").await;
    assert_eq!(code, ResponseCode::QUERY_NOT_FOUND);
}

#[tokio::test]
async fn the_ends_of_a_queue_and_the_message_at_a_time() {
    let (cluster, mut client) = cluster().await;
    let millis = |time: SystemTime| {
        i64::try_from(
            time.duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_millis(),
        )
        .unwrap()
    };
    let start = millis(cluster.clock().now());
    for _ in 0..4 {
        cluster.clock().advance(Duration::from_secs(10));
        client.produce(&message("t", 0, ""), b"m").await;
    }
    for (topic, queue_id, min, max) in [("t", 0, 0, 4), ("t", 3, 0, 0), ("u", 0, 0, 0)] {
        let lowest = GetMinOffset {
            topic: topic.into(),
            queue_id,
            broker_name: None,
        };
        let highest = GetMaxOffset {
            topic: topic.into(),
            queue_id,
            broker_name: None,
        };
        let answer = client.ok(&lowest, b"").await;
        assert_eq!(answer.header::<QueueOffsetResponse>().unwrap().offset, min);
        let answer = client.ok(&highest, b"").await;
        assert_eq!(answer.header::<QueueOffsetResponse>().unwrap().offset, max);
    }

    let mut earliest = GetEarliestStoreTime {
        topic: "t".into(),
        queue_id: 0,
        broker_name: None,
    };
    let answer = client.ok(&earliest, b"").await;
    let first = answer.header::<StoreTimeResponse>().unwrap().timestamp;
    assert!((start + 10_000..start + 20_000).contains(&first));
    earliest.queue_id = 1;
    let answer = client.ok(&earliest, b"").await;
    assert_eq!(answer.header::<StoreTimeResponse>().unwrap().timestamp, -1);

    // Between the second and the third message; before and after all.
    for (timestamp, lower, upper) in [(first + 15_000, 2, 1), (0, 0, 0), (first + 90_000, 4, 3)] {
        for (boundary, offset) in [
            (None, lower),
            (Some("lower"), lower),
            (Some("upper"), upper),
        ] {
            let search = SearchOffset {
                topic: "t".into(),
                queue_id: 0,
                timestamp,
                boundary_type: boundary.map(Into::into),
                broker_name: None,
            };
            let answer = client.ok(&search, b"").await;
            let found: QueueOffsetResponse = answer.header().unwrap();
            assert_eq!(found.offset, offset, "{timestamp} {boundary:?}");
        }
    }
}

#[tokio::test]
async fn a_message_that_is_not_there_cannot_be_viewed() {
    let (_cluster, mut client) = cluster().await;
    client.produce(&message("t", 0, ""), b"m").await;
    for offset in [-1, 1, i64::MAX] {
        let view = ViewMessage {
            offset,
            ..ViewMessage::default()
        };
        assert_eq!(client.refused(&view, b"").await, ResponseCode::SYSTEM_ERROR);
    }
}

#[tokio::test]
async fn a_group_that_is_deleted_takes_its_offsets_along_if_asked_by_either_name() {
    for (clean_offset, remove_offset, left) in [
        (None, None, true),
        (Some(false), None, true),
        (Some(true), None, false),
        (None, Some(true), false),
    ] {
        let (_cluster, mut client) = cluster().await;
        client.ok(&commit("g", "t", 0, 7), b"").await;
        let delete = DeleteGroup {
            group_name: "g".into(),
            clean_offset,
            remove_offset,
        };
        client.ok(&delete, b"").await;
        if left {
            assert_eq!(committed(&mut client, 0).await, 7);
        } else {
            let code = client.refused(&query(0, Some(false)), b"").await;
            assert_eq!(code, ResponseCode::QUERY_NOT_FOUND);
        }
    }
}
