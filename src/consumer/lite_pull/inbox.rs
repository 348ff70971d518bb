//! Which queues have something for an application that polls, and which ones still have something out there.
//!
//! Knows: when messages are handed out, and when they are done with. Does not know: where they come from, and who commits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::consumer::assigned::Assigned;
use crate::consumer::body;
use crate::consumer::group::{Group, Sink};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{MAX_INFLATED, MessageExt};

/// The queues of one consumer, as polls see them.
pub(super) struct Inbox {
    state: Mutex<State>,
    /// A queue stands in the list.
    arrived: Notify,
    /// Whether a poll says that what was handed out before is done with.
    auto_commit: bool,
}

#[derive(Default)]
struct State {
    /// Each queue stands here once at most.
    ready: VecDeque<Arc<Assigned>>,
    /// Those of which something was handed out that may not be done with.
    out: Vec<Arc<Assigned>>,
}

impl Sink for Inbox {
    fn ready(self: Arc<Self>, _: &Arc<Group>, queue: Arc<Assigned>) {
        self.offer(queue);
    }
}

impl Inbox {
    pub(super) fn new(auto_commit: bool) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            arrived: Notify::new(),
            auto_commit,
        })
    }

    /// Hands out up to `max` messages of one queue. None when nothing came in time.
    ///
    /// # Errors
    /// The member leaves its group; or a message cannot be read, and nothing else came in time.
    pub(super) async fn poll(
        &self,
        group: &Group,
        max: usize,
        patience: Duration,
    ) -> Result<Vec<MessageExt>> {
        if self.auto_commit {
            let _ = self.confirm();
        }
        let mut unreadable = None;
        let arrival = async {
            loop {
                if group.is_leaving() {
                    let closed = Error::new(ErrorKind::Closed, "poll");
                    return Err(closed.target(format!("group {}", group.name())));
                }
                unreadable = None;
                if let Some(messages) = self.take(max, &mut unreadable) {
                    return Ok(messages);
                }
                tokio::select! {
                    () = self.arrived.notified() => {}
                    () = group.left() => {}
                }
            }
        };
        match timeout(patience, arrival).await {
            Ok(polled) => polled,
            Err(_) => unreadable.map_or_else(|| Ok(Vec::new()), Err),
        }
    }

    /// Everything that was handed out is done with. The queues that it was taken from.
    pub(super) fn confirm(&self) -> Vec<Arc<Assigned>> {
        let mut state = self.state.lock();
        let done = std::mem::take(&mut state.out);
        done.iter().for_each(|queue| queue.confirm());
        done
    }

    fn offer(&self, queue: Arc<Assigned>) {
        self.state.lock().ready.push_back(queue);
        self.arrived.notify_one();
    }

    /// Hands out messages of the first queue that has any which can be read.
    fn take(&self, max: usize, unreadable: &mut Option<Error>) -> Option<Vec<MessageExt>> {
        let offered = self.state.lock().ready.len();
        for _ in 0..offered {
            let queue = self.state.lock().ready.pop_front()?;
            match self.take_from(&queue, max) {
                Ok(messages) if messages.is_empty() => {}
                Ok(messages) => {
                    // However many queues came while nobody waited, one waiter hears of it: who takes wakes the next.
                    if !self.state.lock().ready.is_empty() {
                        self.arrived.notify_one();
                    }
                    return Some(messages);
                }
                Err(error) => {
                    *unreadable = Some(error);
                    // Others come first the next time, and this poll asks each queue once.
                    self.state.lock().ready.push_back(queue);
                }
            }
        }
        None
    }

    /// Hands out messages of a queue that was taken from the list. None when another member gets it.
    fn take_from(&self, queue: &Arc<Assigned>, max: usize) -> Result<Vec<MessageExt>> {
        let mut messages = queue.peek(max);
        if let Some(error) = open(&mut messages) {
            return Err(error);
        }
        // Confirmed is what was handed out before, and nothing that is being handed out.
        let mut state = self.state.lock();
        let Some(handed) = queue.hand_out(messages.len(), Instant::now()) else {
            return Ok(Vec::new());
        };
        if handed.is_first && !messages.is_empty() {
            state
                .out
                .retain(|other| !other.is_gone() && !Arc::ptr_eq(other, queue));
            state.out.push(Arc::clone(queue));
        }
        drop(state);
        if handed.more {
            self.offer(Arc::clone(queue));
        }
        Ok(messages)
    }
}

/// Makes the bodies readable, and cuts the messages off of which that cannot be done, or which make more than a limit of all
/// together. An error when that is the first one.
fn open(messages: &mut Vec<MessageExt>) -> Option<Error> {
    let mut left = MAX_INFLATED;
    for at in 0..messages.len() {
        match body::open(&mut messages[at], left) {
            Ok(grown) => left = left.saturating_sub(grown),
            Err(error) if at == 0 => {
                let (queue, offset) = (messages[0].queue(), messages[0].queue_offset());
                let unreadable = Error::new(ErrorKind::Protocol, "poll")
                    .topic_of(&queue.topic)
                    .target(queue.within_topic())
                    .detail(format!("the message at offset {offset} cannot be read"));
                return Some(unreadable.caused_by(error));
            }
            Err(_) => {
                messages.truncate(at);
                break;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::client::Budget;
    use crate::consumer::assigned::Epoch;
    use crate::consumer::committed::Committed;
    use crate::consumer::process_queue::Limits;
    use crate::consumer::sample;
    use crate::consumer::start_offset::Origin;
    use crate::message::MessageQueue;

    fn queue(id: i32) -> Arc<Assigned> {
        let limits = Limits {
            count: 10,
            span: 10,
            bytes: 1 << 20,
        };
        let queue = MessageQueue::new("t", "broker-a", id);
        let queue = Assigned::new(queue, Epoch(1), Origin::Known, limits);
        queue.begin(0, Committed::found(0, Instant::now()));
        let reservation = Budget::new(1 << 20).allowance().reserve(1).now_or_never();
        queue
            .with_ring(|ring| ring.put(vec![sample::message("t", 0)], 1, reservation.unwrap()))
            .unwrap()
            .unwrap();
        Arc::new(queue)
    }

    #[tokio::test]
    async fn two_who_find_nothing_before_two_queues_come_both_hear_of_them() {
        let inbox = Inbox::new(true);
        // Nobody waits yet.
        (0..2).for_each(|id| inbox.offer(queue(id)));
        for _ in 0..2 {
            assert!(inbox.arrived.notified().now_or_never().is_some());
            assert_eq!(inbox.take(10, &mut None).unwrap().len(), 1);
        }
        assert!(inbox.arrived.notified().now_or_never().is_none());
    }
}
