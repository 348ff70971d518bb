//! Sharing the queues of the subscribed topics: when it is done, and whom it asks.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use crate::client::Member;
use crate::consumer::assigned::End;
use crate::consumer::backoff::Backoff;
use crate::consumer::group::Group;
use crate::error::Result;
use crate::message::MessageQueue;
use crate::protocol::request::consumer_list::GetConsumerList;
use crate::route::Route;
use by_broker::Said;
pub(super) use plan::Seen;
use plan::Share;

mod by_broker;
mod plan;

/// How often the queues are shared although nothing seems to have changed.
const PERIOD: Duration = Duration::from_secs(20);

/// However often something changes, there are no more than this many rounds in this time. The first change after a quiet time is
/// acted on at once.
const MOST: usize = 3;
const WITHIN: Duration = Duration::from_millis(1500);

/// After a round in which somebody could not be asked.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Between look-ups of topics that do not exist yet.
const FIRST_SEARCH: Duration = Duration::from_millis(200);
const LAST_SEARCH: Duration = Duration::from_secs(5);

/// What came of a round.
struct Round {
    /// Everybody could be asked who had to be.
    is_settled: bool,
    /// The topics that name servers do not know.
    missing: Vec<Arc<str>>,
}

/// What brokers have said in one round.
#[derive(Default)]
struct Asked {
    /// The members of the group, by the broker's address; `None` from one that did not answer.
    members: HashMap<Arc<str>, Option<Vec<String>>>,
    /// A broker did not know us, and was told again.
    is_told: bool,
}

impl Group {
    /// Shares the queues at once, on every change, and from time to time.
    pub(super) async fn share_queues(self: &Arc<Self>) -> Infallible {
        let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
        let mut search = Backoff::new(FIRST_SEARCH, LAST_SEARCH);
        let mut recent = VecDeque::with_capacity(MOST);
        loop {
            if recent.len() == MOST
                && let Some(first) = recent.pop_front()
            {
                sleep_until(first + WITHIN).await;
            }
            let began = Instant::now();
            recent.push_back(began);
            if self.profile().take_untold() {
                self.client().heartbeat_now().await;
                self.renew_pulls();
            }
            let round = self.round().await;
            let pause = if round.is_settled {
                let _ = backoff.succeed();
                PERIOD
            } else {
                backoff.fail()
            };
            tokio::select! {
                () = self.profile().changed() => {}
                () = sleep_until(began + pause) => {}
                never = self.look_for(&round.missing, &mut search) => match never {},
            }
        }
    }

    /// Looks for topics that do not exist yet, so that what is sent to a new one does not wait until the queues are shared again
    /// anyhow. A route that is found is a change.
    async fn look_for(&self, missing: &[Arc<str>], search: &mut Backoff) -> Infallible {
        if missing.is_empty() {
            let _ = search.succeed();
            return pending().await;
        }
        loop {
            sleep(search.fail()).await;
            let deadline = self.client().request_deadline();
            join_all(
                missing
                    .iter()
                    .map(|topic| self.client().route(topic, deadline)),
            )
            .await;
        }
    }

    /// One round over all topics.
    async fn round(self: &Arc<Self>) -> Round {
        let topics = self.profile().topics();
        self.leave_topics(&topics);
        let deadline = self.client().request_deadline();
        let routes = join_all(
            topics
                .iter()
                .map(|topic| self.client().route(topic, deadline)),
        )
        .await;
        let (mut is_settled, mut missing) = (true, Vec::new());
        let mut asked = Asked::default();
        for (topic, route) in topics.iter().zip(routes) {
            is_settled &= match route {
                Ok(Some(route)) => self.share_topic(topic, &route, &mut asked).await,
                Ok(None) => {
                    if !self.is_retry(topic) {
                        missing.push(Arc::clone(topic));
                    }
                    self.without_route(topic)
                }
                Err(error) => {
                    debug!(%topic, %error, "the topic's queues are not shared now");
                    false
                }
            };
        }
        self.queues.lock().is_shared |= is_settled;
        self.progressed();
        Round {
            is_settled,
            missing,
        }
    }

    /// Gives the queues up of topics that are not subscribed any more.
    fn leave_topics(self: &Arc<Self>, topics: &[Arc<str>]) {
        let left = self.queues.lock().seen.retain(topics);
        for topic in left {
            self.apply(&topic, &BTreeSet::new());
        }
    }

    /// Notes that name servers do not know a topic. False when it has to be looked for again soon.
    fn without_route(&self, topic: &Arc<str>) -> bool {
        let mut queues = self.queues.lock();
        queues.seen.note(topic, &[]);
        !(self.is_retry(topic) && queues.misses_retry_topic)
    }

    /// Shares one topic's queues. False when nobody could be asked.
    async fn share_topic(
        self: &Arc<Self>,
        topic: &Arc<str>,
        route: &Route,
        asked: &mut Asked,
    ) -> bool {
        {
            let mut queues = self.queues.lock();
            queues.seen.note(topic, &route.readable);
            queues.misses_retry_topic &= !self.is_retry(topic);
        }
        if self.is_broadcasting() {
            self.apply(topic, &route.readable.iter().cloned().collect());
            return true;
        }
        if self.settings().brokers_share {
            match self.ask_for_queues(topic, route).await {
                Said::Queues(wanted) => {
                    self.apply(topic, &wanted);
                    return true;
                }
                Said::Nothing => return false,
                Said::NotSupported => {
                    debug!(%topic, "the brokers do not share queues; the members do");
                }
            }
        }
        let Some(mut members) = self.members(route, asked).await else {
            return false;
        };
        let is_member = |members: &[String]| members.iter().any(|id| **id == **self.client().id());
        if !is_member(&members) && !asked.is_told {
            // A broker that has just started may not have heard of us yet.
            self.client().heartbeat_now().await;
            *asked = Asked {
                is_told: true,
                ..Asked::default()
            };
            match self.members(route, asked).await {
                Some(again) => members = again,
                None => return false,
            }
        }
        let strategy = &*self.settings().strategy;
        let (namespace, me) = (self.client().namespace(), self.client().id());
        match plan::share_in(namespace, strategy, me, members, &route.readable) {
            Share::Queues(wanted) => {
                self.apply(topic, &wanted);
                true
            }
            Share::Stranger => {
                warn!(%topic, group = self.name(), "the broker does not count this member to the group");
                self.apply(topic, &BTreeSet::new());
                false
            }
            Share::Unknown => {
                warn!(%topic, strategy = strategy.name(), "the allocation strategy panicked; queues stay as they are");
                false
            }
        }
    }

    /// The members of the group, from the first broker of the topic that answers: all members ask the same one first.
    async fn members(&self, route: &Route, asked: &mut Asked) -> Option<Vec<String>> {
        for addr in route.addrs(true).chain(route.addrs(false)) {
            if !asked.members.contains_key(addr) {
                let answer = self.ask_members(addr).await;
                if let Err(error) = &answer {
                    debug!(%addr, group = self.name(), %error, "the members of the group are not known");
                }
                asked.members.insert(Arc::clone(addr), answer.ok());
            }
            if let Some(Some(members)) = asked.members.get(addr) {
                return Some(members.clone());
            }
        }
        None
    }

    async fn ask_members(&self, addr: &Arc<str>) -> Result<Vec<String>> {
        let header = GetConsumerList {
            consumer_group: self.name().into(),
            broker_name: None,
        };
        self.client()
            .rpc()
            .consumer_ids(addr, &header, self.client().request_deadline())
            .await
    }

    /// Makes the topic's queues those that are wanted.
    fn apply(self: &Arc<Self>, topic: &Arc<str>, wanted: &BTreeSet<MessageQueue>) {
        let mut queues = self.queues.lock();
        let change = plan::diff(&queues.owned, topic, wanted);
        if change == plan::Change::default() {
            return;
        }
        info!(
            %topic,
            group = self.name(),
            revoked = change.revoked.len(),
            assigned = change.assigned.len(),
            owned = wanted.len(),
            "queues are shared again"
        );
        for queue in change.revoked {
            if let Some(lost) = queues.owned.remove(&queue) {
                lost.end(End::Revoked);
                queues.leaving.insert(queue, lost);
            }
        }
        for queue in &change.assigned {
            let origin = queues.seen.origin(queue);
            let before = queues.leaving.get(queue).cloned();
            self.assign(&mut queues, queue, origin, before);
        }
        self.spread_limits(&queues.owned, topic);
    }

    /// Pulls again with the subscriptions that brokers have just heard of.
    fn renew_pulls(&self) {
        for queue in self.owned() {
            if let Some(subscription) = self.subscription(&queue.queue().topic) {
                queue.renew(subscription.version());
            }
        }
    }
}
