//! Batches: what is written, what comes back, and parts.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::timeout;

use super::world::{Asked, Reply, World};
use crate::error::{Delivery, ErrorKind};
use crate::message::{Message, MessageQueue};
use crate::producer::batch::each;
use crate::producer::{DefaultProducer, SendResult, SendStatus};
use crate::protocol::code::{RequestCode, ResponseCode};
use crate::protocol::message::{BatchMessages, properties};

fn messages(count: usize, size: usize) -> Vec<Message> {
    let message = |at| {
        Message::builder("t")
            .tag(format!("{at}"))
            .body(vec![b'x'; size])
    };
    (0..count).map(|at| message(at).build()).collect()
}

/// The tags and ids of the messages in a request.
fn tags_and_ids(sent: &Asked) -> Vec<(String, String)> {
    let property = |raw: &str, name| properties::find(raw, name).unwrap().to_owned();
    BatchMessages::new(sent.body.clone())
        .map(|message| message.unwrap().properties)
        .map(|raw| (property(&raw, "TAGS"), property(&raw, "UNIQ_KEY")))
        .collect()
}

async fn small(world: &std::sync::Arc<World>) -> DefaultProducer {
    world
        .builder()
        .max_message_size(1000)
        .start()
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_cannot_be_harms_nothing() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().start().await.unwrap();
    let mut result = producer.send(Message::new("t", "x")).await.unwrap();
    result.queue_offset = i64::MAX;
    let results = each(&result, vec!["1".into(), "2".into(), "3".into()]);
    let ids: Vec<_> = results.iter().map(SendResult::msg_id).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert_eq!(results[2].queue_offset(), i64::MAX);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_one_request_and_every_message_has_its_result() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().start().await.unwrap();
    let results = producer.send_batch(messages(3, 5000)).await.unwrap();
    let [sent] = &world.sent()[..] else {
        panic!("{:?}", world.sent())
    };
    assert_eq!(sent.code, RequestCode::SEND_BATCH_MESSAGE);
    assert_eq!(
        (sent.fields["b"].as_str(), sent.fields["m"].as_str()),
        ("t", "true")
    );
    // 4.9 gives every message what stands here: it must not be an id.
    assert_eq!((sent.fields["i"].as_str(), sent.sys_flag), ("", 0));
    for (at, (result, (tag, id))) in results.iter().zip(tags_and_ids(sent)).enumerate() {
        assert_eq!((tag, result.msg_id()), (at.to_string(), id.as_str()));
        assert_eq!(result.offset_msg_id(), format!("0A00000100002A9F{at:016X}"));
        assert_eq!(result.queue_offset(), 7 + at as i64);
        assert_eq!(*result.queue(), MessageQueue::new("t", "a", sent.queue_id));
        assert_eq!(result.status(), SendStatus::SEND_OK);
    }
    let ids: BTreeSet<_> = results.iter().map(|result| result.msg_id()).collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_one_is_a_message() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().start().await.unwrap();
    let results = producer.send_batch(messages(1, 10)).await.unwrap();
    let sent = world.sent().pop().unwrap();
    assert_eq!(
        (sent.code, &sent.body[..]),
        (RequestCode::SEND_MESSAGE_V2, &[b'x'; 10][..])
    );
    assert_eq!(
        sent.property("UNIQ_KEY").as_deref(),
        Some(results[0].msg_id())
    );
    assert_eq!(results.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_batch_is_refused_before_anything_is_sent() {
    let world = World::with_brokers(&["a"]);
    let producer = small(&world).await;
    let mut delayed = messages(2, 10);
    delayed.push(Message::builder("t").delay_level(3).body("x").build());
    let mixed = vec![Message::new("t", "x"), Message::new("u", "x")];
    let foreign = MessageQueue::new("u", "a", 0);
    for (error, named) in [
        (producer.send_batch(vec![]).await.unwrap_err(), "empty"),
        (
            producer.send_batch(delayed.clone()).await.unwrap_err(),
            "DELAY",
        ),
        (
            producer.send_batch(mixed).await.unwrap_err(),
            "another topic",
        ),
        (
            producer.send_batch(messages(3, 400)).await.unwrap_err(),
            "the limit is 1000",
        ),
        (
            producer
                .send_batch(messages(3, 10))
                .to(foreign)
                .await
                .unwrap_err(),
            "another topic",
        ),
        (
            producer
                .send_batch(messages(2, 1001))
                .split()
                .await
                .pop()
                .unwrap()
                .unwrap_err(),
            "1000",
        ),
        (
            producer
                .send_batch(vec![])
                .split()
                .await
                .pop()
                .unwrap()
                .unwrap_err(),
            "empty",
        ),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
    let outcomes = producer.send_batch(delayed).split().await;
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_err()).count(),
        3
    );
    assert_eq!(world.sent().len(), 0);
    producer.shutdown().await.unwrap();
    let error = producer.send_batch(messages(2, 10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_tried_again_as_a_message_is() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.warm_producer().await;
    world.broker("a", |_| Reply::Code(ResponseCode::SYSTEM_BUSY));
    for _ in 0..4 {
        let results = producer.send_batch(messages(2, 10)).await.unwrap();
        assert_eq!(&*results[1].queue().broker_name, "b");
    }
    let sent = world.sent();
    let again = sent.iter().position(|sent| sent.addr == "a:1").unwrap();
    assert_eq!(sent[again].body, sent[again + 1].body, "with the same ids");
    // A key and a given queue keep theirs.
    let given = MessageQueue::new("t", "b", 1);
    let results = producer.send_batch(messages(2, 10)).to(given.clone()).await;
    assert_eq!(*results.unwrap()[0].queue(), given);
    let results = producer
        .send_batch(messages(2, 10))
        .sharding_key("order-1")
        .await;
    assert_eq!(*results.unwrap()[0].queue(), MessageQueue::new("t", "b", 0));
    let keyed = BatchMessages::new(world.sent().pop().unwrap().body);
    for message in keyed {
        let raw = message.unwrap().properties;
        assert_eq!(properties::find(&raw, "__SHARDINGKEY"), Some("order-1"));
    }
    world.broker("b", |_| Reply::Silence);
    let send = producer.send_batch(messages(2, 10)).to(given);
    let error = send.timeout(Duration::from_millis(10)).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Timeout, Delivery::Unknown)
    );
}

#[tokio::test(start_paused = true)]
async fn a_large_batch_is_sent_in_parts_when_asked() {
    let world = World::with_brokers(&["a"]);
    let producer = small(&world).await;
    let results = producer.send_batch(messages(10, 200)).split().await;
    let sent = world.sent();
    assert_eq!(sent.len(), 4, "three of 200 bytes and a header fit");
    let written: Vec<_> = sent[..3].iter().flat_map(tags_and_ids).collect();
    let last = &sent[3];
    assert_eq!(
        last.code,
        RequestCode::SEND_MESSAGE_V2,
        "the last is left alone"
    );
    for (at, result) in results.iter().enumerate() {
        let result = result.as_ref().unwrap();
        match written.get(at) {
            Some((tag, id)) => assert_eq!((tag, &**id), (&at.to_string(), result.msg_id())),
            None => assert_eq!(last.property("UNIQ_KEY").as_deref(), Some(result.msg_id())),
        }
    }
    // A message that fits only by itself is sent by itself.
    let results = producer.send_batch(messages(2, 1000)).split().await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(world.sent().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn when_a_part_fails_those_behind_it_are_not_sent() {
    let world = World::with_brokers(&["a"]);
    let producer = small(&world).await;
    world.broker("a", |count| match count {
        0 => Reply::Stored,
        _ => Reply::Code(ResponseCode::MESSAGE_ILLEGAL),
    });
    let outcomes = producer.send_batch(messages(10, 200)).split().await;
    assert_eq!(world.sent().len(), 2);
    assert!(outcomes[..3].iter().all(Result::is_ok));
    let errors: Vec<_> = outcomes[3..]
        .iter()
        .map(|outcome| outcome.as_ref().unwrap_err())
        .collect();
    assert_eq!(errors.len(), 7);
    for (at, error) in errors.iter().enumerate() {
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Broker, Delivery::No)
        );
        assert_eq!(error.to_string().contains("not sent"), at >= 3, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_dropped_sends_no_further_part() {
    let world = World::with_brokers(&["a"]);
    let producer = small(&world).await;
    world.broker("a", |_| Reply::StoredAfter(Duration::from_secs(1)));
    let sending = producer.send_batch(messages(10, 200)).split();
    timeout(Duration::from_millis(1500), sending)
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(producer.shared.unfinished(), 0);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.sent().len(), 2);
}
