//! Offsets that a group's brokers keep: those of a clustering consumer.

use std::error::Error as StdError;
use std::sync::Arc;

use async_trait::async_trait;

use crate::client::Client;
use crate::consumer::offset::OffsetStore;
use crate::consumer::pull::{MASTER, broker};
use crate::error::{Error, ErrorKind, Result};
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
    async fn load(
        &self,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, Box<dyn StdError + Send + Sync>> {
        let (addr, id) = broker(&self.client, queue, MASTER).await?;
        let header = QueryConsumerOffset {
            consumer_group: (&*self.group).into(),
            topic: (&*queue.topic).into(),
            queue_id: queue.queue_id,
            // Otherwise a broker says 0 for a new group of a small topic, whatever the group wants.
            set_zero_if_not_found: Some(false),
            broker_name: Some((&*queue.broker_name).into()),
        };
        let deadline = self.client.request_deadline();
        let rpc = self.client.rpc();
        let stored = rpc.query_offset(&addr, &header, deadline).await?;
        if id != MASTER && stored.is_none_or(|offset| offset < 0) {
            let error = Error::new(ErrorKind::NoRoute, "ask for a group's offset");
            let error = error.topic_of(&queue.topic).at(&addr);
            let detail = "a slave knows none, and the route has no master to ask";
            return Err(error.detail(detail).into());
        }
        Ok(stored)
    }

    async fn commit(
        &self,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        let (addr, _) = broker(&self.client, queue, MASTER).await?;
        let header = UpdateConsumerOffset {
            consumer_group: (&*self.group).into(),
            topic: (&*queue.topic).into(),
            queue_id: queue.queue_id,
            commit_offset: offset,
            broker_name: Some((&*queue.broker_name).into()),
        };
        let deadline = self.client.request_deadline();
        let rpc = self.client.rpc();
        Ok(rpc.commit_offset(&addr, &header, deadline).await?)
    }
}
