//! The rest of a send that did not succeed at once: looking for a route, connecting, waiting for room, trying again.
//!
//! Attempts that were not answered stay out while others are made. The first that turns out to have stored the message decides,
//! whichever it is.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::debug;

use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::message::MessageQueue;
use crate::producer::OPERATION;
use crate::producer::admission::closed;
use crate::producer::job::{Attempt, Failure, Job};
use crate::producer::queues::Queues;
use crate::producer::result::{SendResult, WhenNotOk};
use crate::producer::retry::Next;
use crate::producer::select::Avoid;
use crate::producer::target::Target;
use crate::producer::verdict::Verdict;
use crate::protocol::command::Command;
use crate::transport::CallError;

/// A send that needs more than one poll's worth of work.
pub(super) struct Rest {
    course: Course,
    out: Out,
    /// The last error.
    error: Option<Error>,
    /// Whether a failed attempt may have stored the message.
    doubt: bool,
    /// What was stored first, though not as safely as is wanted.
    stored: Option<Box<SendResult>>,
}

impl Rest {
    /// A send of which nothing is sent yet.
    pub(super) const fn new(job: Job, target: Target) -> Self {
        Self {
            course: Course {
                job,
                target,
                queues: None,
                avoid: Avoid::nothing(),
            },
            out: Out {
                waiting: Vec::new(),
                over: Vec::new(),
            },
            error: None,
            doubt: false,
            stored: None,
        }
    }

    /// The rest after a first attempt that has had its share of the time. It stays out.
    pub(super) fn after_silence(mut self, queues: Queues, first: Attempt) -> Self {
        self.course.queues = Some(queues);
        self.course.is_silent(&first.queue.broker_name);
        self.out.waiting.push(first);
        self
    }

    /// The rest after a first attempt that failed, and how it begins; the outcome, if there is none.
    pub(super) fn after_failure(
        mut self,
        queues: Queues,
        broker_name: &Arc<str>,
        failure: Failure,
    ) -> Result<(Self, Next), Result<SendResult>> {
        self.course.queues = Some(queues);
        self.course.avoid.add_failed(broker_name);
        match self.note_and_plan(failure) {
            Next::Stop(_) => Err(self.over()),
            next @ Next::Again { .. } => Ok((self, next)),
        }
    }

    pub(super) async fn run(mut self, mut next: Next) -> Result<SendResult> {
        self.course.job.find_room().await?;
        self.course.job.compress().await;
        while let Next::Again { pause, refresh } = next {
            let when_not_ok = self.course.job.shared.settings.when_not_ok;
            let begun = tokio::select! {
                biased;
                (attempt, answer) = self.out.settled(when_not_ok) => {
                    return self.course.job.outcome(&attempt, Ok(answer)).map_err(|failure| failure.error);
                }
                begun = self.course.begin(pause, refresh) => begun,
            };
            for (attempt, outcome) in mem::take(&mut self.out.over) {
                if let Err(failure) = self.course.job.outcome(&attempt, outcome) {
                    self.note(failure);
                }
            }
            next = match begun {
                Ok((attempt, patience)) => match self.wait(attempt, patience).await {
                    Ok(result) => return Ok(result),
                    Err(next) => next,
                },
                Err(failure) => self.note_and_plan(failure),
            };
        }
        self.wait_for_all().await
    }

    /// Waits for the newest attempt, and for the older ones besides it, until its share of the time is over.
    async fn wait(&mut self, newest: Attempt, patience: Instant) -> Result<SendResult, Next> {
        let (number, broker_name) = (newest.number, Arc::clone(&newest.queue.broker_name));
        self.out.waiting.push(newest);
        let is_share = patience < self.course.job.budget.deadline();
        loop {
            let (attempt, outcome) = tokio::select! {
                biased;
                over = self.out.next() => over,
                () = sleep_until(patience), if is_share => {
                    self.course.is_silent(&broker_name);
                    return Err(Next::AT_ONCE);
                }
            };
            match self.course.job.outcome(&attempt, outcome) {
                Ok(result) => return Ok(result),
                Err(failure) if attempt.number == number => {
                    self.course.avoid.add_failed(&broker_name);
                    return Err(self.note_and_plan(failure));
                }
                Err(failure) => self.note(failure),
            }
        }
    }

    /// Waits for the attempts that are still out: there will be no other.
    async fn wait_for_all(mut self) -> Result<SendResult> {
        while !self.out.waiting.is_empty() {
            let (attempt, outcome) = self.out.next().await;
            match self.course.job.outcome(&attempt, outcome) {
                Ok(result) => return Ok(result),
                Err(failure) => self.note(failure),
            }
        }
        self.over()
    }

    fn note_and_plan(&mut self, failure: Failure) -> Next {
        let verdict = failure.verdict;
        self.note(failure);
        let next = match (&self.stored, verdict) {
            (None, _) | (_, Verdict::GiveUp) => self.course.plan(verdict),
            // A broker that has the message needs no second one.
            (Some(_), _) => self.course.plan(Verdict::OnlyElsewhere),
        };
        if let Next::Stop(last) = next
            && let Some(text) = last.text()
        {
            // Of this error: what an earlier attempt says later has nothing to do with it.
            self.error = self.error.take().map(|error| error.last_because(text));
        }
        next
    }

    fn note(&mut self, failure: Failure) {
        let Failure {
            verdict,
            error,
            stored,
        } = failure;
        debug!(%error, ?verdict, "an attempt to send failed");
        self.doubt |= error.delivery() == Delivery::Unknown;
        self.error = Some(error);
        self.stored = self.stored.take().or(stored);
    }

    /// The outcome of the send when no attempt was good enough: what was stored all the same, else the error of the attempt that
    /// failed last.
    fn over(self) -> Result<SendResult> {
        if let Some(stored) = self.stored {
            return Ok(*stored);
        }
        let error = self
            .error
            .unwrap_or_else(|| Error::new(ErrorKind::Timeout, OPERATION));
        Err(if self.doubt {
            error.maybe_delivered(Delivery::Unknown)
        } else {
            error
        })
    }
}

/// How a send goes on from one attempt to the next.
struct Course {
    job: Job,
    target: Target,
    /// The queues that the last attempt was chosen from.
    queues: Option<Queues>,
    avoid: Avoid,
}

impl Course {
    /// Begins an attempt. Returns it with the time until which it is waited for before the next one.
    async fn begin(
        &mut self,
        pause: Duration,
        refresh: bool,
    ) -> Result<(Attempt, Instant), Failure> {
        if !pause.is_zero() {
            sleep(pause).await;
        }
        let queues = self.job.find(refresh).await.map_err(Failure::for_good)?;
        let Self {
            job, target, avoid, ..
        } = self;
        if refresh {
            target.forget_what_is_gone(&queues);
        }
        let queue = job
            .pick(target, &queues, avoid)
            .map_err(Failure::for_good)?;
        let others = target.may_move() && avoid.leaves_other(queues.list(), &queue.broker_name);
        let patience = job.budget.begin(Instant::now(), others);
        let begun = match queues.master(&queue.broker_name) {
            Some(addr) => job
                .request(queue, addr, patience)
                .await
                .map(|attempt| (attempt, patience)),
            None => Err((queue, Verdict::AfterRefresh, no_master())),
        };
        self.queues = Some(queues);
        begun.map_err(|(queue, verdict, error)| {
            let (number, _) = self.job.budget.attempts();
            self.avoid.add_failed(&queue.broker_name);
            Failure::new(verdict, self.job.describe(error, &queue, number))
        })
    }

    /// A broker has had its share of the time.
    fn is_silent(&mut self, broker_name: &Arc<str>) {
        self.avoid.add_silent(broker_name);
        if let Some(faults) = &self.job.shared.faults {
            faults.unanswered(broker_name);
        }
    }

    fn plan(&mut self, verdict: Verdict) -> Next {
        let others = self.target.may_move()
            && self
                .queues
                .as_ref()
                .is_some_and(|queues| self.avoid.leaves_any(queues.list()));
        self.job
            .budget
            .next(verdict, Instant::now(), others, rand::random())
    }
}

impl Job {
    async fn find(&self, refresh: bool) -> Result<Queues> {
        let (shared, deadline) = (&self.shared, self.budget.deadline());
        let topic = self.message().shared_topic();
        if shared.stop.is_cancelled() {
            return Err(closed(topic));
        }
        if refresh {
            shared.fresh_queues(OPERATION, topic, deadline).await
        } else {
            shared.queues(OPERATION, topic, deadline).await
        }
    }

    /// Puts the request on a connection to the broker at `addr`.
    async fn request(
        &self,
        queue: MessageQueue,
        addr: &Arc<str>,
        patience: Instant,
    ) -> Result<Attempt, (MessageQueue, Verdict, Error)> {
        let began = Instant::now();
        let (header, body) = (self.header(&queue), self.message().body());
        let sending = self.shared.client.rpc().send(
            addr,
            self.kind.carries(),
            &header,
            body,
            self.budget.deadline(),
        );
        // The connection may take no longer than the attempt; the answer may.
        let sent = timeout_at(patience, sending).await;
        match sent.unwrap_or(Err(CallError::TimedOut(Delivery::No))) {
            Ok(call) => {
                if patience < self.budget.deadline() {
                    // So that the connection notices that the broker is silent.
                    call.wake_at(patience);
                }
                let (number, _) = self.budget.attempts();
                Ok(Attempt {
                    call,
                    queue,
                    number,
                    began,
                })
            }
            Err(error) => {
                let verdict = Verdict::on_failure(&error);
                if let Some(faults) = &self.shared.faults {
                    faults.failed(&queue.broker_name, &error);
                }
                Err((queue, verdict, error.into_error(OPERATION, addr)))
            }
        }
    }
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

    /// Resolves when an attempt has stored the message well enough; never when none is out.
    ///
    /// Cancel safe: what ends otherwise is kept.
    async fn settled(&mut self, when_not_ok: WhenNotOk) -> (Attempt, Command) {
        loop {
            match self.next().await {
                (attempt, Ok(answer)) if when_not_ok.settles(answer.response_code()) => {
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
