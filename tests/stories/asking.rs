//! What tools ask of members through their broker, and queues that brokers share.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::command::Command;
use rocketmq_sdk::protocol::java_json;
use rocketmq_sdk::protocol::request::consume_directly::{ConsumedDirectlyBody, said};
use rocketmq_sdk::protocol::request::consumer_running_info::{ConsumerRunningInfoBody, property};
use rocketmq_sdk::protocol::request::consumer_status::ConsumerStatusBody;
use rocketmq_sdk::{
    AverageByCircle, ConsistentHash, ConsumeFromWhere, ConsumeResult, ConsumeStatus, ErrorKind,
    Message, MessageExt, MessageModel, MessageQueue, PushConsumer, PushConsumerBuilder,
};
use rocketmq_testkit::Entry;
use tokio::time::{Instant, sleep};

use crate::committed::committed_offset;
use crate::received::{Received, body, numbered, wait_until};
use crate::target::{PATIENCE, Target, ask};

fn listen(builder: PushConsumerBuilder, received: &Received) -> PushConsumerBuilder {
    let builder = builder.consume_from(ConsumeFromWhere::FirstOffset);
    builder.listener_with(received.clone(), |received, messages| async move {
        received.add(messages);
        ConsumeStatus::CONSUME_SUCCESS
    })
}

async fn send(target: &Target, topic: &str, prefix: &str, count: usize) {
    let producer = target.producer().await;
    for at in 0..count {
        let message = Message::new(topic, format!("{prefix}{at}"));
        producer.send(message).await.unwrap();
    }
    producer.shutdown().await.unwrap();
}

/// Moves the offsets of a group to what was stored at a time; to the end with -1.
pub async fn reset(target: &Target, topic: &str, group: &str, timestamp: i64) -> Command {
    let addr = target.brokers().await.remove(0);
    ask(
        &addr,
        RequestCode::INVOKE_BROKER_TO_RESET_OFFSET,
        |fields| {
            fields.put("topic", topic);
            fields.put("group", group);
            fields.put_number("timestamp", timestamp);
            fields.put("isForce", "true");
            fields.put_number("queueId", -1);
            fields.put_number("offset", -1);
        },
    )
    .await
}

/// Waits until the group has committed an offset in each queue: a broker of version 4.9 moves no others.
async fn wait_until_committed(target: &Target, topic: &str, group: &str, queues: i32, sum: i64) {
    let addr = target.brokers().await.remove(0);
    let until = Instant::now() + PATIENCE;
    loop {
        let mut committed = 0;
        for queue in 0..queues {
            let queue = MessageQueue::new(topic, "", queue);
            let offset = committed_offset(&addr, group, &queue).await;
            committed += offset.unwrap_or(0);
        }
        if committed == sum {
            return;
        }
        assert!(Instant::now() < until, "{committed} of {sum} are committed");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_of_08_a_reset_brings_old_messages_again_while_the_consumer_runs() {
    let target = Target::shared().await;
    let topic = target.topic("reset", 2).await;
    let group = target.name("reset");
    send(&target, &topic, "m", 20).await;
    let received = Received::default();
    let builder = target.consumer(&group).subscribe(&*topic, "*");
    let builder = builder.commit_interval(Duration::from_millis(50));
    let consumer = listen(builder, &received).start().await.unwrap();
    received
        .wait(&target, "all came", |received| received.count() == 20)
        .await;
    wait_until_committed(&target, &topic, &group, 2, 20).await;
    let answer = reset(&target, &topic, &group, 0).await;
    assert_eq!(
        answer.response_code(),
        ResponseCode::SUCCESS,
        "{:?}",
        answer.remark
    );
    received
        .wait(&target, "all came again", |received| {
            received.times().values().all(|times| *times == 2)
        })
        .await;
    assert_eq!(received.bodies(), numbered("m", 20));
    wait_until_committed(&target, &topic, &group, 2, 20).await;
    consumer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_of_08_a_reset_to_the_end_leaves_the_backlog_out() {
    let target = Target::shared().await;
    let topic = target.topic("skip", 1).await;
    let group = target.name("skip");
    let received = Received::default();
    let builder = target.consumer(&group).subscribe(&*topic, "*");
    let builder = builder
        .consume_from(ConsumeFromWhere::FirstOffset)
        .concurrency(1)
        .commit_interval(Duration::from_millis(50));
    // The first one takes its time, and the others wait behind it.
    let builder = builder.listener_with(received.clone(), |received, messages| async move {
        let is_old = body(&messages[0]).starts_with("old");
        received.add(messages);
        if is_old {
            sleep(Duration::from_secs(2)).await;
        }
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = builder.start().await.unwrap();
    send(&target, &topic, "first", 1).await;
    wait_until_committed(&target, &topic, &group, 1, 1).await;
    send(&target, &topic, "old", 200).await;
    received
        .wait(&target, "the first old one came", |received| {
            received.count() > 1
        })
        .await;
    crate::target::wait_until_stored(&target, &topic, 1, 201).await;
    let answer = reset(&target, &topic, &group, -1).await;
    assert_eq!(
        answer.response_code(),
        ResponseCode::SUCCESS,
        "{:?}",
        answer.remark
    );
    // Not before the reset has arrived: on a broker of version 5 that is with the next pull.
    wait_until_committed(&target, &topic, &group, 1, 201).await;
    send(&target, &topic, "new", 1).await;
    received
        .wait(&target, "the new one came", |received| {
            received.bodies().contains("new0")
        })
        .await;
    assert!(received.count() < 20, "{}", received.count());
    consumer.shutdown().await.unwrap();
}

#[tokio::test]
async fn tools_hear_which_offsets_a_member_holds_and_what_it_does() {
    let target = Target::shared().await;
    let topic = target.topic("info", 2).await;
    let group = target.name("info");
    send(&target, &topic, "m", 10).await;
    let received = Received::default();
    let builder = target.consumer(&group).subscribe(&*topic, "*");
    let consumer = listen(builder.concurrency(7), &received)
        .start()
        .await
        .unwrap();
    received
        .wait(&target, "all came", |received| received.count() == 10)
        .await;
    let addr = target.brokers().await.remove(0);
    let info = ask(&addr, RequestCode::GET_CONSUMER_RUNNING_INFO, |fields| {
        fields.put("consumerGroup", &group);
        fields.put("clientId", consumer.client_id());
        fields.put("jstackEnable", "false");
    })
    .await;
    assert_eq!(
        info.response_code(),
        ResponseCode::SUCCESS,
        "{:?}",
        info.remark
    );
    let info: ConsumerRunningInfoBody = java_json::from_slice("running info", &info.body).unwrap();
    assert_eq!(info.properties[property::CONCURRENCY], "7");
    assert_eq!(info.properties[property::CONSUME_TYPE], "CONSUME_PASSIVELY");
    assert_eq!(
        info.properties[property::NAME_SERVERS],
        format!("{};", target.name_server())
    );
    let subscribed = info.subscription_set.iter().map(|one| &*one.topic);
    assert!(subscribed.into_iter().any(|one| one == topic));
    let queues = info.mq_table.iter();
    let queues: Vec<_> = queues
        .filter(|(queue, _)| *queue.topic == *topic)
        .map(|(_, queue)| queue)
        .collect();
    assert_eq!(
        queues.iter().map(|queue| queue.commit_offset).sum::<i64>(),
        10
    );
    assert!(queues.iter().all(|queue| {
        queue.cached_msg_count == 0
            && !queue.droped
            && queue.last_pull_timestamp > 1_600_000_000_000
            && queue.last_consume_timestamp > 1_600_000_000_000
    }));
    let status = info.status_table[&topic];
    assert!(status.pull_tps > 0.0 && status.consume_ok_tps > 0.0);
    assert_eq!(status.consume_failed_msgs, 0);
    let answer = ask(
        &addr,
        RequestCode::INVOKE_BROKER_TO_GET_CONSUMER_STATUS,
        |fields| {
            fields.put("topic", &topic);
            fields.put("group", &group);
            fields.put("clientAddr", "");
        },
    )
    .await;
    let answer: ConsumerStatusBody = java_json::from_slice("status", &answer.body).unwrap();
    let offsets: BTreeMap<_, _> = answer.consumer_table[consumer.client_id()].0.clone();
    assert_eq!((offsets.len(), offsets.values().sum::<i64>()), (2, 10));
    consumer.shutdown().await.unwrap();
}

async fn start_sharing(
    target: &Target,
    group: &str,
    topic: &str,
    received: &Received,
) -> PushConsumer {
    let builder = target.consumer(group).subscribe(topic, "*");
    let builder = builder
        .server_side_assignment()
        .allocate_strategy(AverageByCircle);
    listen(builder, received).start().await.unwrap()
}

fn queue_ids(consumer: &PushConsumer, topic: &str) -> BTreeSet<i32> {
    let queues = consumer.assigned_queues().into_iter();
    queues
        .filter(|queue| *queue.topic == *topic)
        .map(|queue| queue.queue_id)
        .collect()
}

#[tokio::test]
async fn a_rb_10_brokers_share_the_queues_when_they_are_asked_to() {
    let target = Target::shared().await;
    let topic = target.topic("broker_shares", 5).await;
    let group = target.name("broker_shares");
    let received = Received::default();
    let one = start_sharing(&target, &group, &topic, &received).await;
    wait_until(&target, "one has everything", || {
        queue_ids(&one, &topic) == (0..5).collect()
    })
    .await;
    let two = start_sharing(&target, &group, &topic, &received).await;
    // By circle: whoever comes first by name has the even ones.
    let halves = [BTreeSet::from([0, 2, 4]), BTreeSet::from([1, 3])];
    wait_until(&target, "each has its half", || {
        let mut shares = [(one.client_id(), &one), (two.client_id(), &two)];
        shares.sort_by_key(|(id, _)| *id);
        shares.map(|(_, consumer)| queue_ids(consumer, &topic)) == halves
    })
    .await;
    if let Some(cluster) = target.cluster() {
        let asked = |entry: &Entry| entry.is_request(RequestCode::QUERY_ASSIGNMENT);
        assert!(cluster.journal().count(asked) > 0);
    }
    send(&target, &topic, "m", 20).await;
    received
        .wait(&target, "all came", |received| {
            received.bodies() == numbered("m", 20)
        })
        .await;
    one.shutdown().await.unwrap();
    wait_until(&target, "the other has everything", || {
        queue_ids(&two, &topic) == (0..5).collect()
    })
    .await;
    two.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_pc_02_what_brokers_cannot_share_is_refused() {
    let target = Target::shared().await;
    let received = Received::default();
    let builder = || {
        let builder = target.consumer("g").subscribe("t", "*");
        listen(builder, &received).server_side_assignment()
    };
    let hash = ConsistentHash::default();
    for (case, named) in [
        (builder().allocate_strategy(hash), "CONSISTENT_HASH"),
        (
            builder().message_model(MessageModel::Broadcasting),
            "broadcasting",
        ),
    ] {
        let error = case.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(named), "{error}");
    }
}

/// A tool has the member consume one of its messages again, and says what the listener said.
async fn consume_directly(
    addr: &str,
    group: &str,
    client_id: &str,
    message: &MessageExt,
) -> ConsumedDirectlyBody {
    let answer = ask(addr, RequestCode::CONSUME_MESSAGE_DIRECTLY, |fields| {
        fields.put("consumerGroup", group);
        fields.put("clientId", client_id);
        fields.put("msgId", message.offset_msg_id());
        fields.put("topic", message.topic());
    })
    .await;
    let (code, remark) = (answer.response_code(), &answer.remark);
    assert_eq!(code, ResponseCode::SUCCESS, "{remark:?}");
    java_json::from_slice("what was said", &answer.body).unwrap()
}

#[tokio::test]
async fn a_tool_has_a_member_consume_a_message_and_hears_what_its_listener_says() {
    let target = Target::shared().await;
    let topic = target.topic("direct", 1).await;
    let group = target.name("direct");
    let received = Received::default();
    let builder = target.consumer(&group).subscribe(&*topic, "*");
    let builder = builder
        .consume_from(ConsumeFromWhere::FirstOffset)
        .commit_interval(Duration::from_millis(50));
    let builder = builder.listener_with(received.clone(), |received, messages| async move {
        let text = body(&messages[0]);
        let count = received.times().get(&text).copied().unwrap_or(0);
        received.add(messages);
        match &*text {
            // At first each of them is consumed.
            _ if count == 0 => ConsumeResult::success(),
            "m1" => ConsumeResult::later_because("not now"),
            "m2" => panic!("on purpose"),
            _ => ConsumeResult::success(),
        }
    });
    let consumer = builder.start().await.unwrap();
    send(&target, &topic, "m", 3).await;
    wait_until_committed(&target, &topic, &group, 1, 3).await;
    let addr = target.brokers().await.remove(0);
    for message in received.all() {
        let text = body(&message);
        let answer = consume_directly(&addr, &group, consumer.client_id(), &message).await;
        let (wanted, remark) = match &*text {
            "m1" => (said::LATER, Some("not now")),
            "m2" => (said::EXCEPTION, Some("the listener panicked: on purpose")),
            _ => (said::SUCCESS, None),
        };
        assert_eq!(
            (&*answer.consume_result, answer.remark.as_deref()),
            (wanted, remark)
        );
        assert!(answer.auto_commit && !answer.order);
    }
    assert!(received.times().values().all(|times| *times == 2));
    let all = received.all();
    let ids: Vec<_> = all.iter().map(MessageExt::msg_id).collect();
    assert_eq!(ids[..3], ids[3..], "the messages are the same");
    assert!(all.iter().all(|message| {
        message.queue() == all[0].queue()
            && message.topic() == topic
            && message.reconsume_times() == 0
    }));
    sleep(Duration::from_millis(200)).await;
    let queue = all[0].queue();
    assert_eq!(committed_offset(&addr, &group, queue).await, Some(3));
    assert!(consumer.shutdown().await.unwrap().is_clean());
}
