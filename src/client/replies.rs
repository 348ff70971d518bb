//! Replies to this client's requests, and who waits for them.
//!
//! One table for each client, so that two clients of a process never see each other's replies. What nobody waits for is counted and
//! dropped. Does not know: how a request is sent.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::debug;

use crate::message::{MessageExt, MessageQueue};
use crate::protocol::DecodeError;
use crate::protocol::command::Command;
use crate::protocol::message::{Properties, StoredMessage, SysFlag, Text, property_names as names};
use crate::protocol::request::push_reply::PushReply;

/// Who waits for which reply.
#[derive(Default)]
pub(crate) struct Replies {
    waiting: Mutex<HashMap<Box<str>, oneshot::Sender<MessageExt>>>,
    /// Whether anybody ever waited.
    used: AtomicBool,
    /// Replies that nobody waited for, or not any more.
    unclaimed: AtomicU64,
}

/// Waits for one reply: resolves to it. Dropping it means that nobody waits any more.
#[must_use]
pub(crate) struct Expected {
    replies: Arc<Replies>,
    id: Box<str>,
    reply: oneshot::Receiver<MessageExt>,
}

impl Replies {
    /// Expects the reply to a request of this correlation id.
    pub(crate) fn expect(self: &Arc<Self>, id: &str) -> Expected {
        let (sender, reply) = oneshot::channel();
        self.used.store(true, Ordering::Relaxed);
        self.waiting.lock().insert(id.into(), sender);
        Expected {
            replies: Arc::clone(self),
            id: id.into(),
            reply,
        }
    }

    /// Whether replies matter to this client.
    pub(super) fn are_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// Hands a reply that a broker brought to who waits for it.
    pub(super) fn take(
        &self,
        command: &Command,
        broker_name: &str,
        now_millis: i64,
    ) -> Result<(), DecodeError> {
        let reply = read(command, broker_name, now_millis)?;
        let id = reply.property(names::CORRELATION_ID).unwrap_or_default();
        let waiting = self.waiting.lock().remove(id);
        let unclaimed = match waiting {
            Some(waiting) => waiting.send(reply).err(),
            None => Some(reply),
        };
        if let Some(reply) = unclaimed {
            let count = self.unclaimed.fetch_add(1, Ordering::Relaxed) + 1;
            let id = reply.property(names::CORRELATION_ID);
            debug!(id, from = %reply.born_host(), count, "a reply that nobody waits for");
        }
        Ok(())
    }

    /// How many replies came that nobody waited for.
    pub(crate) fn unclaimed(&self) -> u64 {
        self.unclaimed.load(Ordering::Relaxed)
    }

    /// How many are waited for.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.lock().len()
    }
}

impl Future for Expected {
    type Output = MessageExt;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<MessageExt> {
        match Pin::new(&mut self.reply).poll(cx) {
            Poll::Ready(Ok(reply)) => Poll::Ready(reply),
            // It was taken before.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.replies.waiting.lock().remove(&self.id);
    }
}

/// The reply as a received message.
fn read(command: &Command, broker_name: &str, now_millis: i64) -> Result<MessageExt, DecodeError> {
    let header: PushReply<'_> = command.header()?;
    let mut properties = Properties::from(header.properties.as_deref().unwrap_or_default());
    properties.push(names::ARRIVE_TIME, &now_millis.to_string());
    let stored = StoredMessage {
        // There is none: see `inflate_body`.
        body_crc: 0,
        queue_id: header.queue_id,
        flag: header.flag,
        queue_offset: 0,
        physical_offset: 0,
        sys_flag: SysFlag::from_bits(header.sys_flag),
        born_timestamp: header.born_timestamp,
        born_host: addr(&header.born_host),
        store_timestamp: header.store_timestamp,
        store_host: addr(&header.store_host),
        reconsume_times: header.reconsume_times.unwrap_or(0),
        prepared_transaction_offset: 0,
        // Of its own: a reply may be kept for long.
        body: Bytes::copy_from_slice(&command.body),
        topic: Text::from(header.topic.to_string()),
        properties: Text::from(properties.into_string()),
    };
    let queue = MessageQueue::new(&*header.topic, broker_name, header.queue_id);
    Ok(MessageExt::new(stored, queue))
}

/// An address that cannot be read is none.
fn addr(text: &str) -> SocketAddr {
    text.parse()
        .unwrap_or_else(|_| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies")
            .field("waiting", &self.waiting.lock().len())
            .field("unclaimed", &self.unclaimed)
            .finish_non_exhaustive()
    }
}
