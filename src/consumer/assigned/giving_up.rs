//! How the offset of a queue is committed, and how the queue is given up.
//!
//! Knows: which offset may be committed at which time. Does not know: when a member commits, and where offsets are kept.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};

use super::{Announced, Assigned, End, Left, State};
use crate::consumer::group::Group;
use crate::consumer::offset::Offsets;
use crate::consumer::process_queue::ProcessQueue;
use crate::consumer::start_offset::Origin;
use crate::error::{Error, ErrorKind, Result};

/// How long listeners may go on with messages of a queue that another member gets.
const REVOKED: Duration = Duration::from_secs(5);

/// Which offsets are worth a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// Those that have moved, and those that were committed long ago.
    Due,
    /// All: there may be no later occasion.
    All,
}

impl Assigned {
    /// Whether an offset waits to be committed.
    pub(crate) fn has_progress(&self, now: Instant) -> bool {
        let state = self.state.lock();
        let safe = state.safe_offset();
        safe.is_some_and(|safe| state.committed.is_due(safe, now))
    }

    /// Commits the safe offset, if it has moved or may be forgotten. When the queue is given up only where that does not put the group
    /// back behind what its new owner has committed; after it was taken over again not at all.
    pub(crate) async fn commit(&self, store: &Offsets, deadline: Instant) -> Result<()> {
        self.commit_worth(Worth::Due, store, deadline).await
    }

    async fn commit_worth(&self, worth: Worth, store: &Offsets, deadline: Instant) -> Result<()> {
        let Ok(_one) = timeout_at(deadline, self.committing.lock()).await else {
            let error = Error::new(ErrorKind::Timeout, "commit an offset");
            let error = error.topic_of(&self.queue.topic);
            return Err(error
                .target(self.queue.within_topic())
                .detail("an earlier commit is not answered yet"));
        };
        let now = Instant::now();
        let (offset, asks, is_confirmed) = {
            let state = self.state.lock();
            let committed = state.committed;
            let is_worth = |offset: &i64| worth == Worth::All || committed.is_due(*offset, now);
            let Some(offset) = self.last_offset(&state).filter(is_worth) else {
                return Ok(());
            };
            let is_confirmed = committed.is(offset);
            let asks = match state.end {
                Some(End::Rebuilt) => return Ok(()),
                // A reset that waits puts the group back on purpose.
                _ if state.ring.is_none() => false,
                None => false,
                // What has moved since the last commit is sent at once. What has not may be behind somebody who took the queue meanwhile.
                Some(End::Shutdown { .. }) => worth == Worth::Due || is_confirmed,
                Some(End::Revoked) => true,
            };
            (offset, asks, is_confirmed)
        };
        let stored = match asks {
            // A store that cannot be asked hears of nothing: what comes again then is less than a new owner may have done.
            true => store.load(&self.queue, deadline).await?,
            false => None,
        };
        // A store may say what it could not keep: only what it has confirmed is there.
        let is_there = |stored| stored > offset || stored == offset && is_confirmed;
        if stored.is_some_and(is_there) {
            debug!(queue = %self.queue, ?stored, offset, "the group is there already");
        } else {
            store.commit(&self.queue, offset, deadline).await?;
        }
        self.state.lock().committed.confirm(offset, now);
        Ok(())
    }

    /// Commits at once, waits for the listeners within a bound, and commits what they have finished.
    pub(super) async fn give_up(&self, group: &Group) {
        let Some(end) = self.state.lock().end else {
            return;
        };
        let (listeners, commits) = match end {
            End::Rebuilt => {
                // The next assignment commits where it begins, and nothing may arrive after that.
                let deadline = group.client().request_deadline();
                let _none = timeout_at(deadline, self.committing.lock()).await;
                return;
            }
            End::Revoked => (Instant::now() + REVOKED, None),
            End::Shutdown { listeners, commits } => (listeners, Some(commits)),
        };
        let at_once = group.client().request_deadline();
        let at_once = commits.map_or(at_once, |commits| commits.min(at_once));
        self.commit_last(Worth::All, group, at_once).await;
        if timeout_at(listeners, self.idle()).await.is_err() {
            let running = self.state.lock().running();
            warn!(queue = %self.queue, running, "messages of a queue that is given up are still out; they come again");
        }
        let deadline = || commits.unwrap_or_else(|| group.client().request_deadline());
        self.commit_last(Worth::Due, group, deadline()).await;
        let announced = self.state.lock().announced;
        if announced != Announced::Not {
            // Half of what is left at a shutdown: leaving the group takes its time, too.
            let now = Instant::now();
            let left = deadline().saturating_duration_since(now);
            let until = now + if commits.is_some() { left / 2 } else { left };
            group.settings().hooks.on_revoked(&self.queue, until).await;
        }
        info!(queue = %self.queue, epoch = self.epoch.0, ?end, "queue given up");
    }

    async fn commit_last(&self, worth: Worth, group: &Group, deadline: Instant) {
        if let Err(error) = self.commit_worth(worth, group.store(), deadline).await {
            warn!(queue = %self.queue, %error, "the last offset is not committed");
        }
    }

    /// Waits until no message of this queue is out.
    async fn idle(&self) {
        while self.state.lock().running() > 0 {
            self.changed.notified().await;
        }
    }

    /// What is left now.
    pub(crate) fn left(&self) -> Left {
        let state = self.state.lock();
        let last = self.last_offset(&state);
        Left {
            unfinished: state.ring.as_ref().map_or(0, ProcessQueue::unfinished),
            is_committed: last.is_none_or(|last| state.committed.is(last)),
        }
    }

    /// The offset to leave behind. Where the queue has not begun it is that which somebody wants: nobody else knows of that.
    fn last_offset(&self, state: &State) -> Option<i64> {
        let wanted = match self.origin {
            Origin::Reset(offset) => Some(offset),
            _ => None,
        };
        state.safe_offset().or(wanted)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;
    use std::sync::Arc;

    use async_trait::async_trait;
    use parking_lot::Mutex;

    use super::super::Epoch;
    use super::*;
    use crate::consumer::committed::Committed;
    use crate::consumer::offset::OffsetStore;
    use crate::consumer::process_queue::Limits;
    use crate::message::MessageQueue;

    /// A store that hears of commits and never answers them.
    #[derive(Debug, Default)]
    struct Mute(Mutex<Vec<i64>>);

    #[async_trait]
    impl OffsetStore for Mute {
        async fn load(
            &self,
            _: &MessageQueue,
        ) -> Result<Option<i64>, Box<dyn StdError + Send + Sync>> {
            Ok(None)
        }

        async fn commit(
            &self,
            _: &MessageQueue,
            offset: i64,
        ) -> Result<(), Box<dyn StdError + Send + Sync>> {
            self.0.lock().push(offset);
            std::future::pending().await
        }
    }

    fn assigned() -> Assigned {
        let limits = Limits {
            count: 10,
            span: 10,
            bytes: 10,
        };
        let queue = MessageQueue::new("t", "b", 0);
        let assigned = Assigned::new(queue, Epoch(1), Origin::Known, limits);
        assigned.begin(0, Committed::found(0, Instant::now()));
        assigned.with_ring(|ring| ring.advance(5)).unwrap();
        assigned
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_that_waits_in_vain_for_another_one_has_failed() {
        let mute = Arc::new(Mute::default());
        let (assigned, store) = (assigned(), Offsets::new(Arc::clone(&mute)));
        let deadline = Instant::now() + Duration::from_secs(3);
        let never = assigned.commit(&store, deadline + Duration::from_secs(1));
        let second = assigned.commit(&store, deadline);
        let error = tokio::select! {
            biased;
            _ = never => unreachable!("the store never answers, and there is time left"),
            outcome = second => outcome.unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert_eq!(*mute.0.lock(), [5]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_over_again_commits_nothing() {
        let mute = Arc::new(Mute::default());
        let (assigned, store) = (assigned(), Offsets::new(Arc::clone(&mute)));
        assigned.end(End::Rebuilt);
        let deadline = Instant::now() + Duration::from_secs(3);
        assigned.commit(&store, deadline).await.unwrap();
        assert!(mute.0.lock().is_empty());
    }
}
