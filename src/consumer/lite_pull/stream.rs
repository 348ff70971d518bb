//! Messages as a stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};

use crate::consumer::lite_pull::LitePullConsumer;
use crate::error::{ErrorKind, Result};
use crate::message::MessageExt;

/// All messages of a [`LitePullConsumer`], one after the other. Made by [`LitePullConsumer::stream`].
#[must_use = "a stream does nothing unless it is polled"]
pub struct MessageStream(BoxStream<'static, Result<MessageExt>>);

impl MessageStream {
    pub(super) fn new(consumer: LitePullConsumer) -> Self {
        let next = |consumer| async move {
            let item = next(&consumer).await?;
            Some((item, consumer))
        };
        Self(unfold(consumer, next).boxed())
    }
}

/// `None` when the consumer has ended. Nothing is kept here between polls, so there is nothing to lose.
async fn next(consumer: &LitePullConsumer) -> Option<Result<MessageExt>> {
    loop {
        match consumer.poll_one().await {
            Ok(Some(message)) => return Some(Ok(message)),
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::Closed => return None,
            Err(error) => return Some(Err(error)),
        }
    }
}

impl Stream for MessageStream {
    type Item = Result<MessageExt>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for MessageStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageStream")
    }
}
