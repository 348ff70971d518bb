//! Batches.

use std::collections::{BTreeMap, BTreeSet};

use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::message::{OffsetMessageId, StoredMessages, properties};
use rocketmq_sdk::{
    ConsumeFromWhere, ConsumeStatus, DefaultProducer, ErrorKind, Message, MessageQueue, SendResult,
};

use crate::received::{Received, numbered};
use crate::stored::read_stored;
use crate::target::{Target, ask, wait_until_stored};

fn batch(topic: &str, count: usize) -> Vec<Message> {
    let message = |at: usize| {
        let builder = Message::builder(topic).tag(["even", "odd"][at % 2]);
        let builder = builder.key(format!("k{at}")).property("at", at.to_string());
        builder.body(format!("m{at}")).build()
    };
    (0..count).map(message).collect()
}

#[tokio::test]
async fn a_ba_01_ten_messages_are_all_consumed_with_their_properties() {
    let target = Target::shared().await;
    let topic = target.topic("batch", 4).await;
    let producer = target.producer().await;
    let results = producer.send_batch(batch(&topic, 10)).await.unwrap();
    let received = Received::default();
    let consumer = target
        .consumer(&target.name("batch"))
        .subscribe(&*topic, "even || odd")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(received.clone(), |received, messages| async move {
            received.add(messages);
            ConsumeStatus::CONSUME_SUCCESS
        });
    let consumer = consumer.start().await.unwrap();
    received
        .wait(&target, "10 messages came", |received| {
            received.bodies() == numbered("m", 10)
        })
        .await;
    for message in received.all() {
        let at: usize = message.property("at").unwrap().parse().unwrap();
        let result: &SendResult = &results[at];
        assert_eq!(message.body(), &format!("m{at}"));
        assert_eq!(message.tag(), Some(["even", "odd"][at % 2]));
        assert_eq!(message.keys().collect::<Vec<_>>(), [format!("k{at}")]);
        assert_eq!(message.msg_id(), result.msg_id());
        assert_eq!(message.queue_offset(), result.queue_offset());
        assert_eq!(message.queue_id(), result.queue().queue_id);
    }
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ba_02_a_batch_goes_to_the_queue_that_is_given() {
    let target = Target::shared().await;
    let topic = target.topic("batch_given", 4).await;
    let producer = target.producer().await;
    let queues = producer.queues(&topic).await.unwrap();
    for _ in 0..2 {
        let sent = producer.send_batch(batch(&topic, 3)).to(queues[2].clone());
        for result in sent.await.unwrap() {
            assert_eq!(*result.queue(), queues[2]);
        }
    }
    let keyed = producer
        .send_batch(batch(&topic, 3))
        .sharding_key("order-7");
    let alone = producer
        .send(Message::new(&*topic, "x"))
        .sharding_key("order-7");
    let (keyed, alone) = (keyed.await.unwrap(), alone.await.unwrap());
    assert_eq!(keyed[0].queue(), alone.queue());
    assert_eq!(keyed[2].queue_offset() + 1, alone.queue_offset());
    let stored = read_stored(&target, &topic, 4, 10).await;
    let given = stored
        .iter()
        .filter(|message| message.queue_id == 2 && message.property("__SHARDINGKEY").is_none());
    let bodies: Vec<_> = given.map(|message| &message.body[..]).collect();
    assert_eq!(bodies, [b"m0", b"m1", b"m2", b"m0", b"m1", b"m2"]);
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ba_03_what_cannot_be_a_batch_is_refused_and_nothing_is_sent() {
    let target = Target::shared().await;
    let topic = target.topic("batch_refused", 1).await;
    let producer = target.producer().await;
    let plain = || Message::new(&*topic, "x");
    let with = |message: Message| vec![plain(), message];
    let builder = || Message::builder(&*topic).body("x");
    for (messages, named) in [
        (
            with(Message::new(target.name("other"), "x")),
            "another topic",
        ),
        (with(builder().delay_level(1).build()), "DELAY"),
        (vec![Message::new("%RETRY%g", "x")], "retry topic"),
        (
            with(builder().wait_store_ok(false).build()),
            "waits for the store",
        ),
        (vec![], "empty"),
    ] {
        let error = producer.send_batch(messages).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(
            error.to_string().contains(named),
            "{error} should name {named}"
        );
    }
    wait_until_stored(&target, &topic, 1, 0).await;
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ba_04_a_batch_that_is_too_large_is_refused_or_sent_in_parts_when_asked() {
    let target = Target::shared().await;
    let topic = target.topic("batch_large", 1).await;
    let producer = DefaultProducer::builder(target.name("batch_large"))
        .name_server(target.name_server())
        .max_message_size(64 * 1024)
        .start()
        .await
        .unwrap();
    let large = || {
        (0..9)
            .map(|at| Message::new(&*topic, format!("{at:020000}")))
            .collect()
    };
    let error = producer.send_batch(large()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("the limit is 65536"), "{error}");
    let outcomes = producer.send_batch(large()).split().await;
    let offsets: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().unwrap().queue_offset())
        .collect();
    assert_eq!(offsets, (0..9).collect::<Vec<_>>());
    let stored = read_stored(&target, &topic, 1, 9).await;
    for (at, message) in stored.iter().enumerate() {
        assert!(message.body == format!("{at:020000}"));
    }
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ba_04_a_batch_as_large_as_a_broker_takes_is_stored() {
    let target = Target::shared().await;
    let topic = target.topic("batch_full", 1).await;
    let producer = target.producer().await;
    // Each is as long as it says, its id and what frames it together.
    const COUNT: usize = 4;
    const FRAMING: usize = 22 + 8 + 1 + 32 + 1;
    let size = 4 * 1024 * 1024 / COUNT - FRAMING;
    let of_size = |size: usize| {
        (0..COUNT)
            .map(|_| Message::new(&*topic, vec![b'x'; size]))
            .collect()
    };
    assert_eq!(
        producer.send_batch(of_size(size)).await.unwrap().len(),
        COUNT
    );
    let error = producer.send_batch(of_size(size + 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    wait_until_stored(&target, &topic, 1, COUNT as i64).await;
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ba_05_a_batch_of_one_is_the_same_as_a_message() {
    let target = Target::shared().await;
    let topic = target.topic("batch_one", 1).await;
    let producer = target.producer().await;
    let results = producer.send_batch(batch(&topic, 1)).await.unwrap();
    let alone = producer.send(batch(&topic, 1).remove(0)).await.unwrap();
    assert_eq!((results.len(), results[0].queue_offset()), (1, 0));
    assert_eq!(alone.queue_offset(), 1);
    let stored = read_stored(&target, &topic, 1, 2).await;
    let names = |at: usize| -> BTreeSet<_> {
        let entries = properties::iter(&stored[at].properties);
        entries.map(|(name, _)| name.to_owned()).collect()
    };
    assert_eq!(names(0), names(1));
    assert_eq!(stored[0].property("UNIQ_KEY"), Some(results[0].msg_id()));
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ba_06_every_message_of_a_batch_can_be_looked_up_by_its_place() {
    let target = Target::shared().await;
    let topic = target.topic("batch_view", 1).await;
    let producer = target.producer().await;
    let results = producer.send_batch(batch(&topic, 5)).await.unwrap();
    for (at, result) in results.iter().enumerate() {
        let place: OffsetMessageId = result.offset_msg_id().parse().unwrap();
        let answer = ask(
            &place.host.to_string(),
            RequestCode::VIEW_MESSAGE_BY_ID,
            |fields| {
                fields.put_number("offset", place.physical_offset);
                fields.put("topic", &topic);
            },
        )
        .await;
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
        let found = StoredMessages::new(answer.body).next().unwrap().unwrap();
        assert_eq!(found.body, format!("m{at}"));
        assert_eq!(found.property("UNIQ_KEY"), Some(result.msg_id()));
    }
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_batch_makes_its_topic() {
    let target = Target::shared().await;
    let topic = target.name("batch_made");
    let producer = target.producer().await;
    let results = producer.send_batch(batch(&topic, 3)).await.unwrap();
    let queue: &MessageQueue = results[0].queue();
    assert!(results.iter().all(|result| result.queue() == queue));
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ba_07_automatic_batches_keep_the_order_of_a_key_and_each_message_has_its_result() {
    const KEYS: usize = 10;
    const STEPS: usize = 40;
    let target = Target::shared().await;
    let topic = target.topic("auto_batch", 4).await;
    let producer = DefaultProducer::builder(target.name("auto_batch"))
        .name_server(target.name_server())
        .auto_batch()
        .start()
        .await
        .unwrap();
    // One behind the other, and nobody waits for the one before; the first ones while the queues are looked up.
    let mut receipts = Vec::new();
    for step in 0..STEPS {
        for key in 0..KEYS {
            let message = Message::new(&*topic, format!("{key} {step}"));
            let send = producer.send(message).sharding_key(format!("key-{key}"));
            receipts.push((key, step, send.submit().await.unwrap()));
        }
    }
    let alone = producer.send(Message::new(&*topic, "alone")).await.unwrap();
    let stored = read_stored(&target, &topic, 4, KEYS * STEPS + 1).await;
    let by_id: BTreeMap<_, _> = stored
        .iter()
        .map(|message| (message.property("UNIQ_KEY").unwrap(), message))
        .collect();
    assert_eq!(by_id.len(), stored.len());
    assert_eq!(by_id[alone.msg_id()].body, "alone");
    let mut last = BTreeMap::new();
    for (key, step, receipt) in receipts {
        let result = receipt.await.unwrap();
        let found = by_id[result.msg_id()];
        assert_eq!(found.body, format!("{key} {step}"));
        assert_eq!(
            (found.queue_id, found.queue_offset),
            (result.queue().queue_id, result.queue_offset())
        );
        let before = last.insert(key, (found.queue_id, found.queue_offset));
        let in_order = before.is_none_or(|(queue_id, offset)| {
            queue_id == found.queue_id && offset < found.queue_offset
        });
        assert!(in_order, "{key} {step}: {before:?}");
    }
    if let Some(cluster) = target.cluster() {
        let batches = cluster.journal().requests(RequestCode::SEND_BATCH_MESSAGE);
        let singles = cluster.journal().requests(RequestCode::SEND_MESSAGE_V2);
        assert!(!batches.is_empty() && batches.len() + singles.len() < KEYS * STEPS);
    }
    producer.shutdown().await.unwrap();
}
