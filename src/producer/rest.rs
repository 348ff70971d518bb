//! The rest of a send that did not succeed at once: looking for a route, connecting, waiting for room, trying again.
//!
//! Attempts that were not answered stay out while others are made. The first that turns out to have stored the message decides,
//! whichever it is.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::debug;

use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::producer::job::{Attempt, Failure, Job};
use crate::producer::queues::Queues;
use crate::producer::result::{SendResult, SendStatus};
use crate::producer::retry::{Next, Verdict};
use crate::producer::target::Target;
use crate::producer::{OPERATION, select};
use crate::protocol::command::Command;
use crate::transport::CallError;

/// A send that needs more than one poll's worth of work.
pub(super) struct Rest {
    job: Job,
    target: Target,
    /// The queues that the last attempt was chosen from.
    queues: Option<Queues>,
    out: Out,
    /// The brokers that failed, the last one last.
    failed: Vec<Arc<str>>,
    /// The last error.
    error: Option<Error>,
    /// Whether a failed attempt may have stored the message.
    doubt: bool,
}

impl Rest {
    /// A send of which nothing is sent yet.
    pub(super) const fn new(job: Job, target: Target) -> Self {
        Self {
            job,
            target,
            queues: None,
            out: Out {
                waiting: Vec::new(),
                over: Vec::new(),
            },
            failed: Vec::new(),
            error: None,
            doubt: false,
        }
    }

    /// The rest after a first attempt that has had its share of the time. It stays out.
    pub(super) fn after_silence(mut self, queues: Queues, first: Attempt) -> Self {
        self.queues = Some(queues);
        self.failed.push(Arc::clone(&first.queue.broker_name));
        self.out.waiting.push(first);
        self
    }

    /// The rest after a first attempt that failed, and how it begins; the error, if there is none.
    pub(super) fn after_failure(
        mut self,
        queues: Queues,
        broker_name: &Arc<str>,
        failure: Failure,
    ) -> Result<(Self, Next)> {
        self.queues = Some(queues);
        match self.note_and_plan(Some(broker_name), failure) {
            Next::Stop => Err(self.over()),
            next @ Next::Again { .. } => Ok((self, next)),
        }
    }

    pub(super) async fn run(mut self, mut next: Next) -> Result<SendResult> {
        self.job.compress().await;
        while let Next::Again { pause, refresh } = next {
            let begun = {
                let Self {
                    job,
                    target,
                    queues,
                    out,
                    failed,
                    ..
                } = &mut self;
                tokio::select! {
                    biased;
                    (attempt, answer) = out.stored() => return job.outcome(&attempt, Ok(answer)).map_err(|failure| failure.error),
                    begun = async {
                        if !pause.is_zero() {
                            sleep(pause).await;
                        }
                        begin(job, target, queues, failed, refresh).await
                    } => begun,
                }
            };
            for (attempt, outcome) in std::mem::take(&mut self.out.over) {
                if let Err(failure) = self.job.outcome(&attempt, outcome) {
                    self.note(&failure.error);
                }
            }
            next = match begun {
                Ok((attempt, patience)) => match self.wait(attempt, patience).await {
                    Ok(result) => return Ok(result),
                    Err(next) => next,
                },
                Err((broker_name, failure)) => self.note_and_plan(broker_name.as_ref(), failure),
            };
        }
        self.wait_for_all().await
    }

    /// Waits for the newest attempt, and for the older ones besides it, until its share of the time is over.
    async fn wait(&mut self, newest: Attempt, patience: Instant) -> Result<SendResult, Next> {
        let number = newest.number;
        self.out.waiting.push(newest);
        let silent = patience < self.job.budget.deadline();
        loop {
            let (attempt, outcome) = tokio::select! {
                biased;
                over = self.out.next() => over,
                () = sleep_until(patience), if silent => {
                    let broker_name = self.out.waiting.iter().find(|attempt| attempt.number == number);
                    self.failed.extend(broker_name.map(|attempt| Arc::clone(&attempt.queue.broker_name)));
                    return Err(Next::Again { pause: Duration::ZERO, refresh: false });
                }
            };
            match self.job.outcome(&attempt, outcome) {
                Ok(result) => return Ok(result),
                Err(failure) if attempt.number == number => {
                    return Err(self.note_and_plan(Some(&attempt.queue.broker_name), failure));
                }
                Err(failure) => self.note(&failure.error),
            }
        }
    }

    /// Waits for the attempts that are still out: there will be no other.
    async fn wait_for_all(mut self) -> Result<SendResult> {
        while !self.out.waiting.is_empty() {
            let (attempt, outcome) = self.out.next().await;
            match self.job.outcome(&attempt, outcome) {
                Ok(result) => return Ok(result),
                Err(failure) => self.note(&failure.error),
            }
        }
        Err(self.over())
    }

    fn note_and_plan(&mut self, broker_name: Option<&Arc<str>>, failure: Failure) -> Next {
        debug!(error = %failure.error, verdict = ?failure.verdict, "an attempt to send failed");
        self.note(&failure.error);
        self.failed.extend(broker_name.cloned());
        let others = match (broker_name, &self.queues) {
            (Some(broker_name), Some(queues)) if self.target.may_move() => {
                select::has_other(queues.list(), broker_name, &self.failed)
            }
            _ => false,
        };
        let chance = rand::random();
        self.job
            .budget
            .next(failure.verdict, Instant::now(), others, chance)
    }

    fn note(&mut self, error: &Error) {
        self.doubt |= error.delivery() == Delivery::Unknown;
        self.error = Some(error.clone());
    }

    /// The error of the send: that of the attempt that failed last.
    fn over(self) -> Error {
        let error = self
            .error
            .unwrap_or_else(|| Error::new(ErrorKind::Timeout, OPERATION));
        if self.doubt {
            error.maybe_delivered(Delivery::Unknown)
        } else {
            error
        }
    }
}

/// Begins an attempt: finds the queues, picks one, and puts the request on a connection to its broker. Returns it with the time until
/// which it is waited for before the next one; or the broker that failed, and how.
async fn begin(
    job: &mut Job,
    target: &mut Target,
    last_queues: &mut Option<Queues>,
    failed: &[Arc<str>],
    refresh: bool,
) -> Result<(Attempt, Instant), (Option<Arc<str>>, Failure)> {
    let deadline = job.budget.deadline();
    let give_up = |error| {
        (
            None,
            Failure {
                verdict: Verdict::GiveUp,
                error,
            },
        )
    };
    let topic = Arc::clone(job.message().shared_topic());
    if job.shared.stop.is_cancelled() {
        return Err(give_up(
            Error::new(ErrorKind::Closed, OPERATION).topic_of(&topic),
        ));
    }
    let found = if refresh {
        job.shared.fresh_queues(&topic, deadline).await
    } else {
        job.shared.queues(&topic, deadline).await
    };
    let queues = last_queues.insert(found.map_err(give_up)?);
    let queue = target
        .pick(job.message(), queues, failed)
        .map_err(give_up)?;
    let broker_name = Arc::clone(&queue.broker_name);
    let others = target.may_move() && select::has_other(queues.list(), &broker_name, failed);
    let patience = job.budget.begin(Instant::now(), others);
    let (number, _) = job.budget.attempts();
    let fail = |verdict, error| {
        let error = job.describe(error, &queue, number);
        (Some(Arc::clone(&broker_name)), Failure { verdict, error })
    };
    let Some(addr) = queues.master(&broker_name) else {
        return Err(fail(Verdict::AfterRefresh, no_master()));
    };
    let header = job.header(&queue);
    let rpc = job.shared.client.rpc();
    let sending = rpc.send(addr, &header, job.message().body(), deadline);
    let error = match timeout_at(patience, sending).await {
        Ok(Ok(call)) => {
            return Ok((
                Attempt {
                    call,
                    queue,
                    number,
                },
                patience,
            ));
        }
        Ok(Err(error)) => error,
        Err(_) => CallError::TimedOut(Delivery::No),
    };
    Err(fail(
        Verdict::on_failure(&error),
        error.into_error(OPERATION, addr),
    ))
}

/// The error of a queue whose broker nobody can send to.
pub(super) fn no_master() -> Error {
    Error::new(ErrorKind::NoRoute, OPERATION).detail("the route names no such broker with a master")
}

/// The attempts that are out.
struct Out {
    waiting: Vec<Attempt>,
    /// Those that ended without storing the message while something else was done.
    over: Vec<(Attempt, Result<Command, CallError>)>,
}

impl Out {
    /// Resolves when an attempt ends; never when none is out.
    ///
    /// Cancel safe: an outcome is taken only when it is returned.
    async fn next(&mut self) -> (Attempt, Result<Command, CallError>) {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Resolves when an attempt has stored the message; never when none is out.
    ///
    /// Cancel safe: what ends otherwise is kept.
    async fn stored(&mut self) -> (Attempt, Command) {
        loop {
            match self.next().await {
                (attempt, Ok(answer))
                    if SendStatus::from_code(answer.response_code()).is_some() =>
                {
                    return (attempt, answer);
                }
                over => self.over.push(over),
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(Attempt, Result<Command, CallError>)> {
        for index in 0..self.waiting.len() {
            if let Poll::Ready(outcome) = Pin::new(&mut self.waiting[index].call).poll(cx) {
                return Poll::Ready((self.waiting.remove(index), outcome));
            }
        }
        Poll::Pending
    }
}
