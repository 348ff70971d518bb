//! How long to wait before the next attempt. Pure but for a little randomness.

use std::time::Duration;

/// Of so many failures one after the other one is a warning.
const WARNED: u32 = 20;

/// Pauses that double, each with up to a quarter more at random, so that many queues of one broker do not come back at once.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    last: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, last: Duration) -> Self {
        Self {
            first,
            last,
            failures: 0,
        }
    }

    /// The pause after one more failure.
    pub(crate) fn fail(&mut self) -> Duration {
        let pause = self
            .first
            .saturating_mul(1 << self.failures.min(20))
            .min(self.last);
        self.failures = self.failures.saturating_add(1);
        pause.mul_f64(rand::random_range(1.0..1.25))
    }

    /// Whether the next failure is worth a warning: the first one since a success, and then every twentieth, which with pauses of 3 s is
    /// one a minute.
    pub(crate) const fn is_news(&self) -> bool {
        self.failures.is_multiple_of(WARNED)
    }

    /// Notes a success. How many failures there were before it.
    pub(crate) fn succeed(&mut self) -> u32 {
        std::mem::take(&mut self.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_last_and_begin_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(100));
        for base in [20, 40, 80, 100, 100] {
            let pause = backoff.fail();
            let base = Duration::from_millis(base);
            assert!(base <= pause && pause <= base.mul_f64(1.25), "{pause:?}");
        }
        assert_eq!((backoff.succeed(), backoff.succeed()), (5, 0));
        assert!(backoff.fail() <= Duration::from_millis(25));
        backoff.failures = u32::MAX;
        assert!(backoff.fail() >= Duration::from_millis(100));
    }

    #[test]
    fn of_many_failures_the_first_and_every_twentieth_are_news() {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(100));
        let mut news = Vec::new();
        for failure in 0..50 {
            if backoff.is_news() {
                news.push(failure);
            }
            backoff.fail();
        }
        assert_eq!(news, [0, 20, 40]);
        backoff.succeed();
        assert!(backoff.is_news());
    }
}
