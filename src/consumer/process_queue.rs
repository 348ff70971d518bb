//! What was taken from a queue and is not finished yet: the ring between a queue's source and its settlement.
//!
//! Messages come in by the batch and in the order of their offsets. They are taken out for a listener and finished in any order; or
//! they are handed out in order to an application, which confirms them later, and the ring keeps no message but only where the first of
//! them stood. The offset that may be committed is that of the smallest one that is neither finished nor confirmed. Does not know: where
//! messages come from, what is done with them, and who commits.

use std::collections::VecDeque;
use std::ops::Range;

use tokio::time::Instant;

use crate::client::Reservation;
use crate::message::MessageExt;

/// How much of one queue may wait to be finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How many messages.
    pub(crate) count: usize,
    /// From the smallest to the largest offset.
    pub(crate) span: i64,
    /// How many bytes: of every buffer that a message pins.
    pub(crate) bytes: usize,
}

/// What of a queue waits to be finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Held {
    /// The smallest offset; 0 where there is nothing.
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

/// Which limit is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Count,
    Span,
    Bytes,
}

/// Messages that were taken out together: where they stand in the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    places: Range<u64>,
}

/// A batch whose offsets do not ascend, or begin before the ring's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("offset {found} where {expected} or a later one was expected")]
pub(crate) struct OutOfOrder {
    pub(crate) expected: i64,
    pub(crate) found: i64,
}

/// An offset that cannot be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only {min} to {max} can be committed now")]
pub(crate) struct NotHandedOut {
    pub(crate) min: i64,
    pub(crate) max: i64,
}

/// One queue's messages that are not finished, under one assignment: another assignment has another ring.
#[derive(Debug)]
pub(crate) struct ProcessQueue {
    /// In the order of their offsets. The front is unfinished.
    entries: VecDeque<Entry>,
    /// The place of the front. Places count all messages that ever came.
    first: u64,
    /// The place of the first message that was never taken.
    untaken: u64,
    /// What was handed out and is not confirmed.
    handed_out: Option<HandedOut>,
    /// Messages that failed here and when they are due again, by that time.
    again: VecDeque<(Instant, u64)>,
    batches: VecDeque<Batch>,
    first_batch: u64,
    /// The next offset to ask the source for.
    position: i64,
    unfinished: usize,
    running: usize,
    bytes: usize,
    closed: bool,
}

#[derive(Debug, Clone, Copy)]
struct HandedOut {
    /// The offset of the first one.
    from: i64,
    /// How many at most.
    count: usize,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    batch: u64,
    /// `None` when it is finished.
    message: Option<MessageExt>,
    running: bool,
}

/// Messages that came together and pin one buffer.
#[derive(Debug)]
struct Batch {
    unfinished: usize,
    reservation: Option<Reservation>,
}

impl ProcessQueue {
    /// A queue from which nothing was taken yet, and `position` is the first offset to take.
    pub(crate) fn new(position: i64) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            untaken: 0,
            handed_out: None,
            again: VecDeque::new(),
            batches: VecDeque::new(),
            first_batch: 0,
            position,
            unfinished: 0,
            running: 0,
            bytes: 0,
            closed: false,
        }
    }

    /// The next offset to ask the source for.
    pub(crate) const fn position(&self) -> i64 {
        self.position
    }

    /// The offset that may be committed: that of the smallest message that is neither finished nor confirmed, else the position.
    pub(crate) fn safe_offset(&self) -> i64 {
        self.handed_out
            .map_or_else(|| self.front(), |handed_out| handed_out.from)
    }

    /// How many messages are neither finished nor confirmed.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished + self.handed_out.map_or(0, |handed_out| handed_out.count)
    }

    /// What waits to be finished.
    pub(crate) fn held(&self) -> Held {
        let offset = |entry: Option<&Entry>| entry.map_or(0, |entry| entry.offset);
        Held {
            first: offset(self.entries.front()),
            last: offset(self.entries.back()),
            count: self.unfinished,
            bytes: self.bytes,
        }
    }

    /// How many messages are out: listeners have them, or they were handed out and are not confirmed.
    pub(crate) fn running(&self) -> usize {
        self.running + self.handed_out.map_or(0, |handed_out| handed_out.count)
    }

    /// Whether there is something to take.
    pub(crate) fn is_ready(&self, now: Instant) -> bool {
        self.untaken < self.end() || self.again.front().is_some_and(|(due, _)| *due <= now)
    }

    /// Which limit keeps the source from being asked for more, if one does.
    pub(crate) fn full(&self, limits: &Limits) -> Option<Full> {
        let held = self.held();
        if held.count > limits.count {
            Some(Full::Count)
        } else if held.bytes > limits.bytes {
            Some(Full::Bytes)
        } else if held.last.saturating_sub(held.first) > limits.span {
            Some(Full::Span)
        } else {
            None
        }
    }

    /// Takes in what the source answered: messages, and the offset to ask for next. The reservation is held until the last one of
    /// them is finished.
    ///
    /// # Errors
    /// The messages are not in order; nothing is taken in then.
    pub(crate) fn put(
        &mut self,
        messages: Vec<MessageExt>,
        next: i64,
        reservation: Reservation,
    ) -> Result<(), OutOfOrder> {
        let behind = in_order(self.position, &messages)?;
        if self.closed {
            return Ok(());
        }
        self.position = behind.max(next);
        if messages.is_empty() {
            return Ok(());
        }
        let batch = self.first_batch + self.batches.len() as u64;
        self.unfinished += messages.len();
        self.bytes += reservation.bytes();
        self.batches.push_back(Batch {
            unfinished: messages.len(),
            reservation: Some(reservation),
        });
        self.entries
            .extend(messages.into_iter().map(|message| Entry {
                offset: message.queue_offset(),
                batch,
                message: Some(message),
                running: false,
            }));
        Ok(())
    }

    /// Goes on at `next`, if that is further: there is nothing for us before it.
    pub(crate) fn advance(&mut self, next: i64) {
        if !self.closed {
            self.position = self.position.max(next);
        }
    }

    /// Takes up to `max` messages out for a listener, in the order of their offsets: one that failed here and is due again, else
    /// those that come next.
    pub(crate) fn take(&mut self, max: usize, now: Instant) -> Option<(Ticket, Vec<MessageExt>)> {
        if self.closed {
            return None;
        }
        let places = if self.again.front().is_some_and(|(due, _)| *due <= now) {
            let (_, place) = self.again.pop_front()?;
            place..place + 1
        } else {
            let start = self.untaken;
            self.untaken = self.end().min(start + max as u64);
            start..self.untaken
        };
        if places.is_empty() {
            return None;
        }
        let range = self.index(places.start)..self.index(places.end);
        self.running += range.len();
        let taken = self.entries.range_mut(range).filter_map(|entry| {
            entry.running = true;
            entry.message.clone()
        });
        let messages = taken.collect();
        Some((Ticket { places }, messages))
    }

    /// Those messages of a ticket that are not settled yet, with their numbers in it.
    pub(crate) fn messages(
        &self,
        ticket: &Ticket,
        which: Range<usize>,
    ) -> Vec<(usize, MessageExt)> {
        let running = self.places(ticket, which).filter_map(|place| {
            let entry = &self.entries[self.index(place)];
            let message = entry.message.clone().filter(|_| entry.running)?;
            Some(((place - ticket.places.start) as usize, message))
        });
        running.collect()
    }

    /// Marks messages of a ticket as finished; `which` counts from the ticket's first one. One that
    /// is finished already changes nothing.
    pub(crate) fn finish(&mut self, ticket: &Ticket, which: Range<usize>) {
        for place in self.places(ticket, which) {
            let index = self.index(place);
            let entry = &mut self.entries[index];
            if std::mem::take(&mut entry.running) {
                self.running -= 1;
                entry.message = None;
                let batch = entry.batch;
                self.unfinished -= 1;
                self.release(batch);
            }
        }
        self.trim();
    }

    /// Keeps a message that could be neither finished nor given back, to be taken again at `due`, as one more failure of it.
    pub(crate) fn retry(&mut self, ticket: &Ticket, which: usize, due: Instant) {
        for place in self.places(ticket, which..which + 1) {
            let index = self.index(place);
            let entry = &mut self.entries[index];
            if let (true, Some(message)) = (entry.running, &mut entry.message) {
                message.count_failure();
            }
        }
        self.put_back(ticket, which..which + 1, due);
    }

    /// Puts messages of a ticket back that nobody was given, to be taken again at `due`, each alone.
    pub(crate) fn put_back(&mut self, ticket: &Ticket, which: Range<usize>, due: Instant) {
        for place in self.places(ticket, which) {
            let index = self.index(place);
            if std::mem::take(&mut self.entries[index].running) {
                self.running -= 1;
                if !self.closed {
                    let at = self.again.partition_point(|(other, _)| *other <= due);
                    self.again.insert(at, (due, place));
                }
            }
        }
    }

    /// Leaves messages of a ticket as they are, unfinished: whoever owns the queue next gets them.
    pub(crate) fn leave(&mut self, ticket: &Ticket, which: Range<usize>) {
        for place in self.places(ticket, which) {
            let index = self.index(place);
            if std::mem::take(&mut self.entries[index].running) {
                self.running -= 1;
            }
        }
    }

    /// The next messages to hand out, up to `max`. They stay where they are.
    pub(crate) fn peek(&self, max: usize) -> Vec<MessageExt> {
        if self.closed {
            return Vec::new();
        }
        let next = self.entries.iter().take(max);
        next.filter_map(|entry| entry.message.clone()).collect()
    }

    /// Hands the next `count` messages out, for good: the ring has room for others then. Whether nothing else was out. `None` when the
    /// dispatch has ended, and the messages are nobody's here any more.
    ///
    /// A ring whose messages are handed out has none that is taken.
    pub(crate) fn hand_out(&mut self, count: usize) -> Option<bool> {
        if self.closed {
            return None;
        }
        let is_first = self.handed_out.is_none();
        for _ in 0..count {
            let Some(entry) = self.entries.pop_front() else {
                break;
            };
            self.first += 1;
            self.unfinished -= 1;
            self.release(entry.batch);
            let from = entry.offset;
            let handed_out = self.handed_out.get_or_insert(HandedOut { from, count: 0 });
            handed_out.count += 1;
        }
        self.untaken = self.first;
        self.trim();
        Some(is_first)
    }

    /// Everything that was handed out is done with.
    pub(crate) fn confirm(&mut self) {
        self.handed_out = None;
    }

    /// Whatever was handed out and stands before an offset is done with.
    ///
    /// # Errors
    /// The offset is behind what was handed out, or before what was confirmed already; nothing is changed then.
    pub(crate) fn confirm_before(&mut self, offset: i64) -> Result<(), NotHandedOut> {
        let (min, max) = (self.safe_offset(), self.front());
        if !(min..=max).contains(&offset) {
            return Err(NotHandedOut { min, max });
        }
        self.handed_out = self.handed_out.filter(|_| offset < max).map(|handed_out| {
            // Offsets may be missing in between, so this is a bound.
            let most = usize::try_from(max - offset).unwrap_or(usize::MAX);
            HandedOut {
                from: offset,
                count: handed_out.count.min(most),
            }
        });
        Ok(())
    }

    /// Ends the dispatch: nothing is taken in or out any more, what listeners have can still be finished. The safe offset stays
    /// before everything that was not finished.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.again.clear();
        let index = self.index(self.untaken);
        if let Some(entry) = self.entries.get(index) {
            self.position = entry.offset;
        }
        for entry in self.entries.split_off(index) {
            self.unfinished -= 1;
            self.release(entry.batch);
        }
        self.trim();
    }

    /// The offset of the first message in the ring, else the position.
    fn front(&self) -> i64 {
        let front = self.entries.front();
        front.map_or(self.position, |entry| entry.offset)
    }

    /// The place behind the last message.
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn index(&self, place: u64) -> usize {
        (place - self.first) as usize
    }

    /// The places of a ticket that are still in the ring.
    fn places(&self, ticket: &Ticket, which: Range<usize>) -> Range<u64> {
        let place = |index: usize| (ticket.places.start + index as u64).min(ticket.places.end);
        place(which.start).max(self.first)..place(which.end).min(self.end())
    }

    /// Counts a message of a batch as finished, and gives the batch's bytes back with its last one.
    fn release(&mut self, batch: u64) {
        let batch = &mut self.batches[(batch - self.first_batch) as usize];
        batch.unfinished -= 1;
        if batch.unfinished == 0
            && let Some(reservation) = batch.reservation.take()
        {
            self.bytes -= reservation.bytes();
        }
    }

    /// Drops what is finished from the front.
    fn trim(&mut self) {
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.message.is_none())
        {
            self.entries.pop_front();
            self.first += 1;
        }
        while self
            .batches
            .front()
            .is_some_and(|batch| batch.unfinished == 0)
        {
            self.batches.pop_front();
            self.first_batch += 1;
        }
    }
}

/// The offset behind the last message.
fn in_order(position: i64, messages: &[MessageExt]) -> Result<i64, OutOfOrder> {
    messages
        .iter()
        .try_fold(position, |expected, message| match message.queue_offset() {
            found if found >= expected && found < i64::MAX => Ok(found + 1),
            found => Err(OutOfOrder { expected, found }),
        })
}

#[cfg(test)]
mod tests;
