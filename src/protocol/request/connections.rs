//! GET_CONSUMER_CONNECTION_LIST (203) and GET_PRODUCER_CONNECTION_LIST (204): who is in a group, as one broker sees it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;
use crate::protocol::request::heartbeat::SubscriptionData;

header! {
    /// Which consumer group. CONSUMER_NOT_ONLINE means that nobody is in it.
    pub struct GetConsumerConnections<'a> {
        /// The group.
        consumer_group: Cow<'a, str> = "consumerGroup",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for GetConsumerConnections<'a> {
    const CODE: RequestCode = RequestCode::GET_CONSUMER_CONNECTION_LIST;
}

header! {
    /// Which producer group. SYSTEM_ERROR means that nobody is in it.
    pub struct GetProducerConnections<'a> {
        /// The group.
        producer_group: Cow<'a, str> = "producerGroup",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for GetProducerConnections<'a> {
    const CODE: RequestCode = RequestCode::GET_PRODUCER_CONNECTION_LIST;
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Connection {
    /// The client's id.
    pub client_id: String,
    /// Where it is.
    pub client_addr: String,
    /// Its language's name.
    pub language: String,
    /// Its protocol version.
    pub version: i32,
}

/// Who is in a consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerConnectionsBody {
    /// The members.
    pub connection_set: Vec<Connection>,
    /// Subscriptions by topic.
    pub subscription_table: BTreeMap<String, SubscriptionData>,
    /// As in a heartbeat's [`ConsumerData`](crate::protocol::request::heartbeat::ConsumerData).
    pub consume_type: String,
    /// As there.
    pub message_model: String,
    /// As there.
    pub consume_from_where: String,
}

/// Who is in a producer group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerConnectionsBody {
    /// The members.
    pub connection_set: Vec<Connection>,
}
