//! Messages that are handed over: receipts, callbacks, and how many there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::world::{Reply, World};
use crate::error::{Error, ErrorKind};
use crate::message::{Message, MessageQueue};
use crate::producer::{DefaultProducer, SendResult};
use crate::protocol::code::ResponseCode;

/// What a callback is told.
type Outcome = Result<SendResult, Error>;

/// A callback whose outcomes can be waited for.
fn reports() -> (
    impl Fn() -> Box<dyn FnOnce(Outcome) + Send>,
    mpsc::UnboundedReceiver<Outcome>,
) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let report = move || -> Box<dyn FnOnce(Outcome) + Send> {
        let sender = sender.clone();
        Box::new(move |outcome| sender.send(outcome).unwrap())
    };
    (report, receiver)
}

/// A producer at its bound, with a broker that stores everything after 500 ms.
async fn full_producer(world: &Arc<World>) -> (DefaultProducer, usize) {
    let producer = world.warm_producer().await;
    world.broker("a", |_| Reply::StoredAfter(Duration::from_millis(500)));
    for _ in 0..1024 {
        producer.send_callback(Message::new("t", "x"), |outcome| drop(outcome.unwrap()));
    }
    (producer, 1024)
}

#[tokio::test(start_paused = true)]
async fn a_receipt_resolves_when_the_message_is_stored() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().start().await.unwrap();
    let receipt = producer.submit(Message::new("t", "x")).await.unwrap();
    assert_eq!(world.sent().len(), 0, "accepted is not sent");
    let result = receipt.await.unwrap();
    assert_eq!(
        world.sent()[0].property("UNIQ_KEY").as_deref(),
        Some(result.msg_id())
    );
    let queue = MessageQueue::new("t", "a", 1);
    let receipt = producer
        .send(Message::new("t", "x"))
        .to(queue.clone())
        .submit()
        .await
        .unwrap();
    assert_eq!(*receipt.await.unwrap().queue(), queue);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_receipt_takes_nothing_back_not_even_retries() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.broker("a", |count| match count {
        0 => Reply::HangUp,
        1 => Reply::Code(ResponseCode::SYSTEM_BUSY),
        _ => Reply::Stored,
    });
    drop(producer.submit(Message::new("t", "x")).await.unwrap());
    producer.shutdown().await.unwrap();
    assert_eq!(world.sent().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn callbacks_are_called_once_each_with_their_outcome() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().start().await.unwrap();
    let (report, mut reported) = reports();
    for _ in 0..100 {
        producer.send_callback(Message::new("t", "x"), report());
    }
    producer
        .send(Message::new("t", "x"))
        .sharding_key("order-1")
        .callback(report());
    producer.send_callback(Message::new("t", ""), report());
    producer.shutdown().await.unwrap();
    drop(report);
    let (mut good, mut bad) = (0, 0);
    while let Some(outcome) = reported.recv().await {
        match outcome {
            Ok(_) => good += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                bad += 1;
            }
        }
    }
    assert_eq!((good, bad, world.sent().len()), (101, 1, 101));
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_harms_no_other() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().start().await.unwrap();
    let (report, mut reported) = reports();
    for at in 0..30 {
        match at % 3 {
            0 => producer.send_callback(Message::new("t", "x"), |_| panic!("on purpose")),
            _ => producer.send_callback(Message::new("t", "x"), report()),
        }
    }
    for _ in 0..20 {
        reported.recv().await.unwrap().unwrap();
    }
    producer.send(Message::new("t", "x")).await.unwrap();
    assert_eq!(producer.shutdown().await.unwrap().unfinished(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_callback_may_send_again() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().start().await.unwrap();
    let (report, mut reported) = reports();
    let (again, report) = (producer.clone(), report());
    producer.send_callback(Message::new("t", "x"), move |outcome| {
        drop(outcome.unwrap());
        again.send_callback(Message::new("t", "y"), report);
    });
    reported.recv().await.unwrap().unwrap();
    assert_eq!(world.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn over_the_bound_a_callback_gets_the_error_and_nothing_waits() {
    let world = World::with_brokers(&["a"]);
    let (producer, held) = full_producer(&world).await;
    let (report, mut reported) = reports();
    producer.send_callback(Message::new("t", "one too many"), report());
    assert!(
        reported.recv().now_or_never().is_none(),
        "it is not called from the sender"
    );
    let error = reported.recv().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert!(
        error.to_string().contains("1024 messages or 100 MiB"),
        "{error}"
    );
    // A send that is awaited by its own does not count.
    producer.send(Message::new("t", "x")).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.sent().len(), held + 1);
    producer.send_callback(Message::new("t", "x"), report());
    reported.recv().await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn over_the_bound_a_submit_waits_for_room_within_its_time() {
    let world = World::with_brokers(&["a"]);
    let (producer, held) = full_producer(&world).await;
    let began = Instant::now();
    let send = producer
        .send(Message::new("t", "x"))
        .timeout(Duration::from_millis(100));
    let error = send.submit().await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert_eq!(began.elapsed().as_millis() / 100, 1);
    // Whoever waits and goes away takes no room with him.
    timeout(
        Duration::from_millis(100),
        producer.submit(Message::new("t", "x")),
    )
    .await
    .map(drop)
    .unwrap_err();
    let receipt = producer.submit(Message::new("t", "x")).await.unwrap();
    assert_eq!(began.elapsed().as_millis() / 100, 5);
    receipt.await.unwrap();
    assert_eq!(world.sent().len(), held + 1);
    let rooms = &producer.shared.driver;
    assert!(format!("{rooms:?}").contains("messages: 0"), "{rooms:?}");
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_too() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.broker("a", |_| Reply::StoredAfter(Duration::from_millis(500)));
    let refused = Arc::new(AtomicUsize::new(0));
    for _ in 0..30 {
        let refused = Arc::clone(&refused);
        producer.send_callback(Message::new("t", vec![0; 4 << 20]), move |outcome| {
            if let Err(error) = outcome {
                assert_eq!(error.kind(), ErrorKind::Overloaded);
                refused.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    producer
        .shutdown_within(Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(
        refused.load(Ordering::SeqCst),
        5,
        "25 of 4 MiB fit into 100 MiB"
    );
}

#[tokio::test(start_paused = true)]
async fn a_selector_that_panics_fails_only_its_own_message() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().start().await.unwrap();
    let (report, mut reported) = reports();
    producer
        .send(Message::new("t", "x"))
        .select(|_, _| panic!("no way"))
        .callback(report());
    assert_eq!(
        reported.recv().await.unwrap().unwrap_err().kind(),
        ErrorKind::Application
    );
    producer.send_callback(Message::new("t", "x"), report());
    reported.recv().await.unwrap().unwrap();
}
