//! What becomes of messages that were not consumed.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::{
    ConsumeContext, ConsumeFromWhere, ConsumeResult, ConsumeStatus, Message, MessageExt,
    MessageListener, MessageQueue, OffsetStore, PushConsumerBuilder,
};
use rocketmq_testkit::Cluster;
use tokio::time::{Instant, sleep};

use crate::committed::committed_offset;
use crate::received::{Received, body, numbered};
use crate::target::Target;

async fn send(target: &Target, topic: &str, count: usize) {
    let producer = target.producer().await;
    for at in 0..count {
        let message = Message::new(topic, format!("m{at}"));
        producer.send(message).await.unwrap();
    }
    producer.shutdown().await.unwrap();
}

fn builder(target: &Target, group: &str, topic: &str) -> PushConsumerBuilder {
    let builder = target.consumer(group).subscribe(topic, "*");
    builder
        .consume_from(ConsumeFromWhere::FirstOffset)
        .commit_interval(Duration::from_millis(50))
}

#[tokio::test]
async fn a_rt_04_a_listener_that_takes_too_long_gets_its_message_again() {
    let target = Target::shared().await;
    let topic = target.topic("slow", 1).await;
    let received = Received::default();
    let builder = builder(&target, &target.name("slow"), &topic);
    let builder = builder.consume_timeout(Duration::from_millis(300));
    let ended = Arc::new(AtomicBool::new(false));
    let state = (received.clone(), Arc::clone(&ended));
    let consumer = builder.listener_with(state, |(received, ended), messages| async move {
        let hangs = body(&messages[0]) == "m0" && messages[0].reconsume_times() == 0;
        received.add(messages);
        if hangs {
            sleep(Duration::from_secs(2)).await;
            ended.store(true, Ordering::SeqCst);
        }
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = consumer.start().await.unwrap();
    send(&target, &topic, 2).await;
    received
        .wait(&target, "the slow one came again", |received| {
            received.count() == 3
        })
        .await;
    let all = received.all();
    assert_eq!(all.iter().map(body).filter(|text| text == "m0").count(), 2);
    assert_eq!(all[2].reconsume_times(), 1);
    assert_eq!(all[2].topic(), topic);
    sleep(Duration::from_millis(2200)).await;
    assert!(!ended.load(Ordering::SeqCst), "its future was dropped");
    assert!(consumer.shutdown().await.unwrap().is_clean());
}

/// Takes batches, and acknowledges the messages before the first with a bad body.
struct InPart {
    batches: Arc<Mutex<Vec<(Vec<String>, i32)>>>,
}

impl MessageListener for InPart {
    async fn consume(&self, messages: Vec<MessageExt>, context: &ConsumeContext) -> ConsumeResult {
        let bodies: Vec<_> = messages.iter().map(body).collect();
        assert!(messages.iter().all(|one| one.queue() == context.queue()));
        let times = context.reconsume_times();
        self.batches.lock().push((bodies.clone(), times));
        match bodies.iter().position(|text| text == "m3") {
            Some(bad) if times == 0 => ConsumeResult::retry_after_level(1).ack_first(bad),
            _ => ConsumeResult::success(),
        }
    }
}

#[tokio::test]
async fn a_rt_09_of_a_batch_that_succeeds_in_part_only_the_rest_comes_again() {
    let target = Target::shared().await;
    let topic = target.topic("part", 1).await;
    send(&target, &topic, 6).await;
    crate::target::wait_until_stored(&target, &topic, 1, 6).await;
    let batches = Arc::new(Mutex::new(Vec::new()));
    let listener = InPart {
        batches: Arc::clone(&batches),
    };
    let builder = builder(&target, &target.name("part"), &topic);
    let consumer = builder
        .consume_batch_max_size(6)
        .message_listener(listener)
        .start()
        .await
        .unwrap();
    crate::received::wait_until(&target, "three came again", || {
        let batches = batches.lock();
        batches
            .iter()
            .map(|(bodies, _)| bodies.len())
            .sum::<usize>()
            >= 9
    })
    .await;
    let batches = std::mem::take(&mut *batches.lock());
    let (first, again) = batches.split_first().unwrap();
    assert_eq!(*first, (numbered("m", 6).into_iter().collect(), 0));
    let mut rest: Vec<_> = again
        .iter()
        .flat_map(|(bodies, _)| bodies.clone())
        .collect();
    rest.sort_unstable();
    assert_eq!(rest, ["m3", "m4", "m5"]);
    assert!(again.iter().all(|(_, times)| *times == 1));
    assert!(consumer.shutdown().await.unwrap().is_clean());
}

#[tokio::test]
async fn a_rt_02_a_dead_letter_keeps_its_topic_and_id() {
    let target = Target::shared().await;
    let topic = target.topic("letter", 1).await;
    let group = target.name("letter");
    let seen = Received::default();
    let consumer = builder(&target, &group, &topic)
        .listener_with(seen.clone(), |seen, messages| async move {
            seen.add(messages);
            ConsumeResult::dead_letter()
        })
        .start()
        .await
        .unwrap();
    send(&target, &topic, 1).await;
    seen.wait(&target, "it came", |seen| seen.count() == 1)
        .await;
    let dead = Received::default();
    let letters = format!("%DLQ%{group}");
    let reader = builder(&target, &target.name("reader"), &letters)
        .listener_with(dead.clone(), |dead, messages| async move {
            dead.add(messages);
            ConsumeStatus::CONSUME_SUCCESS
        })
        .start()
        .await
        .unwrap();
    dead.wait(&target, "the letter came", |dead| dead.count() == 1)
        .await;
    let (sent, letter) = (seen.all().remove(0), dead.all().remove(0));
    assert_eq!((sent.topic(), letter.topic()), (&*topic, &*letters));
    assert_eq!(letter.origin_topic(), Some(&*topic));
    assert_eq!(letter.msg_id(), sent.msg_id());
    assert!(letter.is_dead_letter() && !sent.is_dead_letter());
    assert_eq!(seen.count(), 1);
    reader.shutdown().await.unwrap();
    assert!(consumer.shutdown().await.unwrap().is_clean());
}

/// The offset of one queue.
#[derive(Debug, Default)]
struct Kept(Mutex<Option<i64>>);

#[async_trait]
impl OffsetStore for Kept {
    async fn load(
        &self,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, Box<dyn Error + Send + Sync>> {
        Ok(self.0.lock().filter(|_| *queue.topic == *"t"))
    }

    async fn commit(
        &self,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        if *queue.topic == *"t" {
            *self.0.lock() = Some(offset);
        }
        Ok(())
    }
}

/// On the testkit alone, where time can stand still and a broker can refuse.
#[tokio::test(start_paused = true)]
async fn a_rt_10_l05_what_a_broker_does_not_take_back_is_tried_again_here() {
    let target = Target::memory(Cluster::builder().topic("t", 1)).await;
    let cluster = target.cluster().unwrap();
    let producer = target.producer().await;
    for at in 0..3 {
        let message = Message::new("t", format!("m{at}"));
        producer.send(message).await.unwrap();
    }
    let refusals = cluster
        .faults()
        .on(RequestCode::CONSUMER_SEND_MSG_BACK)
        .reply(ResponseCode::SYSTEM_ERROR, "on purpose");
    let copies = cluster.faults().on_sends().topic("%RETRY%g");
    let copies = copies.reply(ResponseCode::SYSTEM_ERROR, "on purpose");
    let kept = Arc::new(Kept::default());
    let committed = || *kept.0.lock();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let began = Instant::now();
    let consumer = target
        .consumer("g")
        .subscribe("t", "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .commit_interval(Duration::from_millis(50))
        .offset_store(Arc::clone(&kept))
        .listener_with(Arc::clone(&seen), move |seen, messages| async move {
            let message = &messages[0];
            let (text, times) = (body(message), message.reconsume_times());
            let fails = text == "m1" && times < 3;
            if text == "m1" {
                seen.lock().push((times, began.elapsed().as_secs()));
            }
            match fails {
                true => ConsumeStatus::RECONSUME_LATER,
                false => ConsumeStatus::CONSUME_SUCCESS,
            }
        })
        .start()
        .await
        .unwrap();
    sleep(Duration::from_secs(13)).await;
    assert_eq!(committed(), Some(1), "it does not pass the one that failed");
    sleep(Duration::from_secs(4)).await;
    assert_eq!(
        *seen.lock(),
        [(0, 0), (1, 5), (2, 10), (3, 15)],
        "each time it has failed once more"
    );
    assert_eq!((refusals.hits(), committed()), (3, Some(3)));
    assert_eq!(copies.hits(), 3, "nor does it take a copy");
    assert!(consumer.shutdown().await.unwrap().is_clean());
    producer.shutdown().await.unwrap();
}

/// On the testkit alone, as above. The commit log of a message that lags far behind may be gone, and then no broker takes it back.
#[tokio::test(start_paused = true)]
async fn what_its_broker_has_lost_comes_again_as_a_copy_and_is_a_dead_letter_in_the_end() {
    let target = Target::memory(Cluster::builder().topic("t", 1)).await;
    let cluster = target.cluster().unwrap();
    let producer = target.producer().await;
    for text in ["poison", "dead", "soon", "fine"] {
        let message = Message::builder("t").tag("a").body(text).build();
        producer.send(message).await.unwrap();
    }
    let lost = cluster.faults().on(RequestCode::CONSUMER_SEND_MSG_BACK);
    let lost = lost.reply(
        ResponseCode::SYSTEM_ERROR,
        "look message by offset failed, 0",
    );
    let consumer = |group: &str, topic: &str| {
        target
            .consumer(group)
            .subscribe(topic, "*")
            .consume_from(ConsumeFromWhere::FirstOffset)
            .commit_interval(Duration::from_millis(50))
    };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let began = Instant::now();
    let failing = consumer("g", "t")
        .max_reconsume_times(2)
        .listener_with(Arc::clone(&seen), move |seen, messages| async move {
            let message = &messages[0];
            assert_eq!((message.topic(), message.tag()), ("t", Some("a")));
            let (text, times) = (body(message), message.reconsume_times());
            let at = began.elapsed().as_secs();
            seen.lock().push((text.clone(), times, at));
            match &*text {
                "poison" => ConsumeResult::later(),
                "dead" => ConsumeResult::dead_letter(),
                "soon" if times == 0 => ConsumeResult::retry_after_level(1),
                _ => ConsumeResult::success(),
            }
        })
        .start()
        .await
        .unwrap();
    let letters = Arc::new(Mutex::new(Vec::new()));
    let reader = consumer("reader", "%DLQ%g")
        .listener_with(Arc::clone(&letters), |letters, messages| async move {
            let message = &messages[0];
            assert_eq!(message.origin_topic(), Some("t"));
            letters
                .lock()
                .push((body(message), message.msg_id().to_owned()));
            ConsumeStatus::CONSUME_SUCCESS
        })
        .start()
        .await
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    let group = cluster.broker("broker-a").group("g");
    assert_eq!(group.committed("t", 0), Some(4), "the queue goes on");
    sleep(Duration::from_secs(60)).await;
    let of = |text: &str| {
        let seen = seen.lock();
        let all = seen.iter().filter(|(other, ..)| other == text);
        all.map(|(_, times, at)| (*times, *at)).collect::<Vec<_>>()
    };
    assert_eq!(of("poison"), [(0, 0), (1, 10), (2, 40)]);
    assert_eq!((of("dead"), of("fine")), (vec![(0, 0)], vec![(0, 0)]));
    assert_eq!(of("soon"), [(0, 0), (1, 1)]);
    let letters: Vec<_> = letters
        .lock()
        .iter()
        .map(|(text, _)| text.clone())
        .collect();
    assert_eq!(letters, ["dead", "poison"]);
    assert_eq!(lost.hits(), 5);
    assert!(failing.shutdown().await.unwrap().is_clean());
    reader.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

/// A failure that is under way when the consumer ends is confirmed by the broker before the last offset is committed.
#[tokio::test]
async fn a_rt_03_l05_what_fails_while_the_consumer_ends_goes_back_first() {
    let target = Target::shared().await;
    let topic = target.topic("ending", 1).await;
    let group = target.name("ending");
    let seen = Received::default();
    let start = || {
        builder(&target, &group, &topic).listener_with(seen.clone(), |seen, messages| async move {
            let first = messages[0].reconsume_times() == 0;
            seen.add(messages);
            if first {
                sleep(Duration::from_millis(300)).await;
                return Err("on purpose".into());
            }
            Ok(())
        })
    };
    let consumer = start().start().await.unwrap();
    send(&target, &topic, 5).await;
    seen.wait(&target, "all are at work", |seen| seen.count() == 5)
        .await;
    let report = consumer.shutdown().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    let addr = target.brokers().await.remove(0);
    let queue = seen.all()[0].queue().clone();
    assert_eq!(committed_offset(&addr, &group, &queue).await, Some(5));
    let consumer = start().start().await.unwrap();
    seen.wait(&target, "all came again", |seen| {
        seen.times().values().all(|times| *times == 2)
    })
    .await;
    consumer.shutdown().await.unwrap();
}
