//! Answers that come in another order, twice, to nobody, or when nobody waits for them any more.

use std::collections::{BTreeMap, HashMap};

use futures::future::join_all;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rocketmq_sdk::{DefaultProducer, ErrorKind, Result, SendResult};
use rocketmq_testkit::Cluster;
use tokio::time::Instant;

use crate::segments::ByteByByte;
use crate::world::{SECOND, World, queue_a, queue_b, send, together};

async fn send_at_once(producer: &DefaultProducer, count: usize) -> Vec<Result<SendResult>> {
    join_all((0..count).map(|at| send(producer, queue_a(), format!("m{at}")))).await
}

/// Where the broker stored each message, from its own journal.
fn stored(cluster: &Cluster) -> HashMap<String, i64> {
    let entries = cluster.journal().entries().into_iter();
    let stored = entries.filter_map(|entry| {
        let key = entry.unique_key()?.to_owned();
        Some((key, entry.stored()?.queue_offset))
    });
    stored.collect()
}

/// Fails if a result is that of another message.
fn assert_own(cluster: &Cluster, results: &[Result<SendResult>]) {
    let stored = stored(cluster);
    for result in results.iter().flatten() {
        let offset = stored.get(result.msg_id());
        assert_eq!(offset, Some(&result.queue_offset()), "{result:?}");
    }
}

#[test]
fn f12_answers_in_any_order_find_their_calls() {
    together(async {
        const AT_ONCE: usize = 500;
        let world = World::new().await;
        let producer = world.producer().await;
        let held = world.faults().on_sends().answer().hold();
        let mut random = StdRng::seed_from_u64(12);
        let mut order: Vec<_> = (0..AT_ONCE).collect();
        for _ in 0..10 {
            order.shuffle(&mut random);
            let released = async {
                held.wait_for_held(AT_ONCE as u64).await.unwrap();
                held.release(order.iter().copied());
            };
            let (results, ()) = tokio::join!(send_at_once(&producer, AT_ONCE), released);
            assert!(results.iter().all(Result::is_ok));
            assert_own(&world.cluster, &results);
        }
        producer.shutdown().await.unwrap();
    });
}

#[test]
fn f12_answers_that_come_twice_or_to_nobody_are_no_answers() {
    together(async {
        let world = World::new().await;
        let producer = world.producer().await;
        let lost = world
            .faults()
            .on_sends()
            .probability(0.02)
            .answer()
            .wrong_opaque();
        let doubled = world
            .faults()
            .on_sends()
            .probability(0.5)
            .answer()
            .duplicate();
        let mut failed = 0;
        for _ in 0..10 {
            let results = send_at_once(&producer, 200).await;
            assert_own(&world.cluster, &results);
            for error in results.into_iter().filter_map(Result::err) {
                assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
                failed += 1;
            }
        }
        assert_eq!(failed, lost.hits());
        assert!((10..100).contains(&lost.hits()) && doubled.hits() > 800);
        producer.shutdown().await.unwrap();
    });
}

#[test]
fn f12_answers_for_a_connection_that_was_given_up_reach_nobody() {
    together(async {
        let world = World::new().await;
        let producer = world.producer().await;
        let broker = world.cluster.broker("broker-a");
        let held = world.faults().on_sends().times(5).answer().hold();
        let results = send_at_once(&producer, 5).await;
        assert!(results.iter().all(Result::is_err));
        // The answers come to the client while others wait for theirs, on a connection of their own.
        let others = send_at_once(&producer, 100);
        let late = async { held.release_all() };
        let (results, ()) = tokio::join!(others, late);
        let failed = results.iter().filter(|result| result.is_err()).count();
        assert_eq!(failed, 0, "{results:?}");
        assert_own(&world.cluster, &results);
        tokio::time::sleep(SECOND).await;
        assert_eq!(broker.connections(), 1);
        producer.shutdown().await.unwrap();
    });
}

/// The offsets of what was sent, by body, and what a consumer then gets.
async fn history(world: &World) -> (Vec<i64>, Vec<String>) {
    const COUNT: usize = 200;
    let producer = world.producer().await;
    // With the connection there, messages are sent in the order in which they are given.
    send(&producer, queue_a(), "first").await.unwrap();
    let sent = async {
        let results = send_at_once(&producer, COUNT).await;
        results
            .into_iter()
            .map(|result| result.unwrap().queue_offset())
            .collect()
    };
    let offsets = sent.await;
    let (consumer, mut coming) = world.consumer().await;
    let mut bodies = BTreeMap::new();
    while bodies.len() < COUNT + 1 {
        let message = coming.recv().await.unwrap();
        let body = String::from_utf8(message.body().to_vec()).unwrap();
        assert!(bodies.insert(message.queue_offset(), body).is_none());
    }
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
    assert!(coming.recv().await.is_none());
    (offsets, bodies.into_values().collect())
}

#[test]
fn f16_bytes_one_by_one_and_200_frames_at_once_are_the_same_history() {
    together(async {
        let plain = history(&World::new().await).await;

        let world = World::new().await.within(ByteByByte);
        assert_eq!(history(&world).await, plain);

        let world = World::new().await;
        let held = world.faults().on_sends().skip(1).answer().hold();
        let released = async {
            held.wait_for_held(200).await.unwrap();
            held.release_all();
        };
        let (gulped, ()) = tokio::join!(history(&world), released);
        assert_eq!(gulped, plain);
    });
}

#[test]
fn f04_an_answer_that_trickles_ends_with_its_deadline_and_its_connection_in_time() {
    together(async {
        let world = World::new().await;
        let producer = world.producer().await;
        send(&producer, queue_a(), "before").await.unwrap();
        world.faults().on_sends().times(1).answer().trickle(1);
        let start = Instant::now();
        let error = send(&producer, queue_a(), "slow").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert_eq!(start.elapsed(), 3 * SECOND);
        send(&producer, queue_b(), "elsewhere").await.unwrap();
        // Nothing else comes on its connection, but bytes do.
        while send(&producer, queue_a(), "behind").await.is_err() {}
        assert!(start.elapsed() < 40 * SECOND);
        producer.shutdown().await.unwrap();
    });
}
