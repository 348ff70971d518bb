//! How the queues of a topic are shared among the members of a group.
//!
//! Knows: the arithmetic. Does not know: where the lists come from, and what happens to the queues.

use std::fmt;

use crate::protocol::message::MessageQueue;

mod average;
mod by_circle;
mod configured;
mod consistent_hash;
mod machine_room;
mod machine_room_nearby;

pub use average::Average;
pub use by_circle::AverageByCircle;
pub use configured::Configured;
pub use consistent_hash::ConsistentHash;
pub use machine_room::MachineRoom;
pub use machine_room_nearby::MachineRoomNearby;

/// Shares the queues of a topic among the members of a group.
///
/// Every member computes its own share from the same two lists, so all members of a group must use the same strategy, and the
/// answer may depend on nothing but what is given.
pub trait AllocateStrategy: fmt::Debug + Send + Sync + 'static {
    /// The strategy's name, as other clients call it.
    fn name(&self) -> &str;

    /// The queues that `member` gets.
    ///
    /// Both lists are sorted and without duplicates, neither is empty, and `member` is one of `members`. Queues in the answer that
    /// are not in `queues` are ignored.
    fn allocate(
        &self,
        member: &str,
        members: &[String],
        queues: &[MessageQueue],
    ) -> Vec<MessageQueue>;

    /// Whether what it computes depends on how topics are called, so that it has to be given the names that all members know: those on
    /// the wire, with the namespace.
    #[doc(hidden)]
    fn needs_wire_names(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn room(name: &str) -> String {
        name.chars().next().map(String::from).unwrap_or_default()
    }

    proptest! {
        #[test]
        fn every_queue_has_one_owner(
            members in proptest::collection::btree_set("[a-c]{1,3}", 1..12),
            queues in proptest::collection::btree_set(("[a-d]{1,2}", 0..9_i32), 1..40),
        ) {
            let members: Vec<_> = members.into_iter().collect();
            let queues: Vec<_> = queues
                .into_iter()
                .map(|(broker, id)| MessageQueue::new("t", broker, id))
                .collect();
            let strategies: [&dyn AllocateStrategy; 4] = [
                &Average,
                &AverageByCircle,
                &ConsistentHash::default(),
                &MachineRoomNearby::new(AverageByCircle, room, room),
            ];
            for strategy in strategies {
                let mut given: Vec<_> = members
                    .iter()
                    .flat_map(|member| strategy.allocate(member, &members, &queues))
                    .collect();
                given.sort_unstable();
                prop_assert_eq!(&given, &queues, "{}", strategy.name());
                prop_assert_eq!(strategy.allocate("stranger", &members, &queues), []);
            }
        }
    }
}
