//! Waiting for an entry.

use std::error::Error;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Entry, Inner, Journal};

/// How many entries a failure prints.
const PRINTED: usize = 60;

/// What was waited for did not come. Prints what the journal has instead, also by `unwrap`.
#[derive(Clone)]
pub struct NotSeen {
    waited: Duration,
    /// How many entries were wanted, and how many of them came.
    wanted: usize,
    came: usize,
    entries: Vec<Entry>,
}

impl Journal {
    /// Waits until there is an entry that a closure wants, now or from now on; the first one.
    ///
    /// # Errors
    /// [`NotSeen`] when there is none after this handle's [`patience`](Self::patience).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn wait_for(&self, wanted: impl FnMut(&Entry) -> bool) -> Result<Entry, NotSeen> {
        self.wait_for_nth(1, wanted).await
    }

    /// Waits until there are `nth` entries that a closure wants, now or from now on; the last of them.
    ///
    /// # Errors
    /// [`NotSeen`] when there are fewer after this handle's [`patience`](Self::patience).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn wait_for_nth(
        &self,
        nth: usize,
        mut wanted: impl FnMut(&Entry) -> bool,
    ) -> Result<Entry, NotSeen> {
        let mut came = 0;
        let searching = async {
            let _waiting = Waiting::new(&self.inner);
            let mut next = self.from;
            loop {
                // From before the search on, so that nothing is written in between.
                let written = self.inner.written.notified();
                for entry in self.entries_from(next) {
                    next = entry.number() + 1;
                    if wanted(&entry) {
                        came += 1;
                        if came >= nth {
                            return entry;
                        }
                    }
                }
                written.await;
            }
        };
        match tokio::time::timeout(self.patience, searching).await {
            Ok(entry) => Ok(entry),
            Err(_) => Err(NotSeen {
                waited: self.patience,
                wanted: nth,
                came,
                entries: self.entries(),
            }),
        }
    }
}

/// Counts a task that waits, for as long as it lives.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn new(inner: &'a Inner) -> Self {
        inner.waiting.fetch_add(1, Ordering::Relaxed);
        Self(inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Display for NotSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            waited,
            wanted,
            came,
            entries,
        } = self;
        write!(
            f,
            "{came} of {wanted} entries came in {waited:?}; the journal has {}",
            entries.len()
        )?;
        let skipped = entries.len().saturating_sub(PRINTED);
        if skipped > 0 {
            write!(f, ", the last {PRINTED} of them")?;
        }
        f.write_str(":")?;
        for entry in &entries[skipped..] {
            write!(f, "\n  {entry}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for NotSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for NotSeen {}
