//! The JSON of Java peers: made standard without growing much, and read into the bodies that come so.

use std::borrow::Cow;

use rocketmq_sdk::protocol::java_json::{from_slice, to_standard, to_vec};
use rocketmq_sdk::protocol::message::OffsetTable;
use rocketmq_sdk::protocol::request::consumer_list::ConsumerListBody;
use rocketmq_sdk::protocol::request::heartbeat::HeartbeatBody;
use rocketmq_sdk::protocol::request::register_broker::RegisterBrokerBody;
use rocketmq_sdk::protocol::request::route::{ClusterInfoBody, RouteBody};
use rocketmq_sdk::protocol::request::topic_list::TopicListBody;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{SLACK, within};

/// What a value takes in memory, at most: a broker in a list that grows by moving, or the first entry of a map.
const VALUE: usize = 1_536;

/// A body.
pub fn java_json(input: &[u8]) {
    let standard = within(2 * input.len() + SLACK, || to_standard(input));
    if serde_json::from_slice::<Value>(input).is_ok() {
        assert!(
            matches!(standard, Ok(Cow::Borrowed(_))),
            "standard JSON is left alone"
        );
    }
    if let Ok(standard) = &standard {
        assert!(standard.len() <= 2 * input.len());
        assert!(
            matches!(to_standard(standard), Ok(Cow::Borrowed(_))),
            "it is standard now"
        );
    }
    survives::<RouteBody>(input);
    survives::<ClusterInfoBody>(input);
    survives::<TopicListBody>(input);
    survives::<ConsumerListBody>(input);
    survives::<HeartbeatBody>(input);
    survives::<RegisterBrokerBody>(input);
    survives::<OffsetTable>(input);
}

/// Asserts that a body that can be read is the same after it was written and read again.
pub(super) fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    input: &[u8],
) {
    let values = input.iter().filter(|byte| b",:[{".contains(byte)).count() + 1;
    // The text made standard, and beside it a string whose escapes are undone, each in a buffer that grows.
    let read = within(4 * input.len() + VALUE * values + SLACK, || {
        from_slice::<T>("body", input)
    });
    if let Ok(body) = read {
        let written = to_vec(&body).expect("it is JSON");
        assert_eq!(from_slice::<T>("body", &written), Ok(body));
    }
}
