//! PUT_KV_CONFIG (100), GET_KV_CONFIG (101) and DELETE_KV_CONFIG (102): a name server's key-value entries.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

/// The namespace whose entries give topics their fixed order of queues: `broker:queues;broker:queues` by topic.
pub const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

header! {
    /// Sets an entry.
    pub struct PutKvConfig<'a> {
        /// The namespace.
        namespace: Cow<'a, str> = "namespace",
        /// The key.
        key: Cow<'a, str> = "key",
        /// The value.
        value: Cow<'a, str> = "value",
    }
}

impl<'a> Request<'a> for PutKvConfig<'a> {
    const CODE: RequestCode = RequestCode::PUT_KV_CONFIG;
}

header! {
    /// Reads an entry. QUERY_NOT_FOUND means that there is none.
    pub struct GetKvConfig<'a> {
        /// The namespace.
        namespace: Cow<'a, str> = "namespace",
        /// The key.
        key: Cow<'a, str> = "key",
    }
}

impl<'a> Request<'a> for GetKvConfig<'a> {
    const CODE: RequestCode = RequestCode::GET_KV_CONFIG;
}

header! {
    /// The entry.
    pub struct GetKvConfigResponse<'a> {
        /// The value.
        value: Option<Cow<'a, str>> = "value",
    }
}

header! {
    /// Deletes an entry, if it is there.
    pub struct DeleteKvConfig<'a> {
        /// The namespace.
        namespace: Cow<'a, str> = "namespace",
        /// The key.
        key: Cow<'a, str> = "key",
    }
}

impl<'a> Request<'a> for DeleteKvConfig<'a> {
    const CODE: RequestCode = RequestCode::DELETE_KV_CONFIG;
}
