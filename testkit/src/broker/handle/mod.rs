//! What a broker does with requests: one file per file of `protocol::request`, each starting with the codes that it answers.

mod connections;
mod consume_directly;
mod consume_stats;
mod consumer_list;
mod consumer_offset;
mod consumer_running_info;
mod consumer_status;
mod create_topic;
mod delete_topic;
mod end_transaction;
mod heartbeat;
mod pull_message;
mod query_assignment;
mod queue_offset;
mod recall_message;
mod reset_offset;
mod runtime_info;
mod send_back;
mod send_batch;
mod send_message;
mod send_reply;
mod subscription_group;
mod topic_configs;
mod topic_consumers;
mod topic_stats;
mod unregister_client;
mod view_message;

use rocketmq_sdk::protocol::code::RequestCode;

use crate::broker::Broker;
use crate::net::call::{Call, Refusal};

/// Handles one request. `Ok`: it is answered, or will be.
pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    match call.request.request_code() {
        RequestCode::SEND_MESSAGE => send_message::long(broker, call),
        RequestCode::SEND_MESSAGE_V2 | RequestCode::SEND_BATCH_MESSAGE => {
            send_message::short(broker, call)
        }
        RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => {
            pull_message::handle(broker, call)
        }
        RequestCode::QUERY_CONSUMER_OFFSET => consumer_offset::query(broker, call),
        RequestCode::UPDATE_CONSUMER_OFFSET => consumer_offset::update(broker, call),
        RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => queue_offset::search(broker, call),
        RequestCode::GET_MAX_OFFSET => queue_offset::max(broker, call),
        RequestCode::GET_MIN_OFFSET => queue_offset::min(broker, call),
        RequestCode::GET_EARLIEST_MSG_STORETIME => queue_offset::earliest(broker, call),
        RequestCode::SEND_REPLY_MESSAGE => send_reply::long(broker, call),
        RequestCode::SEND_REPLY_MESSAGE_V2 => send_reply::short(broker, call),
        RequestCode::END_TRANSACTION => end_transaction::handle(broker, call),
        RequestCode::RECALL_MESSAGE => recall_message::handle(broker, call),
        RequestCode::VIEW_MESSAGE_BY_ID => view_message::handle(broker, call),
        RequestCode::HEART_BEAT => heartbeat::handle(broker, call),
        RequestCode::UNREGISTER_CLIENT => unregister_client::handle(broker, call),
        RequestCode::GET_CONSUMER_LIST_BY_GROUP => consumer_list::handle(broker, call),
        RequestCode::CONSUMER_SEND_MSG_BACK => send_back::handle(broker, call),
        RequestCode::UPDATE_AND_CREATE_TOPIC => create_topic::handle(broker, call),
        RequestCode::GET_ALL_TOPIC_CONFIG => topic_configs::all(broker, call),
        RequestCode::GET_TOPIC_CONFIG => topic_configs::one(broker, call),
        RequestCode::QUERY_TOPIC_CONSUME_BY_WHO => topic_consumers::handle(broker, call),
        RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG => subscription_group::get(broker, call),
        RequestCode::GET_TOPIC_STATS_INFO => topic_stats::handle(broker, call),
        RequestCode::DELETE_TOPIC_IN_BROKER => delete_topic::handle(broker, call),
        RequestCode::GET_BROKER_RUNTIME_INFO => runtime_info::handle(broker, call),
        RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => subscription_group::put(broker, call),
        RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => subscription_group::list(broker, call),
        RequestCode::DELETE_SUBSCRIPTIONGROUP => subscription_group::delete(broker, call),
        RequestCode::GET_CONSUMER_CONNECTION_LIST => connections::consumers(broker, call),
        RequestCode::GET_PRODUCER_CONNECTION_LIST => connections::producers(broker, call),
        RequestCode::GET_CONSUME_STATS => consume_stats::handle(broker, call),
        RequestCode::INVOKE_BROKER_TO_RESET_OFFSET => reset_offset::handle(broker, call),
        RequestCode::INVOKE_BROKER_TO_GET_CONSUMER_STATUS => consumer_status::handle(broker, call),
        RequestCode::GET_CONSUMER_RUNNING_INFO => consumer_running_info::handle(broker, call),
        RequestCode::CONSUME_MESSAGE_DIRECTLY => consume_directly::handle(broker, call),
        RequestCode::QUERY_ASSIGNMENT => query_assignment::query(broker, call),
        RequestCode::SET_MESSAGE_REQUEST_MODE => query_assignment::set_mode(broker, call),
        _ => Err(Refusal::not_supported(call.request)),
    }
}
