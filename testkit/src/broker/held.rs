//! Long polling: pulls that found nothing, held until there is something for them or their time is over.
//!
//! Knows: which pulls wait for which queue. Does not know: when that is (their timers say).

use std::collections::HashMap;

use bytes::Bytes;
use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::request::pull_message::PullMessageResponse;

use crate::broker::filter::Filter;
use crate::broker::store::{QueueKey, Store};
use crate::broker::timers::{TimerKey, Timers};
use crate::broker::{Broker, Event};
use crate::net::call::{Answer, Later};

/// How many pulls a broker holds; one more is answered at once.
const MAX_HELD: usize = 100_000;

/// The most messages and bytes that one pull gets, as Apache RocketMQ's default for messages in memory. The first message always
/// goes, whatever its size.
const MAX_MESSAGES: i32 = 32;
const MAX_BYTES: i32 = 256 * 1024;

/// How many messages a pull looks at, at least, to find one that matches.
const LOOK_AT: i32 = 800;

/// How long a held pull may keep quiet about new messages that do not match.
const RECHECK_MILLIS: i64 = 5_000;

/// What to read, and for whom.
#[derive(Debug)]
pub(crate) struct Pull {
    pub(crate) queue: QueueKey,
    pub(crate) offset: i64,
    pub(crate) max_messages: i32,
    pub(crate) max_bytes: Option<i32>,
    pub(crate) filter: Filter,
}

/// How a pull ends.
#[derive(Debug)]
pub(crate) struct PullOutcome {
    pub(crate) code: ResponseCode,
    /// The name that Apache RocketMQ has for it, which is the answer's remark.
    status: &'static str,
    header: PullMessageResponse,
    messages: Vec<Bytes>,
}

impl PullOutcome {
    pub(crate) fn answer(&self) -> Answer<'_, PullMessageResponse> {
        Answer {
            code: self.code,
            remark: Some(self.status),
            header: &self.header,
            body: &self.messages,
        }
    }
}

impl Pull {
    /// Reads what there is.
    pub(crate) fn read(&self, store: &Store) -> PullOutcome {
        let (min, max) = (store.min_offset(self.queue), store.max_offset(self.queue));
        let (code, status, next) = if max == 0 && self.offset == 0 {
            (ResponseCode::PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE", 0)
        } else if max == 0 {
            (ResponseCode::PULL_OFFSET_MOVED, "NO_MESSAGE_IN_QUEUE", 0)
        } else if self.offset < min {
            (ResponseCode::PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", min)
        } else if self.offset == max {
            (ResponseCode::PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", max)
        } else if self.offset > max {
            (
                ResponseCode::PULL_OFFSET_MOVED,
                "OFFSET_OVERFLOW_BADLY",
                max,
            )
        } else {
            return self.read_from(store, min, max);
        };
        self.outcome(code, status, next, min, max, Vec::new())
    }

    fn read_from(&self, store: &Store, min: i64, max: i64) -> PullOutcome {
        let most = self.max_messages.clamp(1, MAX_MESSAGES) as usize;
        let max_bytes = self
            .max_bytes
            .filter(|bytes| *bytes > 0)
            .map_or(MAX_BYTES, |bytes| bytes.min(MAX_BYTES)) as usize;
        let mut messages: Vec<Bytes> = Vec::new();
        let mut size = 0;
        let mut next = self.offset;
        let look_at = LOOK_AT.max(self.max_messages) as usize;
        for stored in store.read(self.queue, self.offset).take(look_at) {
            let full = messages.len() == most || size + stored.bytes.len() > max_bytes;
            if full && !messages.is_empty() {
                break;
            }
            next = stored.queue_offset + 1;
            if self.filter.selects(stored.tag_code) {
                if messages.is_empty() {
                    messages.reserve_exact(most.min((max - stored.queue_offset) as usize));
                }
                size += stored.bytes.len();
                messages.push(stored.bytes.clone());
            }
        }
        let (code, status) = if messages.is_empty() {
            (ResponseCode::PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE")
        } else {
            (ResponseCode::SUCCESS, "FOUND")
        };
        self.outcome(code, status, next, min, max, messages)
    }

    fn outcome(
        &self,
        code: ResponseCode,
        status: &'static str,
        next: i64,
        min: i64,
        max: i64,
        messages: Vec<Bytes>,
    ) -> PullOutcome {
        PullOutcome {
            code,
            status,
            header: PullMessageResponse {
                suggest_which_broker_id: 0,
                next_begin_offset: next,
                min_offset: min,
                max_offset: max,
                offset_delta: None,
            },
            messages,
        }
    }
}

/// All held pulls.
#[derive(Debug, Default)]
pub(crate) struct HeldPulls {
    by_queue: HashMap<QueueKey, Vec<Held>>,
    count: usize,
    next: u64,
}

/// Names a held pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HoldId(u64);

#[derive(Debug)]
struct Held {
    id: HoldId,
    pull: Pull,
    answer: Later,
    /// When its time is over.
    due: i64,
    /// The timer that ends it: then, or earlier when messages came that do not match.
    timer: TimerKey,
    rechecked: bool,
}

impl HeldPulls {
    /// Whether there is room for one more.
    pub(crate) const fn has_room(&self) -> bool {
        self.count < MAX_HELD
    }

    /// How many pulls are held.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Holds a pull until a time in milliseconds since 1970.
    pub(crate) fn hold(&mut self, pull: Pull, answer: Later, due: i64, timers: &mut Timers<Event>) {
        let id = HoldId(self.next);
        self.next += 1;
        self.count += 1;
        let timer = timers.add(due, Event::EndHold(pull.queue, id));
        self.by_queue.entry(pull.queue).or_default().push(Held {
            id,
            pull,
            answer,
            due,
            timer,
            rechecked: false,
        });
    }

    /// Takes out the pulls that wait for a message with this tag in this queue.
    fn take_matching(
        &mut self,
        queue: QueueKey,
        tag_code: i32,
        now: i64,
        timers: &mut Timers<Event>,
    ) -> Vec<Held> {
        let Some(waiting) = self.by_queue.get_mut(&queue) else {
            return Vec::new();
        };
        let mut matching = Vec::new();
        let mut at = 0;
        while let Some(held) = waiting.get_mut(at) {
            if held.pull.filter.selects(tag_code) {
                timers.cancel(held.timer);
                matching.push(waiting.swap_remove(at));
                continue;
            }
            if !held.rechecked && now + RECHECK_MILLIS < held.due {
                held.rechecked = true;
                timers.cancel(held.timer);
                held.timer = timers.add(now + RECHECK_MILLIS, Event::EndHold(queue, held.id));
            }
            at += 1;
        }
        self.count -= matching.len();
        matching
    }

    fn take(&mut self, queue: QueueKey, id: HoldId) -> Option<Held> {
        let waiting = self.by_queue.get_mut(&queue)?;
        let at = waiting.iter().position(|held| held.id == id)?;
        self.count -= 1;
        Some(waiting.swap_remove(at))
    }

    /// Forgets the pulls of a connection that has ended.
    pub(crate) fn remove_peer(&mut self, connection: u64, timers: &mut Timers<Event>) {
        if self.count == 0 {
            return;
        }
        self.by_queue.retain(|_, waiting| {
            waiting.retain(|held| {
                let gone = held.answer.peer.id == connection;
                if gone {
                    timers.cancel(held.timer);
                    self.count -= 1;
                }
                !gone
            });
            !waiting.is_empty()
        });
    }
}

impl Broker {
    /// Answers the pulls that a new message is for.
    pub(super) fn wake_pulls(&mut self, queue: QueueKey, tag_code: i32) {
        if self.held.count == 0 {
            return;
        }
        let matching = self
            .held
            .take_matching(queue, tag_code, self.now, &mut self.timers);
        for held in matching {
            held.answer
                .answer_with(&held.pull.read(&self.store).answer());
        }
    }

    /// Answers a pull whose time is over, or that is to hear of messages that do not match.
    pub(super) fn end_hold(&mut self, queue: QueueKey, id: HoldId) {
        if let Some(held) = self.held.take(queue, id) {
            held.answer
                .answer_with(&held.pull.read(&self.store).answer());
        }
    }
}
