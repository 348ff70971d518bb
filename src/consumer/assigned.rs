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
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::consumer::committed::Committed;
use crate::consumer::group::Group;
use crate::consumer::process_queue::{Limits, NotHandedOut, ProcessQueue, Ticket};
use crate::consumer::start_offset::Origin;
use crate::consumer::stats::Counters;
use crate::error::Result;
use crate::message::{MessageExt, MessageQueue};
use crate::protocol::request::consumer_running_info::ProcessQueueInfo;

mod giving_up;

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

/// How far the application was told of the assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announced {
    Not,
    /// It has to be told of its end, too. What was cut off begins anew where the queue is taken over again.
    Begun,
    Done,
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
    announced: Announced,
    committed: Committed,
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
                announced: Announced::Not,
                committed: Committed::default(),
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
        if let Some(before) = before {
            // Also where this one ends meanwhile: whoever comes next waits for both. Nothing of it is kept then.
            before.gone().await;
            self.inherit(&before);
        }
        let _ = self.ending.run_until_cancelled(self.feed(&group)).await;
        self.give_up(&group).await;
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
        if before.end == Some(End::Rebuilt) {
            self.state.lock().announced = before.announced;
        }
    }

    /// Tells the application that the queue is ours, unless it knows.
    pub(super) async fn announce(&self, group: &Group) {
        {
            let announced = &mut self.state.lock().announced;
            if *announced == Announced::Done {
                return;
            }
            *announced = Announced::Begun;
        }
        let deadline = group.client().request_deadline();
        let hooks = &group.settings().hooks;
        hooks.on_assigned(&self.queue, deadline).await;
        self.state.lock().announced = Announced::Done;
    }

    /// Begins at an offset; with what is committed.
    pub(super) fn begin(&self, offset: i64, committed: Committed) {
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

    /// See [`ProcessQueue::put_back`].
    pub(crate) fn put_back(&self, ticket: &Ticket, which: Range<usize>, due: Instant) {
        let _ = self.settle(|ring| ring.put_back(ticket, which, due));
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
}

impl fmt::Debug for Assigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Assigned({}, epoch {})", self.queue, self.epoch.0)
    }
}
