//! Where a group's offsets are kept.

use std::fmt;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::error::Result;
use crate::message::MessageQueue;

mod remote;

pub(crate) use remote::BrokerOffsets;

/// Keeps, for each queue, the offset of the next message to consume.
#[async_trait]
pub(crate) trait OffsetStore: fmt::Debug + Send + Sync + 'static {
    /// The committed offset; `None` when there is none, which is not the same as not knowing.
    async fn load(&self, queue: &MessageQueue, deadline: Instant) -> Result<Option<i64>>;

    /// Commits an offset, and waits until that is certain.
    async fn commit(&self, queue: &MessageQueue, offset: i64, deadline: Instant) -> Result<()>;
}
