//! How brokers have done of late: which of them had better be left alone for a while. The table of Java 5's latency fault tolerance.
//! Pure: the time is a parameter.
//!
//! Knows: for each broker, until when it is set aside and whether it could be reached last. Does not know: who asks, or where a broker is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// How long a broker is set aside after an attempt of at least this latency, in milliseconds.
const SET_ASIDE: [(u64, u64); 5] = [
    (15_000, 30_000),
    (5_000, 10_000),
    (3_000, 6_000),
    (1_800, 5_000),
    (550, 2_000),
];

/// An attempt that failed counts as one of this latency.
const FAILED: Duration = Duration::from_secs(10);

/// How often a broker that could not be reached is probed.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// How the brokers have done.
#[derive(Debug, Default)]
pub(crate) struct FaultTable {
    brokers: HashMap<Arc<str>, Record>,
}

#[derive(Debug)]
struct Record {
    /// When it may be used again.
    available_from: Instant,
    reachable: bool,
    /// When it is probed next, if it is not reachable.
    probe_at: Instant,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With the message stored, or refused for its own sake, after so long.
    Answered(Duration),
    /// Without an answer.
    Unanswered,
    /// With an answer that says that the broker is in trouble.
    InTrouble,
}

/// How good a choice a broker is, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    Unreachable,
    /// Set aside, though it could be reached.
    Reachable,
    Available,
}

impl FaultTable {
    /// Notes how an attempt at a broker ended. Where brokers are probed, one without an answer is unreachable until a probe, or
    /// another attempt, says otherwise.
    pub(crate) fn note(&mut self, broker: &Arc<str>, ended: Ended, probing: bool, now: Instant) {
        let (latency, reachable) = match ended {
            Ended::Answered(latency) => (latency, true),
            Ended::Unanswered => (FAILED, !probing),
            Ended::InTrouble => (FAILED, false),
        };
        let until = now + set_aside_for(latency);
        match self.brokers.get_mut(broker) {
            Some(record) => {
                // It is never made shorter: an attempt that ended well may have begun before the one that did not.
                record.available_from = record.available_from.max(until);
                record.reachable = reachable;
            }
            // A broker that does well needs no record.
            None if until == now && reachable => {}
            None => {
                let record = Record {
                    available_from: until,
                    reachable,
                    probe_at: now,
                };
                self.brokers.insert(Arc::clone(broker), record);
            }
        }
    }

    pub(crate) fn standing(&self, broker: &str, now: Instant) -> Standing {
        match self.brokers.get(broker) {
            Some(record) if record.available_from > now && record.reachable => Standing::Reachable,
            Some(record) if record.available_from > now => Standing::Unreachable,
            Some(_) | None => Standing::Available,
        }
    }

    /// The brokers that are due to be probed; each is due again after two seconds.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut due = Vec::new();
        for (broker, record) in &mut self.brokers {
            if !record.reachable && record.probe_at <= now {
                record.probe_at = now + PROBE_EVERY;
                due.push(Arc::clone(broker));
            }
        }
        due
    }

    /// Notes that a broker answered a probe.
    pub(crate) fn probed(&mut self, broker: &str) {
        if let Some(record) = self.brokers.get_mut(broker) {
            record.reachable = true;
        }
    }

    /// Forgets a broker that no route names any more.
    pub(crate) fn forget(&mut self, broker: &str) {
        self.brokers.remove(broker);
    }
}

fn set_aside_for(latency: Duration) -> Duration {
    let row = SET_ASIDE
        .iter()
        .find(|(at_least, _)| latency >= Duration::from_millis(*at_least));
    row.map_or(Duration::ZERO, |(_, aside)| Duration::from_millis(*aside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn answered(latency: u64) -> Ended {
        Ended::Answered(millis(latency))
    }

    /// How long a broker is set aside, in milliseconds.
    fn aside(table: &FaultTable, now: Instant) -> u64 {
        (0..40_000)
            .find(|at| table.standing("a", now + millis(*at)) == Standing::Available)
            .unwrap()
    }

    #[test]
    fn a_slow_broker_is_set_aside_as_long_as_in_java() {
        let (broker, now) = ("a".into(), Instant::now());
        for (latency, expected) in [
            (0, 0),
            (549, 0),
            (550, 2000),
            (1799, 2000),
            (1800, 5000),
            (2999, 5000),
            (3000, 6000),
            (5000, 10_000),
            (14_999, 10_000),
            (15_000, 30_000),
            (100_000, 30_000),
        ] {
            let mut table = FaultTable::default();
            table.note(&broker, answered(latency), false, now);
            assert_eq!(aside(&table, now), expected, "{latency}");
            let standing = table.standing("a", now);
            assert_eq!(standing == Standing::Reachable, expected > 0);
        }
    }

    #[test]
    fn a_broker_that_fails_is_set_aside_for_ten_seconds() {
        let (broker, now) = ("a".into(), Instant::now());
        for (ended, probing, standing) in [
            (Ended::Unanswered, false, Standing::Reachable),
            (Ended::Unanswered, true, Standing::Unreachable),
            (Ended::InTrouble, false, Standing::Unreachable),
            (Ended::InTrouble, true, Standing::Unreachable),
        ] {
            let mut table = FaultTable::default();
            table.note(&broker, ended, probing, now);
            assert_eq!(table.standing("a", now), standing);
            assert_eq!(aside(&table, now), 10_000);
            assert_eq!(table.standing("b", now), Standing::Available);
        }
    }

    #[test]
    fn a_success_makes_it_reachable_and_shortens_nothing() {
        let (broker, now) = ("a".into(), Instant::now());
        let mut table = FaultTable::default();
        table.note(&broker, Ended::InTrouble, false, now);
        table.note(&broker, answered(1), false, now + millis(100));
        assert_eq!(table.standing("a", now), Standing::Reachable);
        assert_eq!(aside(&table, now), 10_000);
        table.note(&broker, answered(600), false, now + millis(9000));
        assert_eq!(aside(&table, now), 11_000);
    }

    #[test]
    fn what_cannot_be_reached_is_probed_every_two_seconds_until_it_can() {
        let (a, b, now) = ("a".into(), "b".into(), Instant::now());
        let mut table = FaultTable::default();
        table.note(&a, Ended::Unanswered, true, now);
        table.note(&b, answered(600), true, now);
        assert_eq!(table.due(now), std::slice::from_ref(&a));
        assert!(table.due(now + millis(1999)).is_empty());
        assert_eq!(table.due(now + millis(2000)).len(), 1);
        table.probed("a");
        assert!(table.due(now + millis(9000)).is_empty());
        assert_eq!(
            table.standing("a", now),
            Standing::Reachable,
            "still set aside"
        );
        table.note(&a, Ended::Unanswered, true, now + millis(9000));
        assert_eq!(table.due(now + millis(9000)).len(), 1);
        table.forget("a");
        assert_eq!(table.standing("a", now + millis(9000)), Standing::Available);
        table.probed("a");
    }
}
