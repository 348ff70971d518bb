//! Which names topics and groups may have. Pure.
//!
//! The limits are those that Java's client checks, so that a name means the same everywhere.

use std::borrow::Cow;

use crate::client::Client;
use crate::error::{Error, Result};

/// The longest topic, in bytes.
const MAX_TOPIC: usize = 127;

/// The longest group, in bytes.
const MAX_GROUP: usize = 120;

impl Client {
    /// Whether a topic of a good name has one in the client's namespace, too.
    pub(crate) fn check_topic(&self, operation: &'static str, topic: &str) -> Result<()> {
        match self.inner.namespace.wrap(topic) {
            Cow::Borrowed(_) => Ok(()),
            Cow::Owned(wrapped) => check_topic(operation, &wrapped),
        }
    }

    /// Whether a group of a good name has one in the client's namespace, too.
    pub(crate) fn check_group(&self, operation: &'static str, group: &str) -> Result<()> {
        match self.inner.namespace.wrap(group) {
            Cow::Borrowed(_) => Ok(()),
            Cow::Owned(wrapped) => check(operation, "group", &wrapped, MAX_GROUP),
        }
    }
}

/// Whether a topic may have this name.
pub(crate) fn check_topic(operation: &'static str, topic: &str) -> Result<()> {
    check(operation, "topic", topic, MAX_TOPIC)
}

/// Whether a group may have this name; `reserved` is the one that nobody may share.
pub(crate) fn check_group(operation: &'static str, group: &str, reserved: &str) -> Result<()> {
    check(operation, "group", group, MAX_GROUP)?;
    if group == reserved {
        let detail = format!("group {group:?} is reserved; choose one of your own");
        return Err(Error::invalid(operation, detail));
    }
    Ok(())
}

fn check(operation: &'static str, what: &str, name: &str, max: usize) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '%' | '|');
    let detail = if name.is_empty() {
        format!("the {what} is empty")
    } else if name.len() > max {
        format!(
            "the {what} {name:?} has {} bytes, the limit is {max}",
            name.len()
        )
    } else if let Some(wrong) = name.chars().find(|c| !allowed(*c)) {
        format!("the {what} {name:?} contains {wrong:?}; allowed are letters, digits and % | _ -")
    } else {
        return Ok(());
    };
    Err(Error::invalid(operation, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(outcome: Result<()>) -> String {
        outcome.unwrap_err().to_string()
    }

    #[test]
    fn a_topic_is_a_short_name_of_plain_characters() {
        for good in ["t", "01_hello", "%RETRY%g-1", "a|b", &"x".repeat(127)] {
            check_topic("subscribe", good).unwrap();
        }
        for (bad, text) in [
            ("", "topic is empty"),
            ("a b", "contains ' '"),
            ("../../x", "contains '.'"),
            ("标题", "contains '标'"),
            (&"x".repeat(128), "has 128 bytes, the limit is 127"),
        ] {
            let said = refused(check_topic("subscribe", bad));
            assert!(said.contains(text), "{said}");
        }
    }

    #[test]
    fn a_group_is_one_too_and_not_the_reserved_one() {
        check_group("start", &"g".repeat(120), "DEFAULT").unwrap();
        for (bad, text) in [
            ("", "group is empty"),
            (&"g".repeat(121), "has 121 bytes, the limit is 120"),
            ("a/b", "contains '/'"),
            ("DEFAULT", "is reserved"),
        ] {
            let said = refused(check_group("start", bad, "DEFAULT"));
            assert!(said.contains(text), "{said}");
        }
    }
}
