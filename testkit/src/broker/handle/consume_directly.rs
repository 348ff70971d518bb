//! CONSUME_MESSAGE_DIRECTLY (309): gives a member of a group a stored message to consume, and hands its answer on as it is.

use rocketmq_sdk::protocol::message::OffsetMessageId;
use rocketmq_sdk::protocol::request::consume_directly::ConsumeDirectly;

use crate::broker::Broker;
use crate::broker::handle::consumer_running_info::ask_member;
use crate::net::call::{Call, Refusal};

pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: ConsumeDirectly<'_> = call.header()?;
    let id: OffsetMessageId = request.msg_id.parse()?;
    let Some(message) = broker.store.at(id.physical_offset).cloned() else {
        let remark = format!("can not find message by the offset, {}", id.physical_offset);
        return Err(Refusal::failed(remark));
    };
    let handed_on = ConsumeDirectly {
        broker_name: Some(broker.config.name.clone().into()),
        ..request.clone()
    };
    let member = (&*request.consumer_group, &*request.client_id);
    ask_member(broker, call, member, &handed_on, &message)
}
