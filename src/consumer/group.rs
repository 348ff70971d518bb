//! One member of a group: its queues, their offsets, and the tasks that look after them.
//!
//! Knows: subscriptions, queues, when offsets are committed, how the member leaves. Does not know: what is done with the messages; a
//! [`Sink`] does.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::client::{Allowance, Client, Member, Registration};
use crate::consumer::allocate::AllocateStrategy;
use crate::consumer::assigned::{Assigned, End, Epoch};
use crate::consumer::flow::{Suspension, TopicLimits};
use crate::consumer::hooks::Hooks;
use crate::consumer::offset::Offsets;
use crate::consumer::process_queue::Limits;
use crate::consumer::profile::{MessageModel, Profile};
use crate::consumer::pull::PullSettings;
use crate::consumer::rebalance::Seen;
use crate::consumer::report::ConsumerReport;
use crate::consumer::start_offset::{ConsumeFromWhere, Origin};
use crate::consumer::stats::{SAMPLING, Stats};
use crate::consumer::subscription::{Subscription, retry_topic};
use crate::message::{MessageExt, MessageQueue};
use crate::protocol::request::consume_directly::ConsumedDirectlyBody;

/// How often queues are looked at that may have stopped, and counters.
const WATCH: Duration = SAMPLING;

/// A topic's route is not looked up again sooner because of failures.
const BETWEEN_LOOKUPS: Duration = Duration::from_secs(1);

/// How long a member may take to leave that nobody holds any more.
const ABANDONED: Duration = Duration::from_secs(1);

/// What is done with the messages of assigned queues.
pub(crate) trait Sink: Send + Sync + 'static {
    /// A queue has messages, or one that failed is due again. It is offered once until its messages are taken.
    fn ready(self: Arc<Self>, group: &Arc<Group>, queue: Arc<Assigned>);

    /// Consumes a message that a tool sent, beside those of the queues, and says what came of it. `None` when there are no listeners,
    /// or they have as many of those as they take.
    fn consume_directly(
        self: Arc<Self>,
        _group: &Arc<Group>,
        _message: MessageExt,
    ) -> Option<oneshot::Receiver<ConsumedDirectlyBody>> {
        None
    }

    /// How many listeners run at a time; `None` where there are none.
    fn concurrency(&self) -> Option<usize> {
        None
    }
}

/// How a member works.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) from: ConsumeFromWhere,
    pub(crate) strategy: Arc<dyn AllocateStrategy>,
    /// Whether brokers are asked to share the queues.
    pub(crate) brokers_share: bool,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) limits: Limits,
    pub(crate) topic_limits: TopicLimits,
    pub(crate) pulls: PullSettings,
    pub(crate) commit_interval: Duration,
}

/// Why a queue is taken over again that the member has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It made no progress.
    Stalled,
    /// Its broker does not have the offset; it begins at this one, but not behind a message that is not finished.
    Corrected(i64),
    /// Somebody wants it to begin here.
    Reset(i64),
}

/// When a member has to have left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leave {
    /// How long listeners may go on.
    pub(crate) listeners: Instant,
    /// How long the brokers may take.
    pub(crate) brokers: Instant,
}

/// One member of a group.
pub(crate) struct Group {
    client: Client,
    settings: Settings,
    profile: Arc<Profile>,
    retry_topic: Arc<str>,
    store: Offsets,
    allowance: Allowance,
    sink: Arc<dyn Sink>,
    stats: Stats,
    suspension: Suspension,
    /// When the member was made, in milliseconds since 1970.
    started: i64,
    /// How many messages have failed that nobody gets again.
    dropped: AtomicUsize,
    pub(super) queues: Mutex<Queues>,
    /// When a topic's route was last looked up because of a failure.
    lookups: Mutex<HashMap<Arc<str>, Instant>>,
    /// A queue has begun, or the queues were shared.
    progressed: Notify,
    /// The member gives its queues up.
    leaving: CancellationToken,
    /// The member has ended.
    closed: CancellationToken,
}

/// The queues of a member.
#[derive(Default)]
pub(super) struct Queues {
    pub(super) owned: BTreeMap<MessageQueue, Arc<Assigned>>,
    /// Those that are being given up.
    pub(super) leaving: BTreeMap<MessageQueue, Arc<Assigned>>,
    pub(super) seen: Seen,
    pub(super) is_shared: bool,
    /// Something was sent back, and the retry topic is not known yet.
    pub(super) misses_retry_topic: bool,
    epoch: u64,
}

impl Group {
    pub(crate) fn new(
        client: Client,
        settings: Settings,
        profile: Arc<Profile>,
        store: Offsets,
        sink: Arc<dyn Sink>,
    ) -> Arc<Self> {
        let closed = CancellationToken::new();
        let group = Arc::new(Self {
            allowance: client.allowance(),
            retry_topic: retry_topic(profile.group()),
            started: client.now_millis(),
            client,
            settings,
            profile,
            store,
            sink,
            stats: Stats::default(),
            suspension: Suspension::default(),
            dropped: AtomicUsize::new(0),
            queues: Mutex::default(),
            lookups: Mutex::default(),
            progressed: Notify::new(),
            leaving: closed.child_token(),
            closed,
        });
        group.profile.set_member(&group);
        group
    }

    /// Looks after the queues until it is told to leave, or nobody can tell it any more. The report says what was left.
    pub(crate) async fn run(
        self: Arc<Self>,
        registration: Registration,
        mut leave: watch::Receiver<Option<Leave>>,
        report: watch::Sender<Option<ConsumerReport>>,
    ) {
        // On every way out, a client that is shut down among them.
        let closed = self.closed.clone().drop_guard();
        let ending = async {
            let leave = tokio::select! {
                never = self.share_queues() => match never {},
                never = self.watch_queues() => match never {},
                never = self.compare_members() => match never {},
                leave = wait_for_leave(&mut leave) => leave,
            };
            self.leaving.cancel();
            (self.give_up_all(leave).await, leave)
        };
        let (left, leave) = tokio::select! {
            ended = ending => ended,
            // A round that is under way ends: a broker may handle a commit that is dropped after the last one.
            never = self.commit_offsets() => match never {},
        };
        registration.unregister(leave.brokers).await;
        drop(closed);
        info!(group = self.name(), ?left, "consumer ended");
        report.send_replace(Some(left));
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn pulls(&self) -> &PullSettings {
        &self.settings.pulls
    }

    pub(crate) fn store(&self) -> &Offsets {
        &self.store
    }

    pub(super) const fn sink(&self) -> &Arc<dyn Sink> {
        &self.sink
    }

    pub(super) const fn suspension(&self) -> &Suspension {
        &self.suspension
    }

    pub(crate) const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// When the member was made, in milliseconds since 1970.
    pub(super) const fn started(&self) -> i64 {
        self.started
    }

    pub(crate) const fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    pub(crate) fn name(&self) -> &str {
        self.profile.group()
    }

    /// Whether the member gives its queues up, or has ended.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// Waits until the member gives its queues up, or has ended.
    pub(crate) async fn left(&self) {
        self.leaving.cancelled().await;
    }

    pub(super) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What is subscribed of a topic now.
    pub(crate) fn subscription(&self, topic: &str) -> Option<Arc<Subscription>> {
        self.profile.subscription(topic)
    }

    /// Whether nothing else has been subscribed of the topic since.
    pub(crate) fn is_current(&self, subscription: &Subscription) -> bool {
        let now = self.subscription(subscription.topic());
        now.is_some_and(|now| now.version() == subscription.version())
    }

    /// Whether every member gets every message.
    pub(crate) fn is_broadcasting(&self) -> bool {
        self.profile.model() == MessageModel::Broadcasting
    }

    /// Counts messages that have failed and do not come again.
    pub(crate) fn dropped(&self, messages: usize) {
        self.dropped.fetch_add(messages, Ordering::Relaxed);
    }

    /// Whether it is the group's retry topic.
    pub(crate) fn is_retry(&self, topic: &str) -> bool {
        *topic == *self.retry_topic
    }

    /// Asks for a heartbeat: a broker does not know the group or its subscriptions.
    pub(crate) fn tell_brokers(&self) {
        self.profile.tell_brokers();
    }

    /// A message was sent back, so the retry topic exists.
    pub(crate) fn sent_back(&self) {
        if self.client.cached_route(&self.retry_topic).is_none() {
            self.queues.lock().misses_retry_topic = true;
            self.profile.change();
        }
    }

    /// Looks a topic's route up again, because a broker failed; not more often than makes sense.
    pub(crate) async fn refresh_route(&self, topic: &Arc<str>) {
        let now = Instant::now();
        {
            let mut lookups = self.lookups.lock();
            let recent = lookups
                .get(topic)
                .is_some_and(|at| now - *at < BETWEEN_LOOKUPS);
            if recent {
                return;
            }
            lookups.insert(Arc::clone(topic), now);
        }
        let seen = self
            .client
            .cached_route(topic)
            .map_or(0, |route| route.generation);
        // The next attempt sees what came of it.
        let _ = self
            .client
            .refresh_route(topic, seen, self.client.request_deadline())
            .await;
    }

    /// Starts a task that ends with the member.
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let closed = self.closed.clone();
        self.client.spawn(name, async move {
            let _ = closed.run_until_cancelled(task).await;
        });
    }

    /// Offers a queue to the sink, if it has something for it and was not offered already.
    pub(crate) fn offer(self: &Arc<Self>, queue: &Arc<Assigned>, now: Instant) {
        if queue.list(now) {
            Arc::clone(&self.sink).ready(self, Arc::clone(queue));
        }
    }

    /// The queues that the member owns now.
    pub(crate) fn owned(&self) -> Vec<Arc<Assigned>> {
        self.queues.lock().owned.values().cloned().collect()
    }

    /// Takes a queue over, under a new epoch, when `before` has given it up.
    pub(super) fn assign(
        self: &Arc<Self>,
        queues: &mut Queues,
        queue: &MessageQueue,
        origin: Origin,
        before: Option<Arc<Assigned>>,
    ) {
        queues.epoch += 1;
        let epoch = Epoch(queues.epoch);
        let limits = self.settings.limits;
        let counters = self.stats.of(&queue.topic, Instant::now());
        let assigned = Assigned::new(queue.clone(), epoch, origin, limits).counted(counters);
        let assigned = Arc::new(assigned);
        queues.owned.insert(queue.clone(), Arc::clone(&assigned));
        self.spawn("queue", assigned.run(Arc::clone(self), before));
    }

    /// Takes a queue over again, if the member has it under this assignment.
    pub(super) fn rebuild(self: &Arc<Self>, old: &Arc<Assigned>, again: Again) {
        let mut queues = self.queues.lock();
        let owned = queues.owned.get(old.queue());
        // What an older assignment has found out is of no use, and must not undo a reset.
        if owned.is_some_and(|owned| Arc::ptr_eq(owned, old)) {
            self.replace(&mut queues, old, again);
        }
    }

    /// Has a queue begin at an offset, if the member has it.
    pub(super) fn reset(self: &Arc<Self>, queue: &MessageQueue, offset: i64) {
        let mut queues = self.queues.lock();
        if let Some(owned) = queues.owned.get(queue).cloned() {
            self.replace(&mut queues, &owned, Again::Reset(offset));
        }
    }

    /// Ends an assignment for another of the same queue: what is left of it changes nothing any more.
    fn replace(self: &Arc<Self>, queues: &mut Queues, old: &Arc<Assigned>, again: Again) {
        let queue = old.queue();
        warn!(%queue, epoch = old.epoch().0, ?again, "queue is taken over again");
        old.end(End::Rebuilt);
        let origin = match again {
            // It may be a reset that nobody else knows of.
            Again::Stalled if !old.has_begun() => old.origin,
            Again::Stalled => queues.seen.origin(queue),
            Again::Corrected(offset) => {
                Origin::Corrected(old.safe_offset().unwrap_or(offset).min(offset))
            }
            Again::Reset(offset) => Origin::Reset(offset),
        };
        self.assign(queues, queue, origin, Some(Arc::clone(old)));
        self.spread_limits(&queues.owned, &queue.topic);
    }

    /// Forgets a queue that was given up.
    pub(super) fn forget(&self, gone: &Arc<Assigned>) {
        let mut queues = self.queues.lock();
        if queues
            .leaving
            .get(gone.queue())
            .is_some_and(|known| Arc::ptr_eq(known, gone))
        {
            queues.leaving.remove(gone.queue());
        }
    }

    /// Notes that it may be known where all queues begin.
    pub(super) fn progressed(&self) {
        self.progressed.notify_waiters();
    }

    /// Waits until the queues were shared and it is known where each of them begins.
    pub(crate) async fn begun(&self) {
        loop {
            let mut progressed = std::pin::pin!(self.progressed.notified());
            progressed.as_mut().enable();
            {
                let queues = self.queues.lock();
                if queues.is_shared && queues.owned.values().all(|queue| queue.has_begun()) {
                    return;
                }
            }
            progressed.await;
        }
    }

    /// Takes queues over again that make no progress.
    async fn watch_queues(self: &Arc<Self>) -> Infallible {
        let mut ticks = interval(WATCH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            self.stats.sample(now);
            for queue in self
                .owned()
                .into_iter()
                .filter(|queue| queue.is_stalled(now))
            {
                self.rebuild(&queue, Again::Stalled);
            }
        }
    }

    /// Gives every queue up: listeners end within a bound, then the last offsets are committed.
    async fn give_up_all(&self, leave: Leave) -> ConsumerReport {
        let Leave { listeners, brokers } = leave;
        let (queues, leaving) = {
            let mut queues = self.queues.lock();
            let owned = std::mem::take(&mut queues.owned);
            let leaving: Vec<_> = queues.leaving.values().cloned().collect();
            (owned, leaving)
        };
        for queue in queues.values() {
            queue.end(End::Shutdown {
                listeners,
                commits: brokers,
            });
        }
        let all_gone = join_all(queues.values().chain(&leaving).map(|queue| queue.gone()));
        if timeout_at(brokers, all_gone).await.is_err() {
            warn!(
                group = self.name(),
                "queues are left behind: their brokers do not answer in time"
            );
        }
        let mut report = ConsumerReport::new(self.dropped.load(Ordering::Relaxed));
        for queue in queues.values().chain(&leaving) {
            report.add(queue.queue(), queue.left());
        }
        report
    }
}

/// Waits until the member is told to leave, or nobody can tell it any more.
async fn wait_for_leave(leave: &mut watch::Receiver<Option<Leave>>) -> Leave {
    let told = leave
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|told| *told);
    told.unwrap_or_else(|| {
        let now = Instant::now();
        Leave {
            listeners: now + ABANDONED / 2,
            brokers: now + ABANDONED,
        }
    })
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
