//! What a listener says of the messages that it was given.

use std::error::Error as StdError;

/// What a listener says of its messages, all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(
    non_camel_case_types,
    reason = "the names of the protocol's other clients"
)]
pub enum ConsumeStatus {
    /// They are consumed.
    CONSUME_SUCCESS,
    /// They are not, and come again later.
    RECONSUME_LATER,
}

/// What a listener says of its messages, in detail.
///
/// Made from a [`ConsumeStatus`], or from a `Result<(), Box<dyn Error + Send + Sync>>`, where an error means later:
///
/// ```
/// use rocketmq_sdk::{ConsumeResult, ConsumeStatus};
///
/// fn parse(body: &[u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     std::str::from_utf8(body)?;
///     Ok(())
/// }
///
/// assert!(ConsumeResult::from(parse(b"fine")).is_success());
/// assert!(!ConsumeResult::from(parse(b"\xFF")).is_success());
/// assert!(!ConsumeResult::from(ConsumeStatus::RECONSUME_LATER).is_success());
/// // The first two are consumed, the others become dead letters.
/// let result = ConsumeResult::dead_letter().ack_first(2);
/// // With an error of another type, and more to say than that it went well.
/// let checked = std::str::from_utf8(b"\xFF").map(|_| ConsumeResult::success());
/// let result = checked.unwrap_or_else(ConsumeResult::later_because);
/// # assert!(!result.is_success());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct ConsumeResult {
    failure: Option<Failure>,
    acked: usize,
}

/// What becomes of messages that were not consumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// 0: the broker decides by the number of failures; -1: to the dead letters; else a delay level.
    pub(super) delay_level: i32,
    pub(super) reason: Option<Box<str>>,
}

impl ConsumeResult {
    /// All messages are consumed.
    pub const fn success() -> Self {
        Self {
            failure: None,
            acked: 0,
        }
    }

    /// No message is consumed; they come again later, after a time that grows with the number of failures: 10 s, 30 s, 1 min, and
    /// so on.
    pub const fn later() -> Self {
        Self::failed(0)
    }

    /// The same as [`later`](Self::later), with an error or a text that is logged.
    pub fn later_because(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            failure: Some(Failure {
                delay_level: 0,
                reason: Some(reason.into().to_string().into()),
            }),
            acked: 0,
        }
    }

    /// No message is consumed; they come again after a delay level of the broker: 1 is 1 s, 2 is 5 s, 3 is 10 s, 4 is 30 s, up to
    /// 18, which is 2 h, unless the broker was told otherwise. 0 is the same as [`later`](Self::later).
    pub const fn retry_after_level(level: u32) -> Self {
        Self::failed(if level > 18 { 18 } else { level as i32 })
    }

    /// No message is consumed, and they do not come again: they go to the group's dead letters, `%DLQ%group`.
    pub const fn dead_letter() -> Self {
        Self::failed(-1)
    }

    /// The first `count` messages are consumed all the same; what was said before is said of the others.
    pub const fn ack_first(mut self, count: usize) -> Self {
        self.acked = count;
        self
    }

    /// Whether all messages are consumed.
    pub const fn is_success(&self) -> bool {
        self.failure.is_none()
    }

    const fn failed(delay_level: i32) -> Self {
        Self {
            failure: Some(Failure {
                delay_level,
                reason: None,
            }),
            acked: 0,
        }
    }

    /// How many of `count` messages are consumed, and what becomes of the others.
    pub(super) fn outcome(self, count: usize) -> (usize, Failure) {
        match self.failure {
            None => (
                count,
                Failure {
                    delay_level: 0,
                    reason: None,
                },
            ),
            Some(failure) => (self.acked.min(count), failure),
        }
    }
}

impl From<ConsumeStatus> for ConsumeResult {
    fn from(status: ConsumeStatus) -> Self {
        match status {
            ConsumeStatus::CONSUME_SUCCESS => Self::success(),
            ConsumeStatus::RECONSUME_LATER => Self::later(),
        }
    }
}

/// An error means [`later`](Self::later); its text is logged.
impl From<Result<(), Box<dyn StdError + Send + Sync>>> for ConsumeResult {
    fn from(result: Result<(), Box<dyn StdError + Send + Sync>>) -> Self {
        match result {
            Ok(()) => Self::success(),
            Err(error) => Self::later_because(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(result: ConsumeResult) -> (usize, i32) {
        let (acked, failure) = result.outcome(5);
        (acked, failure.delay_level)
    }

    #[test]
    fn each_form_says_how_many_and_what_of_the_others() {
        assert_eq!(outcome(ConsumeResult::success()).0, 5);
        assert_eq!(outcome(ConsumeStatus::CONSUME_SUCCESS.into()).0, 5);
        assert_eq!(outcome(Ok(()).into()).0, 5);
        assert_eq!(outcome(ConsumeResult::success().ack_first(2)).0, 5);
        assert_eq!(outcome(ConsumeStatus::RECONSUME_LATER.into()), (0, 0));
        assert_eq!(outcome(ConsumeResult::later().ack_first(2)), (2, 0));
        assert_eq!(
            outcome(ConsumeResult::retry_after_level(3).ack_first(9)),
            (5, 3)
        );
        assert_eq!(outcome(ConsumeResult::retry_after_level(99)), (0, 18));
        assert_eq!(outcome(ConsumeResult::dead_letter()), (0, -1));
    }

    #[test]
    fn an_error_is_later_and_keeps_its_text() {
        for result in [
            ConsumeResult::from(Err("no money".into())),
            ConsumeResult::later_because("no money"),
        ] {
            let (acked, failure) = result.outcome(1);
            assert_eq!((acked, failure.reason.as_deref()), (0, Some("no money")));
        }
    }
}
