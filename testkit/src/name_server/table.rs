//! The table of brokers and topics. Pure.

use std::collections::BTreeMap;

use rocketmq_sdk::protocol::request::register_broker::TopicConfig;
use rocketmq_sdk::protocol::request::route::{BrokerData, ClusterInfoBody, QueueData, RouteBody};

use crate::broker::MAX_QUEUES;

/// How many broker names a name server knows at most, brokers of one name, and topics.
const MAX_BROKERS: usize = 1_000;
const MAX_MEMBERS: usize = 100;
const MAX_TOPICS: usize = 100_000;

/// Which brokers there are, and which topics they hold.
#[derive(Debug, Default)]
pub(super) struct Routes {
    brokers: BTreeMap<String, Broker>,
    /// A topic's queues by broker, by topic.
    topics: BTreeMap<String, BTreeMap<String, QueueData>>,
}

/// The brokers of one name: a master and its slaves.
#[derive(Debug)]
struct Broker {
    cluster: String,
    members: BTreeMap<i64, Member>,
}

/// One broker process.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) addr: String,
    pub(super) ha_addr: String,
    /// The connection that it registered on last; it is gone when that ends.
    connection: u64,
}

/// What a broker says of itself.
#[derive(Debug)]
pub(super) struct Registration<'a> {
    pub(super) cluster: &'a str,
    pub(super) broker: &'a str,
    pub(super) broker_id: i64,
    pub(super) addr: &'a str,
    pub(super) ha_addr: &'a str,
    pub(super) topics: BTreeMap<String, TopicConfig>,
    pub(super) connection: u64,
}

impl Routes {
    /// Takes a registration. `false`: it has just one topic, as after a single change, but the broker is not known; or there are
    /// too many brokers or topics.
    pub(super) fn register(&mut self, registration: Registration<'_>) -> bool {
        let known = self.brokers.get(registration.broker);
        let new = known.is_none_or(|broker| !broker.members.contains_key(&registration.broker_id));
        let too_many = match known {
            None => self.brokers.len() >= MAX_BROKERS,
            Some(broker) => new && broker.members.len() >= MAX_MEMBERS,
        };
        let topics = registration.topics.keys();
        let new_topics = topics.filter(|topic| !self.topics.contains_key(*topic));
        let too_many = too_many || self.topics.len() + new_topics.count() > MAX_TOPICS;
        if too_many || new && registration.topics.len() == 1 {
            return false;
        }
        let broker = self
            .brokers
            .entry(registration.broker.to_owned())
            .or_insert_with(|| Broker {
                cluster: String::new(),
                members: BTreeMap::new(),
            });
        registration.cluster.clone_into(&mut broker.cluster);
        // A slave that became the master: one address has one id.
        broker
            .members
            .retain(|id, member| member.addr != registration.addr || *id == registration.broker_id);
        let member = Member {
            addr: registration.addr.to_owned(),
            ha_addr: registration.ha_addr.to_owned(),
            connection: registration.connection,
        };
        broker.members.insert(registration.broker_id, member);
        if registration.broker_id == 0 {
            for topic in registration.topics.into_values() {
                let queues = QueueData {
                    broker_name: registration.broker.to_owned(),
                    read_queue_nums: topic.read_queue_nums.clamp(0, MAX_QUEUES),
                    write_queue_nums: topic.write_queue_nums.clamp(0, MAX_QUEUES),
                    perm: topic.perm,
                    topic_sys_flag: topic.topic_sys_flag,
                };
                self.topics
                    .entry(topic.topic_name)
                    .or_default()
                    .insert(registration.broker.to_owned(), queues);
            }
        }
        true
    }

    /// Forgets a broker, if it is the one at this address.
    pub(super) fn unregister(&mut self, broker: &str, broker_id: i64, addr: &str) {
        self.remove_members(|name, id, member| {
            name == broker && id == broker_id && member.addr == addr
        });
    }

    /// Forgets the brokers that registered last on this connection.
    pub(super) fn connection_closed(&mut self, connection: u64) {
        self.remove_members(|_, _, member| member.connection == connection);
    }

    /// The master of this name.
    pub(super) fn master(&self, broker: &str) -> Option<&Member> {
        self.brokers.get(broker)?.members.get(&0)
    }

    /// A topic's route, if there is a broker for it.
    pub(super) fn route(&self, topic: &str) -> Option<RouteBody> {
        let queues = self.topics.get(topic)?;
        let brokers: Vec<_> = queues
            .keys()
            .filter_map(|name| Some(self.brokers.get(name)?.data(name)))
            .collect();
        if brokers.is_empty() {
            return None;
        }
        Some(RouteBody {
            order_topic_conf: None,
            queue_datas: queues.values().cloned().collect(),
            broker_datas: brokers,
        })
    }

    /// The names of all topics.
    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    /// Forgets a topic on the brokers of a cluster, or on all.
    pub(super) fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(queues) = self.topics.get_mut(topic) else {
            return;
        };
        let brokers = &self.brokers;
        queues.retain(|broker, _| {
            cluster.is_some_and(|cluster| {
                brokers
                    .get(broker)
                    .is_some_and(|broker| broker.cluster != cluster)
            })
        });
        if queues.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// All brokers.
    pub(super) fn cluster_info(&self) -> ClusterInfoBody {
        let mut info = ClusterInfoBody::default();
        for (name, broker) in &self.brokers {
            info.broker_addr_table
                .insert(name.clone(), broker.data(name));
            info.cluster_addr_table
                .entry(broker.cluster.clone())
                .or_default()
                .push(name.clone());
        }
        info
    }

    fn remove_members(&mut self, mut gone: impl FnMut(&str, i64, &Member) -> bool) {
        self.brokers.retain(|name, broker| {
            broker.members.retain(|id, member| !gone(name, *id, member));
            !broker.members.is_empty()
        });
        let brokers = &self.brokers;
        self.topics.retain(|_, queues| {
            queues.retain(|broker, _| brokers.contains_key(broker));
            !queues.is_empty()
        });
    }
}

impl Broker {
    fn data(&self, name: &str) -> BrokerData {
        BrokerData {
            cluster: self.cluster.clone(),
            broker_name: name.to_owned(),
            broker_addrs: self
                .members
                .iter()
                .map(|(id, member)| (*id, member.addr.clone()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration<'a>(broker: &'a str, addr: &'a str, topics: &[&str]) -> Registration<'a> {
        Registration {
            cluster: "c",
            broker,
            broker_id: 0,
            addr,
            ha_addr: "",
            topics: topics
                .iter()
                .map(|topic| {
                    let config = TopicConfig {
                        topic_name: (*topic).to_owned(),
                        ..TopicConfig::default()
                    };
                    ((*topic).to_owned(), config)
                })
                .collect(),
            connection: addr.len() as u64,
        }
    }

    #[test]
    fn routes_lead_to_the_brokers_that_hold_the_topic() {
        let mut routes = Routes::default();
        assert!(routes.register(registration("a", "1:1", &["t", "u"])));
        assert!(routes.register(registration("b", "10:1", &["t", "v"])));
        let route = routes.route("t").unwrap();
        assert_eq!(route.queue_datas.len(), 2);
        assert_eq!(route.broker_datas[1].broker_addrs[&0], "10:1");
        assert_eq!(routes.route("u").unwrap().broker_datas.len(), 1);
        assert_eq!(routes.route("w"), None);
        assert_eq!(routes.topics().collect::<Vec<_>>(), ["t", "u", "v"]);
    }

    #[test]
    fn a_broker_that_left_takes_its_topics_along() {
        let mut routes = Routes::default();
        routes.register(registration("a", "1:1", &["t", "u"]));
        routes.register(registration("b", "10:1", &["t", "v"]));
        routes.unregister("a", 0, "another address");
        assert!(routes.route("u").is_some());
        routes.unregister("a", 0, "1:1");
        assert_eq!(routes.route("u"), None);
        assert_eq!(routes.route("t").unwrap().queue_datas.len(), 1);
        routes.connection_closed(4);
        assert_eq!(routes.cluster_info(), ClusterInfoBody::default());
        assert_eq!(routes.topics().count(), 0);
    }

    #[test]
    fn what_brokers_register_is_bounded() {
        let mut routes = Routes::default();
        let mut huge = registration("a", "1:1", &["t", "u"]);
        for topic in huge.topics.values_mut() {
            topic.read_queue_nums = i32::MAX;
            topic.write_queue_nums = -1;
        }
        assert!(routes.register(huge));
        let queues = &routes.route("t").unwrap().queue_datas[0];
        assert_eq!(queues.read_queue_nums, MAX_QUEUES);
        assert_eq!(queues.write_queue_nums, 0);
        let slave = |id: i64| {
            let mut slave = registration("a", "", &["t", "u"]);
            let addr = format!("{id}:1");
            slave.broker_id = id;
            slave.addr = addr.leak();
            slave
        };
        let taken = (1..=MAX_MEMBERS as i64).filter(|id| routes.register(slave(id + 1)));
        assert_eq!(taken.count(), MAX_MEMBERS - 1);
        let topics: Vec<String> = (0..MAX_TOPICS).map(|number| format!("t{number}")).collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        assert!(!routes.register(registration("b", "9:9", &topics)));
        assert!(routes.register(registration("b", "9:9", &topics[2..])));
    }

    #[test]
    fn a_single_topic_does_not_make_a_broker_known() {
        let mut routes = Routes::default();
        assert!(!routes.register(registration("a", "1:1", &["t"])));
        assert!(routes.register(registration("a", "1:1", &["t", "u"])));
        assert!(routes.register(registration("a", "1:1", &["v"])));
        routes.delete_topic("t", Some("another cluster"));
        assert!(routes.route("t").is_some());
        routes.delete_topic("t", Some("c"));
        routes.delete_topic("u", None);
        assert_eq!(routes.topics().collect::<Vec<_>>(), ["v"]);
    }
}
