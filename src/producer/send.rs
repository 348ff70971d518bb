//! One send: its options, and the hot path.
//!
//! Where the route is known and the connection is there, a send is one poll that writes the request, and one that takes the
//! answer, without a box, a task or a timer. Everything else is [`Rest`].

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::message::{Message, MessageQueue};
use crate::producer::admission::Ticket;
use crate::producer::auto_batch::AutoBatches;
use crate::producer::draft::Draft;
use crate::producer::driver::Receipt;
use crate::producer::interceptor::Watched;
use crate::producer::job::{Attempt, Failure, Job, Kind};
use crate::producer::queues::Queues;
use crate::producer::rest::Rest;
use crate::producer::result::SendResult;
use crate::producer::retry::Next;
use crate::producer::select::Avoid;
use crate::producer::target::Target;
use crate::producer::{OPERATION, Shared};
use crate::protocol::message::property_names as names;
use crate::transport::CallError;

mod oneway;

/// A message that is being sent: resolves when a broker has stored it, or no attempt is left.
///
/// Made by [`DefaultProducer::send`](crate::DefaultProducer::send). Nothing happens before it is awaited. It owns all that it
/// needs, so it can be spawned, joined and buffered. Its options are set before it is polled first; later they change nothing.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput): the message or an option breaks a rule; nothing was sent.
/// [`NoRoute`](crate::ErrorKind::NoRoute), [`NameServer`](crate::ErrorKind::NameServer): nobody knows where to send it.
/// [`Connect`](crate::ErrorKind::Connect), [`ConnectionLost`](crate::ErrorKind::ConnectionLost), [`Timeout`](crate::ErrorKind::Timeout),
/// [`Broker`](crate::ErrorKind::Broker): all attempts failed; the error is that of the last one.
/// [`Overloaded`](crate::ErrorKind::Overloaded): the producer had as much in flight as it may, and no room came in time; nothing was
/// sent. [`Application`](crate::ErrorKind::Application): an interceptor is against the send, or it or the queue selector panicked, or the
/// selector chose a queue that is not there. [`Protocol`](crate::ErrorKind::Protocol): what the broker answered cannot be read.
/// [`Closed`](crate::ErrorKind::Closed): the producer has been shut down.
/// [`Error::delivery`] says whether the message may have been stored all the same.
///
/// # Cancel safety
/// Dropping it cancels the send: no further attempt is made, and nothing is left behind. A request that was written already may
/// still be carried out. Use [`submit`](Self::submit) or [`callback`](Self::callback) for a send that goes on by itself.
#[must_use = "a message is sent when this is awaited"]
pub struct SendFuture {
    state: State,
    /// There are interceptors, which were told that it begins.
    watched: Option<Box<Watched>>,
}

enum State {
    New(Draft),
    Refused(Error),
    Sent(Sent),
    Rest(Pin<Box<dyn Future<Output = Result<SendResult>> + Send>>),
    Over,
}

/// A send whose first attempt is out.
struct Sent {
    job: Job,
    target: Target,
    attempt: Attempt,
    queues: Queues,
    /// Until when only this attempt is waited for, where that is not the end.
    patience: Option<Instant>,
}

impl SendFuture {
    pub(super) fn new(shared: Arc<Shared>, message: Message) -> Self {
        let (kind, target) = match message.reply_through() {
            None => (Kind::Message, Target::Any),
            Some(broker_name) => (Kind::Reply, Target::Rather(Arc::clone(broker_name))),
        };
        Self::of(Draft {
            shared,
            message,
            kind,
            target,
            timeout: None,
            admission: None,
            in_turn: false,
            told: false,
        })
    }

    pub(super) const fn of(draft: Draft) -> Self {
        Self {
            state: State::New(draft),
            watched: None,
        }
    }

    /// A message with its options.
    pub(super) fn of_one(
        shared: Arc<Shared>,
        message: Message,
        target: Target,
        timeout: Option<Duration>,
    ) -> Self {
        Self::new(shared, message).with(|draft| {
            draft.target = target;
            draft.timeout = timeout;
        })
    }

    /// A batch of so many messages, which were checked, as one message.
    pub(super) fn of_batch(self, count: usize) -> Self {
        self.with(|draft| draft.kind = Kind::Batch(count))
    }

    /// One whose interceptors are told of it elsewhere.
    pub(super) fn told(self) -> Self {
        self.with(|draft| draft.told = true)
    }

    /// A half message of a transaction.
    pub(super) fn of_half(shared: Arc<Shared>, message: Message) -> Self {
        Self::new(shared, message).with(|draft| draft.kind = Kind::Half)
    }

    /// How long the send may take, all attempts together. Default: the producer's send timeout, 3 s.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|draft| draft.timeout = Some(timeout))
    }

    /// Sends to this queue and no other. It is tried again only there.
    pub fn to(self, queue: MessageQueue) -> Self {
        self.with(|draft| draft.target = Target::Queue(queue))
    }

    /// Lets the application choose the queue: an index into the topic's queues, which it is given as
    /// [`queues`](crate::DefaultProducer::queues) lists them. It is called once, on the task that sends, and must not block; the message
    /// is tried again only on the queue that it chose.
    pub fn select<F>(self, selector: F) -> Self
    where
        F: FnOnce(&[MessageQueue], &Message) -> usize + Send + 'static,
    {
        self.with(|draft| draft.target = Target::Selector(Box::new(selector)))
    }

    /// Sends messages with the same key to the same queue, so that they keep their order. The key goes along as a property.
    ///
    /// The queue is the one that Java's `SelectMessageQueueByHash` chooses, as long as the topic's queues stay the same. It
    /// is tried again only there.
    pub fn sharding_key(self, key: impl AsRef<str>) -> Self {
        self.with(|draft| {
            draft
                .message
                .set_property(names::SHARDING_KEY, key.as_ref());
            draft.target = Target::of_key(key.as_ref());
        })
    }

    /// Hands the message over: resolves when it is accepted, to a [`Receipt`] that resolves when it is stored. The producer
    /// sees it through, even when the receipt is dropped.
    ///
    /// A producer has a bounded number of messages and bytes in flight (see
    /// [`max_in_flight`](crate::DefaultProducerBuilder::max_in_flight)); this waits for room, within the send's timeout.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): the message breaks a rule. [`Overloaded`](crate::ErrorKind::Overloaded): no room
    /// came in time. [`Application`](crate::ErrorKind::Application): an interceptor is against the send, or panicked.
    /// [`Closed`](crate::ErrorKind::Closed): the producer has been shut down. In each case nothing was sent.
    ///
    /// # Cancel safety
    /// Dropping the future before it resolves means that the message is not sent.
    pub async fn submit(mut self) -> Result<Receipt> {
        let entered = self.enter_draft().await;
        match entered {
            Ok(shared) => Ok(shared.driver.submit(self)),
            Err(error) => Err(self.ended(error)),
        }
    }

    /// Hands the message over and returns at once; `callback` is given the outcome. It is called exactly once, on the
    /// producer's own task, and must not block: it holds up other callbacks. One that panics harms nothing else.
    ///
    /// Where the producer has as much in flight as it may (see
    /// [`max_in_flight`](crate::DefaultProducerBuilder::max_in_flight)), nothing is sent, and the callback gets an
    /// [`Overloaded`](crate::ErrorKind::Overloaded) error: this never waits. A message has left its place when its callback is
    /// called, so that the callback can send the next one.
    ///
    /// Where 16,384 sends that were refused wait for that task - it may be that they leave it no thread to run on - the callback of
    /// one more is called from here.
    pub fn callback<F>(mut self, callback: F)
    where
        F: FnOnce(Result<SendResult>) + Send + 'static,
    {
        let State::New(draft) = &mut self.state else {
            callback(Err(polled_before()));
            return;
        };
        let shared = Arc::clone(&draft.shared);
        if let Err(error) = self.admit().and_then(|draft| draft.expect_room()) {
            self.state = State::Refused(error);
        }
        shared.driver.call_back(self, Box::new(callback));
    }

    /// The topic, to name it in an error after the send is gone.
    pub(super) fn topic(&self) -> Arc<str> {
        match &self.state {
            State::New(draft) => Arc::clone(draft.message.shared_topic()),
            State::Refused(error) => error.topic().unwrap_or_default().into(),
            _ => Arc::from(""),
        }
    }

    /// How long it may take, where that was set.
    pub(super) const fn own_timeout(&self) -> Option<Duration> {
        match &self.state {
            State::New(draft) => draft.timeout,
            _ => None,
        }
    }

    /// Changes the message before anything is done with it.
    pub(super) fn change(self, change: impl FnOnce(&mut Message)) -> Self {
        self.with(|draft| change(&mut draft.message))
    }

    pub(super) const fn is_refused(&self) -> bool {
        matches!(self.state, State::Refused(_))
    }

    /// Whether anything may have been sent.
    pub(super) const fn has_begun(&self) -> bool {
        !matches!(self.state, State::New(_) | State::Refused(_))
    }

    /// Admits it as soon as there is room. What keeps a shutdown waiting is the caller's to hold, for longer than the send.
    pub(super) async fn enter(&mut self) -> Result<Option<Ticket>> {
        match self.enter_draft().await {
            Ok(_) => Ok(self.take_ticket()),
            Err(error) => Err(self.ended(error)),
        }
    }

    async fn enter_draft(&mut self) -> Result<Arc<Shared>> {
        let draft = self.admit()?;
        draft.find_room().await?;
        Ok(Arc::clone(&draft.shared))
    }

    /// Tells the interceptors that it begins, and admits it.
    fn admit(&mut self) -> Result<&mut Draft> {
        let State::New(draft) = &mut self.state else {
            return Err(polled_before());
        };
        if let Some((watched, outcome)) = draft.intercept() {
            self.watched = Some(Box::new(watched));
            outcome?;
        }
        draft.admit()?;
        Ok(draft)
    }

    /// Tells the interceptors that it ended with an error, where that is not told by itself.
    pub(super) fn ended(&mut self, error: Error) -> Error {
        if let Some(watched) = self.watched.take() {
            watched.over(Err(&error));
        }
        error
    }

    /// Ends it, since its message is known to be stored: no further attempt is made.
    pub(super) fn stored(&mut self) {
        self.state = State::Over;
        if let Some(watched) = self.watched.take() {
            watched.over(Ok(None));
        }
    }

    /// What keeps a shutdown waiting, to be held until the outcome is reported.
    pub(super) const fn take_ticket(&mut self) -> Option<Ticket> {
        match &mut self.state {
            State::New(draft) => draft.take_ticket(),
            _ => None,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Draft)) -> Self {
        if let State::New(draft) = &mut self.state {
            change(draft);
        }
        self
    }
}

impl Draft {
    /// Sends the message where that takes no waiting. `at_once`: it was admitted just now.
    fn begin(self, at_once: bool) -> Result<State> {
        if let Some(batches) = &self.shared.auto_batches
            && !self.in_turn
            && AutoBatches::take(&self)
        {
            let batches = Arc::clone(batches);
            return Ok(State::Rest(Box::pin(batches.send(self))));
        }
        let (mut job, mut target) = self.into_job()?;
        if job.waits_for_room() || !job.compress_here() {
            return Ok(later(job, target));
        }
        let Some(queues) = job.shared.known_queues(job.message().topic()) else {
            return Ok(later(job, target));
        };
        let queue = job.pick(&mut target, &queues, &Avoid::nothing())?;
        let Some(addr) = queues.master(&queue.broker_name) else {
            return Ok(later(job, target));
        };
        let begun = {
            let (header, body) = (job.header(&queue), job.message().body());
            job.shared.client.rpc().begin_send(
                addr,
                job.kind.carries(),
                &header,
                body,
                job.budget.deadline(),
            )
        };
        let call = match begun {
            Ok(Some(call)) => call,
            Err(error @ CallError::TooLarge(_)) => {
                return Err(job.describe(error.into_error(OPERATION, addr), &queue, 1));
            }
            // Nothing was sent, so this was no attempt.
            Ok(None) | Err(_) => return Ok(later(job, target)),
        };
        let others =
            target.may_move() && Avoid::nothing().leaves_other(queues.list(), &queue.broker_name);
        // What was handed over may have waited since it was admitted: that is not the broker's doing.
        let now = (!at_once).then(Instant::now);
        let began = now.unwrap_or_else(|| job.budget.started());
        let patience = job.budget.begin(began, others);
        let patience = (patience < job.budget.deadline()).then_some(patience);
        if let Some(patience) = patience {
            call.wake_at(patience);
        }
        let attempt = Attempt {
            call,
            queue,
            number: 1,
            began,
        };
        Ok(State::Sent(Sent {
            job,
            target,
            attempt,
            queues,
            patience,
        }))
    }
}

/// A send that has to wait before it can begin.
fn later(job: Job, target: Target) -> State {
    rest(Rest::new(job, target), Next::AT_ONCE)
}

fn rest(rest: Rest, next: Next) -> State {
    State::Rest(Box::pin(rest.run(next)))
}

pub(super) fn polled_before() -> Error {
    Error::invalid(OPERATION, "the send has begun already")
}

impl Sent {
    fn is_overdue(&self) -> bool {
        self.patience
            .is_some_and(|patience| Instant::now() >= patience)
    }

    /// How it goes on; the outcome, if it does not.
    fn after_failure(self, failure: Failure) -> Result<State, Result<SendResult>> {
        let broker_name = &self.attempt.queue.broker_name;
        Rest::new(self.job, self.target)
            .after_failure(self.queues, broker_name, failure)
            .map(|(again, next)| rest(again, next))
    }

    fn after_silence(self) -> State {
        rest(
            Rest::new(self.job, self.target).after_silence(self.queues, self.attempt),
            Next::AT_ONCE,
        )
    }
}

impl State {
    fn take(&mut self) -> Self {
        mem::replace(self, Self::Over)
    }
}

impl Future for SendFuture {
    type Output = Result<SendResult>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let outcome = ready!(this.poll_state(cx));
        if let Some(watched) = this.watched.take() {
            watched.over(outcome.as_ref().map(Some));
        }
        Poll::Ready(outcome)
    }
}

impl SendFuture {
    fn poll_state(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendResult>> {
        let is_new = matches!(&self.state, State::New(draft) if draft.admission.is_none());
        if is_new && let Err(error) = self.admit() {
            self.state = State::Over;
            return Poll::Ready(Err(error));
        }
        let state = &mut self.state;
        loop {
            match state {
                State::New(_) => {
                    if let State::New(draft) = state.take() {
                        *state = draft.begin(is_new)?;
                    }
                }
                State::Refused(_) => {
                    if let State::Refused(error) = state.take() {
                        return Poll::Ready(Err(error));
                    }
                }
                State::Sent(sent) => match Pin::new(&mut sent.attempt.call).poll(cx) {
                    Poll::Ready(outcome) => {
                        let outcome = sent.job.outcome(&sent.attempt, outcome);
                        match (state.take(), outcome) {
                            (_, Ok(result)) => return Poll::Ready(Ok(result)),
                            (State::Sent(sent), Err(failure)) => {
                                match sent.after_failure(failure) {
                                    Ok(going_on) => *state = going_on,
                                    Err(over) => return Poll::Ready(over),
                                }
                            }
                            (_, Err(failure)) => return Poll::Ready(Err(failure.error)),
                        }
                    }
                    Poll::Pending if sent.is_overdue() => {
                        if let State::Sent(sent) = state.take() {
                            *state = sent.after_silence();
                        }
                    }
                    Poll::Pending => return Poll::Pending,
                },
                State::Rest(rest) => {
                    let outcome = ready!(rest.as_mut().poll(cx));
                    *state = State::Over;
                    return Poll::Ready(outcome);
                }
                State::Over => panic!("a send was polled after it had resolved"),
            }
        }
    }
}

impl fmt::Debug for SendFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::New(_) => "new",
            State::Refused(_) => "refused",
            State::Sent(_) => "sent",
            State::Rest(_) => "going on",
            State::Over => "over",
        };
        f.debug_struct("SendFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
