//! The load of a trial: numbered messages, sent in every way there is, until it is told to stop.

use std::fmt::Display;
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
                    let ended = sender.send(way).await;
                    // That may come at once, as long as a broker is down.
                    let rest = if ended.iter().any(|ended| ended.failed.is_some()) {
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
            let ended = poll(self.ends(way, &ids), polls).await;
            let ended = ended.unwrap_or_else(|| vec![Outcome::Oneway.into(); ids.len()]);
            self.end(way, ids, &ended, false);
        }
    }

    async fn send(&self, way: Way) -> Vec<Ended> {
        let ids = self.begin(way);
        let began = Instant::now();
        let ended = self.ends(way, &ids).await;
        // The end of a transaction is said after its message was stored.
        let steps = if way == Way::Transaction { 2 } else { 1 };
        let late = self
            .timeout
            .is_some_and(|timeout| began.elapsed() > steps * timeout + GRACE);
        self.end(way, ids, &ended, late);
        ended
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

    fn end(&self, way: Way, ids: Vec<u64>, ended: &[Ended], late: bool) {
        for (id, ended) in ids.into_iter().zip(ended) {
            if let Some(why) = &ended.failed {
                let why = format!("{way:?}: {why}");
                self.recorder.add(Event::Failed { id, why });
            }
            let outcome = ended.outcome;
            self.recorder.add(Event::Sent { id, outcome, late });
        }
    }

    async fn ends(&self, way: Way, ids: &[u64]) -> Vec<Ended> {
        let message = |id: &u64| Message::new(&*self.topic, id.to_string());
        let (producer, one) = (self.producer.plain(), message(&ids[0]));
        match way {
            Way::Send => vec![Ended::of(&producer.send(one).await)],
            Way::Submit => match producer.submit(one).await {
                Ok(receipt) => vec![Ended::of(&receipt.await)],
                Err(error) => vec![Ended::of_error(&error)],
            },
            Way::Callback => {
                let (said, hears) = oneshot::channel();
                producer.send_callback(one, |result| {
                    let _ = said.send(Ended::of(&result));
                });
                vec![hears.await.expect("the callback is called")]
            }
            Way::Oneway => match producer.send_oneway(one).await {
                Ok(()) => vec![Outcome::Oneway.into()],
                Err(error) => vec![match error.delivery() {
                    Delivery::No => Outcome::Unwritten.into(),
                    _ => Outcome::Oneway.into(),
                }],
            },
            Way::Batch => match producer.send_batch(ids.iter().map(message).collect()).await {
                Ok(results) => results.iter().map(Ended::of_result).collect(),
                Err(error) => vec![Ended::of_error(&error); ids.len()],
            },
            Way::AutoBatch => {
                let sends = ids.iter().map(|id| self.batching.send(message(id)));
                join_all(sends).await.iter().map(Ended::of).collect()
            }
            Way::Request => match producer.request(one).await {
                Ok(_) => vec![Outcome::Acked.into()],
                Err(error) => vec![match error.delivery() {
                    Delivery::No => Ended::of_error(&error),
                    _ => Outcome::Unanswered.into(),
                }],
            },
            Way::Transaction => {
                let commit = |_| async { TransactionState::Commit };
                let sent = self.producer.send_in_transaction(one, commit).await;
                vec![match &sent {
                    Ok(result) => match result.end_error() {
                        // It was sent. The broker that is not told, since it went away in between, asks.
                        Some(_) => Outcome::Unanswered.into(),
                        None => Ended::of_result(result.send_result()),
                    },
                    Err(error) => Ended::of_error(error),
                }]
            }
        }
    }
}

/// How a send ended, and why it did not succeed.
#[derive(Debug, Clone)]
struct Ended {
    outcome: Outcome,
    failed: Option<String>,
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            failed: None,
        }
    }
}

impl Ended {
    fn failed(outcome: Outcome, why: impl Display) -> Self {
        Self {
            outcome,
            failed: Some(why.to_string()),
        }
    }

    fn of(result: &rocketmq_sdk::Result<SendResult>) -> Self {
        match result {
            Ok(result) => Self::of_result(result),
            Err(error) => Self::of_error(error),
        }
    }

    fn of_result(result: &SendResult) -> Self {
        match result.status() {
            SendStatus::SEND_OK => Outcome::Acked.into(),
            status => Self::failed(Outcome::Unknown, format!("{status:?}")),
        }
    }

    fn of_error(error: &Error) -> Self {
        let outcome = match error.delivery() {
            Delivery::No => Outcome::NotStored,
            _ => Outcome::Unknown,
        };
        Self::failed(outcome, error)
    }
}
