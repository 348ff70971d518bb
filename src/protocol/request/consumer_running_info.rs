//! GET_CONSUMER_RUNNING_INFO (307): a tool has a broker ask a member of a group what it is doing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::java_json;
use crate::protocol::message::MessageQueue;
use crate::protocol::request::Request;
use crate::protocol::request::heartbeat::SubscriptionData;

header! {
    /// Which member.
    pub struct GetConsumerRunningInfo<'a> {
        /// The consumer group.
        consumer_group: Cow<'a, str> = "consumerGroup",
        /// The member's client id.
        client_id: Cow<'a, str> = "clientId",
        /// Whether to say what every thread does.
        jstack_enable: Option<bool> = "jstackEnable",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for GetConsumerRunningInfo<'a> {
    const CODE: RequestCode = RequestCode::GET_CONSUMER_RUNNING_INFO;
}

/// The names of the properties that tools look for.
pub mod property {
    /// The name servers, each with a `;` behind it.
    pub const NAME_SERVERS: &str = "PROP_NAMESERVER_ADDR";
    /// How many listeners run at a time.
    pub const CONCURRENCY: &str = "PROP_THREADPOOL_CORE_SIZE";
    /// Whether messages of one queue are consumed in their order.
    pub const ORDERLY: &str = "PROP_CONSUMEORDERLY";
    /// What a heartbeat says: `CONSUME_PASSIVELY` or `CONSUME_ACTIVELY`.
    pub const CONSUME_TYPE: &str = "PROP_CONSUME_TYPE";
    /// The client's version.
    pub const CLIENT_VERSION: &str = "PROP_CLIENT_VERSION";
    /// When the member started, in milliseconds since 1970.
    pub const STARTED: &str = "PROP_CONSUMER_START_TIMESTAMP";
}

/// The answer's body, in the JSON that Java writes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerRunningInfoBody {
    /// Settings, by name; see [`property`].
    pub properties: BTreeMap<String, String>,
    /// What the member subscribes to.
    pub subscription_set: Vec<SubscriptionData>,
    /// The queues that it has.
    #[serde(with = "java_json::object_keys")]
    pub mq_table: BTreeMap<MessageQueue, ProcessQueueInfo>,
    /// How it gets on, by topic.
    pub status_table: BTreeMap<String, ConsumeStatus>,
    /// What the application has to say.
    pub user_consumer_info: BTreeMap<String, String>,
    /// What every thread does, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jstack: Option<String>,
}

/// One queue of a member. Times are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessQueueInfo {
    /// The next offset to consume.
    pub commit_offset: i64,
    /// The smallest offset of the messages that wait to be finished; 0 when there are none.
    pub cached_msg_min_offset: i64,
    /// Their largest.
    pub cached_msg_max_offset: i64,
    /// How many they are.
    pub cached_msg_count: i32,
    /// Their bytes, in MiB.
    pub cached_msg_size_in_mi_b: i32,
    /// The smallest offset of the messages that an orderly listener has; 0 when there are none.
    pub transaction_msg_min_offset: i64,
    /// Their largest.
    pub transaction_msg_max_offset: i64,
    /// How many they are.
    pub transaction_msg_count: i32,
    /// Whether the queue is locked at its broker.
    pub locked: bool,
    /// How often it was tried in vain to unlock it.
    pub try_unlock_times: i64,
    /// When it was locked last.
    pub last_lock_timestamp: i64,
    /// Whether the queue was given up. The name is spelled like that.
    pub droped: bool,
    /// When messages were asked for last.
    pub last_pull_timestamp: i64,
    /// When a message was consumed last.
    pub last_consume_timestamp: i64,
}

/// How a member gets on with one topic.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStatus {
    /// How long a pull that found something took, in milliseconds.
    #[serde(rename = "pullRT")]
    pub pull_rt: f64,
    /// Messages that were pulled, per second.
    #[serde(rename = "pullTPS")]
    pub pull_tps: f64,
    /// How long a listener took, in milliseconds.
    #[serde(rename = "consumeRT")]
    pub consume_rt: f64,
    /// Messages that were consumed, per second.
    #[serde(rename = "consumeOKTPS")]
    pub consume_ok_tps: f64,
    /// Messages that failed, per second.
    #[serde(rename = "consumeFailedTPS")]
    pub consume_failed_tps: f64,
    /// Messages that failed, in the last hour.
    pub consume_failed_msgs: i64,
}
