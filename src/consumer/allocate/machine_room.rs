//! The queues of some machine rooms only: Java's `MACHINE_ROOM`.

use std::collections::BTreeSet;

use crate::consumer::allocate::AllocateStrategy;
use crate::protocol::message::MessageQueue;

/// Shares the queues of brokers that stand in certain machine rooms among all members, and leaves the others alone: some other group
/// has to consume those.
///
/// A broker says where it stands by its name, `room@name`; one whose name has no such form stands in no room. Shares differ by at most
/// one queue.
#[derive(Debug, Clone)]
pub struct MachineRoom {
    rooms: BTreeSet<String>,
}

impl MachineRoom {
    /// With the rooms whose brokers are consumed.
    pub fn new<R: Into<String>>(rooms: impl IntoIterator<Item = R>) -> Self {
        Self {
            rooms: rooms.into_iter().map(Into::into).collect(),
        }
    }

    fn is_ours(&self, queue: &MessageQueue) -> bool {
        // As Java splits: what is empty at the end does not count.
        let mut parts = queue.broker_name.trim_end_matches('@').split('@');
        let (room, name, more) = (parts.next(), parts.next(), parts.next());
        name.is_some() && more.is_none() && room.is_some_and(|room| self.rooms.contains(room))
    }
}

impl AllocateStrategy for MachineRoom {
    fn name(&self) -> &str {
        "MACHINE_ROOM"
    }

    /// A run for each member, and what is left over one by one.
    fn allocate(
        &self,
        member: &str,
        members: &[String],
        queues: &[MessageQueue],
    ) -> Vec<MessageQueue> {
        let Some(index) = members.iter().position(|known| known == member) else {
            return Vec::new();
        };
        let ours: Vec<_> = queues.iter().filter(|queue| self.is_ours(queue)).collect();
        let (runs, rest) = ours.split_at(ours.len() - ours.len() % members.len());
        let size = runs.len() / members.len();
        let mine = runs[index * size..][..size].iter().chain(rest.get(index));
        mine.map(|queue| (*queue).clone()).collect()
    }
}
