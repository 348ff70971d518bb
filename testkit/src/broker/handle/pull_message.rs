//! PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361).

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::request::pull_message::{PullMessage, PullSysFlag};
use rocketmq_sdk::protocol::request::route::Permission;

use crate::broker::Broker;
use crate::broker::filter::Filter;
use crate::broker::held::Pull;
use crate::name_server::APPLY_TOPIC_URL;
use crate::net::call::{Call, Refusal};

pub(super) fn handle(broker: &mut Broker, call: &mut Call<'_>) -> Result<(), Refusal> {
    let request: PullMessage<'_> = call.header()?;
    broker.check_pull(&request, call)?;
    let pull = Pull {
        filter: broker.filter_of(&request)?,
        queue: broker.store.queue(&request.topic, request.queue_id),
        offset: request.queue_offset,
        max_messages: request.max_msg_nums,
        max_bytes: request.max_msg_bytes,
    };
    if request.sys_flag & PullSysFlag::COMMIT_OFFSET != 0 {
        broker.offsets.commit(
            &request.topic,
            &request.consumer_group,
            request.queue_id,
            request.commit_offset,
        );
    }
    let outcome = pull.read(&broker.store);
    let hold = outcome.code == ResponseCode::PULL_NOT_FOUND
        && request.sys_flag & PullSysFlag::SUSPEND != 0
        && request.suspend_timeout_millis > 0
        && broker.held.has_room();
    if hold {
        let due = broker.now.saturating_add(request.suspend_timeout_millis);
        broker
            .held
            .hold(pull, call.later(), due, &mut broker.timers);
    } else {
        call.answer_with(&outcome.answer());
    }
    Ok(())
}

impl Broker {
    /// Whether the group may read the queue.
    fn check_pull(&mut self, request: &PullMessage<'_>, call: &Call<'_>) -> Result<(), Refusal> {
        let PullMessage {
            consumer_group: group,
            topic,
            queue_id,
            ..
        } = request;
        let Some(config) = self.groups.config(group) else {
            return Err(Refusal::new(
                ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
                format!("subscription group [{group}] does not exist, {APPLY_TOPIC_URL}"),
            ));
        };
        if !config.consume_enable {
            let remark = format!("subscription group no permission, {group}");
            return Err(Refusal::new(ResponseCode::NO_PERMISSION, remark));
        }
        let Some(known) = self.topics.get(topic) else {
            let remark = format!("topic[{topic}] not exist, apply first please! {APPLY_TOPIC_URL}");
            return Err(Refusal::new(ResponseCode::TOPIC_NOT_EXIST, remark));
        };
        if !Permission(known.config.perm).can_read() {
            let remark = format!("the topic[{topic}] pulling message is forbidden");
            return Err(Refusal::new(ResponseCode::NO_PERMISSION, remark));
        }
        let queues = known.config.read_queue_nums;
        if !(0..queues).contains(queue_id) {
            let remark = format!(
                "queueId[{queue_id}] is illegal, topic:[{topic}] topicConfig.readQueueNums:[{queues}] consumer:[{}]",
                call.peer.addr
            );
            return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
        }
        Ok(())
    }

    /// What the group wants of the topic: by the pull itself, or by the group's heartbeats.
    fn filter_of(&mut self, request: &PullMessage<'_>) -> Result<Filter, Refusal> {
        if request.sys_flag & PullSysFlag::SUBSCRIPTION != 0 {
            check_type(request.expression_type.as_deref())?;
            let expression = request.subscription.as_deref().unwrap_or("*");
            return Filter::parse(expression).ok_or_else(|| {
                Refusal::new(
                    ResponseCode::SUBSCRIPTION_PARSE_FAILED,
                    "parse the consumer's subscription failed",
                )
            });
        }
        let missing = |what| {
            let remark = format!("the consumer's {what} not exist{APPLY_TOPIC_URL}");
            Refusal::new(ResponseCode::SUBSCRIPTION_NOT_EXIST, remark)
        };
        let group = self
            .groups
            .consumer(&request.consumer_group)
            .ok_or_else(|| missing("group info"))?;
        let broadcasting = group.is_broadcasting();
        let subscription = group
            .subscriptions
            .get(&*request.topic)
            .ok_or_else(|| missing("subscription"))?;
        if subscription.data.sub_version < request.sub_version {
            return Err(Refusal::new(
                ResponseCode::SUBSCRIPTION_NOT_LATEST,
                "the consumer's subscription not latest",
            ));
        }
        check_type(Some(&subscription.data.expression_type))?;
        let filter = subscription.filter.clone();
        let may_broadcast = self
            .groups
            .config(&request.consumer_group)
            .is_some_and(|config| config.consume_broadcast_enable);
        if broadcasting && !may_broadcast {
            let remark = format!(
                "the consumer group[{}] can not consume by broadcast way",
                request.consumer_group
            );
            return Err(Refusal::new(ResponseCode::NO_PERMISSION, remark));
        }
        Ok(filter)
    }
}

/// Only tags can be selected by.
fn check_type(expression_type: Option<&str>) -> Result<(), Refusal> {
    match expression_type {
        None | Some("" | "TAG") => Ok(()),
        Some(other) => Err(Refusal::new(
            ResponseCode::SYSTEM_ERROR,
            format!("The broker does not support consumer to filter message by {other}"),
        )),
    }
}
