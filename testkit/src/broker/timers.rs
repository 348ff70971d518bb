//! What a broker has to do at which time: one queue for everything. Pure.

use std::collections::BTreeMap;

/// Things to do, by the time at which they are due; those of one time in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    queue: BTreeMap<TimerKey, T>,
    next: u64,
}

/// Names one entry, to take it out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey {
    due: i64,
    number: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            queue: BTreeMap::new(),
            next: 0,
        }
    }
}

impl<T> Timers<T> {
    /// Adds something that is due at a time in milliseconds since 1970.
    pub(crate) fn add(&mut self, due: i64, what: T) -> TimerKey {
        let key = TimerKey {
            due,
            number: self.next,
        };
        self.next += 1;
        self.queue.insert(key, what);
        key
    }

    /// Takes an entry out, if it is still there.
    pub(crate) fn cancel(&mut self, key: TimerKey) {
        self.queue.remove(&key);
    }

    /// Keeps the entries that a closure selects.
    pub(crate) fn retain(&mut self, kept: impl Fn(&T) -> bool) {
        self.queue.retain(|_, what| kept(what));
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// When the first entry is due.
    pub(crate) fn next_due(&self) -> Option<i64> {
        self.queue.first_key_value().map(|(key, _)| key.due)
    }

    /// Takes out the first entry that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: i64) -> Option<T> {
        let first = self.queue.first_entry()?;
        (first.key().due <= now).then(|| first.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_out_what_is_due_in_order() {
        let mut timers = Timers::default();
        timers.add(20, "c");
        timers.add(10, "a");
        let cancelled = timers.add(5, "x");
        timers.add(10, "b");
        timers.cancel(cancelled);
        timers.cancel(cancelled);
        assert_eq!(timers.next_due(), Some(10));
        assert_eq!(timers.pop_due(9), None);
        assert_eq!(timers.pop_due(15), Some("a"));
        assert_eq!(timers.pop_due(15), Some("b"));
        assert_eq!(timers.pop_due(15), None);
        assert_eq!(timers.pop_due(20), Some("c"));
        assert_eq!(timers.next_due(), None);
    }
}
