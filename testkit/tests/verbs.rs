//! What a test does to nodes, topics, routes and groups, and what clients see of it.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::time::Duration;

use rocketmq_sdk::protocol::command::Command;
use rocketmq_sdk::protocol::message::{MessageQueue, OffsetTable};
use rocketmq_sdk::protocol::request::consumer_list::{ConsumerListBody, GetConsumerList};
use rocketmq_sdk::protocol::request::consumer_offset::{QueryConsumerOffset, UpdateConsumerOffset};
use rocketmq_sdk::protocol::request::reset_offset::ResetOffset;
use rocketmq_sdk::protocol::request::send_back::SendBack;
use rocketmq_testkit::{
    Access, Cluster, ClusterBuilder, Disk, Entry, EntryKind, Loss, RequestCode, ResponseCode,
};
use support::{Client, Pulled, consumer, held_pull, message, pull, route};
use tokio::time::Instant;

const NOTICE: RequestCode = RequestCode::NOTIFY_CONSUMER_IDS_CHANGED;
const SECOND: Duration = Duration::from_secs(1);

fn builder() -> ClusterBuilder {
    Cluster::builder().topic("t", 2).in_memory()
}

async fn cluster() -> (Cluster, Client) {
    let cluster = builder().start().await.unwrap();
    let client = Client::broker(&cluster).await;
    (cluster, client)
}

/// What queue 0 of `t` has.
async fn all(client: &mut Client) -> Pulled {
    client.pull(&pull("t", 0, 0, "*")).await
}

async fn names(cluster: &Cluster) -> Client {
    Client::connect(cluster, cluster.name_server().addr()).await
}

// Pause.

#[tokio::test(start_paused = true)]
async fn a_paused_broker_takes_connections_and_does_nothing() {
    let (cluster, mut client) = cluster().await;
    let broker = cluster.broker("broker-a");
    client
        .produce(&message("t", 0, "DELAY\x013\x02"), b"late")
        .await;
    let held = client
        .send(&held_pull("t", 0, 0, "*", 3_600_000), b"")
        .await;
    client.heartbeat("c", &[]).await;
    broker.pause();
    let mut other = Client::broker(&cluster).await;
    let waiting = [
        client.send(&message("t", 1, ""), b"m").await,
        other.send(&message("t", 1, ""), b"m").await,
    ];
    cluster.clock().advance(20 * SECOND);
    tokio::time::sleep(5 * SECOND).await;
    assert!(broker.is_running());
    assert_eq!(
        cluster
            .journal()
            .count(|it| it.is_answer(RequestCode::SEND_MESSAGE_V2)),
        1
    );
    broker.resume();
    assert_eq!(Pulled::from(client.answer(held).await).bodies(), [b"late"]);
    client.answer(waiting[0]).await;
    other.answer(waiting[1]).await;
}

#[tokio::test]
async fn a_paused_broker_takes_connections_of_sockets_too() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let broker = cluster.broker("broker-a");
    let mut client = Client::broker(&cluster).await;
    client.produce(&message("t", 0, ""), b"m").await;
    broker.pause();
    let mut other = Client::broker(&cluster).await;
    let opaque = other.send(&message("t", 0, ""), b"m").await;
    let connected =
        |entry: &Entry| entry.node() == "broker-a" && entry.kind() == EntryKind::Connected;
    let journal = cluster.journal();
    journal.wait_for_nth(2, connected).await.unwrap();
    assert_eq!(broker.connections(), 2);
    broker.resume();
    other.answer(opaque).await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_broker_can_be_ended_and_is_not_paused_after_that() {
    let (cluster, mut client) = cluster().await;
    let broker = cluster.broker("broker-a");
    broker.pause();
    broker.kill().await;
    client.closed().await;
    broker.restart().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    client.produce(&message("t", 0, ""), b"m").await;
    broker.pause();
    broker.restart().await.unwrap();
    assert_eq!(
        all(&mut Client::broker(&cluster).await).await.bodies(),
        [b"m"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_server_is_paused_and_goes_on() {
    let (cluster, _client) = cluster().await;
    let mut names = names(&cluster).await;
    cluster.name_server().pause();
    let asked = names.send(&route("t"), b"").await;
    tokio::time::sleep(5 * SECOND).await;
    assert!(
        cluster
            .journal()
            .answers(RequestCode::GET_ROUTEINFO_BY_TOPIC)
            .is_empty()
    );
    cluster.name_server().resume();
    names.answer(asked).await;
    cluster.name_server().pause();
    cluster.name_server().stop().await;
    names.closed().await;
}

// Crashes that lose messages.

#[tokio::test(start_paused = true)]
async fn a_crash_loses_the_newest_messages() {
    let (cluster, mut client) = cluster().await;
    for at in 0..5_u8 {
        client
            .produce(&message("t", i32::from(at % 2), ""), &[at])
            .await;
    }
    let broker = cluster.broker("broker-a");
    broker.restart_after(Loss::Newest(2)).await.unwrap();
    client.closed().await;
    let mut client = Client::broker(&cluster).await;
    let got = all(&mut client).await;
    assert_eq!((got.bodies(), got.max), (vec![&[0][..], &[2]], 2));
    // Offsets and places are given again.
    assert_eq!(client.produce(&message("t", 0, ""), &[9]).await, (0, 2));
    assert_eq!(all(&mut client).await.bodies(), [[0], [2], [9]]);
    broker.restart_after(Loss::Nothing).await.unwrap();
    assert_eq!(all(&mut Client::broker(&cluster).await).await.max, 3);
    broker
        .restart_after(Loss::Newest(usize::MAX))
        .await
        .unwrap();
    let empty = all(&mut Client::broker(&cluster).await).await;
    assert_eq!((empty.min, empty.max), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_crash_loses_what_was_not_synced() {
    let (cluster, mut client) = cluster().await;
    let broker = cluster.broker("broker-a");
    client.produce(&message("t", 0, ""), b"safe").await;
    broker.sync();
    client.produce(&message("t", 0, ""), b"lost").await;
    client
        .produce(&message("t", 0, "DELAY\x013\x02"), b"lost, too")
        .await;
    broker.restart_after(Loss::Unsynced).await.unwrap();
    let mut client = Client::broker(&cluster).await;
    assert_eq!(all(&mut client).await.bodies(), [b"safe"]);
    // What was delayed is lost with its timer, though another message is where it was.
    client
        .produce(&message("t", 1, "DELAY\x013\x02"), b"other")
        .await;
    cluster.clock().advance(20 * SECOND);
    assert_eq!(all(&mut client).await.max, 1);
    assert_eq!(
        client.pull(&pull("t", 1, 0, "*")).await.bodies(),
        [b"other"]
    );
    // Without a sync nothing is safe any more but what was.
    broker.restart_after(Loss::Unsynced).await.unwrap();
    assert_eq!(
        all(&mut Client::broker(&cluster).await).await.bodies(),
        [b"safe"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_delayed_and_synced_is_delivered_again_when_a_crash_loses_the_delivery() {
    let (cluster, mut client) = cluster().await;
    let broker = cluster.broker("broker-a");
    for (properties, body) in [
        ("DELAY\x013\x02", "level"),
        ("TIMER_DELAY_SEC\x0112\x02", "time"),
    ] {
        client
            .produce(&message("t", 0, properties), body.as_bytes())
            .await;
    }
    broker.sync();
    client
        .produce(&message("t", 0, "DELAY\x013\x02"), b"lost")
        .await;
    cluster.clock().advance(20 * SECOND);
    assert_eq!(all(&mut client).await.max, 3);
    broker.restart_after(Loss::Unsynced).await.unwrap();
    let mut client = Client::broker(&cluster).await;
    assert_eq!(all(&mut client).await.bodies(), [&b"level"[..], b"time"]);
    broker.sync();
    broker.restart_after(Loss::Unsynced).await.unwrap();
    assert_eq!(all(&mut Client::broker(&cluster).await).await.max, 2);
}

#[tokio::test(start_paused = true)]
async fn a_committed_offset_survives_the_messages_that_it_is_behind() {
    let (cluster, mut client) = cluster().await;
    for _ in 0..3 {
        client.produce(&message("t", 0, ""), b"m").await;
    }
    all(&mut client).await;
    let commit = UpdateConsumerOffset {
        consumer_group: "consumers".into(),
        topic: "t".into(),
        queue_id: 0,
        commit_offset: 3,
        ..UpdateConsumerOffset::default()
    };
    client.ok(&commit, b"").await;
    let broker = cluster.broker("broker-a");
    broker.restart_after(Loss::Newest(2)).await.unwrap();
    assert_eq!(broker.group("consumers").committed("t", 0), Some(3));
    let mut client = Client::broker(&cluster).await;
    let moved = client.pull(&pull("t", 0, 3, "*")).await;
    assert_eq!(
        (moved.code, moved.next),
        (ResponseCode::PULL_OFFSET_MOVED, 1)
    );
}

// The disk.

#[tokio::test(start_paused = true)]
async fn f20_a_full_or_failing_disk_refuses_messages_until_it_is_healthy() {
    let (cluster, mut client) = cluster().await;
    let broker = cluster.broker("broker-a");
    client.produce(&message("t", 0, ""), b"before").await;
    let stored = all(&mut client).await.messages.remove(0);
    let back = SendBack {
        offset: stored.physical_offset,
        group: "consumers".into(),
        ..SendBack::default()
    };
    for (disk, code, word, status) in [
        (
            Disk::Full,
            ResponseCode::SERVICE_NOT_AVAILABLE,
            "disk is full",
            "SERVICE_NOT_AVAILABLE",
        ),
        (
            Disk::Failing,
            ResponseCode::SYSTEM_ERROR,
            "create mapped file failed",
            "CREATE_MAPPED_FILE_FAILED",
        ),
    ] {
        broker.disk(disk);
        let refused = client.call(&message("t", 0, ""), b"m").await;
        assert_eq!(refused.response_code(), code);
        assert!(refused.remark.unwrap().contains(word));
        let refused = client.call(&back, b"").await;
        assert_eq!(refused.response_code(), ResponseCode::SYSTEM_ERROR);
        assert_eq!(refused.remark.as_deref(), Some(status));
        // What is there can be read, and offsets be committed.
        assert_eq!(all(&mut client).await.bodies(), [b"before"]);
    }
    broker.disk(Disk::Healthy);
    client.produce(&message("t", 0, ""), b"after").await;
    client.ok(&back, b"").await;
    assert_eq!(all(&mut client).await.max, 2);
}

#[tokio::test(start_paused = true)]
async fn f20_what_comes_due_while_the_disk_is_full_comes_when_it_is_not() {
    let (cluster, mut client) = cluster().await;
    let broker = cluster.broker("broker-a");
    client
        .produce(&message("t", 0, "DELAY\x013\x02"), b"by level")
        .await;
    client
        .produce(&message("t", 0, "TIMER_DELAY_SEC\x0112\x02"), b"by time")
        .await;
    broker.disk(Disk::Full);
    cluster.clock().advance(60 * SECOND);
    assert_eq!(all(&mut client).await.max, 0);
    broker.disk(Disk::Healthy);
    cluster.clock().advance(SECOND);
    let mut bodies = all(&mut client).await.messages;
    bodies.sort_by_key(|message| message.body.clone());
    let bodies: Vec<_> = bodies.iter().map(|message| &message.body[..]).collect();
    assert_eq!(bodies, [&b"by level"[..], b"by time"]);
}

#[tokio::test(start_paused = true)]
async fn f20_a_slow_disk_takes_its_time() {
    let (cluster, mut client) = cluster().await;
    let broker = cluster.broker("broker-a");
    broker.disk(Disk::Slow(3 * SECOND));
    let start = Instant::now();
    client.produce(&message("t", 0, ""), b"m").await;
    assert_eq!(start.elapsed(), 3 * SECOND);
    all(&mut client).await;
    assert_eq!(start.elapsed(), 3 * SECOND);
    broker.disk(Disk::Healthy);
    client.produce(&message("t", 0, ""), b"m").await;
    assert_eq!(start.elapsed(), 3 * SECOND);
}

// Clocks.

#[tokio::test(start_paused = true)]
async fn a_broker_may_be_ahead_or_behind() {
    let cluster = builder().brokers(2).start().await.unwrap();
    let mut clients = [Client::broker(&cluster).await, {
        Client::connect(&cluster, cluster.broker("broker-b").addr()).await
    }];
    for client in &mut clients {
        client
            .produce(&message("t", 0, "DELAY\x015\x02"), b"late")
            .await;
    }
    let [a, b] = &mut clients;
    cluster.broker("broker-a").clock_ahead(60 * SECOND);
    assert_eq!(all(a).await.bodies(), [b"late"]);
    assert!(all(b).await.bodies().is_empty());
    cluster.broker("broker-b").clock_behind(60 * SECOND);
    cluster.clock().advance(60 * SECOND);
    assert!(all(b).await.bodies().is_empty());
    for client in [&mut *a, b] {
        client.produce(&message("t", 1, ""), b"now").await;
    }
    let at = |pulled: Pulled| pulled.messages[0].store_timestamp;
    let (first, second) = (
        at(a.pull(&pull("t", 1, 0, "*")).await),
        at(b.pull(&pull("t", 1, 0, "*")).await),
    );
    assert_eq!(first - second, 120_000);
    let entry = cluster
        .journal()
        .find(|entry| entry.node() == "broker-a")
        .pop()
        .unwrap();
    let ahead = entry.time().duration_since(cluster.clock().now()).unwrap();
    assert_eq!(ahead, 60 * SECOND);
    cluster.broker("broker-b").clock_ahead(Duration::ZERO);
    assert_eq!(all(b).await.bodies(), [b"late"]);
}

// Topics.

#[tokio::test(start_paused = true)]
async fn a_topic_gets_more_and_fewer_queues() {
    let cluster = builder().brokers(2).start().await.unwrap();
    let mut names = names(&cluster).await;
    let queues = |route: rocketmq_sdk::protocol::request::route::RouteBody| {
        let queues = route.queue_datas.into_iter();
        queues.map(|it| it.write_queue_nums).collect::<Vec<_>>()
    };
    cluster.topic("t").queues(6).await.unwrap();
    assert_eq!(queues(names.route("t").await), [6, 6]);
    cluster
        .broker("broker-b")
        .topic("t")
        .queues(1)
        .await
        .unwrap();
    assert_eq!(queues(names.route("t").await), [6, 1]);
    cluster.topic("new").queues(3).await.unwrap();
    assert_eq!(queues(names.route("new").await), [3, 3]);
    assert!(cluster.topic("t").queues(0).await.is_err());
    assert!(cluster.topic("a b").queues(1).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_for_reading_or_writing_only() {
    let (cluster, mut client) = cluster().await;
    let mut names = names(&cluster).await;
    for (access, permission) in [
        (Access::ReadOnly, 4),
        (Access::WriteOnly, 2),
        (Access::Denied, 0),
        (Access::ReadWrite, 6),
    ] {
        cluster.topic("t").access(access).await.unwrap();
        assert_eq!(names.route("t").await.queue_datas[0].perm, permission);
        let pulled = client.refused(&pull("t", 0, 0, "*"), b"").await;
        let readable = pulled != ResponseCode::NO_PERMISSION;
        assert_eq!(readable, permission & 4 != 0, "{access:?}");
    }
    assert!(cluster.topic("u").access(Access::ReadOnly).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_deleted() {
    let (cluster, mut client) = cluster().await;
    client.produce(&message("t", 0, ""), b"m").await;
    cluster.topic("t").delete().await;
    let gone = client.refused(&pull("t", 0, 0, "*"), b"").await;
    assert_eq!(gone, ResponseCode::TOPIC_NOT_EXIST);
    let mut names = names(&cluster).await;
    let gone = names.refused(&route("t"), b"").await;
    assert_eq!(gone, ResponseCode::TOPIC_NOT_EXIST);
    cluster.topic("t").queues(2).await.unwrap();
    assert_eq!(all(&mut client).await.max, 0);
}

// Routes.

#[tokio::test(start_paused = true)]
async fn a_route_is_stale_empty_missing_or_flaps() {
    let (cluster, _client) = cluster().await;
    let mut names = names(&cluster).await;
    let shown = cluster.route("t");
    shown.stale();
    cluster.topic("t").queues(7).await.unwrap();
    cluster.broker("broker-a").stop().await;
    let stale = names.route("t").await;
    assert_eq!(stale.queue_datas[0].read_queue_nums, 2);
    assert_eq!(stale.broker_datas.len(), 1);
    cluster.broker("broker-a").restart().await.unwrap();
    shown.restore();
    assert_eq!(names.route("t").await.queue_datas[0].read_queue_nums, 7);

    shown.empty();
    let empty = names.route("t").await;
    assert!(empty.queue_datas.is_empty() && empty.broker_datas.is_empty());

    shown.missing();
    let missing = names.refused(&route("t"), b"").await;
    assert_eq!(missing, ResponseCode::TOPIC_NOT_EXIST);

    shown.flap();
    for _ in 0..2 {
        names.route("t").await;
        let missing = names.refused(&route("t"), b"").await;
        assert_eq!(missing, ResponseCode::TOPIC_NOT_EXIST);
    }
    shown.restore();
    names.route("t").await;

    // What is not there now does not come.
    cluster.route("later").stale();
    cluster.topic("later").queues(1).await.unwrap();
    let missing = names.refused(&route("later"), b"").await;
    assert_eq!(missing, ResponseCode::TOPIC_NOT_EXIST);
}

#[tokio::test(start_paused = true)]
async fn name_servers_may_disagree() {
    let cluster = builder().brokers(2).name_servers(3).start().await.unwrap();
    let addrs: Vec<_> = cluster
        .name_servers()
        .iter()
        .map(|one| one.addr())
        .collect();
    assert_eq!(cluster.name_server_addr(), addrs.join(";"));
    let brokers = |body: rocketmq_sdk::protocol::request::route::RouteBody| {
        let brokers = body.broker_datas.into_iter();
        brokers.map(|broker| broker.broker_name).collect::<Vec<_>>()
    };
    let [first, second, third] = cluster.name_servers() else {
        panic!("three were asked for")
    };
    second.hide_broker("broker-b");
    third.route("t").missing();
    for (node, expected) in [(first, 2), (second, 1)] {
        let mut names = Client::connect(&cluster, node.addr()).await;
        assert_eq!(brokers(names.route("t").await).len(), expected);
    }
    let mut names = Client::connect(&cluster, third.addr()).await;
    names.refused(&route("t"), b"").await;
    third.route("t").restore();
    third.hide_broker("broker-a");
    third.hide_broker("broker-b");
    let gone = names.refused(&route("t"), b"").await;
    assert_eq!(gone, ResponseCode::TOPIC_NOT_EXIST);
    third.show_broker("broker-b");
    assert_eq!(brokers(names.route("t").await), ["broker-b"]);
    assert!(builder().name_servers(0).start().await.is_err());
    assert!(builder().name_servers(27).start().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn topics_change_while_one_name_server_is_away() {
    let cluster = builder().name_servers(2).start().await.unwrap();
    let [first, second] = cluster.name_servers() else {
        panic!("two were asked for")
    };
    first.stop().await;
    cluster.topic("t").queues(5).await.unwrap();
    let mut names = Client::connect(&cluster, second.addr()).await;
    assert_eq!(names.route("t").await.queue_datas[0].read_queue_nums, 5);
    second.pause();
    let start = Instant::now();
    cluster.topic("t").queues(6).await.unwrap();
    assert!(start.elapsed() <= 4 * SECOND);
}

// Groups.

async fn member(cluster: &Cluster, id: &str) -> Client {
    let mut client = Client::broker(cluster).await;
    client
        .heartbeat(id, &[consumer("g", &[("t", "*", 1)])])
        .await;
    client.request(NOTICE).await;
    client
}

#[tokio::test(start_paused = true)]
async fn members_are_told_again_and_again() {
    let (cluster, _client) = cluster().await;
    let mut client = member(&cluster, "c").await;
    let group = cluster.broker("broker-a").group("g");
    assert_eq!(group.members(), ["c"]);
    group.notify();
    client.request(NOTICE).await;
    let journal = cluster.journal().from_now();
    let start = Instant::now();
    let storm = group.notify_storm(50);
    for _ in 0..100 {
        client.request(NOTICE).await;
    }
    let passed = start.elapsed();
    assert!((SECOND..3 * SECOND).contains(&passed), "{passed:?}");
    let rounds = storm.rounds();
    assert!((99..=101).contains(&rounds), "{rounds}");
    drop(storm);
    tokio::time::sleep(SECOND).await;
    let told = journal.count(|entry| entry.kind() == EntryKind::Callback);
    assert!((99..=102).contains(&told), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_group_has_members_that_are_not_there() {
    let (cluster, _client) = cluster().await;
    let mut client = member(&cluster, "c").await;
    let group = cluster.broker("broker-a").group("g");
    let ids = |answer: Command| {
        let body: ConsumerListBody = serde_json::from_slice(&answer.body).unwrap();
        body.consumer_id_list
    };
    let list = GetConsumerList {
        consumer_group: "g".into(),
        ..GetConsumerList::default()
    };
    group.fake_members(2);
    client.request(NOTICE).await;
    let listed = ids(client.ok(&list, b"").await);
    assert_eq!(listed, ["c", "127.0.0.1@fake-0", "127.0.0.1@fake-1"]);
    assert_eq!(group.members(), ["c"]);
    group.fake_members(0);
    client.request(NOTICE).await;
    assert_eq!(ids(client.ok(&list, b"").await), ["c"]);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_moved_to_another_offset() {
    let (cluster, _client) = cluster().await;
    let mut client = member(&cluster, "c").await;
    let group = cluster.broker("broker-a").group("g");
    assert_eq!(group.committed("t", 1), None);
    group.reset_offset("t", 1, 42);
    assert_eq!(group.committed("t", 1), Some(42));
    let told = client
        .request(RequestCode::RESET_CONSUMER_CLIENT_OFFSET)
        .await;
    let header: ResetOffset<'_> = told.header().unwrap();
    assert_eq!(
        (&*header.topic, &*header.group, header.is_force),
        ("t", "g", true)
    );
    let body = OffsetTable::decode(&told.body).unwrap();
    let queue = MessageQueue::new("t", "broker-a", 1);
    assert_eq!(body.offset_table, [(queue, 42)].into());
    let query = QueryConsumerOffset {
        consumer_group: "g".into(),
        topic: "t".into(),
        queue_id: 1,
        ..QueryConsumerOffset::default()
    };
    let answer = client.ok(&query, b"").await;
    assert_eq!(answer.fields.find("offset").as_deref(), Some("42"));
}
