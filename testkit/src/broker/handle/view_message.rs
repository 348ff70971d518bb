//! VIEW_MESSAGE_BY_ID (33).

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::fields::NoFields;
use rocketmq_sdk::protocol::request::view_message::ViewMessage;

use crate::broker::Broker;
use crate::net::call::{Call, Refusal};

pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: ViewMessage<'_> = call.header()?;
    let Some(message) = broker.store.at(request.offset) else {
        let remark = format!("can not find message by the offset, {}", request.offset);
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark));
    };
    call.answer_body(&NoFields, std::slice::from_ref(message));
    Ok(())
}
