//! Offsets that a group's brokers keep: those of a clustering consumer.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::client::Client;
use crate::consumer::offset::OffsetStore;
use crate::consumer::pull::{MASTER, broker};
use crate::error::Result;
use crate::message::MessageQueue;
use crate::protocol::request::consumer_offset::{QueryConsumerOffset, UpdateConsumerOffset};

/// A group's offsets at its brokers.
#[derive(Debug)]
pub(crate) struct BrokerOffsets {
    client: Client,
    group: Arc<str>,
}

impl BrokerOffsets {
    pub(crate) const fn new(client: Client, group: Arc<str>) -> Self {
        Self { client, group }
    }
}

#[async_trait]
impl OffsetStore for BrokerOffsets {
    async fn load(&self, queue: &MessageQueue, deadline: Instant) -> Result<Option<i64>> {
        let (addr, _) = broker(&self.client, queue, MASTER).await?;
        let header = QueryConsumerOffset {
            consumer_group: (&*self.group).into(),
            topic: (&*queue.topic).into(),
            queue_id: queue.queue_id,
            // Otherwise a broker says 0 for a new group of a small topic, whatever the group wants.
            set_zero_if_not_found: Some(false),
            broker_name: Some((&*queue.broker_name).into()),
        };
        self.client
            .rpc()
            .query_offset(&addr, &header, deadline)
            .await
    }

    async fn commit(&self, queue: &MessageQueue, offset: i64, deadline: Instant) -> Result<()> {
        let (addr, _) = broker(&self.client, queue, MASTER).await?;
        let header = UpdateConsumerOffset {
            consumer_group: (&*self.group).into(),
            topic: (&*queue.topic).into(),
            queue_id: queue.queue_id,
            commit_offset: offset,
            broker_name: Some((&*queue.broker_name).into()),
        };
        self.client
            .rpc()
            .commit_offset(&addr, &header, deadline)
            .await
    }
}
