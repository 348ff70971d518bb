//! How much consumers hold, and who waits for whom when that is used up.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::world::World;
use crate::client::Client;
use crate::consumer::{ConsumeFromWhere, ConsumeStatus, PushConsumer, PushConsumerBuilder, sample};
use crate::protocol::message::stored::body_crc;

const SECOND: Duration = Duration::from_secs(1);

/// A client of the world that may hold this much.
async fn client(world: &Arc<World>, bytes: usize) -> Client {
    let config = world.config().max_buffered_bytes(bytes);
    let client = Client::builder().config(config);
    let client = client.environment(world.environment());
    client.start().await.unwrap()
}

fn builder(client: &Client) -> PushConsumerBuilder {
    PushConsumer::builder("g")
        .client(client)
        .subscribe("t", "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
}

#[tokio::test(start_paused = true)]
async fn a_busy_queue_does_not_wait_behind_quiet_ones_while_others_hold_the_budget() {
    let world = World::with_queues(17);
    let client = client(&world, 64 * 1024).await;
    // The listeners of another consumer hang with all that there may be.
    let held = client.allowance().reserve(64 * 1024).await;
    let (came, mut coming) = mpsc::unbounded_channel();
    let consumer = builder(&client).listener_with(came, |came, messages| async move {
        came.send(messages[0].queue_offset()).unwrap();
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = consumer.start().await.unwrap();
    sleep(SECOND * 60).await;
    for offset in 0..20 {
        let began = Instant::now();
        world.store(16, 1);
        assert_eq!(coming.recv().await, Some(offset));
        assert!(began.elapsed() < SECOND * 3, "{:?}", began.elapsed());
        sleep(SECOND * 7).await;
    }
    // Looking for messages takes turns, and turns have pauses.
    let pulls = world.pulls().len();
    sleep(SECOND * 60).await;
    assert!(world.pulls().len() - pulls < 17 * 60);
    drop(held);
    consumer.shutdown().await.unwrap();
}

/// Stores messages of a KiB.
fn store(world: &World, count: i64) {
    for offset in 0..count {
        let mut message = sample::stored("t", offset, &[]);
        message.body = Bytes::from(vec![b'x'; 1024]);
        message.body_crc = body_crc(&message.body);
        world.store_one(0, message);
    }
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_passed_by_one_pull_at_most_that_asks_for_what_is_reserved() {
    const BUDGET: usize = 64 * 1024;
    let world = World::with_queues(1);
    store(&world, 400);
    let client = client(&world, BUDGET).await;
    let (came, mut coming) = mpsc::unbounded_channel();
    let consumer = builder(&client)
        .pull_batch_size(1024)
        .concurrency(1000)
        .shutdown_timeout(Duration::ZERO)
        .listener_with(came, |came, messages| async move {
            came.send(messages.len()).unwrap();
            pending::<ConsumeStatus>().await
        });
    let consumer = consumer.start().await.unwrap();
    sleep(SECOND * 60).await;
    let mut count = 0;
    while let Ok(messages) = coming.try_recv() {
        count += messages;
    }
    let held = count * 1100;
    assert!(count > 32 && held <= 2 * BUDGET, "{held} bytes are held");
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_third_pull_of_a_backlog_brings_a_full_batch() {
    let world = World::with_queues(1);
    store(&world, 200);
    let client = client(&world, 1 << 20).await;
    let consumer = builder(&client).listener(|_| async { ConsumeStatus::CONSUME_SUCCESS });
    let consumer = consumer.start().await.unwrap();
    sleep(SECOND).await;
    let pulls = world.pulls();
    let brought: Vec<_> = pulls.windows(2).map(|two| two[1].1 - two[0].1).collect();
    assert!(brought[0] >= 12, "{brought:?}");
    assert!(brought[1] >= 24, "{brought:?}");
    assert_eq!(brought[2..5], [32; 3], "{brought:?}");
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_large_messages_passes_the_budget_by_one_of_them() {
    const LARGE: usize = 2 << 20;
    let world = World::with_queues(16);
    for queue in 0..16 {
        for offset in 0..4 {
            let mut message = sample::stored("t", offset, &[]);
            message.body = Bytes::from(vec![b'x'; LARGE]);
            message.body_crc = body_crc(&message.body);
            world.store_one(queue, message);
        }
    }
    let client = client(&world, 2 * LARGE).await;
    let held = Arc::new(AtomicUsize::new(0));
    let consumer =
        builder(&client)
            .concurrency(100)
            .listener_with(Arc::clone(&held), |held, _| async move {
                held.fetch_add(1, Ordering::Relaxed);
                sleep(SECOND * 5).await;
                held.fetch_sub(1, Ordering::Relaxed);
                ConsumeStatus::CONSUME_SUCCESS
            });
    let consumer = consumer.start().await.unwrap();
    // Nobody knows yet how large they are.
    sleep(SECOND * 2).await;
    assert!(held.load(Ordering::Relaxed) > 3);
    sleep(SECOND * 5).await;
    let mut most = 0;
    for _ in 0..60 {
        sleep(SECOND).await;
        most = most.max(held.load(Ordering::Relaxed));
    }
    assert!((1..=3).contains(&most), "{most} of them are held");
    consumer.shutdown().await.unwrap();
}
