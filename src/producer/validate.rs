//! What a producer refuses before anything is sent. Pure.
//!
//! The limits are those that Java's client checks, so that a message means the same everywhere. What only a broker can judge is left to
//! it: it refuses all properties together a little before they reach our limit, since it adds its own.

use crate::client::names;
use crate::error::{Error, Result};
use crate::message::{Message, MessageQueue};
use crate::protocol::message::properties;

/// The group that Java's client has when it was given none: nobody may share it.
const RESERVED_GROUP: &str = "DEFAULT_PRODUCER";

/// Topics that brokers keep for themselves.
const FORBIDDEN_TOPICS: [&str; 6] = [
    "SCHEDULE_TOPIC_XXXX",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
];

/// Whether messages may be sent to a topic of this name.
pub(super) fn topic(operation: &'static str, topic: &str) -> Result<()> {
    names::check_topic(operation, topic)?;
    if FORBIDDEN_TOPICS.contains(&topic) {
        return Err(Error::invalid(
            operation,
            format!("topic {topic:?} is the broker's own"),
        ));
    }
    Ok(())
}

/// Whether a producer may be of this group.
pub(super) fn group(operation: &'static str, group: &str) -> Result<()> {
    names::check_group(operation, group, RESERVED_GROUP)
}

/// Whether a message may be sent: its topic, its properties, and a body of 1 to `max_size` bytes.
pub(super) fn message(operation: &'static str, message: &Message, max_size: usize) -> Result<()> {
    topic(operation, message.topic())?;
    let of_topic = |error: Error| error.topic_of(message.topic());
    if let Some(fault) = message.fault() {
        return Err(of_topic(fault.clone()));
    }
    if message.reply_through().is_some() && message.is_delayed() {
        return Err(of_topic(Error::invalid(
            operation,
            "a reply cannot be delayed",
        )));
    }
    let size = message.raw_properties().len();
    if size > properties::MAX_LEN {
        let detail = format!(
            "the properties have {size} bytes, the limit is {}",
            properties::MAX_LEN
        );
        return Err(of_topic(Error::invalid(operation, detail)));
    }
    let size = message.body().len();
    if size == 0 {
        return Err(of_topic(Error::invalid(
            operation,
            "the message has no body",
        )));
    }
    if size > max_size {
        let detail = format!("the body has {size} bytes, the limit is {max_size}");
        return Err(of_topic(Error::invalid(operation, detail)));
    }
    Ok(())
}

/// Whether a message may be sent to this queue, as far as that shows here.
pub(super) fn queue(
    operation: &'static str,
    message: &Message,
    queue: &MessageQueue,
) -> Result<()> {
    let detail = if *queue.topic != *message.topic() {
        format!("the queue {queue} is one of another topic")
    } else if queue.queue_id < 0 {
        format!("the queue id {} is negative", queue.queue_id)
    } else {
        return Ok(());
    };
    Err(Error::invalid(operation, detail).topic_of(message.topic()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn refused(outcome: Result<()>) -> String {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        error.to_string()
    }

    #[test]
    fn topics_and_groups_that_are_not_the_application_s_are_refused() {
        topic("send", "%RETRY%g-1").unwrap();
        for bad in ["", "a b", "SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC"] {
            assert!(refused(topic("send", bad)).contains(bad));
        }
        group("start", "g").unwrap();
        for bad in ["a/b", "DEFAULT_PRODUCER"] {
            assert!(refused(group("start", bad)).contains(bad));
        }
    }

    #[test]
    fn a_body_has_at_least_a_byte_and_at_most_the_limit() {
        let of_size = |size| Message::new("t", vec![b' '; size]);
        message("send", &of_size(1), 4).unwrap();
        message("send", &of_size(4), 4).unwrap();
        assert!(refused(message("send", &of_size(0), 4)).contains("(topic t)"));
        let said = refused(message("send", &of_size(5), 4));
        assert!(said.contains("has 5 bytes, the limit is 4"), "{said}");
    }

    #[test]
    fn properties_have_at_most_what_the_wire_carries() {
        let of_size = |size: usize| {
            let value = "x".repeat(size - "k".len() - 2);
            Message::builder("t").property("k", value).body("b").build()
        };
        message("send", &of_size(32_767), 4).unwrap();
        let said = refused(message("send", &of_size(32_768), 4));
        assert!(
            said.contains("have 32768 bytes, the limit is 32767"),
            "{said}"
        );
    }

    #[test]
    fn a_queue_is_one_of_the_message_s_topic() {
        let of = |topic, id| {
            queue(
                "send",
                &Message::new("t", "b"),
                &MessageQueue::new(topic, "a", id),
            )
        };
        of("t", 0).unwrap();
        assert!(refused(of("u", 0)).contains("u@a:0"));
        assert!(refused(of("t", -1)).contains("-1 is negative"));
    }

    #[test]
    fn a_fault_of_the_message_comes_out_with_its_topic() {
        let faulty = Message::builder("t")
            .property("KEYS", "x")
            .body("b")
            .build();
        let said = refused(message("send", &faulty, 4));
        assert!(
            said.starts_with("send (topic t)") && said.contains("KEYS"),
            "{said}"
        );
    }
}
