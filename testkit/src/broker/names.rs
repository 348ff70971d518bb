//! Names of topics and groups: which are legal, and which mean something. Pure.

use std::fmt;

/// What opens the name of a group's retry topic.
pub(crate) const RETRY_PREFIX: &str = "%RETRY%";
/// What opens the name of a group's topic of dead letters.
pub(crate) const DEAD_LETTER_PREFIX: &str = "%DLQ%";
/// The topic whose configuration topics are created from on their first message.
pub(crate) const AUTO_CREATE_TOPIC: &str = "TBW102";
/// Where delayed messages wait, one queue per level.
pub(crate) const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Where timer messages wait.
pub(crate) const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// Where half messages wait.
pub(crate) const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Where it is noted which half messages are settled.
pub(crate) const HALF_DONE_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Where half messages end that nobody settles.
pub(crate) const GIVEN_UP_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";

/// Topics that a broker keeps for itself: nobody may create, change or delete them.
const SYSTEM_TOPICS: [&str; 10] = [
    AUTO_CREATE_TOPIC,
    SCHEDULE_TOPIC,
    HALF_TOPIC,
    HALF_DONE_TOPIC,
    "BenchmarkTest",
    "RMQ_SYS_TRACE_TOPIC",
    GIVEN_UP_TOPIC,
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
    "CHECKPOINT_TOPIC",
];

/// Those of them that clients may not send to.
const NOT_FOR_SENDING: [&str; 6] = [
    SCHEDULE_TOPIC,
    HALF_TOPIC,
    HALF_DONE_TOPIC,
    GIVEN_UP_TOPIC,
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
];

const MAX_TOPIC: usize = 127;
const MAX_RETRY_TOPIC: usize = 255;
const MAX_GROUP: usize = 120;

/// What is wrong with a name, in the words of Apache RocketMQ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IllegalName(String);

impl fmt::Display for IllegalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a topic may have this name.
pub(crate) fn check_topic(name: &str) -> Result<(), IllegalName> {
    let kin = name.starts_with(RETRY_PREFIX) || name.starts_with(DEAD_LETTER_PREFIX);
    check("topic", name, if kin { MAX_RETRY_TOPIC } else { MAX_TOPIC })
}

/// Whether a group may have this name.
pub(crate) fn check_group(name: &str) -> Result<(), IllegalName> {
    check("group", name, MAX_GROUP)
}

fn check(what: &str, name: &str, max: usize) -> Result<(), IllegalName> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"%|-_".contains(&byte);
    if name.trim().is_empty() {
        Err(IllegalName(format!("The specified {what} is blank.")))
    } else if name.len() > max {
        // The name is left out: it may be as long as a frame.
        Err(IllegalName(format!(
            "The specified {what} is longer than {what} max length: {max}"
        )))
    } else if !name.bytes().all(legal) {
        Err(IllegalName(format!(
            "The specified {what}: {name}, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"
        )))
    } else {
        Ok(())
    }
}

/// Whether a broker keeps this topic for itself.
pub(crate) fn is_system_topic(name: &str) -> bool {
    SYSTEM_TOPICS.contains(&name) || name.starts_with("rmq_sys_")
}

/// Whether clients may send to this topic.
pub(crate) fn may_be_sent_to(name: &str) -> bool {
    !NOT_FOR_SENDING.contains(&name)
}

/// The retry topic of a group.
pub(crate) fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

/// The topic of a group's dead letters.
pub(crate) fn dead_letter_topic(group: &str) -> String {
    format!("{DEAD_LETTER_PREFIX}{group}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_legal_names_only() {
        for name in ["t", "%RETRY%g", "a|b-c_D9", &"x".repeat(127)] {
            assert_eq!(check_topic(name), Ok(()), "{name}");
        }
        for name in ["", " ", "a b", "../../x", "täg", "a\0", &"x".repeat(128)] {
            assert!(check_topic(name).is_err(), "{name}");
        }
        assert!(check_topic(&retry_topic(&"g".repeat(248))).is_ok());
        assert!(check_topic(&retry_topic(&"g".repeat(249))).is_err());
        assert!(check_group(&"g".repeat(120)).is_ok());
        assert!(check_group(&"g".repeat(121)).is_err());
    }
}
