//! GET_CONSUMER_LIST_BY_GROUP (38).

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::request::consumer_list::{ConsumerListBody, GetConsumerList};

use crate::broker::Broker;
use crate::net::call::{Call, Refusal};

pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: GetConsumerList<'_> = call.header()?;
    let members = broker.groups.consumer_ids(&request.consumer_group);
    if members.is_empty() {
        let remark = format!("no consumer for this group, {}", request.consumer_group);
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark));
    }
    call.answer_json(&ConsumerListBody {
        consumer_id_list: members,
    })
}
