//! INVOKE_BROKER_TO_RESET_OFFSET (222): has the members of a group move their offsets, as Apache RocketMQ 4.9 does, and 5.x with
//! `useServerSideResetOffset=false`.

use std::collections::BTreeMap;

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::message::{MessageQueue, OffsetTable};
use rocketmq_sdk::protocol::request::reset_offset::{InvokeResetOffset, ResetOffset};

use crate::broker::Broker;
use crate::broker::store::Boundary;
use crate::net::call::{Call, Refusal};

pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: InvokeResetOffset<'_> = call.header()?;
    let InvokeResetOffset { topic, group, .. } = &request;
    let Some(queues) = broker
        .topics
        .get(topic)
        .map(|known| known.config.write_queue_nums)
    else {
        let remark =
            format!("[reset-offset] reset offset failed, no topic in this broker. topic={topic}");
        return Err(Refusal::new(ResponseCode::TOPIC_NOT_EXIST, remark));
    };
    let mut offset_table = BTreeMap::new();
    for queue_id in 0..queues {
        let Some(committed) = broker.offsets.get(topic, group, queue_id) else {
            // Apache RocketMQ spells it like that.
            return Err(Refusal::failed(format!(
                "THe consumer group <{group}> not exist"
            )));
        };
        let wanted = broker.offset_of(topic, queue_id, request.timestamp);
        let offset = if request.is_force {
            wanted
        } else {
            wanted.min(committed)
        };
        offset_table.insert(
            MessageQueue::new(&**topic, &*broker.config.name, queue_id),
            offset,
        );
    }
    let Some(members) = broker.groups.consumer(group) else {
        let remark = format!(
            "Consumer not online, so can not reset offset, Group: {group} Topic: {topic} Timestamp: {}",
            request.timestamp
        );
        return Err(Refusal::new(ResponseCode::CONSUMER_NOT_ONLINE, remark));
    };
    let table = OffsetTable { offset_table };
    let order = ResetOffset {
        topic: topic.clone(),
        group: group.clone(),
        timestamp: request.timestamp,
        is_force: false,
        queue_id: Some(-1),
    };
    for member in members.members.values() {
        member.peer.send_oneway(&order, &table.encode().into());
    }
    call.answer_java_json(&table)
}

impl Broker {
    /// The offset of what was stored at a time; -1 is the end.
    fn offset_of(&self, topic: &str, queue_id: i32, timestamp: i64) -> i64 {
        let Some(queue) = self.store.find_queue(topic, queue_id) else {
            return 0;
        };
        match timestamp {
            -1 => self.store.max_offset(queue),
            _ => self.store.offset_at(queue, timestamp, Boundary::Lower),
        }
    }
}
