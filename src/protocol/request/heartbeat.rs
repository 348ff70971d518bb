//! HEART_BEAT (34): tells a broker which groups live on a connection, and what they subscribe to. The header is empty.

use serde::{Deserialize, Serialize};

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// The header, which is empty.
    pub struct Heartbeat;
}

impl<'a> Request<'a> for Heartbeat {
    const CODE: RequestCode = RequestCode::HEART_BEAT;
}

header! {
    /// What the broker says of itself.
    pub struct HeartbeatResponse {
        /// Whether it takes the short form of heartbeats.
        supports_v2: Option<bool> = "IS_SUPPORT_HEART_BEAT_V2",
        /// Whether it holds other subscriptions than the fingerprint says.
        subscription_changed: Option<bool> = "IS_SUB_CHANGE",
    }
}

/// The body: all groups of one client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatBody {
    /// The client's id.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// Its producer groups.
    pub producer_data_set: Vec<ProducerData>,
    /// Its consumer groups.
    pub consumer_data_set: Vec<ConsumerData>,
    /// Identifies the subscriptions, for the short form; 0 when that is not used.
    pub heartbeat_fingerprint: i32,
    /// Whether this is the short form, which leaves the subscriptions out.
    pub without_sub: bool,
}

/// A producer group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerData {
    /// The group.
    pub group_name: String,
}

/// A consumer group as one member has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerData {
    /// The group.
    pub group_name: String,
    /// `CONSUME_PASSIVELY` (push), `CONSUME_ACTIVELY` (pull) or `CONSUME_POP`.
    pub consume_type: String,
    /// `CLUSTERING` or `BROADCASTING`.
    pub message_model: String,
    /// Where a queue without a committed offset begins, e.g. `CONSUME_FROM_LAST_OFFSET`.
    pub consume_from_where: String,
    /// The subscriptions.
    #[serde(default)]
    pub subscription_data_set: Vec<SubscriptionData>,
    /// Whether the consumer works in unit mode.
    #[serde(default)]
    pub unit_mode: bool,
}

/// The subscription of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionData {
    /// Whether a class filters.
    #[serde(default)]
    pub class_filter_mode: bool,
    /// The topic.
    pub topic: String,
    /// The expression as the user wrote it.
    pub sub_string: String,
    /// The tags in it.
    #[serde(default)]
    pub tags_set: Vec<String>,
    /// Their hash codes.
    #[serde(default)]
    pub code_set: Vec<i32>,
    /// When it was last changed, in milliseconds since 1970: brokers refuse pulls with an older one than they know.
    #[serde(default)]
    pub sub_version: i64,
    /// `TAG` or `SQL92`.
    #[serde(default = "tag")]
    pub expression_type: String,
}

fn tag() -> String {
    "TAG".to_owned()
}
