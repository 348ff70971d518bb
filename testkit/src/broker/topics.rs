//! The topics of a broker and their configurations. Pure.

use std::collections::HashMap;

use rocketmq_sdk::protocol::message::Text;
use rocketmq_sdk::protocol::request::register_broker::{DataVersion, TopicConfig, TopicConfigs};
use rocketmq_sdk::protocol::request::route::Permission;

use crate::broker::names;

/// How many topics a broker may have.
const MAX_TOPICS: usize = 100_000;

/// How many queues a topic may have.
pub(crate) const MAX_QUEUES: i32 = 16_384;

/// The permission bit that lets topics be created from this one.
const INHERIT: i32 = 1;
const READ_WRITE: i32 = Permission::READ_WRITE.0;

/// The levels of SCHEDULE_TOPIC_XXXX.
const SCHEDULE_QUEUES: i32 = 18;

/// The topics of a broker.
#[derive(Debug)]
pub(crate) struct Topics {
    topics: HashMap<Box<str>, Topic>,
    /// Counts changes.
    version: u64,
    /// When the last change was made, in milliseconds since 1970.
    changed_at: i64,
}

/// One topic.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    /// The name, to be shared by messages.
    pub(crate) name: Text,
    pub(crate) config: TopicConfig,
    /// Whether clients may send to it.
    pub(crate) sendable: bool,
}

impl Topic {
    /// How many queue ids are legal.
    pub(crate) fn queues(&self) -> i32 {
        self.config
            .read_queue_nums
            .max(self.config.write_queue_nums)
    }
}

impl Topics {
    /// The topics that every broker has.
    pub(crate) fn new(
        cluster: &str,
        broker: &str,
        template_queues: i32,
        auto_create: bool,
    ) -> Self {
        let mut topics = Self {
            topics: HashMap::new(),
            version: 0,
            changed_at: 0,
        };
        let reply_topic = format!("{cluster}_REPLY_TOPIC");
        let mut system = vec![
            ("SELF_TEST_TOPIC", 1, READ_WRITE),
            ("BenchmarkTest", 1024, READ_WRITE),
            (cluster, 16, INHERIT | READ_WRITE),
            (broker, 1, INHERIT | READ_WRITE),
            ("OFFSET_MOVED_EVENT", 1, READ_WRITE),
            (names::SCHEDULE_TOPIC, SCHEDULE_QUEUES, READ_WRITE),
            (names::TIMER_TOPIC, 1, READ_WRITE),
            (&reply_topic, 1, READ_WRITE),
            (names::HALF_TOPIC, 1, READ_WRITE),
            (names::HALF_DONE_TOPIC, 1, READ_WRITE),
        ];
        if auto_create {
            system.push((
                names::AUTO_CREATE_TOPIC,
                template_queues,
                INHERIT | READ_WRITE,
            ));
        }
        for (name, queues, perm) in system {
            topics.insert(config(name, queues, perm));
        }
        topics
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// Creates or changes a topic. `false`: there are too many, or it has queues that cannot be.
    pub(crate) fn put(&mut self, config: TopicConfig, now: i64) -> bool {
        let possible = 0..=MAX_QUEUES;
        if !possible.contains(&config.read_queue_nums)
            || !possible.contains(&config.write_queue_nums)
        {
            return false;
        }
        if self
            .get(&config.topic_name)
            .is_some_and(|topic| topic.config == config)
        {
            return true;
        }
        if self.topics.len() >= MAX_TOPICS && self.get(&config.topic_name).is_none() {
            return false;
        }
        self.insert(config);
        self.changed(now);
        true
    }

    /// Creates a topic with as many queues to read as to write, if it is not there. `false`: there are too many, or it cannot have
    /// so many queues.
    pub(crate) fn ensure(&mut self, name: &str, queues: i32, now: i64) -> bool {
        self.topics.contains_key(name) || self.put(config(name, queues, READ_WRITE), now)
    }

    /// Creates a topic from another one, as on the first message to it: with the number of queues asked for, but no more than
    /// that topic has. `None` where that topic is not there, or is not for it.
    pub(crate) fn create_from(
        &mut self,
        template: &str,
        name: &str,
        queues: i32,
        now: i64,
    ) -> Option<&Topic> {
        let template = &self.get(template)?.config;
        if template.perm & INHERIT == 0 {
            return None;
        }
        let queues = queues.min(template.write_queue_nums).max(0);
        let new = TopicConfig {
            topic_filter_type: template.topic_filter_type.clone(),
            ..config(name, queues, template.perm & !INHERIT)
        };
        self.put(new, now).then(|| self.get(name)).flatten()
    }

    /// Deletes a topic.
    pub(crate) fn delete(&mut self, name: &str, now: i64) {
        if self.topics.remove(name).is_some() {
            self.changed(now);
        }
    }

    /// Counts changes.
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// All topics, as they are registered with name servers.
    pub(crate) fn configs(&self) -> TopicConfigs {
        TopicConfigs {
            topic_config_table: self
                .topics
                .values()
                .map(|topic| (topic.config.topic_name.clone(), topic.config.clone()))
                .collect(),
            data_version: self.data_version(),
        }
    }

    /// The version of the topics, as it is registered with name servers.
    pub(crate) fn data_version(&self) -> DataVersion {
        DataVersion {
            state_version: 0,
            timestamp: self.changed_at,
            counter: i64::try_from(self.version).unwrap_or(i64::MAX),
        }
    }

    fn insert(&mut self, config: TopicConfig) {
        let topic = Topic {
            name: Text::from(config.topic_name.clone()),
            sendable: names::may_be_sent_to(&config.topic_name),
            config,
        };
        self.topics
            .insert(topic.config.topic_name.as_str().into(), topic);
    }

    fn changed(&mut self, now: i64) {
        self.version += 1;
        self.changed_at = now;
    }
}

fn config(name: &str, queues: i32, perm: i32) -> TopicConfig {
    TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm,
        ..TopicConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_made_from_another_has_no_more_queues_than_that() {
        let mut topics = Topics::new("c", "b", 8, true);
        for (asked, got) in [(4, 4), (16, 8), (-1, 0)] {
            let name = format!("t{asked}");
            let topic = topics.create_from(names::AUTO_CREATE_TOPIC, &name, asked, 1);
            let config = &topic.unwrap().config;
            assert_eq!(
                (config.read_queue_nums, config.write_queue_nums),
                (got, got)
            );
            assert_eq!(config.perm, READ_WRITE);
        }
        assert_eq!(topics.version(), 3);
        assert!(topics.create_from("t4", "u", 4, 1).is_none());
        assert!(topics.create_from("nothing", "u", 4, 1).is_none());
        let mut strict = Topics::new("c", "b", 8, false);
        assert!(
            strict
                .create_from(names::AUTO_CREATE_TOPIC, "u", 4, 1)
                .is_none()
        );
    }

    #[test]
    fn a_topic_has_no_more_queues_than_a_broker_can_count() {
        let mut topics = Topics::new("c", "b", 8, true);
        for queues in [-1, MAX_QUEUES + 1, i32::MAX] {
            assert!(!topics.ensure("t", queues, 1));
            assert!(topics.get("t").is_none());
        }
        assert!(topics.ensure("t", MAX_QUEUES, 1));
    }

    #[test]
    fn only_changes_change_the_version() {
        let mut topics = Topics::new("c", "b", 8, true);
        assert!(topics.ensure("t", 4, 10));
        assert!(topics.ensure("t", 8, 20));
        assert!(topics.put(config("t", 4, READ_WRITE), 30));
        assert_eq!((topics.version(), topics.data_version().timestamp), (1, 10));
        topics.delete("t", 40);
        topics.delete("t", 50);
        assert_eq!((topics.version(), topics.data_version().timestamp), (2, 40));
        assert_eq!(topics.configs().topic_config_table.len(), 11);
    }
}
