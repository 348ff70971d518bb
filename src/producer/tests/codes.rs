//! Every response code, on every way of sending: how often it is tried again, and where.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use super::world::{Reply, World};
use crate::error::{ErrorKind, Result};
use crate::message::{Message, MessageQueue};
use crate::producer::{DefaultProducer, SendResult, SendStatus};
use crate::protocol::code::{RequestCode, ResponseCode};

/// The ways of sending that are answered. The last two keep their queue.
const WAYS: [Way; 5] = [
    Way::Await,
    Way::Callback,
    Way::Receipt,
    Way::Key,
    Way::Queue,
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Await,
    Callback,
    Receipt,
    Key,
    Queue,
}

impl Way {
    async fn send(self, producer: &DefaultProducer) -> Result<SendResult> {
        let send = producer.send(Message::new("t", "x"));
        match self {
            Self::Await => send.await,
            Self::Callback => {
                let (report, reported) = oneshot::channel();
                send.callback(|outcome| report.send(outcome).unwrap());
                reported.await.unwrap()
            }
            Self::Receipt => send.submit().await?.await,
            // By Java: it chooses the first queue of b.
            Self::Key => send.sharding_key("order-1").await,
            Self::Queue => send.to(MessageQueue::new("t", "b", 0)).await,
        }
    }

    const fn moves(self) -> bool {
        !matches!(self, Self::Key | Self::Queue)
    }
}

/// How often a message is sent when its first attempt is answered by a code, where another broker is, and where the queue is kept.
fn attempts(code: i32) -> (usize, usize) {
    match code {
        // In trouble: any other, or the same one after a pause.
        1 | 2 | 14 | 215 | 1500 => (2, 2),
        // Not here.
        16 | 204 | 205 => (2, 1),
        // Looked up again.
        17 | 29 | 211 | 501 => (2, 2),
        _ => (1, 1),
    }
}

#[tokio::test(start_paused = true)]
async fn f13_every_code_is_tried_again_where_the_table_says() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.warm_producer().await;
    let (mut sent, mut asked) = (0, 0);
    for code in (1..=215).chain([501, 604, 1500, -1000, 2004, 3001]) {
        for way in WAYS {
            let count = Arc::new(AtomicUsize::new(0));
            for broker in ["a", "b"] {
                let count = Arc::clone(&count);
                world.broker(broker, move |_| {
                    match count.fetch_add(1, Ordering::SeqCst) {
                        0 => Reply::Code(ResponseCode(code)),
                        _ => Reply::Stored,
                    }
                });
            }
            let outcome = way.send(&producer).await;
            let (elsewhere, kept) = attempts(code);
            let expected = if way.moves() { elsewhere } else { kept };
            let went = &world.sent_to()[sent..];
            assert_eq!(went.len(), expected, "{way:?} {code}");
            sent += expected;
            match outcome {
                Ok(result) if expected == 1 => {
                    assert!((10..=12).contains(&code), "{way:?} {code}");
                    assert_ne!(result.status(), SendStatus::SEND_OK);
                }
                Ok(result) => {
                    assert_eq!(result.status(), SendStatus::SEND_OK);
                    assert_eq!(went[0] != went[1], way.moves(), "{way:?} {code}");
                    let last = world.sent().pop().unwrap();
                    assert_eq!(last.queue_id, result.queue().queue_id);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Broker);
                    assert_eq!(error.response_code(), Some(ResponseCode(code)));
                    assert_eq!(expected, 1, "{way:?} {error}");
                }
            }
            let routes = world.asked(RequestCode::GET_ROUTEINFO_BY_TOPIC).len() - asked;
            let looks_up = matches!(code, 17 | 29 | 211 | 501) || (code == 1 && !way.moves());
            assert_eq!(routes, usize::from(looks_up), "{way:?} {code}");
            asked += routes;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn l31_a_broker_that_cleans_its_queue_is_tried_again() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    for code in [ResponseCode::SYSTEM_BUSY, ResponseCode::FLOW_CONTROL] {
        for way in WAYS {
            let way = if way == Way::Queue { Way::Await } else { way };
            world.broker("a", move |count| match count {
                0 => Reply::Code(code),
                _ => Reply::Stored,
            });
            way.send(&producer).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_with_fewer_queues_is_looked_up_again() {
    // 5.x says so by the first, 4.9 by the second.
    for code in [ResponseCode::INVALID_PARAMETER, ResponseCode::SYSTEM_ERROR] {
        let world = World::with_brokers(&["a"]);
        world.topic("t", &[("a", 4)]);
        let producer = world.warm_producer().await;
        world.topic("t", &[("a", 1)]);
        let send = || producer.send(Message::new("t", "x"));
        world.refuse_queues_from("a", 1, code);
        // A key that chose a queue which is gone chooses again: of four the third, of one the only one.
        let result = send().sharding_key("order-1").await.unwrap();
        assert_eq!(result.queue().queue_id, 0);
        assert_eq!(world.sent().len(), 2);
        // What was chosen by hand is not chosen again.
        for gone in [
            send().to(MessageQueue::new("t", "a", 3)).await,
            send()
                .timeout(Duration::from_secs(1))
                .select(|queues, _| {
                    assert_eq!(queues.len(), 1);
                    0
                })
                .to(MessageQueue::new("t", "a", 2))
                .await,
        ] {
            assert_eq!(gone.unwrap_err().response_code(), Some(code));
        }
        let before = world.sent().len();
        for _ in 0..4 {
            send().await.unwrap();
        }
        assert_eq!(world.sent().len() - before, 4, "the new route is used");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_as_safe_as_it_should_be_is_tried_elsewhere_if_asked_for() {
    let world = World::with_brokers(&["a", "b"]);
    let builder = world.builder().retry_another_broker_when_not_store_ok();
    let producer = builder.start().await.unwrap();
    for way in [Way::Await, Way::Callback, Way::Receipt] {
        world.broker("a", |_| Reply::Code(ResponseCode::SLAVE_NOT_AVAILABLE));
        world.broker("b", |_| Reply::Stored);
        for _ in 0..4 {
            let result = way.send(&producer).await.unwrap();
            assert_eq!(result.status(), SendStatus::SEND_OK);
            assert_eq!(&*result.queue().broker_name, "b");
        }
        // No broker does better, or the other one fails: what was stored first is what is said.
        for other in [
            Reply::Code(ResponseCode::FLUSH_DISK_TIMEOUT),
            Reply::Code(ResponseCode::MESSAGE_ILLEGAL),
            Reply::HangUp,
        ] {
            let count = Arc::new(AtomicUsize::new(0));
            for broker in ["a", "b"] {
                let count = Arc::clone(&count);
                world.broker(broker, move |_| {
                    match count.fetch_add(1, Ordering::SeqCst) {
                        0 => Reply::Code(ResponseCode::FLUSH_SLAVE_TIMEOUT),
                        _ => other,
                    }
                });
            }
            let before = world.sent().len();
            let result = way.send(&producer).await.unwrap();
            assert_eq!(result.status(), SendStatus::FLUSH_SLAVE_TIMEOUT);
            let went = &world.sent_to()[before..];
            assert_eq!(went.len(), 2);
            assert_eq!(format!("{}:1", result.queue().broker_name), went[0]);
        }
    }
    // A queue that is kept has no other broker.
    world.broker("b", |_| Reply::Code(ResponseCode::SLAVE_NOT_AVAILABLE));
    let before = world.sent().len();
    let result = Way::Queue.send(&producer).await.unwrap();
    assert_eq!(result.status(), SendStatus::SLAVE_NOT_AVAILABLE);
    assert_eq!(world.sent().len() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_that_is_not_good_enough_does_not_end_the_send() {
    let world = World::with_brokers(&["a", "b"]);
    let builder = world.builder().retry_another_broker_when_not_store_ok();
    let producer = builder.start().await.unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    for broker in ["a", "b"] {
        let count = Arc::clone(&count);
        world.broker(broker, move |_| {
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => Reply::CodeAfter(
                    ResponseCode::SLAVE_NOT_AVAILABLE,
                    Duration::from_millis(1500),
                ),
                _ => Reply::StoredAfter(Duration::from_millis(1000)),
            }
        });
    }
    let result = Way::Await.send(&producer).await.unwrap();
    assert_eq!(result.status(), SendStatus::SEND_OK);
    assert_eq!(
        format!("{}:1", result.queue().broker_name),
        world.sent_to()[1]
    );
}
