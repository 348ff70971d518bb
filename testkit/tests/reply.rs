//! Replies (324, 325), and handing them to the clients that asked (326).
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::time::Duration;

use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::command::Command;
use rocketmq_sdk::protocol::request::heartbeat::{Heartbeat, HeartbeatBody, ProducerData};
use rocketmq_sdk::protocol::request::push_reply::PushReply;
use rocketmq_sdk::protocol::request::send_message::{SendMessage, SendMessageResponse};
use rocketmq_sdk::protocol::request::send_message_v1::SendMessageV1;
use rocketmq_sdk::protocol::request::send_reply::{SendReply, SendReplyV1};
use rocketmq_sdk::protocol::request::unregister_client::UnregisterClient;
use rocketmq_testkit::Cluster;
use support::{Client, message, pull};

const TOPIC: &str = "DefaultCluster_REPLY_TOPIC";

/// In memory, with tokio's time paused: the clock moves only when it is turned. With a client that asks and one that replies.
async fn cluster() -> (Cluster, Client, Client) {
    let cluster = Cluster::builder()
        .member_expiry(Duration::MAX)
        .in_memory()
        .start()
        .await
        .unwrap();
    let mut asker = Client::broker(&cluster).await;
    asker.heartbeat("asker", &[]).await;
    let replier = Client::broker(&cluster).await;
    (cluster, asker, replier)
}

fn to(client_id: &str) -> String {
    format!("MSG_TYPE\x01reply\x02CORRELATION_ID\x01ID\x02REPLY_TO_CLIENT\x01{client_id}\x02")
}

fn reply(properties: &str) -> SendReply<'_> {
    SendReply(SendMessage {
        flag: 7,
        sys_flag: 0x301,
        ..message(TOPIC, 0, properties)
    })
}

async fn taken(replier: &mut Client, opaque: i32) -> (ResponseCode, Option<String>) {
    let answer: Command = replier.answer(opaque).await;
    let remark = answer.remark.as_ref().map(ToString::to_string);
    (answer.response_code(), remark)
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_handed_to_the_client_that_asked_and_stored() {
    let (_cluster, mut asker, mut replier) = cluster().await;
    let opaque = replier.send(&reply(&to("asker")), b"yes").await;
    let pushed = asker
        .request(RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT)
        .await;
    assert!(!pushed.head.is_oneway());
    let header: PushReply<'_> = pushed.header().unwrap();
    assert_eq!(
        (&*header.topic, header.queue_id, header.flag),
        (TOPIC, 0, 7)
    );
    assert_eq!((header.sys_flag, &pushed.body[..]), (0x301, &b"yes"[..]));
    let properties = header.properties.as_deref().unwrap();
    assert!(properties.starts_with(&to("asker")), "{properties}");
    assert!(properties.contains("PUSH_REPLY_TIME\x01"), "{properties}");
    header.born_host.parse::<std::net::SocketAddr>().unwrap();
    header.store_host.parse::<std::net::SocketAddr>().unwrap();
    asker.respond(&pushed, ResponseCode::SUCCESS).await;
    let answer = replier.answer(opaque).await;
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
    let stored: SendMessageResponse<'_> = answer.header().unwrap();
    assert_eq!((stored.queue_id, stored.queue_offset), (0, 0));
    assert_eq!(
        replier.pull(&pull(TOPIC, 0, 0, "*")).await.bodies(),
        [b"yes"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_form_with_long_names_does_the_same() {
    let (_cluster, mut asker, mut replier) = cluster().await;
    let long = SendReplyV1(SendMessageV1 {
        producer_group: "p".into(),
        topic: TOPIC.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        properties: Some(to("asker").into()),
        ..SendMessageV1::default()
    });
    let opaque = replier.send(&long, b"yes").await;
    let pushed = asker
        .request(RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT)
        .await;
    asker.respond(&pushed, ResponseCode::SUCCESS).await;
    assert_eq!(taken(&mut replier, opaque).await.0, ResponseCode::SUCCESS);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_nobody_takes_is_refused_in_the_words_of_apache() {
    let (cluster, mut asker, mut replier) = cluster().await;
    let failed = Some("push reply message to askerfail.".to_owned());
    // The client says no.
    let opaque = replier.send(&reply(&to("asker")), b"yes").await;
    let pushed = asker
        .request(RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT)
        .await;
    asker.respond(&pushed, ResponseCode::SYSTEM_ERROR).await;
    assert_eq!(
        taken(&mut replier, opaque).await,
        (ResponseCode::SYSTEM_ERROR, failed.clone())
    );
    // It says nothing.
    let opaque = replier.send(&reply(&to("asker")), b"yes").await;
    let pushed = asker
        .request(RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT)
        .await;
    cluster.clock().advance(Duration::from_secs(10));
    assert_eq!(
        taken(&mut replier, opaque).await,
        (ResponseCode::SYSTEM_ERROR, failed.clone())
    );
    // What it says after that changes nothing.
    asker.respond(&pushed, ResponseCode::SUCCESS).await;
    asker.heartbeat("asker", &[]).await;
    // It goes.
    let opaque = replier.send(&reply(&to("asker")), b"yes").await;
    asker
        .request(RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT)
        .await;
    drop(asker);
    assert_eq!(
        taken(&mut replier, opaque).await,
        (ResponseCode::SYSTEM_ERROR, failed)
    );
    for (properties, remark) in [
        (
            to("asker"),
            "push reply message fail, channel of <asker> not found.",
        ),
        (
            to("nobody"),
            "push reply message fail, channel of <nobody> not found.",
        ),
        (
            String::new(),
            "reply message properties[REPLY_TO_CLIENT] is null",
        ),
    ] {
        let opaque = replier.send(&reply(&properties), b"yes").await;
        let expected = (ResponseCode::SYSTEM_ERROR, Some(remark.to_owned()));
        assert_eq!(taken(&mut replier, opaque).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_one_of_its_groups_back_gets_no_reply_as_with_apache() {
    let (_cluster, mut asker, mut replier) = cluster().await;
    let body = HeartbeatBody {
        client_id: "asker".to_owned(),
        producer_data_set: ["producers", "others"]
            .map(|group| ProducerData {
                group_name: group.to_owned(),
            })
            .to_vec(),
        ..HeartbeatBody::default()
    };
    let body = serde_json::to_vec(&body).unwrap();
    asker.ok(&Heartbeat, &body).await;
    let leave = UnregisterClient {
        client_id: "asker".into(),
        producer_group: Some("others".into()),
        ..UnregisterClient::default()
    };
    asker.ok(&leave, b"").await;
    asker.heartbeat("asker", &[]).await;
    let opaque = replier.send(&reply(&to("asker")), b"yes").await;
    assert_eq!(
        taken(&mut replier, opaque).await.0,
        ResponseCode::SYSTEM_ERROR
    );
    // The group that is new again says where the client is.
    asker.ok(&Heartbeat, &body).await;
    let opaque = replier.send(&reply(&to("asker")), b"yes").await;
    let pushed = asker
        .request(RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT)
        .await;
    asker.respond(&pushed, ResponseCode::SUCCESS).await;
    assert_eq!(taken(&mut replier, opaque).await.0, ResponseCode::SUCCESS);
}
