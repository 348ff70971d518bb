//! GET_BROKER_RUNTIME_INFO (28): how a broker is doing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Asks how the broker is doing.
    pub struct GetRuntimeInfo;
}

impl<'a> Request<'a> for GetRuntimeInfo {
    const CODE: RequestCode = RequestCode::GET_BROKER_RUNTIME_INFO;
}

/// The answer's body.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeInfoBody {
    /// Values by name, e.g. `brokerVersionDesc`.
    pub table: BTreeMap<String, String>,
}
