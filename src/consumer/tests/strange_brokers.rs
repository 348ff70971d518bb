//! Brokers that say strange things of a queue.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use super::world::{Reply, World};
use crate::consumer::{ConsumeStatus, PushConsumer};
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
