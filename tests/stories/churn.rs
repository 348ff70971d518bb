//! Consumers that come and go again and again. On the testkit alone, where time can stand still and all tasks can be counted.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rocketmq_sdk::{ConsumeFromWhere, ConsumeStatus, DefaultProducer, Message, PushConsumer};
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
    let owned = members.iter().flat_map(PushConsumer::assigned_queues);
    let mut owned: Vec<_> = owned.filter(|queue| *queue.topic == *"t").collect();
    owned.sort_unstable();
    let ids: Vec<_> = owned.iter().map(|queue| queue.queue_id).collect();
    assert_eq!(ids, (0..16).collect::<Vec<_>>());
    for member in members {
        member.shutdown().await.unwrap();
    }
    producer.shutdown().await.unwrap();
    drop(producer);
    assert_eq!(tasks().await, before);
}
