//! The copy of a failed message that the group's member sends to the retry topic itself, because the broker does not take the message
//! back: its commit log has lost it, or another broker became the master, which never had it.
//!
//! Knows: what makes a copy what the broker would have stored. Does not know: when one is sent, and how the message is settled.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::debug;

use crate::config::DEFAULT_TOPIC;
use crate::consumer::group::Group;
use crate::consumer::push::retry::SEND_BACK;
use crate::consumer::subscription::retry_topic;
use crate::error::{Error, ErrorKind, Result};
use crate::message::MessageExt;
use crate::protocol::message::property_names as names;
use crate::protocol::message::{Properties, SysFlag, TransactionType};
use crate::protocol::request::send_message::SendMessage;

const OPERATION: &str = "send a copy of a failed message";

/// A delay level and the number of failures before it add up to the next level.
const FIRST_LEVEL: i32 = 3;

/// How often a message may fail where nobody says so, as Java's client has it.
const MOST_FAILURES: i32 = 16;

/// Any queue: the broker chooses one.
const ANY_QUEUE: i32 = -1;

/// What is said anew of the copy, or must not be said of it: what made the message wait before, and that it was half.
const REPLACED: [&str; 7] = [
    names::DELAY_LEVEL,
    names::TIMER_DELAY_MILLIS,
    names::TIMER_DELAY_SECONDS,
    names::TIMER_DELIVER_MILLIS,
    names::RECONSUME_TIMES,
    names::MAX_RECONSUME_TIMES,
    names::TRANSACTION_PREPARED,
];

/// Sends a copy of a message to the group's retry topic, and waits until a broker has it: that of the message, else one after the other
/// of those that have the topic. The broker makes a dead letter of it if it has failed too often.
///
/// # Errors
/// No broker has stored it, or it is not known whether one has.
pub(super) async fn send(
    group: &Group,
    message: &MessageExt,
    delay_level: i32,
    max_reconsume_times: Option<i32>,
) -> Result<()> {
    let topic = retry_topic(group.name());
    if !message.stored().verify_crc() || message.stored().is_inner_batch() {
        // The copy would have a checksum of its own, and what is broken would pass for sound.
        return Err(Error::new(ErrorKind::Protocol, OPERATION)
            .topic_of(&topic)
            .detail("the message is damaged, or cannot be taken out of its batch"));
    }
    let deadline = Instant::now() + SEND_BACK;
    let header = header(group, message, &topic, delay_level, max_reconsume_times);
    let mut last = None;
    for (broker_name, addr) in brokers(group, message, &topic, deadline).await {
        let header = SendMessage {
            broker_name: Some((&*broker_name).into()),
            ..header.clone()
        };
        let body = &message.stored().body;
        match group
            .client()
            .rpc()
            .store(&addr, &header, body, deadline)
            .await
        {
            Err(error) if error.response_code().is_some() => {
                debug!(%addr, %error, "a broker does not take the copy of a failed message");
                last = Some(error);
            }
            outcome => return outcome,
        }
    }
    Err(last.unwrap_or_else(|| {
        Error::new(ErrorKind::NoRoute, OPERATION)
            .topic_of(&topic)
            .detail("no broker has a master")
    }))
}

/// What is said of the copy but for the broker that is to have it.
fn header<'a>(
    group: &'a Group,
    message: &MessageExt,
    topic: &'a str,
    delay_level: i32,
    max_reconsume_times: Option<i32>,
) -> SendMessage<'a> {
    let namespace = group.client().namespace();
    let retry_of = namespace.wrap(message.topic());
    let most = max_reconsume_times.unwrap_or(MOST_FAILURES);
    let is_dead = delay_level < 0 || message.reconsume_times() >= most;
    SendMessage {
        producer_group: group.name().into(),
        topic: topic.into(),
        default_topic: DEFAULT_TOPIC.into(),
        default_topic_queue_nums: 1,
        queue_id: ANY_QUEUE,
        sys_flag: plain(message.stored().sys_flag).bits(),
        born_timestamp: message.born_timestamp(),
        flag: message.flag(),
        properties: Some(
            properties(message, &retry_of, delay_level)
                .into_string()
                .into(),
        ),
        reconsume_times: Some(message.reconsume_times().saturating_add(1)),
        // Brokers of 5.x make a dead letter of what has failed more often than that, those of 4.9 also of what has failed as often. So
        // it is decided here.
        max_reconsume_times: Some(if is_dead { 0 } else { i32::MAX }),
        ..SendMessage::default()
    }
}

/// The masters to ask, by name and address. The message's own comes first: it makes the topic if that is missing.
async fn brokers(
    group: &Group,
    message: &MessageExt,
    topic: &Arc<str>,
    deadline: Instant,
) -> Vec<(Arc<str>, Arc<str>)> {
    let client = group.client();
    let own = &message.queue().broker_name;
    let known = client.cached_route(&message.queue().topic);
    let known = known.and_then(|route| route.master(own).cloned());
    let mut brokers: Vec<_> = known
        .map(|addr| (Arc::clone(own), addr))
        .into_iter()
        .collect();
    if let Ok(Some(route)) = client.route(topic, deadline).await {
        for queue in &route.writable {
            let name = &queue.broker_name;
            if let Some(addr) = route.master(name)
                && !brokers.iter().any(|(known, _)| known == name)
            {
                brokers.push((Arc::clone(name), Arc::clone(addr)));
            }
        }
    }
    brokers
}

/// What is true of the body, and nothing of how the message was stored.
const fn plain(flag: SysFlag) -> SysFlag {
    flag.with_transaction(TransactionType::None)
        .without(SysFlag::BORN_HOST_V6)
        .without(SysFlag::STORE_HOST_V6)
        .without(SysFlag::MULTI_TAGS)
}

/// The message's own properties, and where it comes from. It keeps the ids that it has.
fn properties(message: &MessageExt, topic: &str, delay_level: i32) -> Properties {
    let mut properties = Properties::from(message.stored().properties.as_str());
    for name in REPLACED {
        properties.remove(name);
    }
    for (name, value) in [
        (names::RETRY_TOPIC, topic),
        (names::ORIGIN_MESSAGE_ID, message.offset_msg_id()),
        (names::UNIQUE_KEY, message.msg_id()),
    ] {
        if properties.get(name).is_none() {
            properties.push(name, value);
        }
    }
    let level = match delay_level {
        0 => FIRST_LEVEL.saturating_add(message.reconsume_times()),
        level => level,
    };
    if level > 0 {
        properties.push(names::DELAY_LEVEL, &level.to_string());
    }
    properties
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::sample;
    use crate::message::MessageQueue;

    fn of(topic: &'static str, given: &[(&str, &str)], failures: i32, level: i32) -> Vec<String> {
        let mut stored = sample::stored(topic, 0, given);
        stored.reconsume_times = failures;
        let message = MessageExt::new(stored, MessageQueue::new(topic, "b", 0));
        let properties = properties(&message, "ns%t", level);
        let mut all: Vec<_> = properties
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_copy_says_where_it_comes_from_and_waits_as_long_as_the_broker_would_have_it_wait() {
        let given = [("UNIQ_KEY", "ID"), ("TAGS", "a"), ("DELAY", "1")];
        let id = "ORIGIN_MESSAGE_ID=7F00000100002A9F00000000000003E8";
        assert_eq!(
            of("t", &given, 0, 0),
            ["DELAY=3", id, "RETRY_TOPIC=ns%t", "TAGS=a", "UNIQ_KEY=ID"]
        );
        assert_eq!(of("t", &given, 2, 0)[0], "DELAY=5");
        assert_eq!(of("t", &given, 2, 7)[0], "DELAY=7");
        assert_eq!(of("t", &given, 2, -1)[0], id, "a dead letter does not wait");
    }

    #[test]
    fn what_was_said_at_the_first_failure_stays_and_what_delayed_it_goes() {
        let given = [
            ("RETRY_TOPIC", "first"),
            ("ORIGIN_MESSAGE_ID", "origin"),
            ("UNIQ_KEY", "ID"),
            ("TRAN_MSG", "true"),
            ("TIMER_DELAY_MS", "5"),
        ];
        assert_eq!(
            of("%RETRY%g", &given, 1, 0),
            [
                "DELAY=4",
                "ORIGIN_MESSAGE_ID=origin",
                "RETRY_TOPIC=first",
                "UNIQ_KEY=ID"
            ]
        );
    }

    #[test]
    fn a_message_without_an_id_of_its_producer_keeps_that_of_its_broker() {
        let all = of("t", &[], 0, 0);
        assert!(all.contains(&"UNIQ_KEY=7F00000100002A9F00000000000003E8".to_owned()));
    }

    #[test]
    fn only_what_is_true_of_the_body_is_said_of_the_copy() {
        let flags = SysFlag::from_bits(0x1 | 0x2 | 0x8 | 0x10 | 0x20 | 0x100);
        assert_eq!(plain(flags).bits(), 0x101);
    }
}
