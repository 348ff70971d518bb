//! What a store is believed to keep of a queue, and for how long. Pure.
//!
//! A broker that has said yes may forget all the same: of a group's first commits that come together it may keep one, and a crash takes
//! what it has not written yet. Does not know: who commits.

use std::time::Duration;

use tokio::time::Instant;

/// How long it is believed that a store keeps what it has confirmed.
const BELIEVED: Duration = Duration::from_secs(30);

/// How long that is believed of an offset that the group did not have before. It is longer than first commits take.
const BELIEVED_FIRST: Duration = Duration::from_secs(1);

/// The offset that a store keeps, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Committed(Option<Known>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    offset: i64,
    /// When it has to be committed again.
    until: Instant,
}

impl Committed {
    /// The store had it, or has confirmed it.
    pub(super) fn found(offset: i64, now: Instant) -> Self {
        let until = now + BELIEVED;
        Self(Some(Known { offset, until }))
    }

    /// The store has confirmed it, and had none before.
    pub(super) fn chosen(offset: i64, now: Instant) -> Self {
        let until = now + BELIEVED_FIRST;
        Self(Some(Known { offset, until }))
    }

    /// Notes that the store has confirmed an offset at a commit that was sent at `now`.
    pub(super) fn confirm(&mut self, offset: i64, now: Instant) {
        *self = Self::found(offset, now);
    }

    /// Whether it is the last one that the store has confirmed, however long ago.
    pub(super) fn is(self, offset: i64) -> bool {
        self.0.is_some_and(|known| known.offset == offset)
    }

    /// Whether an offset has to be committed, once more perhaps.
    pub(super) fn is_due(self, offset: i64, now: Instant) -> bool {
        self.0
            .is_none_or(|known| known.offset != offset || now >= known.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l35_what_was_confirmed_is_believed_for_a_while() {
        let now = Instant::now();
        assert!(Committed::default().is_due(7, now) && !Committed::default().is(7));
        let cases = [
            (Committed::found(7, now), BELIEVED),
            (Committed::chosen(7, now), BELIEVED_FIRST),
        ];
        for (mut committed, until) in cases {
            let just_before = now + until - Duration::from_nanos(1);
            assert!(!committed.is_due(7, just_before) && committed.is_due(7, now + until));
            assert!(committed.is_due(6, now) && committed.is_due(8, now));
            assert!(committed.is(7) && !committed.is(8));
            committed.confirm(7, now + until);
            assert!(!committed.is_due(7, now + until + BELIEVED / 2));
        }
    }
}
