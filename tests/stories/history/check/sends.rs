//! I1: what was acknowledged is in the log. I2: a listener has finished it. I6: every call has one outcome, in time, and a true one.

use std::collections::{BTreeMap, HashSet};

use super::{Judge, Report};
use crate::history::record::{Event, Happened, Logged, Outcome};

/// How many errors of sends a report has.
const FAILURES: usize = 20;

pub struct Sends {
    logged: HashSet<u64>,
    sends: BTreeMap<u64, Option<Outcome>>,
    finished: HashSet<u64>,
    calls: BTreeMap<u64, &'static str>,
}

impl Sends {
    pub fn new(log: &[Logged]) -> Self {
        Self {
            logged: log.iter().map(|logged| logged.id).collect(),
            sends: BTreeMap::new(),
            finished: HashSet::new(),
            calls: BTreeMap::new(),
        }
    }

    fn judge(&self, id: u64, outcome: Option<Outcome>) -> Option<String> {
        let logged = self.logged.contains(&id);
        match outcome {
            None => Some(format!("I6: send {id} has no outcome")),
            Some(Outcome::Acked) if !logged => {
                Some(format!("I1: {id} was acknowledged and is not in the log"))
            }
            Some(Outcome::Acked) if !self.finished.contains(&id) => Some(format!(
                "I2: {id} was acknowledged and no listener finished it"
            )),
            Some(Outcome::NotStored | Outcome::Unwritten) if logged => Some(format!(
                "I6: {id} is in the log, but its error says that it is not"
            )),
            Some(_) => None,
        }
    }
}

impl Judge for Sends {
    fn see(&mut self, happened: &Happened, report: &mut Report) {
        match &happened.event {
            Event::Sending { id } => {
                self.sends.insert(*id, None);
            }
            Event::Sent { id, outcome, late } => {
                if *late {
                    report.broken(format!("I6: send {id} had its outcome too late"));
                }
                match self.sends.get_mut(id) {
                    Some(open @ None) => *open = Some(*outcome),
                    _ => report.broken(format!("I6: send {id} has an outcome too many")),
                }
            }
            Event::Failed { id, why } if report.failures.len() < FAILURES => {
                report.failures.push(format!("{id}: {why}"));
            }
            Event::Consumed {
                id, success: true, ..
            } => {
                self.finished.insert(*id);
            }
            Event::Called { call, what } => {
                self.calls.insert(*call, what);
            }
            Event::Returned { call } if self.calls.remove(call).is_none() => {
                report.broken(format!("I6: call {call} returned once too often"));
            }
            _ => {}
        }
    }

    fn finish(&mut self, report: &mut Report) {
        for what in self.calls.values() {
            report.broken(format!("I6: a call of {what} never returned"));
        }
        for (&id, &outcome) in &self.sends {
            report.broken.extend(self.judge(id, outcome));
            match outcome {
                Some(Outcome::Acked) => report.acked += 1,
                Some(Outcome::NotStored | Outcome::Unknown) => report.failed += 1,
                Some(Outcome::Oneway | Outcome::Unwritten) => {
                    report.oneway_lost += usize::from(!self.logged.contains(&id));
                }
                Some(Outcome::Unanswered) | None => {}
            }
        }
    }
}
