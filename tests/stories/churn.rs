//! Consumers that come and go again and again. On the testkit alone, where time can stand still and all tasks can be counted.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rocketmq_sdk::{
    Client, ConsumeFromWhere, ConsumeStatus, DefaultProducer, Message, PushConsumer,
};
use rocketmq_testkit::Cluster;
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::received::body;

/// The different bodies that came.
type Seen = Arc<Mutex<BTreeSet<String>>>;

/// A member of the group on a client of its own.
async fn join(cluster: &Cluster, seen: &Seen) -> PushConsumer {
    PushConsumer::builder("g")
        .name_server(cluster.name_server_addr())
        .environment(cluster.environment())
        .subscribe("t", "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(Arc::clone(seen), |seen, messages| async move {
            seen.lock().extend(messages.iter().map(body));
            ConsumeStatus::CONSUME_SUCCESS
        })
        .start()
        .await
        .unwrap()
}

/// A member of the group on a client that it does not end.
async fn join_on(client: &Client) -> PushConsumer {
    PushConsumer::builder("g")
        .client(client)
        .subscribe("t", "*")
        .listener(|_| async { ConsumeStatus::CONSUME_SUCCESS })
        .start()
        .await
        .unwrap()
}

/// The topic's queues that members have.
fn owned<'a>(members: impl IntoIterator<Item = &'a PushConsumer>) -> Vec<i32> {
    let owned = members.into_iter().flat_map(PushConsumer::assigned_queues);
    let owned = owned.filter(|queue| *queue.topic == *"t");
    let mut ids: Vec<_> = owned.map(|queue| queue.queue_id).collect();
    ids.sort_unstable();
    ids
}

/// How many tasks there are when everything that ends has ended.
async fn tasks() -> usize {
    sleep(Duration::from_secs(20)).await;
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn f26_l07_a_consumer_that_is_started_and_ended_again_and_again_leaves_nothing() {
    let cluster = Cluster::builder().in_memory().topic("t", 4);
    let cluster = cluster.start().await.unwrap();
    let before = tasks().await;
    for _ in 0..100 {
        let consumer = join(&cluster, &Seen::default()).await;
        sleep(Duration::from_millis(5)).await;
        consumer.shutdown().await.unwrap();
    }
    assert_eq!(tasks().await, before);
}

#[tokio::test(start_paused = true)]
async fn f26_l07_a_client_holds_nothing_of_the_consumers_that_it_had() {
    let cluster = Cluster::builder().in_memory().topic("t", 4);
    let cluster = cluster.start().await.unwrap();
    let client = Client::builder()
        .name_server(cluster.name_server_addr())
        .environment(cluster.environment());
    let client = client.start().await.unwrap();
    // It is connected by then.
    join_on(&client).await.shutdown().await.unwrap();
    let before = tasks().await;
    for round in 0..50 {
        let consumer = join_on(&client).await;
        sleep(Duration::from_millis(5)).await;
        // Some end in order, some are only dropped.
        if round % 3 != 0 {
            consumer.shutdown().await.unwrap();
        }
        drop(consumer);
        sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(tasks().await, before);
    client.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn f25_l07_a_member_that_stays_holds_nothing_of_the_queues_that_it_had() {
    let cluster = Cluster::builder().in_memory().topic("t", 4);
    let cluster = cluster.start().await.unwrap();
    let seen = Seen::default();
    let stays = join(&cluster, &seen).await;
    let before = tasks().await;
    for round in 0..50 {
        let guest = join(&cluster, &seen).await;
        sleep(Duration::from_secs(2)).await;
        assert_eq!((owned([&stays]).len(), owned([&guest]).len()), (2, 2));
        if round % 3 != 0 {
            guest.shutdown().await.unwrap();
        }
        drop(guest);
        sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(tasks().await, before);
    // Every now and then the queues are shared although nothing changes.
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(tasks().await, before);
    stays.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn f25_l07_after_many_came_and_went_every_queue_has_one_owner_and_nothing_is_lost() {
    let cluster = Cluster::builder().in_memory().topic("t", 16);
    let cluster = cluster.start().await.unwrap();
    let before = tasks().await;
    let producer = DefaultProducer::builder("p")
        .name_server(cluster.name_server_addr())
        .environment(cluster.environment());
    let producer = producer.start().await.unwrap();
    let seen = Seen::default();
    let mut members = VecDeque::new();
    for round in 0..60 {
        members.push_back(join(&cluster, &seen).await);
        for at in 0..16 {
            let message = Message::new("t", format!("{round}.{at}"));
            producer.send(message).await.unwrap();
        }
        // Some end in order, some are only dropped.
        if members.len() > 5
            && let Some(oldest) = members.pop_front()
            && round % 3 != 0
        {
            oldest.shutdown().await.unwrap();
        }
    }
    sleep(Duration::from_secs(60)).await;
    assert_eq!(seen.lock().len(), 60 * 16);
    assert_eq!(owned(&members), (0..16).collect::<Vec<_>>());
    for member in members {
        member.shutdown().await.unwrap();
    }
    producer.shutdown().await.unwrap();
    drop(producer);
    assert_eq!(tasks().await, before);
}
