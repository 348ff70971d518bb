//! UNREGISTER_CLIENT (35): a group's member leaves, so that the others need not wait for its heartbeat to expire.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Who leaves which group.
    pub struct UnregisterClient<'a> {
        /// The client's id.
        client_id: Cow<'a, str> = "clientID",
        /// The producer group that it leaves.
        producer_group: Option<Cow<'a, str>> = "producerGroup",
        /// The consumer group that it leaves.
        consumer_group: Option<Cow<'a, str>> = "consumerGroup",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for UnregisterClient<'a> {
    const CODE: RequestCode = RequestCode::UNREGISTER_CLIENT;
}
