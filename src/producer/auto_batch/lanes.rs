//! Which messages wait behind which batch, and which of them go next. Pure.
//!
//! A lane is what may go together: the messages of a topic that are for one queue, or those that may go to any. It is there while
//! something of it is on its way that others wait for, and what comes in that time waits in it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::message::MessageQueue;

/// The most messages in one batch: a broker answers with an id for each.
const MOST: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// To any queue of this topic.
    Any(Arc<str>),
    Queue(MessageQueue),
}

/// What decides how many messages go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight {
    /// What it adds to a batch.
    pub(super) bytes: usize,
    /// It does not go with others.
    pub(super) alone: bool,
    /// Only what agrees in this goes together.
    pub(super) wait_store_ok: bool,
}

/// Messages in the order in which they came.
type Waiting<T> = BTreeMap<u64, (Weight, T)>;

/// The messages that wait.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    lanes: HashMap<Lane, Waiting<T>>,
    /// Messages with a key, by topic, whose queues are looked up.
    unplaced: HashMap<Arc<str>, Waiting<T>>,
    /// How many have come.
    count: u64,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
            unplaced: HashMap::new(),
            count: 0,
        }
    }
}

impl<T> Lanes<T> {
    /// The place of a message that comes: behind all others.
    pub(super) const fn place(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Lets a message wait in its lane; gives it back where nothing is on its way: then it goes now.
    pub(super) fn enter(
        &mut self,
        lane: &Lane,
        place: u64,
        weight: Weight,
        message: T,
    ) -> Option<T> {
        if let Some(waiting) = self.lanes.get_mut(lane) {
            waiting.insert(place, (weight, message));
            return None;
        }
        self.lanes.insert(lane.clone(), Waiting::new());
        Some(message)
    }

    /// What goes next in a lane of which nothing is on its way any more: as many as came first and go together, at most `most` bytes.
    /// None ends the lane.
    pub(super) fn next(&mut self, lane: &Lane, most: usize) -> Vec<T> {
        let Some(waiting) = self.lanes.get_mut(lane) else {
            return Vec::new();
        };
        let Some((_, (first, message))) = waiting.pop_first() else {
            self.lanes.remove(lane);
            return Vec::new();
        };
        let (mut together, mut bytes) = (vec![message], first.bytes);
        while !first.alone
            && together.len() < MOST
            && let Some(next) = waiting.first_entry()
        {
            let weight = next.get().0;
            bytes += weight.bytes;
            if weight.alone || weight.wait_store_ok != first.wait_store_ok || bytes > most {
                break;
            }
            together.push(next.remove().1);
        }
        together
    }

    /// Whether messages of a topic wait until its queues are known. Others with a key wait behind them.
    pub(super) fn has_unplaced(&self, topic: &str) -> bool {
        self.unplaced.contains_key(topic)
    }

    /// Lets a message wait until the queues of its topic are known. True when it is the first.
    pub(super) fn enter_unplaced(
        &mut self,
        topic: &Arc<str>,
        place: u64,
        weight: Weight,
        message: T,
    ) -> bool {
        let first = !self.has_unplaced(topic);
        let waiting = self.unplaced.entry(Arc::clone(topic)).or_default();
        waiting.insert(place, (weight, message));
        first
    }

    /// Takes what waits for the queues of a topic.
    pub(super) fn take_unplaced(&mut self, topic: &str) -> Waiting<T> {
        self.unplaced.remove(topic).unwrap_or_default()
    }

    /// Takes back what waits at this place, unless it has gone already.
    pub(super) fn leave(&mut self, place: u64) -> Option<T> {
        let mut all = self.lanes.values_mut().chain(self.unplaced.values_mut());
        let found = all.find_map(|waiting| waiting.remove(&place));
        found.map(|(_, message)| message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Weight = Weight {
        bytes: 10,
        alone: false,
        wait_store_ok: true,
    };

    fn free() -> Lane {
        Lane::Any("t".into())
    }

    /// Lets messages wait behind one that is on its way.
    fn behind(loads: &[Weight]) -> Lanes<usize> {
        let mut lanes = Lanes::default();
        let place = lanes.place();
        assert_eq!(lanes.enter(&free(), place, PLAIN, 0), Some(0));
        for (at, load) in (1..).zip(loads) {
            let place = lanes.place();
            assert_eq!(lanes.enter(&free(), place, *load, at), None);
        }
        lanes
    }

    #[test]
    fn what_comes_behind_another_goes_together_when_that_is_done() {
        let mut lanes = behind(&[PLAIN; 3]);
        let queue = Lane::Queue(MessageQueue::new("t", "a", 0));
        let place = lanes.place();
        assert_eq!(
            lanes.enter(&queue, place, PLAIN, 9),
            Some(9),
            "another lane"
        );
        assert_eq!(lanes.next(&free(), 100), [1, 2, 3]);
        assert!(lanes.next(&free(), 100).is_empty() && lanes.next(&free(), 100).is_empty());
        // Nothing is left of the lane: the next one goes at once.
        let place = lanes.place();
        assert_eq!(lanes.enter(&free(), place, PLAIN, 7), Some(7));
    }

    #[test]
    fn what_cannot_go_with_others_goes_in_its_turn() {
        let alone = Weight {
            alone: true,
            ..PLAIN
        };
        let unsafe_one = Weight {
            wait_store_ok: false,
            ..PLAIN
        };
        let large = Weight { bytes: 95, ..PLAIN };
        let mut lanes = behind(&[PLAIN, alone, unsafe_one, unsafe_one, PLAIN, large]);
        let turns: Vec<_> = (0..5).map(|_| lanes.next(&free(), 100)).collect();
        assert_eq!(turns, [vec![1], vec![2], vec![3, 4], vec![5], vec![6]]);
        assert!(lanes.next(&free(), 100).is_empty());
    }

    #[test]
    fn who_leaves_is_not_waited_for() {
        let mut lanes = behind(&[PLAIN; 3]);
        assert_eq!(
            [3, 3, 1].map(|place| lanes.leave(place)),
            [Some(2), None, None]
        );
        assert_eq!(lanes.next(&free(), 100), [1, 3]);
        assert_eq!(lanes.leave(2), None, "it has gone");
    }

    #[test]
    fn what_waits_for_its_queues_keeps_its_place() {
        let mut lanes = Lanes::default();
        let topic: Arc<str> = "t".into();
        let (one, two, three) = (lanes.place(), lanes.place(), lanes.place());
        assert!(lanes.enter_unplaced(&topic, one, PLAIN, 1) && lanes.has_unplaced("t"));
        assert!(!lanes.enter_unplaced(&topic, two, PLAIN, 2));
        assert_eq!(lanes.enter(&free(), three, PLAIN, 3), Some(3));
        assert_eq!(lanes.leave(one), Some(1));
        for (place, (weight, message)) in lanes.take_unplaced("t") {
            assert_eq!(lanes.enter(&free(), place, weight, message), None);
        }
        assert!(!lanes.has_unplaced("t"));
        assert_eq!(lanes.next(&free(), 100), [2]);
    }

    proptest! {
        #[test]
        fn everything_goes_once_in_its_order_and_within_the_limits(
            loads in proptest::collection::vec((1..60_usize, any::<bool>(), any::<bool>()), 0..40),
        ) {
            let loads: Vec<_> = loads
                .into_iter()
                .map(|(bytes, alone, wait_store_ok)| Weight { bytes, alone, wait_store_ok })
                .collect();
            let mut lanes = behind(&loads);
            let mut gone = Vec::new();
            loop {
                let together = lanes.next(&free(), 50);
                if together.is_empty() {
                    break;
                }
                let of = |at: &usize| loads[at - 1];
                let first = of(&together[0]);
                let bytes: usize = together.iter().map(|at| of(at).bytes).sum();
                prop_assert!(together.len() == 1 || bytes <= 50);
                prop_assert!(together.len() == 1 || together.iter().all(|at| !of(at).alone));
                prop_assert!(together.iter().all(|at| of(at).wait_store_ok == first.wait_store_ok));
                gone.extend(together);
            }
            prop_assert_eq!(gone, (1..=loads.len()).collect::<Vec<_>>());
        }
    }
}
