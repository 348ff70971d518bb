//! What an application wants done when its consumer takes a queue over or gives one up.
//!
//! Knows: how the application's code is run so that it can neither stop nor break the queue. Does not know: when.

use std::fmt;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use tracing::{error, warn};

use crate::error::{drop_quietly, panic_text};
use crate::message::MessageQueue;

/// An async closure of the application's.
pub(crate) struct Hook(Box<dyn Fn(MessageQueue) -> BoxFuture<'static, ()> + Send + Sync>);

impl Hook {
    pub(crate) fn new<F, Fut>(hook: F) -> Self
    where
        F: Fn(MessageQueue) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self(Box::new(move |queue| Box::pin(hook(queue))))
    }

    /// Runs it until it ends, or the deadline is there: then it is dropped.
    async fn run(&self, name: &'static str, queue: &MessageQueue, deadline: Instant) {
        // The call is inside the future, so that a panic before the first await is caught too.
        let running = async { (self.0)(queue.clone()).await };
        let mut running = Box::pin(AssertUnwindSafe(running).catch_unwind());
        match timeout_at(deadline, running.as_mut()).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => {
                let panic = panic_text(panic);
                error!(%queue, hook = name, panic, "a hook panicked");
            }
            Err(_) => warn!(%queue, hook = name, "a hook takes too long; it is dropped"),
        }
        drop_quietly(running);
    }
}

/// What an application wants done.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    pub(crate) assigned: Option<Hook>,
    pub(crate) revoked: Option<Hook>,
}

impl Hooks {
    pub(crate) async fn on_assigned(&self, queue: &MessageQueue, deadline: Instant) {
        if let Some(hook) = &self.assigned {
            hook.run("on_assigned", queue, deadline).await;
        }
    }

    pub(crate) async fn on_revoked(&self, queue: &MessageQueue, deadline: Instant) {
        if let Some(hook) = &self.revoked {
            hook.run("on_revoked", queue, deadline).await;
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    struct PanicsWhenDropped(Arc<AtomicU32>);

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            panic!("in drop");
        }
    }

    async fn run(hook: Hook) {
        let hooks = Hooks {
            assigned: None,
            revoked: Some(hook),
        };
        let queue = MessageQueue::new("t", "broker-a", 0);
        let deadline = Instant::now() + Duration::from_secs(1);
        hooks.on_assigned(&queue, deadline).await;
        hooks.on_revoked(&queue, deadline).await;
        assert!(Instant::now() <= deadline + Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hook_that_panics_or_hangs_harms_nobody() {
        let ran = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&ran);
        run(Hook::new(move |queue| {
            assert_eq!(queue.to_string(), "t@broker-a:0");
            counted.fetch_add(1, Ordering::Relaxed);
            async {}
        }))
        .await;
        assert_eq!(ran.load(Ordering::Relaxed), 1);
        run(Hook::new(|_| -> std::future::Ready<()> {
            panic!("at once")
        }))
        .await;
        run(Hook::new(|_| async { panic!("later") })).await;
        run(Hook::new(|_| std::future::pending())).await;
        let counted = Arc::clone(&ran);
        run(Hook::new(move |_| {
            let value = PanicsWhenDropped(Arc::clone(&counted));
            async move {
                std::future::pending::<()>().await;
                drop(value);
            }
        }))
        .await;
        let counted = Arc::clone(&ran);
        run(Hook::new(move |_| {
            let value = PanicsWhenDropped(Arc::clone(&counted));
            async { std::panic::panic_any(value) }
        }))
        .await;
        assert_eq!(ran.load(Ordering::Relaxed), 3);
    }
}
