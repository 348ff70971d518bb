//! GET_ALL_TOPIC_CONFIG (21) and GET_TOPIC_CONFIG (351).

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::request::topic_configs::GetTopicConfig;

use crate::broker::Broker;
use crate::net::call::{Call, Refusal};

pub(super) fn all(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    call.answer_json(&broker.topics.configs())
}

pub(super) fn one(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: GetTopicConfig<'_> = call.header()?;
    let Some(topic) = broker.topics.get(&request.topic) else {
        let remark = format!("No topic in this broker. topic: {}", request.topic);
        return Err(Refusal::new(ResponseCode::TOPIC_NOT_EXIST, remark));
    };
    call.answer_json(&topic.config)
}
