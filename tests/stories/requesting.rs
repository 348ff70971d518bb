//! Requests and replies.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rocketmq_sdk::{
    Client, ConsumeFromWhere, ConsumeStatus, DefaultProducer, ErrorKind, Message, MessageExt,
    MessageQueue, PushConsumer, ResponseCode,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::received::{body, wait_until};
use crate::target::{PATIENCE, Target};

/// Replies to every request of a topic with its body in capitals, and to nothing else.
async fn replier(target: &Target, topic: &str) -> (PushConsumer, DefaultProducer) {
    let producer = target.producer().await;
    let consumer = target
        .consumer(&target.name("repliers"))
        .subscribe(topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(producer.clone(), |producer, messages| async move {
            for request in messages.iter().filter(|message| message.is_request()) {
                let answer = Message::reply_to(request)
                    .tag("answer")
                    .property("to", body(request))
                    .body(body(request).to_uppercase());
                producer.send(answer.build()).await?;
            }
            Ok(())
        });
    (consumer.start().await.unwrap(), producer)
}

#[tokio::test]
async fn a_request_gets_the_reply_of_who_consumes_it() {
    let target = Target::shared().await;
    let topic = target.topic("requests", 4).await;
    let (consumer, replying) = replier(&target, &topic).await;
    let producer = target.producer().await;
    let ask = |text: String| {
        producer
            .request(Message::new(&*topic, text))
            .timeout(PATIENCE)
    };
    // The first one waits until the consumer has its queues.
    let first = ask("first".to_owned()).await.unwrap();
    assert_eq!(
        (body(&first), first.tag()),
        ("FIRST".to_owned(), Some("answer"))
    );
    assert_eq!(first.topic(), "DefaultCluster_REPLY_TOPIC");
    assert_eq!(first.broker_name(), "broker-a");
    assert_eq!(first.property("MSG_TYPE"), Some("reply"));
    assert!(first.property("PUSH_REPLY_TIME").is_some() && first.born_timestamp() > 0);
    // Many at a time, and large ones, which are compressed on their way.
    let large = "abc".repeat(10_000);
    let texts: Vec<_> = (0..50)
        .map(|number| format!("text {number}"))
        .chain([large])
        .collect();
    let replies = join_all(texts.iter().cloned().map(ask)).await;
    for (text, reply) in texts.iter().zip(replies) {
        let reply = reply.unwrap();
        assert_eq!(
            (body(&reply), reply.property("to")),
            (text.to_uppercase(), Some(&**text))
        );
    }
    consumer.shutdown().await.unwrap();
    replying.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn two_clients_of_a_process_get_each_its_own_replies() {
    let target = Target::shared().await;
    let topic = target.topic("two_askers", 1).await;
    let (consumer, replying) = replier(&target, &topic).await;
    let (one, two) = (target.producer().await, target.producer().await);
    for round in 0..5 {
        let ask = |producer: &DefaultProducer, who: &str| {
            let message = Message::new(&*topic, format!("{who} {round}"));
            producer.request(message).timeout(PATIENCE)
        };
        let (from_one, from_two) = tokio::join!(ask(&one, "one"), ask(&two, "two"));
        assert_eq!(body(&from_one.unwrap()), format!("ONE {round}"));
        assert_eq!(body(&from_two.unwrap()), format!("TWO {round}"));
    }
    consumer.shutdown().await.unwrap();
    for producer in [replying, one, two] {
        producer.shutdown().await.unwrap();
    }
}

/// A consumer that hands its messages over, and does nothing with them.
async fn taker(
    target: &Target,
    topic: &str,
) -> (PushConsumer, mpsc::UnboundedReceiver<MessageExt>) {
    let (sender, taken) = mpsc::unbounded_channel();
    let consumer = target
        .consumer(&target.name("takers"))
        .subscribe(topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(sender, |sender, messages| async move {
            messages
                .into_iter()
                .for_each(|message| drop(sender.send(message)));
            ConsumeStatus::CONSUME_SUCCESS
        });
    (consumer.start().await.unwrap(), taken)
}

/// The next request that a taker hands over.
async fn next_request(taken: &mut mpsc::UnboundedReceiver<MessageExt>) -> MessageExt {
    let next = async {
        loop {
            let message = taken.recv().await.unwrap();
            if message.is_request() {
                return message;
            }
        }
    };
    timeout(PATIENCE, next).await.expect("a request")
}

#[tokio::test]
async fn a_late_reply_is_dropped_and_one_to_a_client_that_is_gone_fails() {
    let target = Target::shared().await;
    let topic = target.topic("late", 1).await;
    let (consumer, mut taken) = taker(&target, &topic).await;
    let replier = target.producer().await;
    let asker = target.producer_of(&target.name("late"));
    let asker = asker.topics([topic.clone()]).start().await.unwrap();
    // Its time is for the request, not for what comes before a client's first one.
    asker.send(Message::new(&*topic, "first")).await.unwrap();
    let late = asker
        .request(Message::new(&*topic, "?"))
        .timeout(Duration::from_millis(300));
    let error = late.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let request = next_request(&mut taken).await;
    assert_eq!(request.property("TTL"), Some("300"));
    // The broker hands it over all the same, and the client takes it.
    replier.reply(&request, "too late").await.unwrap();
    wait_until(&target, "it was dropped", || asker.unclaimed_replies() == 1).await;
    asker.shutdown().await.unwrap();
    let error = replier
        .reply(&request, "nobody is there")
        .await
        .unwrap_err();
    assert_eq!(error.response_code(), Some(ResponseCode::SYSTEM_ERROR));
    assert!(error.to_string().contains("not found"), "{error}");
    consumer.shutdown().await.unwrap();
    replier.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_client_gets_replies_also_after_another_of_its_producers_is_gone() {
    let target = Target::shared().await;
    let topic = target.topic("shared_client", 1).await;
    let (consumer, replying) = replier(&target, &topic).await;
    let client = Client::builder()
        .name_server(target.name_server())
        .start()
        .await
        .unwrap();
    let start = |base: &str| {
        let builder = DefaultProducer::builder(target.name(base)).client(&client);
        builder.topics([topic.clone()]).start()
    };
    let (asker, other) = (start("asker").await.unwrap(), start("other").await.unwrap());
    let ask = || asker.request(Message::new(&*topic, "?")).timeout(PATIENCE);
    ask().await.unwrap();
    other.shutdown().await.unwrap();
    ask().await.unwrap();
    asker.shutdown().await.unwrap();
    client.shutdown().await;
    consumer.shutdown().await.unwrap();
    replying.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_reply_may_come_through_a_broker_that_did_not_take_the_request() {
    let target = Target::own_strict_pair().await;
    let topic = target.topic("pair", 1).await;
    let (consumer, mut taken) = taker(&target, &topic).await;
    let (asker, replier) = (target.producer().await, target.producer().await);
    let through = |name: &'static str| {
        move |queues: &[MessageQueue]| {
            let found = queues.iter().find(|queue| &*queue.broker_name == name);
            found.cloned().unwrap()
        }
    };
    let queues = asker.queues(&topic).await.unwrap();
    for (asks, replies) in [("broker-a", "broker-b"), ("broker-b", "broker-a")] {
        let asking = asker.request(Message::new(&*topic, "?")).timeout(PATIENCE);
        let asking = tokio::spawn(asking.to(through(asks)(&queues)));
        let request = next_request(&mut taken).await;
        assert_eq!(request.broker_name(), asks);
        let reply = Message::reply_to(&request).body("!").build();
        let queues = replier.queues(reply.topic()).await.unwrap();
        let sending = replier.send(reply).to(through(replies)(&queues));
        sending.await.unwrap();
        let got = asking.await.unwrap().unwrap();
        assert_eq!((body(&got).as_str(), got.broker_name()), ("!", replies));
    }
    consumer.shutdown().await.unwrap();
    asker.shutdown().await.unwrap();
    replier.shutdown().await.unwrap();
}

#[tokio::test]
async fn who_waits_for_a_reply_may_be_asked_meanwhile() {
    let target = Target::shared().await;
    let topic = target.topic("both_ways", 1).await;
    let producer = Arc::new(target.producer().await);
    // Who consumes the request asks something itself before it replies.
    let inner = target.topic("inner", 1).await;
    let (consumer, replying) = replier(&target, &inner).await;
    let state = (Arc::clone(&producer), inner);
    let outer = target
        .consumer(&target.name("outer"))
        .subscribe(&*topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(state, |(producer, inner), messages| async move {
            for request in &messages {
                let question = Message::new(&*inner, body(request));
                let answer = producer.request(question).timeout(PATIENCE).await?;
                producer.reply(request, answer.body().clone()).await?;
            }
            Ok(())
        });
    let outer = outer.start().await.unwrap();
    let reply = producer
        .request(Message::new(&*topic, "through two"))
        .timeout(PATIENCE);
    assert_eq!(body(&reply.await.unwrap()), "THROUGH TWO");
    outer.shutdown().await.unwrap();
    consumer.shutdown().await.unwrap();
    replying.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}
