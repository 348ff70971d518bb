//! Sends that go on by themselves: one task of each producer sees them through and calls the callbacks.
//!
//! Whatever happens, every accepted message has exactly one outcome: what is dropped without one, because the producer or the runtime
//! ends, reports that.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::client::Client;
use crate::error::{Delivery, Error, ErrorKind, Result, panic_text};
use crate::producer::OPERATION;
use crate::producer::admission::Ticket;
use crate::producer::result::SendResult;
use crate::producer::send::SendFuture;

/// How many accepted messages are taken over at once.
const BATCH: usize = 64;

/// How many sends that were refused may wait for the task.
pub(super) const MOST_REFUSED: usize = 16_384;

thread_local! {
    /// Whether this thread is in a callback.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

pub(super) type Callback = Box<dyn FnOnce(Result<SendResult>) + Send>;

/// What was accepted: resolves when it is stored, or no attempt is left.
///
/// Dropping it cancels nothing: the producer sees the message through.
///
/// # Errors
/// Those of a [`SendFuture`].
#[must_use = "the outcome of the send is lost with it"]
#[derive(Debug)]
pub struct Receipt {
    outcome: oneshot::Receiver<Result<SendResult>>,
}

impl Future for Receipt {
    type Output = Result<SendResult>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.outcome).poll(cx));
        // What is accepted always reports; this is for the eye of the compiler.
        Poll::Ready(outcome.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, OPERATION))))
    }
}

/// Accepts messages that have room, and hands them to the task.
pub(super) struct Driver {
    accepted: mpsc::UnboundedSender<Accepted>,
    /// Bounds what was refused and so has no place.
    refused: Arc<Semaphore>,
    /// Counts the reports that are being made.
    in_flight: TaskTracker,
    runtime: Handle,
    ended: CancellationToken,
}

impl Driver {
    /// Starts the task. It ends with `stop`, or when the producer is gone and everything accepted is done.
    pub(super) fn start(client: &Client, in_flight: TaskTracker, stop: CancellationToken) -> Self {
        let (accepted, queue) = mpsc::unbounded_channel();
        let ended = CancellationToken::new();
        let task = run(ended.clone().drop_guard(), queue, stop);
        client.spawn("accepted sends of a producer", task);
        Self {
            accepted,
            refused: Arc::new(Semaphore::new(MOST_REFUSED)),
            in_flight,
            runtime: Handle::current(),
            ended,
        }
    }

    /// Resolves when the task has ended, and everything that it held was reported.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Accepts a message that was admitted.
    pub(super) fn submit(&self, send: SendFuture) -> Receipt {
        let (reports, outcome) = oneshot::channel();
        self.accept(self.accepted(send, Report::Receipt(reports)));
        Receipt { outcome }
    }

    /// Accepts a message, or what it was refused for. In any case the callback is called: by the task, and from here only where too
    /// many wait that were refused.
    pub(super) fn call_back(&self, send: SendFuture, callback: Callback) {
        let is_refused = send.is_refused();
        let mut accepted = self.accepted(send, Report::Callback(callback));
        if is_refused {
            match Arc::clone(&self.refused).try_acquire_owned() {
                Ok(permit) => accepted.refused = Some(permit),
                // What a callback sends waits all the same: else one that sends again would call itself.
                Err(_) if IN_CALLBACK.get() => {}
                // It resolves at once.
                Err(_) => return accepted.now_or_never().unwrap_or_default(),
            }
        }
        self.accept(accepted);
    }

    fn accepted(&self, mut send: SendFuture, report: Report) -> Accepted {
        Accepted {
            topic: send.topic(),
            ticket: send.take_ticket(),
            send,
            report: Some(report),
            refused: None,
            in_flight: self.in_flight.clone(),
        }
    }

    fn accept(&self, accepted: Accepted) {
        if let Err(refused) = self.accepted.send(accepted) {
            // The task has ended. The report comes from another, since a callback that sends again would else call itself.
            self.runtime.spawn(async move { drop(refused) });
        }
    }
}

/// A message that the task sees through.
struct Accepted {
    send: SendFuture,
    topic: Arc<str>,
    /// Gone when it was used.
    report: Option<Report>,
    /// Lets a shutdown wait for the outcome.
    ticket: Option<Ticket>,
    refused: Option<OwnedSemaphorePermit>,
    in_flight: TaskTracker,
}

enum Report {
    Callback(Callback),
    Receipt(oneshot::Sender<Result<SendResult>>),
}

impl Accepted {
    fn report(&mut self, outcome: Result<SendResult>) {
        match self.report.take() {
            Some(Report::Callback(callback)) => {
                let outside = IN_CALLBACK.replace(true);
                let called = catch_unwind(AssertUnwindSafe(|| callback(outcome)));
                IN_CALLBACK.set(outside);
                if let Err(panic) = called {
                    let panic = panic_text(panic);
                    error!(topic = %self.topic, panic, "a send callback panicked");
                }
            }
            // A receipt that was dropped wants no outcome.
            Some(Report::Receipt(receipt)) => drop(receipt.send(outcome)),
            None => {}
        }
    }
}

impl Future for Accepted {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let outcome = ready!(Pin::new(&mut this.send).poll(cx));
        // Its place is free for what the callback sends; a shutdown waits for the report all the same.
        let _in_flight = this.in_flight.token();
        drop(this.ticket.take());
        drop(this.refused.take());
        this.report(outcome);
        Poll::Ready(())
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if self.report.is_some() {
            let delivery = if self.send.has_begun() {
                Delivery::Unknown
            } else {
                Delivery::No
            };
            let error = self.send.ended(unfinished(&self.topic, delivery));
            self.report(Err(error));
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// The error of a send that a producer has not seen through.
pub(super) fn unfinished(topic: &str, delivery: Delivery) -> Error {
    Error::new(ErrorKind::Closed, OPERATION)
        .topic_of(topic)
        .detail("the producer ended before the send did")
        .maybe_delivered(delivery)
}

/// Sees through what comes, until `stop`, or until nothing is left and nothing more can come.
pub(super) async fn run<T: Future<Output = ()>>(
    ended: DropGuard,
    queue: mpsc::UnboundedReceiver<T>,
    stop: CancellationToken,
) {
    // In this order, since the last is dropped first: what is left then reports that the producer has ended.
    let _ended = ended;
    let mut queue = queue;
    let mut running = FuturesUnordered::new();
    let mut batch = Vec::new();
    let mut stopped = pin!(stop.cancelled());
    let mut open = true;
    while open || !running.is_empty() {
        tokio::select! {
            biased;
            () = &mut stopped => return,
            Some(()) = running.next(), if !running.is_empty() => {}
            count = queue.recv_many(&mut batch, BATCH), if open => {
                open = count > 0;
                running.extend(batch.drain(..));
            }
        }
    }
}
