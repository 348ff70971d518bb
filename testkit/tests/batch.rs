//! SEND_BATCH_MESSAGE (320): what Apache RocketMQ 5.4 does with it.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use bytes::BytesMut;
use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::message::{BatchEntry, OffsetMessageId};
use rocketmq_sdk::protocol::request::queue_offset::{GetMaxOffset, QueueOffsetResponse};
use rocketmq_sdk::protocol::request::send_batch::SendBatch;
use rocketmq_sdk::protocol::request::send_message::{SendMessage, SendMessageResponse};
use rocketmq_sdk::protocol::request::view_message::ViewMessage;
use rocketmq_testkit::Cluster;
use support::{Client, message, pull};

fn batch<'a>(topic: &'a str, queue_id: i32, properties: &'a str) -> SendBatch<'a> {
    SendBatch(SendMessage {
        batch: Some(true),
        ..message(topic, queue_id, properties)
    })
}

fn body(messages: &[(&[u8], &str)]) -> Vec<u8> {
    let mut out = BytesMut::new();
    for (flag, (body, properties)) in (7..).zip(messages) {
        let entry = BatchEntry {
            flag,
            body,
            properties,
        };
        entry.encode(&mut out).unwrap();
    }
    out.to_vec()
}

const THREE: [(&[u8], &str); 3] = [
    (b"one", "UNIQ_KEY\x01K1\x02TAGS\x01a\x02"),
    (b"two", "UNIQ_KEY\x01K2\x02"),
    (b"three", "UNIQ_KEY\x01K3\x02TAGS\x01b\x02"),
];

async fn end(client: &mut Client, queue_id: i32) -> i64 {
    let header = GetMaxOffset {
        topic: "t".into(),
        queue_id,
        ..GetMaxOffset::default()
    };
    let answer = client.ok(&header, b"").await;
    answer.header::<QueueOffsetResponse>().unwrap().offset
}

#[tokio::test]
async fn every_message_of_a_batch_is_stored_as_it_is_behind_the_one_before() {
    let cluster = Cluster::builder().topic("t", 2).start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    client.ok(&message("t", 1, ""), b"before").await;
    let sent = batch("t", 1, "UNIQ_KEY\x01BK\x02");
    let answer = client.ok(&sent, &body(&THREE)).await;
    let stored: SendMessageResponse<'_> = answer.header().unwrap();
    assert_eq!((stored.queue_id, stored.queue_offset), (1, 1));
    assert_eq!(stored.transaction_id.as_deref(), Some("BK"));
    let pulled = client.pull(&pull("t", 1, 1, "*")).await.messages;
    assert_eq!(pulled.len(), 3);
    for (at, (id, got)) in stored.msg_id.split(',').zip(&pulled).enumerate() {
        let id: OffsetMessageId = id.parse().unwrap();
        assert_eq!(id.physical_offset, got.physical_offset);
        assert_eq!(got.queue_offset, at as i64 + 1);
        assert_eq!((&got.body[..], got.flag), (THREE[at].0, at as i32 + 7));
        assert_eq!(got.properties.as_str(), THREE[at].1);
        assert_eq!(got.born_timestamp, sent.0.born_timestamp);
        let view = ViewMessage {
            offset: id.physical_offset,
            ..ViewMessage::default()
        };
        assert!(
            client
                .ok(&view, b"")
                .await
                .body
                .ends_with(THREE[at].1.as_bytes())
        );
    }
    // Each has its own tag.
    let tagged = client.pull(&pull("t", 1, 0, "b")).await.messages;
    assert_eq!(tagged.len(), 1);
    assert_eq!(&tagged[0].body[..], b"three");
}

#[tokio::test]
async fn a_batch_goes_to_any_queue_and_makes_its_topic_as_a_message_does() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    let answer = client.ok(&batch("t", -1, ""), &body(&THREE)).await;
    assert_eq!(
        answer.header::<SendMessageResponse<'_>>().unwrap().queue_id,
        0
    );
    client.ok(&batch("made", 0, ""), &body(&THREE)).await;
    // The flag decides, not the code.
    client.ok(&batch("t", 0, "").0, &body(&THREE[..1])).await;
    assert_eq!(end(&mut client, 0).await, 4);
    let plain = SendBatch(message("t", 0, ""));
    client.ok(&plain, b"a single message").await;
    assert_eq!(end(&mut client, 0).await, 5);
}

#[tokio::test]
async fn a_batch_that_is_refused_leaves_nothing() {
    let cluster = Cluster::builder().topic("t", 1).max_message(200);
    let cluster = cluster.start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    let good = body(&THREE);
    let (cut, long) = (&good[..good.len() - 3], body(&[(&[0; 179], "")]));
    for (code, topic, queue_id, properties, body) in [
        (ResponseCode::SYSTEM_ERROR, "t", 0, "", cut),
        (ResponseCode::SYSTEM_ERROR, "t", 0, "", &b""[..]),
        (ResponseCode::SYSTEM_ERROR, "t", 0, "", &long[..]),
        (ResponseCode::INVALID_PARAMETER, "t", 1, "", &good[..]),
        (
            ResponseCode::MESSAGE_ILLEGAL,
            "t",
            0,
            "DELAY\x013\x02",
            &good[..],
        ),
        (ResponseCode::MESSAGE_ILLEGAL, "%RETRY%g", 0, "", &good[..]),
    ] {
        let refused = client
            .refused(&batch(topic, queue_id, properties), body)
            .await;
        assert_eq!(refused, code, "{topic} {properties}");
    }
    client
        .ok(&batch("t", 0, ""), &body(&[(&[0; 178], "")]))
        .await;
    assert_eq!(end(&mut client, 0).await, 1);
}
