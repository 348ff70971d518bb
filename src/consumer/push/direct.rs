//! A message that a tool has this member consume, beside those of the queues: a listener runs on it, and the tool hears what it says.
//!
//! Nothing else comes of it: the message is in no ring, no offset moves, and a failed one does not come again. Does not know: who asked.

use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::consumer::body;
use crate::consumer::push::concurrent::{ListenerSettings, call};
use crate::consumer::push::listener::{ConsumeContext, MessageListener};
use crate::error::{drop_quietly, panic_text};
use crate::message::{MAX_INFLATED, MessageExt};
use crate::protocol::request::consume_directly::{ConsumedDirectlyBody, said};

/// How many of them may be here at a time. Tools ask for one after the other.
pub(super) const MOST: usize = 4;

/// A message, and who waits for what becomes of it.
pub(super) struct Direct {
    message: MessageExt,
    answer: oneshot::Sender<ConsumedDirectlyBody>,
    _one_of_few: OwnedSemaphorePermit,
}

impl Direct {
    pub(super) fn new(
        message: MessageExt,
        permit: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<ConsumedDirectlyBody>) {
        let (answer, answered) = oneshot::channel();
        let direct = Self {
            message,
            answer,
            _one_of_few: permit,
        };
        (direct, answered)
    }

    /// The topic that the message was sent to.
    pub(super) fn topic(&self) -> &str {
        self.message.topic()
    }

    /// Runs the listener, unless nobody waits for that any more.
    pub(super) async fn run<L: MessageListener>(self, listener: &L, settings: &ListenerSettings) {
        let Self {
            mut message,
            answer,
            _one_of_few,
        } = self;
        if answer.is_closed() {
            return;
        }
        let began = Instant::now();
        let (result, remark) = match body::open(&mut message, MAX_INFLATED) {
            Ok(_) => listen(listener, settings, message).await,
            Err(error) => (said::EXCEPTION, Some(error.to_string())),
        };
        let body = ConsumedDirectlyBody {
            order: false,
            auto_commit: true,
            consume_result: result.to_owned(),
            remark,
            spent_time_mills: millis(began.elapsed()),
        };
        // Whoever asked may have given up.
        let _ = answer.send(body);
    }
}

/// What the listener said, and more of it.
async fn listen<L: MessageListener>(
    listener: &L,
    settings: &ListenerSettings,
    message: MessageExt,
) -> (&'static str, Option<String>) {
    let (queue, failures) = (message.queue().clone(), message.reconsume_times());
    let context = ConsumeContext::new(settings.group.clone(), queue, failures);
    let mut listening = Box::pin(call(listener, vec![message], &context));
    let outcome = timeout(settings.timeout, listening.as_mut()).await;
    drop_quietly(listening);
    match outcome {
        Ok(Ok(result)) if result.is_success() => (said::SUCCESS, None),
        Ok(Ok(result)) => match result.outcome(1) {
            (1.., _) => (said::SUCCESS, None),
            (0, failure) => (said::LATER, failure.reason.map(String::from)),
        },
        Ok(Err(panic)) => {
            let text = panic_text(panic);
            warn!(queue = %context.queue(), panic = text, "the listener panicked on what a tool gave it");
            let remark = format!("the listener panicked: {text}");
            (said::EXCEPTION, Some(remark))
        }
        Err(_) => {
            let remark = format!("the listener took longer than {:?}", settings.timeout);
            (said::EXCEPTION, Some(remark))
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::panic::panic_any;
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::consumer::push::listener::Closure;
    use crate::consumer::push::result::ConsumeResult;
    use crate::consumer::sample;

    /// What panics when it is dropped.
    struct Loud;

    impl Drop for Loud {
        fn drop(&mut self) {
            panic!("in drop, on purpose");
        }
    }

    #[tokio::test]
    async fn a_listener_that_panics_with_what_panics_in_its_drop_is_answered_for() {
        let one = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let (direct, answered) = Direct::new(sample::message("t", 0), one);
        let listener = Closure(|_| async {
            panic_any(Loud);
            #[expect(unreachable_code, reason = "it says what the closure gives")]
            ConsumeResult::success()
        });
        let settings = ListenerSettings {
            group: "g".into(),
            concurrency: 1,
            topic_concurrency: HashMap::new(),
            batch: 1,
            timeout: Duration::from_secs(1),
            keeps_timed_out: false,
            max_reconsume_times: None,
        };
        direct.run(&listener, &settings).await;
        let answer = answered.await.unwrap();
        assert_eq!(answer.consume_result, said::EXCEPTION);
    }
}
