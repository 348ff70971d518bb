//! DELETE_TOPIC_IN_NAMESRV (216).

use rocketmq_sdk::protocol::request::delete_topic::DeleteTopicInNameServer;

use crate::name_server::State;
use crate::net::call::{Call, Refusal};

pub(super) fn handle(state: &mut State, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: DeleteTopicInNameServer<'_> = call.header()?;
    state
        .routes
        .delete_topic(&request.topic, request.cluster_name.as_deref());
    call.done();
    Ok(())
}
