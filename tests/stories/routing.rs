//! Which queue a message goes to, what its order is there, and what happens when the queue is not where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::{Delivery, ErrorKind, Message, MessageQueue};
use tokio::sync::oneshot;

use crate::received::numbered;
use crate::stored::{read_queue, read_stored};
use crate::target::{PATIENCE, Target, ask, wait_until_stored};

#[tokio::test]
async fn a_se_03_a_selector_chooses_by_hash_at_random_or_as_it_likes() {
    let target = Target::shared().await;
    let topic = target.topic("selectors", 4).await;
    let producer = target.producer().await;
    let send = |text: &str| producer.send(Message::new(&*topic, text.to_owned()));
    // By hash, as Java's client: "order-1".hashCode() % 4 is -2, and "a" is 97.
    for (key, expected) in [("order-1", 2), ("a", 1), ("order-1", 2)] {
        let result = send("hash").sharding_key(key).await.unwrap();
        assert_eq!(result.queue().queue_id, expected, "{key}");
    }
    for turn in 0..8 {
        let random = move |queues: &[MessageQueue], _: &Message| (turn * 7 + 3) % queues.len();
        let result = send("random").select(random).await.unwrap();
        assert_eq!(result.queue().queue_id, (turn as i32 * 7 + 3) % 4);
    }
    let by_body = |_: &[MessageQueue], message: &Message| message.body().len();
    for text in ["x", "xyz"] {
        let result = send(text).select(by_body).await.unwrap();
        assert_eq!(result.queue().queue_id, text.len() as i32);
    }
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_se_04_a_callback_is_called_once_for_a_given_queue_and_a_selector_too() {
    let target = Target::shared().await;
    let topic = target.topic("callbacks", 4).await;
    let producer = target.producer().await;
    let queues = producer.queues(&topic).await.unwrap();
    let send = || producer.send(Message::new(&*topic, "x"));
    for (send, expected) in [
        (send().to(queues[3].clone()), 3),
        (send().select(|_, _| 1), 1),
        (send().sharding_key("order-1"), 2),
    ] {
        let (report, reported) = oneshot::channel();
        send.callback(|outcome| report.send(outcome).unwrap());
        let result = reported.await.unwrap().unwrap();
        assert_eq!(result.queue().queue_id, expected);
    }
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_se_05_a_send_whose_outcome_nobody_waits_for_goes_on() {
    let target = Target::shared().await;
    let topic = target.topic("detached", 2).await;
    let producer = target.producer().await;
    for at in 0..10 {
        let message = Message::new(&*topic, format!("m{at}"));
        if at % 2 == 0 {
            producer.send_callback(message, |_| {});
        } else {
            drop(producer.submit(message).await.unwrap());
        }
    }
    // One that is dropped before it is polled is not sent at all.
    drop(producer.send(Message::new(&*topic, "never")));
    producer.shutdown().await.unwrap();
    let stored = read_stored(&target, &topic, 2, 10).await;
    let bodies: BTreeSet<_> = stored
        .iter()
        .map(|message| String::from_utf8_lossy(&message.body).into_owned())
        .collect();
    assert_eq!(bodies, numbered("m", 10));
}

#[tokio::test]
async fn a_se_06_07_a_queue_that_cannot_be_is_an_error_and_nothing_is_sent() {
    let target = Target::shared().await;
    let topic = target.topic("no_queue", 2).await;
    let producer = target.producer().await;
    let broker = Arc::clone(&producer.queues(&topic).await.unwrap()[0].broker_name);
    let send = || producer.send(Message::new(&*topic, "x"));
    let queue = |id| MessageQueue::new(&*topic, Arc::clone(&broker), id);
    for (send, kind, named) in [
        (
            send().select(|_, _| panic!("no way")),
            ErrorKind::Application,
            "no way",
        ),
        (
            send().select(|queues, _| queues.len()),
            ErrorKind::Application,
            "number 2 of 2",
        ),
        (send().to(queue(-1)), ErrorKind::InvalidInput, "negative"),
        (
            send().to(MessageQueue::new("other", Arc::clone(&broker), 0)),
            ErrorKind::InvalidInput,
            "other",
        ),
        (
            send().to(MessageQueue::new(&*topic, "broker-z", 0)),
            ErrorKind::NoRoute,
            "broker-z",
        ),
        (send().to(queue(2)), ErrorKind::Broker, "queueId[2]"),
    ] {
        let error = send.await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.topic(), Some(&*topic));
        assert!(error.to_string().contains(named), "{error}");
        assert_eq!(error.delivery(), Delivery::No);
    }
    wait_until_stored(&target, &topic, 2, 0).await;
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_se_08_oneway_messages_go_to_a_given_or_chosen_queue() {
    let target = Target::shared().await;
    let topic = target.topic("oneway_queues", 4).await;
    let producer = target.producer().await;
    let queues = producer.queues(&topic).await.unwrap();
    let send = |text: &str| producer.send(Message::new(&*topic, text.to_owned()));
    send("given").to(queues[3].clone()).oneway().await.unwrap();
    send("chosen").select(|_, _| 1).oneway().await.unwrap();
    send("key").sharding_key("order-1").oneway().await.unwrap();
    let found: BTreeMap<i32, _> = read_stored(&target, &topic, 4, 3)
        .await
        .into_iter()
        .map(|message| (message.queue_id, message.body))
        .collect();
    assert_eq!(found[&3], "given");
    assert_eq!(
        (&found[&1][..], &found[&2][..]),
        (&b"chosen"[..], &b"key"[..])
    );
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_se_09_oneway_with_bad_input_fails_here() {
    let target = Target::shared().await;
    let topic = target.topic("oneway_bad", 1).await;
    let producer = target.producer().await;
    let send = |body: &'static str| producer.send(Message::new(&*topic, body));
    for (outcome, kind) in [
        (send("").oneway().await, ErrorKind::InvalidInput),
        (
            send("x")
                .to(MessageQueue::new(&*topic, "b", -1))
                .oneway()
                .await,
            ErrorKind::InvalidInput,
        ),
        (
            send("x").select(|_, _| 9).oneway().await,
            ErrorKind::Application,
        ),
    ] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    wait_until_stored(&target, &topic, 1, 0).await;
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_se_11_what_times_out_is_stored_at_most_once() {
    let target = Target::shared().await;
    let topic = target.topic("hurried", 1).await;
    let producer = target.producer().await;
    producer.send(Message::new(&*topic, "first")).await.unwrap();
    let mut late = 0;
    for (at, time) in [Duration::from_micros(1), Duration::from_millis(1)]
        .into_iter()
        .cycle()
        .enumerate()
        .take(40)
    {
        let send = producer.send(Message::new(&*topic, format!("m{at}")));
        if let Err(error) = send.timeout(time).await {
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
            assert!(error.to_string().contains("timed out"), "{error}");
            late += 1;
        }
    }
    assert!(late > 0, "a microsecond is too little");
    // What was written before it stands before it.
    producer.send(Message::new(&*topic, "last")).await.unwrap();
    let broker = target.brokers().await.remove(0);
    let until = tokio::time::Instant::now() + PATIENCE;
    let bodies = loop {
        // How many there will be nobody knows.
        let mut stored = Vec::new();
        read_queue(&target, &broker, &topic, 0, &mut stored).await;
        let bodies: Vec<_> = stored.into_iter().map(|message| message.body).collect();
        if bodies.iter().any(|body| body == "last") {
            break bodies;
        }
        assert!(tokio::time::Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let different: BTreeSet<_> = bodies.iter().collect();
    assert_eq!(different.len(), bodies.len(), "{bodies:?}");
    assert!(bodies.len() >= 42 - late && bodies.len() <= 42);
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_se_12_a_topic_that_one_broker_lost_is_sent_to_the_other() {
    let target = Target::own_strict_pair().await;
    let topic = target.topic("lost", 2).await;
    let producer = target.producer().await;
    let queues = producer.queues(&topic).await.unwrap();
    assert_eq!(queues.len(), 4);
    for queue in &queues {
        let send = producer.send(Message::new(&*topic, "before"));
        send.to(queue.clone()).await.unwrap();
    }
    let lost = &target.brokers().await[0];
    let answer = ask(lost, RequestCode::DELETE_TOPIC_IN_BROKER, |fields| {
        fields.put("topic", &topic);
    })
    .await;
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
    let sends = (0..8).map(|at| producer.send(Message::new(&*topic, format!("m{at}"))));
    let used: BTreeSet<_> = join_all(sends)
        .await
        .into_iter()
        .map(|outcome| outcome.unwrap().queue().broker_name.clone())
        .collect();
    assert_eq!(used.len(), 1);
    // Name servers still know the queues of the broker: what is to go there, and nowhere else, is looked up once, and refused.
    let gone = queues
        .iter()
        .find(|queue| !used.contains(&queue.broker_name));
    let send = producer.send(Message::new(&*topic, "x"));
    let error = send.to(gone.unwrap().clone()).await.unwrap_err();
    let code = error.response_code();
    assert_eq!(code, Some(ResponseCode::TOPIC_NOT_EXIST), "{error}");
    assert!(error.to_string().contains("attempt 2 of 3"), "{error}");
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_se_12_a_topic_with_fewer_queues_is_looked_up_again() {
    let target = Target::shared().await;
    let topic = target.topic("shrinks", 8).await;
    let producer = target.producer().await;
    assert_eq!(producer.queues(&topic).await.unwrap().len(), 8);
    producer
        .send(Message::new(&*topic, "before"))
        .await
        .unwrap();
    for addr in target.brokers().await {
        target.put_topic(&addr, &topic, 2).await;
    }
    target.wait_for_queues(&topic, 2).await;
    for at in 0..8 {
        let send = producer.send(Message::new(&*topic, format!("m{at}")));
        let result = send.await.unwrap();
        assert!(result.queue().queue_id < 2, "{}", result.queue());
    }
    let send = producer.send(Message::new(&*topic, "key"));
    let result = send.sharding_key("order-1").await.unwrap();
    assert_eq!(result.queue().queue_id, 0);
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_or_01_a_hundred_messages_stand_in_one_queue_as_they_were_sent() {
    let target = Target::shared().await;
    let topic = target.topic("one_queue", 8).await;
    let producer = target.producer().await;
    let queue = producer.queues(&topic).await.unwrap().remove(5);
    for at in 0..100 {
        let send = producer.send(Message::new(&*topic, format!("m{at}")));
        let result = send.to(queue.clone()).await.unwrap();
        assert_eq!(result.queue_offset(), at);
    }
    let stored = read_stored(&target, &topic, 8, 100).await;
    for (at, message) in stored.iter().enumerate() {
        assert_eq!(
            (message.queue_id, &message.body[..]),
            (5, format!("m{at}").as_bytes())
        );
    }
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_or_02_03_every_key_has_its_order_in_its_queue() {
    let target = Target::shared().await;
    let topic = target.topic("keys", 8).await;
    let producer = target.producer().await;
    let keys: Vec<_> = (0..30).map(|key| format!("order-{key}")).collect();
    // All keys at once, the steps of each one after the other.
    let (topic, producer) = (&topic, &producer);
    join_all(keys.iter().map(|key| async move {
        for step in 0..8 {
            let message = Message::new(topic.as_str(), format!("{key} {step}"));
            producer.send(message).sharding_key(key).await.unwrap();
        }
    }))
    .await;
    let stored = read_stored(&target, topic, 8, 30 * 8).await;
    let mut steps: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for message in &stored {
        let text = String::from_utf8_lossy(&message.body).into_owned();
        let (key, step) = text.split_once(' ').unwrap();
        assert_eq!(message.property("__SHARDINGKEY"), Some(key));
        let place = (message.queue_id, step.parse::<usize>().unwrap());
        steps.entry(key.to_owned()).or_default().push(place);
    }
    assert_eq!(steps.len(), 30);
    for (key, places) in steps {
        let queue = places[0].0;
        let expected: Vec<_> = (0..8).map(|step| (queue, step)).collect();
        assert_eq!(places, expected, "{key}");
    }
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_order_configuration_says_among_which_queues_a_key_chooses() {
    let target = Target::shared().await;
    let topic = target.topic("order_conf", 8).await;
    let producer = target.producer().await;
    let all = producer.queues(&topic).await.unwrap();
    assert_eq!(all.len(), 8);
    let conf = format!("{}:3", all[0].broker_name);
    let answer = ask(target.name_server(), RequestCode::PUT_KV_CONFIG, |fields| {
        fields.put("namespace", "ORDER_TOPIC_CONFIG");
        fields.put("key", &topic);
        fields.put("value", &conf);
    })
    .await;
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
    let ordered = target.producer().await;
    target.wait_for_queues(&topic, 3).await;
    for key in ["order-1", "order-2", "a", "b"] {
        let send = ordered.send(Message::new(&*topic, key));
        let result = send.sharding_key(key).await.unwrap();
        let hash = key.encode_utf16().fold(0_i32, |hash, unit| {
            hash.wrapping_mul(31).wrapping_add(i32::from(unit))
        });
        assert_eq!(result.queue().queue_id, (hash % 3).abs(), "{key}");
    }
    for producer in [producer, ordered] {
        producer.shutdown().await.unwrap();
    }
}
