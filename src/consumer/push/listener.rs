//! Listeners: what an application gives a consumer to run, in its forms.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::task::spawn_blocking;
use tokio_util::task::AbortOnDropHandle;

use crate::consumer::push::result::ConsumeResult;
use crate::message::{MessageExt, MessageQueue};

/// Consumes messages: for what a closure cannot hold.
///
/// Closures are given to [`listener`](crate::PushConsumerBuilder::listener) and its sisters; this is for a type that wants its own
/// state by reference:
///
/// ```
/// use rocketmq_sdk::{ConsumeContext, ConsumeResult, MessageExt, MessageListener};
///
/// struct Orders {
///     shop: String,
/// }
///
/// impl MessageListener for Orders {
///     async fn consume(&self, messages: Vec<MessageExt>, context: &ConsumeContext) -> ConsumeResult {
///         for message in &messages {
///             println!("{}: {:?} of {}", self.shop, message.body(), context.queue());
///         }
///         ConsumeResult::success()
///     }
/// }
/// ```
pub trait MessageListener: Send + Sync + 'static {
    /// Consumes messages of one queue. Several calls run at a time.
    ///
    /// There are as many messages as [`consume_batch_max_size`](crate::PushConsumerBuilder::consume_batch_max_size) allows at most, and at
    /// least one. A panic is a failure of these messages and of nothing else. The future is dropped when it takes longer than the
    /// [consume timeout](crate::PushConsumerBuilder::consume_timeout), or when the consumer ends.
    fn consume(
        &self,
        messages: Vec<MessageExt>,
        context: &ConsumeContext,
    ) -> impl Future<Output = ConsumeResult> + Send;
}

/// Where the messages come from that a listener is given.
#[derive(Debug, Clone)]
pub struct ConsumeContext {
    group: Arc<str>,
    queue: MessageQueue,
    reconsume_times: i32,
}

impl ConsumeContext {
    pub(super) const fn new(group: Arc<str>, queue: MessageQueue, reconsume_times: i32) -> Self {
        Self {
            group,
            queue,
            reconsume_times,
        }
    }

    /// The consumer group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The queue that all the messages come from. For messages that failed before it is one of the group's retry topic; their
    /// [`topic`](MessageExt::topic) is the one that they were sent to.
    pub const fn queue(&self) -> &MessageQueue {
        &self.queue
    }

    /// How often the delivery of the messages to this group has failed; of several the most often.
    pub const fn reconsume_times(&self) -> i32 {
        self.reconsume_times
    }
}

/// A closure as a listener.
pub(super) struct Closure<F>(pub(super) F);

impl<F, Fut> MessageListener for Closure<F>
where
    F: Fn(Vec<MessageExt>) -> Fut + Send + Sync + 'static,
    Fut: Future + Send,
    Fut::Output: Into<ConsumeResult>,
{
    async fn consume(&self, messages: Vec<MessageExt>, _context: &ConsumeContext) -> ConsumeResult {
        (self.0)(messages).await.into()
    }
}

/// A closure with a state that is cloned for each call.
pub(super) struct ClosureWith<S, F>(pub(super) S, pub(super) F);

impl<S, F, Fut> MessageListener for ClosureWith<S, F>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S, Vec<MessageExt>) -> Fut + Send + Sync + 'static,
    Fut: Future + Send,
    Fut::Output: Into<ConsumeResult>,
{
    async fn consume(&self, messages: Vec<MessageExt>, _context: &ConsumeContext) -> ConsumeResult {
        (self.1)(self.0.clone(), messages).await.into()
    }
}

/// A closure that wants the context.
pub(super) struct ClosureInContext<F>(pub(super) F);

impl<F, Fut> MessageListener for ClosureInContext<F>
where
    F: Fn(Vec<MessageExt>, ConsumeContext) -> Fut + Send + Sync + 'static,
    Fut: Future + Send,
    Fut::Output: Into<ConsumeResult>,
{
    async fn consume(&self, messages: Vec<MessageExt>, context: &ConsumeContext) -> ConsumeResult {
        (self.0)(messages, context.clone()).await.into()
    }
}

/// A closure that blocks its thread.
pub(super) struct Blocking<F>(pub(super) Arc<F>);

impl<F, R> MessageListener for Blocking<F>
where
    F: Fn(Vec<MessageExt>) -> R + Send + Sync + 'static,
    R: Into<ConsumeResult>,
{
    async fn consume(&self, messages: Vec<MessageExt>, _context: &ConsumeContext) -> ConsumeResult {
        let listener = Arc::clone(&self.0);
        // One that waits for a thread still is not to run when nobody waits for it any more.
        let running = AbortOnDropHandle::new(spawn_blocking(move || listener(messages).into()));
        match running.await {
            Ok(result) => result,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime shuts down.
                Err(_) => ConsumeResult::later(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use futures::FutureExt;

    use super::*;
    use crate::consumer::push::result::ConsumeStatus;
    use crate::consumer::sample;

    #[test]
    fn a_blocking_listener_that_waits_for_a_thread_does_not_run_when_nobody_waits_for_it() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (free, busy) = mpsc::channel::<()>();
            let busy = spawn_blocking(move || busy.recv());
            let runs = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&runs);
            let listener = Blocking(Arc::new(move |_: Vec<MessageExt>| {
                counted.fetch_add(1, Ordering::SeqCst);
                ConsumeStatus::CONSUME_SUCCESS
            }));
            let context = ConsumeContext::new("g".into(), MessageQueue::new("t", "b", 0), 0);
            let consume = || listener.consume(vec![sample::message("t", 0)], &context);
            assert!(consume().now_or_never().is_none());
            free.send(()).unwrap();
            busy.await.unwrap().unwrap();
            // The only thread takes one after the other.
            assert!(consume().await.is_success());
            assert_eq!(runs.load(Ordering::SeqCst), 1);
        });
    }

    #[tokio::test]
    async fn a_closure_may_want_the_context() {
        let listener = ClosureInContext(|messages: Vec<MessageExt>, context: ConsumeContext| {
            let failures = context.reconsume_times() as usize;
            async move {
                assert_eq!((context.group(), messages.len()), ("g", 1));
                assert_eq!(*context.queue(), MessageQueue::new("t", "b", 0));
                ConsumeResult::later().ack_first(failures)
            }
        });
        let context = ConsumeContext::new("g".into(), MessageQueue::new("t", "b", 0), 3);
        let messages = vec![sample::message("t", 0)];
        let result = listener.consume(messages, &context).await;
        assert_eq!(result, ConsumeResult::later().ack_first(3));
    }
}
