//! GET_CONSUME_STATS (208).

use std::collections::BTreeMap;

use rocketmq_sdk::protocol::message::MessageQueue;
use rocketmq_sdk::protocol::request::consume_stats::{
    ConsumeStatsBody, GetConsumeStats, GroupOffset,
};

use crate::broker::Broker;
use crate::net::call::{Call, Refusal};

/// Without a topic: all of which the group has offsets, and, while it is online, which it reads.
pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: GetConsumeStats<'_> = call.header()?;
    let group = &*request.consumer_group;
    let mut topics: Vec<&str> = match request.topic.as_deref() {
        Some(topic) => vec![topic],
        None => broker.offsets.topics_of(group),
    };
    if let Some(online) = broker.groups.consumer(group)
        && !online.subscriptions.is_empty()
    {
        topics.retain(|topic| online.subscriptions.contains_key(*topic));
    }
    let mut offset_table = BTreeMap::new();
    for topic in topics {
        let queues = broker
            .topics
            .get(topic)
            .map_or(0, |topic| topic.config.read_queue_nums);
        for queue_id in 0..queues {
            let queue = MessageQueue::new(topic, &*broker.config.name, queue_id);
            offset_table.insert(queue, broker.group_offset(group, topic, queue_id));
        }
    }
    call.answer_java_json(&ConsumeStatsBody {
        offset_table,
        consume_tps: 0.0,
    })
}

impl Broker {
    fn group_offset(&self, group: &str, topic: &str, queue_id: i32) -> GroupOffset {
        let consumer_offset = self.offsets.get(topic, group, queue_id).unwrap_or(0);
        let queue = self.store.find_queue(topic, queue_id);
        GroupOffset {
            broker_offset: queue.map_or(0, |queue| self.store.max_offset(queue)),
            consumer_offset,
            pull_offset: consumer_offset,
            last_timestamp: queue
                .and_then(|queue| self.store.time_of(queue, consumer_offset - 1))
                .unwrap_or(0),
        }
    }
}
