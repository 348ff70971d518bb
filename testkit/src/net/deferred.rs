//! What a connection does later than it would, or slower: the work that faults make.
//!
//! Knows: what is due when. Does not know: why.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::net::Incoming;

/// Something that a connection does out of turn.
#[derive(Debug)]
pub(crate) enum Work {
    /// Serve a request.
    Serve(Incoming),
    /// Write a frame.
    Write(Bytes),
    /// Write a frame at so many bytes a second.
    Trickle(Bytes, u32),
    /// Write these bytes, then end the connection.
    Cut(Bytes),
    /// Write nothing more, and read until the peer ends the connection.
    HalfClose,
}

/// A connection's work, by when it is due; that of one time in the order in which it was added.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    /// Whether there is any, for the many connections that have none.
    any: AtomicBool,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    work: BTreeMap<(Instant, u64), Work>,
    next: u64,
    /// The connection has ended.
    closed: bool,
}

impl Deferred {
    pub(crate) fn add(&self, due: Instant, work: Work) {
        let mut queue = self.queue.lock();
        if queue.closed {
            return;
        }
        let number = queue.next;
        queue.next += 1;
        queue.work.insert((due, number), work);
        self.any.store(true, Ordering::Release);
    }

    /// Whether there is anything to do, now or later.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Waits until something is due, of what there is now.
    pub(crate) async fn due(&self) {
        let first = self
            .queue
            .lock()
            .work
            .first_key_value()
            .map(|(key, _)| key.0);
        match first {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Takes out the first thing that is due.
    pub(crate) fn take_due(&self, now: Instant) -> Option<Work> {
        let mut queue = self.queue.lock();
        let first = queue.work.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        let work = first.remove();
        self.any.store(!queue.work.is_empty(), Ordering::Release);
        Some(work)
    }

    /// Forgets everything, also what comes later: the connection has ended.
    pub(crate) fn close(&self) {
        let work = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            std::mem::take(&mut queue.work)
        };
        self.any.store(false, Ordering::Release);
        drop(work);
    }
}
