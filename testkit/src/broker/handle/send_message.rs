//! SEND_MESSAGE (10) and SEND_MESSAGE_V2 (310); SEND_BATCH_MESSAGE (320) has the header of the latter.

use std::borrow::Cow;

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::message::{
    OffsetMessageId, Properties, RecallHandle, SysFlag, ids, properties, property_names,
};
use rocketmq_sdk::protocol::request::send_message::{SendMessage, SendMessageResponse};
use rocketmq_sdk::protocol::request::send_message_v1::SendMessageV1;

use crate::broker::arrival::{Arrival, TakenIn};
use crate::broker::filter::tag_code;
use crate::broker::handle::send_batch;
use crate::broker::topics::Topic;
use crate::broker::{Broker, names};
use crate::name_server::APPLY_TOPIC_URL;
use crate::net::call::{Call, Refusal};

/// The region that the broker is in.
pub(super) const REGION: &str = "DefaultRegion";

pub(super) fn long(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: SendMessageV1<'_> = call.header()?;
    one_or_many(broker, call, &request.into())
}

pub(super) fn short(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request = call.header()?;
    one_or_many(broker, call, &request)
}

fn one_or_many(
    broker: &mut Broker,
    call: &mut Call<'_>,
    request: &SendMessage<'_>,
) -> Result<(), Refusal> {
    if request.batch == Some(true) {
        send_batch::send(broker, call, request)
    } else {
        send(broker, call, request)
    }
}

fn send(
    broker: &mut Broker,
    call: &mut Call<'_>,
    request: &SendMessage<'_>,
) -> Result<(), Refusal> {
    let topic = broker.topic_for(request)?;
    let queues = topic.queues();
    let name = topic.name.clone();
    if request.queue_id >= queues {
        return Err(no_such_queue(request, queues, call));
    }
    let raw = request.properties.as_deref().unwrap_or_default();
    let seen = Seen::in_properties(raw);
    let mut buffer = [0; ids::MAX_LEN];
    let unique_key = match seen.unique_key {
        Some(key) => key,
        None => broker.unique_ids.next(broker.now as u64, &mut buffer),
    };
    let mut arrival = Arrival {
        topic: name,
        queue_id: if request.queue_id < 0 {
            broker.choose_queue(queues)
        } else {
            request.queue_id
        },
        flag: request.flag,
        sys_flag: SysFlag::from_bits(request.sys_flag),
        born_timestamp: request.born_timestamp,
        born_host: call.peer.addr,
        reconsume_times: request.reconsume_times.unwrap_or(0),
        body: call.request.body.clone(),
        properties: seen.stored_properties(raw, &broker.config.cluster, unique_key),
        tag_code: tag_code(seen.tag),
        delay_level: seen.delay_level,
        timer: seen.timer,
        prepared_transaction_offset: 0,
    };
    if let Some(group) = request.topic.strip_prefix(names::RETRY_PREFIX) {
        broker.end_retries(group, request, &mut arrival)?;
    }
    let queue_id = arrival.queue_id;
    let taken = broker.take_in_sent(arrival, seen.half)?;
    let id = OffsetMessageId {
        host: broker.addr,
        physical_offset: taken.appended.position,
    };
    call.answer(&SendMessageResponse {
        msg_id: id.encode(&mut [0; ids::MAX_LEN]).into(),
        queue_id,
        queue_offset: taken.appended.queue_offset,
        transaction_id: Some(unique_key.into()),
        batch_uniq_id: None,
        recall_handle: broker.recall_handle(request, taken.timer_out, unique_key),
        region: Some(REGION.into()),
        trace_on: Some(true),
    });
    Ok(())
}

pub(super) fn no_such_queue(request: &SendMessage<'_>, queues: i32, call: &Call<'_>) -> Refusal {
    let remark = format!(
        "request queueId[{}] is illegal, topic {} has {queues} queues. Producer: {}",
        request.queue_id, request.topic, call.peer.addr
    );
    Refusal::new(ResponseCode::INVALID_PARAMETER, remark)
}

/// What a message's properties say to the broker.
#[derive(Debug, Default)]
struct Seen<'a> {
    tag: Option<&'a str>,
    unique_key: Option<&'a str>,
    delay_level: i32,
    half: bool,
    timer: bool,
    /// Whether there are entries that the broker sets itself.
    ours: bool,
}

/// The entries that the broker sets or takes out.
const OURS: [&str; 4] = [
    property_names::REGION,
    property_names::TRACE_ON,
    property_names::CLUSTER,
    property_names::POP_CHECKPOINT,
];

impl<'a> Seen<'a> {
    fn in_properties(raw: &'a str) -> Self {
        let mut seen = Self::default();
        for (name, value) in properties::iter(raw) {
            match name {
                property_names::TAGS => seen.tag = Some(value),
                property_names::UNIQUE_KEY => seen.unique_key = Some(value),
                property_names::DELAY_LEVEL => seen.delay_level = value.parse().unwrap_or(0),
                property_names::TRANSACTION_PREPARED => {
                    seen.half = value.eq_ignore_ascii_case("true");
                }
                property_names::TIMER_DELAY_SECONDS
                | property_names::TIMER_DELAY_MILLIS
                | property_names::TIMER_DELIVER_MILLIS => seen.timer = true,
                _ => seen.ours |= OURS.contains(&name),
            }
        }
        seen
    }

    /// The properties that are stored.
    fn stored_properties(&self, raw: &str, cluster: &str, unique_key: &str) -> Properties {
        const ROOM_FOR_OURS: usize = 128;
        let mut text = String::with_capacity(raw.len() + ROOM_FOR_OURS);
        text.push_str(raw);
        let mut properties = Properties::from(text);
        if self.ours {
            for name in OURS {
                properties.remove(name);
            }
        }
        if self.unique_key.is_none() {
            properties.push(property_names::UNIQUE_KEY, unique_key);
        }
        properties.push(property_names::REGION, REGION);
        properties.push(property_names::TRACE_ON, "true");
        properties.push(property_names::CLUSTER, cluster);
        properties
    }
}

impl Broker {
    /// The topic that a message is for, made if that is allowed.
    pub(super) fn topic_for(&mut self, request: &SendMessage<'_>) -> Result<&Topic, Refusal> {
        let name = &*request.topic;
        if self.topics.get(name).is_none() {
            self.create_topic_for(request)?;
        }
        let Some(topic) = self.topics.get(name) else {
            let remark = format!("topic[{name}] not exist, apply first please!{APPLY_TOPIC_URL}");
            return Err(Refusal::new(ResponseCode::TOPIC_NOT_EXIST, remark));
        };
        if !topic.sendable {
            let remark = format!("Sending message to topic[{name}] is forbidden.");
            return Err(Refusal::new(ResponseCode::NO_PERMISSION, remark));
        }
        // The topic's permission is for clients to heed: Apache RocketMQ stores the message, too.
        Ok(topic)
    }

    fn create_topic_for(&mut self, request: &SendMessage<'_>) -> Result<(), Refusal> {
        let name = &*request.topic;
        names::check_topic(name)
            .map_err(|why| Refusal::new(ResponseCode::INVALID_PARAMETER, why.to_string()))?;
        if names::is_system_topic(name) {
            return Ok(());
        }
        let queues = request.default_topic_queue_nums;
        let created = self
            .topics
            .create_from(&request.default_topic, name, queues, self.now)
            .is_some();
        if !created && name.starts_with(names::RETRY_PREFIX) {
            self.topics.ensure(name, 1, self.now);
        }
        Ok(())
    }

    /// Stores a message, or keeps it back until its transaction has ended.
    fn take_in_sent(&mut self, arrival: Arrival, half: bool) -> Result<TakenIn, Refusal> {
        // What comes back after a failure carries the mark of old clients' transactions still.
        if half && !(arrival.reconsume_times > 0 && arrival.delay_level > 0) {
            return self.take_in_half(arrival).map(TakenIn::from);
        }
        self.take_in(arrival)
    }

    /// With what a message can be recalled, if it waits for its time.
    fn recall_handle(
        &self,
        request: &SendMessage<'_>,
        timer_out: Option<i64>,
        unique_key: &str,
    ) -> Option<Cow<'static, str>> {
        let slot = timer_out.filter(|_| !request.topic.starts_with(names::RETRY_PREFIX))?;
        let handle = RecallHandle {
            topic: request.topic.to_string(),
            broker_name: self.config.name.clone(),
            // A millisecond more, so that it counts as the same second when it is rounded down.
            deliver_millis: (slot + 1).to_string(),
            message_id: unique_key.to_owned(),
        };
        Some(handle.encode().into())
    }

    pub(super) fn choose_queue(&mut self, queues: i32) -> i32 {
        self.next_queue = self.next_queue.wrapping_add(1);
        (self.next_queue % queues.max(1) as u32) as i32
    }

    /// A message that a consumer sends to its retry topic: after too many tries it becomes a dead letter.
    fn end_retries(
        &mut self,
        group: &str,
        request: &SendMessage<'_>,
        arrival: &mut Arrival,
    ) -> Result<(), Refusal> {
        let Some(config) = self.groups.config(group) else {
            let remark = format!("subscription group not exist, {group}");
            return Err(Refusal::new(
                ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
                remark,
            ));
        };
        let max = request
            .max_reconsume_times
            .unwrap_or(config.retry_max_times);
        if arrival.reconsume_times > max {
            let topic = names::dead_letter_topic(group);
            self.topics.ensure(&topic, 1, self.now);
            arrival.topic = topic.into();
            arrival.queue_id = 0;
            arrival.delay_level = 0;
        }
        Ok(())
    }
}
