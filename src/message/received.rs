//! A received message: the stored message, where it came from, and the names that applications use for its parts.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::{MessageQueue, split_keys};
use crate::config::Namespace;
use crate::protocol::DecodeError;
use crate::protocol::message::{
    OffsetMessageId, StoredMessage, properties, property_names as names,
};

/// What the names of retry topics and of those of dead letters begin with.
const RETRY_PREFIX: &[u8] = b"%RETRY%";
const DEAD_LETTER_PREFIX: &[u8] = b"%DLQ%";

/// To how many bytes a body may inflate: four times what brokers take.
pub(crate) const MAX_INFLATED: usize = 16 * 1024 * 1024;

/// A received message.
///
/// It shares the buffer of the pull that brought it, which may be some hundred KiB: [`detach`](Self::detach) a message that is
/// kept for long. Cloning it copies no bytes. Properties are read when they are asked for.
///
/// ```no_run
/// fn print(message: &rocketmq_sdk::MessageExt) {
///     println!("{} {}: {:?}", message.queue(), message.queue_offset(), message.body());
/// }
/// ```
#[derive(Clone)]
pub struct MessageExt {
    stored: StoredMessage,
    queue: MessageQueue,
    /// The topic that a message in a retry topic or a dead letter was sent to.
    original_topic: Option<Arc<str>>,
    /// Whether the body is a buffer of its own already.
    inflated: bool,
    offset_msg_id: OnceLock<Box<str>>,
}

impl MessageExt {
    /// A message that was received from `queue`. Its body is as it was stored until [`open_body`](Self::open_body) is called.
    pub(crate) fn new(stored: StoredMessage, queue: MessageQueue) -> Self {
        let topic = stored.topic.as_bytes();
        let has_failed = [RETRY_PREFIX, DEAD_LETTER_PREFIX].iter();
        let original_topic = if has_failed
            .into_iter()
            .any(|prefix| topic.starts_with(prefix))
        {
            stored.property(names::RETRY_TOPIC)
        } else {
            None
        };
        Self {
            original_topic: original_topic.map(Arc::from),
            stored,
            queue,
            inflated: false,
            offset_msg_id: OnceLock::new(),
        }
    }

    /// Compares the body with its checksum, and inflates it to at most `limit` bytes if it is compressed. To be called once.
    ///
    /// # Errors
    /// The body is not what was stored, its codec is not built in, or it is too large. The message is unchanged then, so
    /// that it can be sent back.
    pub(crate) fn open_body(&mut self, limit: usize) -> Result<(), DecodeError> {
        if !self.stored.verify_crc() {
            return Err(DecodeError::Invalid {
                what: "message body",
                offset: 0,
                reason: "does not match its checksum",
            });
        }
        self.inflate_body(limit)
    }

    /// The same for a message that came without a checksum: a reply.
    pub(crate) fn inflate_body(&mut self, limit: usize) -> Result<(), DecodeError> {
        self.inflated = self.stored.sys_flag.codec()?.is_some();
        self.stored.inflate(limit)
    }

    /// Calls the topic that it was sent to as the application does.
    pub(crate) fn leave(&mut self, namespace: &Namespace) {
        if let Some(topic) = &mut self.original_topic
            && let Cow::Owned(bare) = namespace.unwrap(topic)
        {
            *topic = bare.into();
        }
    }

    /// Counts one more failure, which the broker does not know of.
    pub(crate) fn count_failure(&mut self) {
        self.stored.reconsume_times = self.stored.reconsume_times.saturating_add(1);
    }

    /// The stored message underneath.
    pub(crate) fn stored(&self) -> &StoredMessage {
        &self.stored
    }

    /// The topic that it was sent to. A message that comes back after a failure is stored in its group's retry topic, which
    /// [`queue`](Self::queue) names.
    pub fn topic(&self) -> &str {
        match &self.original_topic {
            Some(topic) if !self.is_dead_letter() => topic,
            _ => &self.queue.topic,
        }
    }

    /// The topic that it was sent to at first, if it has failed: the same as [`topic`](Self::topic) for one that comes again, and
    /// that of the message that became a dead letter, whose own topic is `%DLQ%group`.
    pub fn origin_topic(&self) -> Option<&str> {
        self.original_topic.as_deref()
    }

    /// Whether it is from a group's dead letters.
    pub fn is_dead_letter(&self) -> bool {
        self.queue.topic.as_bytes().starts_with(DEAD_LETTER_PREFIX)
    }

    /// The queue that it was received from.
    pub fn queue(&self) -> &MessageQueue {
        &self.queue
    }

    /// The number of that queue on its broker.
    pub fn queue_id(&self) -> i32 {
        self.queue.queue_id
    }

    /// The name of the broker that it was received from.
    pub fn broker_name(&self) -> &str {
        &self.queue.broker_name
    }

    /// Its position in the queue, counted in messages.
    pub fn queue_offset(&self) -> i64 {
        self.stored.queue_offset
    }

    /// Its position in the broker's commit log, in bytes.
    pub fn commit_log_offset(&self) -> i64 {
        self.stored.physical_offset
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.stored.body
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.property(names::TAGS)
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        split_keys(self.property(names::KEYS))
    }

    /// The value of a property, be it the application's or RocketMQ's.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.stored.property(name)
    }

    /// All properties as (name, value).
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        properties::iter(&self.stored.properties)
    }

    /// The id that the producer gave to it; that of the broker for a message that has none. The same after a failure, and for a dead
    /// letter.
    pub fn msg_id(&self) -> &str {
        let origin = || {
            let failed = self.original_topic.as_ref();
            failed.and_then(|_| self.property(names::ORIGIN_MESSAGE_ID))
        };
        self.property(names::UNIQUE_KEY)
            .or_else(origin)
            .unwrap_or_else(|| self.offset_msg_id())
    }

    /// The id that the broker gave to it: where it is stored.
    pub fn offset_msg_id(&self) -> &str {
        self.offset_msg_id.get_or_init(|| {
            let id = OffsetMessageId {
                host: self.stored.store_host,
                physical_offset: self.stored.physical_offset,
            };
            id.to_string().into()
        })
    }

    /// Whether its sender waits for a [reply](crate::Message::reply_to).
    pub fn is_request(&self) -> bool {
        [
            names::CORRELATION_ID,
            names::REPLY_TO_CLIENT,
            names::CLUSTER,
        ]
        .iter()
        .all(|name| self.property(name).is_some())
    }

    /// How often its delivery to this group has failed.
    pub fn reconsume_times(&self) -> i32 {
        self.stored.reconsume_times
    }

    /// The application's own flag.
    pub fn flag(&self) -> i32 {
        self.stored.flag
    }

    /// When it was made, in Unix milliseconds by the producer's clock.
    pub fn born_timestamp(&self) -> i64 {
        self.stored.born_timestamp
    }

    /// Who sent it, as the broker saw it.
    pub fn born_host(&self) -> SocketAddr {
        self.stored.born_host
    }

    /// When it was stored, in Unix milliseconds by the broker's clock.
    pub fn store_timestamp(&self) -> i64 {
        self.stored.store_timestamp
    }

    /// Which broker stored it.
    pub fn store_host(&self) -> SocketAddr {
        self.stored.store_host
    }

    /// The same message with buffers of its own, so that keeping it keeps nothing else in memory.
    #[must_use]
    pub fn detach(mut self) -> Self {
        if !self.inflated {
            self.stored.body = Bytes::copy_from_slice(&self.stored.body);
        }
        self.stored.topic = self.stored.topic.detach();
        self.stored.properties = self.stored.properties.detach();
        self
    }
}

/// Prints the length of the body instead of the body.
impl fmt::Debug for MessageExt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageExt")
            .field("topic", &self.topic())
            .field("queue", &format_args!("{}", self.queue))
            .field("queue_offset", &self.queue_offset())
            .field("msg_id", &self.msg_id())
            .field("reconsume_times", &self.reconsume_times())
            .field("body_len", &self.body().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::compress::{self, Codec};
    use crate::protocol::message::Text;
    use crate::protocol::message::stored::body_crc;
    use crate::protocol::message::{Properties, SysFlag};

    fn stored(topic: &'static str, properties: &[(&str, &str)], body: &Bytes) -> StoredMessage {
        let mut raw = Properties::new();
        for (name, value) in properties {
            raw.push(name, value);
        }
        StoredMessage {
            body_crc: body_crc(body),
            queue_id: 1,
            flag: 7,
            queue_offset: 12,
            physical_offset: 0x1234,
            sys_flag: SysFlag::default(),
            born_timestamp: 100,
            born_host: ([10, 0, 0, 1], 1000).into(),
            store_timestamp: 200,
            store_host: ([10, 0, 0, 2], 10911).into(),
            reconsume_times: 2,
            prepared_transaction_offset: 0,
            body: body.clone(),
            topic: Text::from_static(topic),
            properties: Text::from(raw.into_string()),
        }
    }

    fn received(topic: &'static str, properties: &[(&str, &str)]) -> MessageExt {
        let stored = stored(topic, properties, &Bytes::from_static(b"body"));
        MessageExt::new(stored, MessageQueue::new(topic, "broker-a", 1))
    }

    #[test]
    fn the_parts_have_their_names() {
        let message = received(
            "t",
            &[
                ("TAGS", "a"),
                ("KEYS", "k1 k2"),
                ("UNIQ_KEY", "ID"),
                ("x", "y"),
            ],
        );
        assert_eq!(
            (message.topic(), message.broker_name(), message.queue_id()),
            ("t", "broker-a", 1)
        );
        assert_eq!(
            (message.queue_offset(), message.commit_log_offset()),
            (12, 0x1234)
        );
        assert_eq!(
            (message.tag(), message.property("x"), message.property("y")),
            (Some("a"), Some("y"), None)
        );
        assert_eq!(message.keys().collect::<Vec<_>>(), ["k1", "k2"]);
        assert_eq!(message.properties().count(), 4);
        assert_eq!(
            (message.msg_id(), message.reconsume_times(), message.flag()),
            ("ID", 2, 7)
        );
        assert_eq!(message.offset_msg_id(), "0A00000200002A9F0000000000001234");
        assert_eq!(
            (message.born_timestamp(), message.store_timestamp()),
            (100, 200)
        );
        assert_eq!(
            (message.born_host().port(), message.store_host().port()),
            (1000, 10911)
        );
    }

    #[test]
    fn a_message_without_a_unique_id_has_the_broker_s() {
        let message = received("t", &[]);
        assert_eq!(message.msg_id(), message.offset_msg_id());
    }

    #[test]
    fn a_retried_message_gets_its_topic_back_and_keeps_its_queue() {
        let message = received("%RETRY%g", &[("RETRY_TOPIC", "orders")]);
        assert_eq!(
            (message.topic(), &*message.queue().topic),
            ("orders", "%RETRY%g")
        );
        assert_eq!(message.origin_topic(), Some("orders"));
        // A dead letter stays one, and anybody can set the property on an ordinary message.
        for topic in ["%DLQ%g", "t"] {
            assert_eq!(received(topic, &[("RETRY_TOPIC", "orders")]).topic(), topic);
        }
        assert_eq!(received("%RETRY%g", &[]).topic(), "%RETRY%g");
        let dead = received("%DLQ%g", &[("RETRY_TOPIC", "orders")]);
        assert!(dead.is_dead_letter() && dead.origin_topic() == Some("orders"));
        assert_eq!(
            received("t", &[("RETRY_TOPIC", "orders")]).origin_topic(),
            None
        );
    }

    #[test]
    fn a_message_that_failed_keeps_its_id() {
        let origin = ("ORIGIN_MESSAGE_ID", "0A");
        for topic in ["%RETRY%g", "%DLQ%g"] {
            let properties = [("RETRY_TOPIC", "orders"), origin, ("UNIQ_KEY", "1B")];
            assert_eq!(received(topic, &properties).msg_id(), "1B");
            assert_eq!(received(topic, &properties[..2]).msg_id(), "0A");
        }
        let ordinary = received("t", &[origin]);
        assert_eq!(ordinary.msg_id(), ordinary.offset_msg_id());
    }

    #[test]
    fn a_retried_message_leaves_the_namespace_of_its_topic() {
        for (sent_to, called) in [("ns%orders", "orders"), ("other%orders", "other%orders")] {
            let mut message = received("%RETRY%ns%g", &[("RETRY_TOPIC", sent_to)]);
            message.leave(&Namespace::new(Some("ns")));
            assert_eq!(message.topic(), called);
        }
    }

    #[test]
    fn a_body_is_checked_before_it_is_seen() {
        let mut message = received("t", &[]);
        message.open_body(4).unwrap();
        message.stored.body_crc ^= 1;
        message.open_body(4).unwrap_err();
    }

    #[test]
    #[cfg(feature = "zlib")]
    fn a_compressed_body_is_inflated_within_the_limit() {
        let plain = vec![b'a'; 10_000];
        let packed = compress::compress(Codec::Zlib, 5, &plain).unwrap();
        let mut stored = stored("t", &[], &packed);
        stored.sys_flag = SysFlag::default().with_codec(Some(Codec::Zlib));
        let mut message = MessageExt::new(stored, MessageQueue::new("t", "b", 0));
        message.open_body(9_999).unwrap_err();
        assert_eq!(message.body(), &packed);
        message.open_body(10_000).unwrap();
        assert_eq!(&message.body()[..], plain);
    }

    #[test]
    #[cfg(not(feature = "lz4"))]
    fn a_missing_codec_is_named_and_changes_nothing() {
        let mut stored = stored("t", &[], &Bytes::from_static(b"packed"));
        stored.sys_flag = SysFlag::default().with_codec(Some(Codec::Lz4));
        let mut message = MessageExt::new(stored, MessageQueue::new("t", "b", 0));
        let error = message.open_body(100).unwrap_err();
        assert!(error.to_string().contains("feature `lz4`"), "{error}");
        assert_eq!(&message.body()[..], b"packed");
        let _ = compress::compress(Codec::Zlib, 5, b"");
    }

    #[test]
    fn a_detached_message_pins_no_foreign_buffer() {
        let buffer = Bytes::from(vec![b'x'; 4096]);
        let mut stored = stored("t", &[("a", "b")], &Bytes::new());
        stored.body = buffer.slice(10..20);
        let message = MessageExt::new(stored, MessageQueue::new("t", "b", 0)).detach();
        assert_eq!(&message.body()[..], b"xxxxxxxxxx");
        assert_eq!(message.property("a"), Some("b"));
        assert!(buffer.is_unique());
    }
}
