//! What a consumer wants of a topic, and the form in which brokers hear of it.
//!
//! Knows: tag expressions and versions. Does not know: who is told, and when.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::client::names;
use crate::error::{Error, Result};
use crate::protocol::message::TagFilter;
use crate::protocol::request::heartbeat::SubscriptionData;

/// What the names of retry topics begin with.
const RETRY_PREFIX: &str = "%RETRY%";

/// What is wanted of one topic. Never changes: another expression is another subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    topic: Arc<str>,
    expression: String,
    filter: TagFilter,
    version: i64,
}

impl Subscription {
    /// Reads a tag expression. `version` has to grow with every change, and is a time in milliseconds at other clients.
    pub(crate) fn new(
        operation: &'static str,
        topic: &str,
        expression: &str,
        version: i64,
    ) -> Result<Self> {
        names::check_topic(operation, topic)?;
        let filter = TagFilter::parse(expression).filter(|_| !expression.is_empty());
        let filter = filter.ok_or_else(|| {
            let detail =
                format!("the expression {expression:?} selects nothing; \"*\" is everything");
            Error::invalid(operation, detail).topic_of(topic)
        })?;
        Ok(Self {
            topic: topic.into(),
            expression: expression.to_owned(),
            filter,
            version,
        })
    }

    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub(crate) const fn version(&self) -> i64 {
        self.version
    }

    /// Whether a message with this tag is wanted. Brokers compare only hashes.
    pub(crate) fn selects(&self, tag: Option<&str>) -> bool {
        self.filter.matches(tag)
    }

    /// Whether every message is wanted.
    pub(crate) fn is_all(&self) -> bool {
        self.filter.is_all()
    }

    pub(crate) fn data(&self) -> SubscriptionData {
        SubscriptionData {
            class_filter_mode: false,
            topic: self.topic.to_string(),
            sub_string: self.expression.clone(),
            tags_set: self.filter.tags().iter().cloned().collect(),
            code_set: self.filter.codes().iter().copied().collect(),
            sub_version: self.version,
            expression_type: "TAG".to_owned(),
        }
    }
}

/// Everything that one consumer subscribes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Subscriptions {
    topics: BTreeMap<Arc<str>, Arc<Subscription>>,
    /// The newest version that was ever given.
    version: i64,
}

impl Subscriptions {
    pub(crate) fn get(&self, topic: &str) -> Option<&Arc<Subscription>> {
        self.topics.get(topic)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Subscription>> {
        self.topics.values()
    }

    /// Subscribes to a topic, in place of what was subscribed of it. Whether anything has changed.
    pub(crate) fn set(
        &mut self,
        operation: &'static str,
        topic: &str,
        expression: &str,
        now_millis: i64,
    ) -> Result<bool> {
        let version = now_millis.max(self.version.saturating_add(1));
        let subscription = Subscription::new(operation, topic, expression, version)?;
        if self
            .get(topic)
            .is_some_and(|known| known.filter == subscription.filter)
        {
            return Ok(false);
        }
        self.version = version;
        self.topics
            .insert(Arc::clone(&subscription.topic), Arc::new(subscription));
        Ok(true)
    }

    /// Whether there was a subscription to end.
    pub(crate) fn remove(&mut self, topic: &str) -> bool {
        self.topics.remove(topic).is_some()
    }
}

/// The topic in which a group's failed messages come back.
pub(crate) fn retry_topic(group: &str) -> Arc<str> {
    format!("{RETRY_PREFIX}{group}").into()
}

/// Whether it is the retry topic of a group.
pub(crate) fn is_retry_topic(topic: &str) -> bool {
    topic.starts_with(RETRY_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn brokers_are_told_tags_and_codes() {
        let subscription = Subscription::new("start", "t", "AaAa || B", 7).unwrap();
        let data = subscription.data();
        assert_eq!((&*data.topic, &*data.sub_string), ("t", "AaAa || B"));
        assert_eq!(data.tags_set, ["AaAa", "B"]);
        assert_eq!((data.code_set, data.sub_version), (vec![66, 2_031_744], 7));
        assert_eq!(data.expression_type, "TAG");
        assert!(subscription.selects(Some("AaAa")) && !subscription.selects(Some("BBBB")));
        let all = Subscription::new("start", "t", "*", 7).unwrap();
        assert!(all.selects(None) && all.data().tags_set.is_empty());
    }

    #[test]
    fn what_selects_nothing_is_refused() {
        for (topic, expression) in [("t", ""), ("t", " "), ("t", "||"), ("a b", "*"), ("", "*")] {
            let error = Subscription::new("start", topic, expression, 1).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
    }

    #[test]
    fn versions_grow_even_when_the_clock_does_not() {
        let mut subscriptions = Subscriptions::default();
        let version = |subscriptions: &Subscriptions| subscriptions.get("t").unwrap().version();
        assert!(subscriptions.set("subscribe", "t", "a", 100).unwrap());
        assert!(!subscriptions.set("subscribe", "t", " a ", 200).unwrap());
        assert_eq!(version(&subscriptions), 100);
        assert!(subscriptions.set("subscribe", "t", "b", 50).unwrap());
        assert_eq!(version(&subscriptions), 101);
        assert!(subscriptions.remove("t") && !subscriptions.remove("t"));
        assert!(subscriptions.set("subscribe", "t", "b", 50).unwrap());
        assert_eq!(version(&subscriptions), 102);
        subscriptions.set("subscribe", "t", "", 500).unwrap_err();
        assert_eq!(subscriptions.iter().count(), 1);
    }

    #[test]
    fn the_retry_topic_is_the_group_s() {
        assert_eq!(&*retry_topic("g"), "%RETRY%g");
    }
}
