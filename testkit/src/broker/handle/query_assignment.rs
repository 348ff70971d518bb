//! QUERY_ASSIGNMENT (400) and SET_MESSAGE_REQUEST_MODE (401).

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::request::query_assignment::{
    POP, PULL, QueryAssignmentBody, RequestModeBody,
};

use crate::broker::Broker;
use crate::broker::assignments::Question;
use crate::net::call::{Call, Refusal};

pub(super) fn query(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let body: QueryAssignmentBody = call.json("question for queues")?;
    let question = Question {
        answer: call.later(),
        body,
    };
    if !broker.assignments.ask(question) {
        let remark = "too many members ask for their queues";
        return Err(Refusal::new(ResponseCode::SYSTEM_BUSY, remark));
    }
    Ok(())
}

/// Nothing can be popped here, so the mode changes nothing but the answers to the members' questions.
pub(super) fn set_mode(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let body: RequestModeBody = call.json("request mode")?;
    let RequestModeBody {
        topic,
        consumer_group: group,
        mode,
        pop_share_queue_num,
    } = &body;
    if topic.starts_with("%RETRY%") {
        let remark = "retry topic is not allowed to set mode";
        return Err(Refusal::new(ResponseCode::NO_PERMISSION, remark));
    }
    if broker.topics.get(topic).is_none() {
        let remark = format!("topic[{topic}] not exist");
        return Err(Refusal::new(ResponseCode::TOPIC_NOT_EXIST, remark));
    }
    if broker.groups.config(group).is_none() {
        let remark = "subscription group does not exist";
        return Err(Refusal::new(
            ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            remark,
        ));
    }
    if ![PULL, POP].contains(&&**mode) || *pop_share_queue_num > 0 {
        let remark = format!("mode {mode} with {pop_share_queue_num} shared queues is not known");
        return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
    }
    if !broker.assignments.set_mode(body) {
        return Err(Refusal::failed("too many modes"));
    }
    call.done();
    Ok(())
}
