//! Brokers in trouble, whichever way messages are sent: every send has one outcome, in time, and nothing is left of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::ways::{Senders, WAYS, Way};
use super::world::{Reply, World};
use crate::error::{Delivery, ErrorKind, Result};
use crate::message::Message;
use crate::protocol::code::RequestCode;

const SECOND: Duration = Duration::from_secs(1);

/// How late an outcome may be.
const GRACE: Duration = Duration::from_millis(100);

fn message() -> Message {
    Message::new("t", "x")
}

/// A producer for one way that knows the brokers of a world, with these.
async fn warm(world: &Arc<World>, way: Way) -> Senders {
    let senders = Senders::start(world, way, |builder| match way {
        Way::Parts => builder.max_message_size(200),
        _ => builder,
    });
    let senders = senders.await;
    senders.warm_up().await;
    senders
}

/// The outcome of a send, within its timeout.
async fn outcome(senders: &Senders, way: Way) -> Result<()> {
    let began = Instant::now();
    let outcome = senders.begin(way, message()).await;
    let took = began.elapsed();
    assert!(took <= 3 * SECOND + GRACE, "{way:?} took {took:?}");
    outcome
}

/// Nothing is left when the time of everything is over.
async fn check(senders: &Senders, way: Way) {
    sleep(20 * SECOND).await;
    let (called, called_back) = senders.calls();
    assert_eq!(called, called_back, "{way:?}");
    assert_eq!(senders.unfinished(), 0, "{way:?}");
    assert_eq!(senders.pending(), (0, 0), "{way:?}");
    assert_eq!(senders.producer.open_transactions(), 0, "{way:?}");
}

#[tokio::test(start_paused = true)]
async fn f06_l12_every_send_ends_in_time_when_no_broker_answers() {
    for way in WAYS {
        let world = World::with_brokers(&["a", "b"]);
        let senders = warm(&world, way).await;
        for name in ["a", "b"] {
            world.broker(name, |_| Reply::Silence);
            world.mute(name);
        }
        let outcome = outcome(&senders, way).await;
        if way == Way::Request {
            // The reply says that it was stored.
            outcome.unwrap();
        } else if way.is_acknowledged() || way == Way::Recall {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{way:?} {error}");
            // The one behind another may not have gone.
            if way != Way::AutoLast {
                assert_eq!(error.delivery(), Delivery::Unknown, "{way:?} {error}");
            }
        } else {
            outcome.unwrap();
        }
        check(&senders, way).await;
    }
}

#[tokio::test(start_paused = true)]
async fn l09_l10_every_send_ends_once_while_brokers_are_down_and_succeeds_again() {
    for way in WAYS {
        let world = World::with_brokers(&["a", "b"]);
        let senders = warm(&world, way).await;
        let reply = |_| Reply::StoredAfter(SECOND / 10);
        // They go down while something is under way, and stay down.
        for name in ["a", "b"] {
            world.broker(name, |_| Reply::Silence);
        }
        let sending = tokio::spawn(senders.begin(way, message()));
        sleep(SECOND / 2).await;
        let began = Instant::now();
        world.hang_up("a");
        world.hang_up("b");
        let broken = sending.await.unwrap();
        assert!(began.elapsed() <= 3 * SECOND, "{way:?}");
        let refused = outcome(&senders, way).await;
        if way.is_acknowledged() {
            if way != Way::Request {
                let error = broken.unwrap_err();
                assert_eq!(error.delivery(), Delivery::Unknown, "{way:?} {error}");
            }
            let error = refused.unwrap_err();
            assert_eq!(error.delivery(), Delivery::No, "{way:?} {error}");
            assert!(error.is_retryable(), "{way:?} {error}");
        }
        sleep(20 * SECOND).await;
        for name in ["a", "b"] {
            world.broker(name, reply);
        }
        world.asked.lock().clear();
        outcome(&senders, way).await.unwrap();
        check(&senders, way).await;
    }
}

#[tokio::test(start_paused = true)]
async fn f11_l11_an_answer_around_the_deadline_is_seen_or_too_late() {
    let ways = WAYS.into_iter().filter(|way| way.is_acknowledged());
    // One that waits behind another has less time left for its own answer.
    for way in ways.filter(|way| ![Way::Request, Way::Parts, Way::AutoLast].contains(way)) {
        for late in [-2, -1, 0, 1, 2] {
            let world = World::with_brokers(&["a"]);
            let senders = warm(&world, way).await;
            let delay = Duration::from_millis(3000_u64.saturating_add_signed(late));
            world.broker("a", move |_| Reply::StoredAfter(delay));
            let outcome = senders.begin(way, message()).await;
            match (late, outcome) {
                (..0, outcome) => outcome.unwrap(),
                (0, Ok(())) => {}
                (_, outcome) => {
                    let error = outcome.unwrap_err();
                    let known = (error.kind(), error.delivery());
                    assert_eq!(
                        known,
                        (ErrorKind::Timeout, Delivery::Unknown),
                        "{way:?} {late}"
                    );
                }
            }
            check(&senders, way).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn f05_one_send_without_an_answer_holds_no_other_up() {
    for way in WAYS.into_iter().filter(|way| way.is_acknowledged()) {
        let world = World::with_brokers(&["a"]);
        let senders = warm(&world, way).await;
        world.broker("a", |turn| match turn {
            0 => Reply::Silence,
            _ => Reply::StoredAfter(SECOND / 10),
        });
        let lost = tokio::spawn(senders.plain().send(message()));
        sleep(SECOND / 100).await;
        // By a producer that makes batches, it waits for the one before at first.
        let began = Instant::now();
        outcome(&senders, way).await.unwrap();
        assert!(began.elapsed() < SECOND, "{way:?}");
        let error = lost.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{way:?} {error}");
        assert_eq!(world.connections(), 2, "{way:?}");
        check(&senders, way).await;
    }
}

#[tokio::test(start_paused = true)]
async fn l19_routes_are_kept_fresh_while_brokers_and_sends_hang() {
    let world = World::with_brokers(&["a", "b"]);
    let senders = warm(&world, Way::Send).await;
    for name in ["a", "b"] {
        world.broker(name, |_| Reply::Silence);
        world.mute(name);
    }
    let sends = [Way::Send, Way::Callback, Way::Batch, Way::Transaction];
    let hanging = sends.map(|way| tokio::spawn(senders.begin(way, message())));
    for queues in [3, 5, 7] {
        world.topic("t", &[("a", queues), ("b", queues)]);
        sleep(31 * SECOND).await;
        let known = senders.plain().shared.known_queues("t").unwrap();
        assert_eq!(known.list().len(), 2 * queues as usize);
    }
    assert!(world.asked(RequestCode::HEART_BEAT).len() >= 6);
    for hanging in hanging {
        drop(hanging.await.unwrap());
    }
}
