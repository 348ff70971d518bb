//! Which queue a message goes to. Pure.

use std::sync::Arc;

use crate::message::MessageQueue;
use crate::protocol::message::tags::java_hash;

/// The index of the next queue in turn, beginning at `turn` modulo their number.
///
/// Queues of brokers in `failed` are passed over. When no other is left, at least those of the broker that failed last are; when
/// that leaves none either, the turn decides. `None` only when there is no queue.
pub(super) fn in_turn(queues: &[MessageQueue], turn: usize, failed: &[Arc<str>]) -> Option<usize> {
    let count = queues.len();
    let from = turn.checked_rem(count)?;
    let first = |wanted: &dyn Fn(&Arc<str>) -> bool| {
        (from..count)
            .chain(0..from)
            .find(|&index| wanted(&queues[index].broker_name))
    };
    let last = failed.last();
    first(&|broker| !failed.contains(broker))
        .or_else(|| first(&|broker| Some(broker) != last))
        .or(Some(from))
}

/// Whether a broker could take the message that is neither `broker` nor has failed.
pub(super) fn has_other(queues: &[MessageQueue], broker: &str, failed: &[Arc<str>]) -> bool {
    queues
        .iter()
        .map(|queue| &queue.broker_name)
        .any(|other| **other != *broker && !failed.contains(other))
}

/// The index of the queue that messages with this sharding key go to: Java's `SelectMessageQueueByHash`.
///
/// `None` only when there is no queue.
pub(super) fn by_key(key: &str, count: usize) -> Option<usize> {
    let hash = i64::from(java_hash(key));
    let count = i64::try_from(count).ok()?;
    usize::try_from(hash.checked_rem(count)?.unsigned_abs()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn queues(brokers: &[(&str, i32)]) -> Vec<MessageQueue> {
        brokers
            .iter()
            .flat_map(|(name, count)| (0..*count).map(|id| MessageQueue::new("t", *name, id)))
            .collect()
    }

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn every_queue_has_its_turn() {
        let queues = queues(&[("a", 2), ("b", 1)]);
        let picked: Vec<_> = (5..11)
            .map(|turn| in_turn(&queues, turn, &[]).unwrap())
            .collect();
        assert_eq!(picked, [2, 0, 1, 2, 0, 1]);
        assert_eq!(in_turn(&queues, usize::MAX, &[]), Some(usize::MAX % 3));
        assert_eq!(in_turn(&[], 1, &[]), None);
    }

    #[test]
    fn brokers_that_failed_are_passed_over() {
        let queues = queues(&[("a", 2), ("b", 2), ("c", 1)]);
        let pick = |turn, failed: &[&str]| in_turn(&queues, turn, &names(failed)).unwrap();
        assert_eq!(pick(0, &["a"]), 2);
        assert_eq!(pick(3, &["b"]), 4);
        assert_eq!(pick(4, &["c", "a"]), 2);
        // All have failed: anything but the last.
        assert_eq!(pick(0, &["c", "b", "a"]), 2);
        assert_eq!(pick(1, &["a", "c", "b"]), 1);
    }

    #[test]
    fn the_only_broker_is_taken_again() {
        let queues = queues(&[("a", 2)]);
        assert_eq!(in_turn(&queues, 1, &names(&["a"])), Some(1));
    }

    #[test]
    fn another_broker_is_one_that_has_not_failed() {
        let queues = queues(&[("a", 2), ("b", 2)]);
        assert!(has_other(&queues, "a", &[]));
        assert!(!has_other(&queues, "a", &names(&["b"])));
        assert!(!has_other(&queues[..2], "a", &[]));
        assert!(has_other(&queues, "gone", &names(&["b"])));
    }

    #[test]
    fn a_sharding_key_goes_where_java_sends_it() {
        // By Java: "order-1".hashCode() is -1207111310, "hello" 99162322, "polygenelubricants" Integer.MIN_VALUE.
        assert_eq!(by_key("order-1", 4), Some(2));
        assert_eq!(by_key("hello", 8), Some(2));
        assert_eq!(by_key("polygenelubricants", 7), Some(2));
        assert_eq!(by_key("", 3), Some(0));
        assert_eq!(by_key("x", 0), None);
    }

    proptest! {
        #[test]
        fn what_is_picked_is_there_and_has_not_failed_where_that_is_possible(
            counts in proptest::collection::vec(0..4_i32, 0..4),
            turn in any::<usize>(),
            failed in proptest::collection::vec(0..4_usize, 0..4),
        ) {
            let all = ["a", "b", "c", "d"];
            let queues = queues(&all.into_iter().zip(counts).collect::<Vec<_>>());
            let failed: Vec<Arc<str>> = failed.iter().map(|index| all[*index].into()).collect();
            let picked = in_turn(&queues, turn, &failed);
            prop_assert_eq!(picked.is_some(), !queues.is_empty());
            if let Some(picked) = picked {
                let possible = queues.iter().any(|queue| !failed.contains(&queue.broker_name));
                prop_assert_eq!(possible, !failed.contains(&queues[picked].broker_name));
            }
        }

        #[test]
        fn a_key_always_finds_the_same_queue(key in ".{0,12}", count in 1..100_usize) {
            let index = by_key(&key, count).unwrap();
            prop_assert!(index < count);
            prop_assert_eq!(by_key(&key, count), Some(index));
        }
    }
}
