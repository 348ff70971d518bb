//! The load of a trial: numbered messages, sent in every way there is, until it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use rocketmq_sdk::{
    DefaultProducer, Delivery, Error, Message, SendResult, SendStatus, TransactionProducer,
    TransactionState,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::record::{Event, Outcome, Recorder};
use crate::dropping::poll;

/// A way of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Send,
    Submit,
    Callback,
    Oneway,
    Batch,
    /// Several at once by a producer that makes batches of them.
    AutoBatch,
    /// A request. Members reply to it.
    Request,
    Transaction,
}

pub const WAYS: [Way; 8] = [
    Way::Send,
    Way::Submit,
    Way::Callback,
    Way::Oneway,
    Way::Batch,
    Way::AutoBatch,
    Way::Request,
    Way::Transaction,
];

/// Those whose outcome is a broker's answer to one request.
pub const PLAIN: [Way; 5] = [
    Way::Send,
    Way::Submit,
    Way::Callback,
    Way::Oneway,
    Way::Batch,
];

/// How many messages a batch has.
pub const BATCH: usize = 3;

/// How late an outcome may be.
const GRACE: Duration = Duration::from_millis(100);

/// How long a load pauses at least after a send that failed.
const FAILED: Duration = Duration::from_millis(20);

/// What is sent, and by whom.
#[derive(Clone)]
pub struct Sender {
    pub producer: TransactionProducer,
    /// One that makes batches by itself.
    pub batching: DefaultProducer,
    pub topic: String,
    pub recorder: Recorder,
    /// How long a send may take, where time can be told.
    pub timeout: Option<Duration>,
    pub numbers: Arc<AtomicU64>,
}

/// Tasks that send, one for each way.
pub struct Load {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Each way sends, pauses, and sends again.
    pub fn start(sender: &Sender, ways: &[Way], pause: Duration) -> Self {
        let stop = CancellationToken::new();
        let tasks = ways.iter().map(|&way| {
            let (sender, stop) = (sender.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.is_cancelled() {
                    let outcomes = sender.send(way).await;
                    let failed = |outcome| matches!(outcome, Outcome::NotStored | Outcome::Unknown);
                    // That may come at once, as long as a broker is down.
                    let rest = if outcomes.into_iter().any(failed) {
                        pause.max(FAILED)
                    } else {
                        pause
                    };
                    sleep(rest).await;
                }
            })
        });
        let tasks = tasks.collect();
        Self { stop, tasks }
    }

    /// Returns when every send has its outcome.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in join_all(self.tasks).await {
            task.expect("a sender");
        }
    }
}

impl Sender {
    /// So many sends at once, in each of these ways.
    pub async fn crowd(&self, ways: &[Way], sends: usize) {
        let ways = ways.iter().copied().cycle().take(sends);
        let sends = ways.map(|way| {
            let sender = self.clone();
            tokio::spawn(async move { sender.send(way).await })
        });
        for sent in join_all(sends).await {
            let _ = sent.expect("a sender");
        }
    }

    /// Sends in every way there is, and drops each send after so many polls.
    pub async fn give_up(&self, polls: usize) {
        for way in WAYS {
            let ids = self.begin(way);
            let outcomes = poll(self.outcomes(way, &ids), polls).await;
            let outcomes = outcomes.unwrap_or_else(|| vec![Outcome::Oneway; ids.len()]);
            self.end(ids, &outcomes, false);
        }
    }

    async fn send(&self, way: Way) -> Vec<Outcome> {
        let ids = self.begin(way);
        let began = Instant::now();
        let outcomes = self.outcomes(way, &ids).await;
        // The end of a transaction is said after its message was stored.
        let steps = if way == Way::Transaction { 2 } else { 1 };
        let late = self
            .timeout
            .is_some_and(|timeout| began.elapsed() > steps * timeout + GRACE);
        self.end(ids, &outcomes, late);
        outcomes
    }

    fn begin(&self, way: Way) -> Vec<u64> {
        let count = match way {
            Way::Batch | Way::AutoBatch => BATCH,
            _ => 1,
        };
        let first = self.numbers.fetch_add(count as u64, Ordering::SeqCst);
        let ids: Vec<_> = (first..first + count as u64).collect();
        for &id in &ids {
            self.recorder.add(Event::Sending { id });
            if way == Way::Transaction {
                self.recorder.add(Event::Transacting { id });
            }
        }
        ids
    }

    fn end(&self, ids: Vec<u64>, outcomes: &[Outcome], late: bool) {
        for (id, &outcome) in ids.into_iter().zip(outcomes) {
            self.recorder.add(Event::Sent { id, outcome, late });
        }
    }

    async fn outcomes(&self, way: Way, ids: &[u64]) -> Vec<Outcome> {
        let message = |id: &u64| Message::new(&*self.topic, id.to_string());
        let (producer, one) = (self.producer.plain(), message(&ids[0]));
        match way {
            Way::Send => vec![outcome(&producer.send(one).await)],
            Way::Submit => match producer.submit(one).await {
                Ok(receipt) => vec![outcome(&receipt.await)],
                Err(error) => vec![of_error(&error)],
            },
            Way::Callback => {
                let (said, hears) = oneshot::channel();
                producer.send_callback(one, |result| {
                    let _ = said.send(outcome(&result));
                });
                vec![hears.await.expect("the callback is called")]
            }
            Way::Oneway => match producer.send_oneway(one).await {
                Ok(()) => vec![Outcome::Oneway],
                Err(error) => vec![match of_error(&error) {
                    Outcome::NotStored => Outcome::Unwritten,
                    _ => Outcome::Oneway,
                }],
            },
            Way::Batch => match producer.send_batch(ids.iter().map(message).collect()).await {
                Ok(results) => results.iter().map(of_result).collect(),
                Err(error) => vec![of_error(&error); ids.len()],
            },
            Way::AutoBatch => {
                let sends = ids.iter().map(|id| self.batching.send(message(id)));
                join_all(sends).await.iter().map(outcome).collect()
            }
            Way::Request => match producer.request(one).await {
                Ok(_) => vec![Outcome::Acked],
                Err(error) => vec![match of_error(&error) {
                    Outcome::NotStored => Outcome::NotStored,
                    _ => Outcome::Unanswered,
                }],
            },
            Way::Transaction => {
                let commit = |_| async { TransactionState::Commit };
                match self.producer.send_in_transaction(one, commit).await {
                    // What the broker was not told it asks.
                    Ok(result) if result.end_error().is_some() => vec![Outcome::Unknown],
                    Ok(result) => vec![of_result(result.send_result())],
                    Err(error) => vec![of_error(&error)],
                }
            }
        }
    }
}

fn outcome(result: &rocketmq_sdk::Result<SendResult>) -> Outcome {
    match result {
        Ok(result) => of_result(result),
        Err(error) => of_error(error),
    }
}

fn of_result(result: &SendResult) -> Outcome {
    match result.status() {
        SendStatus::SEND_OK => Outcome::Acked,
        _ => Outcome::Unknown,
    }
}

fn of_error(error: &Error) -> Outcome {
    match error.delivery() {
        Delivery::No => Outcome::NotStored,
        _ => Outcome::Unknown,
    }
}
