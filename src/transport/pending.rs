//! Who waits for which answer on one connection. Pure: deadlines are compared with a time that is given.
//!
//! An entry is owned by the call that made it until that call takes the outcome or goes away; whatever happens first decides, and
//! only once. When the connection ends the table is poisoned: every waiter gets the cause, and no new one can enter. When the peer
//! sends its clients away no new one can enter either, but those that wait have their answers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use crate::error::Delivery;
use crate::protocol::code::ResponseCode;
use crate::protocol::command::Command;
use crate::transport::error::{CallError, Cause};

#[derive(Debug, Default)]
pub(super) struct Pending {
    entries: HashMap<i32, Entry, BuildHasherDefault<OpaqueHasher>>,
    next_opaque: i32,
    /// No entry is due before this.
    due: Option<Instant>,
    poison: Option<Cause>,
    /// Whether the peer sends its clients away.
    is_away: bool,
    /// The calls since anything at all came from the peer.
    silent: Unanswered,
    /// The calls since a whole frame came from it.
    stuck: Unanswered,
    /// Answers that nobody waited for any more.
    unclaimed: u64,
}

/// Calls in a row that waited in vain, and when the first of them had.
#[derive(Debug, Default)]
struct Unanswered {
    calls: u32,
    since: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    deadline: Instant,
    /// When the call wants to be woken although nothing has happened.
    wake_at: Option<Instant>,
    /// Where the request begins in the stream of written bytes.
    position: u64,
    /// Whether it counts among those that waited in vain.
    is_counted: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Done(Result<Command, CallError>),
}

impl Pending {
    /// Enters a call and gives it its opaque.
    pub(super) fn enter(&mut self, deadline: Instant, position: u64) -> Result<i32, Cause> {
        if let Some(cause) = self.refusal() {
            return Err(cause.clone());
        }
        let mut opaque = self.next_opaque;
        // After four billion calls the numbers begin again; one that is still waiting keeps its own.
        while self.entries.contains_key(&opaque) {
            opaque = opaque.wrapping_add(1);
        }
        self.next_opaque = opaque.wrapping_add(1);
        self.entries.insert(
            opaque,
            Entry {
                deadline,
                wake_at: None,
                position,
                is_counted: false,
                state: State::Waiting(None),
            },
        );
        self.due = Some(self.due.map_or(deadline, |due| due.min(deadline)));
        Ok(opaque)
    }

    /// Notes that a call wants to be woken at `at` if it has no answer by then; it goes on.
    pub(super) fn wake_at(&mut self, opaque: i32, at: Instant) {
        if let Some(entry) = self.entries.get_mut(&opaque) {
            entry.wake_at = Some(at);
            self.due = Some(self.due.map_or(at, |due| due.min(at)));
        }
    }

    /// An opaque for a request that wants no answer.
    pub(super) fn enter_oneway(&mut self) -> Result<i32, Cause> {
        if let Some(cause) = self.refusal() {
            return Err(cause.clone());
        }
        let opaque = self.next_opaque;
        self.next_opaque = opaque.wrapping_add(1);
        Ok(opaque)
    }

    /// The outcome of a call, or a note to wake it. A call asks no more after it was given its outcome.
    pub(super) fn poll(
        &mut self,
        opaque: i32,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Command, CallError>> {
        let Some(entry) = self.entries.get_mut(&opaque) else {
            // Only a call that was given its outcome has no entry.
            return Poll::Pending;
        };
        match &mut entry.state {
            State::Waiting(Some(waker)) => waker.clone_from(cx.waker()),
            State::Waiting(none) => *none = Some(cx.waker().clone()),
            State::Done(_) => {
                if let Some(Entry {
                    state: State::Done(outcome),
                    ..
                }) = self.entries.remove(&opaque)
                {
                    return Poll::Ready(outcome);
                }
            }
        }
        Poll::Pending
    }

    /// Forgets a call that went away.
    pub(super) fn forget(&mut self, opaque: i32) {
        self.entries.remove(&opaque);
    }

    /// Hands an answer to its call. An answer in time is never dropped: it also replaces a time-out that the call has not seen.
    ///
    /// By one code, from 5.x on, a peer that is about to end says that it does nothing any more.
    pub(super) fn answer(&mut self, command: Command, wakers: &mut Vec<Waker>) {
        self.is_away |= command.response_code() == ResponseCode::GO_AWAY;
        match self.entries.get_mut(&command.head.opaque) {
            Some(entry)
                if matches!(
                    entry.state,
                    State::Waiting(_) | State::Done(Err(CallError::TimedOut(_)))
                ) =>
            {
                entry.finish(Ok(command), wakers);
            }
            _ => self.unclaimed += 1,
        }
    }

    /// How many answers came that nobody waited for any more.
    pub(super) const fn unclaimed(&self) -> u64 {
        self.unclaimed
    }

    /// Notes that bytes came from the peer, and so many frames ended with them.
    pub(super) fn heard(&mut self, frames: usize) {
        self.silent = Unanswered::default();
        if frames > 0 {
            self.stuck = Unanswered::default();
        }
    }

    /// Ends every call whose deadline has come, and wakes those that wanted to be woken by now.
    pub(super) fn expire(&mut self, now: Instant, written: u64, wakers: &mut Vec<Waker>) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let mut next = None;
        for entry in self.entries.values_mut() {
            let State::Waiting(waker) = &mut entry.state else {
                continue;
            };
            let is_due = entry.deadline <= now;
            let is_woken = entry.wake_at.is_some_and(|at| at <= now);
            // One that is woken in vain is given up, too, as soon as another peer has answered.
            if (is_due || is_woken) && entry.position < written && !entry.is_counted {
                entry.is_counted = true;
                self.silent.add(now);
                self.stuck.add(now);
            }
            if is_due {
                // A request that is not written yet still will be.
                entry.finish(Err(CallError::TimedOut(Delivery::Unknown)), wakers);
                continue;
            }
            if is_woken {
                entry.wake_at = None;
                wakers.extend(waker.take());
            }
            let due = entry
                .wake_at
                .map_or(entry.deadline, |at| at.min(entry.deadline));
            next = Some(next.map_or(due, |next: Instant| next.min(due)));
        }
        self.due = next;
    }

    /// Ends every call with the connection, and lets no other enter.
    pub(super) fn poison(&mut self, cause: &Cause, written: u64, wakers: &mut Vec<Waker>) {
        self.poison.get_or_insert_with(|| cause.clone());
        for entry in self.entries.values_mut() {
            if matches!(entry.state, State::Waiting(_)) {
                let delivery = entry.delivery(written);
                entry.finish(Err(CallError::Lost(cause.clone(), delivery)), wakers);
            }
        }
        self.due = None;
    }

    pub(super) fn cause(&self) -> Option<&Cause> {
        self.poison.as_ref()
    }

    /// Why no call can enter.
    pub(super) fn refusal(&self) -> Option<&Cause> {
        self.cause()
            .or_else(|| self.is_away.then_some(&Cause::SentAway))
    }

    pub(super) const fn is_away(&self) -> bool {
        self.is_away
    }

    /// Whether a call waits for its answer.
    pub(super) fn waits(&self) -> bool {
        let waits = |entry: &Entry| matches!(entry.state, State::Waiting(_));
        self.entries.values().any(waits)
    }

    /// No call is due before this.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// When the first of `calls` or more in a row had waited in vain while nothing came from the peer, if so many did.
    pub(super) fn silent_since(&self, calls: u32) -> Option<Instant> {
        self.silent.since(calls)
    }

    /// The same while no whole frame came.
    pub(super) fn stuck_since(&self, calls: u32) -> Option<Instant> {
        self.stuck.since(calls)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Unanswered {
    fn add(&mut self, now: Instant) {
        self.calls += 1;
        self.since.get_or_insert(now);
    }

    fn since(&self, calls: u32) -> Option<Instant> {
        self.since.filter(|_| self.calls >= calls)
    }
}

impl Entry {
    fn finish(&mut self, outcome: Result<Command, CallError>, wakers: &mut Vec<Waker>) {
        if let State::Waiting(Some(waker)) =
            std::mem::replace(&mut self.state, State::Done(outcome))
        {
            wakers.push(waker);
        }
    }

    fn delivery(&self, written: u64) -> Delivery {
        if self.position < written {
            Delivery::Unknown
        } else {
            Delivery::No
        }
    }
}

/// Opaques are counted up by us, so spreading their bits is all that a table needs.
#[derive(Debug, Default)]
struct OpaqueHasher(u64);

impl Hasher for OpaqueHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_i32(&mut self, opaque: i32) {
        self.0 = u64::from(opaque as u32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

#[cfg(test)]
mod tests;
