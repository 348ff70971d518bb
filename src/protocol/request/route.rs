//! GET_ROUTEINFO_BY_TOPIC (105) and GET_BROKER_CLUSTER_INFO (106): which brokers hold a topic, and where they are.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Which topic.
    pub struct GetRoute<'a> {
        /// The topic.
        topic: Cow<'a, str> = "topic",
        /// Asks for an answer in standard JSON, with quoted keys.
        accept_standard_json_only: Option<bool> = "acceptStandardJsonOnly",
    }
}

impl<'a> Request<'a> for GetRoute<'a> {
    const CODE: RequestCode = RequestCode::GET_ROUTEINFO_BY_TOPIC;
}

/// The answer's body: a topic's queues and brokers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteBody {
    /// For a topic with a fixed order: `broker:queues;broker:queues`.
    pub order_topic_conf: Option<String>,
    /// The queues on each broker.
    pub queue_datas: Vec<QueueData>,
    /// The brokers' addresses.
    pub broker_datas: Vec<BrokerData>,
}

/// A topic's queues on one broker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueData {
    /// The broker's name.
    pub broker_name: String,
    /// How many queues can be read.
    pub read_queue_nums: i32,
    /// How many queues can be written.
    pub write_queue_nums: i32,
    /// See [`Permission`].
    pub perm: i32,
    /// The topic's system flag.
    pub topic_sys_flag: i32,
}

/// What a topic allows on a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission(pub i32);

impl Permission {
    /// Reading and writing.
    pub const READ_WRITE: Self = Self(6);

    /// Whether messages can be pulled.
    pub const fn can_read(self) -> bool {
        self.0 & 4 != 0
    }

    /// Whether messages can be sent.
    pub const fn can_write(self) -> bool {
        self.0 & 2 != 0
    }
}

/// A broker: one name, and an address for its master and each slave.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerData {
    /// The cluster's name.
    pub cluster: String,
    /// The broker's name.
    pub broker_name: String,
    /// Addresses by broker id: 0 is the master.
    pub broker_addrs: BTreeMap<i64, String>,
}

header! {
    /// Asks for all brokers.
    pub struct GetClusterInfo;
}

impl<'a> Request<'a> for GetClusterInfo {
    const CODE: RequestCode = RequestCode::GET_BROKER_CLUSTER_INFO;
}

/// The answer's body: all brokers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInfoBody {
    /// Brokers by name.
    pub broker_addr_table: BTreeMap<String, BrokerData>,
    /// Names of brokers by cluster.
    pub cluster_addr_table: BTreeMap<String, Vec<String>>,
}
