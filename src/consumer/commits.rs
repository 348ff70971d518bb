//! When offsets are committed: period by period, and when an application says so.
//!
//! Does not know: which offset may be committed, and where it is kept.

use std::convert::Infallible;
use std::sync::Arc;

use futures::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use crate::consumer::assigned::Assigned;
use crate::consumer::group::Group;
use crate::error::{Error, Result};
use crate::message::MessageQueue;

impl Group {
    /// Commits the offsets of all queues, period by period.
    pub(super) async fn commit_offsets(&self) -> Infallible {
        let mut ticks = interval(self.settings().commit_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut queues = self.owned();
            let now = Instant::now();
            queues.retain(|queue| queue.has_progress(now));
            let failed = self.commit_all(&queues).await;
            if let Some(error) = failed.first() {
                let (failed, of) = (failed.len(), queues.len());
                warn!(group = self.name(), failed, of, %error, "offsets are not committed yet");
            }
        }
    }

    /// Commits the offsets of all queues, and of those among `done` that are being given up, at a shutdown too.
    ///
    /// # Errors
    /// The first that is not confirmed.
    pub(crate) async fn commit_now(&self, done: Vec<Arc<Assigned>>) -> Result<()> {
        let mut queues = self.owned();
        for queue in done {
            if !queue.is_gone() && !queues.iter().any(|known| Arc::ptr_eq(known, &queue)) {
                queues.push(queue);
            }
        }
        let failed = self.commit_all(&queues).await;
        failed.into_iter().next().map_or(Ok(()), Err)
    }

    /// Commits an offset of a queue that the member owns.
    ///
    /// # Errors
    /// It does not own it, or the offset is none that can be committed now; or that is not confirmed.
    pub(crate) async fn commit_before(&self, queue: &MessageQueue, offset: i64) -> Result<()> {
        let invalid = |detail: String| {
            let error = Error::invalid("commit", detail).topic_of(&queue.topic);
            error.target(queue.within_topic())
        };
        let owned = self
            .owned()
            .into_iter()
            .find(|owned| owned.queue() == queue);
        let confirmed = owned.and_then(|owned| Some((owned.confirm_before(offset)?, owned)));
        let (confirmed, owned) =
            confirmed.ok_or_else(|| invalid("the queue is not assigned to this member".into()))?;
        confirmed.map_err(|error| invalid(format!("the offset is {offset}; {error}")))?;
        owned
            .commit(self.store(), self.client().request_deadline())
            .await
    }

    /// What could not be committed.
    async fn commit_all(&self, queues: &[Arc<Assigned>]) -> Vec<Error> {
        let deadline = self.client().request_deadline();
        let commits = queues
            .iter()
            .map(|queue| queue.commit(self.store(), deadline));
        let outcomes = join_all(commits).await;
        outcomes.into_iter().filter_map(Result::err).collect()
    }
}
