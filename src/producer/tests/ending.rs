//! Shutdowns, and producers that are dropped without one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::world::{NAME_SERVER, Reply, World};
use crate::client::Client;
use crate::config::ClientConfig;
use crate::error::{Delivery, ErrorKind};
use crate::message::Message;
use crate::producer::DefaultProducer;
use crate::protocol::code::RequestCode;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_what_is_in_flight_then_says_good_bye() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.broker("a", |_| Reply::StoredAfter(2 * SECOND));
    let called = Arc::new(AtomicUsize::new(0));
    let sending = tokio::spawn(producer.send(Message::new("t", "x")));
    let receipt = producer.submit(Message::new("t", "x")).await.unwrap();
    for _ in 0..5 {
        let called = Arc::clone(&called);
        producer.send_callback(Message::new("t", "x"), move |outcome| {
            drop(outcome.unwrap());
            called.fetch_add(1, Ordering::SeqCst);
        });
    }
    sleep(Duration::from_millis(1)).await;
    let began = Instant::now();
    let report = producer.shutdown().await.unwrap();
    assert_eq!((report.unfinished(), began.elapsed().as_secs()), (0, 1));
    assert_eq!(
        called.load(Ordering::SeqCst),
        5,
        "callbacks were called before"
    );
    sending.await.unwrap().unwrap();
    receipt.await.unwrap();
    let left = world.asked(RequestCode::UNREGISTER_CLIENT);
    assert_eq!(
        (left.len(), left[0].fields["producerGroup"].as_str()),
        (1, "g")
    );
    sleep(SECOND).await;
    assert_eq!(world.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_everything_is_closed_and_a_second_one_does_nothing() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    let clone = producer.clone();
    producer.shutdown().await.unwrap();
    let began = Instant::now();
    assert_eq!(clone.shutdown().await.unwrap().unfinished(), 0);
    let (reports, mut reported) = mpsc::unbounded_channel();
    clone.send_callback(Message::new("t", "x"), move |outcome| {
        reports.send(outcome).unwrap()
    });
    for error in [
        clone.send(Message::new("t", "x")).await.unwrap_err(),
        clone.send_oneway(Message::new("t", "x")).await.unwrap_err(),
        clone
            .submit(Message::new("t", "x"))
            .await
            .map(drop)
            .unwrap_err(),
        reported.recv().await.unwrap().unwrap_err(),
    ] {
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Closed, Delivery::No),
            "{error}"
        );
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(world.asked(RequestCode::UNREGISTER_CLIENT).len(), 1);
    assert_eq!(world.sent().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_done_in_time_is_counted_and_told() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.broker("a", |_| Reply::Silence);
    let minute = Duration::from_secs(60);
    let awaited = tokio::spawn(producer.send(Message::new("t", "x")).timeout(minute));
    let receipt = producer
        .send(Message::new("t", "x"))
        .timeout(minute)
        .submit()
        .await
        .unwrap();
    let (reports, mut reported) = mpsc::unbounded_channel();
    let send = producer.send(Message::new("t", "x")).timeout(minute);
    send.callback(move |outcome| reports.send(outcome).unwrap());
    sleep(Duration::from_millis(1)).await;
    let began = Instant::now();
    let report = producer.shutdown_within(SECOND).await.unwrap();
    assert_eq!(report.unfinished(), 3);
    assert!(began.elapsed() <= 2 * SECOND, "{:?}", began.elapsed());
    for error in [
        awaited.await.unwrap().unwrap_err(),
        receipt.await.unwrap_err(),
        reported.recv().await.unwrap().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        assert_eq!(error.delivery(), Delivery::Unknown, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_shared_client_too_the_outcome_is_there_when_the_shutdown_returns() {
    let world = World::with_brokers(&["a"]);
    let first = world.warm_producer().await;
    let shared = DefaultProducer::builder("h").client(&first.shared.client);
    let producer = shared.start().await.unwrap();
    world.broker("a", |_| Reply::Silence);
    let (reports, mut reported) = mpsc::unbounded_channel();
    for _ in 0..200 {
        let reports = reports.clone();
        producer.send_callback(Message::new("t", "x"), move |outcome| {
            reports.send(outcome).unwrap();
        });
    }
    let report = producer.shutdown_within(Duration::ZERO).await.unwrap();
    assert_eq!(report.unfinished(), 200);
    for _ in 0..200 {
        let error = reported.try_recv().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
    first.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_is_dropped_is_taken_up_by_the_next() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.broker("a", |_| Reply::StoredAfter(2 * SECOND));
    let sending = tokio::spawn(producer.send(Message::new("t", "x")));
    sleep(Duration::from_millis(1)).await;
    timeout(SECOND, producer.shutdown()).await.unwrap_err();
    let error = producer.send(Message::new("t", "x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "it takes no more already");
    producer.shutdown().await.unwrap();
    sending.await.unwrap().unwrap();
    assert_eq!(world.asked(RequestCode::UNREGISTER_CLIENT).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_says_good_bye_and_leaves_no_task() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    let clone = producer.clone();
    drop(producer);
    clone.send(Message::new("t", "x")).await.unwrap();
    assert_eq!(world.asked(RequestCode::UNREGISTER_CLIENT).len(), 0);
    drop(clone);
    sleep(SECOND).await;
    assert_eq!(world.asked(RequestCode::UNREGISTER_CLIENT).len(), 1);
    assert_eq!(world.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_is_dropped_leaves_its_sends_to_their_end() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.broker("a", |_| Reply::StoredAfter(2 * SECOND));
    let receipt = producer.submit(Message::new("t", "x")).await.unwrap();
    let send = producer.send(Message::new("t", "x"));
    drop(producer);
    send.await.unwrap();
    receipt.await.unwrap();
    sleep(SECOND).await;
    assert_eq!(world.asked(RequestCode::UNREGISTER_CLIENT).len(), 1);
    assert_eq!(world.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_producer_lets_a_shared_client_live() {
    let world = World::with_brokers(&["a"]);
    let first = world.warm_producer().await;
    let client = first.shared.client.clone();
    let second = DefaultProducer::builder("h")
        .client(&client)
        .start()
        .await
        .unwrap();
    drop(second);
    sleep(2 * SECOND).await;
    let left = world.asked(RequestCode::UNREGISTER_CLIENT);
    assert_eq!(
        (left.len(), left[0].fields["producerGroup"].as_str()),
        (1, "h")
    );
    first.send(Message::new("t", "x")).await.unwrap();
    let again = DefaultProducer::builder("h").client(&client);
    let again = again.start().await.unwrap();
    again.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_producer_leaves_its_place_at_once_and_brokers_know_the_one_that_takes_it() {
    let world = World::with_brokers(&["a"]);
    let first = world.warm_producer().await;
    let client = first.shared.client.clone();
    let start = || DefaultProducer::builder("h").topics(["t"]).client(&client);
    for _ in 0..3 {
        drop(start().start().await.unwrap());
    }
    let second = start().start().await.unwrap();
    sleep(2 * SECOND).await;
    let codes = [RequestCode::HEART_BEAT, RequestCode::UNREGISTER_CLIENT];
    let asked = world.asked.lock();
    let last = asked.iter().rfind(|asked| codes.contains(&asked.code));
    assert_eq!(last.unwrap().code, RequestCode::HEART_BEAT);
    drop((asked, second));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_shared_client_ends_the_sends() {
    let world = World::with_brokers(&["a"]);
    let first = world.warm_producer().await;
    let client = first.shared.client.clone();
    let producer = DefaultProducer::builder("h")
        .client(&client)
        .start()
        .await
        .unwrap();
    world.broker("a", |_| Reply::Silence);
    let awaited = tokio::spawn(producer.send(Message::new("t", "x")));
    let receipt = producer.submit(Message::new("t", "x")).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    client.shutdown().await;
    for error in [
        awaited.await.unwrap().unwrap_err(),
        receipt.await.unwrap_err(),
    ] {
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Closed, Delivery::Unknown)
        );
    }
    let error = producer.send(Message::new("t", "x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    producer.shutdown().await.unwrap();
    let late = DefaultProducer::builder("i")
        .client(&client)
        .start()
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);
}

#[test]
fn a_runtime_that_ends_first_is_no_reason_to_panic() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let world = World::with_brokers(&["a"]);
    let (reports, mut reported) = mpsc::unbounded_channel();
    let first = runtime();
    let (producer, receipt) = first.block_on(async {
        let producer = world.warm_producer().await;
        world.broker("a", |_| Reply::Silence);
        let receipt = producer.submit(Message::new("t", "x")).await.unwrap();
        let reports = reports.clone();
        producer.send_callback(Message::new("t", "x"), move |outcome| {
            reports.send(outcome).unwrap();
        });
        tokio::task::yield_now().await;
        (producer, receipt)
    });
    drop(first);
    let error = reported.try_recv().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    producer.send_callback(Message::new("t", "x"), move |outcome| {
        reports.send(outcome).unwrap()
    });
    assert!(
        reported.try_recv().unwrap().is_err(),
        "nobody is left to call it but the sender"
    );
    drop(producer);
    assert_eq!(
        runtime().block_on(receipt).unwrap_err().kind(),
        ErrorKind::Closed
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_of_its_own_is_what_a_builder_makes() {
    let world = World::with_brokers(&["a"]);
    let (one, two) = (
        world.builder().start().await.unwrap(),
        world.builder().start().await.unwrap(),
    );
    assert_ne!(one.shared.client.client_id(), "");
    assert!(!Arc::ptr_eq(&one.shared, &two.shared));
    one.shutdown().await.unwrap();
    two.send(Message::new("t", "x")).await.unwrap();
    let client = Client::builder()
        .config(ClientConfig::default().name_server(NAME_SERVER))
        .start()
        .await
        .unwrap();
    assert_ne!(client.client_id(), two.shared.client.client_id());
}
