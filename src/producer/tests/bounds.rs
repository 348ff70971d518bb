//! How much may be in flight, on every way of sending.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::requesting::{id_of, reply, wait_for_requests};
use super::world::{NAME_SERVER, Reply, World};
use crate::config::ClientConfig;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::message::Message;
use crate::producer::driver::MOST_REFUSED;
use crate::producer::{
    DefaultProducer, DefaultProducerBuilder, FaultTolerance, SendResult, TransactionProducer,
    TransactionState,
};
use crate::route::Standing;

const HELD: usize = 4;

fn message() -> Message {
    Message::new("t", "x")
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn bounded(world: &Arc<World>) -> DefaultProducerBuilder {
    world.builder().max_in_flight(HELD)
}

/// A producer at its bound, with a broker that stores everything after 500 ms.
async fn full_producer(world: &Arc<World>) -> DefaultProducer {
    let producer = bounded(world).start().await.unwrap();
    producer.send(message()).await.unwrap();
    world.broker("a", |_| Reply::StoredAfter(millis(500)));
    for _ in 0..HELD {
        producer.send_callback(message(), |outcome| drop(outcome.unwrap()));
    }
    sleep(millis(1)).await;
    assert_eq!(producer.shared.room.messages(), HELD);
    producer
}

/// The ways of sending that wait for room.
fn ways(
    producer: &DefaultProducer,
    time: Duration,
) -> [(&'static str, BoxFuture<'static, Result<()>>); 5] {
    let send = || producer.send(message()).timeout(time);
    let batch = producer
        .send_batch(vec![message(), message()])
        .timeout(time);
    let submitted = send().submit();
    [
        ("send", send().map(|outcome| outcome.map(drop)).boxed()),
        (
            "key",
            send()
                .sharding_key("k")
                .map(|outcome| outcome.map(drop))
                .boxed(),
        ),
        ("submit", async { submitted.await?.await.map(drop) }.boxed()),
        ("oneway", send().oneway().boxed()),
        ("batch", batch.map(|outcome| outcome.map(drop)).boxed()),
    ]
}

fn assert_overloaded(error: &Error, named: &str) {
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
    assert_eq!((error.delivery(), error.topic()), (Delivery::No, Some("t")));
    assert!(error.is_retryable());
    assert!(error.to_string().contains(named), "{error}");
}

#[tokio::test(start_paused = true)]
async fn over_the_bound_a_callback_gets_the_error_at_once() {
    let world = World::with_brokers(&["a"]);
    let producer = full_producer(&world).await;
    let (reports, mut reported) = mpsc::unbounded_channel::<Result<SendResult>>();
    let report = || {
        let reports = reports.clone();
        move |outcome| reports.send(outcome).unwrap()
    };
    producer.send_callback(message(), report());
    assert!(
        reported.recv().now_or_never().is_none(),
        "it is not called from the sender"
    );
    let error = reported.recv().await.unwrap().unwrap_err();
    assert_overloaded(&error, "4 messages or 104857600 bytes");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.sent().len(), HELD + 1);
    producer.send_callback(message(), report());
    reported.recv().await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn at_the_bound_a_callback_may_send_the_next_message() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().max_in_flight(1).start().await.unwrap();
    let (reports, mut reported) = mpsc::unbounded_channel::<Result<SendResult>>();
    let next = producer.clone();
    producer.send_callback(message(), move |outcome| {
        drop(outcome.unwrap());
        next.send_callback(message(), move |outcome| reports.send(outcome).unwrap());
    });
    reported.recv().await.unwrap().unwrap();
    assert_eq!(world.sent().len(), 2);
    assert_eq!(producer.shutdown().await.unwrap().unfinished(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_without_end_does_not_pile_up() {
    let world = World::with_brokers(&["a"]);
    let producer = full_producer(&world).await;
    let called = Arc::new(AtomicUsize::new(0));
    let refuse = |called: Arc<AtomicUsize>| {
        move |outcome: Result<SendResult>| {
            assert_overloaded(&outcome.unwrap_err(), "4 messages");
            called.fetch_add(1, Ordering::SeqCst);
        }
    };
    for _ in 0..MOST_REFUSED {
        producer.send_callback(message(), refuse(Arc::clone(&called)));
    }
    assert_eq!(called.load(Ordering::SeqCst), 0, "all wait for the task");
    producer.send_callback(message(), refuse(Arc::clone(&called)));
    assert_eq!(called.load(Ordering::SeqCst), 1, "that was one too many");
    // One that sends again does not call the next from inside.
    let (again, inside) = (producer.clone(), Arc::clone(&called));
    producer.send_callback(message(), move |outcome| {
        assert_overloaded(&outcome.unwrap_err(), "4 messages");
        again.send_callback(message(), refuse(Arc::clone(&inside)));
        assert_eq!(inside.load(Ordering::SeqCst), 1);
    });
    sleep(millis(1)).await;
    assert_eq!(called.load(Ordering::SeqCst), MOST_REFUSED + 2);
}

#[cfg(feature = "zlib")]
#[tokio::test(start_paused = true)]
async fn large_bodies_are_compressed_one_for_each_processor_at_a_time() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().start().await.unwrap();
    let large = || Message::new("t", vec![b'x'; 1 << 20]);
    producer.send(large()).await.unwrap();
    let permits = Arc::clone(&producer.shared.compressing);
    let processors = std::thread::available_parallelism().unwrap().get();
    assert_eq!(permits.available_permits(), processors);
    let busy = permits.acquire_many(processors as u32).await.unwrap();
    let mut sending = Box::pin(producer.send(large()));
    timeout(millis(500), &mut sending).await.unwrap_err();
    assert_eq!(world.sent().len(), 1);
    drop(busy);
    sending.await.unwrap();
    let body = world.sent().remove(1).body;
    assert!(body.len() < 1 << 16, "{} bytes", body.len());
}

#[tokio::test(start_paused = true)]
async fn over_the_bound_every_other_way_waits_for_room() {
    let world = World::with_brokers(&["a"]);
    for number in 0..5 {
        let producer = full_producer(&world).await;
        let before = world.sent().len();
        let began = Instant::now();
        let (name, way) = ways(&producer, Duration::from_secs(3))
            .into_iter()
            .nth(number)
            .unwrap();
        way.await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let took = began.elapsed().as_millis();
        sleep(millis(1)).await;
        // What is answered waits for its answer, too.
        let expected = if name == "oneway" { 499 } else { 999 };
        assert!((expected..expected + 10).contains(&took), "{name}: {took}");
        assert_eq!(world.sent().len() - before, 1, "{name}");
        assert_eq!(producer.shared.room.messages(), 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn room_that_does_not_come_in_time_is_an_error_that_says_so() {
    let world = World::with_brokers(&["a"]);
    let producer = full_producer(&world).await;
    let before = world.sent().len();
    for (name, way) in ways(&producer, millis(20)) {
        let began = Instant::now();
        let error = way.await.unwrap_err();
        assert_overloaded(&error, "no room came in time");
        assert!((20..30).contains(&began.elapsed().as_millis()), "{name}");
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.sent().len(), before, "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_room_is_no_broker_s_fault_and_brings_no_second_attempt() {
    for way in ["submit", "transaction", "request"] {
        let world = World::with_brokers(&["a", "b"]);
        let builder = TransactionProducer::builder("g")
            .config(ClientConfig::default().name_server(NAME_SERVER))
            .environment(world.environment())
            .check(|_| async { TransactionState::Unknown })
            .producer(|it| it.max_in_flight(1).fault_tolerance(FaultTolerance::Latency));
        let transactions = builder.start().await.unwrap();
        let producer = transactions.plain();
        for queue in producer.queues("t").await.unwrap() {
            producer.send(message()).to(queue).await.unwrap();
        }
        for name in ["a", "b"] {
            world.broker(name, |_| Reply::StoredAfter(millis(100)));
        }
        let before = world.sent().len();
        let place = producer.shared.room.take(1, 1).unwrap();
        let mut waiting = match way {
            "submit" => {
                let submitted = producer.submit(message());
                async { submitted.await?.await.map(drop) }.boxed()
            }
            "transaction" => {
                let execute = |_| async { TransactionState::Commit };
                let sending = transactions.send_in_transaction(message(), execute);
                sending.map(|outcome| outcome.map(drop)).boxed()
            }
            _ => {
                let asking = producer.request(message());
                asking.map(|outcome| outcome.map(drop)).boxed()
            }
        };
        timeout(millis(1500), &mut waiting).await.unwrap_err();
        drop(place);
        let waiting = tokio::spawn(waiting);
        sleep(millis(500)).await;
        if way == "request" {
            reply(
                &world,
                &id_of(&wait_for_requests(&world, before + 1).await[before]),
                "!",
            );
        }
        waiting.await.unwrap().unwrap();
        assert_eq!(world.sent().len() - before, 1, "{way}");
        let faults = producer.shared.faults.as_ref().unwrap();
        for name in ["a", "b"] {
            let standing = faults.standings(|standing| standing(name));
            assert_eq!(standing, Standing::Available, "{way}: {name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_and_goes_away_leaves_nothing() {
    let world = World::with_brokers(&["a"]);
    let producer = full_producer(&world).await;
    for (_, way) in ways(&producer, Duration::from_secs(3)) {
        timeout(millis(10), way).await.unwrap_err();
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(producer.shared.unfinished(), 0);
    let before = world.sent().len();
    producer.send(message()).await.unwrap();
    assert_eq!(world.sent().len() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_has_its_turn_within_the_bound() {
    let world = World::with_brokers(&["a"]);
    let producer = bounded(&world).start().await.unwrap();
    world.broker("a", |_| Reply::StoredAfter(millis(10)));
    let crowd = join_all((0..100).map(|_| producer.send(message())));
    let watched = async {
        loop {
            assert!(producer.shared.room.messages() <= HELD);
            sleep(millis(1)).await;
        }
    };
    tokio::select! {
        outcomes = crowd => assert!(outcomes.iter().all(Result::is_ok)),
        () = watched => {}
    }
    assert_eq!(producer.shared.room.messages(), 0);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_too_and_what_is_larger_goes_alone() {
    let world = World::with_brokers(&["a"]);
    let producer = world
        .builder()
        .max_in_flight_bytes(1000)
        .start()
        .await
        .unwrap();
    world.broker("a", |_| Reply::StoredAfter(millis(100)));
    let of_size = |size: usize| producer.send(Message::new("t", vec![b'x'; size]));
    let began = Instant::now();
    join_all([of_size(600), of_size(400), of_size(5000), of_size(1)])
        .await
        .into_iter()
        .for_each(|outcome| drop(outcome.unwrap()));
    assert_eq!(began.elapsed().as_millis() / 100, 3);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_lets_those_who_wait_have_their_turn_within_its_time() {
    let world = World::with_brokers(&["a"]);
    for (grace, sent) in [(Duration::from_secs(3), true), (Duration::ZERO, false)] {
        let producer = full_producer(&world).await;
        let waiting = tokio::spawn(producer.send(message()));
        let submitting = tokio::spawn(producer.submit(message()));
        sleep(millis(1)).await;
        let report = producer.shutdown_within(grace).await.unwrap();
        let outcomes = [
            waiting.await.unwrap().map(drop),
            submitting.await.unwrap().map(drop),
        ];
        assert_eq!(report.unfinished(), if sent { 0 } else { HELD + 2 });
        for outcome in outcomes {
            match outcome {
                Ok(()) => assert!(sent),
                Err(error) => {
                    assert!(!sent, "{error}");
                    assert_eq!(
                        (error.kind(), error.delivery()),
                        (ErrorKind::Closed, Delivery::No)
                    );
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bounds_that_cannot_be_are_refused() {
    let world = World::with_brokers(&["a"]);
    let builder = || world.builder();
    for (builder, named) in [
        (
            builder().max_in_flight(0),
            "max_in_flight is 0; allowed is 1 to 1048576",
        ),
        (builder().max_in_flight(1 << 21), "max_in_flight is 2097152"),
        (
            builder().max_in_flight_bytes(0),
            "max_in_flight_bytes is 0; allowed is 1 to 274877906944",
        ),
    ] {
        let error = builder.start().await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(named), "{error}");
    }
}
