//! One send before anything is done: what was asked for, and what is checked at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Result;
use crate::message::Message;
use crate::producer::admission::{Load, Ticket, closed};
use crate::producer::interceptor::Watched;
use crate::producer::job::{Job, Kind};
use crate::producer::retry::Budget;
use crate::producer::send::polled_before;
use crate::producer::target::Target;
use crate::producer::{OPERATION, Shared, validate};

/// A message and what was asked for, before anything is done.
pub(super) struct Draft {
    pub(super) shared: Arc<Shared>,
    pub(super) message: Message,
    pub(super) kind: Kind,
    pub(super) target: Target,
    pub(super) timeout: Option<Duration>,
    pub(super) admission: Option<Admission>,
    /// It has had its turn among automatic batches.
    pub(super) in_turn: bool,
    /// Interceptors are told of it elsewhere.
    pub(super) told: bool,
}

/// A send that a shutdown waits for.
pub(super) struct Admission {
    pub(super) began: Instant,
    /// Taken by whoever reports the outcome, if that is not the future itself.
    pub(super) ticket: Option<Ticket>,
}

impl Draft {
    /// What goes now, for messages that were admitted.
    pub(super) fn in_turn(
        shared: &Arc<Shared>,
        message: Message,
        kind: Kind,
        target: Target,
        timeout: Duration,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            message,
            kind,
            target,
            timeout: Some(timeout),
            admission: Some(Admission {
                began: Instant::now(),
                ticket: None,
            }),
            in_turn: true,
            told: true,
        }
    }

    pub(super) fn time(&self) -> Duration {
        self.timeout.unwrap_or(self.shared.settings.send_timeout)
    }

    /// Tells the interceptors of the message, if there are any.
    pub(super) fn intercept(&mut self) -> Option<(Watched, Result<()>)> {
        let settings = &self.shared.settings;
        let interceptors = (!self.told).then_some(&settings.interceptors)?;
        interceptors.before(&settings.group, &mut self.message)
    }

    /// Checks everything that can be checked at once, takes a place if there is one, and lets the time run from now on.
    pub(super) fn admit(&mut self) -> Result<()> {
        let (shared, message) = (&self.shared, &self.message);
        let load = Load {
            messages: match self.kind {
                Kind::Batch(count) => count,
                Kind::Message | Kind::Half | Kind::Reply => 1,
            },
            bytes: message.body().len() + message.raw_properties().len(),
        };
        let ticket = shared.admit(load).ok_or_else(|| closed(message.topic()))?;
        validate::message(OPERATION, message, shared.settings.max_message_size)?;
        shared.client.check_topic(OPERATION, message.topic())?;
        if let Target::Queue(queue) = &self.target {
            validate::queue(OPERATION, message, queue)?;
        }
        self.admission = Some(Admission {
            began: Instant::now(),
            ticket: Some(ticket),
        });
        Ok(())
    }

    pub(super) const fn take_ticket(&mut self) -> Option<Ticket> {
        match &mut self.admission {
            Some(admission) => admission.ticket.take(),
            None => None,
        }
    }

    /// When its time is over, once it is admitted.
    pub(super) fn deadline(&self) -> Result<Instant> {
        let admission = self.admission.as_ref().ok_or_else(polled_before)?;
        Ok(Budget::new(admission.began, self.time(), 0).deadline())
    }

    /// Waits for room, once it is admitted.
    pub(super) async fn find_room(&mut self) -> Result<()> {
        let deadline = self.deadline()?;
        if let Some(admission) = &mut self.admission
            && let Some(ticket) = admission.ticket.take()
        {
            let topic = self.message.topic();
            let place = self.shared.find_room(ticket, topic, deadline).await?;
            admission.ticket = Some(Ticket::Place(place));
        }
        Ok(())
    }

    /// An error if there is no room, once it is admitted.
    pub(super) fn expect_room(&self) -> Result<()> {
        match &self.admission {
            Some(Admission {
                ticket: Some(Ticket::Waiting { .. }),
                ..
            }) => {
                let why = "and what has a callback does not wait for room";
                Err(self.shared.room.overloaded(self.message.topic(), why))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn into_job(self) -> Result<(Job, Target)> {
        let (time, retries) = (self.time(), self.shared.settings.retries);
        let Some(Admission { began, ticket }) = self.admission else {
            return Err(polled_before());
        };
        let budget = Budget::new(began, time, retries);
        let job = Job::new(self.shared, self.kind, self.message, budget, ticket);
        Ok((job, self.target))
    }
}
