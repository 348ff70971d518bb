//! What a lane has on its way: one message or several, as one request.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use tokio::time::Instant;

use crate::error::{Delivery, Result};
use crate::message::Message;
use crate::producer::Shared;
use crate::producer::auto_batch::Entry;
use crate::producer::auto_batch::lanes::Lane;
use crate::producer::batch::{each, pack};
use crate::producer::draft::Draft;
use crate::producer::job::{self, Kind};
use crate::producer::result::SendResult;
use crate::producer::send::SendFuture;
use crate::producer::target::Target;
use crate::protocol::message::property_names as names;

/// One request, and the messages in it. Dropping it ends the attempts to send it.
pub(super) struct Request {
    /// `None` when it could not be made.
    send: Option<SendFuture>,
    /// What became of it, where that is known already.
    outcome: Option<Result<SendResult>>,
    entries: Vec<Entry>,
    /// How many of the first nobody waits for any more.
    gone: usize,
}

impl Request {
    /// A request with messages of one lane.
    pub(super) fn new(shared: &Arc<Shared>, lane: &Lane, mut entries: Vec<Entry>) -> Self {
        for entry in &mut entries {
            entry.report.delivery = Delivery::Unknown;
        }
        let made = make(shared, lane, &mut entries);
        let (send, outcome) = match made {
            Ok(send) => (Some(send), None),
            Err(error) => (None, Some(Err(error))),
        };
        Self {
            send,
            outcome,
            entries,
            gone: 0,
        }
    }

    /// Writes it, if that takes no waiting. Whoever [runs](Self::run) it looks after it from then on.
    pub(super) fn begin(&mut self) {
        let begun = self.poll_send(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(outcome) = begun {
            self.outcome = Some(outcome);
        }
    }

    /// Waits for its outcome and tells it to those who wait, or ends when nobody does. Returns the messages that have to go to
    /// another queue, since theirs is gone.
    ///
    /// Cancel safe: an outcome is taken only to be told.
    pub(super) async fn run(&mut self, shared: &Shared, lane: &Lane) -> Vec<Entry> {
        let outcome = poll_fn(|cx| match self.poll_send(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => self.poll_gone(cx).map(|()| None),
        });
        match outcome.await {
            Some(Ok(result)) => self.stored(&result),
            Some(Err(error)) => {
                let is_gone = error.delivery() == Delivery::No && lane.is_gone(shared);
                let now = Instant::now();
                let mut moved = Vec::new();
                for mut entry in mem::take(&mut self.entries) {
                    if is_gone && now < entry.deadline && entry.take_move() {
                        moved.push(entry);
                    } else {
                        entry.report.send(Err(error.clone()));
                    }
                }
                return moved;
            }
            None => {}
        }
        Vec::new()
    }

    fn stored(&mut self, result: &SendResult) {
        let entries = mem::take(&mut self.entries);
        if let [_] = &*entries {
            for entry in entries {
                entry.report.send(Ok(result.clone()));
            }
            return;
        }
        let id_of = |entry: &Entry| {
            entry
                .message
                .property(names::UNIQUE_KEY)
                .unwrap_or_default()
                .into()
        };
        let results = each(result, entries.iter().map(id_of).collect());
        for (entry, result) in entries.into_iter().zip(results) {
            entry.report.send(Ok(result));
        }
    }

    /// Ready when its outcome is known, once.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendResult>> {
        match (self.outcome.take(), &mut self.send) {
            (Some(outcome), _) => Poll::Ready(outcome),
            (None, Some(send)) => Pin::new(send).poll(cx),
            (None, None) => Poll::Pending,
        }
    }

    /// Ready when nobody waits for any of its messages any more.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(entry) = self.entries.get_mut(self.gone) {
            if let Some(sender) = &mut entry.report.sender {
                ready!(sender.poll_closed(cx));
            }
            self.gone += 1;
        }
        Poll::Ready(())
    }
}

/// The messages as one send. Of those that can go to no other queue only the request keeps the bodies.
fn make(shared: &Arc<Shared>, lane: &Lane, entries: &mut [Entry]) -> Result<SendFuture> {
    let now = Instant::now();
    let deadline = entries.iter().map(|entry| entry.deadline).max();
    let time = deadline.unwrap_or(now).saturating_duration_since(now);
    if let [one] = entries {
        let nothing = Message::new(Arc::clone(one.message.shared_topic()), Bytes::new());
        let message = mem::replace(&mut one.message, nothing);
        let target = lane.target(one.key);
        let draft = Draft::in_turn(shared, message, Kind::Message, target, time);
        return Ok(SendFuture::of(draft));
    }
    let millis = shared.client.now_millis();
    for entry in &mut *entries {
        job::give_id(&mut entry.message, shared, millis);
    }
    let messages = entries.iter().map(|entry| &entry.message);
    let batch = pack::pack(messages, shared.settings.max_message_size)?;
    for entry in entries.iter_mut().filter(|entry| entry.key.is_none()) {
        entry.message.set_body(Bytes::new());
    }
    let kind = Kind::Batch(entries.len());
    let draft = Draft::in_turn(shared, batch, kind, lane.target(None), time);
    Ok(SendFuture::of(draft))
}

impl Entry {
    /// Whether it can go to another queue, for the first time. A message that was sent alone has done that by itself.
    fn take_move(&mut self) -> bool {
        let can = self.key.is_some() && !self.moved && !self.message.body().is_empty();
        self.moved = true;
        self.message.remove_property(names::UNIQUE_KEY);
        can
    }
}

impl Lane {
    fn target(&self, key: Option<i32>) -> Target {
        match (self, key) {
            (Self::Any(_), _) => Target::Any,
            (Self::Queue(queue), None) => Target::Queue(queue.clone()),
            (Self::Queue(queue), Some(hash)) => Target::Key {
                hash,
                chosen: Some(queue.clone()),
            },
        }
    }

    /// Whether its messages are stored in the order in which they came.
    pub(super) const fn keeps_order(&self) -> bool {
        matches!(self, Self::Queue(_))
    }

    /// Whether a key chooses its queue no more.
    fn is_gone(&self, shared: &Shared) -> bool {
        match self {
            Self::Any(_) => false,
            Self::Queue(queue) => {
                let known = shared.known_queues(&queue.topic);
                known.is_some_and(|queues| !queues.choices().contains(queue))
            }
        }
    }
}
