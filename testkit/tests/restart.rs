//! Nodes that end and come back, clusters that end.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::time::Duration;

use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::request::consumer_offset::{
    QueryConsumerOffset, QueryConsumerOffsetResponse, UpdateConsumerOffset,
};
use rocketmq_testkit::Cluster;
use support::{Client, SOON, consumer, held_pull, message, pull, route};

#[tokio::test]
async fn a_cluster_starts_fast_and_clusters_do_not_know_of_each_other() {
    let first = Cluster::builder().topic("t", 1).start().await.unwrap();
    let second = Cluster::start().await.unwrap();
    assert_ne!(first.name_server_addr(), second.name_server_addr());
    let mut names = Client::connect(&second, second.name_server_addr()).await;
    assert_eq!(
        names.refused(&route("t"), b"").await,
        ResponseCode::TOPIC_NOT_EXIST
    );
}

#[tokio::test]
async fn a_broker_that_is_started_while_it_stops_runs_after_that() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let broker = cluster.broker("broker-a");
    for _ in 0..20 {
        let (_, started) = tokio::join!(broker.stop(), broker.restart());
        started.unwrap();
        assert!(broker.is_running());
        let mut client = Client::broker(&cluster).await;
        client.produce(&message("t", 0, ""), b"m").await;
    }
}

#[tokio::test]
async fn a_killed_broker_comes_back_with_its_messages_topics_and_offsets() {
    let cluster = Cluster::start().await.unwrap();
    let broker = cluster.broker("broker-a");
    let mut client = Client::broker(&cluster).await;
    client
        .heartbeat("c", &[consumer("g", &[("t", "*", 1)])])
        .await;
    client
        .request(RequestCode::NOTIFY_CONSUMER_IDS_CHANGED)
        .await;
    client.produce(&message("t", 1, ""), b"before").await;
    client
        .produce(&message("t", 1, "DELAY\x011\x02"), b"delayed")
        .await;
    let commit = UpdateConsumerOffset {
        consumer_group: "g".into(),
        topic: "t".into(),
        queue_id: 1,
        commit_offset: 1,
        broker_name: None,
    };
    client.ok(&commit, b"").await;
    client.send(&held_pull("t", 1, 1, "*", 60_000), b"").await;
    assert!(client.is_quiet().await);

    broker.kill().await;
    assert!(!broker.is_running());
    client.closed().await;
    let refused = cluster.environment().connect(broker.addr()).await;
    assert!(refused.is_err());
    let mut names = Client::connect(&cluster, cluster.name_server_addr()).await;
    while names.call(&route("t"), b"").await.response_code() == ResponseCode::SUCCESS {}
    cluster.clock().advance(Duration::from_secs(1));

    broker.restart().await.unwrap();
    names.route("t").await;
    let mut client = Client::broker(&cluster).await;
    let got = tokio::time::timeout(SOON, async {
        loop {
            let pulled = client.pull(&pull("t", 1, 0, "*")).await;
            if pulled.messages.len() == 2 {
                break pulled;
            }
        }
    });
    assert_eq!(got.await.unwrap().bodies(), [&b"before"[..], b"delayed"]);
    let query = QueryConsumerOffset {
        consumer_group: "g".into(),
        topic: "t".into(),
        queue_id: 1,
        ..QueryConsumerOffset::default()
    };
    let answer = client.ok(&query, b"").await;
    assert_eq!(
        answer
            .header::<QueryConsumerOffsetResponse>()
            .unwrap()
            .offset,
        1
    );
}

#[tokio::test]
async fn a_broker_that_stops_unregisters_and_gives_the_answers_it_has() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let broker = cluster.broker("broker-a");
    let mut client = Client::broker(&cluster).await;
    client.produce(&message("t", 0, ""), b"m").await;
    broker.stop().await;
    client.closed().await;
    let mut names = Client::connect(&cluster, cluster.name_server_addr()).await;
    assert_eq!(
        names.refused(&route("t"), b"").await,
        ResponseCode::TOPIC_NOT_EXIST
    );
    broker.restart().await.unwrap();
    names.route("t").await;
    broker.restart().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    assert_eq!(client.pull(&pull("t", 0, 0, "*")).await.bodies(), [b"m"]);
}

#[tokio::test]
async fn a_name_server_that_comes_back_hears_from_its_brokers() {
    let cluster = Cluster::builder()
        .brokers(2)
        .topic("t", 1)
        .start()
        .await
        .unwrap();
    let names = cluster.name_server();
    names.stop().await;
    assert!(!names.is_running());
    assert!(cluster.environment().connect(names.addr()).await.is_err());
    // Brokers serve on, and do not wait for it.
    let mut client = Client::broker(&cluster).await;
    client.produce(&message("new", 0, ""), b"m").await;
    names.start().unwrap();
    let mut client = Client::connect(&cluster, names.addr()).await;
    let found = tokio::time::timeout(SOON, async {
        loop {
            let answer = client.call(&route("t"), b"").await;
            if answer.response_code() == ResponseCode::SUCCESS
                && client.route("t").await.broker_datas.len() == 2
            {
                break;
            }
        }
    });
    found.await.unwrap();
    client.route("new").await;
}

#[tokio::test]
async fn dropping_a_cluster_or_shutting_it_down_ends_it() {
    for in_order in [true, false] {
        let cluster = Cluster::start().await.unwrap();
        let environment = cluster.environment();
        let names = cluster.name_server_addr().to_owned();
        let broker = cluster.broker("broker-a").addr().to_owned();
        let mut client = Client::broker(&cluster).await;
        client.heartbeat("c", &[]).await;
        if in_order {
            cluster.shutdown().await;
        } else {
            drop(cluster);
        }
        client.closed().await;
        for addr in [names, broker] {
            let gone = async { while environment.connect(&addr).await.is_ok() {} };
            tokio::time::timeout(SOON, gone).await.unwrap();
        }
        let alive = tokio::runtime::Handle::current().metrics();
        let ended = async {
            while alive.num_alive_tasks() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, ended)
            .await
            .expect("tasks are left");
    }
}

#[tokio::test]
async fn what_cannot_be_started_is_refused() {
    for builder in [
        Cluster::builder().brokers(0),
        Cluster::builder().brokers(27),
        Cluster::builder().topic("a b", 1),
        Cluster::builder().topic("t", 0),
    ] {
        let error = builder.start().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}
