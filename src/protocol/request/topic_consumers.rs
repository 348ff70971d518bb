//! QUERY_TOPIC_CONSUME_BY_WHO (300): which groups consume a topic.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Which topic.
    pub struct GetTopicConsumers<'a> {
        /// The topic.
        topic: Cow<'a, str> = "topic",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for GetTopicConsumers<'a> {
    const CODE: RequestCode = RequestCode::QUERY_TOPIC_CONSUME_BY_WHO;
}

/// The answer's body.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConsumersBody {
    /// The groups: those that read the topic now, and those that have committed offsets of it.
    pub group_list: BTreeSet<String>,
}
