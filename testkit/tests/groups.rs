//! Members of groups: heartbeats, who is told of a change, who is taken out.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::time::Duration;

use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::command::VERSION;
use rocketmq_sdk::protocol::request::connections::{
    ConsumerConnectionsBody, GetConsumerConnections, GetProducerConnections,
    ProducerConnectionsBody,
};
use rocketmq_sdk::protocol::request::consumer_list::{ConsumerListBody, GetConsumerList};
use rocketmq_sdk::protocol::request::heartbeat::{Heartbeat, HeartbeatBody, HeartbeatResponse};
use rocketmq_sdk::protocol::request::notify_consumer_ids::NotifyConsumerIdsChanged;
use rocketmq_sdk::protocol::request::unregister_client::UnregisterClient;
use rocketmq_testkit::Cluster;
use support::{Client, consumer, heartbeat};

const EXPIRY: Duration = Duration::from_secs(120);

async fn members(client: &mut Client) -> Vec<String> {
    let list = GetConsumerList {
        consumer_group: "g".into(),
        broker_name: None,
    };
    let answer = client.call(&list, b"").await;
    if answer.response_code() != ResponseCode::SUCCESS {
        assert_eq!(answer.response_code(), ResponseCode::SYSTEM_ERROR);
        return Vec::new();
    }
    let body: ConsumerListBody = serde_json::from_slice(&answer.body).unwrap();
    body.consumer_id_list
}

/// Waits until the client is told that its group has changed.
async fn told(client: &mut Client) {
    let notice = client
        .request(RequestCode::NOTIFY_CONSUMER_IDS_CHANGED)
        .await;
    assert!(notice.head.is_oneway());
    let notice: NotifyConsumerIdsChanged<'_> = notice.header().unwrap();
    assert_eq!(notice.consumer_group, "g");
}

/// Two members who know of each other.
async fn pair(cluster: &Cluster) -> (Client, Client) {
    let mut first = Client::broker(cluster).await;
    let mut second = Client::broker(cluster).await;
    first
        .heartbeat("c1", &[consumer("g", &[("t", "*", 1)])])
        .await;
    told(&mut first).await;
    second
        .heartbeat("c2", &[consumer("g", &[("t", "*", 1)])])
        .await;
    told(&mut first).await;
    told(&mut second).await;
    (first, second)
}

#[tokio::test]
async fn a_heartbeat_makes_a_member_and_its_retry_topic() {
    let cluster = Cluster::start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    assert!(members(&mut client).await.is_empty());
    let answer = client
        .ok(&Heartbeat, &heartbeat("c1", &[consumer("g", &[])]))
        .await;
    assert_eq!(answer.head.version, VERSION, "the broker's");
    assert_eq!(members(&mut client).await, ["c1"]);
    let mut names = Client::connect(&cluster, cluster.name_server_addr()).await;
    let route = names.route("%RETRY%g").await;
    assert_eq!(route.queue_datas[0].read_queue_nums, 1);
}

#[tokio::test]
async fn members_are_told_of_members_that_come_and_go() {
    let cluster = Cluster::start().await.unwrap();
    let (mut first, mut second) = pair(&cluster).await;
    assert_eq!(members(&mut first).await, ["c1", "c2"]);
    second
        .heartbeat("c2", &[consumer("g", &[("t", "*", 1)])])
        .await;
    assert!(first.is_quiet().await, "nothing has changed");

    let leave = UnregisterClient {
        client_id: "c2".into(),
        consumer_group: Some("g".into()),
        ..UnregisterClient::default()
    };
    second.ok(&leave, b"").await;
    told(&mut first).await;
    assert_eq!(members(&mut first).await, ["c1"]);
    assert!(second.is_quiet().await, "who has left is not told");
}

#[tokio::test]
async fn members_are_told_of_a_connection_that_ends() {
    let cluster = Cluster::start().await.unwrap();
    let (mut first, second) = pair(&cluster).await;
    drop(second);
    told(&mut first).await;
    assert_eq!(members(&mut first).await, ["c1"]);
}

#[tokio::test]
async fn members_are_told_of_another_topic_but_not_of_another_expression() {
    let cluster = Cluster::start().await.unwrap();
    let (mut first, mut second) = pair(&cluster).await;
    second
        .heartbeat("c2", &[consumer("g", &[("t", "a", 2)])])
        .await;
    assert!(first.is_quiet().await);
    second
        .heartbeat("c2", &[consumer("g", &[("t", "a", 2), ("u", "*", 2)])])
        .await;
    told(&mut first).await;
}

#[tokio::test]
async fn broadcasting_members_are_not_told() {
    let cluster = Cluster::start().await.unwrap();
    let mut first = Client::broker(&cluster).await;
    let mut second = Client::broker(&cluster).await;
    let mut data = consumer("g", &[("t", "*", 1)]);
    data.message_model = "BROADCASTING".to_owned();
    first.heartbeat("c1", std::slice::from_ref(&data)).await;
    second.heartbeat("c2", &[data]).await;
    assert!(first.is_quiet().await && second.is_quiet().await);
}

#[tokio::test]
async fn a_member_without_heartbeats_is_taken_out_and_the_others_are_told() {
    let cluster = Cluster::start().await.unwrap();
    let (mut first, mut second) = pair(&cluster).await;
    cluster.clock().advance(EXPIRY / 2);
    first
        .heartbeat("c1", &[consumer("g", &[("t", "*", 1)])])
        .await;
    cluster.clock().advance(EXPIRY / 2);
    second.closed().await;
    told(&mut first).await;
    assert_eq!(members(&mut first).await, ["c1"]);
    cluster.clock().advance(EXPIRY / 2);
    first.closed().await;
}

#[tokio::test]
async fn a_group_that_cannot_be_has_no_members() {
    let cluster = Cluster::start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    client
        .heartbeat("c1", &[consumer("../g", &[]), consumer("g", &[])])
        .await;
    assert_eq!(members(&mut client).await, ["c1"]);
    let connections = GetConsumerConnections {
        consumer_group: "../g".into(),
        broker_name: None,
    };
    let code = client.refused(&connections, b"").await;
    assert_eq!(code, ResponseCode::CONSUMER_NOT_ONLINE);
}

#[tokio::test]
async fn connections_of_consumers_and_producers_are_listed() {
    let cluster = Cluster::start().await.unwrap();
    let (mut first, second) = pair(&cluster).await;
    let consumers = GetConsumerConnections {
        consumer_group: "g".into(),
        broker_name: None,
    };
    let body = first.ok(&consumers, b"").await.body;
    let body: ConsumerConnectionsBody = serde_json::from_slice(&body).unwrap();
    assert_eq!(body.connection_set.len(), 2);
    assert_eq!(body.connection_set[0].language, "RUST");
    assert_eq!(body.subscription_table["t"].sub_string, "*");
    assert_eq!(body.message_model, "CLUSTERING");
    let producers = GetProducerConnections {
        producer_group: "producers".into(),
        broker_name: None,
    };
    let body = first.ok(&producers, b"").await.body;
    let body: ProducerConnectionsBody = serde_json::from_slice(&body).unwrap();
    assert_eq!(body.connection_set[1].client_id, "c2");
    drop(second);
    told(&mut first).await;
    let body = first.ok(&producers, b"").await.body;
    let body: ProducerConnectionsBody = serde_json::from_slice(&body).unwrap();
    assert_eq!(body.connection_set.len(), 1);
    let leave = UnregisterClient {
        client_id: "c1".into(),
        producer_group: Some("producers".into()),
        ..UnregisterClient::default()
    };
    first.ok(&leave, b"").await;
    assert_eq!(
        first.refused(&producers, b"").await,
        ResponseCode::SYSTEM_ERROR
    );
}

#[tokio::test]
async fn the_short_form_of_heartbeats_keeps_the_subscriptions() {
    let cluster = Cluster::start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    let mut body = HeartbeatBody {
        client_id: "c1".to_owned(),
        consumer_data_set: vec![consumer("g", &[("t", "*", 1)])],
        heartbeat_fingerprint: 5,
        ..HeartbeatBody::default()
    };
    let mut changed = Vec::new();
    for (fingerprint, short) in [(5, false), (5, true), (6, true)] {
        body.heartbeat_fingerprint = fingerprint;
        body.without_sub = short;
        if short {
            body.consumer_data_set[0].subscription_data_set.clear();
        }
        let answer = client
            .ok(&Heartbeat, &serde_json::to_vec(&body).unwrap())
            .await;
        let answer: HeartbeatResponse = answer.header().unwrap();
        assert_eq!(answer.supports_v2, Some(true));
        changed.push(answer.subscription_changed.unwrap());
    }
    assert_eq!(changed, [false, false, true]);
    let connections = GetConsumerConnections {
        consumer_group: "g".into(),
        broker_name: None,
    };
    let body = client.ok(&connections, b"").await.body;
    let body: ConsumerConnectionsBody = serde_json::from_slice(&body).unwrap();
    assert!(body.subscription_table.contains_key("t"));
}
