//! Batches that form by themselves: what goes together, in which order, and what becomes of what nobody wants any more.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::world::{Asked, Reply, World};
use crate::error::{Delivery, ErrorKind};
use crate::message::{Message, MessageQueue};
use crate::producer::{DefaultProducer, SendFuture};
use crate::protocol::code::{RequestCode, ResponseCode};
use crate::protocol::message::BatchMessages;

const SECOND: Duration = Duration::from_secs(1);

/// A producer that knows the route and is connected.
async fn batching(world: &Arc<World>) -> DefaultProducer {
    let builder = world.builder().auto_batch();
    let producer = builder.compress_over(5000).start().await.unwrap();
    for queue in producer.queues("t").await.unwrap() {
        let send = producer.send(Message::new("t", "warm")).to(queue);
        send.await.unwrap();
    }
    world.asked.lock().clear();
    producer
}

fn message(text: impl Into<String>) -> Message {
    Message::new("t", text.into())
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_of_time_a_key_finds_its_queue_in_a_topic_that_is_not_known_yet() {
    let world = World::with_brokers(&["a"]);
    let builder = world.builder().auto_batch().send_timeout(Duration::MAX);
    let producer = builder.start().await.unwrap();
    producer.send(message("x")).sharding_key("k").await.unwrap();
    producer.send(message("y")).await.unwrap();
}

/// The bodies in a request.
fn bodies(sent: &Asked) -> Vec<String> {
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    if sent.code == RequestCode::SEND_BATCH_MESSAGE {
        let inside = BatchMessages::new(sent.body.clone());
        return inside.map(|one| text(&one.unwrap().body)).collect();
    }
    vec![text(&sent.body)]
}

fn all_bodies(world: &World) -> Vec<Vec<String>> {
    world.sent().iter().map(bodies).collect()
}

/// Starts sends one after the other, and goes on when all have been polled.
async fn spawn<const N: usize>(
    sends: [SendFuture; N],
) -> [tokio::task::JoinHandle<crate::error::Result<crate::producer::SendResult>>; N] {
    let handles = sends.map(tokio::spawn);
    for _ in 0..10 {
        yield_now().await;
    }
    handles
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_alone_goes_at_once_and_by_itself() {
    let world = World::with_brokers(&["a"]);
    let producer = batching(&world).await;
    let began = Instant::now();
    for at in 0..3 {
        let mut send = producer.send(message(format!("m{at}")));
        assert!((&mut send).now_or_never().is_none());
        yield_now().await;
        assert_eq!(
            world.sent().len(),
            at + 1,
            "it is written by the first poll"
        );
        send.await.unwrap();
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    let codes = world
        .sent()
        .iter()
        .map(|sent| sent.code)
        .collect::<Vec<_>>();
    assert_eq!(codes, [RequestCode::SEND_MESSAGE_V2; 3]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_meanwhile_goes_together_and_each_has_its_result() {
    let world = World::with_brokers(&["a"]);
    let producer = batching(&world).await;
    world.broker("a", |_| Reply::StoredAfter(SECOND));
    let results = join_all((0..6).map(|at| producer.send(message(format!("m{at}"))))).await;
    assert_eq!(
        all_bodies(&world),
        [vec!["m0"], vec!["m1", "m2", "m3", "m4", "m5"]]
    );
    let offsets: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().unwrap().queue_offset())
        .collect();
    assert_eq!(offsets, [7, 7, 8, 9, 10, 11]);
    let batch = &world.sent()[1];
    for (stored, result) in BatchMessages::new(batch.body.clone()).zip(&results[1..]) {
        let properties = stored.unwrap().properties;
        let id = crate::protocol::message::properties::find(&properties, "UNIQ_KEY");
        assert_eq!(id, Some(result.as_ref().unwrap().msg_id()));
    }
}

#[tokio::test(start_paused = true)]
async fn callbacks_and_receipts_go_together_too() {
    let world = World::with_brokers(&["a"]);
    let producer = batching(&world).await;
    world.broker("a", |_| Reply::StoredAfter(SECOND));
    let (reports, mut reported) = mpsc::unbounded_channel();
    let mut receipts = Vec::new();
    for at in 0..4 {
        let reports = reports.clone();
        producer.send_callback(message(format!("c{at}")), move |outcome| {
            reports.send(outcome.unwrap().queue_offset()).unwrap();
        });
        receipts.push(producer.submit(message(format!("r{at}"))).await.unwrap());
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    for _ in 0..4 {
        reported.recv().await.unwrap();
    }
    assert_eq!(world.sent().len(), 2);
    assert_eq!(
        all_bodies(&world).concat(),
        ["c0", "r0", "c1", "r1", "c2", "r2", "c3", "r3"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_messages_of_a_key_keep_their_order_and_other_queues_do_not_wait() {
    let world = World::with_brokers(&["a"]);
    let producer = batching(&world).await;
    world.broker("a", |_| Reply::StoredAfter(SECOND));
    // "a" and "c" choose queue 1 of two, "b" queue 0.
    let sends = ["a1", "b1", "c2", "a3", "b2", "c4"].map(|text| {
        let send = producer.send(message(text));
        send.sharding_key(&text[..1])
    });
    for result in join_all(sends).await {
        result.unwrap();
    }
    let sent: Vec<_> = world
        .sent()
        .iter()
        .map(|sent| (sent.queue_id, bodies(sent)))
        .collect();
    let text = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    assert_eq!(
        sent,
        [
            (1, text(&["a1"])),
            (0, text(&["b1"])),
            (1, text(&["c2", "a3", "c4"])),
            (0, text(&["b2"])),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_keeps_its_order_while_the_queues_are_looked_up() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().auto_batch().start().await.unwrap();
    let sends = (0..20).map(|at| producer.send(message(format!("m{at}"))).sharding_key("a"));
    for result in join_all(sends).await {
        result.unwrap();
    }
    let expected: Vec<_> = (0..20).map(|at| format!("m{at}")).collect();
    assert_eq!(all_bodies(&world).concat(), expected);
    assert!(world.sent().iter().all(|sent| sent.queue_id == 1));
    assert_eq!(world.asked(RequestCode::GET_ROUTEINFO_BY_TOPIC).len(), 1);
    // A topic that nobody knows: each has the error.
    let lost = (0..3).map(|_| producer.send(Message::new("u", "x")).sharding_key("a"));
    for outcome in join_all(lost).await {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NoRoute);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_go_with_others_goes_by_itself() {
    let world = World::with_brokers(&["a"]);
    let producer = batching(&world).await;
    world.broker("a", |_| Reply::StoredAfter(SECOND / 10));
    let large = "x".repeat(5000);
    let delayed = Message::builder("t").delay_level(1).body("late").build();
    let unsafe_one = |text: &'static str| {
        let builder = Message::builder("t").wait_store_ok(false);
        builder.body(text).build()
    };
    let sends = [
        producer.send(message("first")),
        producer.send(message("second")),
        producer.send(message(large.clone())),
        producer.send(unsafe_one("u1")),
        producer.send(delayed),
        producer.send(unsafe_one("u2")),
        producer.send(message("third")),
    ];
    let oneway = producer.send_oneway(message("oneway"));
    let (results, oneway) = tokio::join!(join_all(sends), oneway);
    oneway.unwrap();
    assert!(results.iter().all(Result::is_ok));
    let sent = world.sent();
    let lens: Vec<_> = sent.iter().map(|sent| bodies(sent).len()).collect();
    assert_eq!(lens, [1, 1, 1, 1, 1, 2, 1]);
    let at = |index: usize| bodies(&sent[index]);
    assert_eq!(
        (at(0), at(1), at(2)),
        (
            vec!["first".into()],
            vec!["late".into()],
            vec!["oneway".into()]
        )
    );
    assert_eq!(
        (at(3), at(5)),
        (vec!["second".into()], vec!["u1".into(), "u2".into()])
    );
    assert!(
        sent[4].body.len() < 5000 && sent[4].sys_flag != 0,
        "it is compressed"
    );
    assert_eq!(sent[5].fields["i"], "WAIT\u{1}false\u{2}");
    assert_eq!(at(6), ["third"]);
}

#[tokio::test(start_paused = true)]
async fn a_selector_chooses_the_lane() {
    let world = World::with_brokers(&["a"]);
    let producer = batching(&world).await;
    world.broker("a", |_| Reply::StoredAfter(SECOND));
    let sends = (0..4).map(|at| {
        let send = producer.send(message(format!("m{at}")));
        send.select(move |queues, _| at % queues.len())
    });
    join_all(sends)
        .await
        .into_iter()
        .for_each(|result| drop(result.unwrap()));
    let failing = producer.send(message("x")).select(|_, _| panic!("no way"));
    assert_eq!(failing.await.unwrap_err().kind(), ErrorKind::Application);
    let sent: Vec<_> = world.sent().iter().map(|sent| sent.queue_id).collect();
    assert_eq!((sent, world.sent().len()), (vec![0, 1, 0, 1], 4));
}

#[tokio::test(start_paused = true)]
async fn a_failed_batch_is_tried_again_and_its_error_is_everybodys() {
    let world = World::with_brokers(&["a"]);
    let producer = batching(&world).await;
    world.broker("a", |turn| match turn {
        0 => Reply::StoredAfter(SECOND),
        1 => Reply::Code(ResponseCode::SYSTEM_BUSY),
        2 => Reply::StoredAfter(SECOND / 10),
        _ => Reply::Code(ResponseCode::MESSAGE_ILLEGAL),
    });
    let outcomes = join_all((0..3).map(|at| producer.send(message(format!("m{at}"))))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(world.sent().len(), 3);
    let refused = join_all((0..3).map(|at| producer.send(message(format!("m{at}"))))).await;
    for outcome in refused {
        let error = outcome.unwrap_err();
        assert_eq!(error.response_code(), Some(ResponseCode::MESSAGE_ILLEGAL));
        assert_eq!(error.delivery(), Delivery::No);
    }
    assert_eq!(world.sent().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_queue_is_gone_goes_to_the_one_that_it_chooses_now() {
    let world = World::with_brokers(&["a"]);
    world.topic("t", &[("a", 4)]);
    let producer = batching(&world).await;
    world.topic("t", &[("a", 3)]);
    world.refuse_queues_from("a", 3, ResponseCode::INVALID_PARAMETER);
    // "c" is 99 and "g" 103: queue 3 of four, 0 and 1 of three.
    let sends = (0..6).map(|at| {
        let key = ["c", "g"][at % 2];
        producer
            .send(message(format!("{key}{at}")))
            .sharding_key(key)
    });
    let results: Vec<_> = join_all(sends)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let queues: Vec<_> = results
        .iter()
        .map(|result| result.queue().queue_id)
        .collect();
    assert_eq!(queues, [0, 1, 0, 1, 0, 1]);
    let stored: Vec<_> = world
        .sent()
        .into_iter()
        .filter(|sent| sent.queue_id < 3)
        .collect();
    let of = |queue_id| {
        let of_queue = stored.iter().filter(|sent| sent.queue_id == queue_id);
        of_queue.flat_map(bodies).collect::<Vec<_>>()
    };
    assert_eq!(
        (of(0), of(1)),
        (
            vec!["c0".into(), "c2".into(), "c4".into()],
            vec!["g1".into(), "g3".into(), "g5".to_owned()]
        )
    );
}

#[tokio::test(start_paused = true)]
async fn each_message_has_its_own_time() {
    let world = World::with_brokers(&["a"]);
    let producer = batching(&world).await;
    world.broker("a", |_| Reply::Silence);
    let began = Instant::now();
    let [first, hurried, waiting] = spawn([
        producer.send(message("first")).sharding_key("k"),
        producer
            .send(message("hurried"))
            .sharding_key("k")
            .timeout(SECOND),
        producer
            .send(message("waiting"))
            .sharding_key("k")
            .timeout(5 * SECOND),
    ])
    .await;
    let error = hurried.await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Timeout, Delivery::No),
        "{error}"
    );
    assert!(began.elapsed() < SECOND + SECOND / 10);
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Timeout, Delivery::Unknown),
        "{error}"
    );
    assert!(began.elapsed() < 3 * SECOND + SECOND / 10);
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Timeout, Delivery::Unknown),
        "{error}"
    );
    assert!(began.elapsed() < 5 * SECOND + SECOND / 10);
    assert_eq!(all_bodies(&world), [["first"], ["waiting"]]);

    // In one batch: the one with less time does not cut the other's short.
    world.broker("a", |_| Reply::StoredAfter(2 * SECOND));
    world.asked.lock().clear();
    let [first, hurried, patient] = spawn([
        producer.send(message("first")).sharding_key("k"),
        producer
            .send(message("hurried"))
            .sharding_key("k")
            .timeout(3 * SECOND),
        producer
            .send(message("patient"))
            .sharding_key("k")
            .timeout(5 * SECOND),
    ])
    .await;
    first.await.unwrap().unwrap();
    let error = hurried.await.unwrap().unwrap_err();
    assert_eq!(error.delivery(), Delivery::Unknown, "{error}");
    patient.await.unwrap().unwrap();
    assert_eq!(all_bodies(&world)[1], ["hurried", "patient"]);
}

#[tokio::test(start_paused = true)]
async fn what_may_go_anywhere_does_not_wait_long_for_an_answer() {
    let world = World::with_brokers(&["a"]);
    let producer = batching(&world).await;
    world.broker("a", |turn| match turn {
        0 | 1 => Reply::Silence,
        _ => Reply::StoredAfter(SECOND / 10),
    });
    let began = Instant::now();
    let handles = spawn([0, 1, 2].map(|at| producer.send(message(format!("m{at}"))))).await;
    sleep(SECOND / 4).await;
    assert_eq!(all_bodies(&world), [vec!["m0"], vec!["m1", "m2"]]);
    // Behind the second, which is silent, too.
    let next = spawn([3, 4].map(|at| producer.send(message(format!("m{at}"))))).await;
    for next in next {
        next.await.unwrap().unwrap();
    }
    assert!(began.elapsed() <= SECOND / 2, "{:?}", began.elapsed());
    assert_eq!(all_bodies(&world)[2..], [["m3", "m4"]]);
    // The lane is free: whoever comes then goes at once.
    let last = Instant::now();
    producer.send(message("m5")).await.unwrap();
    assert_eq!(last.elapsed(), SECOND / 10);
    for handle in handles {
        let error = handle.await.unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Timeout, Delivery::Unknown)
        );
    }
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_is_not_sent_and_holds_nothing() {
    let world = World::with_brokers(&["a"]);
    let producer = batching(&world).await;
    world.broker("a", |turn| match turn {
        0 => Reply::StoredAfter(SECOND),
        _ => Reply::Code(ResponseCode::SYSTEM_BUSY),
    });
    let [first, second, third] = spawn([
        producer.send(message("first")).sharding_key("k"),
        producer.send(message("second")).sharding_key("k"),
        producer.send(message("third")).sharding_key("k"),
    ])
    .await;
    assert_eq!(producer.shared.room.messages(), 3);
    second.abort();
    yield_now().await;
    assert_eq!(producer.shared.room.messages(), 2);
    first.await.unwrap().unwrap();
    sleep(SECOND / 20).await;
    // The second was not in it; nobody waits for the answer any more, so it is not tried again.
    assert_eq!(all_bodies(&world), [["first"], ["third"]]);
    third.abort();
    sleep(SECOND).await;
    assert_eq!(world.sent().len(), 2);
    assert_eq!(producer.shared.room.messages(), 0);
    world.broker("a", |_| Reply::Stored);
    producer.send(message("next")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_sees_all_through_or_says_that_it_has_not() {
    let world = World::with_brokers(&["a"]);
    let producer = batching(&world).await;
    world.broker("a", |_| Reply::StoredAfter(SECOND));
    let handles = spawn([0, 1, 2].map(|at| producer.send(message(format!("m{at}"))))).await;
    assert_eq!(producer.shutdown().await.unwrap().unfinished(), 0);
    for handle in handles {
        handle.await.unwrap().unwrap();
    }
    let producer = batching(&world).await;
    world.broker("a", |_| Reply::Silence);
    let receipt = producer.send(message("receipt")).sharding_key("k");
    let receipt = receipt.submit().await.unwrap();
    let handles = [0, 1, 2].map(|at| {
        let send = producer.send(message(format!("m{at}")));
        send.sharding_key("k")
    });
    let handles = spawn(handles).await;
    let report = producer.shutdown_within(SECOND).await.unwrap();
    assert_eq!(report.unfinished(), 4);
    let error = receipt.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Closed, Delivery::Unknown)
    );
    for handle in handles {
        let error = handle.await.unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Closed, Delivery::No),
            "{error}"
        );
    }
    let error = producer.send(message("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_is_dropped_leaves_no_task() {
    let world = World::with_brokers(&["a"]);
    let producer = batching(&world).await;
    world.broker("a", |_| Reply::StoredAfter(SECOND));
    let handles = spawn([0, 1, 2].map(|at| producer.send(message(format!("m{at}"))))).await;
    drop(producer);
    for handle in handles {
        handle.await.unwrap().unwrap();
    }
    sleep(2 * SECOND).await;
    assert_eq!(world.asked(RequestCode::UNREGISTER_CLIENT).len(), 1);
    assert_eq!(world.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_being_asked_for_nothing_goes_together() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.broker("a", |_| Reply::StoredAfter(SECOND));
    let queue = MessageQueue::new("t", "a", 0);
    join_all((0..4).map(|_| producer.send(message("x")).to(queue.clone()))).await;
    let codes: Vec<_> = world.sent().iter().map(|sent| sent.code).collect();
    assert_eq!(codes, [RequestCode::SEND_MESSAGE_V2; 4]);
}
