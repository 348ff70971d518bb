//! SEND_BATCH_MESSAGE (320): several messages in one body. A single message's request that says it is a batch is one, too.

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::message::{
    BatchMessage, BatchMessages, OffsetMessageId, SysFlag, ids, properties, property_names,
};
use rocketmq_sdk::protocol::request::send_message::{SendMessage, SendMessageResponse};

use crate::broker::Broker;
use crate::broker::arrival::Arrival;
use crate::broker::filter::tag_code;
use crate::broker::handle::send_message::{REGION, no_such_queue};
use crate::broker::names;
use crate::net::call::{Call, Refusal};

/// Stores all messages of a batch in one queue, or none. Their properties are stored as they are: what stands in the request's is for
/// the broker alone.
pub(super) fn send(
    broker: &mut Broker,
    call: &mut Call<'_>,
    request: &SendMessage<'_>,
) -> Result<(), Refusal> {
    let topic = broker.topic_for(request)?;
    let (name, queues) = (topic.name.clone(), topic.queues());
    if request.queue_id >= queues {
        return Err(no_such_queue(request, queues, call));
    }
    let raw = request.properties.as_deref().unwrap_or_default();
    let messages = broker.messages_of_batch(call, request, raw)?;
    let queue_id = if request.queue_id < 0 {
        broker.choose_queue(queues)
    } else {
        request.queue_id
    };
    let queue = broker.store.queue(&name, queue_id);
    let queue_offset = broker.store.max_offset(queue);
    let (mut places, mut tag_codes) = (Vec::new(), Vec::new());
    for message in messages {
        let tag_code = tag_code(properties::find(&message.properties, property_names::TAGS));
        let mut arrival = Arrival {
            topic: name.clone(),
            queue_id,
            flag: message.flag,
            sys_flag: SysFlag::from_bits(request.sys_flag),
            born_timestamp: request.born_timestamp,
            born_host: call.peer.addr,
            reconsume_times: request.reconsume_times.unwrap_or(0),
            body: message.body,
            properties: message.properties.as_str().to_owned().into(),
            tag_code,
            delay_level: 0,
            timer: false,
            prepared_transaction_offset: 0,
        };
        places.push(broker.append(queue, &mut arrival)?.position);
        tag_codes.push(tag_code);
    }
    // A held pull finds all of them.
    for tag_code in tag_codes {
        broker.wake_pulls(queue, tag_code);
    }
    call.answer(&SendMessageResponse {
        msg_id: broker.ids_of(&places).into(),
        queue_id,
        queue_offset,
        transaction_id: properties::find(raw, property_names::UNIQUE_KEY).map(Into::into),
        batch_uniq_id: None,
        recall_handle: None,
        region: Some(REGION.into()),
        trace_on: Some(true),
    });
    Ok(())
}

impl Broker {
    /// The ids of messages in the log, joined by commas.
    fn ids_of(&self, positions: &[i64]) -> String {
        let mut buffer = [0; ids::MAX_LEN];
        let id = |position: &i64| {
            let id = OffsetMessageId {
                host: self.addr,
                physical_offset: *position,
            };
            id.encode(&mut buffer).to_owned()
        };
        positions.iter().map(id).collect::<Vec<_>>().join(",")
    }

    /// The messages of a batch that may be stored.
    fn messages_of_batch(
        &self,
        call: &Call<'_>,
        request: &SendMessage<'_>,
        raw: &str,
    ) -> Result<Vec<BatchMessage>, Refusal> {
        if request.topic.starts_with(names::RETRY_PREFIX) {
            let remark = format!(
                "batch request does not support retry group {}",
                request.topic
            );
            return Err(Refusal::new(ResponseCode::MESSAGE_ILLEGAL, remark));
        }
        let delay = properties::find(raw, property_names::DELAY_LEVEL);
        if delay.is_some_and(|level| level.parse().is_ok_and(|level: i32| level > 0)) {
            return Err(self.illegal());
        }
        let body = &call.request.body;
        if body.is_empty() {
            return Err(Refusal::new(
                ResponseCode::SYSTEM_ERROR,
                "the batch has no body",
            ));
        }
        if body.len() > self.config.max_message {
            return Err(Refusal::new(
                ResponseCode::SYSTEM_ERROR,
                "java.lang.RuntimeException: message body size exceeded",
            ));
        }
        Ok(BatchMessages::new(body.clone()).collect::<Result<_, _>>()?)
    }
}
