//! Queues to members in the same machine room: Java's `MACHINE_ROOM_NEARBY`.

use std::collections::BTreeMap;
use std::fmt;

use crate::consumer::allocate::AllocateStrategy;
use crate::protocol::message::MessageQueue;

/// Shares the queues in a machine room among the members in the same room, and the queues in a room without members among all, each
/// as another strategy does it.
///
/// ```
/// use rocketmq_sdk::{Average, MachineRoomNearby};
///
/// let room = |name: &str| name.split('-').next().unwrap_or_default().to_owned();
/// let strategy = MachineRoomNearby::new(Average, room, room);
/// # let _ = strategy;
/// ```
pub struct MachineRoomNearby {
    name: String,
    within: Box<dyn AllocateStrategy>,
    broker_room: Box<Room>,
    member_room: Box<Room>,
}

type Room = dyn Fn(&str) -> String + Send + Sync;

impl MachineRoomNearby {
    /// With the strategy within a room, and what tells the rooms: of a broker by its name, and of a member by its client id
    /// (`ip@instance#random`). They have to give all members the same answers. An empty name is a room as any other; Java's clients
    /// stop sharing there.
    pub fn new(
        within: impl AllocateStrategy,
        broker_room: impl Fn(&str) -> String + Send + Sync + 'static,
        member_room: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: format!("MACHINE_ROOM_NEARBY-{}", within.name()),
            within: Box::new(within),
            broker_room: Box::new(broker_room),
            member_room: Box::new(member_room),
        }
    }
}

impl AllocateStrategy for MachineRoomNearby {
    fn name(&self) -> &str {
        &self.name
    }

    fn allocate(
        &self,
        member: &str,
        members: &[String],
        queues: &[MessageQueue],
    ) -> Vec<MessageQueue> {
        let mut neighbours = BTreeMap::<_, Vec<String>>::new();
        for known in members {
            let room = (self.member_room)(known);
            neighbours.entry(room).or_default().push(known.clone());
        }
        let mut rooms = BTreeMap::<_, Vec<MessageQueue>>::new();
        for queue in queues {
            let room = (self.broker_room)(&queue.broker_name);
            rooms.entry(room).or_default().push(queue.clone());
        }
        let shared = rooms
            .iter()
            .map(|(room, queues)| match neighbours.get(room) {
                Some(here) if here.iter().any(|known| known == member) => {
                    self.within.allocate(member, here, queues)
                }
                Some(_) => Vec::new(),
                None => self.within.allocate(member, members, queues),
            });
        shared.flatten().collect()
    }

    fn needs_wire_names(&self) -> bool {
        self.within.needs_wire_names()
    }
}

impl fmt::Debug for MachineRoomNearby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineRoomNearby")
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::allocate::Average;

    #[test]
    fn what_has_no_room_is_in_one_without_a_name() {
        let room = |name: &str| name.split_once('-').map_or("", |(room, _)| room).to_owned();
        let strategy = MachineRoomNearby::new(Average, room, room);
        let queue = |broker: &str| MessageQueue::new("t", broker, 0);
        let queues = [queue("a"), queue("east-a"), queue("west-a")];
        let members = ["1".to_owned(), "east-2".to_owned()];
        assert_eq!(
            strategy.allocate("1", &members, &queues),
            [queue("a"), queue("west-a")]
        );
        assert_eq!(
            strategy.allocate("east-2", &members, &queues),
            [queue("east-a")]
        );
    }
}
