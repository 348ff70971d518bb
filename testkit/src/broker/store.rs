//! The messages of a broker, in memory.
//!
//! Knows: the commit log (all messages in the order of their arrival), and the queues as places in it. Does not know: topics'
//! configurations, who reads, or what is in a message. A message is encoded once, when it is appended; readers get slices of
//! that. When the log is over its limit the oldest messages go, and the minimum offsets of their queues move.

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};
use rocketmq_sdk::protocol::message::{StoredMessage, TooLong};

/// New messages are encoded into buffers of this size, so that few messages need an allocation of their own.
const SEGMENT: usize = 256 * 1024;

/// The messages of a broker.
#[derive(Debug)]
pub(crate) struct Store {
    log: VecDeque<Record>,
    /// The number of the first record in `log`, counted from the first that ever was.
    first: u64,
    /// The position behind the last message, in bytes since the first.
    end: i64,
    /// The stored bytes that are held.
    held: usize,
    /// The most stored bytes that are held, but for the newest message.
    limit: usize,
    segment: BytesMut,
    queues: Vec<Queue>,
    by_topic: HashMap<Box<str>, HashMap<i32, QueueKey>>,
}

/// One message in the log.
#[derive(Debug)]
struct Record {
    position: i64,
    store_time: i64,
    queue: QueueKey,
    bytes: Bytes,
}

/// One queue of a topic.
#[derive(Debug, Default)]
struct Queue {
    /// The offset of the first entry.
    min: i64,
    entries: VecDeque<Entry>,
}

/// One message of a queue.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The number of its record.
    record: u64,
    /// The hash of its tag; 0 without one.
    tag_code: i32,
}

/// Names a queue, for as long as the store lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct QueueKey(u32);

/// Where a message was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) queue_offset: i64,
    pub(crate) position: i64,
}

/// One message of a queue, as readers see it.
#[derive(Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) queue_offset: i64,
    pub(crate) tag_code: i32,
    pub(crate) store_time: i64,
    pub(crate) bytes: &'a Bytes,
}

/// Which of two messages a time between them means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boundary {
    /// The first one stored at that time or later.
    Lower,
    /// The last one stored at that time or earlier.
    Upper,
}

impl Store {
    /// An empty store that keeps at most `limit` bytes of messages.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            log: VecDeque::new(),
            first: 0,
            end: 0,
            held: 0,
            limit,
            segment: BytesMut::new(),
            queues: Vec::new(),
            by_topic: HashMap::new(),
        }
    }

    /// The queue of a topic, made if there is none.
    pub(crate) fn queue(&mut self, topic: &str, queue_id: i32) -> QueueKey {
        if let Some(key) = self.find_queue(topic, queue_id) {
            return key;
        }
        let key = QueueKey(u32::try_from(self.queues.len()).unwrap_or(u32::MAX));
        self.queues.push(Queue::default());
        self.by_topic
            .entry(topic.into())
            .or_default()
            .insert(queue_id, key);
        key
    }

    /// The queue of a topic, if anything was ever stored in it or asked of it.
    pub(crate) fn find_queue(&self, topic: &str, queue_id: i32) -> Option<QueueKey> {
        self.by_topic.get(topic)?.get(&queue_id).copied()
    }

    /// Stores a message at the end of a queue, and sets its offset and position.
    ///
    /// # Errors
    /// A part of the message does not fit the format; nothing is stored then.
    pub(crate) fn append(
        &mut self,
        queue: QueueKey,
        message: &mut StoredMessage,
        tag_code: i32,
    ) -> Result<Appended, TooLong> {
        let appended = Appended {
            queue_offset: self.max_offset(queue),
            position: self.end,
        };
        message.queue_offset = appended.queue_offset;
        message.physical_offset = appended.position;
        let size = message.encoded_len();
        if self.segment.capacity() < size {
            self.segment = BytesMut::with_capacity(size.max(SEGMENT));
        }
        message.encode(&mut self.segment)?;
        let record = Record {
            position: self.end,
            store_time: message.store_timestamp,
            queue,
            bytes: self.segment.split().freeze(),
        };
        self.end += size as i64;
        self.held += size;
        let entry = Entry {
            record: self.first + self.log.len() as u64,
            tag_code,
        };
        self.log.push_back(record);
        self.queues[queue.0 as usize].entries.push_back(entry);
        while self.held > self.limit && self.log.len() > 1 {
            self.drop_oldest();
        }
        Ok(appended)
    }

    /// The offset of a queue's first message; that behind the last one when there is none.
    pub(crate) fn min_offset(&self, queue: QueueKey) -> i64 {
        self.queues[queue.0 as usize].min
    }

    /// The offset behind a queue's last message.
    pub(crate) fn max_offset(&self, queue: QueueKey) -> i64 {
        let queue = &self.queues[queue.0 as usize];
        queue.min + queue.entries.len() as i64
    }

    /// A queue's messages from `offset` on; none where that is outside.
    pub(crate) fn read(&self, queue: QueueKey, offset: i64) -> impl Iterator<Item = Stored<'_>> {
        let queue = &self.queues[queue.0 as usize];
        let start = usize::try_from(offset - queue.min)
            .unwrap_or(usize::MAX)
            .min(queue.entries.len());
        queue
            .entries
            .range(start..)
            .zip(offset..)
            .map(|(entry, queue_offset)| {
                let record = self.record(*entry);
                Stored {
                    queue_offset,
                    tag_code: entry.tag_code,
                    store_time: record.store_time,
                    bytes: &record.bytes,
                }
            })
    }

    /// The message that begins at a position of the commit log.
    pub(crate) fn at(&self, position: i64) -> Option<&Bytes> {
        let at = self
            .log
            .binary_search_by_key(&position, |record| record.position)
            .ok()?;
        Some(&self.log[at].bytes)
    }

    /// The offset of the message that a time means: as Apache RocketMQ, the end of the queue for a time after its last message
    /// and the lower boundary, and the first message for a time before that.
    pub(crate) fn offset_at(&self, queue: QueueKey, time: i64, boundary: Boundary) -> i64 {
        let Queue { min, entries } = &self.queues[queue.0 as usize];
        let time_of = |entry: &Entry| self.record(*entry).store_time;
        let index = match boundary {
            Boundary::Lower => entries.partition_point(|entry| time_of(entry) < time),
            Boundary::Upper => entries
                .partition_point(|entry| time_of(entry) <= time)
                .saturating_sub(1),
        };
        min + index as i64
    }

    /// When a message of a queue was stored.
    pub(crate) fn time_of(&self, queue: QueueKey, offset: i64) -> Option<i64> {
        self.read(queue, offset)
            .next()
            .map(|stored| stored.store_time)
    }

    /// When the oldest message was stored.
    pub(crate) fn earliest_time(&self) -> Option<i64> {
        self.log.front().map(|record| record.store_time)
    }

    /// Forgets the queues of a topic. Their messages stay in the log until they are the oldest.
    pub(crate) fn delete_topic(&mut self, topic: &str) {
        for key in self.by_topic.remove(topic).into_iter().flatten() {
            let queue = &mut self.queues[key.1.0 as usize];
            queue.min += queue.entries.len() as i64;
            queue.entries = VecDeque::new();
        }
    }

    /// Loses so many messages from the end, newest first.
    pub(crate) fn lose_newest(&mut self, count: usize) -> Vec<Bytes> {
        (0..count).map_while(|_| self.drop_newest()).collect()
    }

    /// Loses the messages from a position on, newest first.
    pub(crate) fn lose_from(&mut self, position: i64) -> Vec<Bytes> {
        let kept = self
            .log
            .partition_point(|record| record.position < position);
        self.lose_newest(self.log.len() - kept)
    }

    /// The position of the first message that is held, or would be.
    pub(crate) fn start(&self) -> i64 {
        self.log.front().map_or(self.end, |record| record.position)
    }

    /// The position behind the last message, in bytes since the first that ever was.
    pub(crate) const fn end(&self) -> i64 {
        self.end
    }

    /// How many messages are held.
    pub(crate) fn len(&self) -> usize {
        self.log.len()
    }

    fn record(&self, entry: Entry) -> &Record {
        &self.log[(entry.record - self.first) as usize]
    }

    fn drop_newest(&mut self) -> Option<Bytes> {
        let record = self.log.pop_back()?;
        self.held -= record.bytes.len();
        self.end = record.position;
        let number = self.first + self.log.len() as u64;
        let queue = &mut self.queues[record.queue.0 as usize];
        // A deleted topic's queue does not know the record any more.
        if queue
            .entries
            .back()
            .is_some_and(|entry| entry.record == number)
        {
            queue.entries.pop_back();
        }
        Some(record.bytes)
    }

    fn drop_oldest(&mut self) {
        let Some(record) = self.log.pop_front() else {
            return;
        };
        self.held -= record.bytes.len();
        let queue = &mut self.queues[record.queue.0 as usize];
        // A deleted topic's queue does not know the record any more.
        if queue
            .entries
            .front()
            .is_some_and(|entry| entry.record == self.first)
        {
            queue.entries.pop_front();
            queue.min += 1;
        }
        self.first += 1;
    }
}

#[cfg(test)]
mod tests;
