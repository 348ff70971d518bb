//! QUERY_CONSUMER_OFFSET (14) and UPDATE_CONSUMER_OFFSET (15).

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::request::consumer_offset::{
    QueryConsumerOffset, QueryConsumerOffsetResponse, UpdateConsumerOffset,
};

use crate::broker::Broker;
use crate::net::call::{Call, Refusal};

/// Answers 0 for a group without an offset where the queue's very first message is still held, unless told not to.
pub(super) fn query(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: QueryConsumerOffset<'_> = call.header()?;
    let committed = broker
        .offsets
        .get(&request.topic, &request.consumer_group, request.queue_id);
    let offset = match committed {
        Some(offset) => offset,
        None if request.set_zero_if_not_found == Some(false) => {
            return Err(Refusal::new(
                ResponseCode::QUERY_NOT_FOUND,
                "Not found, do not set to zero, maybe this group boot first",
            ));
        }
        None if broker.holds_first(&request.topic, request.queue_id) => 0,
        None => {
            return Err(Refusal::new(
                ResponseCode::QUERY_NOT_FOUND,
                "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first",
            ));
        }
    };
    call.answer(&QueryConsumerOffsetResponse { offset });
    Ok(())
}

pub(super) fn update(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: UpdateConsumerOffset<'_> = call.header()?;
    let UpdateConsumerOffset {
        consumer_group: group,
        topic,
        queue_id,
        ..
    } = &request;
    if !broker.groups.is_configured(group) {
        let remark = format!("Group {group} not exist!");
        return Err(Refusal::new(
            ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            remark,
        ));
    }
    let Some(known) = broker.topics.get(topic) else {
        let remark = format!("Topic {topic} not exist!");
        return Err(Refusal::new(ResponseCode::TOPIC_NOT_EXIST, remark));
    };
    // Apache RocketMQ takes any number; here it would make the broker remember whatever it is told.
    if !(0..known.queues()).contains(queue_id) {
        let remark = format!("queueId[{queue_id}] is illegal, topic is {topic}");
        return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
    }
    broker
        .offsets
        .commit(topic, group, *queue_id, request.commit_offset);
    call.done();
    Ok(())
}

impl Broker {
    /// Whether a queue still has the first message that was ever in it.
    fn holds_first(&self, topic: &str, queue_id: i32) -> bool {
        self.store.find_queue(topic, queue_id).is_some_and(|queue| {
            self.store.min_offset(queue) == 0 && self.store.max_offset(queue) > 0
        })
    }
}
