//! Whether a send that failed is tried again, when, and how long each attempt is waited for. Pure: the time and the chance are
//! parameters. What an answer's code says of another attempt is in [`verdict`](super::verdict).

use std::time::Duration;

use tokio::time::Instant;

use crate::producer::verdict::Verdict;

/// The least time that an attempt has before another broker is tried.
const LEAST_SHARE: Duration = Duration::from_secs(1);

/// What stands for a timeout that the clock cannot reach.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The pause before the same broker is tried again triples from the first to the last. A broker calls itself busy when messages
/// waited in it for 200 ms: little is won by asking again before that time is over.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// What comes after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another attempt, after a pause, and with a new route where that is said.
    Again { pause: Duration, refresh: bool },
    /// None.
    Stop(Last),
}

/// Why there is no other attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// All were made.
    Attempts,
    /// The time is over, or too short for another.
    Time,
    /// The broker would say the same again, and no other may take it.
    Brokers,
    /// It would end as this one.
    Answer,
}

impl Last {
    /// What an error says of it, unless it says so by its number of attempts.
    pub(super) const fn text(self) -> Option<&'static str> {
        match self {
            Self::Attempts => None,
            Self::Time => Some("no time is left"),
            Self::Brokers => Some("no other broker may take it"),
            Self::Answer => Some("another attempt would not help"),
        }
    }
}

impl Next {
    /// Another attempt, now.
    pub(super) const AT_ONCE: Self = Self::Again {
        pause: Duration::ZERO,
        refresh: false,
    };
}

/// The time and the attempts of one send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    started: Instant,
    deadline: Instant,
    made: u32,
    most: u32,
    refreshed: bool,
}

impl Budget {
    /// `timeout` for all attempts together: one, and `retries` more.
    pub(super) fn new(now: Instant, timeout: Duration, retries: u32) -> Self {
        Self {
            started: now,
            deadline: now.checked_add(timeout).unwrap_or(now + LONGEST),
            made: 0,
            most: retries.saturating_add(1),
            refreshed: false,
        }
    }

    /// When the send began.
    pub(super) const fn started(&self) -> Instant {
        self.started
    }

    /// When the send is over.
    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How many attempts were made, and how many there may be.
    pub(super) const fn attempts(&self) -> (u32, u32) {
        (self.made, self.most)
    }

    /// Counts an attempt that begins, and says until when it is waited for before another one is made. That is the end where
    /// no other broker could take the message; else other attempts keep their share of what is left.
    pub(super) fn begin(&mut self, now: Instant, other_broker: bool) -> Instant {
        let left = self.most.saturating_sub(self.made);
        self.made = self.made.saturating_add(1);
        if !other_broker || left <= 1 {
            return self.deadline;
        }
        let share = self.deadline.saturating_duration_since(now) / left;
        (now + share.max(LEAST_SHARE)).min(self.deadline)
    }

    /// What comes after an attempt that failed. `chance` is between 0 and 1: it spreads the pauses of many senders.
    pub(super) fn next(
        &mut self,
        verdict: Verdict,
        now: Instant,
        other_broker: bool,
        chance: f64,
    ) -> Next {
        let mut again = Next::AT_ONCE;
        match verdict {
            Verdict::GiveUp => return Next::Stop(Last::Answer),
            _ if self.made >= self.most => return Next::Stop(Last::Attempts),
            Verdict::AfterRefresh if !self.refreshed => {
                self.refreshed = true;
                again = Next::Again {
                    pause: Duration::ZERO,
                    refresh: true,
                };
            }
            _ if other_broker => {}
            Verdict::OnlyElsewhere | Verdict::AfterRefresh => return Next::Stop(Last::Brokers),
            Verdict::Elsewhere | Verdict::ElsewhereOrRefreshed => {
                let pause = pause(self.made, chance);
                // An attempt at the very end would only hide what happened.
                if now + pause >= self.deadline {
                    return Next::Stop(Last::Time);
                }
                let refresh = verdict == Verdict::ElsewhereOrRefreshed && !self.refreshed;
                self.refreshed |= refresh;
                again = Next::Again { pause, refresh };
            }
        }
        if now < self.deadline {
            again
        } else {
            Next::Stop(Last::Time)
        }
    }
}

/// The pause after `made` attempts, with up to a quarter more by chance.
fn pause(made: u32, chance: f64) -> Duration {
    let steps = made.saturating_sub(1).min(10);
    let pause = (FIRST_PAUSE * 3_u32.pow(steps)).min(LAST_PAUSE);
    pause.mul_f64(1.0 + chance.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests;
