//! I11: no storm. How often nodes are connected to and asked, in any minute and for each client.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::{Judge, Limits, Report};
use crate::history::record::{Event, Happened, Question};

const MINUTE: Duration = Duration::from_secs(60);

/// What one client may ask in a minute: queues are shared three times in one and a half seconds at most; what fails is tried again
/// after a second.
const MOST: usize = 130;

pub struct Storms {
    most: usize,
    recent: HashMap<Kind, VecDeque<Duration>>,
    peaks: HashMap<Kind, usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Connections,
    Questions(Question),
}

impl Storms {
    pub fn new(limits: &Limits) -> Self {
        Self {
            most: MOST * limits.clients,
            recent: HashMap::new(),
            peaks: HashMap::new(),
        }
    }
}

impl Judge for Storms {
    fn see(&mut self, happened: &Happened, _: &mut Report) {
        let kind = match &happened.event {
            Event::Connected => Kind::Connections,
            Event::Asked(question) => Kind::Questions(*question),
            _ => return,
        };
        let recent = self.recent.entry(kind).or_default();
        recent.push_back(happened.at);
        while recent.front().is_some_and(|at| *at + MINUTE < happened.at) {
            recent.pop_front();
        }
        let peak = self.peaks.entry(kind).or_default();
        *peak = (*peak).max(recent.len());
    }

    fn finish(&mut self, report: &mut Report) {
        for (kind, peak) in &self.peaks {
            if *peak > self.most {
                let most = self.most;
                report.broken(format!(
                    "I11: {peak} {kind:?} in a minute, at most {most} may be"
                ));
            }
        }
        let rebalances = Kind::Questions(Question::Members);
        report.rebalances = self.peaks.get(&rebalances).copied().unwrap_or(0);
    }
}
