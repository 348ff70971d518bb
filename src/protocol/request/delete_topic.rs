//! DELETE_TOPIC_IN_BROKER (215) and DELETE_TOPIC_IN_NAMESRV (216): delete a topic on one broker, or its route on one name server.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Deletes a topic, its messages and its committed offsets.
    pub struct DeleteTopicInBroker<'a> {
        /// The topic.
        topic: Cow<'a, str> = "topic",
    }
}

impl<'a> Request<'a> for DeleteTopicInBroker<'a> {
    const CODE: RequestCode = RequestCode::DELETE_TOPIC_IN_BROKER;
}

header! {
    /// Deletes a topic's route.
    pub struct DeleteTopicInNameServer<'a> {
        /// The topic.
        topic: Cow<'a, str> = "topic",
        /// The cluster on whose brokers it is deleted; all when it is not given.
        cluster_name: Option<Cow<'a, str>> = "clusterName",
    }
}

impl<'a> Request<'a> for DeleteTopicInNameServer<'a> {
    const CODE: RequestCode = RequestCode::DELETE_TOPIC_IN_NAMESRV;
}
