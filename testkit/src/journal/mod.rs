//! The journal of a cluster: every request that its nodes got, every answer that they gave, and who connected.
//!
//! Knows: what went over the wire, in one order for all nodes, bounded. Does not know: what a node made of it.

mod entry;
pub(crate) mod facts;
pub(crate) mod seen;
mod wait;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rocketmq_sdk::protocol::code::RequestCode;
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use entry::Origin;
pub use entry::{Entry, EntryKind, SentBack, Stored};
pub use facts::Delivered;
pub use wait::NotSeen;

/// The most bytes that a journal keeps, beside its entries' fixed size.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// How long [`Journal::wait_for`] waits if nothing else is said.
const PATIENCE: Duration = Duration::from_secs(10);

/// What went over the wire: every request, every answer and every connection of a cluster's nodes, in the order in which it
/// happened.
///
/// Headers are copied as they are and read when an entry is asked, so writing the journal costs little. It keeps the newest
/// 100,000 entries ([`ClusterBuilder::journal`](crate::ClusterBuilder::journal)), and at most 64 MiB; older ones go, and are
/// [counted](Self::forgotten).
///
/// Clones are handles of one journal. A handle looks from its beginning on: the journal's, or the place where
/// [`from_now`](Self::from_now) made it.
///
/// ```
/// use rocketmq_testkit::{Cluster, RequestCode};
/// # use std::error::Error;
/// # async fn example() -> Result<(), Box<dyn Error>> {
/// let cluster = Cluster::builder().topic("orders", 4).start().await?;
/// let journal = cluster.journal().from_now();
/// # let mut stream = cluster.environment().connect(cluster.name_server_addr()).await?;
/// # use tokio::io::AsyncWriteExt;
/// # let mut request = br#"{"code":105,"opaque":1,"extFields":{"topic":"orders"}}"#.to_vec();
/// # let length = request.len() as u32;
/// # request.splice(0..0, [(length + 4).to_be_bytes(), length.to_be_bytes()].concat());
/// # stream.write_all(&request).await?;
///
/// // ... a client starts; then:
/// let asked = journal.wait_for(|entry| entry.is_request(RequestCode::GET_ROUTEINFO_BY_TOPIC)).await?;
/// assert_eq!(asked.topic(), Some("orders"));
/// assert_eq!(journal.requests(RequestCode::GET_ROUTEINFO_BY_TOPIC).len(), 1);
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
    /// The number of the first entry that this handle looks at.
    from: u64,
    patience: Duration,
}

struct Inner {
    start: Instant,
    /// The most entries that are kept.
    limit: usize,
    ring: Mutex<Ring>,
    /// How many tasks wait for an entry.
    waiting: AtomicUsize,
    written: Notify,
}

#[derive(Default)]
struct Ring {
    entries: VecDeque<Entry>,
    /// The number of the first entry that is kept.
    first: u64,
    bytes: usize,
}

impl Journal {
    /// A journal that keeps this many entries.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                start: Instant::now(),
                limit,
                ring: Mutex::default(),
                waiting: AtomicUsize::new(0),
                written: Notify::new(),
            }),
            from: 0,
            patience: PATIENCE,
        }
    }

    /// A handle that looks at what is written from now on.
    #[must_use]
    pub fn from_now(&self) -> Self {
        let ring = self.inner.ring.lock();
        Self {
            from: ring.end(),
            ..self.clone()
        }
    }

    /// A handle that waits this long for an entry, by tokio's time. Default 10 s.
    #[must_use]
    pub fn patience(&self, patience: Duration) -> Self {
        Self {
            patience,
            ..self.clone()
        }
    }

    /// All entries that are still kept, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries_from(self.from)
    }

    /// The number of the next entry: what a test notes down now happened before it.
    pub fn position(&self) -> u64 {
        self.inner.ring.lock().end()
    }

    /// Those that a closure selects.
    pub fn find(&self, wanted: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        let mut found = self.entries();
        found.retain(wanted);
        found
    }

    /// The requests with this code.
    pub fn requests(&self, code: RequestCode) -> Vec<Entry> {
        self.find(|entry| entry.is_request(code))
    }

    /// The answers to requests with this code.
    pub fn answers(&self, code: RequestCode) -> Vec<Entry> {
        self.find(|entry| entry.is_answer(code))
    }

    /// How many entries a closure selects.
    pub fn count(&self, wanted: impl FnMut(&Entry) -> bool) -> usize {
        self.find(wanted).len()
    }

    /// How many entries since this handle's beginning have gone, because there were too many.
    pub fn forgotten(&self) -> u64 {
        let ring = self.inner.ring.lock();
        ring.first.saturating_sub(self.from)
    }

    /// Adds an entry, and gives it its number and time.
    pub(crate) fn write(&self, mut entry: Entry) {
        entry.elapsed = self.inner.start.elapsed();
        {
            let mut ring = self.inner.ring.lock();
            entry.number = ring.end();
            ring.bytes += entry.kept();
            ring.entries.push_back(entry);
            while ring.entries.len() > self.inner.limit || ring.bytes > MAX_BYTES {
                ring.forget_oldest();
            }
        }
        if self.inner.waiting.load(Ordering::Relaxed) > 0 {
            self.inner.written.notify_waiters();
        }
    }

    fn entries_from(&self, number: u64) -> Vec<Entry> {
        let ring = self.inner.ring.lock();
        let skip = usize::try_from(number.saturating_sub(ring.first)).unwrap_or(usize::MAX);
        ring.entries.iter().skip(skip).cloned().collect()
    }
}

impl Ring {
    /// The number of the next entry.
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.first += 1;
            self.bytes -= oldest.kept();
        }
    }
}

impl Entry {
    /// How many bytes the journal keeps for this entry; a request that is answered counts twice.
    fn kept(&self) -> usize {
        [&self.request, &self.answer]
            .into_iter()
            .flatten()
            .map(|command| command.kept())
            .sum()
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries()).finish()
    }
}
