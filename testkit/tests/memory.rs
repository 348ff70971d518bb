//! A cluster without sockets, with tokio's time paused.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::time::{Duration, SystemTime};

use rocketmq_sdk::environment::{Environment, TcpEnvironment};
use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_testkit::Cluster;
use support::{Client, Pulled, held_pull, message, pull};
use tokio::time::Instant;

async fn cluster() -> Cluster {
    Cluster::builder()
        .topic("t", 1)
        .in_memory()
        .start()
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_day_of_waiting_takes_no_time() {
    let cluster = cluster().await;
    let start = (Instant::now(), cluster.environment().now());
    let mut client = Client::broker(&cluster).await;
    client
        .produce(&message("t", 0, "DELAY\x0118\x02"), b"m")
        .await;
    let delivered = loop {
        let opaque = client.send(&held_pull("t", 0, 0, "*", 5_000), b"").await;
        let pulled = Pulled::from(client.answer(opaque).await);
        if pulled.code == ResponseCode::SUCCESS {
            break pulled;
        }
    };
    assert_eq!(delivered.bodies(), [b"m"]);
    assert_eq!(start.0.elapsed(), Duration::from_secs(7_200));
    let wall = cluster.environment().now().duration_since(start.1).unwrap();
    assert_eq!(wall, Duration::from_secs(7_200));
}

#[tokio::test(start_paused = true)]
async fn the_environment_goes_by_the_clock() {
    let cluster = cluster().await;
    let environment = cluster.environment();
    let before = environment.now();
    assert!(before.duration_since(SystemTime::UNIX_EPOCH).is_ok());
    cluster.clock().advance(Duration::from_secs(60));
    tokio::time::advance(Duration::from_secs(40)).await;
    let passed = environment.now().duration_since(before).unwrap();
    assert_eq!(passed, Duration::from_secs(100));
}

#[tokio::test(start_paused = true)]
async fn nobody_else_finds_the_name_servers() {
    let cluster = Cluster::builder().name_servers(2).in_memory().start();
    let cluster = cluster.await.unwrap();
    let environment = cluster.environment();
    for name_server in cluster.name_servers() {
        let addr = name_server.addr();
        assert!(cluster.name_server_addr().contains(addr));
        assert!(environment.connect(addr).await.is_ok(), "{addr}");
        assert!(TcpEnvironment.connect(addr).await.is_err(), "{addr}");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_can_be_killed_and_started_again() {
    let cluster = cluster().await;
    let broker = cluster.broker("broker-a");
    let name_server = "name-server-a.in-memory.invalid:9876";
    assert_eq!(cluster.name_server_addr(), name_server);
    assert_eq!(broker.addr(), "127.0.0.1:10911");
    let mut client = Client::connect(&cluster, "localhost:10911").await;
    client.produce(&message("t", 0, ""), b"m").await;
    broker.kill().await;
    client.closed().await;
    for addr in [broker.addr(), "127.0.0.1:1", "nonsense"] {
        assert!(cluster.environment().connect(addr).await.is_err(), "{addr}");
    }
    broker.restart().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    assert_eq!(client.pull(&pull("t", 0, 0, "*")).await.bodies(), [b"m"]);
}
