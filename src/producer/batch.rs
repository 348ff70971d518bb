//! Several messages in one request.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::error::{Delivery, Error, Result};
use crate::message::{Message, MessageQueue};
use crate::producer::interceptor::Watched;
use crate::producer::result::SendResult;
use crate::producer::send::{SendFuture, polled_before};
use crate::producer::target::Target;
use crate::producer::{OPERATION, Shared, job};
use crate::protocol::message::property_names as names;

pub(super) mod pack;

/// A batch that is being sent: resolves when a broker has stored all of its messages, or no attempt is left.
///
/// Made by [`DefaultProducer::send_batch`](crate::DefaultProducer::send_batch). Its messages go to one queue, one behind the other, and
/// are stored together or not at all. The results stand in the order of the messages. A batch of one is the same as a plain send.
/// Its options are set before it is polled first; later they change nothing.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput): the batch is empty or larger than
/// [`max_message_size`](crate::DefaultProducerBuilder::max_message_size), its messages go to different topics or to a retry topic, are
/// delayed, or differ in [`wait_store_ok`](crate::MessageBuilder::wait_store_ok); or one of them breaks a rule by itself. Nothing was
/// sent. Else as for a [`SendFuture`].
///
/// # Cancel safety
/// As for a [`SendFuture`]: dropping it cancels the send.
#[must_use = "a batch is sent when this is awaited"]
pub struct BatchFuture {
    state: State,
}

enum State {
    New(Draft),
    Sent {
        send: Box<SendFuture>,
        /// The id of each message. Empty for a batch of one, which is sent as a message.
        ids: Vec<Box<str>>,
        /// One for each message, where there are interceptors.
        watched: Vec<Watched>,
    },
    Over,
}

/// The messages and what was asked for, before anything is done.
struct Draft {
    shared: Arc<Shared>,
    messages: Vec<Message>,
    target: BatchTarget,
    timeout: Option<Duration>,
    /// One for each message that interceptors have been told of.
    watched: Vec<Watched>,
}

#[derive(Clone)]
enum BatchTarget {
    Any,
    Queue(MessageQueue),
    Key(Arc<str>),
}

impl BatchTarget {
    fn target(self) -> Target {
        match self {
            Self::Any => Target::Any,
            Self::Queue(queue) => Target::Queue(queue),
            Self::Key(key) => Target::of_key(&key),
        }
    }
}

impl BatchFuture {
    pub(super) const fn new(shared: Arc<Shared>, messages: Vec<Message>) -> Self {
        Self {
            state: State::New(Draft {
                shared,
                messages,
                target: BatchTarget::Any,
                timeout: None,
                watched: Vec::new(),
            }),
        }
    }

    /// How long the send may take, all attempts together. Default: the producer's send timeout, 3 s.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|draft| draft.timeout = Some(timeout))
    }

    /// Sends to this queue and no other. It is tried again only there.
    pub fn to(self, queue: MessageQueue) -> Self {
        self.with(|draft| draft.target = BatchTarget::Queue(queue))
    }

    /// Sends to the queue that messages with this key go to: see [`SendFuture::sharding_key`]. The key goes along with every message.
    pub fn sharding_key(self, key: impl AsRef<str>) -> Self {
        let key = key.as_ref();
        self.with(|draft| {
            for message in &mut draft.messages {
                message.set_property(names::SHARDING_KEY, key);
            }
            draft.target = BatchTarget::Key(key.into());
        })
    }

    /// Sends the messages in as many batches as it takes to keep each within
    /// [`max_message_size`](crate::DefaultProducerBuilder::max_message_size).
    pub fn split(self) -> SplitBatchFuture {
        SplitBatchFuture {
            state: match self.state {
                State::New(draft) => SplitState::New(draft),
                State::Sent { .. } | State::Over => SplitState::Over,
            },
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Draft)) -> Self {
        if let State::New(draft) = &mut self.state {
            change(draft);
        }
        self
    }
}

impl Draft {
    fn begin(mut self) -> Result<State> {
        let told = self.intercept();
        let watched = mem::take(&mut self.watched);
        match told.and_then(|()| self.send()) {
            Ok((send, ids)) => Ok(State::Sent { send, ids, watched }),
            Err(error) => {
                over(watched, Err(&error));
                Err(error)
            }
        }
    }

    /// Tells the interceptors of every message, as far as nobody is against one, unless they were told before.
    fn intercept(&mut self) -> Result<()> {
        let settings = &self.shared.settings;
        for message in self.messages.iter_mut().skip(self.watched.len()) {
            if let Some((one, outcome)) = settings.interceptors.before(&settings.group, message) {
                self.watched.push(one);
                outcome?;
            }
        }
        Ok(())
    }

    /// One message as it is; several as one, and their ids.
    fn send(mut self) -> Result<(Box<SendFuture>, Vec<Box<str>>)> {
        let max_size = self.max_size();
        pack::check(&self.messages, max_size)?;
        let target = self.target.target();
        if self.messages.len() == 1
            && let Some(message) = self.messages.pop()
        {
            let send = SendFuture::of_one(self.shared, message, target, self.timeout);
            return Ok((Box::new(send.told()), Vec::new()));
        }
        let now = self.shared.client.now_millis();
        for message in &mut self.messages {
            job::give_id(message, &self.shared, now);
        }
        let batch = pack::pack(self.messages.iter(), max_size)?;
        let id_of = |message: &Message| message.property(names::UNIQUE_KEY).map(Into::into);
        let ids: Vec<_> = self.messages.iter().filter_map(id_of).collect();
        let send = SendFuture::of_one(self.shared, batch, target, self.timeout);
        Ok((Box::new(send.of_batch(ids.len()).told()), ids))
    }

    fn max_size(&self) -> usize {
        self.shared.settings.max_message_size
    }
}

/// Tells the interceptors what became of each message.
fn over(watched: Vec<Watched>, outcome: Result<&[SendResult], &Error>) {
    for (at, one) in watched.into_iter().enumerate() {
        one.over(outcome.map(|results| results.get(at)));
    }
}

impl Future for BatchFuture {
    type Output = Result<Vec<SendResult>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = &mut self.get_mut().state;
        if let State::New(_) = state
            && let State::New(draft) = mem::replace(state, State::Over)
        {
            *state = draft.begin()?;
        }
        let State::Sent { send, ids, watched } = state else {
            panic!("a batch was polled after it had resolved");
        };
        let outcome = ready!(Pin::new(send).poll(cx));
        let (ids, watched) = (mem::take(ids), mem::take(watched));
        *state = State::Over;
        let outcome = outcome.map(|result| match ids.len() {
            0 => vec![result],
            _ => each(&result, ids),
        });
        over(watched, outcome.as_deref());
        Poll::Ready(outcome)
    }
}

/// The result of each message, from that of the batch: the broker names where each is stored, in their order, and the offset of the
/// first. One that keeps a batch together (5.x, topics for batches) names one place for all.
pub(super) fn each(batch: &SendResult, ids: Vec<Box<str>>) -> Vec<SendResult> {
    let mut places = batch.offset_msg_id.split(',');
    let has_places = batch.offset_msg_id.contains(',');
    ids.into_iter()
        .zip(0..)
        .map(|(msg_id, at)| SendResult {
            msg_id,
            offset_msg_id: if has_places {
                places.next().unwrap_or_default().into()
            } else {
                batch.offset_msg_id.clone()
            },
            queue_offset: batch.queue_offset.saturating_add(at),
            ..batch.clone()
        })
        .collect()
}

/// A batch that is sent in parts: resolves when every part has been sent, or one could not be. Made by [`BatchFuture::split`].
///
/// The parts are sent one after the other, each with the whole timeout; without a given queue or key each goes to the next queue in
/// turn. There is one outcome for each message, in their order. When a part fails, its messages have its error, and those behind it
/// are not sent. When the batch breaks a rule, or an interceptor is against one of its messages, nothing is sent and each message has
/// that error. Interceptors are told of all messages before the first part is cut off, so that what they add counts.
///
/// # Errors
/// Those of a [`BatchFuture`], but for the size of the whole.
///
/// # Cancel safety
/// Dropping it cancels the part that is being sent, and those behind it; parts before it are stored.
#[must_use = "a batch is sent when this is awaited"]
pub struct SplitBatchFuture {
    state: SplitState,
}

enum SplitState {
    New(Draft),
    Going(Box<Going>),
    Over,
}

struct Going {
    part: BatchFuture,
    /// How many messages are in the part.
    count: usize,
    /// What comes behind it, and those of its messages that interceptors were told of.
    rest: VecDeque<Vec<Message>>,
    watched: VecDeque<Watched>,
    outcomes: Vec<Result<SendResult>>,
    shared: Arc<Shared>,
    target: BatchTarget,
    timeout: Option<Duration>,
}

impl Draft {
    /// Begins with the first part; the outcomes, when the batch breaks a rule.
    fn split(mut self) -> Result<Going, Vec<Result<SendResult>>> {
        let max_size = self.max_size();
        let told = self.intercept();
        let checked = told.and_then(|()| pack::check(&self.messages, max_size));
        if let Err(error) = checked {
            over(self.watched, Err(&error));
            // An empty batch has an outcome, too.
            return Err(vec![Err(error); self.messages.len().max(1)]);
        }
        let mut going = Going {
            part: BatchFuture::new(Arc::clone(&self.shared), Vec::new()),
            count: 0,
            outcomes: Vec::with_capacity(self.messages.len()),
            rest: pack::split(self.messages, max_size),
            watched: self.watched.into(),
            shared: self.shared,
            target: self.target,
            timeout: self.timeout,
        };
        going.next_part();
        Ok(going)
    }
}

impl Going {
    /// Goes on with the next part. False when there is none.
    fn next_part(&mut self) -> bool {
        let Some(messages) = self.rest.pop_front() else {
            return false;
        };
        self.count = messages.len();
        let watched = self.count.min(self.watched.len());
        self.part = BatchFuture {
            state: State::New(Draft {
                shared: Arc::clone(&self.shared),
                messages,
                target: self.target.clone(),
                timeout: self.timeout,
                watched: self.watched.drain(..watched).collect(),
            }),
        };
        true
    }

    /// Notes what became of the part. False when that is the end.
    fn note(&mut self, outcome: Result<Vec<SendResult>>) -> bool {
        match outcome {
            Ok(results) => {
                self.outcomes.extend(results.into_iter().map(Ok));
                self.next_part()
            }
            Err(error) => {
                let left = self.rest.iter().map(Vec::len).sum();
                let not_sent = Error::new(error.kind(), OPERATION)
                    .detail("not sent, since a part of the batch before it failed")
                    .maybe_delivered(Delivery::No)
                    .caused_by(error.clone());
                over(mem::take(&mut self.watched).into(), Err(&not_sent));
                self.outcomes
                    .extend(std::iter::repeat_n(Err(error), self.count));
                self.outcomes
                    .extend(std::iter::repeat_n(Err(not_sent), left));
                false
            }
        }
    }
}

impl Future for SplitBatchFuture {
    type Output = Vec<Result<SendResult>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = &mut self.get_mut().state;
        if let SplitState::New(_) = state
            && let SplitState::New(draft) = mem::replace(state, SplitState::Over)
        {
            match draft.split() {
                Ok(going) => *state = SplitState::Going(Box::new(going)),
                Err(outcomes) => return Poll::Ready(outcomes),
            }
        }
        let SplitState::Going(going) = state else {
            return Poll::Ready(vec![Err(polled_before())]);
        };
        loop {
            let outcome = ready!(Pin::new(&mut going.part).poll(cx));
            if !going.note(outcome) {
                let outcomes = mem::take(&mut going.outcomes);
                *state = SplitState::Over;
                return Poll::Ready(outcomes);
            }
        }
    }
}

impl fmt::Debug for BatchFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchFuture").finish_non_exhaustive()
    }
}

impl fmt::Debug for SplitBatchFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitBatchFuture").finish_non_exhaustive()
    }
}
