//! UNREGISTER_CLIENT (35).

use rocketmq_sdk::protocol::request::unregister_client::UnregisterClient;

use crate::broker::Broker;
use crate::net::call::{Call, Refusal};

pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: UnregisterClient<'_> = call.header()?;
    if let Some(group) = &request.producer_group {
        broker.groups.unregister_producer(group, call.peer.id);
    }
    if let Some(group) = &request.consumer_group
        && broker.groups.unregister_consumer(group, call.peer.id)
    {
        broker.notify_members(group);
    }
    call.done();
    Ok(())
}
