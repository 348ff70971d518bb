//! GET_ALL_TOPIC_LIST_FROM_NAMESERVER (206): the names of all topics.

use serde::{Deserialize, Serialize};

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Asks for all topics.
    pub struct GetTopicList;
}

impl<'a> Request<'a> for GetTopicList {
    const CODE: RequestCode = RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER;
}

/// The answer's body.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicListBody {
    /// The topics, in no order.
    pub topic_list: Vec<String>,
    /// A broker's address; only some of the requests that are answered with this body give it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_addr: Option<String>,
}
