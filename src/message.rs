//! Messages as applications see them: [`Message`] to send, [`MessageExt`] received.
//!
//! Knows: what an application may set, and how a stored message is read. Does not know: where a message goes, and limits that
//! a producer or a broker sets; those are checked when it is sent.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::error::Error;
use crate::protocol::message::Properties;
use crate::protocol::message::property_names::{self as names, KEY_SEPARATOR};

pub use crate::protocol::message::MessageQueue;
pub(crate) use received::MAX_INFLATED;
pub use received::MessageExt;

mod received;

/// What errors about a message's parts call the operation that they come out of.
const OPERATION: &str = "send";

/// The properties that delay a message, each in its own way.
const DELAYS: [&str; 3] = [
    names::DELAY_LEVEL,
    names::TIMER_DELAY_MILLIS,
    names::TIMER_DELIVER_MILLIS,
];

/// A message to send: a topic, a body, and optionally a tag, keys, properties and a delay.
///
/// Making one never fails. What is wrong with it is said by the send, as an error of the kind
/// [`InvalidInput`](crate::ErrorKind::InvalidInput), and then nothing has been sent. A clone shares topic and body.
///
/// ```
/// use rocketmq_sdk::Message;
///
/// let hello = Message::new("01_hello", "hello, NBA");
/// let order = Message::builder("orders")
///     .tag("TagA")
///     .key("order-1")
///     .property("shop", "7")
///     .delay_level(3)
///     .body("...")
///     .build();
/// assert_eq!((hello.topic(), order.tag()), ("01_hello", Some("TagA")));
/// ```
#[derive(Clone)]
pub struct Message {
    topic: Arc<str>,
    flag: i32,
    properties: Properties,
    body: Bytes,
    /// On a reply: the broker that the request came through.
    reply_through: Option<Arc<str>>,
    /// The first thing that was set and cannot be sent.
    fault: Option<Error>,
}

impl Message {
    /// A message with nothing but a topic and a body.
    pub fn new(topic: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            flag: 0,
            properties: Properties::new(),
            body: body.into(),
            reply_through: None,
            fault: None,
        }
    }

    /// A message that is put together step by step.
    pub fn builder(topic: impl Into<Arc<str>>) -> MessageBuilder {
        MessageBuilder {
            message: Self::new(topic, Bytes::new()),
            keys: String::new(),
        }
    }

    /// A reply to a request that was received. Sending it hands it to the client that waits for it; no consumer gets it. With a
    /// body alone, [`reply`](crate::DefaultProducer::reply) is shorter.
    ///
    /// The send fails with [`InvalidInput`](crate::ErrorKind::InvalidInput) if the message is no
    /// [request](MessageExt::is_request), or the reply is delayed.
    pub fn reply_to(request: &MessageExt) -> MessageBuilder {
        let cluster = request.property(names::CLUSTER).unwrap_or_default();
        let mut builder = Self::builder(format!("{cluster}_REPLY_TOPIC"));
        let reply = &mut builder.message;
        reply.reply_through = Some(Arc::clone(&request.queue().broker_name));
        if !request.is_request() {
            let id = request.msg_id();
            reply.blame(format!(
                "message {id} cannot be replied to: it is no request"
            ));
        }
        reply.add_property(names::MESSAGE_TYPE, "reply");
        for name in [names::CORRELATION_ID, names::REPLY_TO_CLIENT, names::TTL] {
            if let Some(value) = request.property(name) {
                reply.add_property(name, value);
            }
        }
        builder
    }

    /// The topic that it goes to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The body, in bytes that mean nothing to the broker.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The tag, by which subscriptions select.
    pub fn tag(&self) -> Option<&str> {
        self.property(names::TAGS)
    }

    /// The keys, by which messages are looked up.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        split_keys(self.property(names::KEYS))
    }

    /// The delay level; 0 when it is delivered at once.
    pub fn delay_level(&self) -> u32 {
        let level = self.property(names::DELAY_LEVEL);
        level.and_then(|level| level.parse().ok()).unwrap_or(0)
    }

    /// Whether the broker answers only after its flush and replication settings are met.
    pub fn wait_store_ok(&self) -> bool {
        self.property(names::WAIT_STORE_OK) != Some("false")
    }

    /// The application's own flag.
    pub fn flag(&self) -> i32 {
        self.flag
    }

    /// The value of a property, be it set by name or by one of the builder's methods.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name)
    }

    /// All properties as (name, value).
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties.iter()
    }

    /// On a reply: the broker that the request came through.
    pub(crate) const fn reply_through(&self) -> Option<&Arc<str>> {
        self.reply_through.as_ref()
    }

    /// Whether it is to be delivered later.
    pub(crate) fn is_delayed(&self) -> bool {
        DELAYS.iter().any(|name| self.property(name).is_some())
    }

    /// The topic, to share.
    pub(crate) fn shared_topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The properties as they go on the wire.
    pub(crate) fn raw_properties(&self) -> &str {
        self.properties.as_str()
    }

    /// The first thing that was set and cannot be sent.
    pub(crate) fn fault(&self) -> Option<&Error> {
        self.fault.as_ref()
    }

    /// Replaces the body, by what stands for it on the wire.
    pub(crate) fn set_body(&mut self, body: Bytes) {
        self.body = body;
    }

    /// Adds a property that is not there yet, with a name and a value that are known to be clean.
    pub(crate) fn add_property(&mut self, name: &str, value: &str) {
        self.properties.push(name, value);
    }

    /// Removes a property.
    pub(crate) fn remove_property(&mut self, name: &str) {
        self.properties.remove(name);
    }

    /// Sets a property; a value that would not survive the wire becomes the message's fault.
    pub(crate) fn set_property(&mut self, name: &str, value: &str) {
        if let Err(error) = self.properties.set(name, value) {
            self.blame(format!("property {name:?}: {error}"));
        }
    }

    /// Sets a property of the application's own; a name that RocketMQ keeps for itself becomes the message's fault, too.
    pub(crate) fn set_user_property(&mut self, name: &str, value: &str) {
        if names::is_reserved(name) {
            self.blame(format!("property {name:?} is reserved for RocketMQ itself"));
        } else {
            self.set_property(name, value);
        }
    }

    /// Makes something the message's fault, unless it has one.
    pub(crate) fn blame(&mut self, detail: String) {
        self.fault
            .get_or_insert_with(|| Error::invalid(OPERATION, detail));
    }
}

/// Prints the length of the body instead of the body.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("flag", &self.flag)
            .field("properties", &self.properties)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Puts a [`Message`] together.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct MessageBuilder {
    message: Message,
    keys: String,
}

impl MessageBuilder {
    /// The body. A message needs one of at least a byte.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.message.body = body.into();
        self
    }

    /// The tag, by which subscriptions select: one for each message. An empty one is none, as in Java.
    pub fn tag(mut self, tag: impl AsRef<str>) -> Self {
        self.set_or_remove(names::TAGS, tag.as_ref());
        self
    }

    /// One more key, by which the message can be looked up. Spaces separate keys, so a key with a space counts as two; an
    /// empty one is none, as in Java.
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        for key in split_keys(Some(key.as_ref())) {
            if !self.keys.is_empty() {
                self.keys.push(KEY_SEPARATOR);
            }
            self.keys.push_str(key);
        }
        self
    }

    /// More keys: see [`key`](Self::key).
    pub fn keys<K: AsRef<str>>(self, keys: impl IntoIterator<Item = K>) -> Self {
        keys.into_iter().fold(self, Self::key)
    }

    /// A property of the application's own, in place of the value that it had.
    ///
    /// The send fails with [`InvalidInput`](crate::ErrorKind::InvalidInput) if the name or the value is empty or holds one of
    /// the two separators U+0001 and U+0002, or if the name is one that RocketMQ keeps for itself. All properties of a
    /// message together may have about 32 KiB; the broker refuses more.
    pub fn property(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.message
            .set_user_property(name.as_ref(), value.as_ref());
        self
    }

    /// Delivers the message later: level 1 is the first of the broker's delays, which are
    /// `1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h` unless it was told otherwise. A level over the last counts
    /// as the last. Default 0: at once.
    ///
    /// Of this, [`delay`](Self::delay) and [`deliver_at`](Self::deliver_at) the one that is set last counts.
    pub fn delay_level(self, level: u32) -> Self {
        self.delayed(names::DELAY_LEVEL, i64::from(level))
    }

    /// Delivers the message after this time, counted from when the broker has it. Zero: at once.
    ///
    /// It is delivered up to a second late and never early. Brokers from 5.0 on do this. They refuse what is more than three days
    /// away unless they were told otherwise, with `MESSAGE_ILLEGAL`. **A 4.9 broker ignores it without a word, and delivers at
    /// once.** For those there is [`delay_level`](Self::delay_level). Until it is due, the message can be
    /// [recalled](crate::DefaultProducer::recall).
    pub fn delay(mut self, delay: Duration) -> Self {
        match millis(delay) {
            Some(millis) => self.delayed(names::TIMER_DELAY_MILLIS, millis),
            None => {
                self.message
                    .blame(format!("the delay {delay:?} is too long"));
                self
            }
        }
    }

    /// Delivers the message at this time by the broker's clock; at once when that is past. See [`delay`](Self::delay).
    pub fn deliver_at(mut self, time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH).ok().and_then(millis) {
            Some(millis) => self.delayed(names::TIMER_DELIVER_MILLIS, millis),
            None => {
                let detail = "the time of delivery is before 1970, or too far away";
                self.message.blame(detail.to_owned());
                self
            }
        }
    }

    /// How old the message must be before its broker asks what became of its transaction, and how old it may get before only an
    /// answer to that question can end it; 6 s at least for that. Rounded up to seconds. Default: as the broker was told, 6 s. It looks
    /// every 30 s. See [`TransactionProducer`](crate::TransactionProducer).
    pub fn check_immunity(mut self, age: Duration) -> Self {
        let seconds = age.as_millis().div_ceil(1000);
        self.message
            .set_property(names::CHECK_IMMUNITY_SECONDS, &seconds.to_string());
        self
    }

    /// Whether the broker answers only after its flush and replication settings are met. Default true.
    pub fn wait_store_ok(mut self, wait: bool) -> Self {
        self.set_or_remove(names::WAIT_STORE_OK, if wait { "" } else { "false" });
        self
    }

    /// A number that travels with the message and means nothing to the broker. Default 0.
    pub fn flag(mut self, flag: i32) -> Self {
        self.message.flag = flag;
        self
    }

    /// The message. Never fails: what is wrong with it is said by the send.
    pub fn build(mut self) -> Message {
        if !self.keys.is_empty() {
            self.message.set_property(names::KEYS, &self.keys);
        }
        self.message
    }

    /// Delays the message in one way and no other; 0 is no delay.
    fn delayed(mut self, name: &str, value: i64) -> Self {
        for other in DELAYS {
            self.message.properties.remove(other);
        }
        if value != 0 {
            self.message.set_property(name, &value.to_string());
        }
        self
    }

    fn set_or_remove(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            self.message.properties.remove(name);
        } else {
            self.message.set_property(name, value);
        }
    }
}

/// Whole milliseconds, rounded up: nothing is delivered early.
fn millis(duration: Duration) -> Option<i64> {
    i64::try_from(duration.as_nanos().div_ceil(1_000_000)).ok()
}

fn split_keys(keys: Option<&str>) -> impl Iterator<Item = &str> {
    keys.unwrap_or_default()
        .split(KEY_SEPARATOR)
        .filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_plain_message_has_no_properties() {
        let message = Message::new("t", vec![1, 2]);
        assert_eq!((message.topic(), &message.body()[..]), ("t", &[1, 2][..]));
        assert_eq!(message.raw_properties(), "");
        assert_eq!(
            (message.tag(), message.keys().count(), message.flag()),
            (None, 0, 0)
        );
        assert!(message.wait_store_ok() && message.delay_level() == 0 && message.fault().is_none());
    }

    #[test]
    fn the_builder_sets_what_java_reads() {
        let message = Message::builder("t")
            .tag("TagA")
            .key("k1")
            .keys(["", "k2 k3", "键"])
            .property("a", "1")
            .property("a", "2")
            .delay_level(3)
            .wait_store_ok(false)
            .flag(7)
            .body("x")
            .build();
        assert_eq!(
            message.properties().collect::<Vec<_>>(),
            [
                ("TAGS", "TagA"),
                ("a", "2"),
                ("DELAY", "3"),
                ("WAIT", "false"),
                ("KEYS", "k1 k2 k3 键")
            ]
        );
        assert_eq!(message.keys().collect::<Vec<_>>(), ["k1", "k2", "k3", "键"]);
        assert_eq!(
            (message.tag(), message.delay_level(), message.flag()),
            (Some("TagA"), 3, 7)
        );
        assert!(!message.wait_store_ok() && message.fault().is_none());
    }

    #[test]
    fn what_is_none_takes_back_what_was_set() {
        let builder = Message::builder("t")
            .tag("a")
            .delay_level(2)
            .wait_store_ok(false);
        let message = builder
            .tag("")
            .delay_level(0)
            .wait_store_ok(true)
            .key("")
            .build();
        assert_eq!(message.raw_properties(), "");
        assert!(message.fault().is_none());
    }

    #[test]
    fn a_message_has_one_delay_and_no_moment_less() {
        let builder = || Message::builder("t").delay_level(3);
        let nanos = Duration::from_nanos;
        let at = UNIX_EPOCH + nanos(1_700_000_000_000_000_001);
        for (builder, property) in [
            (builder().delay(nanos(1)), Some(("TIMER_DELAY_MS", "1"))),
            (
                builder().delay(Duration::from_secs(5)),
                Some(("TIMER_DELAY_MS", "5000")),
            ),
            (
                builder().deliver_at(at),
                Some(("TIMER_DELIVER_MS", "1700000000001")),
            ),
            (
                builder().deliver_at(at).delay_level(1),
                Some(("DELAY", "1")),
            ),
            (builder().delay(Duration::ZERO), None),
            (builder().delay(nanos(1)).delay_level(0), None),
        ] {
            let message = builder.build();
            assert_eq!(
                message.properties().collect::<Vec<_>>(),
                Vec::from_iter(property)
            );
            assert!(message.fault().is_none());
        }
        for builder in [
            builder().delay(Duration::MAX),
            builder().deliver_at(UNIX_EPOCH - nanos(1)),
        ] {
            assert!(builder.build().fault().is_some());
        }
    }

    #[test]
    fn the_first_fault_is_kept_and_named() {
        let fault = |name: &str, value: &str| {
            let message = Message::builder("t")
                .property(name, value)
                .property("", "")
                .build();
            message
                .fault()
                .map(|error| (error.kind(), error.to_string()))
                .unwrap()
        };
        for (name, value, text) in [
            ("KEYS", "k", "property \"KEYS\" is reserved"),
            ("", "v", "the property name is empty"),
            ("n", "", "property \"n\": the property value is empty"),
            ("n\u{1}", "v", "the property name contains a separator"),
            (
                "n",
                "v\u{2}",
                "property \"n\": the property value contains a separator",
            ),
        ] {
            let (kind, said) = fault(name, value);
            assert_eq!(kind, ErrorKind::InvalidInput);
            assert!(said.contains(text), "{said}");
        }
        for message in [
            Message::builder("t").tag("a\u{1}"),
            Message::builder("t").key("\u{2}"),
        ] {
            assert!(message.build().fault().is_some());
        }
    }

    #[test]
    fn the_body_is_not_printed() {
        let text = format!("{:?}", Message::new("t", "secret"));
        assert!(
            text.contains("body_len: 6") && !text.contains("secret"),
            "{text}"
        );
    }
}
