//! Settings of a push consumer of which brokers, or nobody else, notice something.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::world::{Reply, World};
use crate::consumer::{ConsumeStatus, PushConsumer, PushConsumerBuilder, sample};
use crate::message::MessageExt;
use crate::protocol::code::RequestCode;

const SECOND: Duration = Duration::from_secs(1);

/// A world whose queues hold so many messages each, all of which a group has yet to consume.
fn world(queues: usize, messages: usize) -> Arc<World> {
    let world = World::with_queues(queues);
    for queue in 0..queues as i32 {
        world.set_committed(queue, 0);
        world.store(queue, messages);
    }
    world
}

fn builder(world: &Arc<World>) -> PushConsumerBuilder {
    PushConsumer::builder("g")
        .config(world.config())
        .environment(world.environment())
        .subscribe("t", "*")
}

#[tokio::test(start_paused = true)]
async fn between_two_pulls_of_a_queue_there_is_the_pause_that_was_asked_for() {
    let world = world(1, 50);
    let consumer = builder(&world)
        .pull_batch_size(1)
        .pull_interval(2 * SECOND)
        .listener(|_| async { ConsumeStatus::CONSUME_SUCCESS })
        .start()
        .await
        .unwrap();
    sleep(SECOND).await;
    let first = world.pulls().len();
    sleep(20 * SECOND).await;
    assert_eq!((first, world.pulls().len() - first), (1, 10));
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn queues_hold_no_more_bytes_than_their_part_of_the_topic() {
    let pulls = |bytes| async move {
        let world = world(2, 100);
        let consumer = builder(&world)
            .pull_batch_size(1)
            .pull_threshold_size_for_topic(bytes)
            .listener(|_| std::future::pending::<ConsumeStatus>())
            .shutdown_timeout(Duration::ZERO);
        let consumer = consumer.start().await.unwrap();
        sleep(SECOND).await;
        let mut pulls = [0_usize; 2];
        for (queue, _) in world.pulls() {
            pulls[queue as usize] += 1;
        }
        consumer.shutdown().await.unwrap();
        pulls
    };
    let (some, twice) = (pulls(20_000).await, pulls(40_000).await);
    assert_eq!((some[0], twice[0]), (some[1], twice[1]));
    // Pulling stops above the limit, so there is one more each time.
    assert!(some[0] > 2 && twice[0] < 100, "{some:?} {twice:?}");
    assert!(
        (twice[0] - 1).abs_diff(2 * (some[0] - 1)) <= 1,
        "{some:?} {twice:?}"
    );
}

/// How many listeners began, and how many ended by themselves.
#[derive(Default)]
struct Counts {
    began: AtomicUsize,
    ended: AtomicUsize,
}

/// Whether listeners that take too long are kept.
fn kept(builder: PushConsumerBuilder, keep: bool) -> PushConsumerBuilder {
    if keep {
        builder.keep_timed_out_listeners()
    } else {
        builder
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_takes_too_long_is_dropped_or_kept() {
    for keep in [false, true] {
        let (world, counts) = (world(1, 3), Arc::new(Counts::default()));
        let builder = builder(&world)
            .concurrency(1)
            .consume_timeout(5 * SECOND)
            .listener_with(Arc::clone(&counts), |counts, _| async move {
                counts.began.fetch_add(1, Ordering::Relaxed);
                sleep(60 * SECOND).await;
                counts.ended.fetch_add(1, Ordering::Relaxed);
                ConsumeStatus::CONSUME_SUCCESS
            });
        let consumer = kept(builder, keep).start().await.unwrap();
        // They go one after the other, though each would take a minute.
        sleep(17 * SECOND).await;
        assert_eq!(counts.began.load(Ordering::Relaxed), 3);
        assert_eq!(world.asked(RequestCode::CONSUMER_SEND_MSG_BACK), 3);
        sleep(60 * SECOND).await;
        let ended = counts.ended.load(Ordering::Relaxed);
        assert_eq!(ended, if keep { 3 } else { 0 });
        // What was given back stays so, whatever the listener says later.
        assert_eq!(world.committed(0), Some(3));
        assert!(consumer.shutdown().await.unwrap().is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_hangs_keeps_no_message_that_it_was_not_given() {
    for keep in [false, true] {
        let world = World::with_queues(1);
        world.set_committed(0, 0);
        let mut corrupt = sample::stored("t", 0, &[]);
        corrupt.body_crc ^= 1;
        world.store_one(0, corrupt);
        world.store(0, 4);
        let (given, running) = <(Arc<Mutex<Vec<_>>>, Arc<AtomicUsize>)>::default();
        let builder = builder(&world)
            .concurrency(1)
            .consume_batch_max_size(5)
            .consume_timeout(5 * SECOND)
            .listener_with(
                (Arc::clone(&given), running),
                |(given, running), messages| async move {
                    let offsets: Vec<_> = messages.iter().map(MessageExt::queue_offset).collect();
                    given.lock().push(offsets.clone());
                    if offsets == [1] {
                        sleep(60 * SECOND).await;
                        return ConsumeStatus::CONSUME_SUCCESS;
                    }
                    let others = running.fetch_add(1, Ordering::Relaxed);
                    sleep(SECOND).await;
                    running.fetch_sub(1, Ordering::Relaxed);
                    assert_eq!(others, 0, "only one runs at a time");
                    ConsumeStatus::CONSUME_SUCCESS
                },
            );
        let consumer = kept(builder, keep).start().await.unwrap();
        sleep(17 * SECOND).await;
        assert_eq!(*given.lock(), [[1], [2], [3], [4]], "{keep}");
        // The one that cannot be read, and the one that hangs.
        assert_eq!(world.asked(RequestCode::CONSUMER_SEND_MSG_BACK), 2);
        assert!(consumer.shutdown().await.unwrap().is_clean());
        assert_eq!(world.committed(0), Some(5));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_fails_once_though_its_listener_takes_too_long_and_then_fails() {
    let (world, began) = (world(1, 1), Arc::new(AtomicUsize::new(0)));
    // Nobody knows whether the broker has taken it back.
    world.script(|command| match command.request_code() {
        RequestCode::CONSUMER_SEND_MSG_BACK => Reply::Silence,
        _ => Reply::Usual,
    });
    let consumer = builder(&world).consume_timeout(5 * SECOND).listener_with(
        Arc::clone(&began),
        |began, _| async move {
            if began.fetch_add(1, Ordering::Relaxed) == 0 {
                sleep(12 * SECOND).await;
                return ConsumeStatus::RECONSUME_LATER;
            }
            ConsumeStatus::CONSUME_SUCCESS
        },
    );
    let consumer = consumer.start().await.unwrap();
    sleep(30 * SECOND).await;
    let group = consumer.handle.group("test").unwrap();
    let status = group.stats().status(Instant::now())["t"];
    assert_eq!(
        (began.load(Ordering::Relaxed), status.consume_failed_msgs),
        (2, 1)
    );
    drop(group);
    assert!(consumer.shutdown().await.unwrap().is_clean());
}
