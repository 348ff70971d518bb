//! UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200), GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201), DELETE_SUBSCRIPTIONGROUP (207) and
//! GET_SUBSCRIPTIONGROUP_CONFIG (352): the consumer groups that a broker knows.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;
use crate::protocol::request::register_broker::DataVersion;

header! {
    /// Creates or changes a group. The body is a [`GroupConfig`].
    pub struct PutGroup;
}

impl<'a> Request<'a> for PutGroup {
    const CODE: RequestCode = RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP;
}

header! {
    /// Asks for all groups.
    pub struct GetGroups;
}

impl<'a> Request<'a> for GetGroups {
    const CODE: RequestCode = RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG;
}

header! {
    /// Asks for one group, which is made if there is none. The body of the answer is a [`GroupConfig`].
    pub struct GetGroup<'a> {
        /// The group.
        group: Cow<'a, str> = "group",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for GetGroup<'a> {
    const CODE: RequestCode = RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG;
}

header! {
    /// Deletes a group.
    pub struct DeleteGroup<'a> {
        /// The group.
        group_name: Cow<'a, str> = "groupName",
        /// Whether its committed offsets go, too.
        clean_offset: Option<bool> = "cleanOffset",
        /// The same by its name in 4.9.
        remove_offset: Option<bool> = "removeOffset",
    }
}

impl<'a> Request<'a> for DeleteGroup<'a> {
    const CODE: RequestCode = RequestCode::DELETE_SUBSCRIPTIONGROUP;
}

/// One consumer group on one broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupConfig {
    /// The group.
    pub group_name: String,
    /// Whether it may consume.
    pub consume_enable: bool,
    /// Whether it may begin at a queue's first message.
    pub consume_from_min_enable: bool,
    /// Whether it may consume by broadcasting.
    pub consume_broadcast_enable: bool,
    /// Whether it consumes in order.
    pub consume_message_orderly: bool,
    /// How many queues its retry topic has.
    pub retry_queue_nums: i32,
    /// How often a message may be consumed again before it is a dead letter.
    pub retry_max_times: i32,
    /// The broker id to pull from: 0 the master.
    pub broker_id: i64,
    /// The broker id to pull from when the group is far behind.
    pub which_broker_when_consume_slowly: i64,
    /// Whether members are told when the group changes.
    pub notify_consumer_ids_changed_enable: bool,
    /// The group's system flag.
    pub group_sys_flag: i32,
    /// How long a message may take, in minutes.
    pub consume_timeout_minute: i32,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            group_name: String::new(),
            consume_enable: true,
            consume_from_min_enable: true,
            consume_broadcast_enable: true,
            consume_message_orderly: false,
            retry_queue_nums: 1,
            retry_max_times: 16,
            broker_id: 0,
            which_broker_when_consume_slowly: 1,
            notify_consumer_ids_changed_enable: true,
            group_sys_flag: 0,
            consume_timeout_minute: 15,
        }
    }
}

/// All groups of one broker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupsBody {
    /// Groups by name.
    pub subscription_group_table: BTreeMap<String, GroupConfig>,
    /// Changes whenever the groups do.
    pub data_version: DataVersion,
}
