//! What brokers have stored, read from them without the client.

use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::message::{StoredMessage, StoredMessages};
use rocketmq_sdk::protocol::request::pull_message::PullSysFlag;

use crate::target::{Target, wait_until_stored};

/// All messages of a topic, by queue and offset, once there are `count` of them. Bodies are as they were sent, compressed or not.
pub async fn read_stored(
    target: &Target,
    topic: &str,
    queues: i32,
    count: usize,
) -> Vec<StoredMessage> {
    wait_until_stored(target, topic, queues, count as i64).await;
    let mut all = Vec::new();
    for addr in target.brokers().await {
        for queue in 0..queues {
            read_queue(target, &addr, topic, queue, &mut all).await;
        }
    }
    assert_eq!(all.len(), count, "messages of {topic}");
    all
}

/// All messages of one queue of a broker; none if it does not know the topic.
pub async fn read_queue(
    target: &Target,
    addr: &str,
    topic: &str,
    queue: i32,
    all: &mut Vec<StoredMessage>,
) {
    let mut offset = 0;
    loop {
        let asking = target.ask(addr, RequestCode::PULL_MESSAGE, |fields| {
            fields.put("consumerGroup", "stories_readers");
            fields.put("topic", topic);
            fields.put_number("queueId", queue.into());
            fields.put_number("queueOffset", offset);
            fields.put_number("maxMsgNums", 32);
            fields.put_number("sysFlag", PullSysFlag::SUBSCRIPTION.into());
            fields.put_number("commitOffset", 0);
            fields.put_number("suspendTimeoutMillis", 0);
            fields.put("subscription", "*");
            fields.put_number("subVersion", 0);
            fields.put("expressionType", "TAG");
        });
        let answer = asking.await;
        match answer.response_code() {
            ResponseCode::SUCCESS => {}
            ResponseCode::PULL_NOT_FOUND | ResponseCode::TOPIC_NOT_EXIST => return,
            code => panic!("{code}: {:?}", answer.remark),
        }
        let messages = StoredMessages::new(answer.body).map(|message| message.expect("a message"));
        all.extend(messages);
        offset = all.last().expect("a message").queue_offset + 1;
    }
}
