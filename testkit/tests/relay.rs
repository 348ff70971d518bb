//! Stand-ins before another cluster: here one of the testkit's own, reached by TCP.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::time::Duration;

use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::request::route::{ClusterInfoBody, GetClusterInfo};
use rocketmq_testkit::{Cluster, Entry, EntryKind, Relay};
use support::{Client, consumer, held_pull, message, pull};

const SEND: RequestCode = RequestCode::SEND_MESSAGE_V2;
const NOTICE: RequestCode = RequestCode::NOTIFY_CONSUMER_IDS_CHANGED;

async fn relayed() -> (Cluster, Relay) {
    let cluster = Cluster::builder().brokers(2).topic("t", 2);
    let cluster = cluster.start().await.unwrap();
    let relay = Relay::start(cluster.name_server_addr()).await.unwrap();
    (cluster, relay)
}

async fn connect(cluster: &Cluster, relay: &Relay) -> Client {
    Client::connect(cluster, relay.broker("broker-a").addr()).await
}

#[tokio::test]
async fn routes_name_the_stand_ins_and_nothing_else_is_changed() {
    let (cluster, relay) = relayed().await;
    let mut names = Client::connect(&cluster, relay.name_server_addr()).await;
    let mut expected = {
        let mut direct = Client::connect(&cluster, cluster.name_server_addr()).await;
        direct.route("t").await
    };
    for broker in &mut expected.broker_datas {
        let stand_in = relay.broker(&broker.broker_name);
        assert_eq!(broker.broker_addrs[&0], stand_in.behind());
        broker.broker_addrs.insert(0, stand_in.addr().to_owned());
    }
    assert_eq!(names.route("t").await, expected);
    let answer = names.ok(&GetClusterInfo, b"").await;
    let all: ClusterInfoBody = serde_json::from_slice(&answer.body).unwrap();
    for (name, broker) in all.broker_addr_table {
        assert_eq!(broker.broker_addrs[&0], relay.broker(&name).addr());
    }
    assert_eq!(relay.brokers().len(), 2);
    assert_eq!(relay.name_server().behind(), cluster.name_server_addr());
}

#[tokio::test]
async fn requests_answers_and_callbacks_pass_and_are_seen() {
    let (cluster, relay) = relayed().await;
    let mut client = connect(&cluster, &relay).await;
    client
        .heartbeat("c", &[consumer("g", &[("t", "*", 1)])])
        .await;
    client.request(NOTICE).await;
    let held = client.send(&held_pull("t", 0, 0, "*", 20_000), b"").await;
    let body = vec![7; 100_000];
    let stored = message("t", 0, "UNIQ_KEY\x01A\x02");
    assert_eq!(client.produce(&stored, &body).await, (0, 0));
    let pulled = support::Pulled::from(client.answer(held).await);
    assert_eq!(pulled.bodies(), [&body[..]]);

    let journal = relay.journal();
    let sent = journal.answers(SEND).remove(0);
    assert_eq!(sent.node(), "broker-a");
    assert_eq!(sent.client_id(), Some("c"));
    assert_eq!(sent.stored().unwrap().unique_key.as_deref(), Some("A"));
    assert!(sent.size().unwrap() > 50);
    assert_eq!(journal.count(|entry| entry.is_callback(NOTICE)), 1);
    let delivered = journal.answers(RequestCode::PULL_MESSAGE).remove(0);
    assert_eq!(delivered.delivered().unwrap().count, 1);

    drop(client);
    let closed = |entry: &Entry| entry.kind() == EntryKind::Closed;
    journal.wait_for(closed).await.unwrap();
    cluster.journal().wait_for(closed).await.unwrap();
}

#[tokio::test]
async fn rules_hold_before_other_servers_too() {
    let (cluster, relay) = relayed().await;
    let mut client = connect(&cluster, &relay).await;
    let faults = relay.broker("broker-a").faults().clone();
    faults
        .on_sends()
        .times(1)
        .reply(ResponseCode::SYSTEM_BUSY, "");
    let refused = client.refused(&message("t", 0, ""), b"m").await;
    assert_eq!(refused, ResponseCode::SYSTEM_BUSY);

    let held = faults.on_sends().times(2).answer().hold();
    let first = client.send(&message("t", 0, ""), b"m").await;
    let second = client.send(&message("t", 0, ""), b"m").await;
    held.wait_for_held(2).await.unwrap();
    held.release([1, 0]);
    assert_eq!(client.opaques(2).await, [second, first]);

    faults.on_sends().times(1).answer().drop();
    client.send(&message("t", 0, ""), b"m").await;
    assert!(client.is_quiet().await);

    faults.on_sends().times(1).answer().cut(5);
    client.send(&message("t", 0, ""), b"m").await;
    assert_eq!(client.rest().await.len(), 5);

    let mut client = connect(&cluster, &relay).await;
    faults.on_sends().times(1).answer().half_close();
    client.send(&message("t", 0, ""), b"m").await;
    assert!(client.rest().await.is_empty());
    // All but the first were stored.
    let mut direct = Client::broker(&cluster).await;
    assert_eq!(direct.pull(&pull("t", 0, 0, "*")).await.max, 5);
}

#[tokio::test]
async fn a_stand_in_is_cut_silent_and_away() {
    let (cluster, relay) = relayed().await;
    let node = relay.broker("broker-a");
    let mut client = connect(&cluster, &relay).await;
    client.produce(&message("t", 0, ""), b"m").await;
    node.cut().await.unwrap();
    client.closed().await;

    let mut client = connect(&cluster, &relay).await;
    client.produce(&message("t", 0, ""), b"m").await;
    node.pause();
    let waiting = client.send(&message("t", 0, ""), b"m").await;
    tokio::time::timeout(Duration::from_millis(200), client.answer(waiting))
        .await
        .unwrap_err();
    node.resume();
    client.answer(waiting).await;

    node.leave().await;
    client.closed().await;
    let refused = cluster.environment().connect(node.addr()).await;
    assert!(refused.is_err());
    node.come_back().unwrap();
    connect(&cluster, &relay)
        .await
        .produce(&message("t", 0, ""), b"m")
        .await;
    let mut other = Client::connect(&cluster, relay.broker("broker-b").addr()).await;
    other.produce(&message("t", 0, ""), b"m").await;
}

#[tokio::test]
async fn a_server_that_goes_takes_its_clients_connections_along() {
    let (cluster, relay) = relayed().await;
    let mut client = connect(&cluster, &relay).await;
    client.produce(&message("t", 0, ""), b"m").await;
    cluster.broker("broker-a").kill().await;
    client.closed().await;
    // Connecting goes well, and is worth nothing.
    let mut client = connect(&cluster, &relay).await;
    client.send(&message("t", 0, ""), b"m").await;
    client.closed().await;
    cluster.broker("broker-a").restart().await.unwrap();
    let mut client = connect(&cluster, &relay).await;
    client.produce(&message("t", 0, ""), b"m").await;
    drop(relay);
    client.closed().await;
}

#[tokio::test]
async fn without_a_name_server_there_is_no_relay() {
    assert!(Relay::start("127.0.0.1:1").await.is_err());
}
