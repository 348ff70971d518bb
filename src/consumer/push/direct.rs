//! A message that a tool has this member consume, beside those of the queues: a listener runs on it, and the tool hears what it says.
//!
//! Nothing else comes of it: the message is in no ring, no offset moves, and a failed one does not come again. Does not know: who asked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::consumer::body;
use crate::consumer::push::concurrent::{ListenerSettings, poll};
use crate::consumer::push::listener::{ConsumeContext, MessageListener};
use crate::error::panic_text;
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
    // The call is inside the future, so that a panic before the first await is caught too.
    let listening = async { listener.consume(vec![message], &context).await };
    let mut listening = pin!(Some(AssertUnwindSafe(listening).catch_unwind()));
    let outcome = timeout(settings.timeout, poll(listening.as_mut())).await;
    // The application's values are dropped here, and may panic in that.
    let _ = catch_unwind(AssertUnwindSafe(|| listening.set(None)));
    match outcome {
        Ok(Ok(result)) if result.is_success() => (said::SUCCESS, None),
        Ok(Ok(result)) => match result.outcome(1) {
            (1.., _) => (said::SUCCESS, None),
            (0, failure) => (said::LATER, failure.reason.map(String::from)),
        },
        Ok(Err(panic)) => {
            let panic = panic_text(&*panic);
            warn!(queue = %context.queue(), panic, "the listener panicked on what a tool gave it");
            (
                said::EXCEPTION,
                Some(format!("the listener panicked: {panic}")),
            )
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
