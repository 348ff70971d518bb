//! A consumer's hold on its member of a group: what every kind of consumer can be asked and told while it runs.
//!
//! Does not know: what is done with the messages.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use crate::client::{Client, Member, Registration};
use crate::consumer::group::{Group, Leave};
use crate::consumer::profile::Profile;
use crate::consumer::report::ConsumerReport;
use crate::error::{Error, ErrorKind, Result};
use crate::message::MessageQueue;

/// How long the tasks of a consumer's own client have at least to end when it is shut down.
const LAST_TASKS: Duration = Duration::from_millis(500);

/// The member leaves its group when this is dropped.
pub(super) struct Handle {
    client: Client,
    owns_client: bool,
    profile: Arc<Profile>,
    /// Weak, because a listener may hold the consumer.
    group: Weak<Group>,
    leave: watch::Sender<Option<Leave>>,
    report: watch::Receiver<Option<ConsumerReport>>,
}

impl Handle {
    /// Starts the member's task.
    pub(super) fn start(
        client: Client,
        owns_client: bool,
        profile: Arc<Profile>,
        registration: Registration,
        member: Arc<Group>,
    ) -> Self {
        let (leave, told) = watch::channel(None);
        let (reporter, report) = watch::channel(None);
        let handle = Self {
            client: client.clone(),
            owns_client,
            profile,
            group: Arc::downgrade(&member),
            leave,
            report,
        };
        client.spawn("consumer", member.run(registration, told, reporter));
        info!(
            group = handle.name(),
            client = handle.client_id(),
            "consumer started"
        );
        handle
    }

    /// The group's name.
    pub(super) fn name(&self) -> &str {
        self.profile.group()
    }

    pub(super) fn client_id(&self) -> &str {
        self.client.client_id()
    }

    /// The member, unless it has ended.
    ///
    /// # Errors
    /// `Closed`, for the operation.
    pub(super) fn group(&self, operation: &'static str) -> Result<Arc<Group>> {
        let group = self.group.upgrade().filter(|group| !group.is_leaving());
        group.ok_or_else(|| self.closed(operation))
    }

    pub(super) fn closed(&self, operation: &'static str) -> Error {
        Error::new(ErrorKind::Closed, operation).target(format!("group {}", self.name()))
    }

    pub(super) fn assigned_queues(&self) -> Vec<MessageQueue> {
        let owned = self
            .group
            .upgrade()
            .map(|group| group.owned())
            .unwrap_or_default();
        owned.iter().map(|queue| queue.queue().clone()).collect()
    }

    pub(super) fn subscribe(&self, topic: &str, expression: &str) -> Result<()> {
        if self.leave.borrow().is_some() || self.client.is_closed() {
            return Err(self.closed("subscribe").topic_of(topic));
        }
        self.client.check_topic("subscribe", topic)?;
        let now = self.client.now_millis();
        self.profile.subscribe(topic, expression, now).map(drop)
    }

    pub(super) fn unsubscribe(&self, topic: &str) {
        self.profile.unsubscribe(topic);
    }

    /// Ends the member; messages that are being consumed have this long to be finished. A second call waits for the first.
    pub(super) async fn shutdown(&self, patience: Duration) -> Result<ConsumerReport> {
        let listeners = Instant::now() + patience;
        let brokers = listeners + self.client.config().request_timeout;
        self.leave.send_if_modified(|leave| {
            let is_first = leave.is_none();
            leave.get_or_insert(Leave { listeners, brokers });
            is_first
        });
        let mut report = self.report.clone();
        let reported = report
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|report| report.clone());
        if self.owns_client {
            // Everything is cancelled by then; a listener or a hook that blocks its thread does not notice.
            let until = brokers.max(Instant::now() + LAST_TASKS);
            if timeout_at(until, self.client.shutdown()).await.is_err() {
                warn!(
                    group = self.name(),
                    "a listener or a hook blocks its thread; it is left behind"
                );
            }
        }
        reported.ok_or_else(|| {
            self.closed("shut a consumer down")
                .detail("its client ended first")
        })
    }

    /// Waits until the queues were shared and it is known where they begin, for some time.
    pub(super) async fn settled(&self) {
        if let Some(group) = self.group.upgrade() {
            let limit = self.client.config().request_timeout;
            // What could not be asked by then is asked again and again.
            let _ = timeout(limit, group.begun()).await;
        }
    }
}
