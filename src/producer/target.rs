//! Where a message is to go, as the application said.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result, panic_text};
use crate::message::{Message, MessageQueue};
use crate::producer::OPERATION;
use crate::producer::faults::Faults;
use crate::producer::queues::Queues;
use crate::producer::select::{self, Avoid};
use crate::protocol::message::tags::java_hash;

/// An application's own choice of a queue: an index into the queues that it is given.
pub(super) type Selector = Box<dyn FnOnce(&[MessageQueue], &Message) -> usize + Send>;

/// Where a message is to go.
pub(super) enum Target {
    /// To any queue.
    Any,
    /// To any queue, to one of this broker if that has not failed.
    Rather(Arc<str>),
    /// To this one. Also what a selector becomes when it has chosen.
    Queue(MessageQueue),
    /// To the one that its sharding key, of this Java hash, chooses or has chosen.
    Key {
        hash: i32,
        chosen: Option<MessageQueue>,
    },
    /// To the one that the application chooses.
    Selector(Selector),
}

impl Target {
    /// The queue of a sharding key.
    pub(super) fn of_key(key: &str) -> Self {
        Self::of_hash(java_hash(key))
    }

    /// The queue of sharding keys of this Java hash.
    pub(super) const fn of_hash(hash: i32) -> Self {
        Self::Key { hash, chosen: None }
    }

    /// Whether another attempt may go to another queue.
    pub(super) const fn may_move(&self) -> bool {
        matches!(self, Self::Any | Self::Rather(_))
    }

    /// Lets a key choose again when its queue is not there any more: that is where later messages with this key will go.
    pub(super) fn forget_what_is_gone(&mut self, queues: &Queues) {
        if let Self::Key { chosen, .. } = self {
            chosen.take_if(|queue| !queues.choices().contains(queue));
        }
    }

    /// The queue of the next attempt. A choice other than the turn is made once and kept, since it keeps an order.
    pub(super) fn pick(
        &mut self,
        message: &Message,
        queues: &Queues,
        avoid: &Avoid,
        faults: Option<&Faults>,
    ) -> Result<MessageQueue> {
        if let Self::Rather(broker_name) = self
            && avoid.allows(broker_name)
            && let Some(queue) = queues.of_broker(broker_name)
        {
            return Ok(queue.clone());
        }
        let list = queues.choices();
        let index = match mem::replace(self, Self::Any) {
            any @ (Self::Any | Self::Rather(_)) => {
                *self = any;
                let list = queues.list();
                let turn = queues.next_turn();
                let next = match faults {
                    None => select::in_turn(list, turn, avoid, None),
                    Some(faults) => faults
                        .standings(|standing| select::in_turn(list, turn, avoid, Some(standing))),
                };
                return next
                    .map(|index| list[index].clone())
                    .ok_or_else(|| no_queue(message));
            }
            Self::Queue(queue) => {
                *self = Self::Queue(queue.clone());
                return Ok(queue);
            }
            Self::Key { hash, chosen } => {
                let choose = || select::by_hash(hash, list.len()).map(|index| list[index].clone());
                let queue = chosen.or_else(choose).ok_or_else(|| no_queue(message))?;
                *self = Self::Key {
                    hash,
                    chosen: Some(queue.clone()),
                };
                return Ok(queue);
            }
            Self::Selector(selector) => ask(selector, list, message)?,
        };
        let queue = list[index].clone();
        *self = Self::Queue(queue.clone());
        Ok(queue)
    }
}

fn ask(selector: Selector, queues: &[MessageQueue], message: &Message) -> Result<usize> {
    let failed = |detail: String| {
        Error::new(ErrorKind::Application, OPERATION)
            .topic_of(message.topic())
            .detail(detail)
    };
    let index = catch_unwind(AssertUnwindSafe(|| selector(queues, message))).map_err(|panic| {
        let text = panic_text(panic);
        failed(format!("the queue selector panicked: {text}"))
    })?;
    let count = queues.len();
    if index >= count {
        return Err(failed(format!(
            "the queue selector chose number {index} of {count} queues"
        )));
    }
    Ok(index)
}

fn no_queue(message: &Message) -> Error {
    Error::new(ErrorKind::NoRoute, OPERATION)
        .topic_of(message.topic())
        .detail("the topic has no queue that can be written")
}
