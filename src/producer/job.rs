//! One message on its way: what its requests say, and what an answer means.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::client::Carries;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::message::{Message, MessageQueue};
use crate::producer::admission::Ticket;
use crate::producer::queues::Queues;
use crate::producer::result::{SendResult, SendStatus};
use crate::producer::retry::Budget;
use crate::producer::select::Avoid;
use crate::producer::target::Target;
use crate::producer::verdict::Verdict;
use crate::producer::{OPERATION, Shared};
use crate::protocol::command::Command;
use crate::protocol::compress::Codec;
use crate::protocol::message::{SysFlag, TransactionType, ids, property_names as names};
use crate::protocol::request::send_message::{SendMessage, SendMessageResponse};
use crate::transport::{Call, CallError};

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message.
    Message,
    /// A message that is kept back until its transaction has ended.
    Half,
    /// A reply to a request.
    Reply,
    /// A batch of so many messages, as one: it is never compressed, and each of its messages has an id already.
    Batch(usize),
}

impl Kind {
    pub(super) const fn carries(self) -> Carries {
        match self {
            Self::Message | Self::Half => Carries::Message,
            Self::Reply => Carries::Reply,
            Self::Batch(_) => Carries::Batch,
        }
    }
}

/// A message that is being sent.
pub(super) struct Job {
    pub(super) shared: Arc<Shared>,
    pub(super) budget: Budget,
    message: Message,
    pub(super) kind: Kind,
    sys_flag: SysFlag,
    born_timestamp: i64,
    /// Whether it was tried to make the body smaller.
    packed: bool,
    /// Lets a shutdown wait for it, where nobody else does.
    ticket: Option<Ticket>,
}

/// A request that was sent and is not answered.
pub(super) struct Attempt {
    pub(super) call: Call,
    pub(super) queue: MessageQueue,
    /// 1 for the first.
    pub(super) number: u32,
    pub(super) began: Instant,
}

/// An attempt that failed.
pub(super) struct Failure {
    pub(super) verdict: Verdict,
    pub(super) error: Error,
    /// What the attempt brought all the same, where that is not good enough.
    pub(super) stored: Option<Box<SendResult>>,
}

impl Failure {
    pub(super) const fn new(verdict: Verdict, error: Error) -> Self {
        Self {
            verdict,
            error,
            stored: None,
        }
    }

    /// A failure that no other attempt could mend.
    pub(super) const fn for_good(error: Error) -> Self {
        Self::new(Verdict::GiveUp, error)
    }
}

impl Job {
    pub(super) fn new(
        shared: Arc<Shared>,
        kind: Kind,
        mut message: Message,
        budget: Budget,
        ticket: Option<Ticket>,
    ) -> Self {
        let born_timestamp = shared.client.now_millis();
        if !matches!(kind, Kind::Batch(_)) {
            give_id(&mut message, &shared, born_timestamp);
            // Java's clients say it, too, and neither do they in a batch.
            if let Some(namespace) = shared.client.namespace().name() {
                message.add_property(names::INSTANCE_ID, namespace);
            }
        }
        let transaction = match kind {
            Kind::Half => TransactionType::Prepared,
            Kind::Message | Kind::Reply | Kind::Batch(_) => TransactionType::None,
        };
        Self {
            shared,
            budget,
            message,
            kind,
            sys_flag: SysFlag::default().with_transaction(transaction),
            born_timestamp,
            packed: matches!(kind, Kind::Batch(_)),
            ticket,
        }
    }

    pub(super) const fn message(&self) -> &Message {
        &self.message
    }

    pub(super) const fn waits_for_room(&self) -> bool {
        matches!(self.ticket, Some(Ticket::Waiting { .. }))
    }

    /// Waits for room where there was none.
    pub(super) async fn find_room(&mut self) -> Result<()> {
        if self.waits_for_room()
            && let Some(ticket) = self.ticket.take()
        {
            let (topic, deadline) = (self.message.topic(), self.budget.deadline());
            let place = self.shared.find_room(ticket, topic, deadline).await?;
            self.ticket = Some(Ticket::Place(place));
        }
        Ok(())
    }

    /// Compresses the body if it is large enough. False when it is too large for doing that here: then
    /// [`compress`](Self::compress) must.
    pub(super) fn compress_here(&mut self) -> bool {
        let size = self.message.body().len();
        let packing = self.shared.settings.packing;
        let Some(codec) = packing.codec_for(size).filter(|_| !self.packed) else {
            return true;
        };
        if !packing.is_quick(size) {
            return false;
        }
        let packed = packing.pack(codec, self.message.body());
        self.take_packed(codec, packed);
        true
    }

    /// Compresses the body if it is large enough, on a thread where that holds nobody up if it takes long.
    pub(super) async fn compress(&mut self) {
        if self.compress_here() {
            return;
        }
        let packing = self.shared.settings.packing;
        let body = self.message.body().clone();
        if let Some(codec) = packing.codec_for(body.len()) {
            let permits = Arc::clone(&self.shared.compressing);
            let packed = async {
                let permit = permits.acquire_owned().await.ok()?;
                let packed = spawn_blocking(move || {
                    // Held to the end of the work, also when nobody waits for it any more.
                    let _permit = permit;
                    packing.pack(codec, &body)
                });
                packed.await.ok().flatten()
            };
            // Without a thread in time it goes as it is.
            let packed = timeout_at(self.budget.deadline(), packed).await;
            self.take_packed(codec, packed.ok().flatten());
        }
    }

    /// A body that does not get smaller goes as it is.
    fn take_packed(&mut self, codec: Codec, packed: Option<Bytes>) {
        self.packed = true;
        if let Some(packed) = packed {
            self.message.set_body(packed);
            self.sys_flag = self.sys_flag.with_codec(Some(codec));
        }
    }

    /// The queue of the next attempt.
    pub(super) fn pick(
        &self,
        target: &mut Target,
        queues: &Queues,
        avoid: &Avoid,
    ) -> Result<MessageQueue> {
        target.pick(&self.message, queues, avoid, self.shared.faults.as_deref())
    }

    /// What a request to `queue` says.
    pub(super) fn header<'a>(&'a self, queue: &'a MessageQueue) -> SendMessage<'a> {
        let settings = &self.shared.settings;
        SendMessage {
            producer_group: (&*settings.group).into(),
            topic: self.message.topic().into(),
            default_topic: (&*settings.default_topic).into(),
            default_topic_queue_nums: settings.default_topic_queues,
            queue_id: queue.queue_id,
            sys_flag: self.sys_flag.bits(),
            born_timestamp: self.born_timestamp,
            flag: self.message.flag(),
            properties: Some(self.message.raw_properties().into()),
            batch: matches!(self.kind, Kind::Batch(_)).then_some(true),
            broker_name: Some((&*queue.broker_name).into()),
            ..SendMessage::default()
        }
    }

    /// What became of an attempt.
    pub(super) fn outcome(
        &self,
        attempt: &Attempt,
        outcome: Result<Command, CallError>,
    ) -> Result<SendResult, Failure> {
        let addr = attempt.call.addr();
        let describe = |error| self.describe(error, &attempt.queue, attempt.number);
        let answer = outcome.map_err(|error| {
            let verdict = Verdict::on_failure(&error);
            if let Some(faults) = &self.shared.faults {
                faults.failed(&attempt.queue.broker_name, &error);
            }
            Failure::new(verdict, describe(error.into_error(OPERATION, addr)))
        })?;
        let code = answer.response_code();
        let status = SendStatus::from_code(code).ok_or_else(|| Verdict::on_answer(code));
        if let Some(faults) = &self.shared.faults {
            faults.answered(attempt, status.err());
        }
        let send_status = status.map_err(|verdict| {
            let error = Error::response(OPERATION, code, answer.remark.as_deref()).at(addr);
            Failure::new(verdict, describe(error))
        })?;
        let header: SendMessageResponse<'_> = answer.header().map_err(|error| {
            // It is stored, but nobody can say where.
            let error = Error::new(ErrorKind::Protocol, OPERATION)
                .at(addr)
                .maybe_delivered(Delivery::Unknown)
                .caused_by(error);
            Failure::for_good(describe(error))
        })?;
        let result = SendResult {
            send_status,
            msg_id: self
                .message
                .property(names::UNIQUE_KEY)
                .unwrap_or_default()
                .into(),
            offset_msg_id: header.msg_id.into(),
            message_queue: MessageQueue {
                queue_id: header.queue_id,
                ..attempt.queue.clone()
            },
            queue_offset: header.queue_offset,
            transaction_id: header.transaction_id.map(Into::into),
            recall_handle: header.recall_handle.map(Into::into),
        };
        if self.shared.settings.when_not_ok.settles(code) {
            return Ok(result);
        }
        let error = Error::response(OPERATION, code, answer.remark.as_deref()).at(addr);
        Err(Failure {
            verdict: Verdict::OnlyElsewhere,
            error: describe(error),
            stored: Some(Box::new(result)),
        })
    }

    /// Adds to an error what the send knows: where it went, which attempt that was, and how long it took.
    pub(super) fn describe(&self, error: Error, queue: &MessageQueue, attempt: u32) -> Error {
        let (_, of) = self.budget.attempts();
        error
            .topic_of(self.message.topic())
            .target(queue.within_topic())
            .attempt(attempt, of)
            .after(Instant::now() - self.budget.started())
    }
}

/// Gives a message, which is sent now, the id that all attempts to send it have in common.
pub(super) fn give_id(message: &mut Message, shared: &Shared, now_millis: i64) {
    let mut buffer = [0; ids::MAX_LEN];
    let millis = u64::try_from(now_millis).unwrap_or(0);
    let id = shared.client.ids().next(millis, &mut buffer);
    message.add_property(names::UNIQUE_KEY, id);
}
