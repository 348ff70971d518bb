//! What brokers ask about transactions: each question runs on a task of its own, and only so many at a time.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, warn};

use crate::client::{Client, Rpc};
use crate::config::Namespace;
use crate::message::{MAX_INFLATED, MessageExt, MessageQueue};
use crate::producer::transaction::open::{HalfPlace, OpenTransactions, Opened};
use crate::producer::transaction::{End, TransactionResolution, TransactionState, resolve};
use crate::protocol::code::RequestCode;
use crate::protocol::command::Command;
use crate::protocol::message::{StoredMessage, property_names as names};
use crate::protocol::request::check_transaction_state::CheckTransactionState;
use crate::route::Routes;

/// How many questions may wait. One more is dropped; brokers ask again.
const QUEUE: usize = 2000;

/// What the application gave to answer questions.
#[derive(Clone)]
pub(super) struct Listener(
    Arc<dyn Fn(MessageExt) -> BoxFuture<'static, TransactionResolution> + Send + Sync>,
);

impl Listener {
    pub(super) fn new<F, Fut>(check: F) -> Self
    where
        F: Fn(MessageExt) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<TransactionResolution>,
    {
        Self(Arc::new(move |message| {
            check(message).map(Into::into).boxed()
        }))
    }
}

/// How questions are answered.
pub(in crate::producer) struct Checking {
    pub(super) listener: Listener,
    pub(super) most: usize,
    pub(super) timeout: Duration,
    pub(super) open: Arc<OpenTransactions>,
}

/// Takes the questions of brokers.
pub(in crate::producer) struct Checks {
    group: Arc<str>,
    namespace: Namespace,
    open: Arc<OpenTransactions>,
    routes: Arc<Routes>,
    queue: mpsc::Sender<Check>,
    in_flight: TaskTracker,
}

/// One question.
struct Check {
    opened: Opened,
    message: MessageExt,
    /// Keeps a shutdown waiting.
    _in_flight: TaskTrackerToken,
}

impl Checks {
    /// Starts the task. It ends with `stop`, or when this is dropped and everything that was taken is answered.
    pub(in crate::producer) fn start(
        checking: Checking,
        group: &Arc<str>,
        client: &Client,
        in_flight: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (queue, checks) = mpsc::channel(QUEUE);
        let open = Arc::clone(&checking.open);
        let asker = Arc::new(Asker {
            checking,
            group: Arc::clone(group),
            rpc: client.rpc().clone(),
            end_within: client.config().request_timeout,
        });
        client.spawn("transaction checks of a producer", async move {
            stop.run_until_cancelled(run(asker, checks)).await;
        });
        Self {
            group: Arc::clone(group),
            namespace: client.namespace().clone(),
            open,
            routes: Arc::clone(client.routes()),
            queue,
            in_flight,
        }
    }

    /// Takes a request of a broker if it is a question to this group.
    pub(in crate::producer) fn take(&self, from: &Arc<str>, command: &Command) -> bool {
        if command.request_code() != RequestCode::CHECK_TRANSACTION_STATE {
            return false;
        }
        let message = StoredMessage::decode(&mut command.body.clone());
        let (Ok(header), Ok(message)) = (command.header::<CheckTransactionState<'_>>(), message)
        else {
            debug!(addr = %from, "a question about a transaction that cannot be read");
            return false;
        };
        let group = message.property(names::PRODUCER_GROUP);
        let is_ours = group.is_some_and(|group| *self.namespace.unwrap(group) == *self.group);
        if is_ours {
            self.queue(from, &header, message);
        }
        is_ours
    }

    fn queue(&self, from: &Arc<str>, header: &CheckTransactionState<'_>, message: StoredMessage) {
        // 4.9 does not say who asks.
        let broker_name: Arc<str> = match &header.broker_name {
            Some(name) => (&**name).into(),
            None => self.routes.broker_at(from).unwrap_or_default(),
        };
        let topic = self.namespace.unwrap(message.topic.as_str());
        let queue = MessageQueue::new(&*topic, &*broker_name, message.queue_id);
        let message = MessageExt::new(message, queue);
        let place = HalfPlace::asked(from, &broker_name, header);
        let Some(opened) = self.open.ask(message.msg_id(), place) else {
            debug!(
                id = message.msg_id(),
                "asked about a transaction that is being decided on"
            );
            return;
        };
        let in_flight = self.in_flight.token();
        if self.in_flight.is_closed() {
            return;
        }
        let check = Check {
            opened,
            message,
            _in_flight: in_flight,
        };
        if let Err(refused) = self.queue.try_send(check) {
            let id = refused.into_inner().opened.id().to_owned();
            warn!(group = %self.group, %id, "too many questions about transactions; the broker will ask again");
        }
    }
}

/// Asks the application, and answers the broker.
struct Asker {
    checking: Checking,
    group: Arc<str>,
    rpc: Rpc,
    end_within: Duration,
}

async fn run(asker: Arc<Asker>, mut checks: mpsc::Receiver<Check>) {
    // Dropping it ends the tasks in it.
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(ended) = running.join_next(), if !running.is_empty() => {
                if ended.is_err() {
                    warn!(group = %asker.group, "a transaction check panicked while it was dropped");
                }
            }
            check = checks.recv(), if running.len() < asker.checking.most => match check {
                Some(check) => {
                    let asker = Arc::clone(&asker);
                    running.spawn(async move { asker.answer(check).await });
                }
                None if running.is_empty() => return,
                // What runs is waited for.
                None => while running.join_next().await.is_some() {},
            },
        }
    }
}

impl Asker {
    async fn answer(&self, check: Check) {
        let Check {
            opened,
            message,
            _in_flight,
        } = check;
        let id = opened.id().to_owned();
        let (state, failure) = self.ask(message).await.into_parts();
        let remark = failure.map(|failure| format!("the check failed: {failure}"));
        match &remark {
            Some(remark) => warn!(group = %self.group, %id, "{remark}"),
            None => debug!(group = %self.group, %id, ?state, "a transaction check"),
        }
        let end = End {
            group: &self.group,
            id: &id,
            state,
            remark: remark.as_deref(),
        };
        let deadline = Instant::now() + self.end_within;
        // Whoever could not be told asks again.
        let _ = end.tell(&self.rpc, &opened.close(), deadline).await;
    }

    async fn ask(&self, mut message: MessageExt) -> TransactionResolution {
        if let Err(error) = message.open_body(MAX_INFLATED) {
            return Err(error.into()).into();
        }
        let Checking {
            listener,
            timeout: most,
            ..
        } = &self.checking;
        let asking = resolve(async { (listener.0)(message).await });
        timeout(*most, asking).await.unwrap_or_else(|_| {
            let text = format!("it takes longer than {most:?}");
            TransactionResolution::from(Err::<TransactionState, _>(text.into()))
        })
    }
}

impl fmt::Debug for Checking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checking")
            .field("most", &self.most)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = QUEUE - self.queue.capacity();
        f.debug_struct("Checks")
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}
