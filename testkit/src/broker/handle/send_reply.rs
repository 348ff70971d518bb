//! SEND_REPLY_MESSAGE (324) and SEND_REPLY_MESSAGE_V2 (325).

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::message::{
    OffsetMessageId, Properties, SysFlag, properties, property_names,
};
use rocketmq_sdk::protocol::request::push_reply::PushReply;
use rocketmq_sdk::protocol::request::send_message::{SendMessage, SendMessageResponse};
use rocketmq_sdk::protocol::request::send_reply::{SendReply, SendReplyV1};

use crate::broker::Broker;
use crate::broker::arrival::Arrival;
use crate::broker::filter::tag_code;
use crate::broker::handle::send_message::{REGION, no_such_queue};
use crate::broker::relays::Outcome;
use crate::net::call::{Answer, Call, Later, Refusal};

pub(super) fn long(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let SendReplyV1(request) = call.header()?;
    reply(broker, call, &request.into())
}

pub(super) fn short(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let SendReply(request) = call.header()?;
    reply(broker, call, &request)
}

/// Stores the reply, and hands it to the client that asked; the answer says whether that has taken it.
fn reply(broker: &mut Broker, call: &Call<'_>, request: &SendMessage<'_>) -> Result<(), Refusal> {
    let queues = broker.topic_for(request)?.queues();
    if request.queue_id >= queues {
        return Err(no_such_queue(request, queues, call));
    }
    if !broker.may_relay() {
        return Err(Refusal::new(
            ResponseCode::SYSTEM_BUSY,
            "too many replies are on their way",
        ));
    }
    let queue_id = match request.queue_id {
        0.. => request.queue_id,
        _ => broker.choose_queue(queues),
    };
    let raw = request.properties.as_deref().unwrap_or_default();
    let client_id = properties::find(raw, property_names::REPLY_TO_CLIENT);
    let stored = Stored {
        answer: call.later(),
        header: broker.store_reply(call, request, queue_id)?,
    };
    let Some(client_id) = client_id else {
        stored.end(Some("reply message properties[REPLY_TO_CLIENT] is null"));
        return Ok(());
    };
    let Some(peer) = broker.groups.client(client_id).cloned() else {
        let remark = format!("push reply message fail, channel of <{client_id}> not found.");
        stored.end(Some(&remark));
        return Ok(());
    };
    let mut properties = Properties::from(raw);
    properties.push(property_names::PUSH_REPLY_TIME, &broker.now.to_string());
    let push = push(request, &properties, call, broker);
    let not_taken = format!("push reply message to {client_id}fail.");
    broker.relay(&peer, &push, &call.request.body, move |outcome| {
        let is_taken = matches!(
            outcome,
            Outcome::Answered(answer) if answer.response_code() == ResponseCode::SUCCESS
        );
        stored.end((!is_taken).then_some(&not_taken));
    });
    Ok(())
}

/// A reply that is stored; for who replied.
struct Stored {
    answer: Later,
    header: SendMessageResponse<'static>,
}

impl Stored {
    /// Says how it ended; with a remark where it was not taken.
    fn end(&self, remark: Option<&str>) {
        let code = match remark {
            None => ResponseCode::SUCCESS,
            Some(_) => ResponseCode::SYSTEM_ERROR,
        };
        self.answer.answer_with(&Answer {
            code,
            remark,
            header: &self.header,
            body: &[],
        });
    }
}

fn push<'a>(
    request: &'a SendMessage<'_>,
    properties: &'a Properties,
    call: &Call<'_>,
    broker: &Broker,
) -> PushReply<'a> {
    PushReply {
        producer_group: (&*request.producer_group).into(),
        topic: (&*request.topic).into(),
        default_topic: (&*request.default_topic).into(),
        default_topic_queue_nums: request.default_topic_queue_nums,
        queue_id: request.queue_id,
        sys_flag: request.sys_flag,
        born_timestamp: request.born_timestamp,
        flag: request.flag,
        properties: Some(properties.as_str().into()),
        reconsume_times: request.reconsume_times,
        unit_mode: Some(request.unit_mode.unwrap_or(false)),
        born_host: call.peer.addr.to_string().into(),
        store_host: broker.addr.to_string().into(),
        store_timestamp: broker.now,
    }
}

impl Broker {
    /// Stores a reply, as Apache RocketMQ does unless it was told otherwise.
    fn store_reply(
        &mut self,
        call: &Call<'_>,
        request: &SendMessage<'_>,
        queue_id: i32,
    ) -> Result<SendMessageResponse<'static>, Refusal> {
        let properties = Properties::from(request.properties.as_deref().unwrap_or_default());
        let taken = self.take_in(Arrival {
            topic: request.topic.to_string().into(),
            queue_id,
            flag: request.flag,
            sys_flag: SysFlag::default(),
            born_timestamp: request.born_timestamp,
            born_host: call.peer.addr,
            reconsume_times: request.reconsume_times.unwrap_or(0),
            body: call.request.body.clone(),
            tag_code: tag_code(properties.get(property_names::TAGS)),
            properties,
            delay_level: 0,
            timer: false,
            prepared_transaction_offset: 0,
        })?;
        let id = OffsetMessageId {
            host: self.addr,
            physical_offset: taken.appended.position,
        };
        Ok(SendMessageResponse {
            msg_id: id.to_string().into(),
            queue_id,
            queue_offset: taken.appended.queue_offset,
            region: Some(REGION.into()),
            trace_on: Some(true),
            ..SendMessageResponse::default()
        })
    }
}
