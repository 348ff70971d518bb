//! HEART_BEAT (34).

use std::sync::Arc;

use rocketmq_sdk::protocol::request::heartbeat::{ConsumerData, HeartbeatBody, HeartbeatResponse};

use crate::broker::groups::Member;
use crate::broker::{Broker, names};
use crate::net::call::{Call, Refusal};

/// Says that subscriptions in the short form are taken; a group's fingerprint is compared with the one before, as Apache RocketMQ
/// does it.
pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let body: HeartbeatBody = call.json("heartbeat")?;
    call.peer.calls_itself(&body.client_id);
    let member = Member {
        client_id: body.client_id,
        peer: Arc::clone(call.peer),
        language: call.request.head.language,
        version: call.request.head.version,
    };
    let fingerprint = body.heartbeat_fingerprint;
    let mut changed = fingerprint == 0;
    broker.heard_from(&member.peer);
    for consumer in body.consumer_data_set {
        if broker.groups.config(&consumer.group_name).is_none() {
            tracing::warn!(client = %member.client_id, "a heartbeat names a group that cannot be");
            continue;
        }
        changed |= broker
            .groups
            .fingerprint_changed(&consumer.group_name, fingerprint);
        let subscriptions = !(fingerprint != 0 && body.without_sub);
        broker.register_consumer(member.clone(), consumer, subscriptions);
    }
    for producer in body.producer_data_set {
        broker
            .groups
            .register_producer(member.clone(), &producer.group_name);
    }
    call.answer(&HeartbeatResponse {
        supports_v2: Some(true),
        subscription_changed: Some(changed),
    });
    Ok(())
}

impl Broker {
    fn register_consumer(&mut self, member: Member, data: ConsumerData, subscriptions: bool) {
        let group = data.group_name.clone();
        let Some(config) = self.groups.config(&group) else {
            return;
        };
        let retry_queues = config.retry_queue_nums;
        self.topics
            .ensure(&names::retry_topic(&group), retry_queues, self.now);
        if self.groups.register_consumer(member, data, subscriptions) {
            self.notify_members(&group);
        }
    }
}
