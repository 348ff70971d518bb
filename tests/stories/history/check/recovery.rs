//! I8: sends and listeners succeed again soon after a fault has ended. I9: nothing of ours panics.

use std::time::Duration;

use super::{Judge, Report};
use crate::history::record::{Event, Happened, Outcome};

#[derive(Default)]
pub struct Recovery {
    /// Until when the first success has to come.
    send_until: Option<Duration>,
    listener_until: Option<Duration>,
}

impl Recovery {
    fn succeeded(until: &mut Option<Duration>, what: &str, now: Duration, report: &mut Report) {
        if let Some(until) = until.take().filter(|until| now > *until) {
            let late = (now - until).as_millis();
            report.broken(format!(
                "I8: the first {what} after a fault came {late} ms too late"
            ));
        }
    }
}

impl Judge for Recovery {
    fn see(&mut self, happened: &Happened, report: &mut Report) {
        let now = happened.at;
        match &happened.event {
            Event::Healed {
                within: Some(within),
            } => {
                (self.send_until, self.listener_until) = (Some(now + *within), Some(now + *within));
            }
            // What had time enough is late; the rest cannot be told any more.
            Event::Fault => {
                for until in [self.send_until.take(), self.listener_until.take()] {
                    if until.is_some_and(|until| now > until) {
                        report.broken("I8: nothing succeeded after a fault until the next".into());
                    }
                }
            }
            Event::Sent {
                outcome: Outcome::Acked,
                ..
            } => {
                Self::succeeded(&mut self.send_until, "send", now, report);
            }
            Event::Consumed { success: true, .. } => {
                Self::succeeded(&mut self.listener_until, "listener", now, report);
            }
            Event::Panicked { text } => report.broken(format!("I9: {text}")),
            _ => {}
        }
    }

    fn finish(&mut self, report: &mut Report) {
        let open = [(self.send_until, "send"), (self.listener_until, "listener")];
        for (_, what) in open.into_iter().filter(|(until, _)| until.is_some()) {
            report.broken(format!("I8: no {what} succeeded after the last fault"));
        }
    }
}
