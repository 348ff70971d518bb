//! GET_ALL_TOPIC_CONFIG (21): all topics of one broker. The body of the answer is
//! [`TopicConfigs`](crate::protocol::request::register_broker::TopicConfigs).

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Asks for all topics.
    pub struct GetTopicConfigs;
}

impl<'a> Request<'a> for GetTopicConfigs {
    const CODE: RequestCode = RequestCode::GET_ALL_TOPIC_CONFIG;
}
