//! RECALL_MESSAGE (370).

use bytes::Bytes;
use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::message::{Properties, RecallHandle, SysFlag, property_names};
use rocketmq_sdk::protocol::request::recall_message::{RecallMessage, RecallMessageResponse};

use crate::broker::arrival::Arrival;
use crate::broker::filter::tag_code;
use crate::broker::handle::send_message::REGION;
use crate::broker::{Broker, timed};
use crate::net::call::{Call, Refusal};

const TAG: &str = "_RECALL_TAG_";

const INVALID: &str = "recall handle is invalid";

/// Stores a message that is due with the one that it takes back.
pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: RecallMessage<'_> = call.header()?;
    if !broker.config.recall {
        let remark = "recall failed, operation is forbidden";
        return Err(Refusal::new(ResponseCode::NO_PERMISSION, remark));
    }
    let Some(topic) = broker.topics.get(&request.topic) else {
        let remark = format!("recall failed, the topic[{}] not exist", request.topic);
        return Err(Refusal::new(ResponseCode::TOPIC_NOT_EXIST, remark));
    };
    let name = topic.name.clone();
    let handle = broker.check_handle(&request)?;
    let properties = properties(&handle, request.producer_group.as_deref(), broker.now)?;
    broker.take_in(Arrival {
        topic: name,
        queue_id: 0,
        flag: 0,
        sys_flag: SysFlag::default(),
        born_timestamp: broker.now,
        born_host: call.peer.addr,
        reconsume_times: 0,
        body: Bytes::from_static(b"0"),
        tag_code: tag_code(Some(TAG)),
        properties,
        delay_level: 0,
        timer: true,
        prepared_transaction_offset: 0,
    })?;
    call.answer(&RecallMessageResponse {
        msg_id: handle.message_id.into(),
        region: Some(REGION.into()),
    });
    Ok(())
}

impl Broker {
    fn check_handle(&self, request: &RecallMessage<'_>) -> Result<RecallHandle, Refusal> {
        let handle = RecallHandle::decode(&request.recall_handle).map_err(|_| illegal(INVALID))?;
        if handle.topic != request.topic {
            return Err(illegal("recall failed, topic not match"));
        }
        if handle.broker_name != self.config.name {
            return Err(illegal("recall failed, broker service not available"));
        }
        let left = handle
            .deliver_millis
            .parse()
            .unwrap_or(-1_i64)
            .saturating_sub(self.now);
        if left <= 0 || left >= timed::MAX_DELAY {
            return Err(illegal("recall failed, timestamp invalid"));
        }
        Ok(handle)
    }
}

fn properties(
    handle: &RecallHandle,
    producer_group: Option<&str>,
    now: i64,
) -> Result<Properties, Refusal> {
    let key = timed::recall_key(&handle.topic, &handle.message_id);
    let mut properties = Properties::new();
    for (name, value) in [
        (property_names::TAGS, TAG),
        (property_names::TIMER_DELETE_UNIQUE_KEY, &key),
        (property_names::UNIQUE_KEY, &handle.message_id),
        (property_names::TIMER_DELIVER_MILLIS, &handle.deliver_millis),
        (property_names::BORN_TIMESTAMP, &now.to_string()),
    ] {
        properties.set(name, value).map_err(|_| illegal(INVALID))?;
    }
    if let Some(group) = producer_group.filter(|group| !group.is_empty()) {
        properties
            .set(property_names::PRODUCER_GROUP, group)
            .map_err(|_| illegal(INVALID))?;
    }
    Ok(properties)
}

fn illegal(remark: &'static str) -> Refusal {
    Refusal::new(ResponseCode::ILLEGAL_OPERATION, remark)
}
