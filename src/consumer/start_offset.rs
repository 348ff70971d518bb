//! Where the consumption of a queue begins. Pure.
//!
//! Knows: what was asked for, and what the offset store said. Does not know: how the store or a broker is asked.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where a group begins in a queue for which it has no committed offset.
///
/// A committed offset always wins. The group's retry topic is always consumed from its beginning, and so is a queue that was added
/// to its topic while the consumer ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ConsumeFromWhere {
    /// Behind the last message: only what comes from now on. The default.
    ///
    /// A broker of version 4.9 says 0 for a new group of a topic whose first message is still in its memory, so there a small topic
    /// is consumed from its beginning.
    #[default]
    LastOffset,
    /// At the first message that the broker still has.
    FirstOffset,
    /// At the first message that was stored at this time or later. The same holds for brokers of version 4.9 as above.
    Timestamp(SystemTime),
}

impl ConsumeFromWhere {
    /// Java's name, which heartbeats carry.
    pub(crate) const fn wire_name(self) -> &'static str {
        match self {
            Self::LastOffset => "CONSUME_FROM_LAST_OFFSET",
            Self::FirstOffset => "CONSUME_FROM_FIRST_OFFSET",
            Self::Timestamp(_) => "CONSUME_FROM_TIMESTAMP",
        }
    }
}

/// How a queue came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was there when its topic was looked at first.
    Known,
    /// It appeared in a route change while this member ran.
    AddedLater,
    /// It was there, but the broker had nothing at the group's offset any more: it begins again here.
    Corrected(i64),
    /// It was there, and somebody wants the group to begin here.
    Reset(i64),
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Where the group ended.
    GoOn(i64),
    /// At this offset, which has to be committed first.
    Begin(i64),
    /// At the queue's end, which has to be asked for.
    End,
    /// At the first message of this time, in milliseconds since 1970, which has to be asked for.
    Time(i64),
}

/// Decides where to begin, by what the offset store answered: `None` when the group has no offset. A store that could not be asked
/// has answered nothing, and then there is nothing to decide.
pub(crate) fn decide(
    from: ConsumeFromWhere,
    origin: Origin,
    is_retry_topic: bool,
    stored: Option<i64>,
) -> Start {
    match stored {
        _ if let Origin::Corrected(offset) | Origin::Reset(offset) = origin => Start::Begin(offset),
        Some(offset) if offset >= 0 => Start::GoOn(offset),
        // Some stores say "none" with a negative number.
        Some(_) | None => match from {
            _ if is_retry_topic || origin == Origin::AddedLater => Start::Begin(0),
            ConsumeFromWhere::FirstOffset => Start::Begin(0),
            ConsumeFromWhere::LastOffset => Start::End,
            ConsumeFromWhere::Timestamp(time) => Start::Time(unix_millis(time)),
        },
    }
}

fn unix_millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn all() -> [ConsumeFromWhere; 3] {
        let time = ConsumeFromWhere::Timestamp(UNIX_EPOCH + Duration::from_millis(1234));
        [
            ConsumeFromWhere::LastOffset,
            ConsumeFromWhere::FirstOffset,
            time,
        ]
    }

    #[test]
    fn a_stored_offset_wins_over_everything() {
        for from in all() {
            for origin in [Origin::Known, Origin::AddedLater] {
                for retry in [false, true] {
                    for offset in [0, 7] {
                        let start = decide(from, origin, retry, Some(offset));
                        assert_eq!(start, Start::GoOn(offset));
                    }
                }
            }
        }
    }

    #[test]
    fn without_a_stored_offset_the_choice_decides() {
        for stored in [None, Some(-1)] {
            let starts = all().map(|from| decide(from, Origin::Known, false, stored));
            assert_eq!(starts, [Start::End, Start::Begin(0), Start::Time(1234)]);
        }
    }

    #[test]
    fn retry_topics_and_added_queues_begin_at_their_beginning() {
        for from in all() {
            for origin in [Origin::Known, Origin::AddedLater] {
                assert_eq!(decide(from, origin, true, None), Start::Begin(0));
            }
            let added = decide(from, Origin::AddedLater, false, None);
            assert_eq!(added, Start::Begin(0));
        }
    }

    #[test]
    fn a_time_before_1970_is_the_beginning() {
        let before = ConsumeFromWhere::Timestamp(UNIX_EPOCH - Duration::from_secs(1));
        let start = decide(before, Origin::Known, false, None);
        assert_eq!(start, Start::Time(0));
    }
}
