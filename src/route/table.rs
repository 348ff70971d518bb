//! One topic's route: an immutable picture of its queues and brokers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::protocol::DecodeError;
use crate::protocol::message::MessageQueue;
use crate::protocol::request::route::{Permission, RouteBody};

/// More queues than this in one topic are not believed: a few bytes would make us hold many.
const MAX_QUEUES: usize = 65_535;

/// A topic's queues and brokers, as a name server said at one time.
#[derive(Debug)]
pub(crate) struct Route {
    /// Grows with every route that is looked up, over all topics.
    pub(crate) generation: u64,
    /// The queues that can be sent to, in the order of [`choices`](Self::choices). Only brokers with a master count.
    pub(crate) writable: Vec<MessageQueue>,
    /// The queues of the topic's order configuration, if it has one.
    ordered: Option<Vec<MessageQueue>>,
    /// The queues that can be pulled from, by broker name and number.
    pub(crate) readable: Vec<MessageQueue>,
    /// Whose turn it is to be sent to; goes on over the topic's generations.
    turn: Arc<AtomicUsize>,
    brokers: BTreeMap<Arc<str>, BTreeMap<i64, Arc<str>>>,
    body: RouteBody,
}

impl Route {
    const MASTER: i64 = 0;

    pub(super) fn new(
        topic: &Arc<str>,
        mut body: RouteBody,
        generation: u64,
    ) -> Result<Self, DecodeError> {
        body.queue_datas
            .sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
        body.broker_datas
            .sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
        let brokers: BTreeMap<Arc<str>, BTreeMap<i64, Arc<str>>> = body
            .broker_datas
            .iter()
            .map(|broker| {
                let addrs = broker
                    .broker_addrs
                    .iter()
                    .map(|(id, addr)| (*id, addr.as_str().into()))
                    .collect();
                (broker.broker_name.as_str().into(), addrs)
            })
            .collect();
        let mut route = Self {
            generation,
            writable: Vec::new(),
            ordered: None,
            readable: Vec::new(),
            turn: Arc::default(),
            brokers,
            body,
        };
        route.readable = route.queues(topic, |data| {
            (Permission(data.perm).can_read()).then_some(data.read_queue_nums)
        })?;
        route.ordered = match route.body.order_topic_conf.as_deref() {
            Some(conf) if !conf.is_empty() => Some(ordered(topic, conf)?),
            _ => None,
        };
        route.writable = match &route.ordered {
            Some(queues) => queues.clone(),
            None => route.queues(topic, |data| {
                Permission(data.perm)
                    .can_write()
                    .then_some(data.write_queue_nums)
            })?,
        };
        let brokers = &route.brokers;
        route.writable.retain(|queue| {
            brokers
                .get(&queue.broker_name)
                .is_some_and(|addrs| addrs.contains_key(&Self::MASTER))
        });
        Ok(route)
    }

    /// The queues among which a sharding key finds its own, as Java lists them: the topic's order configuration if it has one, else
    /// those that can be sent to, by broker name and number. The configuration counts as it stands, so that a key keeps its
    /// queue while that queue's broker has no master.
    pub(crate) fn choices(&self) -> &[MessageQueue] {
        self.ordered.as_ref().unwrap_or(&self.writable)
    }

    /// Lets the turns go on where `turn` stands.
    pub(super) fn take_turns_from(&mut self, turn: Arc<AtomicUsize>) {
        self.turn = turn;
    }

    /// What counts the turns.
    pub(super) const fn turns(&self) -> &Arc<AtomicUsize> {
        &self.turn
    }

    /// A number that is one more at every call, modulo the number of queues the one whose turn it is.
    pub(crate) fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// The address of a broker's master.
    pub(crate) fn master(&self, broker_name: &str) -> Option<&Arc<str>> {
        self.brokers.get(broker_name)?.get(&Self::MASTER)
    }

    /// The address to pull from: the broker with this id, else the one with the next id, else any. With the id that it has.
    pub(crate) fn addr(&self, broker_name: &str, broker_id: i64) -> Option<(&Arc<str>, i64)> {
        let addrs = self.brokers.get(broker_name)?;
        let (id, addr) = addrs
            .get_key_value(&broker_id)
            .or_else(|| addrs.get_key_value(&broker_id.saturating_add(1)))
            .or_else(|| addrs.first_key_value())?;
        Some((addr, *id))
    }

    /// The address of every broker; masters only when `masters` says so.
    pub(crate) fn addrs(&self, masters: bool) -> impl Iterator<Item = &Arc<str>> {
        let all = self.brokers.values().flat_map(BTreeMap::iter);
        all.filter(move |(id, _)| !masters || **id == Self::MASTER)
            .map(|(_, addr)| addr)
    }

    /// The name of the broker at an address.
    pub(super) fn broker_at(&self, addr: &str) -> Option<&Arc<str>> {
        let mut brokers = self.brokers.iter();
        let found = brokers.find(|(_, addrs)| addrs.values().any(|known| **known == *addr));
        found.map(|(name, _)| name)
    }

    /// The clusters that its brokers are in.
    pub(crate) fn clusters(&self) -> BTreeSet<&str> {
        let brokers = self.body.broker_datas.iter();
        brokers.map(|broker| broker.cluster.as_str()).collect()
    }

    /// Whether the name server said the same as for `body`.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.body == other.body
    }

    /// Whether nobody can send or pull along it.
    pub(super) fn is_empty(&self) -> bool {
        self.readable.is_empty() && self.writable.is_empty()
    }

    fn queues(
        &self,
        topic: &Arc<str>,
        count: impl Fn(&crate::protocol::request::route::QueueData) -> Option<i32>,
    ) -> Result<Vec<MessageQueue>, DecodeError> {
        let mut queues = Vec::new();
        for data in &self.body.queue_datas {
            let Some(count) = count(data) else { continue };
            let Some((broker_name, _)) = self.brokers.get_key_value(data.broker_name.as_str())
            else {
                continue;
            };
            push_queues(&mut queues, topic, broker_name, count)?;
        }
        Ok(queues)
    }
}

/// The queues of an order configuration: `broker:queues;broker:queues`.
fn ordered(topic: &Arc<str>, conf: &str) -> Result<Vec<MessageQueue>, DecodeError> {
    let mut queues = Vec::new();
    for item in conf.split(';').filter(|item| !item.is_empty()) {
        let parsed = item
            .rsplit_once(':')
            .and_then(|(name, count)| Some((name, count.trim().parse().ok()?)));
        let Some((broker_name, count)) = parsed else {
            return Err(DecodeError::Invalid {
                what: "orderTopicConf",
                offset: 0,
                reason: "not broker:queues;broker:queues",
            });
        };
        push_queues(&mut queues, topic, &broker_name.trim().into(), count)?;
    }
    Ok(queues)
}

fn push_queues(
    queues: &mut Vec<MessageQueue>,
    topic: &Arc<str>,
    broker_name: &Arc<str>,
    count: i32,
) -> Result<(), DecodeError> {
    let room = MAX_QUEUES - queues.len();
    if !usize::try_from(count).is_ok_and(|count| count <= room) {
        return Err(DecodeError::OutOfRange {
            what: "number of queues",
            offset: 0,
            value: i64::from(count),
            min: 0,
            max: room as i64,
        });
    }
    queues.extend(
        (0..count).map(|id| MessageQueue::new(Arc::clone(topic), Arc::clone(broker_name), id)),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::route::{BrokerData, QueueData};

    fn body() -> RouteBody {
        let queue = |name: &str, perm| QueueData {
            broker_name: name.into(),
            read_queue_nums: 2,
            write_queue_nums: 1,
            perm,
            topic_sys_flag: 0,
        };
        let broker = |name: &str, ids: &[i64]| BrokerData {
            cluster: "c".into(),
            broker_name: name.into(),
            broker_addrs: ids.iter().map(|id| (*id, format!("{name}:{id}"))).collect(),
        };
        RouteBody {
            order_topic_conf: None,
            queue_datas: vec![
                queue("b", 6),
                queue("a", 6),
                queue("c", 4),
                queue("d", 6),
                queue("lost", 6),
            ],
            broker_datas: vec![
                broker("b", &[0, 1]),
                broker("a", &[0]),
                broker("c", &[0]),
                broker("d", &[1]),
            ],
        }
    }

    fn names(queues: &[MessageQueue]) -> Vec<String> {
        queues
            .iter()
            .map(|queue| format!("{}{}", queue.broker_name, queue.queue_id))
            .collect()
    }

    #[test]
    fn queues_stand_in_java_s_order_and_only_where_they_can_be_used() {
        let route = Route::new(&"t".into(), body(), 1).unwrap();
        assert_eq!(names(&route.writable), ["a0", "b0"]);
        assert_eq!(route.choices(), route.writable);
        assert_eq!(
            names(&route.readable),
            ["a0", "a1", "b0", "b1", "c0", "c1", "d0", "d1"]
        );
        let ordered = RouteBody {
            order_topic_conf: Some("b:2;a:1;d:1".into()),
            ..body()
        };
        let route = Route::new(&"t".into(), ordered, 1).unwrap();
        assert_eq!(names(&route.writable), ["b0", "b1", "a0"]);
        assert_eq!(names(route.choices()), ["b0", "b1", "a0", "d0"]);
    }

    #[test]
    fn a_broker_that_is_not_there_is_replaced_by_the_next() {
        let route = Route::new(&"t".into(), body(), 1).unwrap();
        let addr = |name, id| {
            route
                .addr(name, id)
                .map(|(addr, id)| (addr.to_string(), id))
        };
        assert_eq!(addr("b", 1), Some(("b:1".into(), 1)));
        assert_eq!(addr("d", 0), Some(("d:1".into(), 1)));
        assert_eq!(addr("b", 7), Some(("b:0".into(), 0)));
        assert_eq!(addr("x", 0), None);
        assert!(route.master("d").is_none() && route.master("a").is_some());
        assert_eq!(
            (route.addrs(true).count(), route.addrs(false).count()),
            (3, 5)
        );
    }

    #[test]
    fn turns_go_on_with_the_next_generation() {
        let first = Route::new(&"t".into(), body(), 1).unwrap();
        assert_eq!((first.next_turn(), first.next_turn()), (0, 1));
        let mut second = Route::new(&"t".into(), body(), 2).unwrap();
        second.take_turns_from(Arc::clone(first.turns()));
        assert_eq!((second.next_turn(), first.next_turn()), (2, 3));
    }

    #[test]
    fn numbers_of_queues_that_cannot_be_are_refused() {
        let mut body = body();
        body.queue_datas[0].write_queue_nums = i32::MAX;
        assert!(Route::new(&"t".into(), body.clone(), 1).is_err());
        body.queue_datas[0].write_queue_nums = -1;
        assert!(Route::new(&"t".into(), body.clone(), 1).is_err());
        // Few bytes must not become many queues by being said often.
        for queue in &mut body.queue_datas {
            (queue.read_queue_nums, queue.write_queue_nums) = (65_535 / 2, 1);
        }
        assert!(Route::new(&"t".into(), body, 1).is_err());
    }
}
