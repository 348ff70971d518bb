//! Consumers that end, in order or not. On the testkit alone, where time can stand still and all tasks can be counted.

use std::time::Duration;

use rocketmq_sdk::{
    Client, ConsumeFromWhere, ConsumeStatus, DefaultProducer, Message, PushConsumer,
};
use rocketmq_testkit::{Cluster, RequestCode};
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::dropping::poll;

/// More polls than a start or an end of a consumer takes.
const POLLS: usize = 200;

async fn cluster() -> Cluster {
    let cluster = Cluster::builder().in_memory().topic("t", 4);
    cluster.start().await.unwrap()
}

/// Starts a consumer whose listener takes some time.
async fn start(cluster: &Cluster) -> PushConsumer {
    PushConsumer::builder("g")
        .name_server(cluster.name_server_addr())
        .environment(cluster.environment())
        .subscribe("t", "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener(|_| async {
            sleep(Duration::from_millis(20)).await;
            ConsumeStatus::CONSUME_SUCCESS
        })
        .start()
        .await
        .unwrap()
}

/// Stores messages, and leaves nobody behind.
async fn fill(cluster: &Cluster) {
    let producer = DefaultProducer::builder("p")
        .name_server(cluster.name_server_addr())
        .environment(cluster.environment())
        .start()
        .await
        .unwrap();
    for at in 0..20 {
        let message = Message::new("t", format!("m{at}"));
        producer.send(message).await.unwrap();
    }
    producer.shutdown().await.unwrap();
}

/// How many tasks there are when everything that ends has ended.
async fn tasks() -> usize {
    sleep(Duration::from_secs(20)).await;
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn f37_a_start_that_is_dropped_anywhere_leaves_nothing() {
    let cluster = cluster().await;
    let before = tasks().await;
    for times in 0..POLLS {
        let is_ready = poll(start(&cluster), times).await.is_some();
        assert_eq!(tasks().await, before, "after {times} polls");
        if is_ready {
            return;
        }
    }
    panic!("it takes more polls than that");
}

#[tokio::test(start_paused = true)]
async fn f35_f37_an_end_that_is_dropped_anywhere_goes_on() {
    let cluster = cluster().await;
    fill(&cluster).await;
    let before = tasks().await;
    for times in [1, 2, 3, 5, 8, 13, 21, 34] {
        for is_asked_again in [false, true] {
            let consumer = start(&cluster).await;
            poll(consumer.shutdown(), times).await;
            if is_asked_again {
                // The second call has the report of the first.
                assert!(consumer.shutdown().await.unwrap().is_clean());
            }
            drop(consumer);
            assert_eq!(tasks().await, before, "after {times} polls");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn f35_a_consumer_that_is_only_dropped_takes_everything_with_it() {
    let cluster = cluster().await;
    fill(&cluster).await;
    let before = tasks().await;
    for millis in [0, 1, 10, 30, 1000] {
        let consumer = start(&cluster).await;
        sleep(Duration::from_millis(millis)).await;
        drop(consumer);
        assert_eq!(tasks().await, before, "after {millis} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn f35_a_member_whose_first_heartbeat_is_slow_does_not_come_back_when_it_has_ended() {
    let cluster = cluster().await;
    let client = Client::builder()
        .name_server(cluster.name_server_addr())
        .environment(cluster.environment());
    let client = client.start().await.unwrap();
    let broker = cluster.broker("broker-a");
    // The one that a connection begins with. Brokers handle several requests at a time, and so may come to the next ones before it.
    let slow = broker.faults().on(RequestCode::HEART_BEAT).nth(1);
    let slow = slow.delay(Duration::from_millis(500));
    let consumer = PushConsumer::builder("g")
        .client(&client)
        .subscribe("t", "*")
        .listener(|_| async { ConsumeStatus::CONSUME_SUCCESS });
    let consumer = consumer.start().await.unwrap();
    assert_eq!(slow.hits(), 1);
    let group = broker.group("g");
    assert_eq!(group.members(), [client.client_id()]);
    consumer.shutdown().await.unwrap();
    assert!(group.members().is_empty());
    sleep(Duration::from_secs(1)).await;
    assert!(group.members().is_empty(), "{:?}", group.members());
}
