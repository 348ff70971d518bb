//! Which requests a rule is for, and which of those it hits. Pure.

use std::fmt;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rocketmq_sdk::protocol::code::RequestCode;

use crate::journal::Entry;

/// What is asked of a request that nothing simpler can say.
type Predicate = dyn Fn(&Entry) -> bool + Send + Sync;

/// Which requests a rule is for. What is not set holds for all.
#[derive(Clone, Default)]
pub(crate) struct Condition {
    pub(crate) node: Option<Arc<str>>,
    /// One of these.
    pub(crate) codes: Option<Vec<RequestCode>>,
    pub(crate) topic: Option<String>,
    pub(crate) queue_id: Option<i32>,
    pub(crate) group: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) connection: Option<u64>,
    pub(crate) when: Option<Arc<Predicate>>,
}

/// Which of the requests that a rule is for it hits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frequency {
    /// How many are spared first.
    pub(crate) skip: u64,
    /// After that, every how manieth.
    pub(crate) every: u64,
    pub(crate) probability: Option<f64>,
    /// How many are hit at most.
    pub(crate) times: Option<u64>,
}

impl Default for Frequency {
    fn default() -> Self {
        Self {
            skip: 0,
            every: 1,
            probability: None,
            times: None,
        }
    }
}

/// Counts what a rule was for and what it hit.
#[derive(Debug)]
pub(crate) struct Counter {
    frequency: Frequency,
    random: StdRng,
    pub(crate) matched: u64,
    pub(crate) hits: u64,
}

impl Condition {
    pub(crate) fn holds(&self, entry: &Entry) -> bool {
        let Self {
            node,
            codes,
            topic,
            queue_id,
            group,
            client,
            connection,
            when,
        } = self;
        // What costs least is asked first: the header is read only for a topic, a queue, a group or a client.
        node.as_deref().is_none_or(|node| node == entry.node())
            && connection.is_none_or(|connection| connection == entry.connection())
            && codes
                .as_ref()
                .is_none_or(|codes| entry.code().is_some_and(|code| codes.contains(&code)))
            && topic
                .as_deref()
                .is_none_or(|topic| entry.topic() == Some(topic))
            && queue_id.is_none_or(|queue_id| entry.queue_id() == Some(queue_id))
            && group
                .as_ref()
                .is_none_or(|group| entry.groups().contains(group))
            && client
                .as_deref()
                .is_none_or(|client| entry.client_id() == Some(client))
            && when.as_ref().is_none_or(|when| when(entry))
    }
}

impl Counter {
    pub(crate) fn new(frequency: Frequency, seed: u64) -> Self {
        Self {
            frequency,
            random: StdRng::seed_from_u64(seed),
            matched: 0,
            hits: 0,
        }
    }

    /// Counts a request that the rule is for; whether it is hit.
    pub(crate) fn strike(&mut self) -> bool {
        let Frequency {
            skip,
            every,
            probability,
            times,
        } = self.frequency;
        self.matched += 1;
        let hit = self.matched > skip
            && (self.matched - skip).is_multiple_of(every)
            && times.is_none_or(|times| self.hits < times)
            && probability.is_none_or(|probability| self.random.random_bool(probability));
        self.hits += u64::from(hit);
        hit
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.codes {
            None => f.write_str("any")?,
            Some(codes) => {
                for (at, code) in codes.iter().enumerate() {
                    let separator = if at > 0 { "|" } else { "" };
                    write!(f, "{separator}{code}")?;
                }
            }
        }
        if let Some(node) = &self.node {
            write!(f, " node={node}")?;
        }
        if let Some(topic) = &self.topic {
            write!(f, " topic={topic}")?;
        }
        if let Some(queue_id) = self.queue_id {
            write!(f, " queue={queue_id}")?;
        }
        if let Some(group) = &self.group {
            write!(f, " group={group}")?;
        }
        if let Some(client) = &self.client {
            write!(f, " client={client}")?;
        }
        if let Some(connection) = self.connection {
            write!(f, " connection={connection}")?;
        }
        if self.when.is_some() {
            f.write_str(" when ..")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(frequency: Frequency, seed: u64, requests: u64) -> Vec<u64> {
        let mut counter = Counter::new(frequency, seed);
        (1..=requests).filter(|_| counter.strike()).collect()
    }

    #[test]
    fn hits_what_the_frequency_says() {
        let all = Frequency::default;
        assert_eq!(struck(all(), 0, 4), [1, 2, 3, 4]);
        let third = Frequency {
            skip: 2,
            times: Some(1),
            ..all()
        };
        assert_eq!(struck(third, 0, 9), [3]);
        let every = Frequency {
            every: 3,
            times: Some(2),
            ..all()
        };
        assert_eq!(struck(every, 0, 20), [3, 6]);
        let later = Frequency {
            skip: 5,
            every: 2,
            ..all()
        };
        assert_eq!(struck(later, 0, 10), [7, 9]);
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed() {
        let half = || Frequency {
            probability: Some(0.5),
            ..Frequency::default()
        };
        let one = struck(half(), 7, 1_000);
        assert_eq!(one, struck(half(), 7, 1_000));
        assert_ne!(one, struck(half(), 8, 1_000));
        assert!((400..600).contains(&one.len()), "{}", one.len());
    }
}
