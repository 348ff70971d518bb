//! GET_ALL_TOPIC_CONFIG (21).

use crate::broker::Broker;
use crate::net::call::{Call, Refusal};

pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    call.answer_json(&broker.topics.configs())
}
