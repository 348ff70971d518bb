//! Which queue a message goes to. Pure.

use std::sync::Arc;

use crate::message::MessageQueue;
use crate::route::Standing;

/// The brokers that one send had better not use again.
#[derive(Debug, Default)]
pub(super) struct Avoid {
    /// Those that failed, the last one last.
    failed: Vec<Arc<str>>,
    /// Those that have the message and do not answer: a second one would only be a duplicate.
    silent: Vec<Arc<str>>,
}

impl Avoid {
    /// Nothing to avoid.
    pub(super) const fn nothing() -> Self {
        Self {
            failed: Vec::new(),
            silent: Vec::new(),
        }
    }

    pub(super) fn add_failed(&mut self, broker: &Arc<str>) {
        self.failed.push(Arc::clone(broker));
    }

    pub(super) fn add_silent(&mut self, broker: &Arc<str>) {
        self.silent.push(Arc::clone(broker));
    }

    /// Whether a broker other than `broker` could take the message.
    pub(super) fn leaves_other(&self, queues: &[MessageQueue], broker: &str) -> bool {
        let mut brokers = queues.iter().map(|queue| &queue.broker_name);
        brokers.any(|other| **other != *broker && self.allows(other))
    }

    /// Whether any broker could take the message.
    pub(super) fn leaves_any(&self, queues: &[MessageQueue]) -> bool {
        queues.iter().any(|queue| self.allows(&queue.broker_name))
    }

    /// Whether a broker could take the message.
    pub(super) fn allows(&self, broker: &Arc<str>) -> bool {
        !self.failed.contains(broker) && !self.silent.contains(broker)
    }
}

/// The index of the next queue in turn, beginning at `turn` modulo their number.
///
/// Queues of brokers to avoid are passed over, and those of brokers that are set aside if `standing` says which. When no other is
/// left, those of silent brokers and of the one that failed last are; then only those of silent ones; when that leaves none either,
/// the turn decides. `None` only when there is no queue.
pub(super) fn in_turn(
    queues: &[MessageQueue],
    turn: usize,
    avoid: &Avoid,
    standing: Option<&dyn Fn(&str) -> Standing>,
) -> Option<usize> {
    let count = queues.len();
    let from = turn.checked_rem(count)?;
    let first = |wanted: &dyn Fn(&Arc<str>) -> bool| {
        (from..count)
            .chain(0..from)
            .find(|&index| wanted(&queues[index].broker_name))
    };
    if let Some(standing) = standing {
        let best = |least| first(&|broker| avoid.allows(broker) && standing(broker) >= least);
        let good = best(Standing::Available).or_else(|| best(Standing::Reachable));
        if good.is_some() {
            return good;
        }
    }
    let last = avoid.failed.last();
    let spoke = |broker: &Arc<str>| !avoid.silent.contains(broker);
    first(&|broker| avoid.allows(broker))
        .or_else(|| first(&|broker| spoke(broker) && Some(broker) != last))
        .or_else(|| first(&spoke))
        .or(Some(from))
}

/// The index of the queue that messages with a sharding key of this Java hash go to: Java's `SelectMessageQueueByHash`.
///
/// `None` only when there is no queue.
pub(super) fn by_hash(hash: i32, count: usize) -> Option<usize> {
    let count = i64::try_from(count).ok()?;
    let index = i64::from(hash).checked_rem(count)?;
    usize::try_from(index.unsigned_abs()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::message::tags::java_hash;

    fn by_key(key: &str, count: usize) -> Option<usize> {
        by_hash(java_hash(key), count)
    }

    fn queues(brokers: &[(&str, i32)]) -> Vec<MessageQueue> {
        brokers
            .iter()
            .flat_map(|(name, count)| (0..*count).map(|id| MessageQueue::new("t", *name, id)))
            .collect()
    }

    fn avoid(failed: &[&str], silent: &[&str]) -> Avoid {
        let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
        Avoid {
            failed: names(failed),
            silent: names(silent),
        }
    }

    #[test]
    fn every_queue_has_its_turn() {
        let queues = queues(&[("a", 2), ("b", 1)]);
        let nothing = Avoid::nothing();
        let picked: Vec<_> = (5..11)
            .map(|turn| in_turn(&queues, turn, &nothing, None).unwrap())
            .collect();
        assert_eq!(picked, [2, 0, 1, 2, 0, 1]);
        assert_eq!(
            in_turn(&queues, usize::MAX, &nothing, None),
            Some(usize::MAX % 3)
        );
        assert_eq!(in_turn(&[], 1, &nothing, None), None);
    }

    #[test]
    fn brokers_that_failed_are_passed_over() {
        let queues = queues(&[("a", 2), ("b", 2), ("c", 1)]);
        let pick =
            |turn, failed: &[&str]| in_turn(&queues, turn, &avoid(failed, &[]), None).unwrap();
        assert_eq!(pick(0, &["a"]), 2);
        assert_eq!(pick(3, &["b"]), 4);
        assert_eq!(pick(4, &["c", "a"]), 2);
        // All have failed: anything but the last.
        assert_eq!(pick(0, &["c", "b", "a"]), 2);
        assert_eq!(pick(1, &["a", "c", "b"]), 1);
    }

    #[test]
    fn a_silent_broker_is_the_last_resort() {
        let queues = queues(&[("a", 1), ("b", 1)]);
        let pick =
            |failed: &[&str], silent: &[&str]| in_turn(&queues, 0, &avoid(failed, silent), None);
        assert_eq!(pick(&[], &["a"]), Some(1));
        assert_eq!(pick(&["b"], &["a"]), Some(1));
        assert_eq!(pick(&[], &["b", "a"]), Some(0));
    }

    #[test]
    fn a_broker_that_is_set_aside_is_used_when_no_better_one_is_left() {
        let queues = queues(&[("a", 1), ("b", 1), ("c", 1)]);
        let pick = |turn, failed: &[&str], standings: [Standing; 3]| {
            let standing = |broker: &str| match broker {
                "a" => standings[0],
                "b" => standings[1],
                _ => standings[2],
            };
            in_turn(&queues, turn, &avoid(failed, &[]), Some(&standing)).unwrap()
        };
        let (bad, aside, good) = (
            Standing::Unreachable,
            Standing::Reachable,
            Standing::Available,
        );
        assert_eq!(pick(0, &[], [good, good, good]), 0);
        assert_eq!(pick(0, &[], [bad, aside, good]), 2);
        assert_eq!(pick(0, &[], [bad, aside, aside]), 1);
        assert_eq!(pick(2, &[], [bad, aside, aside]), 2);
        assert_eq!(pick(0, &["c"], [bad, aside, good]), 1);
        // What is left is taken as without the table.
        assert_eq!(pick(0, &["b"], [bad, aside, bad]), 0);
        assert_eq!(pick(1, &[], [bad, bad, bad]), 1);
    }

    #[test]
    fn the_only_broker_is_taken_again() {
        let queues = queues(&[("a", 2)]);
        assert_eq!(in_turn(&queues, 1, &avoid(&["a"], &[]), None), Some(1));
    }

    #[test]
    fn another_broker_is_one_that_has_not_failed() {
        let queues = queues(&[("a", 2), ("b", 2)]);
        assert!(Avoid::nothing().leaves_other(&queues, "a"));
        assert!(!avoid(&["b"], &[]).leaves_other(&queues, "a"));
        assert!(!avoid(&[], &["b"]).leaves_other(&queues, "a"));
        assert!(!Avoid::nothing().leaves_other(&queues[..2], "a"));
        assert!(avoid(&["b"], &[]).leaves_other(&queues, "gone"));
        assert!(avoid(&["b"], &[]).leaves_any(&queues));
        assert!(!avoid(&["b"], &["a"]).leaves_any(&queues));
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
        fn what_is_picked_is_there_and_the_best_there_is(
            counts in proptest::collection::vec(0..4_i32, 0..4),
            turn in any::<usize>(),
            failed in proptest::sample::subsequence(&["a", "b", "c", "d"][..], 0..4),
            silent in proptest::sample::subsequence(&["a", "b", "c", "d"][..], 0..4),
        ) {
            let queues = queues(&["a", "b", "c", "d"].into_iter().zip(counts).collect::<Vec<_>>());
            let avoid = avoid(&failed, &silent);
            let worth = |index: usize| {
                let broker = &*queues[index].broker_name;
                let spoke = !silent.contains(&broker);
                (spoke, spoke && !failed.contains(&broker), spoke && failed.last() != Some(&broker))
            };
            let picked = in_turn(&queues, turn, &avoid, None);
            prop_assert_eq!(picked.map(worth), (0..queues.len()).map(worth).max());
        }

        #[test]
        fn a_key_always_finds_the_same_queue(key in ".{0,12}", count in 1..100_usize) {
            let index = by_key(&key, count).unwrap();
            prop_assert!(index < count);
            prop_assert_eq!(by_key(&key, count), Some(index));
        }
    }
}
