//! What a journal says of one thing that happened.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::request::pull_message::PullSysFlag;

use super::facts::{Delivered, Facts, is_pull, is_send};
use super::seen::Seen;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// A client connected to a node.
    Connected,
    /// A connection ended, whoever ended it.
    Closed,
    /// A node received a request.
    Request,
    /// A node answered a request.
    Answer,
    /// A node sent a request to a client, e.g. that a group has changed.
    Callback,
    /// A client answered such a request.
    CallbackAnswer,
}

/// A connection, as entries refer to it.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The node's name.
    pub(crate) node: Arc<str>,
    /// Tells connections of one node apart.
    pub(crate) connection: u64,
    pub(crate) peer: SocketAddr,
    /// The client's id, once it has said it.
    pub(crate) client: OnceLock<Arc<str>>,
}

/// One entry of a [`Journal`](crate::Journal).
///
/// What does not apply to its kind is `None`. An entry about an answer knows the request, too: [`topic`](Self::topic),
/// [`queue_id`](Self::queue_id) and their like are the request's.
///
/// It prints as one line.
#[derive(Clone)]
pub struct Entry {
    pub(crate) number: u64,
    pub(crate) elapsed: Duration,
    pub(crate) time: SystemTime,
    pub(crate) origin: Arc<Origin>,
    pub(crate) kind: EntryKind,
    pub(crate) request: Option<Arc<Seen>>,
    pub(crate) answer: Option<Arc<Seen>>,
    pub(crate) sent: bool,
    pub(crate) fault: Option<Arc<str>>,
}

/// Where a sent message was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The queue.
    pub queue_id: i32,
    /// The message's offset in the queue.
    pub queue_offset: i64,
    /// The message's unique key: the client's, or the one that the broker made.
    pub unique_key: Option<String>,
    /// The broker's own id of the message: its address and the place in the commit log. For a batch several, joined by commas.
    pub message_id: String,
}

/// What a message that was sent back is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentBack {
    /// The message's place in the broker's commit log, in bytes.
    pub commit_log_offset: i64,
    /// The message's id, as the client says it.
    pub message_id: Option<String>,
    /// After which delay it is to come again: 0 leaves that to the broker, a negative one means the dead letters.
    pub delay_level: i32,
}

impl Entry {
    /// What happened.
    pub const fn kind(&self) -> EntryKind {
        self.kind
    }

    /// Its place in the journal: entries are numbered from 0 on in the order in which they were made, over all nodes.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// When it happened, by the monotonic clock: since the journal was begun.
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// When it happened, by the clock of the node.
    pub const fn time(&self) -> SystemTime {
        self.time
    }

    /// The node's name, e.g. `broker-a`.
    pub fn node(&self) -> &str {
        &self.origin.node
    }

    /// Tells the connections of one node apart.
    pub fn connection(&self) -> u64 {
        self.origin.connection
    }

    /// The client's end of the connection.
    pub fn peer(&self) -> SocketAddr {
        self.origin.peer
    }

    /// The id of the client at the other end, if it has said it on this connection, now or later; or what the request says.
    pub fn client_id(&self) -> Option<&str> {
        let said = self.origin.client.get().map(|client| &**client);
        said.or_else(|| self.facts()?.client_id.as_deref())
    }

    /// Whether a node received a request with this code.
    pub fn is_request(&self, code: RequestCode) -> bool {
        self.kind == EntryKind::Request && self.code() == Some(code)
    }

    /// Whether a node answered a request with this code.
    pub fn is_answer(&self, code: RequestCode) -> bool {
        self.kind == EntryKind::Answer && self.code() == Some(code)
    }

    /// Whether a node sent a request with this code to a client.
    pub fn is_callback(&self, code: RequestCode) -> bool {
        self.kind == EntryKind::Callback && self.code() == Some(code)
    }

    /// The code of the request, or of the request that is answered.
    pub fn code(&self) -> Option<RequestCode> {
        Some(RequestCode(self.request.as_ref()?.head.code))
    }

    /// The code of the answer.
    pub fn response_code(&self) -> Option<ResponseCode> {
        Some(ResponseCode(self.answer.as_ref()?.head.code))
    }

    /// Whether this is an answer with [`ResponseCode::SUCCESS`].
    pub fn is_success(&self) -> bool {
        self.response_code() == Some(ResponseCode::SUCCESS)
    }

    /// The remark of the answer.
    pub fn remark(&self) -> Option<&str> {
        self.answer.as_ref()?.remark()
    }

    /// What matches the request and its answer, within the connection.
    pub fn opaque(&self) -> Option<i32> {
        Some(self.command()?.head.opaque)
    }

    /// Whether the request wants no answer. What a node would have answered is in the journal all the same, but was not
    /// [sent](Self::was_sent).
    pub fn is_oneway(&self) -> bool {
        let request = self.request.as_ref();
        request.is_some_and(|request| request.head.is_oneway())
    }

    /// Whether an answer, or a request to a client, was handed to its connection to be written as a whole, perhaps late or changed
    /// by a [rule](Self::fault). An answer to a request that wants none is not. A connection that ends may have lost it.
    pub const fn was_sent(&self) -> bool {
        self.sent
    }

    /// The rule that hit the request or its answer, in words.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// The size of the frame, in bytes.
    pub fn size(&self) -> Option<usize> {
        Some(self.command()?.size)
    }

    /// The body, where it is no message and not over 16 KiB: of the answer, for entries about one.
    pub fn body(&self) -> Option<&[u8]> {
        self.command()?.body.as_deref()
    }

    /// A field of the request's header, by its name on the wire.
    pub fn field(&self, name: &str) -> Option<String> {
        self.request.as_ref()?.field(name)
    }

    /// A field of the answer's header, by its name on the wire.
    pub fn answer_field(&self, name: &str) -> Option<String> {
        self.answer.as_ref()?.field(name)
    }

    /// The topic. For a message that is sent back it is the one from which it came.
    pub fn topic(&self) -> Option<&str> {
        self.facts()?.topic.as_deref()
    }

    /// The queue.
    pub fn queue_id(&self) -> Option<i32> {
        self.facts()?.queue_id
    }

    /// The consumer or producer group; the first one of a heartbeat.
    pub fn group(&self) -> Option<&str> {
        self.facts()?.groups.first().map(String::as_str)
    }

    /// All groups: heartbeats name several.
    pub fn groups(&self) -> &[String] {
        self.facts().map_or(&[], |facts| &facts.groups)
    }

    /// The unique key that a sent message has from the client. None for a batch: its messages have their own.
    pub fn unique_key(&self) -> Option<&str> {
        self.facts()?.unique_key.as_deref()
    }

    /// The offset from which a pull reads.
    pub fn pull_offset(&self) -> Option<i64> {
        is_pull(self.code()?).then(|| self.number_of("queueOffset"))?
    }

    /// The offset that is committed, by a request for that or along with a pull.
    pub fn committed(&self) -> Option<i64> {
        let code = self.code()?;
        let flag = || self.number_of("sysFlag").unwrap_or(0) as i32;
        let commits = code == RequestCode::UPDATE_CONSUMER_OFFSET
            || is_pull(code) && flag() & PullSysFlag::COMMIT_OFFSET != 0;
        commits.then(|| self.number_of("commitOffset"))?
    }

    /// What a message that is sent back is.
    pub fn sent_back(&self) -> Option<SentBack> {
        if self.code()? != RequestCode::CONSUMER_SEND_MSG_BACK {
            return None;
        }
        Some(SentBack {
            commit_log_offset: self.number_of("offset")?,
            message_id: self.field("originMsgId"),
            delay_level: self.number_of("delayLevel").unwrap_or(0) as i32,
        })
    }

    /// Where a sent message was stored, by the answer. A message with a delay is stored among those of its level first.
    pub fn stored(&self) -> Option<Stored> {
        let answer = self.answer.as_ref()?;
        if !is_send(self.code()?) {
            return None;
        }
        Some(Stored {
            queue_id: answer.field("queueId")?.parse().ok()?,
            queue_offset: answer.field("queueOffset")?.parse().ok()?,
            unique_key: answer.field("transactionId"),
            message_id: answer.field("msgId")?,
        })
    }

    /// The messages that the answer to a pull delivers.
    pub fn delivered(&self) -> Option<Delivered> {
        self.answer.as_ref()?.delivered
    }

    /// The answer, or else the request.
    fn command(&self) -> Option<&Seen> {
        self.answer.as_deref().or(self.request.as_deref())
    }

    fn facts(&self) -> Option<&Facts> {
        self.request.as_ref().map(|request| request.facts())
    }

    fn number_of(&self, field: &str) -> Option<i64> {
        self.field(field)?.parse().ok()
    }

    /// What both directions have in common of a printed line.
    fn write_facts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(topic) = self.topic() {
            write!(f, " topic={topic}")?;
        }
        if let Some(queue_id) = self.queue_id() {
            write!(f, " queue={queue_id}")?;
        }
        if !self.groups().is_empty() {
            write!(f, " group={}", self.groups().join(","))?;
        }
        if let Some(offset) = self.pull_offset() {
            write!(f, " from={offset}")?;
        }
        if let Some(offset) = self.committed() {
            write!(f, " commit={offset}")?;
        }
        if let Some(back) = self.sent_back() {
            write!(f, " at={}", back.commit_log_offset)?;
        }
        if let Some(stored) = self.stored() {
            write!(f, " stored={}:{}", stored.queue_id, stored.queue_offset)?;
        }
        if let Some(Delivered { first, last, count }) = self.delivered() {
            write!(f, " delivered={count} [{first}..={last}]")?;
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, at, node) = (self.number, self.elapsed.as_secs_f64(), self.node());
        write!(f, "#{number} {at:.3}s {node}/{}", self.connection())?;
        match self.client_id() {
            Some(client) => write!(f, " {client}")?,
            None => write!(f, " {}", self.peer())?,
        }
        match self.kind {
            EntryKind::Connected => return f.write_str(" connected"),
            EntryKind::Closed => return f.write_str(" closed"),
            EntryKind::Request | EntryKind::CallbackAnswer => f.write_str(" ->")?,
            EntryKind::Answer | EntryKind::Callback => f.write_str(" <-")?,
        }
        if let Some(code) = self.code() {
            write!(f, " {code}")?;
        }
        if let Some(code) = self.response_code() {
            write!(f, " {code}")?;
        }
        if let Some(opaque) = self.opaque() {
            write!(f, " opaque={opaque}")?;
        }
        self.write_facts(f)?;
        if let Some(size) = self.size() {
            write!(f, " {size}B")?;
        }
        if self.is_oneway() {
            f.write_str(" oneway")?;
        } else if self.kind == EntryKind::Answer && !self.sent {
            f.write_str(" not sent")?;
        }
        if let Some(fault) = &self.fault {
            write!(f, " [{fault}]")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
