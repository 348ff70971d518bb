//! Batches that form by themselves: what comes while another message is on its way goes with the next request.
//!
//! Nothing waits for company: a message whose [lane](lanes) is free goes at once. One request of a queue's lane is on its way at a time,
//! so the messages of that queue, and with them those of a key, are stored in the order in which they came. Messages for any queue have
//! no order, so those behind a request whose answer is [slow](SLOW) do not wait for it. A task of the producer sees requests through,
//! since nobody knows whether who sent the first message of a batch still looks after it.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::message::Message;
use crate::producer::auto_batch::lanes::{Lane, Lanes, Weight};
use crate::producer::auto_batch::request::Request;
use crate::producer::batch::pack;
use crate::producer::draft::Draft;
use crate::producer::driver::{self, unfinished};
use crate::producer::job::Kind;
use crate::producer::queues::Queues;
use crate::producer::result::SendResult;
use crate::producer::retry::Budget;
use crate::producer::select::Avoid;
use crate::producer::target::Target;
use crate::producer::{OPERATION, Shared};

mod lanes;
mod request;

/// The most bytes in one batch.
const MOST_BYTES: usize = 1024 * 1024;

/// How long a message waits, after its time, for what its batch has to say of it.
const GRACE: Duration = Duration::from_millis(20);

/// How long a lane whose order nobody asked for waits for an answer, before the next goes.
const SLOW: Duration = Duration::from_millis(200);

/// The automatic batches of one producer.
pub(super) struct AutoBatches {
    state: Arc<Mutex<State>>,
    runs: mpsc::UnboundedSender<BoxFuture<'static, ()>>,
    ended: CancellationToken,
}

#[derive(Default)]
struct State {
    lanes: Lanes<Entry>,
    /// The task has ended: nobody would see a message through.
    closed: bool,
}

/// A message that waits for its turn.
struct Entry {
    /// Given when it enters first.
    place: u64,
    message: Message,
    weight: Weight,
    deadline: Instant,
    /// The Java hash of its sharding key.
    key: Option<i32>,
    /// Its queue was gone once.
    moved: bool,
    report: Report,
}

impl AutoBatches {
    /// Starts the task. It ends with `stop`, or when the producer is gone and nothing is on its way.
    pub(super) fn start(client: &Client, stop: CancellationToken) -> Arc<Self> {
        let (runs, queue) = mpsc::unbounded_channel();
        let state = Arc::<Mutex<State>>::default();
        let ended = CancellationToken::new();
        let (closing, end) = (Closing(Arc::clone(&state)), ended.clone().drop_guard());
        client.spawn("automatic batches of a producer", async move {
            // Dropped behind what is on its way: it finds what waits for that.
            let _closing = closing;
            driver::run(end, queue, stop).await;
        });
        Arc::new(Self { state, runs, ended })
    }

    /// Resolves when the task has ended, and everything that it held was reported.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Whether a message may go with others.
    pub(super) fn take(draft: &Draft) -> bool {
        draft.kind == Kind::Message && pack::may_be_in_one(&draft.message)
    }

    /// Sends an admitted message in its turn, and waits for its outcome.
    ///
    /// Cancel safe: a message that waits for its turn is not sent, and the attempts to send one end with the last that wants it.
    pub(super) async fn send(self: Arc<Self>, mut draft: Draft) -> Result<SendResult> {
        draft.find_room().await?;
        // Held as long as anybody waits.
        let _ticket = draft.take_ticket();
        let deadline = draft.deadline()?;
        let Draft {
            shared,
            message,
            mut target,
            ..
        } = draft;
        let topic = Arc::clone(message.shared_topic());
        if matches!(target, Target::Selector(_)) {
            let queues = shared.queues(OPERATION, &topic, deadline).await?;
            let queue = target.pick(&message, &queues, &Avoid::nothing(), None)?;
            target = Target::Queue(queue);
        }
        let (report, outcome) = Report::new(&topic);
        let entry = Entry {
            place: 0,
            weight: weight(&message, &shared),
            message,
            deadline,
            key: None,
            moved: false,
            report,
        };
        let mut stay = Stay {
            batches: &self,
            place: Some(self.enter(&shared, target, entry)),
        };
        tokio::select! {
            biased;
            outcome = outcome => {
                // What was reported waits nowhere.
                stay.place = None;
                // A report that is dropped reports.
                outcome.unwrap_or_else(|_| Err(unfinished(&topic, Delivery::Unknown)))
            }
            () = sleep_until(deadline + GRACE) => Err(stay.too_late(&topic)),
        }
    }

    /// Sends a message on its way if its lane is free, else lets it wait. Whatever goes wrong is reported. Returns its place.
    fn enter(self: &Arc<Self>, shared: &Arc<Shared>, target: Target, mut entry: Entry) -> u64 {
        let topic = Arc::clone(entry.message.shared_topic());
        let lane = match target {
            Target::Queue(queue) => Some(Lane::Queue(queue)),
            Target::Key { hash, .. } => {
                entry.key = Some(hash);
                let known = shared.known_queues(&topic);
                known.and_then(|queues| lane_of_key(&entry, &queues).ok())
            }
            Target::Any | Target::Rather(_) | Target::Selector(_) => {
                Some(Lane::Any(Arc::clone(&topic)))
            }
        };
        let mut state = self.state.lock();
        if entry.place == 0 {
            entry.place = state.lanes.place();
        }
        let place = entry.place;
        if state.closed {
            // Reported when the lock is gone.
            drop(state);
            return place;
        }
        // Nobody passes those who wait for the same queues.
        let lane = lane.filter(|_| entry.key.is_none() || !state.lanes.has_unplaced(&topic));
        if let Some(lane) = lane {
            let first = state.lanes.enter(&lane, place, entry.weight, entry);
            drop(state);
            if let Some(entry) = first {
                self.depart(shared, lane, entry);
            }
        } else if state
            .lanes
            .enter_unplaced(&topic, place, entry.weight, entry)
        {
            drop(state);
            self.go(Arc::clone(self).place(Arc::clone(shared), topic).boxed());
        }
        place
    }

    /// Sends what found its lane free, and has the task see the lane through.
    fn depart(self: &Arc<Self>, shared: &Arc<Shared>, lane: Lane, entry: Entry) {
        let mut request = Request::new(shared, &lane, vec![entry]);
        request.begin();
        self.go(Arc::clone(self).run(Arc::clone(shared), lane, request));
    }

    /// Has the task see something through. Where it has ended, that is dropped, and reports.
    fn go(&self, run: BoxFuture<'static, ()>) {
        drop(self.runs.send(run));
    }

    /// Sees a lane through until nothing waits in it. Boxed, since it may begin another of its kind.
    fn run(
        self: Arc<Self>,
        shared: Arc<Shared>,
        lane: Lane,
        mut request: Request,
    ) -> BoxFuture<'static, ()> {
        let run = async move {
            loop {
                let moved = tokio::select! {
                    biased;
                    moved = request.run(&shared, &lane) => moved,
                    () = sleep(SLOW), if !lane.keeps_order() => {
                        // The lane is another's, or nobody's, from now on; and nothing of it moves.
                        if let Some(next) = self.next(&shared, &lane) {
                            self.go(Arc::clone(&self).run(Arc::clone(&shared), lane.clone(), next));
                        }
                        request.run(&shared, &lane).await;
                        return;
                    }
                };
                for entry in moved {
                    let target = entry.key.map_or(Target::Any, Target::of_hash);
                    self.enter(&shared, target, entry);
                }
                let Some(next) = self.next(&shared, &lane) else {
                    return;
                };
                request = next;
            }
        };
        run.boxed()
    }

    /// What goes next in a lane. Where nothing waits, the lane is free.
    fn next(&self, shared: &Arc<Shared>, lane: &Lane) -> Option<Request> {
        let entries = self.state.lock().lanes.next(lane, most_bytes(shared));
        (!entries.is_empty()).then(|| Request::new(shared, lane, entries))
    }

    /// Looks up the queues of a topic, then sends what waits for that.
    async fn place(self: Arc<Self>, shared: Arc<Shared>, topic: Arc<str>) {
        let deadline = Budget::new(Instant::now(), shared.settings.send_timeout, 0).deadline();
        let found = shared.queues(OPERATION, &topic, deadline).await;
        let (mut starting, mut refused) = (Vec::new(), Vec::new());
        {
            let mut state = self.state.lock();
            for (_, entry) in state.lanes.take_unplaced(&topic).into_values() {
                let queues = found.as_ref().map_err(Clone::clone);
                match queues.and_then(|queues| lane_of_key(&entry, queues)) {
                    Ok(lane) => {
                        let first = state.lanes.enter(&lane, entry.place, entry.weight, entry);
                        starting.extend(first.map(|entry| (lane, entry)));
                    }
                    Err(error) => refused.push((entry, error)),
                }
            }
        }
        for (lane, entry) in starting {
            self.depart(&shared, lane, entry);
        }
        for (entry, error) in refused {
            entry.report.send(Err(error));
        }
    }
}

/// What a message adds to a batch. One that is compressed by itself goes alone: batches never are.
fn weight(message: &Message, shared: &Shared) -> Weight {
    let bytes = pack::size_with_id(message);
    let packing = shared.settings.packing;
    Weight {
        bytes,
        alone: packing.codec_for(message.body().len()).is_some() || bytes > most_bytes(shared),
        wait_store_ok: message.wait_store_ok(),
    }
}

fn most_bytes(shared: &Shared) -> usize {
    MOST_BYTES.min(shared.settings.max_message_size)
}

/// The lane of the queue that a message's key chooses.
fn lane_of_key(entry: &Entry, queues: &Queues) -> Result<Lane> {
    let mut target = entry.key.map_or(Target::Any, Target::of_hash);
    target
        .pick(&entry.message, queues, &Avoid::nothing(), None)
        .map(Lane::Queue)
}

/// The stay of a message among those that wait. Dropping it takes the message back, if it has not gone.
struct Stay<'a> {
    batches: &'a AutoBatches,
    /// `None` once it has left.
    place: Option<u64>,
}

impl Stay<'_> {
    fn leave(&mut self) -> Option<Entry> {
        let place = self.place.take()?;
        // What comes out is dropped without the lock.
        self.batches.state.lock().lanes.leave(place)
    }

    /// The error of a message whose time is over.
    fn too_late(&mut self, topic: &str) -> Error {
        let error = Error::new(ErrorKind::Timeout, OPERATION).topic_of(topic);
        match self.leave() {
            Some(_) => error.detail("the batch before it has no answer yet"),
            None => error
                .detail("its batch has no answer yet")
                .maybe_delivered(Delivery::Unknown),
        }
    }
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

/// Tells who waits what became of a message; that the producer has ended, when it is dropped.
struct Report {
    topic: Arc<str>,
    sender: Option<oneshot::Sender<Result<SendResult>>>,
    /// Whether it may be stored by now.
    delivery: Delivery,
}

impl Report {
    fn new(topic: &Arc<str>) -> (Self, oneshot::Receiver<Result<SendResult>>) {
        let (sender, outcome) = oneshot::channel();
        let report = Self {
            topic: Arc::clone(topic),
            sender: Some(sender),
            delivery: Delivery::No,
        };
        (report, outcome)
    }

    fn send(mut self, outcome: Result<SendResult>) {
        if let Some(sender) = self.sender.take() {
            // Nobody may wait any more.
            drop(sender.send(outcome));
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take().filter(|sender| !sender.is_closed()) {
            drop(sender.send(Err(unfinished(&self.topic, self.delivery))));
        }
    }
}

/// The end of the task: what waits then has no turn any more.
struct Closing(Arc<Mutex<State>>);

impl Drop for Closing {
    fn drop(&mut self) {
        let left = {
            let mut state = self.0.lock();
            state.closed = true;
            mem::take(&mut state.lanes)
        };
        drop(left);
    }
}

impl fmt::Debug for AutoBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AutoBatches").finish_non_exhaustive()
    }
}
