//! The concurrent listener: workers that take messages from any queue, run the listener, and settle what it says.
//!
//! Each worker is a task. It loops while there is something to do, so a busy consumer starts no task for a message, and an idle one has
//! none. Nothing that a listener does, a panic among it, reaches another message.

use std::any::Any;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout};
use tracing::{debug, error, warn};

use crate::consumer::assigned::{Assigned, Taken};
use crate::consumer::body;
use crate::consumer::group::{Group, Sink};
use crate::consumer::push::direct::{self, Direct};
use crate::consumer::push::dispatch::{Dispatch, Place};
use crate::consumer::push::listener::{ConsumeContext, MessageListener};
use crate::consumer::push::result::ConsumeResult;
use crate::consumer::push::retry::{Batch, RETRY_HERE};
use crate::error::panic_text;
use crate::message::{MAX_INFLATED, MessageExt};
use crate::protocol::DecodeError;
use crate::protocol::request::consume_directly::ConsumedDirectlyBody;

/// How listeners are run.
#[derive(Debug, Clone)]
pub(super) struct ListenerSettings {
    pub(super) group: Arc<str>,
    /// How many run at a time.
    pub(super) concurrency: usize,
    /// How many run at a time for these topics, beside the others.
    pub(super) topic_concurrency: HashMap<String, usize>,
    /// How many messages one is given at most.
    pub(super) batch: usize,
    /// How long one may take.
    pub(super) timeout: Duration,
    /// Whether one that takes longer goes on.
    pub(super) keeps_timed_out: bool,
    /// How often a message may fail before it is a dead letter; the broker decides where this does not.
    pub(super) max_reconsume_times: Option<i32>,
}

/// Runs a listener, several times at once.
pub(super) struct Concurrent<L> {
    listener: L,
    settings: ListenerSettings,
    dispatch: Arc<Dispatch<Work>>,
    /// Those of topics that have listeners of their own.
    own: HashMap<String, Arc<Dispatch<Work>>>,
    /// Bounds how many messages of tools are here.
    direct: Arc<Semaphore>,
}

/// What a worker takes.
enum Work {
    /// A queue that has something.
    Queue(Arc<Assigned>),
    /// A message that a tool sent. Rare, and large.
    Direct(Box<Direct>),
}

impl<L: MessageListener> Sink for Concurrent<L> {
    fn ready(self: Arc<Self>, group: &Arc<Group>, queue: Arc<Assigned>) {
        let place = self.offer_queue(queue);
        self.start_worker(group, place);
    }

    fn consume_directly(
        self: Arc<Self>,
        group: &Arc<Group>,
        message: MessageExt,
    ) -> Option<oneshot::Receiver<ConsumedDirectlyBody>> {
        let permit = Arc::clone(&self.direct).try_acquire_owned().ok()?;
        let (direct, answered) = Direct::new(message, permit);
        let place = self
            .dispatch_of(direct.topic())
            .offer(Work::Direct(Box::new(direct)));
        self.start_worker(group, place);
        Some(answered)
    }

    fn concurrency(&self) -> Option<usize> {
        Some(self.settings.concurrency)
    }
}

impl<L: MessageListener> Concurrent<L> {
    pub(super) fn new(listener: L, settings: ListenerSettings) -> Self {
        let own = settings.topic_concurrency.iter();
        let own = own.map(|(topic, limit)| (topic.clone(), Dispatch::new(*limit)));
        Self {
            listener,
            own: own.collect(),
            dispatch: Dispatch::new(settings.concurrency),
            direct: Arc::new(Semaphore::new(direct::MOST)),
            settings,
        }
    }

    /// What hands out to the workers of a topic.
    fn dispatch_of(&self, topic: &str) -> &Arc<Dispatch<Work>> {
        self.own.get(topic).unwrap_or(&self.dispatch)
    }

    fn offer_queue(&self, queue: Arc<Assigned>) -> Option<Place<Work>> {
        let dispatch = self.dispatch_of(&queue.queue().topic);
        dispatch.offer(Work::Queue(queue))
    }

    fn start_worker(self: &Arc<Self>, group: &Arc<Group>, place: Option<Place<Work>>) {
        if let Some(place) = place {
            group.spawn("listener", Arc::clone(self).work(Arc::clone(group), place));
        }
    }

    /// Takes and consumes while there is something.
    async fn work(self: Arc<Self>, group: Arc<Group>, mut place: Place<Work>) {
        while let Some((work, help)) = place.next() {
            self.start_worker(&group, help);
            match work {
                Work::Queue(queue) => self.take_from(&group, &queue, &mut place).await,
                // Whoever asked is not answered, and gives up.
                Work::Direct(_) if group.is_leaving() || group.suspension().is_on() => {}
                Work::Direct(direct) => direct.run(&self.listener, &self.settings).await,
            }
            // A listener that never waits must not keep the thread to itself.
            consume_budget().await;
        }
    }

    /// Takes some out of a queue, and consumes that.
    async fn take_from(
        self: &Arc<Self>,
        group: &Arc<Group>,
        queue: &Arc<Assigned>,
        place: &mut Place<Work>,
    ) {
        if group.put_aside(queue) {
            return;
        }
        let Some(taken) = queue.take(self.settings.batch, Instant::now()) else {
            return;
        };
        if taken.more {
            self.start_worker(group, self.offer_queue(Arc::clone(queue)));
        }
        self.consume(group, queue, taken, place).await;
    }

    /// Runs the listener on what was taken out.
    async fn consume(
        self: &Arc<Self>,
        group: &Arc<Group>,
        queue: &Arc<Assigned>,
        taken: Taken,
        place: &mut Place<Work>,
    ) {
        let Taken {
            ticket,
            mut messages,
            ..
        } = taken;
        let max_reconsume_times = self.settings.max_reconsume_times;
        let batch = Batch {
            group,
            queue,
            ticket: &ticket,
            max_reconsume_times,
        };
        match open_all(&mut messages) {
            Ok(()) => self.run(&batch, 0..messages.len(), messages, place).await,
            Err(error) if messages.len() == 1 => {
                let (queue, offset) = (messages[0].queue(), messages[0].queue_offset());
                error!(%queue, offset, %error, "a message cannot be read; it is given back");
                batch.fail(0..1, 0).await;
            }
            Err(_) => {
                // One of them cannot be read, or all at once are too large: each is taken alone.
                let now = Instant::now();
                queue.put_back(&ticket, 0..messages.len(), now);
                group.offer(queue, now);
            }
        }
    }

    /// Runs the listener once, and settles what it says.
    async fn run(
        self: &Arc<Self>,
        batch: &Batch<'_>,
        which: Range<usize>,
        messages: Vec<MessageExt>,
        place: &mut Place<Work>,
    ) {
        let group = Arc::clone(&self.settings.group);
        let failures = messages.iter().map(MessageExt::reconsume_times).max();
        let queue = batch.queue.queue().clone();
        let context = ConsumeContext::new(group, queue, failures.unwrap_or_default());
        let mut listening = pin!(Some(call(&self.listener, messages, &context)));
        let began = Instant::now();
        let outcome = match timeout(self.settings.timeout, poll(listening.as_mut())).await {
            Ok(outcome) => Some(outcome),
            Err(_) => {
                self.give_up_on(batch, which.clone(), listening.as_mut())
                    .await
            }
        };
        batch.queue.counters().called(began.elapsed());
        match outcome {
            Some(outcome) => settle(batch, which, outcome).await,
            None if self.settings.keeps_timed_out => {
                self.start_worker(batch.group, place.leave());
                let _ = poll(listening.as_mut()).await;
            }
            None => {}
        }
        // The application's values are dropped here, and may panic in that.
        let _ = catch_unwind(AssertUnwindSafe(|| listening.set(None)));
    }

    /// Gives the messages of a listener back that takes too long, while it goes on. With its outcome if it ends before they are
    /// settled.
    async fn give_up_on<F: Future>(
        &self,
        batch: &Batch<'_>,
        which: Range<usize>,
        mut listening: Pin<&mut Option<F>>,
    ) -> Option<F::Output> {
        let limit = self.settings.timeout;
        warn!(queue = %batch.queue.queue(), ?limit, "a listener takes too long; its messages are given back");
        loop {
            if batch.queue.is_lost() {
                batch.queue.leave(batch.ticket, which.clone());
                break;
            }
            if batch.give_back(which.clone(), 0).await.is_empty() {
                break;
            }
            if let Ok(outcome) = timeout(RETRY_HERE, poll(listening.as_mut())).await {
                return Some(outcome);
            }
        }
        batch.queue.counters().failed(which.len());
        None
    }
}

/// Settles what a listener said, or that it panicked.
async fn settle(
    batch: &Batch<'_>,
    which: Range<usize>,
    outcome: Result<ConsumeResult, Box<dyn Any + Send>>,
) {
    match outcome {
        Ok(result) if result.is_success() => batch.finish(which),
        Ok(result) => {
            let (acked, failure) = result.outcome(which.len());
            let acked = which.start + acked;
            match &failure.reason {
                Some(error) => warn!(queue = %batch.queue.queue(), %error, "the listener failed"),
                None => debug!(queue = %batch.queue.queue(), "the listener wants messages later"),
            }
            batch.finish(which.start..acked);
            batch.fail(acked..which.end, failure.delay_level).await;
        }
        Err(panic) => {
            let panic = panic_text(panic);
            error!(queue = %batch.queue.queue(), panic, "the listener panicked");
            batch.fail(which, 0).await;
        }
    }
}

/// Makes every body readable.
///
/// # Errors
/// That cannot be done, or makes more than a limit of them together.
fn open_all(messages: &mut [MessageExt]) -> Result<(), DecodeError> {
    messages
        .iter_mut()
        .try_fold(MAX_INFLATED, |left, message| {
            let grown = body::open(message, left)?;
            Ok(left.saturating_sub(grown))
        })?;
    Ok(())
}

/// What a listener says of messages, or what it panicked with.
pub(super) async fn call<L: MessageListener>(
    listener: &L,
    messages: Vec<MessageExt>,
    context: &ConsumeContext,
) -> Result<ConsumeResult, Box<dyn Any + Send>> {
    // The call is inside the future, so that a panic before the first await is caught too.
    let listening = async { listener.consume(messages, context).await };
    AssertUnwindSafe(listening).catch_unwind().await
}

/// The outcome of a future that stays where it is.
fn poll<F: Future>(mut slot: Pin<&mut Option<F>>) -> impl Future<Output = F::Output> {
    poll_fn(move |cx| match slot.as_mut().as_pin_mut() {
        Some(future) => future.poll(cx),
        None => Poll::Pending,
    })
}
