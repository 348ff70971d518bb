//! What a broker does with requests: one file per request code or group of codes, each starting with what it answers.

mod consumer_list;
mod consumer_offset;
mod heartbeat;
mod pull_message;
mod queue_offset;
mod send_message;
mod unregister_client;
mod view_message;

use rocketmq_sdk::protocol::code::RequestCode;

use crate::broker::Broker;
use crate::net::call::{Call, Refusal};

/// Handles one request. `Ok`: it is answered, or will be.
pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    match call.request.request_code() {
        RequestCode::SEND_MESSAGE => send_message::long(broker, call),
        RequestCode::SEND_MESSAGE_V2 => send_message::short(broker, call),
        RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => {
            pull_message::handle(broker, call)
        }
        RequestCode::QUERY_CONSUMER_OFFSET => consumer_offset::query(broker, call),
        RequestCode::UPDATE_CONSUMER_OFFSET => consumer_offset::update(broker, call),
        RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => queue_offset::search(broker, call),
        RequestCode::GET_MAX_OFFSET => queue_offset::max(broker, call),
        RequestCode::GET_MIN_OFFSET => queue_offset::min(broker, call),
        RequestCode::GET_EARLIEST_MSG_STORETIME => queue_offset::earliest(broker, call),
        RequestCode::VIEW_MESSAGE_BY_ID => view_message::handle(broker, call),
        RequestCode::HEART_BEAT => heartbeat::handle(broker, call),
        RequestCode::UNREGISTER_CLIENT => unregister_client::handle(broker, call),
        RequestCode::GET_CONSUMER_LIST_BY_GROUP => consumer_list::handle(broker, call),
        _ => Err(Refusal::not_supported(call.request)),
    }
}
