//! Brokers that say strange things of a queue.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tracing::subscriber::DefaultGuard;

use super::world::{BROKER, Reply, SLAVE, World};
use crate::consumer::{ConsumeStatus, PushConsumer, sample};
use crate::protocol::code::{RequestCode, ResponseCode};
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
    let (log, _logging) = log();
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
    let log = String::from_utf8(log.lock().clone()).unwrap();
    assert_eq!(log.matches("nothing is there").count(), 1, "{log}");
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

#[tokio::test(start_paused = true)]
async fn f27_l30_members_that_subscribe_to_different_things_are_told_so_once() {
    let (log, _logging) = log();
    let world = World::with_queues(1);
    let consumer = PushConsumer::builder("g")
        .config(world.config())
        .environment(world.environment())
        .subscribe("t", "a")
        .listener(|_| async { ConsumeStatus::CONSUME_SUCCESS })
        .start()
        .await
        .unwrap();
    let warnings = || {
        let log = String::from_utf8(log.lock().clone()).unwrap();
        let of_members = log
            .lines()
            .filter(|line| line.contains("members of the group differ"));
        of_members.map(str::to_owned).collect::<Vec<_>>()
    };
    sleep(Duration::from_secs(211)).await;
    assert!(warnings().is_empty(), "{:?}", warnings());
    // Another member says something else a moment after each heartbeat of ours.
    for _ in 0..10 {
        let mut other = world.heartbeats().pop().unwrap();
        other.client_id = "other".to_owned();
        let own = &mut other.consumer_data_set[0].subscription_data_set;
        let own = own.iter_mut().find(|one| one.topic == "t").unwrap();
        (own.sub_string, own.tags_set) = ("b".to_owned(), vec!["b".to_owned()]);
        world.hear(other);
        sleep(Duration::from_secs(30)).await;
    }
    let warnings = warnings();
    assert!(!warnings.is_empty());
    let text = r#"of t one subscribes to "a", another to "b""#;
    assert!(warnings[0].contains(text), "{warnings:?}");
    consumer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn pulls_go_where_the_broker_sends_them_and_back_when_nobody_answers_there() {
    let world = World::with_queues(1);
    world.set_committed(0, 0);
    world.give_slave();
    world.store(0, 3);
    let given = Arc::new(Mutex::new(0));
    let consumer = PushConsumer::builder("g")
        .config(world.config())
        .environment(world.environment())
        .subscribe("t", "*")
        .pull_batch_size(1)
        .listener_with(Arc::clone(&given), |given, messages| async move {
            *given.lock() += messages.len();
            ConsumeStatus::CONSUME_SUCCESS
        })
        .start()
        .await
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*given.lock(), 3);
    assert_eq!(world.pulled_from(), [BROKER, SLAVE, SLAVE, SLAVE]);
    let mut left = 1;
    world.script(move |command| match command.request_code() {
        PullMessage::CODE if left > 0 => {
            left -= 1;
            Reply::Code(ResponseCode::SYSTEM_ERROR)
        }
        _ => Reply::Usual,
    });
    // The pull that waits ends with nothing, the next one fails, and then it is the master's turn.
    sleep(Duration::from_secs(20)).await;
    assert_eq!(world.pulled_from()[4..6], [SLAVE, BROKER]);
    assert!(consumer.shutdown().await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_busy_is_asked_again_after_pauses_that_grow() {
    let world = World::with_queues(1);
    world.set_committed(0, 0);
    let mut left = 10;
    world.script(move |command| match command.request_code() {
        PullMessage::CODE if left > 0 => {
            left -= 1;
            Reply::Code(ResponseCode::FLOW_CONTROL)
        }
        _ => Reply::Usual,
    });
    let given = Arc::new(Mutex::new(0));
    let consumer = PushConsumer::builder("g")
        .config(world.config())
        .environment(world.environment())
        .subscribe("t", "*")
        .listener_with(Arc::clone(&given), |given, messages| async move {
            *given.lock() += messages.len();
            ConsumeStatus::CONSUME_SUCCESS
        })
        .start()
        .await
        .unwrap();
    world.store(0, 3);
    let look_ups = world.asked(RequestCode::GET_ROUTEINFO_BY_TOPIC);
    sleep(Duration::from_secs(1)).await;
    assert!((3..8).contains(&world.pulls().len()), "{:?}", world.pulls());
    // Its route is no better by being looked up.
    assert_eq!(world.asked(RequestCode::GET_ROUTEINFO_BY_TOPIC), look_ups);
    sleep(Duration::from_secs(25)).await;
    assert_eq!(*given.lock(), 3);
    assert!(consumer.shutdown().await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn queues_hold_no_more_than_their_part_of_the_topic() {
    let world = World::with_queues(2);
    for queue in 0..2 {
        world.set_committed(queue, 0);
        world.store(queue, 50);
    }
    let consumer = PushConsumer::builder("g")
        .config(world.config())
        .environment(world.environment())
        .subscribe("t", "*")
        .pull_batch_size(1)
        .pull_threshold_for_topic(10)
        .listener(|_| std::future::pending::<ConsumeStatus>())
        .shutdown_timeout(Duration::ZERO)
        .start()
        .await
        .unwrap();
    let pulls_of = |queue| world.pulls().iter().filter(|(of, _)| *of == queue).count();
    sleep(Duration::from_secs(1)).await;
    // Five each; pulling stops above that.
    assert_eq!((pulls_of(0), pulls_of(1)), (6, 6));
    // With the other queue gone, this one may hold everything.
    world.set_member("zzz", true);
    sleep(Duration::from_secs(10)).await;
    assert_eq!((pulls_of(0), pulls_of(1)), (11, 6));
    consumer.shutdown().await.unwrap();
}

/// Keeps what is logged while the guard lives.
fn log() -> (Arc<Mutex<Vec<u8>>>, DefaultGuard) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&log);
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || Written(Arc::clone(&written)))
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

/// What is logged.
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
