//! GET_BROKER_RUNTIME_INFO (28): what Apache's admin tool prints of a broker, as far as it means anything here.

use rocketmq_sdk::protocol::request::runtime_info::RuntimeInfoBody;

use crate::broker::Broker;
use crate::net::call::{Call, Refusal};

pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let earliest = broker.store.earliest_time().unwrap_or(broker.now);
    let table = [
        ("brokerActive", "true".to_owned()),
        ("brokerVersionDesc", "V5_4_0".to_owned()),
        ("bootTimestamp", broker.started.to_string()),
        ("earliestMessageTimeStamp", earliest.to_string()),
        ("commitLogMaxOffset", broker.store.end().to_string()),
        ("heldPullRequests", broker.held.len().to_string()),
        ("messagesHeld", broker.store.len().to_string()),
        ("commitLogDiskRatio", "0.0".to_owned()),
        ("pageCacheLockTimeMills", "0".to_owned()),
        ("sendThreadPoolQueueSize", "0".to_owned()),
        ("sendThreadPoolQueueHeadWaitTimeMills", "0".to_owned()),
        ("pullThreadPoolQueueSize", "0".to_owned()),
        ("pullThreadPoolQueueHeadWaitTimeMills", "0".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    call.answer_json(&RuntimeInfoBody {
        table: table.into(),
    })
}
