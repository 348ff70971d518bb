//! A queue that this member owns: its ring, its offset, and how it is given up.
//!
//! One task lives as long as the assignment: it finds out where to begin, pulls ([`feed`](super::feed)), and gives the queue up. Listeners
//! finish messages from tasks of their own, polls hand them out. Does not know: who shares the queues, how a listener is run, and when an
//! application polls.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::consumer::group::Group;
use crate::consumer::offset::Offsets;
use crate::consumer::process_queue::{Limits, NotHandedOut, ProcessQueue, Ticket};
use crate::consumer::start_offset::Origin;
use crate::consumer::stats::Counters;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{MessageExt, MessageQueue};
use crate::protocol::request::consumer_running_info::ProcessQueueInfo;

/// How long listeners may go on with messages of a queue that another member gets.
const REVOKED: Duration = Duration::from_secs(5);

/// A queue that neither pulls nor waits for anything on our side for this long is broken.
const STALLED: Duration = Duration::from_secs(120);

/// Numbers the assignments of a member. Each has its own ring, so what belongs to an older one changes nothing in a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(pub(crate) u64);

/// Why a queue is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Another member gets it.
    Revoked,
    /// It made no progress and begins again, under another epoch.
    Rebuilt,
    /// The consumer ends: listeners have until `listeners`, and then the offset has to be committed until `commits`.
    Shutdown {
        listeners: Instant,
        commits: Instant,
    },
}

/// Messages that were taken out for a listener.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) ticket: Ticket,
    pub(crate) messages: Vec<MessageExt>,
    /// There are more, so the queue has to be offered again.
    pub(crate) more: bool,
}

/// That messages were handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handed {
    /// Everything that was handed out before is confirmed.
    pub(crate) is_first: bool,
    /// There are more, so the queue has to be offered again.
    pub(crate) more: bool,
}

/// What was left when a queue was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) unfinished: usize,
    pub(crate) is_committed: bool,
}

/// A queue under one assignment.
pub(crate) struct Assigned {
    queue: MessageQueue,
    epoch: Epoch,
    pub(super) origin: Origin,
    counters: Arc<Counters>,
    state: Mutex<State>,
    /// One commit at a time: a broker may handle two in either order.
    committing: tokio::sync::Mutex<()>,
    /// Wakes the queue's own task: there is room again, or the last listener has ended.
    changed: Notify,
    /// A pull that waits at the broker has to be made again.
    renewed: Notify,
    ending: CancellationToken,
    /// The queue's task has ended.
    gone: CancellationToken,
}

struct State {
    limits: Limits,
    /// `None` until it is known where to begin.
    ring: Option<ProcessQueue>,
    /// Whether it stands in the list of queues that listeners take from.
    listed: bool,
    /// Its task waits for room here, or in what its client may hold.
    waiting: bool,
    /// The subscription's version that the last pull went with.
    version: i64,
    /// When the queue's task last got on.
    progress: Instant,
    pulled: Option<Instant>,
    consumed: Option<Instant>,
    /// The application was told of the assignment, and has to be told of its end.
    announced: bool,
    committed: Option<i64>,
    end: Option<End>,
}

impl Assigned {
    pub(crate) fn new(queue: MessageQueue, epoch: Epoch, origin: Origin, limits: Limits) -> Self {
        Self {
            queue,
            epoch,
            origin,
            counters: Arc::default(),
            state: Mutex::new(State {
                limits,
                ring: None,
                listed: false,
                waiting: false,
                version: 0,
                progress: Instant::now(),
                pulled: None,
                consumed: None,
                announced: false,
                committed: None,
                end: None,
            }),
            committing: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            renewed: Notify::new(),
            ending: CancellationToken::new(),
            gone: CancellationToken::new(),
        }
    }

    /// With the counters of its topic.
    pub(crate) fn counted(self, counters: Arc<Counters>) -> Self {
        Self { counters, ..self }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) const fn queue(&self) -> &MessageQueue {
        &self.queue
    }

    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The life of an assignment. `before` is an older one of the same queue that is being given up.
    pub(crate) async fn run(self: Arc<Self>, group: Arc<Group>, before: Option<Arc<Self>>) {
        // Cancelled on every way out, a panic among them.
        let _gone = self.gone.clone().drop_guard();
        let feeding = async {
            if let Some(before) = &before {
                before.gone().await;
                self.inherit(before);
            }
            self.feed(&group).await;
        };
        let _ = self.ending.run_until_cancelled(feeding).await;
        self.give_up(&group).await;
        if let Some(before) = before {
            // Whoever comes next waits for both.
            before.gone().await;
        }
        group.forget(&self);
    }

    /// Ends the assignment; the queue's task does the rest.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.state.lock();
        if state.end.is_none() {
            state.end = Some(end);
            if let Some(ring) = &mut state.ring {
                ring.close();
            }
            drop(state);
            self.ending.cancel();
        }
    }

    /// Waits until the queue's task has ended.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Whether the queue's task has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Goes on for an assignment that was taken over again: for the application it is still the same.
    fn inherit(&self, before: &Self) {
        let before = before.state.lock();
        if before.end == Some(End::Rebuilt) && before.announced {
            self.state.lock().announced = true;
        }
    }

    /// Tells the application that the queue is ours, unless it knows.
    pub(super) async fn announce(&self, group: &Group) {
        if !std::mem::replace(&mut self.state.lock().announced, true) {
            let deadline = group.client().request_deadline();
            group
                .settings()
                .hooks
                .on_assigned(&self.queue, deadline)
                .await;
        }
    }

    /// Begins at an offset; with what is committed.
    pub(super) fn begin(&self, offset: i64, committed: Option<i64>) {
        let mut state = self.state.lock();
        state.committed = committed;
        if state.end.is_none() {
            state.ring = Some(ProcessQueue::new(offset));
        }
    }

    /// Whether it is known where the queue begins.
    pub(crate) fn has_begun(&self) -> bool {
        self.state.lock().ring.is_some()
    }

    /// Whether another member gets the queue, or nobody owns it under this epoch.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.state.lock().end, Some(End::Revoked | End::Rebuilt))
    }

    /// The offset that may be committed; `None` while it is not known where the queue begins.
    pub(crate) fn safe_offset(&self) -> Option<i64> {
        self.state.lock().safe_offset()
    }

    /// Does something with the ring, if there is one, and notes that the queue's task gets on.
    pub(super) fn with_ring<T>(&self, act: impl FnOnce(&mut ProcessQueue) -> T) -> Option<T> {
        let mut state = self.state.lock();
        state.progress = Instant::now();
        state.ring.as_mut().map(act)
    }

    /// Waits until there is room for another pull.
    pub(super) async fn room(&self) {
        loop {
            {
                let mut state = self.state.lock();
                state.progress = Instant::now();
                let full = state
                    .ring
                    .as_ref()
                    .and_then(|ring| ring.full(&state.limits));
                state.waiting = full.is_some();
                match full {
                    None => return,
                    Some(full) => debug!(queue = %self.queue, ?full, "pulling waits for listeners"),
                }
            }
            self.changed.notified().await;
        }
    }

    /// Notes whether the task waits for something on our side, which is no lack of progress.
    pub(super) fn set_waiting(&self, waiting: bool) {
        let mut state = self.state.lock();
        state.waiting = waiting;
        state.progress = Instant::now();
    }

    /// Notes with which version of the subscription a pull goes.
    pub(super) fn set_pulling(&self, version: i64) {
        let mut state = self.state.lock();
        state.version = version;
        state.pulled = Some(Instant::now());
    }

    /// Gives a pull up that waits at the broker with another version of the subscription.
    pub(super) fn renew(&self, version: i64) {
        if self.state.lock().version != version {
            self.renewed.notify_one();
        }
    }

    /// Waits until the pull that is under way has to be made again.
    pub(super) async fn renewed(&self) {
        self.renewed.notified().await;
    }

    /// Whether the queue's task has ended or hangs although the queue is owned.
    pub(crate) fn is_stalled(&self, now: Instant) -> bool {
        let state = self.state.lock();
        let idle = now.saturating_duration_since(state.progress);
        state.end.is_none() && (self.is_gone() || !state.waiting && idle > STALLED)
    }

    /// Whether the queue has something for listeners and is not offered to them yet; the one who asks offers it.
    pub(crate) fn list(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let ready = state.ring.as_ref().is_some_and(|ring| ring.is_ready(now));
        ready && !std::mem::replace(&mut state.listed, true)
    }

    /// Takes the queue off the list of those that are offered.
    pub(super) fn unlist(&self) {
        self.state.lock().listed = false;
    }

    /// Changes how much of the queue may wait.
    pub(super) fn set_limits(&self, limits: Limits) {
        let mut state = self.state.lock();
        state.limits = limits;
        if state.waiting && state.has_room() {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Takes up to `max` messages out for a listener.
    pub(crate) fn take(&self, max: usize, now: Instant) -> Option<Taken> {
        let mut state = self.state.lock();
        state.listed = false;
        let ring = state.ring.as_mut()?;
        let (ticket, messages) = ring.take(max, now)?;
        let more = ring.is_ready(now);
        state.listed = more;
        Some(Taken {
            ticket,
            messages,
            more,
        })
    }

    /// The next messages to hand out, up to `max`. Whoever was offered the queue looks alone, and hands out.
    pub(crate) fn peek(&self, max: usize) -> Vec<MessageExt> {
        let state = self.state.lock();
        let peek = |ring: &ProcessQueue| ring.peek(max);
        state.ring.as_ref().map_or_else(Vec::new, peek)
    }

    /// See [`ProcessQueue::hand_out`].
    pub(crate) fn hand_out(&self, count: usize, now: Instant) -> Option<Handed> {
        let mut state = self.state.lock();
        let ring = state.ring.as_mut()?;
        let is_first = ring.hand_out(count)?;
        let more = ring.is_ready(now);
        state.listed = more;
        state.consumed = Some(now);
        self.wake(state);
        Some(Handed { is_first, more })
    }

    /// See [`ProcessQueue::confirm`].
    pub(crate) fn confirm(&self) {
        let _ = self.settle(ProcessQueue::confirm);
    }

    /// See [`ProcessQueue::confirm_before`]; not before it is known where the queue begins.
    pub(crate) fn confirm_before(&self, offset: i64) -> Option<Result<(), NotHandedOut>> {
        self.settle(|ring| ring.confirm_before(offset))
    }

    /// See [`ProcessQueue::messages`].
    pub(crate) fn messages(
        &self,
        ticket: &Ticket,
        which: Range<usize>,
    ) -> Vec<(usize, MessageExt)> {
        let state = self.state.lock();
        state
            .ring
            .as_ref()
            .map_or_else(Vec::new, |ring| ring.messages(ticket, which))
    }

    /// See [`ProcessQueue::finish`].
    pub(crate) fn finish(&self, ticket: &Ticket, which: Range<usize>) {
        let _ = self.settle(|ring| ring.finish(ticket, which));
    }

    /// See [`ProcessQueue::retry`].
    pub(crate) fn retry(&self, ticket: &Ticket, which: usize, due: Instant) {
        let _ = self.settle(|ring| ring.retry(ticket, which, due));
    }

    /// See [`ProcessQueue::leave`].
    pub(crate) fn leave(&self, ticket: &Ticket, which: Range<usize>) {
        let _ = self.settle(|ring| ring.leave(ticket, which));
    }

    fn settle<T>(&self, act: impl FnOnce(&mut ProcessQueue) -> T) -> Option<T> {
        let mut state = self.state.lock();
        let settled = act(state.ring.as_mut()?);
        state.consumed = Some(Instant::now());
        self.wake(state);
        Some(settled)
    }

    /// Wakes the queue's task when what it waits for is there.
    fn wake(&self, state: MutexGuard<'_, State>) {
        let room = state.waiting && state.has_room();
        if room || state.end.is_some() && state.running() == 0 {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Whether an offset waits to be committed.
    pub(crate) fn has_progress(&self) -> bool {
        self.state.lock().uncommitted().is_some()
    }

    /// Commits the safe offset, if it has moved. After the queue was lost only where that does not put the group back behind what
    /// its new owner has committed; after it was taken over again not at all.
    pub(crate) async fn commit(&self, store: &Offsets, deadline: Instant) -> Result<()> {
        let Ok(_one) = timeout_at(deadline, self.committing.lock()).await else {
            let MessageQueue {
                topic,
                broker_name,
                queue_id,
            } = &self.queue;
            let error = Error::new(ErrorKind::Timeout, "commit an offset").topic_of(topic);
            return Err(error
                .target(format!("queue {queue_id} of {broker_name}"))
                .detail("an earlier commit is not answered yet"));
        };
        let (offset, end) = {
            let state = self.state.lock();
            (state.uncommitted(), state.end)
        };
        let Some(offset) = offset.filter(|_| end != Some(End::Rebuilt)) else {
            return Ok(());
        };
        if end == Some(End::Revoked) {
            let stored = store.load(&self.queue, deadline).await?;
            if stored.is_some_and(|stored| stored > offset) {
                debug!(queue = %self.queue, ?stored, offset, "the new owner is ahead");
                return Ok(());
            }
        }
        store.commit(&self.queue, offset, deadline).await?;
        self.state.lock().committed = Some(offset);
        Ok(())
    }

    /// Commits at once, waits for the listeners within a bound, and commits what they have finished.
    async fn give_up(&self, group: &Group) {
        let Some(end) = self.state.lock().end else {
            return;
        };
        let (listeners, commits) = match end {
            End::Rebuilt => {
                // The next assignment commits where it begins, and nothing may arrive after that.
                let _none = self.committing.lock().await;
                return;
            }
            End::Revoked => (Instant::now() + REVOKED, None),
            End::Shutdown { listeners, commits } => (listeners, Some(commits)),
        };
        let deadline = || commits.unwrap_or_else(|| group.client().request_deadline());
        self.commit_last(group, deadline()).await;
        if timeout_at(listeners, self.idle()).await.is_err() {
            let running = self.state.lock().running();
            warn!(queue = %self.queue, running, "messages of a queue that is given up are still out; they come again");
        }
        self.commit_last(group, deadline()).await;
        let announced = self.state.lock().announced;
        if announced {
            // Half of what is left at a shutdown: leaving the group takes its time, too.
            let now = Instant::now();
            let left = deadline().saturating_duration_since(now);
            let until = now + if commits.is_some() { left / 2 } else { left };
            group.settings().hooks.on_revoked(&self.queue, until).await;
        }
        info!(queue = %self.queue, epoch = self.epoch.0, ?end, "queue given up");
    }

    async fn commit_last(&self, group: &Group, deadline: Instant) {
        if let Err(error) = self.commit(group.store(), deadline).await {
            warn!(queue = %self.queue, %error, "the last offset is not committed");
        }
    }

    /// Waits until no message of this queue is out.
    async fn idle(&self) {
        while self.state.lock().running() > 0 {
            self.changed.notified().await;
        }
    }

    /// How the queue gets on, for tools.
    pub(crate) fn info(&self, now: Instant, now_millis: i64) -> ProcessQueueInfo {
        let state = self.state.lock();
        let millis = |at: Option<Instant>| {
            at.map_or(0, |at| {
                now_millis - now.saturating_duration_since(at).as_millis() as i64
            })
        };
        let held = state.ring.as_ref().map(ProcessQueue::held);
        let held = held.unwrap_or_default();
        ProcessQueueInfo {
            commit_offset: state.safe_offset().unwrap_or(-1),
            cached_msg_min_offset: held.first,
            cached_msg_max_offset: held.last,
            cached_msg_count: held.count as i32,
            cached_msg_size_in_mi_b: (held.bytes >> 20) as i32,
            droped: state.end.is_some(),
            last_pull_timestamp: millis(state.pulled),
            last_consume_timestamp: millis(state.consumed),
            ..ProcessQueueInfo::default()
        }
    }

    /// What is left now.
    pub(crate) fn left(&self) -> Left {
        let state = self.state.lock();
        Left {
            unfinished: state.ring.as_ref().map_or(0, ProcessQueue::unfinished),
            is_committed: state.uncommitted().is_none(),
        }
    }
}

impl State {
    fn running(&self) -> usize {
        self.ring.as_ref().map_or(0, ProcessQueue::running)
    }

    fn has_room(&self) -> bool {
        self.ring
            .as_ref()
            .is_none_or(|ring| ring.full(&self.limits).is_none())
    }

    fn safe_offset(&self) -> Option<i64> {
        self.ring.as_ref().map(ProcessQueue::safe_offset)
    }

    fn uncommitted(&self) -> Option<i64> {
        self.safe_offset()
            .filter(|safe| Some(*safe) != self.committed)
    }
}

impl fmt::Debug for Assigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Assigned({}, epoch {})", self.queue, self.epoch.0)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;

    use async_trait::async_trait;

    use super::*;
    use crate::consumer::offset::OffsetStore;

    /// A store that hears of commits and never answers them.
    #[derive(Debug, Default)]
    struct Mute(Mutex<Vec<i64>>);

    #[async_trait]
    impl OffsetStore for Mute {
        async fn load(
            &self,
            _: &MessageQueue,
        ) -> Result<Option<i64>, Box<dyn StdError + Send + Sync>> {
            Ok(None)
        }

        async fn commit(
            &self,
            _: &MessageQueue,
            offset: i64,
        ) -> Result<(), Box<dyn StdError + Send + Sync>> {
            self.0.lock().push(offset);
            std::future::pending().await
        }
    }

    fn assigned() -> Assigned {
        let limits = Limits {
            count: 10,
            span: 10,
            bytes: 10,
        };
        let queue = MessageQueue::new("t", "b", 0);
        let assigned = Assigned::new(queue, Epoch(1), Origin::Known, limits);
        assigned.begin(0, Some(0));
        assigned.with_ring(|ring| ring.advance(5)).unwrap();
        assigned
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_that_waits_in_vain_for_another_one_has_failed() {
        let mute = Arc::new(Mute::default());
        let (assigned, store) = (assigned(), Offsets::new(Arc::clone(&mute)));
        let deadline = Instant::now() + Duration::from_secs(3);
        let never = assigned.commit(&store, deadline + Duration::from_secs(1));
        let second = assigned.commit(&store, deadline);
        let error = tokio::select! {
            biased;
            _ = never => unreachable!("the store never answers, and there is time left"),
            outcome = second => outcome.unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert_eq!(*mute.0.lock(), [5]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_over_again_commits_nothing() {
        let mute = Arc::new(Mute::default());
        let (assigned, store) = (assigned(), Offsets::new(Arc::clone(&mute)));
        assigned.end(End::Rebuilt);
        let deadline = Instant::now() + Duration::from_secs(3);
        assigned.commit(&store, deadline).await.unwrap();
        assert!(mute.0.lock().is_empty());
    }
}
