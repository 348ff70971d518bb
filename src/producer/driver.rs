//! Sends that go on by themselves: one task of each producer sees them through and calls the callbacks.
//!
//! Whatever happens, every accepted message has exactly one outcome: what is dropped without one, because the producer or the runtime
//! ends, reports that.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::error;

use crate::client::Client;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::producer::OPERATION;
use crate::producer::result::SendResult;
use crate::producer::send::SendFuture;
use crate::producer::target::text_of;

/// How many messages, and how many bytes of them, a producer holds at most. As Java's back pressure.
const MAX_MESSAGES: usize = 1024;
const MAX_BYTES: usize = 100 * 1024 * 1024;

/// How many accepted messages are taken over at once.
const BATCH: usize = 64;

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

/// Accepts messages, within bounds, and hands them to the task.
pub(super) struct Driver {
    accepted: mpsc::UnboundedSender<Accepted>,
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    runtime: Handle,
    ended: CancellationToken,
}

impl Driver {
    /// Starts the task. It ends with `stop`, or when the producer is gone and everything accepted is done.
    pub(super) fn start(client: &Client, stop: CancellationToken) -> Self {
        let (accepted, queue) = mpsc::unbounded_channel();
        let ended = CancellationToken::new();
        let task = run(ended.clone().drop_guard(), queue, stop);
        client.spawn("accepted sends of a producer", task);
        Self {
            accepted,
            messages: Arc::new(Semaphore::new(MAX_MESSAGES)),
            bytes: Arc::new(Semaphore::new(MAX_BYTES)),
            runtime: Handle::current(),
            ended,
        }
    }

    /// Resolves when the task has ended, and everything that it held was reported.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Accepts a message that was admitted, as soon as there is room.
    pub(super) async fn submit(
        &self,
        send: SendFuture,
        deadline: Option<Instant>,
    ) -> Result<Receipt> {
        let waiting = self.wait_for_room(send.size());
        let room = match deadline {
            Some(deadline) => timeout_at(deadline, waiting).await.ok().flatten(),
            None => waiting.await,
        };
        let topic = send.topic();
        let room = room.ok_or_else(|| overloaded(&topic))?;
        let (reports, outcome) = oneshot::channel();
        self.accept(Accepted::new(
            send,
            topic,
            Some(room),
            Report::Receipt(reports),
        ));
        Ok(Receipt { outcome })
    }

    /// Accepts a message if it was admitted and there is room. In any case the callback is called, and not from here.
    pub(super) fn call_back(&self, mut send: SendFuture, admitted: Result<()>, callback: Callback) {
        let (topic, report) = (send.topic(), Report::Callback(callback));
        let room = admitted.and_then(|()| self.room(send.size()).ok_or_else(|| overloaded(&topic)));
        let room = room.map_err(|error| send.refuse(error)).ok();
        self.accept(Accepted::new(send, topic, room, report));
    }

    fn accept(&self, accepted: Accepted) {
        if let Err(refused) = self.accepted.send(accepted) {
            // The task has ended. The report comes from another, since a callback that sends again would else call itself.
            self.runtime.spawn(async move { drop(refused) });
        }
    }

    fn room(&self, size: usize) -> Option<Room> {
        let messages = Arc::clone(&self.messages).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes)
            .try_acquire_many_owned(permits(size))
            .ok()?;
        Some(Room {
            _messages: messages,
            _bytes: bytes,
        })
    }

    async fn wait_for_room(&self, size: usize) -> Option<Room> {
        let messages = Arc::clone(&self.messages).acquire_owned().await.ok()?;
        let bytes = Arc::clone(&self.bytes)
            .acquire_many_owned(permits(size))
            .await
            .ok()?;
        Some(Room {
            _messages: messages,
            _bytes: bytes,
        })
    }
}

/// A message that is larger than everything may be sent when it is alone.
fn permits(size: usize) -> u32 {
    u32::try_from(size.min(MAX_BYTES)).unwrap_or(u32::MAX)
}

fn overloaded(topic: &str) -> Error {
    let mib = MAX_BYTES / 1024 / 1024;
    Error::new(ErrorKind::Overloaded, OPERATION)
        .topic_of(topic)
        .detail(format!(
            "the producer holds {MAX_MESSAGES} messages or {mib} MiB that are not answered"
        ))
}

/// A message's part of the bounds.
struct Room {
    _messages: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// A message that the task sees through.
struct Accepted {
    send: SendFuture,
    topic: Arc<str>,
    /// Gone when it was used.
    report: Option<Report>,
    _room: Option<Room>,
    /// Lets a shutdown wait until the outcome was reported.
    _in_flight: Option<TaskTrackerToken>,
}

enum Report {
    Callback(Callback),
    Receipt(oneshot::Sender<Result<SendResult>>),
}

impl Accepted {
    fn new(mut send: SendFuture, topic: Arc<str>, room: Option<Room>, report: Report) -> Self {
        let in_flight = send.take_in_flight();
        Self {
            send,
            topic,
            report: Some(report),
            _room: room,
            _in_flight: in_flight,
        }
    }

    fn report(&mut self, outcome: Result<SendResult>) {
        match self.report.take() {
            Some(Report::Callback(callback)) => {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| callback(outcome))) {
                    error!(topic = %self.topic, panic = text_of(&*panic), "a send callback panicked");
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
            self.report(Err(Error::new(ErrorKind::Closed, OPERATION)
                .topic_of(&self.topic)
                .detail("the producer ended before the send did")
                .maybe_delivered(delivery)));
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field(
                "messages",
                &(MAX_MESSAGES - self.messages.available_permits()),
            )
            .finish_non_exhaustive()
    }
}

async fn run(ended: DropGuard, queue: mpsc::UnboundedReceiver<Accepted>, stop: CancellationToken) {
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
