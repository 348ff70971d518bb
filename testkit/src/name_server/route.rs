//! GET_ROUTEINFO_BY_TOPIC (105) and GET_BROKER_CLUSTER_INFO (106).

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::request::kv_config::ORDER_TOPIC_CONFIG;
use rocketmq_sdk::protocol::request::route::GetRoute;

use crate::name_server::State;
use crate::net::call::{Call, Refusal};

/// Where Apache RocketMQ's remarks send users who ask for a topic that does not exist.
pub(crate) const APPLY_TOPIC_URL: &str =
    "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";

/// Answers with standard JSON, whichever version asks: what older clients read is a superset of it.
pub(super) fn topic(state: &mut State, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: GetRoute<'_> = call.header()?;
    let truth = state.routes.route(&request.topic);
    let Some(mut route) = state.views.of(&request.topic, truth) else {
        let remark = format!(
            "No topic route info in name server for the topic: {}{APPLY_TOPIC_URL}",
            request.topic
        );
        return Err(Refusal::new(ResponseCode::TOPIC_NOT_EXIST, remark));
    };
    route.order_topic_conf = state
        .kv_entry(ORDER_TOPIC_CONFIG, &request.topic)
        .map(str::to_owned);
    call.answer_json(&route)
}

pub(super) fn cluster(state: &mut State, call: &mut Call<'_>) -> Result<(), Refusal> {
    call.answer_json(&state.routes.cluster_info())
}
