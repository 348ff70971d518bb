//! GET_TOPIC_STATS_INFO (202).

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::message::MessageQueue;
use rocketmq_sdk::protocol::request::topic_stats::{GetTopicStats, TopicOffset, TopicStatsBody};

use crate::broker::Broker;
use crate::net::call::{Call, Refusal};

pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: GetTopicStats<'_> = call.header()?;
    let Some(topic) = broker.topics.get(&request.topic) else {
        let remark = format!("topic[{}] not exist", request.topic);
        return Err(Refusal::new(ResponseCode::TOPIC_NOT_EXIST, remark));
    };
    let offset_table = (0..topic.queues())
        .map(|queue_id| {
            let queue = MessageQueue::new(&*request.topic, &*broker.config.name, queue_id);
            (queue, broker.topic_offset(&request.topic, queue_id))
        })
        .collect();
    call.answer_java_json(&TopicStatsBody {
        offset_table,
        topic_put_tps: 0.0,
    })
}

impl Broker {
    fn topic_offset(&self, topic: &str, queue_id: i32) -> TopicOffset {
        let Some(queue) = self.store.find_queue(topic, queue_id) else {
            return TopicOffset::default();
        };
        let max_offset = self.store.max_offset(queue);
        TopicOffset {
            min_offset: self.store.min_offset(queue),
            max_offset,
            last_update_timestamp: self.store.time_of(queue, max_offset - 1).unwrap_or(0),
        }
    }
}
