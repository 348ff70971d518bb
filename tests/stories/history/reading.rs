//! What a trial keeps of a journal, which itself forgets the oldest entries.

use std::sync::Arc;

use parking_lot::Mutex;
use rocketmq_testkit::{Entry, Journal, RequestCode};

/// Reads a journal. Clones are handles of one reader.
#[derive(Clone)]
pub struct Reader {
    inner: Arc<Mutex<Reading>>,
}

struct Reading {
    /// Looks from the last reading on, or from somewhat before it.
    journal: Journal,
    /// The number of the first entry that was not read yet.
    next: u64,
    kept: Vec<Entry>,
}

impl Reader {
    pub fn new(journal: Journal) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Reading {
                journal,
                next: 0,
                kept: Vec::new(),
            })),
        }
    }

    /// Keeps what has come since the last time.
    pub fn read(&self) {
        self.inner.lock().read();
    }

    /// Everything until now.
    pub fn take(&self) -> Vec<Entry> {
        let mut inner = self.inner.lock();
        inner.read();
        std::mem::take(&mut inner.kept)
    }
}

impl Reading {
    fn read(&mut self) {
        let from_now = self.journal.from_now();
        let entries = self.journal.entries();
        assert_eq!(self.journal.forgotten(), 0, "the journal is too small");
        self.journal = from_now;
        let next = self.next;
        self.next = entries.last().map_or(next, |last| last.number() + 1);
        let new = entries.into_iter().filter(|entry| entry.number() >= next);
        self.kept.extend(new.filter(|entry| !is_send(entry)));
    }
}

/// Most entries are about these, and nobody judges them: what became of a send its own side notes. Only those to a retry topic are a
/// member's: copies of what was not taken back.
fn is_send(entry: &Entry) -> bool {
    let is_copy = entry
        .topic()
        .is_some_and(|topic| topic.starts_with("%RETRY%"));
    !is_copy
        && matches!(
            entry.code(),
            Some(
                RequestCode::SEND_MESSAGE
                    | RequestCode::SEND_MESSAGE_V2
                    | RequestCode::SEND_BATCH_MESSAGE
            )
        )
}
