//! Attempts that fail, and what the send makes of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::world::{Reply, World};
use crate::error::{Delivery, ErrorKind};
use crate::message::{Message, MessageQueue};
use crate::producer::{SendFuture, SendStatus};
use crate::protocol::code::{RequestCode, ResponseCode};

const SECOND: Duration = Duration::from_secs(1);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn queue(broker: &str, id: i32) -> MessageQueue {
    MessageQueue::new("t", broker, id)
}

/// Lets the broker do `first` with its first message and store all others.
fn once(world: &World, broker: &str, first: Reply) {
    world.broker(
        broker,
        move |count| if count == 0 { first } else { Reply::Stored },
    );
}

#[tokio::test(start_paused = true)]
async fn f02_a_broker_that_the_route_did_not_name_takes_over_when_the_only_one_is_gone() {
    let world = World::with_brokers(&["a", "b"]);
    // The other one is away while the route is looked up.
    world.topic("t", &[("a", 1)]);
    let producer = world.warm_producer().await;
    world.topic("t", &[("a", 1), ("b", 1)]);
    world.remove_broker("a");
    world.hang_up("a");
    let result = producer.send(Message::new("t", "x")).await.unwrap();
    assert_eq!(&*result.queue().broker_name, "b");
}

#[tokio::test(start_paused = true)]
async fn a_busy_broker_is_left_for_another_with_a_queue_of_its_own() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.warm_producer().await;
    for code in [1, 2, 14, 16, 204, 205, 215] {
        let before = world.sent().len();
        world.broker("a", move |_| Reply::Code(ResponseCode(code)));
        let began = Instant::now();
        for _ in 0..4 {
            let result = producer.send(Message::new("t", "x")).await.unwrap();
            assert_eq!(&*result.queue().broker_name, "b", "{code}");
            let last = world.sent().pop().unwrap();
            assert_eq!(last.queue_id, result.queue().queue_id);
            assert_eq!(last.property("UNIQ_KEY").as_deref(), Some(result.msg_id()));
            assert_eq!(last.fields["n"], "b");
        }
        let failed = world.sent().len() - before - 4;
        assert!(
            (1..=2).contains(&failed),
            "{failed} of four went to a first"
        );
        assert!(
            began.elapsed() < millis(50),
            "there is no pause before another broker"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_only_broker_is_tried_again_after_pauses_and_no_more_often_than_allowed() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.broker("a", |count| {
        if count < 2 {
            Reply::Code(ResponseCode(2))
        } else {
            Reply::Stored
        }
    });
    let began = Instant::now();
    producer.send(Message::new("t", "x")).await.unwrap();
    assert!(
        (millis(400)..millis(600)).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(world.sent().len(), 3);
    world.broker("a", |_| Reply::Code(ResponseCode::SYSTEM_BUSY));
    let error = producer.send(Message::new("t", "x")).await.unwrap_err();
    assert_eq!(error.response_code(), Some(ResponseCode::SYSTEM_BUSY));
    assert_eq!(
        (error.delivery(), error.addr()),
        (Delivery::No, Some("a:1"))
    );
    assert!(error.to_string().contains("(topic t, queue "), "{error}");
    assert!(
        error.to_string().contains("of a): refused by the broker"),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("as told; attempt 3 of 3; after "),
        "{error}"
    );
    assert_eq!(world.sent().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn without_retries_there_is_one_attempt() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.builder().retries(0).start().await.unwrap();
    world.broker("a", |_| Reply::Code(ResponseCode::SYSTEM_BUSY));
    world.broker("b", |_| Reply::Code(ResponseCode::SYSTEM_BUSY));
    let error = producer.send(Message::new("t", "x")).await.unwrap_err();
    assert!(error.to_string().contains("attempt 1 of 1"), "{error}");
    assert_eq!(world.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_no_broker_takes_is_not_tried_again() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.warm_producer().await;
    for (count, code) in [
        (1, ResponseCode::MESSAGE_ILLEGAL),
        (2, ResponseCode::VERSION_NOT_SUPPORTED),
    ] {
        for broker in ["a", "b"] {
            world.broker(broker, move |_| Reply::Code(code));
        }
        let error = producer.send(Message::new("t", "x")).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.response_code()),
            (ErrorKind::Broker, Some(code))
        );
        assert_eq!((error.is_retryable(), world.sent().len()), (false, count));
        let why = "attempt 1 of 3, not tried again: another attempt would not help;";
        assert!(error.to_string().contains(why), "{error}");
    }
    // One that only another takes is tried on each, and not again on the last.
    for broker in ["a", "b"] {
        world.broker(broker, |_| Reply::Code(ResponseCode::NO_PERMISSION));
    }
    let error = producer.send(Message::new("t", "x")).await.unwrap_err();
    assert_eq!(world.sent().len(), 4);
    let why = "attempt 2 of 3, not tried again: no other broker may take it;";
    assert!(error.to_string().contains(why), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_error_says_that_the_time_was_too_short_for_more() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.broker("a", |_| Reply::Code(ResponseCode::SYSTEM_BUSY));
    let sending = producer.send(Message::new("t", "x"));
    let error = sending.timeout(SECOND / 20).await.unwrap_err();
    let why = "attempt 1 of 3, not tried again: no time is left;";
    assert!(error.to_string().contains(why), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_tried_elsewhere() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.warm_producer().await;
    once(&world, "a", Reply::HangUp);
    once(&world, "b", Reply::HangUp);
    let result = producer.send(Message::new("t", "x")).await.unwrap();
    let went = world.sent_to();
    assert_eq!(went.len(), 3);
    assert_ne!(went[0], went[1]);
    assert_eq!(format!("{}:1", result.queue().broker_name), went[2]);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_cannot_be_reached_costs_no_time() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.builder().start().await.unwrap();
    world.remove_broker("a");
    for _ in 0..6 {
        let began = Instant::now();
        producer.send(Message::new("t", "x")).await.unwrap();
        assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    }
    world.remove_broker("b");
    let nobody = world.builder().start().await.unwrap();
    let error = nobody.send(Message::new("t", "x")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Connect, Delivery::No)
    );
    assert!(error.to_string().contains("attempt 3 of 3"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn f04_l14_a_silent_broker_gets_its_share_of_the_time_and_no_more() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.warm_producer().await;
    for broker in ["a", "b"] {
        once(&world, broker, Reply::Silence);
    }
    // Both are silent once: the second is waited for to the end, since the first has had its chance.
    let began = Instant::now();
    let error = producer.send(Message::new("t", "x")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Timeout, Delivery::Unknown)
    );
    let took = began.elapsed();
    assert!(
        (3 * SECOND..3 * SECOND + millis(100)).contains(&took),
        "{took:?}"
    );
    assert_eq!(world.sent().len(), 2);
    // One is silent: the other takes it after the share.
    once(&world, "a", Reply::Silence);
    let began = Instant::now();
    for _ in 0..4 {
        producer.send(Message::new("t", "x")).await.unwrap();
    }
    let took = began.elapsed();
    assert!((SECOND..SECOND + millis(100)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn where_nobody_else_is_a_slow_broker_gets_all_the_time() {
    let world = World::with_brokers(&["a", "b"]);
    world.topic("u", &[("a", 2)]);
    let producer = world.warm_producer().await;
    for broker in ["a", "b"] {
        world.broker(broker, |_| Reply::StoredAfter(millis(2900)));
    }
    let sends: [SendFuture; 3] = [
        producer.send(Message::new("u", "x")),
        producer.send(Message::new("t", "x")).to(queue("a", 0)),
        producer
            .send(Message::new("t", "x"))
            .sharding_key("order-1"),
    ];
    for outcome in join_all(sends).await {
        outcome.unwrap();
    }
    assert_eq!(world.sent().len(), 3, "no attempt was made besides");
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_of_an_earlier_attempt_still_wins() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.warm_producer().await;
    for broker in ["a", "b"] {
        world.broker(broker, move |_| Reply::StoredAfter(millis(1500)));
    }
    let began = Instant::now();
    let result = producer.send(Message::new("t", "x")).await.unwrap();
    let took = began.elapsed();
    assert!((millis(1500)..millis(1600)).contains(&took), "{took:?}");
    let sent = world.sent();
    assert_eq!((sent.len(), sent[0].addr == sent[1].addr), (2, false));
    assert_eq!(format!("{}:1", result.queue().broker_name), sent[0].addr);
    assert_eq!(result.queue().queue_id, sent[0].queue_id);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_wins_also_over_errors_and_while_connecting() {
    let world = World::with_brokers(&["a", "b"]);
    // The other broker refuses: nothing is left but to wait for the first.
    for refusal in [Reply::Code(ResponseCode::MESSAGE_ILLEGAL), Reply::HangUp] {
        for broker in ["a", "b"] {
            world.broker(broker, |_| Reply::Stored);
        }
        let producer = world.warm_producer().await;
        let slow = Arc::new(AtomicUsize::new(0));
        for broker in ["a", "b"] {
            let slow = Arc::clone(&slow);
            world.broker(broker, move |_| match slow.fetch_add(1, Ordering::SeqCst) {
                0 => Reply::StoredAfter(millis(2500)),
                _ => refusal,
            });
        }
        let began = Instant::now();
        let result = producer.send(Message::new("t", "x")).await.unwrap();
        assert_eq!(began.elapsed().as_millis() / 100, 25);
        assert_eq!(
            format!("{}:1", result.queue().broker_name),
            world.sent()[0].addr
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_after_a_silent_attempt_says_that_the_message_may_be_stored() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.broker("a", |count| match count {
        0 => Reply::HangUp,
        _ => Reply::Code(ResponseCode::MESSAGE_ILLEGAL),
    });
    let error = producer.send(Message::new("t", "x")).await.unwrap_err();
    assert_eq!(error.response_code(), Some(ResponseCode::MESSAGE_ILLEGAL));
    assert_eq!(error.delivery(), Delivery::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_its_broker_lost_is_looked_up_again_once() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.topic("t", &[("b", 1)]);
    world.broker("b", |_| Reply::Stored);
    world.broker("a", |_| Reply::Code(ResponseCode::TOPIC_NOT_EXIST));
    let result = producer.send(Message::new("t", "x")).await.unwrap();
    assert_eq!(*result.queue(), queue("b", 0));
    assert_eq!(world.asked(RequestCode::GET_ROUTEINFO_BY_TOPIC).len(), 1);
    // The same for a queue that was given: on the same broker, and only once.
    let error = producer
        .send(Message::new("t", "x"))
        .to(queue("a", 0))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRoute, "{error}");
    world.topic("t", &[("a", 2), ("b", 1)]);
    let error = producer
        .send(Message::new("t", "x"))
        .to(queue("a", 0))
        .await
        .unwrap_err();
    assert_eq!(error.response_code(), Some(ResponseCode::TOPIC_NOT_EXIST));
    assert_eq!(world.sent_to(), ["a:1", "b:1", "a:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_route_that_cannot_be_refreshed_is_used_on() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.warm_producer().await;
    world.forget_topic("t");
    once(&world, "a", Reply::Code(ResponseCode::TOPIC_NOT_EXIST));
    for _ in 0..4 {
        producer.send(Message::new("t", "x")).await.unwrap();
    }
    assert_eq!(world.sent().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_order_is_kept_by_trying_again_only_on_the_same_queue() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.warm_producer().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let selecting = |asked: &Arc<AtomicUsize>| {
        let asked = Arc::clone(asked);
        move |_: &[MessageQueue], _: &Message| {
            asked.fetch_add(1, Ordering::SeqCst);
            2
        }
    };
    let sends: [SendFuture; 3] = [
        producer.send(Message::new("t", "x")).to(queue("b", 0)),
        producer
            .send(Message::new("t", "x"))
            .sharding_key("order-1"),
        producer
            .send(Message::new("t", "x"))
            .select(selecting(&asked)),
    ];
    let first = [
        Reply::Code(ResponseCode::SYSTEM_BUSY),
        Reply::HangUp,
        Reply::Code(ResponseCode::TOPIC_NOT_EXIST),
    ];
    for (send, first) in sends.into_iter().zip(first) {
        let before = world.sent().len();
        once(&world, "b", first);
        let result = send.await.unwrap();
        assert_eq!(*result.queue(), queue("b", 0));
        let sent = &world.sent()[before..];
        assert_eq!(sent.len(), 2);
        assert!(
            sent.iter()
                .all(|sent| sent.addr == "b:1" && sent.queue_id == 0)
        );
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_bounds_everything() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.broker("a", |_| Reply::Silence);
    for time in [millis(1), millis(700)] {
        let began = Instant::now();
        let error = producer
            .send(Message::new("t", "x"))
            .timeout(time)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(
            (time..time + millis(100)).contains(&began.elapsed()),
            "{:?}",
            began.elapsed()
        );
    }
    // A broker that is always busy, and more retries than the time allows.
    let stubborn = world.builder().retries(1000).start().await.unwrap();
    world.broker("a", |_| Reply::Code(ResponseCode::SYSTEM_BUSY));
    let began = Instant::now();
    let error = stubborn.send(Message::new("t", "x")).await.unwrap_err();
    assert_eq!(error.response_code(), Some(ResponseCode::SYSTEM_BUSY));
    assert!(began.elapsed() <= 3 * SECOND + millis(100));
    assert!(world.sent().len() < 20, "{} attempts", world.sent().len());
}

#[tokio::test(start_paused = true)]
async fn one_broker_that_answers_nothing_does_not_slow_a_crowd_down_for_long() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.warm_producer().await;
    world.broker("a", |_| Reply::Silence);
    let outcomes = join_all((0..200).map(|_| producer.send(Message::new("t", "x"))));
    let outcomes = timeout(2 * SECOND, outcomes).await.unwrap();
    let brokers: BTreeSet<_> = outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap().queue().broker_name.clone())
        .collect();
    assert_eq!(
        brokers.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["b"]
    );
    assert_eq!(world.sent().len(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_dropped_between_attempts_makes_no_more() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.warm_producer().await;
    for broker in ["a", "b"] {
        world.broker(broker, |_| Reply::Silence);
    }
    for patience in [millis(500), millis(1500)] {
        timeout(patience, producer.send(Message::new("t", "x")))
            .await
            .unwrap_err();
        assert_eq!(producer.shared.unfinished(), 0);
    }
    sleep(10 * SECOND).await;
    assert_eq!(world.sent().len(), 3);
}

/// On two threads, since a send that never yields would hold up the test and the clock, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_not_well_enough_is_the_outcome_when_the_producer_ends() {
    let world = World::with_brokers(&["a", "b", "c"]);
    let builder = world.builder().retry_another_broker_when_not_store_ok();
    let producer = builder.start().await.unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    for name in ["a", "b", "c"] {
        let sent = Arc::clone(&sent);
        world.broker(name, move |_| match sent.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Code(ResponseCode::FLUSH_DISK_TIMEOUT),
            _ => Reply::Silence,
        });
    }
    let send = producer.send(Message::new("t", "x")).timeout(20 * SECOND);
    let sending = tokio::spawn(send);
    while sent.load(Ordering::SeqCst) < 2 {
        sleep(millis(1)).await;
    }
    producer.shutdown_within(Duration::ZERO).await.unwrap();
    let outcome = timeout(5 * SECOND, sending).await.expect("it goes on");
    let result = outcome.unwrap().unwrap();
    assert_eq!(result.status(), SendStatus::FLUSH_DISK_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_sends_its_clients_away_is_tried_again_on_another_connection() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.asked.lock().clear();
    world.broker("a", |count| match count {
        0 => Reply::Code(ResponseCode::GO_AWAY),
        _ => Reply::Stored,
    });
    producer.send(Message::new("t", "x")).await.unwrap();
    let codes: Vec<_> = world.asked.lock().iter().map(|asked| asked.code).collect();
    let (send, beat) = (RequestCode::SEND_MESSAGE_V2, RequestCode::HEART_BEAT);
    assert_eq!(codes, [send, beat, send]);
    // With the name server's.
    assert_eq!(world.connections(), 2);
}
