//! QUERY_TOPIC_CONSUME_BY_WHO (300).

use rocketmq_sdk::protocol::request::topic_consumers::{GetTopicConsumers, TopicConsumersBody};

use crate::broker::Broker;
use crate::net::call::{Call, Refusal};

pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: GetTopicConsumers<'_> = call.header()?;
    let reading = broker.groups.reading(&request.topic);
    let committed = broker.offsets.groups_of(&request.topic);
    call.answer_json(&TopicConsumersBody {
        group_list: reading.chain(committed).map(str::to_owned).collect(),
    })
}
