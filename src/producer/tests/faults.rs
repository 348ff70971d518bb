//! Brokers that are slow or fail, and producers that leave them alone for a while.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::world::{Reply, World};
use crate::message::{Message, MessageQueue};
use crate::producer::{DefaultProducer, FaultTolerance};
use crate::protocol::code::{RequestCode, ResponseCode};

const SECOND: Duration = Duration::from_secs(1);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn producer(world: &Arc<World>, tolerance: FaultTolerance) -> DefaultProducer {
    let builder = world.builder().fault_tolerance(tolerance);
    let producer = builder.start().await.unwrap();
    both(&producer).await;
    producer
}

/// The brokers that four messages went to, and were stored by.
async fn used(world: &World, producer: &DefaultProducer) -> BTreeSet<String> {
    let before = world.sent().len();
    for _ in 0..4 {
        producer.send(Message::new("t", "x")).await.unwrap();
    }
    world.sent_to().split_off(before).into_iter().collect()
}

/// Sends to every queue, so that every broker has been tried.
async fn both(producer: &DefaultProducer) {
    for queue in producer.queues("t").await.unwrap() {
        producer
            .send(Message::new("t", "x"))
            .to(queue)
            .await
            .unwrap();
    }
}

fn brokers(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| format!("{name}:1")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_slow_broker_is_left_alone_for_a_while_only_if_that_is_asked_for() {
    let world = World::with_brokers(&["a", "b"]);
    for (tolerance, expected) in [
        (FaultTolerance::Off, &["a", "b"][..]),
        (FaultTolerance::Latency, &["b"]),
    ] {
        let producer = producer(&world, tolerance).await;
        world.broker("a", |_| Reply::StoredAfter(millis(600)));
        both(&producer).await;
        world.broker("a", |_| Reply::Stored);
        assert_eq!(used(&world, &producer).await, brokers(expected));
        // A key keeps its queue, whatever its broker did.
        let send = producer.send(Message::new("t", "x"));
        let result = send.sharding_key("hello").await.unwrap();
        assert_eq!(&*result.queue().broker_name, "b");
        let send = producer.send(Message::new("t", "x"));
        let result = send.sharding_key("a").await.unwrap();
        assert_eq!(&*result.queue().broker_name, "a");
        sleep(2 * SECOND).await;
        assert_eq!(used(&world, &producer).await, brokers(&["a", "b"]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_fails_is_left_alone_for_ten_seconds() {
    for trouble in [
        Reply::Code(ResponseCode::SYSTEM_BUSY),
        Reply::HangUp,
        Reply::Silence,
    ] {
        let world = World::with_brokers(&["a", "b"]);
        let producer = producer(&world, FaultTolerance::Latency).await;
        world.broker(
            "a",
            move |count| if count == 0 { trouble } else { Reply::Stored },
        );
        assert_eq!(used(&world, &producer).await, brokers(&["a", "b"]));
        let began = Instant::now();
        while began.elapsed() < 9 * SECOND {
            assert_eq!(
                used(&world, &producer).await,
                brokers(&["b"]),
                "{trouble:?}"
            );
            sleep(SECOND).await;
        }
        sleep(SECOND).await;
        assert_eq!(used(&world, &producer).await, brokers(&["a", "b"]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_its_own_sake_is_not_the_broker_s_fault() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = producer(&world, FaultTolerance::Latency).await;
    for broker in ["a", "b"] {
        world.broker(broker, |count| match count {
            0 => Reply::Code(ResponseCode::MESSAGE_ILLEGAL),
            _ => Reply::Stored,
        });
    }
    for _ in 0..4 {
        drop(producer.send(Message::new("t", "x")).await);
    }
    assert_eq!(used(&world, &producer).await, brokers(&["a", "b"]));
}

#[tokio::test(start_paused = true)]
async fn when_all_are_set_aside_they_are_used_all_the_same() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = producer(&world, FaultTolerance::Latency).await;
    for broker in ["a", "b"] {
        world.broker(broker, |_| Reply::StoredAfter(millis(900)));
    }
    both(&producer).await;
    assert_eq!(used(&world, &producer).await, brokers(&["a", "b"]));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_says_nothing_is_probed_until_it_answers() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = producer(&world, FaultTolerance::LatencyAndProbes).await;
    world.broker("a", |_| Reply::Silence);
    world.broker("b", |_| Reply::StoredAfter(millis(5500)));
    let to = |broker: &str| {
        let queue = MessageQueue::new("t", broker, 0);
        producer.send(Message::new("t", "x")).to(queue)
    };
    to("a").timeout(SECOND).await.unwrap_err();
    to("b").timeout(8 * SECOND).await.unwrap();
    world.broker("a", |_| Reply::Stored);
    world.broker("b", |_| Reply::Stored);
    // Both are set aside for ten seconds; only b could be reached.
    assert_eq!(used(&world, &producer).await, brokers(&["b"]));
    let probes = || world.asked(RequestCode::GET_MAX_OFFSET);
    let unanswered = probes().len();
    assert!(unanswered > 0 && probes().iter().all(|probe| probe.addr == "a:1"));
    assert_eq!(probes()[0].fields["topic"], "t");
    world.answer_probes("a");
    sleep(3 * SECOND).await;
    assert_eq!(probes().len(), unanswered + 1);
    assert_eq!(used(&world, &producer).await, brokers(&["a", "b"]));
    sleep(6 * SECOND).await;
    assert_eq!(
        probes().len(),
        unanswered + 1,
        "one that answers is left in peace"
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_is_probed_also_where_another_producer_has_found_the_route() {
    let world = World::with_brokers(&["a", "b"]);
    let first = producer(&world, FaultTolerance::Off).await;
    let builder = DefaultProducer::builder("h").client(&first.shared.client);
    let builder = builder.fault_tolerance(FaultTolerance::LatencyAndProbes);
    let producer = builder.start().await.unwrap();
    world.broker("a", |_| Reply::Silence);
    let queue = MessageQueue::new("t", "a", 0);
    let send = producer.send(Message::new("t", "x")).to(queue);
    send.timeout(SECOND).await.unwrap_err();
    sleep(4 * SECOND).await;
    assert!(!world.asked(RequestCode::GET_MAX_OFFSET).is_empty());
    let faults = producer.shared.faults.as_ref().unwrap();
    let standing = faults.standings(|standing| standing("a"));
    assert_eq!(standing, crate::route::Standing::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_probed_unless_it_is_asked_for_nor_after_the_end() {
    let world = World::with_brokers(&["a", "b"]);
    let probes = || world.asked(RequestCode::GET_MAX_OFFSET).len();
    let quiet = producer(&world, FaultTolerance::Latency).await;
    world.broker("a", |_| Reply::Silence);
    used(&world, &quiet).await;
    sleep(6 * SECOND).await;
    assert_eq!(probes(), 0);
    // On a shared client, which goes on.
    let client = quiet.shared.client.clone();
    for shut_down in [true, false] {
        let builder = DefaultProducer::builder("h").client(&client);
        let probing = builder.fault_tolerance(FaultTolerance::LatencyAndProbes);
        let probing = probing.start().await.unwrap();
        world.broker("a", |_| Reply::Stored);
        world.broker("b", |_| Reply::Stored);
        both(&probing).await;
        world.remove_broker("b");
        world.broker("a", |_| Reply::HangUp);
        drop(probing.send(Message::new("t", "x")).await);
        let before = probes();
        sleep(3 * SECOND).await;
        assert!(probes() > before);
        if shut_down {
            probing.shutdown().await.unwrap();
        }
        drop(probing);
        sleep(millis(300)).await;
        let after = probes();
        sleep(10 * SECOND).await;
        assert_eq!(probes(), after);
        world.broker("b", |_| Reply::Stored);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_client_is_no_fault_of_a_broker() {
    let world = World::with_brokers(&["a"]);
    let first = producer(&world, FaultTolerance::Off).await;
    let client = first.shared.client.clone();
    let builder = DefaultProducer::builder("h").client(&client);
    let second = builder.fault_tolerance(FaultTolerance::Latency);
    let second = second.start().await.unwrap();
    world.broker("a", |_| Reply::Silence);
    let sending = tokio::spawn(second.send(Message::new("t", "x")));
    sleep(millis(1)).await;
    client.shutdown().await;
    sending.await.unwrap().unwrap_err();
    let faults = second.shared.faults.as_ref().unwrap();
    let standing = faults.standings(|standing| standing("a"));
    assert_eq!(standing, crate::route::Standing::Available);
}
