//! Offsets that brokers keep.

use rocketmq_sdk::MessageQueue;
use rocketmq_sdk::protocol::code::RequestCode;

use crate::target::ask;

/// A group's offset in a queue, from the broker itself.
pub async fn committed_offset(addr: &str, group: &str, queue: &MessageQueue) -> Option<i64> {
    let answer = ask(addr, RequestCode::QUERY_CONSUMER_OFFSET, |fields| {
        fields.put("consumerGroup", group);
        fields.put("topic", &queue.topic);
        fields.put_number("queueId", queue.queue_id.into());
    })
    .await;
    let mut fields = answer.fields.iter().filter_map(Result::ok);
    let (_, offset) = fields.find(|(name, _)| *name == "offset")?;
    offset.parse().ok()
}
