//! Name servers that are down, and routes that are not what they were.

use std::collections::BTreeSet;
use std::time::Duration;

use rocketmq_sdk::{Client, DefaultProducer, ErrorKind, Message};
use rocketmq_testkit::{Cluster, Entry, Journal, OnRequest, RequestCode, ResponseCode, Rule};
use tokio::time::sleep;

use crate::history::{Act, Trial};
use crate::target::Target;

const SECOND: Duration = Duration::from_secs(1);

/// How often clients look routes up.
const REFRESH: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn f07_a_name_server_that_is_down_for_a_while_is_not_missed() {
    let target = Target::own_paused(1).await;
    // Ten minutes, where they cost nothing.
    let long = if target.is_paused() { 600 } else { 5 } * SECOND;
    let mut trial = Trial::begin(target, "nameless", 2).await;
    trial.join().await;
    let builder = trial.target.producer_of(&trial.target.name("others"));
    let other = builder.start().await.unwrap();
    trial.load(2 * SECOND).await;
    trial.acked(10).await;
    trial.fault();
    trial.target.stop_name_server().await;
    sleep(long).await;
    let unknown = Message::new(trial.target.name("unknown"), "x");
    let error = other.send(unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NameServer, "{error}");
    assert!(
        error.to_string().contains(trial.target.name_server()),
        "{error}"
    );
    trial.finished(10).await;
    trial.target.start_name_server().await;
    trial.healed();
    // Brokers register again within 30 s of a name server's start.
    trial
        .within(
            90 * SECOND,
            wait_until_sent(&other, &trial.target.name("after")),
        )
        .await;
    other.shutdown().await.unwrap();
    drop(other);
    let report = trial.end().await;
    assert_eq!((report.failed, report.unexpected()), (0, 0), "{report:?}");
}

async fn wait_until_sent(producer: &DefaultProducer, topic: &str) {
    while producer.send(Message::new(topic, "after")).await.is_err() {
        sleep(SECOND / 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn f07_two_of_three_name_servers_that_are_down_are_passed_over() {
    let target = Target::memory(Cluster::builder()).await;
    let addrs = format!("127.0.0.1:1;{};127.0.0.1:2", target.name_server());
    let mut trial = Trial::begin(target, "third", 2).await;
    for _ in 0..3 {
        trial
            .join_with(|builder| builder.name_server(&addrs), |_| Act::Succeed)
            .await;
        trial
            .load_with(|builder| builder.name_server(&addrs), SECOND)
            .await;
        trial.finished(50).await;
    }
    let report = trial.end().await;
    assert_eq!(report.failed, 0, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f08_l17_a_route_that_name_servers_do_not_know_for_a_while_is_kept() {
    type Forget = fn(OnRequest) -> Rule;
    let ways: [Forget; 3] = [
        |on| on.reply(ResponseCode::TOPIC_NOT_EXIST, "it does not exist"),
        |on| on.reply(ResponseCode::SYSTEM_ERROR, "not yet"),
        |on| {
            let empty = br#"{"brokerDatas":[],"filterServerTable":{},"queueDatas":[]}"#;
            on.answer().edit_body(|body| *body = empty.to_vec())
        },
    ];
    for forget in ways {
        let target = Target::memory(Cluster::builder().brokers(2)).await;
        let mut trial = Trial::begin(target, "forgotten", 2).await;
        trial.join().await;
        trial.join().await;
        trial.load(SECOND).await;
        trial.finished(20).await;
        trial.fault();
        let faults = trial.cluster().name_server().faults();
        let rule = forget(faults.on(RequestCode::GET_ROUTEINFO_BY_TOPIC));
        sleep(60 * SECOND).await;
        assert!(rule.hits() > 0);
        rule.remove();
        trial.healed();
        let report = trial.end().await;
        assert_eq!((report.failed, report.duplicates), (0, 0), "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn f09_l18_clients_that_move_to_another_name_server_under_load_miss_nothing() {
    for is_down_before in [false, true] {
        let target = Target::memory(Cluster::builder().name_servers(2)).await;
        let mut trial = Trial::begin(target, "moving", 4).await;
        let names = trial.target.name_server().to_owned();
        let (old, new) = names.split_once(';').unwrap();
        // Two members, and between them two producers; one client has three of the four.
        let mut clients = Vec::new();
        for _ in 0..2 {
            let client = Client::builder()
                .name_server(old)
                .environment(trial.target.environment());
            clients.push(client.start().await.unwrap());
            trial.share(&clients[clients.len() - 1]);
            trial.join().await;
        }
        trial.load(SECOND).await;
        trial.finished(50).await;
        if is_down_before {
            trial.cluster().name_server().stop().await;
            sleep(60 * SECOND).await;
        }
        let since = trial.cluster().journal().from_now();
        for client in &clients {
            client.change_name_servers(new).unwrap();
        }
        // The routes of all topics are looked up once in that time.
        sleep(REFRESH).await;
        assert_eq!(asked(&since, "name-server-b"), clients.len());
        // Back again, it would be asked as well as the other.
        trial.cluster().name_server().start().unwrap();
        sleep(2 * REFRESH).await;
        assert_eq!(asked(&since, "name-server-a"), 0);
        trial.cluster().name_server().stop().await;
        // What nobody has looked up before is found, too.
        let after = trial.target.name("after");
        let producer = DefaultProducer::builder("later").client(&clients[0]);
        let producer = producer.start().await.unwrap();
        producer.send(Message::new(&*after, "x")).await.unwrap();
        producer.shutdown().await.unwrap();
        drop(producer);
        sleep(2 * REFRESH).await;
        trial.finished(50).await;
        drop(clients);
        let report = trial.end().await;
        assert_eq!((report.failed, report.duplicates), (0, 0), "{report:?}");
    }
}

/// How many connections asked a name server for routes.
fn asked(journal: &Journal, name_server: &str) -> usize {
    let asks = journal.requests(RequestCode::GET_ROUTEINFO_BY_TOPIC);
    let asks = asks.iter().filter(|entry| entry.node() == name_server);
    asks.map(Entry::connection).collect::<BTreeSet<_>>().len()
}

#[tokio::test]
async fn f07_without_a_name_server_the_first_send_says_so_in_bounded_time() {
    let producer = DefaultProducer::builder("nobody").name_server("127.0.0.1:1");
    let producer = producer.start().await.unwrap();
    let sending = producer.send(Message::new("t", "x")).timeout(SECOND);
    let error = sending.await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(error.is_retryable());
    producer.shutdown().await.unwrap();
}
