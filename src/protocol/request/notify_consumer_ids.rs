//! NOTIFY_CONSUMER_IDS_CHANGED (40): a broker tells the members of a group that the group has changed. Oneway.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Which group.
    pub struct NotifyConsumerIdsChanged<'a> {
        /// The consumer group.
        consumer_group: Cow<'a, str> = "consumerGroup",
    }
}

impl<'a> Request<'a> for NotifyConsumerIdsChanged<'a> {
    const CODE: RequestCode = RequestCode::NOTIFY_CONSUMER_IDS_CHANGED;
}
