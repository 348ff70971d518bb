//! Contiguous shares of equal size: Java's `AVG`, which is the default of every client.

use crate::consumer::allocate::AllocateStrategy;
use crate::protocol::message::MessageQueue;

/// Gives every member a contiguous run of queues. Runs differ by at most one queue; the first members have the longer ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Average;

impl AllocateStrategy for Average {
    fn name(&self) -> &str {
        "AVG"
    }

    fn allocate(
        &self,
        member: &str,
        members: &[String],
        queues: &[MessageQueue],
    ) -> Vec<MessageQueue> {
        let Some(index) = members.iter().position(|known| known == member) else {
            return Vec::new();
        };
        let (size, longer) = (queues.len() / members.len(), queues.len() % members.len());
        let start = index * size + index.min(longer);
        let len = size + usize::from(index < longer);
        queues.iter().skip(start).take(len).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(count: usize) -> Vec<String> {
        (0..count)
            .map(|id| format!("10.0.0.{id:03}@DEFAULT"))
            .collect()
    }

    fn queues(count: i32) -> Vec<MessageQueue> {
        (0..count)
            .map(|id| MessageQueue::new("t", "broker-a", id))
            .collect()
    }

    fn shares(member_count: usize, queue_count: i32) -> Vec<Vec<i32>> {
        let (members, queues) = (members(member_count), queues(queue_count));
        let ids = |share: Vec<MessageQueue>| share.iter().map(|queue| queue.queue_id).collect();
        members
            .iter()
            .map(|me| ids(Average.allocate(me, &members, &queues)))
            .collect()
    }

    /// `AllocateMessageQueueAveragely` of Apache's Java client, step by step.
    fn java(index: usize, members: usize, queues: usize) -> Vec<i32> {
        let modulo = queues % members;
        let average = if queues <= members {
            1
        } else if modulo > 0 && index < modulo {
            queues / members + 1
        } else {
            queues / members
        };
        let start = if modulo > 0 && index < modulo {
            index * average
        } else {
            index * average + modulo
        };
        let range = average.min(queues.saturating_sub(start));
        (0..range)
            .map(|at| ((start + at) % queues) as i32)
            .collect()
    }

    #[test]
    fn golden_shares_of_java() {
        assert_eq!(shares(1, 4), [vec![0, 1, 2, 3]]);
        assert_eq!(shares(2, 4), [[0, 1], [2, 3]]);
        assert_eq!(shares(3, 8), [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]);
        assert_eq!(shares(4, 6), [vec![0, 1], vec![2, 3], vec![4], vec![5]]);
        assert_eq!(shares(3, 2), [vec![0], vec![1], vec![]]);
        assert_eq!(
            shares(5, 16),
            [
                vec![0, 1, 2, 3],
                vec![4, 5, 6],
                vec![7, 8, 9],
                vec![10, 11, 12],
                vec![13, 14, 15]
            ]
        );
    }

    #[test]
    fn a_stranger_gets_nothing() {
        assert_eq!(Average.allocate("stranger", &members(2), &queues(4)), []);
    }

    proptest! {
        #[test]
        fn every_share_is_java_s_and_every_queue_has_one_owner(
            member_count in 1_usize..40,
            queue_count in 1_i32..130,
        ) {
            let shares = shares(member_count, queue_count);
            for (index, share) in shares.iter().enumerate() {
                prop_assert_eq!(share, &java(index, member_count, queue_count as usize));
            }
            prop_assert_eq!(shares.concat(), (0..queue_count).collect::<Vec<_>>());
        }
    }
}
