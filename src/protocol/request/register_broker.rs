//! REGISTER_BROKER (103) and UNREGISTER_BROKER (104): a broker tells a name server where it is and which topics it holds.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Which broker.
    pub struct RegisterBroker<'a> {
        /// The broker's name.
        broker_name: Cow<'a, str> = "brokerName",
        /// Where clients reach it.
        broker_addr: Cow<'a, str> = "brokerAddr",
        /// The cluster's name.
        cluster_name: Cow<'a, str> = "clusterName",
        /// Where slaves reach it.
        ha_server_addr: Cow<'a, str> = "haServerAddr",
        /// 0 is the master.
        broker_id: i64 = "brokerId",
        /// Whether the body is compressed.
        compressed: Option<bool> = "compressed",
        /// The body's CRC-32; 0: not checked.
        body_crc32: Option<i32> = "bodyCrc32",
    }
}

impl<'a> Request<'a> for RegisterBroker<'a> {
    const CODE: RequestCode = RequestCode::REGISTER_BROKER;
}

header! {
    /// The name server's answer to a registration.
    pub struct RegisterBrokerResponse<'a> {
        /// Where a slave reaches its master.
        ha_server_addr: Option<Cow<'a, str>> = "haServerAddr",
        /// Where the master is.
        master_addr: Option<Cow<'a, str>> = "masterAddr",
    }
}

header! {
    /// Which broker leaves.
    pub struct UnregisterBroker<'a> {
        /// The broker's name.
        broker_name: Cow<'a, str> = "brokerName",
        /// Where clients reached it.
        broker_addr: Cow<'a, str> = "brokerAddr",
        /// The cluster's name.
        cluster_name: Cow<'a, str> = "clusterName",
        /// 0 is the master.
        broker_id: i64 = "brokerId",
    }
}

impl<'a> Request<'a> for UnregisterBroker<'a> {
    const CODE: RequestCode = RequestCode::UNREGISTER_BROKER;
}

/// The body of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisterBrokerBody {
    /// The topics.
    pub topic_config_serialize_wrapper: TopicConfigs,
    /// Filter servers, which no supported version has.
    pub filter_server_list: Vec<String>,
}

/// A broker's topics and their version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigs {
    /// Topics by name.
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    /// Changes whenever the topics do.
    pub data_version: DataVersion,
}

/// One topic on one broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfig {
    /// The topic.
    pub topic_name: String,
    /// How many queues can be read.
    pub read_queue_nums: i32,
    /// How many queues can be written.
    pub write_queue_nums: i32,
    /// See [`Permission`](crate::protocol::request::route::Permission).
    pub perm: i32,
    /// `SINGLE_TAG` or `MULTI_TAG`.
    pub topic_filter_type: String,
    /// The topic's system flag.
    pub topic_sys_flag: i32,
    /// Whether the topic keeps a fixed order of queues.
    pub order: bool,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            topic_name: String::new(),
            read_queue_nums: 8,
            write_queue_nums: 8,
            perm: 6,
            topic_filter_type: "SINGLE_TAG".to_owned(),
            topic_sys_flag: 0,
            order: false,
        }
    }
}

/// Orders the states of a broker's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    /// Counts a master's terms.
    pub state_version: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Counts changes.
    pub counter: i64,
}
