//! CONSUMER_SEND_MSG_BACK (36).

use bytes::Bytes;
use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::message::{OffsetMessageId, Properties, StoredMessage, property_names};
use rocketmq_sdk::protocol::request::route::Permission;
use rocketmq_sdk::protocol::request::send_back::SendBack;

use crate::broker::arrival::Arrival;
use crate::broker::{Broker, names};
use crate::name_server::APPLY_TOPIC_URL;
use crate::net::call::{Call, Refusal};

/// The level of the first try but one: with each try the delay is one level longer.
const FIRST_LEVEL: i32 = 3;

pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: SendBack<'_> = call.header()?;
    let group = &*request.group;
    let Some(config) = broker.groups.config(group).cloned() else {
        let remark = format!("subscription group not exist, {group} {APPLY_TOPIC_URL}");
        return Err(Refusal::new(
            ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            remark,
        ));
    };
    if config.retry_queue_nums > 0 {
        let retry_topic = names::retry_topic(group);
        broker.ensure_writable(&retry_topic, config.retry_queue_nums)?;
        let Some(message) = broker.store.at(request.offset).cloned() else {
            let remark = format!("look message by offset failed, {}", request.offset);
            return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark));
        };
        let message = decode(message)?;
        let max = request
            .max_reconsume_times
            .unwrap_or(config.retry_max_times);
        let dead = message.reconsume_times >= max || request.delay_level < 0;
        let arrival = if dead {
            let topic = names::dead_letter_topic(group);
            broker.ensure_writable(&topic, 1)?;
            returned(&message, topic, 0, 0)
        } else {
            let level = match request.delay_level {
                0 => FIRST_LEVEL.saturating_add(message.reconsume_times),
                level => level,
            };
            let queue_id = broker.choose_queue(config.retry_queue_nums);
            returned(&message, retry_topic, queue_id, level)
        };
        // Who sends a message back is told only by name what is wrong with the disk.
        if let Some((_, status)) = broker.disk.refusal() {
            return Err(Refusal::failed(status));
        }
        broker.take_in(arrival)?;
    }
    call.done();
    Ok(())
}

/// The message as it goes back: it keeps who made it and when, where it came from first, and what it was called then.
fn returned(message: &StoredMessage, topic: String, queue_id: i32, delay_level: i32) -> Arrival {
    let mut properties = Properties::from(message.properties.as_str());
    if properties.get(property_names::RETRY_TOPIC).is_none() {
        properties.push(property_names::RETRY_TOPIC, &message.topic);
    }
    if properties.get(property_names::ORIGIN_MESSAGE_ID).is_none() {
        let id = OffsetMessageId {
            host: message.store_host,
            physical_offset: message.physical_offset,
        };
        properties.push(property_names::ORIGIN_MESSAGE_ID, &id.to_string());
    }
    for (name, value) in [
        (property_names::WAIT_STORE_OK, "false"),
        (property_names::DELAY_LEVEL, &delay_level.to_string()),
    ] {
        properties.remove(name);
        properties.push(name, value);
    }
    Arrival {
        topic: topic.into(),
        queue_id,
        reconsume_times: message.reconsume_times.saturating_add(1),
        delay_level,
        timer: true,
        ..Arrival::again(message, properties)
    }
}

fn decode(mut stored: Bytes) -> Result<StoredMessage, Refusal> {
    Ok(StoredMessage::decode(&mut stored)?)
}

impl Broker {
    /// Makes a topic of the broker's own if it is not there, and checks that it can be written.
    fn ensure_writable(&mut self, topic: &str, queues: i32) -> Result<(), Refusal> {
        self.topics.ensure(topic, queues, self.now);
        match self.topics.get(topic) {
            None => {
                let remark = format!("topic[{topic}] not exist");
                Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark))
            }
            Some(known) if !Permission(known.config.perm).can_write() => {
                let remark = format!("the topic[{topic}] sending message is forbidden");
                Err(Refusal::new(ResponseCode::NO_PERMISSION, remark))
            }
            Some(_) => Ok(()),
        }
    }
}
