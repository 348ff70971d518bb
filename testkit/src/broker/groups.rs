//! Groups of consumers and producers, and who is in them. Pure but for the members' connections, which are only named.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rocketmq_sdk::protocol::command::Language;
use rocketmq_sdk::protocol::request::heartbeat::{ConsumerData, SubscriptionData};
use rocketmq_sdk::protocol::request::subscription_group::GroupConfig;

use crate::broker::filter::Filter;
use crate::broker::names;
use crate::net::peer::Peer;

/// How many consumer groups, and how many producer groups, a broker may know.
const MAX_GROUPS: usize = 100_000;

/// All groups of a broker.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    configs: HashMap<Box<str>, GroupConfig>,
    consumers: HashMap<Box<str>, ConsumerGroup>,
    producers: HashMap<Box<str>, BTreeMap<u64, Member>>,
    /// Where replies to a client go. As with Apache RocketMQ only a producer's first heartbeat on a connection says so, and with the
    /// first of its groups that leaves there is no way any more.
    clients: HashMap<Box<str>, Arc<Peer>>,
    /// The last fingerprint of each group's subscriptions; 0 from clients that do not give one.
    fingerprints: HashMap<Box<str>, i32>,
    /// How many members of a consumer group a test has made up.
    fakes: HashMap<Box<str>, usize>,
}

/// A consumer group that has members.
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    pub(crate) consume_type: String,
    pub(crate) message_model: String,
    pub(crate) consume_from_where: String,
    /// By connection: a client that uses several is listed several times, as with Apache RocketMQ.
    pub(crate) members: BTreeMap<u64, Member>,
    /// By topic; the newest that any member has.
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
}

/// A client in a group.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) client_id: String,
    pub(crate) peer: Arc<Peer>,
    pub(crate) language: Language,
    pub(crate) version: i32,
}

/// What a group reads of a topic.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) data: SubscriptionData,
    pub(crate) filter: Filter,
}

impl ConsumerGroup {
    pub(crate) fn is_broadcasting(&self) -> bool {
        self.message_model == "BROADCASTING"
    }

    /// Takes the subscriptions over; whether their topics have changed.
    fn update_subscriptions(&mut self, subscriptions: Vec<SubscriptionData>) -> bool {
        let before = self.subscriptions.len();
        self.subscriptions
            .retain(|topic, _| subscriptions.iter().any(|new| new.topic == *topic));
        let mut changed = self.subscriptions.len() != before;
        for data in subscriptions {
            let old = self.subscriptions.get(&data.topic);
            changed |= old.is_none();
            if old.is_none_or(|old| old.data.sub_version < data.sub_version) {
                let filter = Filter::of(&data);
                self.subscriptions
                    .insert(data.topic.clone(), Subscription { data, filter });
            }
        }
        changed
    }
}

impl Groups {
    /// A consumer group's configuration, made if there is none. `None` if there can be no such group.
    pub(crate) fn config(&mut self, group: &str) -> Option<&GroupConfig> {
        if !self.configs.contains_key(group) {
            if names::check_group(group).is_err() || self.configs.len() >= MAX_GROUPS {
                return None;
            }
            let config = GroupConfig {
                group_name: group.to_owned(),
                ..GroupConfig::default()
            };
            self.configs.insert(group.into(), config);
        }
        self.configs.get(group)
    }

    /// Whether there is such a consumer group, online or not.
    pub(crate) fn is_configured(&self, group: &str) -> bool {
        self.configs.contains_key(group)
    }

    /// Notes the fingerprint of a group's subscriptions; whether another one was known.
    pub(crate) fn fingerprint_changed(&mut self, group: &str, fingerprint: i32) -> bool {
        match self.fingerprints.get_mut(group) {
            Some(known) => std::mem::replace(known, fingerprint) != fingerprint,
            None => {
                if self.fingerprints.len() < MAX_GROUPS {
                    self.fingerprints.insert(group.into(), fingerprint);
                }
                false
            }
        }
    }

    /// Creates or changes a consumer group. `false`: there are too many.
    pub(crate) fn put_config(&mut self, config: GroupConfig) -> bool {
        let group = &*config.group_name;
        if !self.configs.contains_key(group) && self.configs.len() >= MAX_GROUPS {
            return false;
        }
        self.configs.insert(group.into(), config);
        true
    }

    /// All consumer groups that are configured.
    pub(crate) fn configs(&self) -> impl Iterator<Item = &GroupConfig> {
        self.configs.values()
    }

    /// Deletes a consumer group's configuration.
    pub(crate) fn delete_config(&mut self, group: &str) {
        self.configs.remove(group);
    }

    /// A consumer group, if it has members.
    pub(crate) fn consumer(&self, group: &str) -> Option<&ConsumerGroup> {
        self.consumers.get(group)
    }

    /// The ids of a consumer group's members, and those that are made up.
    pub(crate) fn consumer_ids(&self, group: &str) -> Vec<String> {
        let members = self.consumer(group).into_iter();
        let members = members.flat_map(|group| group.members.values());
        let fakes = self.fakes.get(group).copied().unwrap_or(0);
        members
            .map(|member| member.client_id.clone())
            .chain((0..fakes).map(|number| format!("127.0.0.1@fake-{number}")))
            .collect()
    }

    /// Makes members of a consumer group up, instead of those that were before.
    pub(crate) fn set_fakes(&mut self, group: &str, count: usize) {
        self.fakes.insert(group.into(), count);
    }

    /// The consumer groups that read a topic now.
    pub(crate) fn reading(&self, topic: &str) -> impl Iterator<Item = &str> {
        self.consumers
            .iter()
            .filter(move |(_, group)| group.subscriptions.contains_key(topic))
            .map(|(name, _)| &**name)
    }

    /// A producer group's members.
    pub(crate) fn producers(&self, group: &str) -> Option<&BTreeMap<u64, Member>> {
        self.producers.get(group)
    }

    /// Takes a member's word on its consumer group; whether its members or the topics it reads have changed.
    ///
    /// Without `subscriptions` those of the group stay.
    pub(crate) fn register_consumer(
        &mut self,
        member: Member,
        data: ConsumerData,
        subscriptions: bool,
    ) -> bool {
        let group = self
            .consumers
            .entry(data.group_name.into())
            .or_insert_with(|| ConsumerGroup {
                consume_type: String::new(),
                message_model: String::new(),
                consume_from_where: String::new(),
                members: BTreeMap::new(),
                subscriptions: BTreeMap::new(),
            });
        group.consume_type = data.consume_type;
        group.message_model = data.message_model;
        group.consume_from_where = data.consume_from_where;
        let joined = group.members.insert(member.peer.id, member).is_none();
        let resubscribed = subscriptions && group.update_subscriptions(data.subscription_data_set);
        joined || resubscribed
    }

    /// The connection on which a client's producers live.
    pub(crate) fn client(&self, id: &str) -> Option<&Arc<Peer>> {
        self.clients.get(id)
    }

    /// Takes a member's word on its producer group.
    pub(crate) fn register_producer(&mut self, member: Member, group: &str) {
        let (id, peer) = (Box::from(&*member.client_id), Arc::clone(&member.peer));
        if let Some(members) = self.producers.get_mut(group) {
            let before = members.insert(member.peer.id, member);
            if before
                .as_ref()
                .is_none_or(|before| *before.client_id != *id)
            {
                if let Some(before) = before {
                    self.clients.remove(&*before.client_id);
                }
                self.clients.insert(id, peer);
            }
        } else if self.producers.len() < MAX_GROUPS && names::check_group(group).is_ok() {
            self.producers
                .insert(group.into(), BTreeMap::from([(member.peer.id, member)]));
            self.clients.insert(id, peer);
        }
    }

    /// Takes a connection out of a consumer group; whether it was in it.
    pub(crate) fn unregister_consumer(&mut self, group: &str, connection: u64) -> bool {
        let Some(members) = self
            .consumers
            .get_mut(group)
            .map(|group| &mut group.members)
        else {
            return false;
        };
        let left = members.remove(&connection).is_some();
        if members.is_empty() {
            self.consumers.remove(group);
        }
        left
    }

    /// Takes a connection out of a producer group.
    pub(crate) fn unregister_producer(&mut self, group: &str, connection: u64) {
        if let Some(members) = self.producers.get_mut(group) {
            if let Some(member) = members.remove(&connection) {
                self.clients.remove(&*member.client_id);
            }
            if members.is_empty() {
                self.producers.remove(group);
            }
        }
    }

    /// Takes a connection out of every group; the consumer groups that it was in and that still have members.
    pub(crate) fn remove(&mut self, connection: u64) -> Vec<Box<str>> {
        let clients = &mut self.clients;
        self.producers.retain(|_, members| {
            if let Some(member) = members.remove(&connection) {
                clients.remove(&*member.client_id);
            }
            !members.is_empty()
        });
        let mut left = Vec::new();
        self.consumers.retain(|name, group| {
            if group.members.remove(&connection).is_some() && !group.members.is_empty() {
                left.push(name.clone());
            }
            !group.members.is_empty()
        });
        left
    }
}

#[cfg(test)]
mod tests;
