//! GET_CONSUMER_LIST_BY_GROUP (38): the client ids of a group's members.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Which group.
    pub struct GetConsumerList<'a> {
        /// The consumer group.
        consumer_group: Cow<'a, str> = "consumerGroup",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for GetConsumerList<'a> {
    const CODE: RequestCode = RequestCode::GET_CONSUMER_LIST_BY_GROUP;
}

/// The answer's body. A group without members is answered with SYSTEM_ERROR instead.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerListBody {
    /// The client ids, in no order.
    pub consumer_id_list: Vec<String>,
}
