//! GET_ROUTEINFO_BY_TOPIC (105) and GET_BROKER_CLUSTER_INFO (106): which brokers hold a topic, and where they are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

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
    /// An entry for each broker that has queues; at most 65,536.
    #[serde(deserialize_with = "limited")]
    pub queue_datas: Vec<QueueData>,
    /// The brokers' addresses; at most 65,536.
    #[serde(deserialize_with = "limited")]
    pub broker_datas: Vec<BrokerData>,
}

/// How many brokers a route may name. No cluster comes near it; and a part of three bytes is read into fifty or more.
const MAX_BROKERS: usize = 1 << 16;

/// Reads the parts of a route up to the limit, and fails at the first one above it.
fn limited<'de, D: Deserializer<'de>, T: Deserialize<'de>>(parts: D) -> Result<Vec<T>, D::Error> {
    parts.deserialize_seq(Limited(PhantomData))
}

struct Limited<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Limited<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX_BROKERS} brokers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        while let Some(part) = parts.next_element()? {
            if read.len() == MAX_BROKERS {
                return Err(A::Error::invalid_length(MAX_BROKERS + 1, &self));
            }
            read.push(part);
        }
        Ok(read)
    }
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
