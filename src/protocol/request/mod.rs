//! The requests of the protocol, one file each: header, body and response, in both directions.
//!
//! A file's types are what the client encodes and the testkit decodes, and the other way round, so each is tested by its
//! own round trip.

pub mod check_transaction_state;
pub mod connections;
pub mod consume_directly;
pub mod consume_stats;
pub mod consumer_list;
pub mod consumer_offset;
pub mod consumer_running_info;
pub mod consumer_status;
pub mod create_topic;
pub mod delete_topic;
pub mod end_transaction;
pub mod heartbeat;
pub mod kv_config;
pub mod notify_consumer_ids;
pub mod pull_message;
pub mod push_reply;
pub mod query_assignment;
pub mod queue_offset;
pub mod recall_message;
pub mod register_broker;
pub mod reset_offset;
pub mod route;
pub mod runtime_info;
pub mod send_back;
pub mod send_batch;
pub mod send_message;
pub mod send_message_v1;
pub mod send_reply;
pub mod subscription_group;
pub mod topic_configs;
pub mod topic_consumers;
pub mod topic_list;
pub mod topic_stats;
pub mod unregister_client;
pub mod view_message;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::Header;

/// A header that belongs to one request code.
pub trait Request<'a>: Header<'a> {
    /// The request's code.
    const CODE: RequestCode;
}

#[cfg(test)]
mod tests;
