//! INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223): asks the members of a group for the offsets that they hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::fields::NoFields;
use rocketmq_sdk::protocol::java_json;
use rocketmq_sdk::protocol::request::consumer_status::{
    ConsumerStatusBody, GetConsumerStatus, InvokeConsumerStatus, MemberOffsets,
};

use crate::broker::Broker;
use crate::broker::relays::Outcome;
use crate::net::call::{Answer, Call, Later, Refusal};

/// Members that do not answer are left out, as with Apache RocketMQ.
pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: InvokeConsumerStatus<'_> = call.header()?;
    let InvokeConsumerStatus { topic, group, .. } = &request;
    let Some(online) = broker.groups.consumer(group) else {
        let remark = format!("No Any Consumer online in the consumer group: [{group}]");
        return Err(Refusal::failed(remark));
    };
    if !broker.may_relay() {
        let remark = "too many requests to clients are on their way";
        return Err(Refusal::new(ResponseCode::SYSTEM_BUSY, remark));
    }
    let wanted = request.client_id.as_deref().unwrap_or_default();
    let asked: Vec<_> = online
        .members
        .values()
        .filter(|member| wanted.is_empty() || member.client_id == wanted)
        .cloned()
        .collect();
    let gathered = Arc::new(Gathered {
        answer: call.later(),
        table: Mutex::default(),
    });
    let question = GetConsumerStatus {
        topic: topic.clone(),
        group: group.clone(),
    };
    for member in asked {
        let gathered = Arc::clone(&gathered);
        let on_end = move |outcome: Outcome<'_>| {
            if let Some(offsets) = offsets_in(outcome) {
                gathered.table.lock().insert(member.client_id, offsets);
            }
        };
        broker.relay(&member.peer, &question, &Bytes::new(), on_end);
    }
    Ok(())
}

fn offsets_in(outcome: Outcome<'_>) -> Option<MemberOffsets> {
    let Outcome::Answered(answer) = outcome else {
        return None;
    };
    if answer.response_code() != ResponseCode::SUCCESS {
        return None;
    }
    let said: ConsumerStatusBody = java_json::from_slice("consumer status", &answer.body).ok()?;
    Some(MemberOffsets(said.message_queue_table))
}

/// What members have said. The answer is given with the last of those who were asked.
struct Gathered {
    answer: Later,
    table: Mutex<BTreeMap<String, MemberOffsets>>,
}

impl Drop for Gathered {
    fn drop(&mut self) {
        let body = ConsumerStatusBody {
            consumer_table: std::mem::take(self.table.get_mut()),
            ..ConsumerStatusBody::default()
        };
        // Queues and numbers are always JSON.
        let body = java_json::to_vec(&body).unwrap_or_default();
        self.answer.answer_with(&Answer {
            body: &[body.into()],
            ..Answer::success(&NoFields)
        });
    }
}
