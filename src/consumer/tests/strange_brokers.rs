//! Brokers that say strange things of a queue.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::world::{Reply, World};
use crate::consumer::{ConsumeStatus, PushConsumer, sample};
use crate::protocol::code::RequestCode;
use crate::protocol::request::Request;
use crate::protocol::request::pull_message::PullMessage;

#[tokio::test(start_paused = true)]
async fn l05_a_corrected_offset_does_not_pass_a_message_that_is_not_finished() {
    let world = World::with_queues(1);
    world.set_committed(0, 0);
    world.store(0, 10);
    let given = Arc::new(Mutex::new(Vec::new()));
    let consumer = PushConsumer::builder("g")
        .config(world.config())
        .environment(world.environment())
        .subscribe("t", "*")
        .listener_with(Arc::clone(&given), |given, messages| async move {
            let offset = messages[0].queue_offset();
            given.lock().push(offset);
            if offset == 5 {
                // Fails long after the queue was taken over again.
                sleep(Duration::from_secs(10)).await;
                return ConsumeStatus::RECONSUME_LATER;
            }
            ConsumeStatus::CONSUME_SUCCESS
        })
        .start()
        .await
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(given.lock().len(), 10);
    // The broker has lost its last messages while the listener works on an earlier one.
    world.cut(0, 8);
    sleep(Duration::from_secs(20)).await;
    let times = given.lock().iter().filter(|offset| **offset == 5).count();
    assert_eq!(times, 2, "{:?}, {:?}", given.lock(), world.commits());
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_finds_messages_and_gives_none_is_not_asked_without_end() {
    let world = World::with_queues(1);
    let mut left = 1000;
    world.script(move |command| match command.request_code() {
        PullMessage::CODE if left > 0 => {
            left -= 1;
            Reply::FoundNothing
        }
        PullMessage::CODE => Reply::Silence,
        _ => Reply::Usual,
    });
    let consumer = PushConsumer::builder("g")
        .config(world.config())
        .environment(world.environment())
        .subscribe("t", "*")
        .listener(|_| async { ConsumeStatus::CONSUME_SUCCESS })
        .start()
        .await
        .unwrap();
    sleep(Duration::from_secs(10)).await;
    assert!(world.pulls().len() < 20, "{} pulls", world.pulls().len());
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn f18_a_message_that_is_not_what_was_stored_goes_back_and_no_other_with_it() {
    let world = World::with_queues(1);
    world.set_committed(0, 0);
    world.store(0, 2);
    let mut corrupt = sample::stored("t", 2, &[]);
    corrupt.body_crc ^= 1;
    world.store_one(0, corrupt);
    world.store(0, 2);
    let given = Arc::new(Mutex::new(Vec::new()));
    let consumer = PushConsumer::builder("g")
        .config(world.config())
        .environment(world.environment())
        .subscribe("t", "*")
        .consume_batch_max_size(5)
        .listener_with(Arc::clone(&given), |given, messages| async move {
            let offsets = messages.iter().map(|one| one.queue_offset());
            given.lock().extend(offsets);
            ConsumeStatus::CONSUME_SUCCESS
        })
        .start()
        .await
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*given.lock(), [0, 1, 3, 4]);
    assert_eq!(world.asked(RequestCode::CONSUMER_SEND_MSG_BACK), 1);
    assert!(consumer.shutdown().await.unwrap().is_clean());
    assert_eq!(world.committed(0), Some(5));
}

/// Consumes what comes while something happens; says how long the longest pause between two messages was.
async fn longest_pause(world: &Arc<World>, seconds: u32, happen: impl Fn(u32)) -> Duration {
    world.set_committed(0, 0);
    world.set_committed(1, 0);
    let given = Arc::new(Mutex::new((Instant::now(), Duration::ZERO)));
    let consumer = PushConsumer::builder("g")
        .config(world.config())
        .environment(world.environment())
        .subscribe("t", "*")
        .listener_with(Arc::clone(&given), |given, messages| async move {
            if messages[0].queue_id() == 0 {
                let mut given = given.lock();
                given.1 = given.1.max(given.0.elapsed());
                given.0 = Instant::now();
            }
            ConsumeStatus::CONSUME_SUCCESS
        })
        .start()
        .await
        .unwrap();
    for tick in 0..seconds * 50 {
        happen(tick);
        world.store(0, 1);
        sleep(Duration::from_millis(20)).await;
    }
    consumer.shutdown().await.unwrap();
    given.lock().1
}

#[tokio::test(start_paused = true)]
async fn f24_fifty_notices_a_second_stop_no_queue_and_are_few_rounds() {
    let world = World::with_queues(2);
    // Nothing changes by them.
    let notify = |_| world.set_member("nobody", false);
    let pause = longest_pause(&world, 60, notify).await;
    assert!(pause < Duration::from_millis(100), "{pause:?}");
    let rounds = world.asked(RequestCode::GET_CONSUMER_LIST_BY_GROUP);
    assert!(rounds <= 130, "{rounds} rounds in a minute");
}

#[tokio::test(start_paused = true)]
async fn f24_l07_a_member_that_flaps_takes_only_its_own_queue_along() {
    let world = World::with_queues(2);
    // By name it comes behind every client, so the first queue stays where it is.
    let flap = |tick| world.set_member("zzz", tick % 2 == 0);
    let pause = longest_pause(&world, 60, flap).await;
    assert!(pause < Duration::from_millis(100), "{pause:?}");
    let rounds = world.asked(RequestCode::GET_CONSUMER_LIST_BY_GROUP);
    assert!(rounds <= 130, "{rounds} rounds in a minute");
}
