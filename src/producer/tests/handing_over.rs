//! Messages that are handed over: receipts and callbacks.

use std::panic::panic_any;

use tokio::sync::mpsc;

use super::world::{Reply, World};
use crate::error::{Error, ErrorKind};
use crate::message::{Message, MessageQueue};
use crate::producer::SendResult;
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

struct PanicsAgain;

impl Drop for PanicsAgain {
    fn drop(&mut self) {
        panic!("on purpose, too");
    }
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_harms_no_other() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().start().await.unwrap();
    let (report, mut reported) = reports();
    for at in 0..30 {
        match at % 6 {
            0 => producer.send_callback(Message::new("t", "x"), |_| panic!("on purpose")),
            3 => producer.send_callback(Message::new("t", "x"), |_| panic_any(PanicsAgain)),
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
