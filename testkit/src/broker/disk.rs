//! The disk that the store in memory acts as if it had: its faults, and what a crash takes from it.

use std::collections::VecDeque;
use std::time::Duration;

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::message::StoredMessage;

use crate::broker::{Broker, Event};
use crate::net::call::Refusal;

/// How long a delayed message waits when the disk refuses it, in milliseconds.
const RETRY: i64 = 1_000;

/// How a broker's disk does, for what is to be stored. What is stored can be read in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Disk {
    /// It does what it should.
    #[default]
    Healthy,
    /// It is full: messages are refused with SERVICE_NOT_AVAILABLE (14).
    Full,
    /// Writing to it fails: messages are refused with SYSTEM_ERROR (1).
    Failing,
    /// Every message is stored so much later. That is a [rule](crate::Faults) on the requests that store messages.
    Slow(Duration),
}

/// What a crash takes from a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// Nothing.
    Nothing,
    /// The newest messages, over all queues: so many, or all that there are.
    Newest(usize),
    /// What was stored since the last [`sync`](crate::BrokerHandle::sync), or since ever if there was none.
    Unsynced,
}

/// What a crash must not take, or only together with what it came from.
#[derive(Debug, Default)]
pub(super) struct Safe {
    /// Up to where the store is.
    synced: i64,
    /// What was delivered after its delay, by its position: it is delivered again when it is lost.
    delivered: VecDeque<(i64, Event)>,
}

impl Disk {
    /// Why a message is not stored: as Apache RocketMQ says it to who sent it, and its own name for that.
    pub(crate) fn refusal(self) -> Option<(Refusal, &'static str)> {
        match self {
            Self::Healthy | Self::Slow(_) => None,
            Self::Full => Some((
                Refusal::new(
                    ResponseCode::SERVICE_NOT_AVAILABLE,
                    "service not available now. It may be caused by one of the following reasons: the broker's disk is full [CL:  1.00 CQ:  1.00 INDEX:  1.00], messages are put to the slave, message store has been shut down, etc.",
                ),
                "SERVICE_NOT_AVAILABLE",
            )),
            Self::Failing => Some((
                Refusal::failed("create mapped file failed, server is busy or broken."),
                "CREATE_MAPPED_FILE_FAILED",
            )),
        }
    }
}

impl Broker {
    /// Whether the disk takes a message.
    pub(super) fn check_disk(&self) -> Result<(), Refusal> {
        match self.disk.refusal() {
            None => Ok(()),
            Some((refusal, _)) => Err(refusal),
        }
    }

    /// Puts off what would be stored now, if the disk does not take it.
    pub(super) fn put_off(&mut self, event: Event) -> bool {
        let stores = matches!(
            event,
            Event::Delay(..) | Event::Time(..) | Event::CheckTransactions
        );
        let put_off = stores && self.disk.refusal().is_some();
        if put_off {
            self.timers.add(self.now + RETRY, event);
        }
        put_off
    }

    /// Notes that everything that is stored now is safe.
    pub(super) fn sync(&mut self) {
        self.safe.synced = self.store.end();
    }

    /// Notes that an event has stored a message, if it has: the store ended here before.
    pub(super) fn note_delivery(&mut self, event: Event, end: i64) {
        if self.store.end() == end {
            return;
        }
        let certain = self.safe.synced.max(self.store.start());
        let delivered = &mut self.safe.delivered;
        while delivered.front().is_some_and(|first| first.0 < certain) {
            delivered.pop_front();
        }
        delivered.push_back((end, event));
    }

    /// Loses the newest messages, as a crash does before they are on the disk.
    pub(super) fn lose(&mut self, loss: Loss) {
        let lost = match loss {
            Loss::Nothing => return,
            Loss::Newest(count) => self.store.lose_newest(count),
            Loss::Unsynced => self.store.lose_from(self.safe.synced),
        };
        self.safe.synced = self.safe.synced.min(self.store.end());
        let delivered = &mut self.safe.delivered;
        let kept = delivered.partition_point(|delivery| delivery.0 < self.store.end());
        for (_, event) in delivered.drain(kept..) {
            self.timers.add(self.now, event);
        }
        let store = &self.store;
        self.timers.retain(|event| match event {
            Event::Delay(queue, offset) | Event::Time(queue, offset) => {
                *offset < store.max_offset(*queue)
            }
            _ => true,
        });
        let messages: Vec<_> = lost
            .into_iter()
            .filter_map(|mut bytes| StoredMessage::decode(&mut bytes).ok())
            .collect();
        self.unsettle(&messages);
    }
}
