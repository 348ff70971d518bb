//! How messages that a listener was given are settled, and what becomes of those that failed.
//!
//! A failed message goes back to its broker, which brings it again in the group's retry topic or puts it to the dead letters. Where the
//! broker refuses that, a copy is sent to the retry topic. The offset passes the message only after a broker has confirmed one or the
//! other; until then it is kept and consumed again here. A broadcasting consumer lets it go.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::consumer::assigned::Assigned;
use crate::consumer::group::Group;
use crate::consumer::process_queue::Ticket;
use crate::consumer::pull::{MASTER, broker};
use crate::consumer::push::copy;
use crate::error::{Error, ErrorKind, Result};
use crate::message::MessageExt;
use crate::protocol::request::send_back::SendBack;

/// After how long a message that could not be given back is tried again here.
pub(super) const RETRY_HERE: Duration = Duration::from_secs(5);

/// How long giving a message back may take.
pub(super) const SEND_BACK: Duration = Duration::from_secs(5);

/// Messages of one queue that a listener was given together.
pub(super) struct Batch<'a> {
    pub(super) group: &'a Arc<Group>,
    pub(super) queue: &'a Arc<Assigned>,
    pub(super) ticket: &'a Ticket,
    /// How often a message may fail before it is a dead letter; the broker decides where this does not.
    pub(super) max_reconsume_times: Option<i32>,
}

impl Batch<'_> {
    /// Settles messages that are consumed.
    pub(super) fn finish(&self, which: Range<usize>) {
        self.queue.counters().consumed(which.len());
        self.queue.finish(self.ticket, which);
    }

    /// Settles messages that failed.
    pub(super) async fn fail(&self, which: Range<usize>, delay_level: i32) {
        if which.is_empty() {
            return;
        }
        self.queue.counters().failed(which.len());
        if self.queue.is_lost() {
            // The next owner gets them, and has them once.
            return self.queue.leave(self.ticket, which);
        }
        let refused = self.give_back(which, delay_level).await;
        if refused.is_empty() {
            return;
        }
        let due = Instant::now() + RETRY_HERE;
        for at in refused {
            self.queue.retry(self.ticket, at, due);
        }
        let (group, queue) = (Arc::clone(self.group), Arc::clone(self.queue));
        self.group.spawn("retry here", async move {
            sleep_until(due).await;
            group.offer(&queue, Instant::now());
        });
    }

    /// Gives messages back that are not settled yet. Those that the broker has are finished; the others are returned.
    pub(super) async fn give_back(&self, which: Range<usize>, delay_level: i32) -> Vec<usize> {
        if self.group.is_broadcasting() {
            self.drop_failed(which);
            return Vec::new();
        }
        let messages = self.queue.messages(self.ticket, which);
        let sent = messages
            .iter()
            .map(|(_, message)| self.return_one(message, delay_level));
        let mut refused = Vec::new();
        for ((at, message), outcome) in messages.iter().zip(join_all(sent).await) {
            match outcome {
                Ok(()) => {
                    self.queue.finish(self.ticket, *at..at + 1);
                    self.group.sent_back();
                }
                Err(error) => {
                    let (queue, offset) = (message.queue(), message.queue_offset());
                    warn!(%queue, offset, %error, "a failed message could not be given back; it is kept");
                    refused.push(*at);
                }
            }
        }
        refused
    }

    /// Finishes messages that failed: with every member having all of them, no broker keeps who has to have one again.
    fn drop_failed(&self, which: Range<usize>) {
        let messages = self.queue.messages(self.ticket, which.clone());
        for (_, message) in &messages {
            let (queue, offset, id) = (message.queue(), message.queue_offset(), message.msg_id());
            warn!(%queue, offset, id, "a message failed; it does not come again, since every member gets all messages once");
        }
        self.group.dropped(messages.len());
        self.queue.finish(self.ticket, which);
    }

    /// Gives one message back, else sends a copy of it. After an attempt that a broker may have carried out there is no copy.
    async fn return_one(&self, message: &MessageExt, delay_level: i32) -> Result<()> {
        let refused = match self.send_back(message, delay_level).await {
            Err(error) if was_refused(&error) => error,
            outcome => return outcome,
        };
        copy::send(self.group, message, delay_level, self.max_reconsume_times).await?;
        let (queue, offset) = (message.queue(), message.queue_offset());
        warn!(%queue, offset, error = %refused, "the broker does not take a failed message back; a copy of it comes again");
        Ok(())
    }

    async fn send_back(&self, message: &MessageExt, delay_level: i32) -> Result<()> {
        let deadline = Instant::now() + SEND_BACK;
        let (addr, _) = broker(self.group.client(), message.queue(), MASTER).await?;
        let header = SendBack {
            offset: message.commit_log_offset(),
            group: self.group.name().into(),
            delay_level,
            origin_msg_id: Some(message.msg_id().into()),
            origin_topic: Some(message.topic().into()),
            unit_mode: Some(false),
            max_reconsume_times: self.max_reconsume_times,
            broker_name: Some(message.broker_name().into()),
        };
        self.group
            .client()
            .rpc()
            .send_back(&addr, &header, deadline)
            .await
    }
}

/// Whether a message was certainly not taken back: the broker said so, or there is none.
fn was_refused(error: &Error) -> bool {
    error.response_code().is_some() || error.kind() == ErrorKind::NoRoute
}
