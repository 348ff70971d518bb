//! SEND_MESSAGE (10, 310): where a message goes, and what is refused.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::command::Serialization;
use rocketmq_sdk::protocol::message::OffsetMessageId;
use rocketmq_sdk::protocol::request::send_message::{SendMessage, SendMessageResponse};
use rocketmq_sdk::protocol::request::send_message_v1::SendMessageV1;
use rocketmq_sdk::protocol::request::view_message::ViewMessage;
use rocketmq_testkit::{AnswerFormat, Cluster};
use support::{Client, message, pull};

#[tokio::test]
async fn a_message_can_be_pulled_as_it_was_sent() {
    for serialization in [Serialization::Binary, Serialization::Json] {
        let cluster = Cluster::builder().topic("t", 2).start().await.unwrap();
        let mut client = Client::broker(&cluster).await;
        client.serialization = serialization;
        let sent = SendMessage {
            flag: 7,
            ..message("t", 1, "KEYS\x01k\x02TAGS\x01TagA\x02UNIQ_KEY\x01ABC\x02")
        };
        let answer = client.ok(&sent, b"hello").await;
        assert_eq!(answer.serialization(), serialization);
        let stored: SendMessageResponse<'_> = answer.header().unwrap();
        assert_eq!((stored.queue_id, stored.queue_offset), (1, 0));
        assert_eq!(stored.transaction_id.as_deref(), Some("ABC"));
        assert_eq!(stored.trace_on, Some(true));

        let pulled = client.pull(&pull("t", 1, 0, "*")).await;
        let [got] = &pulled.messages[..] else {
            panic!("{pulled:?}")
        };
        assert_eq!(
            (&got.body[..], got.flag, got.queue_id),
            (&b"hello"[..], 7, 1)
        );
        assert_eq!((got.queue_offset, got.reconsume_times), (0, 0));
        assert_eq!(got.born_timestamp, sent.born_timestamp);
        let expected = [
            ("KEYS", "k"),
            ("TAGS", "TagA"),
            ("UNIQ_KEY", "ABC"),
            ("MSG_REGION", "DefaultRegion"),
            ("TRACE_ON", "true"),
            ("CLUSTER", "DefaultCluster"),
        ];
        for (name, value) in expected {
            assert_eq!(got.property(name), Some(value), "{name}");
        }
        let id: OffsetMessageId = stored.msg_id.parse().unwrap();
        assert_eq!(id.host.to_string(), cluster.broker("broker-a").addr());
        assert_eq!(id.physical_offset, got.physical_offset);
        let view = ViewMessage {
            offset: id.physical_offset,
            ..ViewMessage::default()
        };
        assert!(
            client
                .ok(&view, b"")
                .await
                .body
                .ends_with(got.properties.as_bytes())
        );
    }
}

#[tokio::test]
async fn a_broker_can_be_told_to_answer_in_json() {
    let cluster = Cluster::builder()
        .topic("t", 1)
        .answers(AnswerFormat::Json)
        .start()
        .await
        .unwrap();
    let mut client = Client::broker(&cluster).await;
    let answer = client.ok(&message("t", 0, ""), b"m").await;
    assert_eq!(answer.serialization(), Serialization::Json);
    let mut client = Client::connect(&cluster, cluster.name_server_addr()).await;
    let answer = client.ok(&support::route("t"), b"").await;
    assert_eq!(answer.serialization(), Serialization::Json);
}

#[tokio::test]
async fn the_form_with_long_names_does_the_same() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    let long = SendMessageV1 {
        producer_group: "p".into(),
        topic: "t".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        properties: Some("TAGS\x01a".into()),
        ..SendMessageV1::default()
    };
    client.ok(&long, b"m").await;
    let pulled = client.pull(&pull("t", 0, 0, "a")).await;
    assert_eq!(pulled.bodies(), [b"m"]);
    let unique = pulled.messages[0].property("UNIQ_KEY").unwrap();
    assert_eq!(unique.len(), 32, "made by the broker");
}

#[tokio::test]
async fn the_first_message_creates_its_topic_and_the_route_is_there_with_the_answer() {
    let cluster = Cluster::start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    let mut names = Client::connect(&cluster, cluster.name_server_addr()).await;
    for (asked, got) in [(4, 4), (99, 8)] {
        let topic = format!("new-{asked}");
        let first = SendMessage {
            default_topic_queue_nums: asked,
            ..message(&topic, 0, "")
        };
        client.ok(&first, b"m").await;
        let route = names.route(&topic).await;
        assert_eq!(route.queue_datas[0].write_queue_nums, got);
        assert_eq!(route.queue_datas[0].perm, 6);
    }
}

#[tokio::test]
async fn a_topic_is_not_created_where_that_is_not_wanted() {
    let cluster = Cluster::builder().auto_create(false).start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    let code = client.refused(&message("t", 0, ""), b"m").await;
    assert_eq!(code, ResponseCode::TOPIC_NOT_EXIST);
}

#[tokio::test]
async fn a_queue_left_to_the_broker_is_any_of_the_topic() {
    let cluster = Cluster::builder().topic("t", 3).start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..9 {
        seen.insert(client.produce(&message("t", -1, ""), b"m").await.0);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_and_the_connection_goes_on() {
    let cluster = Cluster::builder().topic("t", 2).start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    let long_name = "x".repeat(128);
    let properties = format!("k\x01{}\x02", "v".repeat(32_767));
    let large = vec![0; 4 * 1024 * 1024 + 1];
    let cases = [
        (
            message("t", 2, ""),
            &b"m"[..],
            ResponseCode::INVALID_PARAMETER,
        ),
        (message("a b", 0, ""), b"m", ResponseCode::INVALID_PARAMETER),
        (
            message("../../x", 0, ""),
            b"m",
            ResponseCode::INVALID_PARAMETER,
        ),
        (
            message(&long_name, 0, ""),
            b"m",
            ResponseCode::INVALID_PARAMETER,
        ),
        (
            message("SCHEDULE_TOPIC_XXXX", 0, ""),
            b"m",
            ResponseCode::NO_PERMISSION,
        ),
        (message("t", 0, ""), b"", ResponseCode::MESSAGE_ILLEGAL),
        (message("t", 0, ""), &large, ResponseCode::MESSAGE_ILLEGAL),
        (
            message("t", 0, &properties),
            b"m",
            ResponseCode::MESSAGE_ILLEGAL,
        ),
    ];
    for (header, body, code) in cases {
        assert_eq!(client.refused(&header, body).await, code, "{header:?}");
    }
    assert_eq!(
        client.produce(&message("t", 0, ""), &large[1..]).await,
        (0, 0)
    );
}
