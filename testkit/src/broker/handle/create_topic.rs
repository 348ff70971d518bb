//! UPDATE_AND_CREATE_TOPIC (17).

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::request::create_topic::CreateTopic;
use rocketmq_sdk::protocol::request::register_broker::TopicConfig;

use crate::broker::MAX_QUEUES;
use crate::broker::{Broker, names};
use crate::net::call::{Call, Refusal};

pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: CreateTopic<'_> = call.header()?;
    let illegal = |remark| Refusal::new(ResponseCode::INVALID_PARAMETER, remark);
    names::check_topic(&request.topic).map_err(|why| illegal(why.to_string()))?;
    check_not_system(&request.topic)?;
    let queues = [request.read_queue_nums, request.write_queue_nums];
    if queues
        .iter()
        .any(|queues| !(0..=MAX_QUEUES).contains(queues))
    {
        return Err(illegal(format!("a topic has 0 to {MAX_QUEUES} queues")));
    }
    let config = TopicConfig {
        topic_name: request.topic.into_owned(),
        read_queue_nums: request.read_queue_nums,
        write_queue_nums: request.write_queue_nums,
        perm: request.perm,
        topic_filter_type: request.topic_filter_type.into_owned(),
        topic_sys_flag: request.topic_sys_flag.unwrap_or(0),
        order: request.order,
    };
    if !broker.topics.put(config, broker.now) {
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, "too many topics"));
    }
    call.done();
    Ok(())
}

/// Refuses to change what the broker keeps for itself.
pub(super) fn check_not_system(topic: &str) -> Result<(), Refusal> {
    if names::is_system_topic(topic) {
        let remark = format!("The topic[{topic}] is conflict with system topic.");
        return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
    }
    Ok(())
}
