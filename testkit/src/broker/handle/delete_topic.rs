//! DELETE_TOPIC_IN_BROKER (215).

use rocketmq_sdk::protocol::request::delete_topic::DeleteTopicInBroker;

use crate::broker::Broker;
use crate::broker::handle::create_topic::check_not_system;
use crate::net::call::{Call, Refusal};

pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: DeleteTopicInBroker<'_> = call.header()?;
    check_not_system(&request.topic)?;
    broker.delete_topic(&request.topic);
    call.done();
    Ok(())
}
