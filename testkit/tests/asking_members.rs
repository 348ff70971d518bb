//! What tools have brokers ask of members: to move their offsets (222, 220), for their offsets (223, 221), and what they do (307).
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::java_json;
use rocketmq_sdk::protocol::message::{MessageQueue, OffsetTable};
use rocketmq_sdk::protocol::request::consumer_offset::UpdateConsumerOffset;
use rocketmq_sdk::protocol::request::consumer_running_info::GetConsumerRunningInfo;
use rocketmq_sdk::protocol::request::consumer_status::{
    ConsumerStatusBody, GetConsumerStatus, InvokeConsumerStatus, MemberOffsets,
};
use rocketmq_sdk::protocol::request::reset_offset::{InvokeResetOffset, ResetOffset};
use rocketmq_testkit::Cluster;
use support::{Client, consumer, message};

/// In memory, with tokio's time paused: the clock moves only when it is turned. With a tool and two members of `g`.
async fn cluster() -> (Cluster, Client, Client, Client) {
    let cluster = Cluster::builder().topic("t", 2).in_memory();
    let cluster = cluster.member_expiry(Duration::MAX).start().await.unwrap();
    let mut members = Vec::new();
    for id in ["a", "b"] {
        let mut member = Client::broker(&cluster).await;
        member
            .heartbeat(id, &[consumer("g", &[("t", "*", 1)])])
            .await;
        members.push(member);
    }
    let (b, a) = (members.pop().unwrap(), members.pop().unwrap());
    let tool = Client::broker(&cluster).await;
    (cluster, tool, a, b)
}

fn queue(queue_id: i32) -> MessageQueue {
    MessageQueue::new("t", "broker-a", queue_id)
}

fn reset(group: &str, topic: &str, timestamp: i64, is_force: bool) -> InvokeResetOffset<'static> {
    InvokeResetOffset {
        topic: topic.to_owned().into(),
        group: group.to_owned().into(),
        timestamp,
        is_force,
        queue_id: None,
        offset: None,
        broker_name: None,
    }
}

async fn commit(tool: &mut Client, queue_id: i32, offset: i64) {
    let commit = UpdateConsumerOffset {
        consumer_group: "g".into(),
        topic: "t".into(),
        queue_id,
        commit_offset: offset,
        broker_name: None,
    };
    tool.ok(&commit, b"").await;
}

#[tokio::test(start_paused = true)]
async fn every_member_is_told_the_offsets_of_a_time() {
    let (cluster, mut tool, mut a, mut b) = cluster().await;
    for _ in 0..3 {
        tool.produce(&message("t", 0, ""), b"old").await;
    }
    cluster.clock().advance(Duration::from_secs(100));
    let now = cluster.clock().now();
    tool.produce(&message("t", 0, ""), b"new").await;
    commit(&mut tool, 0, 1).await;
    commit(&mut tool, 1, 0).await;
    let millis = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    for (timestamp, is_force, expected) in [
        (-1, true, 4),
        (millis, true, 3),
        (0, true, 0),
        // Without force no offset grows.
        (-1, false, 1),
        (0, false, 0),
    ] {
        let answer = tool.ok(&reset("g", "t", timestamp, is_force), b"").await;
        let table = OffsetTable::decode(&answer.body).unwrap();
        assert_eq!(
            table.offset_table,
            BTreeMap::from([(queue(0), expected), (queue(1), 0)])
        );
        for member in [&mut a, &mut b] {
            let order = member
                .request(RequestCode::RESET_CONSUMER_CLIENT_OFFSET)
                .await;
            assert!(order.head.is_oneway());
            assert_eq!(OffsetTable::decode(&order.body).unwrap(), table);
            let header: ResetOffset<'_> = order.header().unwrap();
            assert_eq!((&*header.topic, &*header.group), ("t", "g"));
            assert_eq!(header.timestamp, timestamp);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_reaches_nobody_is_refused() {
    let (_cluster, mut tool, a, b) = cluster().await;
    let code = tool.refused(&reset("g", "nowhere", -1, true), b"").await;
    assert_eq!(code, ResponseCode::TOPIC_NOT_EXIST);
    // Nothing was committed, which is taken for a group that does not exist.
    let code = tool.refused(&reset("g", "t", -1, true), b"").await;
    assert_eq!(code, ResponseCode::SYSTEM_ERROR);
    commit(&mut tool, 0, 1).await;
    commit(&mut tool, 1, 0).await;
    tool.ok(&reset("g", "t", -1, true), b"").await;
    drop((a, b));
    while tool.refused(&reset("g", "t", -1, true), b"").await != ResponseCode::CONSUMER_NOT_ONLINE {
        tokio::task::yield_now().await;
    }
}

fn status(client_id: Option<&str>) -> InvokeConsumerStatus<'_> {
    InvokeConsumerStatus {
        topic: "t".into(),
        group: "g".into(),
        client_id: client_id.map(Into::into),
        broker_name: None,
    }
}

async fn say(member: &mut Client, queue_id: i32, offset: i64) {
    let asked = member
        .request(RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT)
        .await;
    let header: GetConsumerStatus<'_> = asked.header().unwrap();
    assert_eq!((&*header.topic, &*header.group), ("t", "g"));
    let body = ConsumerStatusBody {
        message_queue_table: BTreeMap::from([(queue(queue_id), offset)]),
        ..ConsumerStatusBody::default()
    };
    let body = java_json::to_vec(&body).unwrap();
    member
        .respond_with(&asked, ResponseCode::SUCCESS, &body)
        .await;
}

async fn said(tool: &mut Client, opaque: i32) -> Vec<(String, MemberOffsets)> {
    let answer = tool.answer(opaque).await;
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
    let body: ConsumerStatusBody = java_json::from_slice("status", &answer.body).unwrap();
    body.consumer_table.into_iter().collect()
}

fn offsets(client_id: &str, queue_id: i32, offset: i64) -> (String, MemberOffsets) {
    let offsets = BTreeMap::from([(queue(queue_id), offset)]);
    (client_id.to_owned(), MemberOffsets(offsets))
}

#[tokio::test(start_paused = true)]
async fn members_are_asked_for_their_offsets() {
    let (cluster, mut tool, mut a, mut b) = cluster().await;
    let opaque = tool.send(&status(None), b"").await;
    say(&mut b, 1, 5).await;
    say(&mut a, 0, 4).await;
    assert_eq!(
        said(&mut tool, opaque).await,
        [offsets("a", 0, 4), offsets("b", 1, 5)]
    );
    let opaque = tool.send(&status(Some("b")), b"").await;
    say(&mut b, 1, 6).await;
    assert_eq!(said(&mut tool, opaque).await, [offsets("b", 1, 6)]);
    let opaque = tool.send(&status(Some("nobody")), b"").await;
    assert_eq!(said(&mut tool, opaque).await, []);
    // One that says nothing is left out in the end.
    let opaque = tool.send(&status(None), b"").await;
    say(&mut a, 0, 7).await;
    b.request(RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT)
        .await;
    // Whatever it is, its answer comes behind what was written before.
    commit(&mut a, 0, 0).await;
    cluster.clock().advance(Duration::from_secs(11));
    assert_eq!(said(&mut tool, opaque).await, [offsets("a", 0, 7)]);
    // And one that is gone.
    let opaque = tool.send(&status(None), b"").await;
    say(&mut b, 1, 8).await;
    a.request(RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT)
        .await;
    drop(a);
    assert_eq!(said(&mut tool, opaque).await, [offsets("b", 1, 8)]);
}

fn running_info(client_id: &str) -> GetConsumerRunningInfo<'_> {
    GetConsumerRunningInfo {
        consumer_group: "g".into(),
        client_id: client_id.into(),
        jstack_enable: Some(true),
        broker_name: None,
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_member_says_of_itself_is_handed_on_as_it_is() {
    let (cluster, mut tool, mut a, _b) = cluster().await;
    let opaque = tool.send(&running_info("a"), b"").await;
    let asked = a.request(RequestCode::GET_CONSUMER_RUNNING_INFO).await;
    let header: GetConsumerRunningInfo<'_> = asked.header().unwrap();
    assert_eq!(header, running_info("a"));
    let info = b"{\"mqTable\":{{\"a\":1}:2}}";
    a.respond_with(&asked, ResponseCode::SUCCESS, info).await;
    assert_eq!(&tool.answer(opaque).await.body[..], info);
    let opaque = tool.send(&running_info("a"), b"").await;
    let asked = a.request(RequestCode::GET_CONSUMER_RUNNING_INFO).await;
    a.respond(&asked, ResponseCode::SYSTEM_BUSY).await;
    let code = tool.answer(opaque).await.response_code();
    assert_eq!(code, ResponseCode::SYSTEM_BUSY);
    let code = tool.refused(&running_info("nobody"), b"").await;
    assert_eq!(code, ResponseCode::SYSTEM_ERROR);
    let opaque = tool.send(&running_info("a"), b"").await;
    a.request(RequestCode::GET_CONSUMER_RUNNING_INFO).await;
    cluster.clock().advance(Duration::from_secs(11));
    let code = tool.answer(opaque).await.response_code();
    assert_eq!(code, ResponseCode::CONSUME_MSG_TIMEOUT);
    let opaque = tool.send(&running_info("a"), b"").await;
    a.request(RequestCode::GET_CONSUMER_RUNNING_INFO).await;
    drop(a);
    let code = tool.answer(opaque).await.response_code();
    assert_eq!(code, ResponseCode::SYSTEM_ERROR);
}
