//! Whose queues are whose: decisions only. Pure.
//!
//! Knows: what a name server and a broker said of a topic and a group. Does not know: when to ask them, and how a queue is given up.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::config::Namespace;
use crate::consumer::allocate::AllocateStrategy;
use crate::consumer::start_offset::Origin;
use crate::error::drop_quietly;
use crate::protocol::message::MessageQueue;

/// This member's share of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Share {
    Queues(BTreeSet<MessageQueue>),
    /// The broker does not count us to the group, so the others share everything.
    Stranger,
    /// The strategy panicked.
    Unknown,
}

/// What is given up and what is taken over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Change {
    pub(super) revoked: Vec<MessageQueue>,
    pub(super) assigned: Vec<MessageQueue>,
}

/// Computes the share of `me` as every other member does: from sorted lists without duplicates.
pub(super) fn share(
    strategy: &dyn AllocateStrategy,
    me: &str,
    mut members: Vec<String>,
    queues: &[MessageQueue],
) -> Share {
    // Java compares strings by UTF-16 units, and all members must have one order.
    members.sort_unstable_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
    members.dedup();
    if !members.iter().any(|member| member == me) {
        return Share::Stranger;
    }
    let known: BTreeSet<MessageQueue> = queues.iter().cloned().collect();
    if known.is_empty() {
        return Share::Queues(known);
    }
    let queues: Vec<MessageQueue> = known.iter().cloned().collect();
    let allocated = catch_unwind(AssertUnwindSafe(|| {
        strategy.allocate(me, &members, &queues)
    }));
    match allocated {
        Ok(mine) => Share::Queues(
            mine.into_iter()
                .filter(|queue| known.contains(queue))
                .collect(),
        ),
        Err(panic) => {
            drop_quietly(panic);
            Share::Unknown
        }
    }
}

/// The same where names have a namespace on the wire, for strategies to which they matter.
pub(super) fn share_in(
    namespace: &Namespace,
    strategy: &dyn AllocateStrategy,
    me: &str,
    members: Vec<String>,
    queues: &[MessageQueue],
) -> Share {
    if namespace.name().is_none() || !strategy.needs_wire_names() {
        return share(strategy, me, members, queues);
    }
    let called = |queue: &MessageQueue, topic: Cow<'_, str>| MessageQueue {
        topic: topic.into(),
        ..queue.clone()
    };
    let outside = queues.iter();
    let outside: Vec<_> = outside
        .map(|queue| called(queue, namespace.wrap(&queue.topic)))
        .collect();
    match share(strategy, me, members, &outside) {
        Share::Queues(mine) => {
            let mine = mine.iter();
            let mine = mine.map(|queue| called(queue, namespace.unwrap(&queue.topic)));
            Share::Queues(mine.collect())
        }
        other => other,
    }
}

/// What has to change for the queues of `topic` among `owned` to become `wanted`. Queues that stay are left alone.
pub(super) fn diff<T>(
    owned: &BTreeMap<MessageQueue, T>,
    topic: &str,
    wanted: &BTreeSet<MessageQueue>,
) -> Change {
    let mine = owned.keys().filter(|queue| *queue.topic == *topic);
    Change {
        revoked: mine
            .filter(|queue| !wanted.contains(*queue))
            .cloned()
            .collect(),
        assigned: wanted
            .iter()
            .filter(|queue| !owned.contains_key(*queue))
            .cloned()
            .collect(),
    }
}

/// The queues that were ever seen while this member ran, to tell those that were there from those that came later.
#[derive(Debug, Default)]
pub(in crate::consumer) struct Seen {
    topics: HashMap<Arc<str>, HashMap<MessageQueue, Origin>>,
}

impl Seen {
    /// Notes what a name server said: the topic's queues, none if it does not know the topic. What the first answer names was
    /// there before; what only a later one names was added.
    pub(super) fn note(&mut self, topic: &Arc<str>, queues: &[MessageQueue]) {
        let origin = match self.topics.get(topic) {
            None => Origin::Known,
            Some(_) => Origin::AddedLater,
        };
        let seen = self.topics.entry(Arc::clone(topic)).or_default();
        for queue in queues {
            if !seen.contains_key(queue) {
                seen.insert(queue.clone(), origin);
            }
        }
    }

    pub(in crate::consumer) fn origin(&self, queue: &MessageQueue) -> Origin {
        let seen = self
            .topics
            .get(&queue.topic)
            .and_then(|seen| seen.get(queue));
        seen.copied().unwrap_or(Origin::Known)
    }

    /// Forgets every topic that is not one of these, and says which.
    pub(super) fn retain(&mut self, topics: &[Arc<str>]) -> Vec<Arc<str>> {
        let forgotten: Vec<_> = self
            .topics
            .keys()
            .filter(|topic| !topics.contains(topic))
            .cloned()
            .collect();
        self.topics.retain(|topic, _| topics.contains(topic));
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::consumer::allocate::{Average, ConsistentHash, MachineRoomNearby};

    fn queue(topic: &str, id: i32) -> MessageQueue {
        MessageQueue::new(topic, "b", id)
    }

    fn queues(ids: impl IntoIterator<Item = i32>) -> Vec<MessageQueue> {
        ids.into_iter().map(|id| queue("t", id)).collect()
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn lists_are_sorted_and_without_duplicates_before_they_are_shared() {
        let members = strings(&["b", "a", "b", "a"]);
        let mine = share(&Average, "b", members, &queues([3, 0, 1, 2, 0]));
        assert_eq!(mine, Share::Queues(queues([2, 3]).into_iter().collect()));
    }

    #[test]
    fn members_stand_in_java_s_order() {
        // By UTF-16 units a surrogate pair comes before U+FF5E; by code points it does not.
        let members = strings(&["\u{FF5E}", "😀"]);
        let mine = share(&Average, "😀", members, &queues(0..2));
        assert_eq!(mine, Share::Queues(queues([0]).into_iter().collect()));
    }

    #[test]
    fn whoever_is_not_in_the_list_is_a_stranger() {
        assert_eq!(
            share(&Average, "c", strings(&["a", "b"]), &queues(0..4)),
            Share::Stranger
        );
        assert_eq!(
            share(&Average, "c", Vec::new(), &queues(0..4)),
            Share::Stranger
        );
    }

    #[test]
    fn a_topic_without_queues_has_nothing_to_share() {
        assert_eq!(
            share(&Average, "a", strings(&["a"]), &[]),
            Share::Queues(BTreeSet::new())
        );
    }

    #[derive(Debug)]
    struct Broken;

    impl AllocateStrategy for Broken {
        fn name(&self) -> &str {
            "BROKEN"
        }

        fn allocate(&self, me: &str, _: &[String], queues: &[MessageQueue]) -> Vec<MessageQueue> {
            assert_eq!(me, "a", "on purpose");
            vec![queue("other", 0), queues[0].clone(), queues[0].clone()]
        }
    }

    #[test]
    fn a_strategy_may_be_wrong_or_panic() {
        let members = strings(&["a", "b"]);
        let mine = share(&Broken, "a", members.clone(), &queues(0..2));
        assert_eq!(mine, Share::Queues(queues([0]).into_iter().collect()));
        assert_eq!(share(&Broken, "b", members, &queues(0..2)), Share::Unknown);
    }

    #[test]
    fn hashes_are_those_of_the_names_that_java_s_members_see() {
        let (members, bare) = (strings(&["a", "b", "c"]), queues(0..32));
        let wrapped: Vec<_> = (0..32).map(|id| queue("ns%t", id)).collect();
        let room = |_: &str| String::new();
        let nearby = MachineRoomNearby::new(ConsistentHash::default(), room, room);
        let namespace = Namespace::new(Some("ns"));
        for strategy in [&ConsistentHash::default() as &dyn AllocateStrategy, &nearby] {
            let theirs = strategy.allocate("a", &members, &wrapped).into_iter();
            let theirs = theirs.map(|mine| queue("t", mine.queue_id)).collect();
            let ours = share_in(&namespace, strategy, "a", members.clone(), &bare);
            assert_eq!(ours, Share::Queues(theirs));
            assert_ne!(ours, share(strategy, "a", members.clone(), &bare));
        }
        let average = share_in(&namespace, &Average, "a", members.clone(), &bare);
        assert_eq!(average, share(&Average, "a", members, &bare));
    }

    #[test]
    fn only_what_differs_changes_and_only_in_the_topic() {
        let owned: BTreeMap<_, _> = [queue("t", 0), queue("t", 1), queue("u", 7)]
            .map(|queue| (queue, ()))
            .into();
        let change = diff(&owned, "t", &queues([1, 2]).into_iter().collect());
        assert_eq!(
            change,
            Change {
                revoked: queues([0]),
                assigned: queues([2])
            }
        );
        assert_eq!(diff(&owned, "u", &BTreeSet::new()).revoked, [queue("u", 7)]);
        assert_eq!(
            diff(&owned, "t", &queues([0, 1]).into_iter().collect()),
            Change::default()
        );
    }

    #[test]
    fn only_queues_that_a_later_answer_names_were_added() {
        let topic: Arc<str> = "t".into();
        let mut seen = Seen::default();
        seen.note(&topic, &queues(0..2));
        seen.note(&topic, &queues(0..3));
        // A broker that is gone for a while brings no new queues when it comes back.
        seen.note(&topic, &[]);
        seen.note(&topic, &queues(0..3));
        let origin = |seen: &Seen, id| seen.origin(&queue("t", id));
        assert_eq!(origin(&seen, 1), Origin::Known);
        assert_eq!(origin(&seen, 2), Origin::AddedLater);
        assert!(seen.retain(&["t".into(), "u".into()]).is_empty());
        assert_eq!(seen.retain(&["u".into()]), ["t".into()]);
        seen.note(&topic, &queues(0..3));
        assert_eq!(origin(&seen, 2), Origin::Known);
    }

    #[test]
    fn a_topic_that_did_not_exist_at_first_is_all_added() {
        let topic: Arc<str> = "t".into();
        let mut seen = Seen::default();
        seen.note(&topic, &[]);
        seen.note(&topic, &queues(0..1));
        assert_eq!(seen.origin(&queue("t", 0)), Origin::AddedLater);
    }

    proptest! {
        #[test]
        fn a_change_leads_from_what_is_owned_to_what_is_wanted(
            owned in proptest::collection::btree_set(0_i32..20, 0..12),
            wanted in proptest::collection::btree_set(0_i32..20, 0..12),
        ) {
            let mut map: BTreeMap<_, _> =
                queues(owned).into_iter().chain([queue("u", 0)]).map(|queue| (queue, ())).collect();
            let wanted: BTreeSet<_> = queues(wanted).into_iter().collect();
            let change = diff(&map, "t", &wanted);
            for queue in &change.revoked {
                prop_assert!(map.remove(queue).is_some());
            }
            for queue in change.assigned {
                prop_assert!(map.insert(queue, ()).is_none());
            }
            prop_assert!(map.remove(&queue("u", 0)).is_some());
            prop_assert_eq!(map.into_keys().collect::<BTreeSet<_>>(), wanted);
        }

        #[test]
        fn every_queue_has_exactly_one_owner(
            members in proptest::collection::vec("[a-e]{1,2}", 1..12),
            count in 0_i32..40,
        ) {
            let mut owners = BTreeSet::new();
            let distinct: BTreeSet<_> = members.iter().cloned().collect();
            for me in &distinct {
                let Share::Queues(mine) = share(&Average, me, members.clone(), &queues(0..count))
                else {
                    return Err(TestCaseError::fail("a member is no stranger"));
                };
                for queue in mine {
                    prop_assert!(owners.insert(queue));
                }
            }
            prop_assert_eq!(owners.len(), count as usize);
        }
    }
}
