//! One pull: where it goes, what it asks for, and the messages in its answer.
//!
//! Knows: the request, its answer and the subscription. Does not know: when to pull, and what becomes of the messages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::client::{Client, PullStatus};
use crate::consumer::subscription::Subscription;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{MAX_INFLATED, MessageExt, MessageQueue};
use crate::protocol::DecodeError;
use crate::protocol::message::property_names::TAGS;
use crate::protocol::message::{StoredMessage, StoredMessages};
use crate::protocol::request::pull_message::{PullMessage, PullMessageResponse, PullSysFlag};

/// A broker's master.
pub(crate) const MASTER: i64 = 0;

/// More messages than this are not taken out of one answer; the rest is pulled again.
const MAX_MESSAGES: usize = 4096;

/// An inner batch has no more messages than this: brokers count them in a signed 16-bit number.
const MAX_INNER: usize = i16::MAX as usize;

/// What the pulls of one consumer have in common.
#[derive(Debug, Clone)]
pub(crate) struct PullSettings {
    pub(crate) group: Arc<str>,
    /// How many messages to ask for.
    pub(crate) max_messages: i32,
    /// How many bytes to ask for at most.
    pub(crate) max_bytes: i32,
    /// How long to wait behind a pull before the next one.
    pub(crate) interval: Duration,
    /// How long the broker may hold a pull when there is nothing.
    pub(crate) suspend: Duration,
    /// How long a pull may take in all.
    pub(crate) timeout: Duration,
}

/// What to pull.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PullFrom<'a> {
    pub(crate) queue: &'a MessageQueue,
    pub(crate) subscription: &'a Subscription,
    pub(crate) offset: i64,
    /// The broker id that the last answer suggested.
    pub(crate) broker_id: i64,
    /// Whether the broker may hold the pull while there is nothing.
    pub(crate) may_wait: bool,
    /// How many bytes the answer should bring at most; one larger message comes all the same, and brokers of version 4.9 go by a limit
    /// of their own.
    pub(crate) max_bytes: i32,
}

/// What came of a pull that was answered.
#[derive(Debug)]
pub(crate) struct PullAnswer {
    pub(crate) found: Found,
    /// The broker id to ask next.
    pub(crate) suggested: i64,
    /// The broker id that was asked.
    pub(crate) asked: i64,
}

#[derive(Debug)]
pub(crate) enum Found {
    Messages(Messages),
    /// Nothing that the subscription selects before `next`.
    Nothing {
        next: i64,
    },
    /// The offset is one of the queue's, but somebody wants the group to go on at this one: a broker of version 5 says so to the
    /// next pull, once.
    Reset {
        offset: i64,
    },
    /// The offset is not one of the queue's; `correct` is the nearest that is.
    IllegalOffset {
        correct: i64,
    },
}

/// The messages of an answer that the subscription selects.
#[derive(Debug)]
pub(crate) struct Messages {
    pub(crate) messages: Vec<MessageExt>,
    /// The offset to ask for next.
    pub(crate) next: i64,
    /// What keeping the messages keeps in memory.
    pub(crate) bytes: usize,
}

/// Pulls once. The broker holds the pull while there is nothing, if it may.
///
/// # Errors
/// The broker is not known, did not answer or refused, or its answer cannot be read.
///
/// # Cancel safety
/// Dropping the future forgets the pull; nothing has been consumed by it.
pub(crate) async fn pull(
    client: &Client,
    settings: &PullSettings,
    from: PullFrom<'_>,
) -> Result<PullAnswer> {
    let (queue, subscription, offset) = (from.queue, from.subscription, from.offset);
    let deadline = Instant::now() + settings.timeout;
    let (addr, asked) = broker(client, queue, from.broker_id).await?;
    let header = PullMessage {
        consumer_group: (&*settings.group).into(),
        topic: (&*queue.topic).into(),
        queue_id: queue.queue_id,
        queue_offset: offset,
        max_msg_nums: settings.max_messages,
        sys_flag: match from.may_wait {
            true => PullSysFlag::SUSPEND,
            false => 0,
        },
        commit_offset: 0,
        suspend_timeout_millis: settings.suspend.as_millis() as i64,
        subscription: None,
        sub_version: subscription.version(),
        expression_type: Some("TAG".into()),
        max_msg_bytes: Some(from.max_bytes),
        broker_name: Some((&*queue.broker_name).into()),
    };
    let pulled = client.rpc().pull(&addr, &header, deadline).await?;
    let next = pulled.header.next_begin_offset;
    let found = match pulled.status {
        PullStatus::Found => {
            let delta = pulled.header.offset_delta.unwrap_or(0);
            let answer = Answer {
                queue,
                subscription,
                offset,
                next,
                delta,
            };
            let mut messages = answer.read(pulled.messages).map_err(|error| {
                Error::new(ErrorKind::Protocol, "pull")
                    .at(&addr)
                    .caused_by(error)
            })?;
            for message in &mut messages.messages {
                message.leave(client.namespace());
            }
            Found::Messages(messages)
        }
        PullStatus::NoNewMessage | PullStatus::NoMatchedMessage => Found::Nothing { next },
        PullStatus::OffsetIllegal => moved(offset, &pulled.header),
    };
    Ok(PullAnswer {
        found,
        suggested: pulled.header.suggest_which_broker_id,
        asked,
    })
}

/// Why a broker wants another offset to be asked for.
fn moved(offset: i64, header: &PullMessageResponse) -> Found {
    let next = header.next_begin_offset;
    match (header.min_offset..=header.max_offset).contains(&offset) {
        true => Found::Reset { offset: next },
        false => Found::IllegalOffset { correct: next },
    }
}

/// The address of a queue's broker, and the id of the one that it is: the one with the wanted id, else another of that name.
pub(crate) async fn broker(
    client: &Client,
    queue: &MessageQueue,
    id: i64,
) -> Result<(Arc<str>, i64)> {
    let deadline = client.request_deadline();
    let route = client.route(&queue.topic, deadline).await?;
    let addr = |route: &crate::route::Route| {
        route
            .addr(&queue.broker_name, id)
            .map(|(addr, id)| (Arc::clone(addr), id))
    };
    if let Some(found) = route.as_deref().and_then(addr) {
        return Ok(found);
    }
    let seen = route.map_or(0, |route| route.generation);
    let route = client.refresh_route(&queue.topic, seen, deadline).await?;
    route.as_deref().and_then(addr).ok_or_else(|| {
        let detail = format!("no broker {} in the topic's route", queue.broker_name);
        Error::new(ErrorKind::NoRoute, "look up a broker")
            .topic_of(&queue.topic)
            .detail(detail)
    })
}

/// What is needed to read an answer with messages.
#[derive(Debug, Clone, Copy)]
struct Answer<'a> {
    queue: &'a MessageQueue,
    subscription: &'a Subscription,
    /// What was asked for.
    offset: i64,
    /// What the broker says to ask for next.
    next: i64,
    /// What to add to every offset (static topics).
    delta: i64,
}

impl Answer<'_> {
    /// Takes the messages out. Those before a corrupt one are taken, so that it comes first the next time; a corrupt one that
    /// comes first is an error. What is more than is believable, or would inflate too far, is left for the next pull.
    fn read(self, body: Bytes) -> Result<Messages, DecodeError> {
        let bytes = body.len();
        let mut inflated = 0;
        let mut read = Messages {
            messages: Vec::with_capacity(32),
            next: self.offset,
            bytes,
        };
        for message in StoredMessages::new(body) {
            let mut message = match message {
                Ok(message) => message,
                Err(error) if read.next == self.offset => return Err(error),
                Err(_) => return Ok(read),
            };
            message.queue_offset = message.queue_offset.saturating_add(self.delta);
            if read.messages.len() >= MAX_MESSAGES || inflated >= MAX_INFLATED {
                // Not behind the last one: that may be a batch, whose end is not known when it stays whole.
                read.next = read.next.max(message.queue_offset);
                return Ok(read);
            }
            if message.is_inner_batch() {
                inflated += self.unwrap(message, &mut read);
            } else {
                self.take(message, &mut read);
            }
        }
        read.next = read.next.max(self.next);
        Ok(read)
    }

    /// Takes the messages of an inner batch, and says how many bytes it inflated to. The batch may begin before the offset that was
    /// asked for. One that cannot be opened stays whole, to be given back as it is; it counts as the most that a body may become.
    fn unwrap(self, batch: StoredMessage, read: &mut Messages) -> usize {
        let mut opened = batch.clone();
        let inner = match batch.verify_crc() {
            true => opened
                .inflate(MAX_INFLATED)
                .and_then(|()| opened.unwrap_inner_batch(MAX_INNER)),
            false => {
                self.take_whole(batch, read);
                return 0;
            }
        };
        let Ok(messages) = inner else {
            self.take_whole(batch, read);
            return MAX_INFLATED;
        };
        let inflated = match opened.sys_flag == batch.sys_flag {
            true => 0,
            false => opened.body.len(),
        };
        // What describes a message may be more than the message.
        read.bytes += inflated + messages.len() * size_of::<MessageExt>();
        let wanted = messages
            .into_iter()
            .filter(|message| message.queue_offset >= self.offset);
        wanted.for_each(|message| self.take(message, read));
        inflated
    }

    /// Takes a batch as one message, at the offset that was asked for where it begins before that.
    fn take_whole(self, mut batch: StoredMessage, read: &mut Messages) {
        batch.queue_offset = batch.queue_offset.max(self.offset);
        self.take(batch, read);
    }

    fn take(self, message: StoredMessage, read: &mut Messages) {
        read.next = read.next.max(message.queue_offset.saturating_add(1));
        if self.subscription.is_all() || self.subscription.selects(message.property(TAGS)) {
            read.messages
                .push(MessageExt::new(message, self.queue.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};

    use super::*;
    use crate::consumer::sample;
    use crate::protocol::message::stored::body_crc;
    use crate::protocol::message::{Properties, SysFlag};

    fn body(messages: &[StoredMessage]) -> Bytes {
        let mut out = BytesMut::new();
        messages
            .iter()
            .for_each(|message| message.encode(&mut out).unwrap());
        out.freeze()
    }

    fn read(
        expression: &str,
        offset: i64,
        next: i64,
        body: Bytes,
    ) -> Result<Messages, DecodeError> {
        let queue = MessageQueue::new("t", "broker-a", 0);
        let subscription = Subscription::new("start", "t", expression, 1).unwrap();
        let answer = Answer {
            queue: &queue,
            subscription: &subscription,
            offset,
            next,
            delta: 0,
        };
        answer.read(body)
    }

    fn offsets(read: &Messages) -> Vec<i64> {
        read.messages.iter().map(MessageExt::queue_offset).collect()
    }

    fn tagged(offset: i64, tag: &str) -> StoredMessage {
        sample::stored("t", offset, &[("TAGS", tag)])
    }

    #[test]
    fn tags_are_compared_and_not_their_hashes() {
        let messages = [
            tagged(1, "AaAa"),
            tagged(2, "BBBB"),
            sample::stored("t", 3, &[]),
        ];
        let one = read("AaAa", 1, 9, body(&messages)).unwrap();
        assert_eq!((offsets(&one), one.next), (vec![1], 9));
        let all = read("*", 1, 2, body(&messages)).unwrap();
        assert_eq!(
            (offsets(&all), all.next),
            (vec![1, 2, 3], 4),
            "behind the last one at least"
        );
        assert_eq!(all.bytes, body(&messages).len());
    }

    #[test]
    fn what_comes_before_a_corrupt_message_is_taken() {
        let good = body(&[tagged(1, "a"), tagged(2, "b")]);
        let mut corrupt = BytesMut::from(&good[..]);
        corrupt.put_slice(&body(&[tagged(3, "a")]));
        let magic = good.len() + 4;
        corrupt[magic] ^= 0xFF;
        let cut = read("a", 1, 4, corrupt.clone().freeze()).unwrap();
        assert_eq!((offsets(&cut), cut.next), (vec![1], 3));
        read("a", 3, 4, corrupt.freeze().slice(good.len()..)).unwrap_err();
        read("a", 3, 4, good.slice(..good.len() / 4)).unwrap_err();
    }

    #[test]
    fn an_answer_with_more_than_is_believable_is_cut() {
        let messages: Vec<_> = (0..5000).map(|offset| tagged(offset, "a")).collect();
        let cut = read("*", 0, 5000, body(&messages)).unwrap();
        assert_eq!(
            (cut.messages.len(), cut.next),
            (MAX_MESSAGES, MAX_MESSAGES as i64)
        );
    }

    fn inner_batch(offset: i64, count: i64) -> StoredMessage {
        let mut raw = BytesMut::new();
        for at in 0..count {
            let mut properties = Properties::new();
            properties.push("TAGS", if at % 2 == 0 { "even" } else { "odd" });
            let properties = properties.into_string();
            raw.put_i32(22 + 1 + properties.len() as i32);
            raw.put_slice(&[0; 12]);
            raw.put_i32(1);
            raw.put_u8(b'a'.wrapping_add(at as u8));
            raw.put_u16(properties.len() as u16);
            raw.put_slice(properties.as_bytes());
        }
        let mut batch = sample::stored("t", offset, &[]);
        batch.body = raw.freeze();
        batch.body_crc = body_crc(&batch.body);
        batch.sys_flag = SysFlag::INNER_BATCH.with(SysFlag::NEED_UNWRAP);
        batch
    }

    #[test]
    fn an_inner_batch_has_as_many_messages_as_a_broker_can_count() {
        let full = inner_batch(10, 32_767);
        let len = body(std::slice::from_ref(&full)).len();
        let all = read("*", 10, 32_777, body(&[full, tagged(32_777, "a")])).unwrap();
        assert_eq!((all.messages.len(), all.next), (32_767, 32_777));
        assert!(
            all.bytes > len + all.messages.len() * 100,
            "they are counted"
        );
        let more = read("*", 10, 32_778, body(&[inner_batch(10, 32_768)])).unwrap();
        assert_eq!((offsets(&more), more.next), (vec![10], 32_778));
    }

    #[test]
    fn an_inner_batch_is_taken_out_from_the_offset_on() {
        let messages = body(&[inner_batch(10, 4), tagged(14, "odd")]);
        let some = read("odd", 11, 15, messages).unwrap();
        assert_eq!((offsets(&some), some.next), (vec![11, 13, 14], 15));
        assert_eq!(&some.messages[0].body()[..], b"b");
    }

    #[test]
    #[cfg(feature = "zlib")]
    fn an_answer_of_batches_inflates_to_twice_the_limit_at_most() {
        let batches: Vec<_> = (0..4).map(packed_batch).collect();
        let cut = read("*", 0, 4, body(&batches)).unwrap();
        assert_eq!((offsets(&cut), cut.next), (vec![0, 1], 2));
        assert!(cut.bytes <= 2 * MAX_INFLATED);
    }

    /// A batch of one message that inflates to three quarters of the limit.
    #[cfg(feature = "zlib")]
    fn packed_batch(offset: i64) -> StoredMessage {
        use crate::protocol::compress::{Codec, compress};

        let size = MAX_INFLATED / 4 * 3;
        let mut raw = BytesMut::new();
        raw.put_i32(size as i32);
        raw.put_slice(&[0; 12]);
        raw.put_i32(size as i32 - 22);
        raw.put_bytes(0, size - 22);
        raw.put_u16(0);
        let mut batch = sample::stored("t", offset, &[]);
        batch.body = compress(Codec::Zlib, 5, &raw).unwrap();
        batch.body_crc = body_crc(&batch.body);
        let flags = SysFlag::INNER_BATCH.with(SysFlag::NEED_UNWRAP);
        batch.sys_flag = flags.with_codec(Some(Codec::Zlib));
        batch
    }

    /// A batch with a valid checksum that ends inside its second message.
    fn torn_batch(offset: i64) -> StoredMessage {
        let mut batch = inner_batch(offset, 4);
        batch.body = batch.body.slice(..50);
        batch.body_crc = body_crc(&batch.body);
        batch
    }

    #[test]
    fn an_inner_batch_that_cannot_be_opened_stays_whole() {
        let whole = read("*", 10, 14, body(&[torn_batch(10)])).unwrap();
        assert_eq!((offsets(&whole), whole.next), (vec![10], 14));
    }

    #[test]
    fn what_follows_an_inner_batch_that_cannot_be_opened_is_asked_for_next() {
        let messages = body(&[torn_batch(10), tagged(14, "a")]);
        let whole = read("*", 10, 15, messages).unwrap();
        assert_eq!((offsets(&whole), whole.next), (vec![10], 14));
    }

    #[test]
    fn an_inner_batch_that_cannot_be_opened_counts_from_the_offset_that_was_asked_for() {
        let whole = read("*", 12, 14, body(&[torn_batch(10)])).unwrap();
        assert_eq!((offsets(&whole), whole.next), (vec![12], 14));
        // Its last message is the one that was asked for.
        let last = read("*", 13, 15, body(&[torn_batch(10), tagged(14, "a")])).unwrap();
        assert_eq!((offsets(&last), last.next), (vec![13], 14));
        let mut corrupt = torn_batch(10);
        corrupt.body_crc ^= 1;
        let corrupt = read("*", 12, 14, body(&[corrupt])).unwrap();
        assert_eq!((offsets(&corrupt), corrupt.next), (vec![12], 14));
    }
}
