//! How far groups have come: their committed offsets. Pure.

use std::collections::{BTreeMap, HashMap};

type ByQueue = BTreeMap<i32, i64>;

/// Committed offsets, by topic, group and queue.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    topics: HashMap<Box<str>, HashMap<Box<str>, ByQueue>>,
}

impl Offsets {
    /// The offset of the next message that the group consumes from the queue, if it has committed one.
    pub(crate) fn get(&self, topic: &str, group: &str, queue_id: i32) -> Option<i64> {
        let offset = *self.topics.get(topic)?.get(group)?.get(&queue_id)?;
        (offset >= 0).then_some(offset)
    }

    /// Commits an offset. As with Apache RocketMQ it may be lower than the one before.
    pub(crate) fn commit(&mut self, topic: &str, group: &str, queue_id: i32, offset: i64) {
        if let Some(queues) = self
            .topics
            .get_mut(topic)
            .and_then(|groups| groups.get_mut(group))
        {
            queues.insert(queue_id, offset);
            return;
        }
        self.topics
            .entry(topic.into())
            .or_default()
            .entry(group.into())
            .or_default()
            .insert(queue_id, offset);
    }

    /// The topics of which a group has committed offsets.
    pub(crate) fn topics_of(&self, group: &str) -> Vec<&str> {
        self.topics
            .iter()
            .filter(|(_, groups)| groups.contains_key(group))
            .map(|(topic, _)| &**topic)
            .collect()
    }

    /// The groups that have committed offsets of a topic.
    pub(crate) fn groups_of(&self, topic: &str) -> impl Iterator<Item = &str> {
        let groups = self.topics.get(topic);
        groups
            .into_iter()
            .flat_map(|groups| groups.keys().map(|group| &**group))
    }

    /// Forgets a topic.
    pub(crate) fn delete_topic(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    /// Forgets a group.
    pub(crate) fn delete_group(&mut self, group: &str) {
        self.topics.retain(|_, groups| {
            groups.remove(group);
            !groups.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_commit_counts_and_a_negative_one_is_none() {
        let mut offsets = Offsets::default();
        assert_eq!(offsets.get("t", "g", 0), None);
        offsets.commit("t", "g", 0, 7);
        offsets.commit("t", "g", 0, 5);
        offsets.commit("t", "g", 1, -1);
        offsets.commit("u", "h", 0, 1);
        assert_eq!(offsets.get("t", "g", 0), Some(5));
        assert_eq!(offsets.get("t", "g", 1), None);
        assert_eq!(offsets.topics_of("g"), ["t"]);
        assert_eq!(offsets.groups_of("u").collect::<Vec<_>>(), ["h"]);
        offsets.delete_group("g");
        offsets.delete_topic("u");
        assert_eq!(offsets.get("t", "g", 0), None);
        assert!(offsets.topics_of("h").is_empty());
    }
}
