//! GET_ALL_TOPIC_LIST_FROM_NAMESERVER (206).

use rocketmq_sdk::protocol::request::topic_list::TopicListBody;

use crate::name_server::State;
use crate::net::call::{Call, Refusal};

pub(super) fn handle(state: &mut State, call: &mut Call<'_>) -> Result<(), Refusal> {
    call.answer_json(&TopicListBody {
        topic_list: state.routes.topics().map(str::to_owned).collect(),
        broker_addr: None,
    })
}
