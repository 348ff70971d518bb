//! One request or answer as a journal keeps it: the header as it came, read when somebody asks.

use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use rocketmq_sdk::protocol::code::RequestCode;
use rocketmq_sdk::protocol::command::{Command, Head};
use rocketmq_sdk::protocol::fields::Fields;
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::protocol::message::Text;

use super::facts::{Delivered, Facts, carries_messages, delivered, stand_in_body};

/// Longer bodies are not kept.
const MAX_BODY: usize = 16 * 1024;

/// How long a frame is before its header: its length, and the header's with its serialisation.
const PREFIX: usize = 8;

/// A request or an answer, without what it shares with the buffer that it came in.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) head: Head,
    /// The size of the whole frame, in bytes.
    pub(crate) size: usize,
    /// The body, where it is short and no message.
    pub(crate) body: Option<Bytes>,
    pub(crate) delivered: Option<Delivered>,
    header: Header,
    facts: OnceLock<Facts>,
    /// How many bytes are kept, with what is made of them once somebody asks.
    kept: usize,
}

#[derive(Debug)]
enum Header {
    Read {
        fields: Fields,
        remark: Option<Text>,
    },
    /// A frame up to its body, and the command in it once it was asked for.
    Written(Bytes, OnceLock<Option<Command>>),
}

impl Seen {
    /// A command that was received, in a frame of this size. `about` is the code of the request that it is or answers.
    pub(crate) fn received(command: &Command, size: usize, about: RequestCode) -> Self {
        let parts = std::slice::from_ref(&command.body);
        let fields = command.fields.detach();
        let remark = command.remark.as_ref().map(Text::detach);
        Self::new(
            command.head,
            size,
            about,
            parts,
            Header::Read { fields, remark },
        )
    }

    /// A command that is sent: its frame up to the body, and the body in parts.
    pub(crate) fn sent(head: Head, frame: &[u8], body: &[Bytes], about: RequestCode) -> Self {
        let size = frame.len() + body.iter().map(Bytes::len).sum::<usize>();
        let header = Header::Written(Bytes::copy_from_slice(frame), OnceLock::new());
        Self::new(head, size, about, body, header)
    }

    fn new(head: Head, size: usize, about: RequestCode, body: &[Bytes], header: Header) -> Self {
        let messages = carries_messages(about);
        let len = body.iter().map(Bytes::len).sum::<usize>();
        let short = len <= MAX_BODY;
        let mut seen = Self {
            head,
            size,
            delivered: (messages && head.is_response())
                .then(|| delivered(body))
                .flatten(),
            body: (!messages && short).then(|| body.concat().into()),
            kept: size_of::<Self>() + 2 * header.len(),
            header,
            facts: OnceLock::new(),
        };
        seen.kept += seen.body.as_ref().map_or(0, Bytes::len);
        if !short && !head.is_response() && stand_in_body(about) {
            // What is not kept is read now.
            let facts = seen.facts_with(&body.concat());
            seen.kept += facts.len();
            seen.facts = facts.into();
        }
        seen
    }

    fn facts_with(&self, body: &[u8]) -> Facts {
        self.fields()
            .map(|fields| Facts::of(RequestCode(self.head.code), fields, body))
            .unwrap_or_default()
    }

    /// What the request is about.
    pub(crate) fn facts(&self) -> &Facts {
        self.facts
            .get_or_init(|| self.facts_with(self.body.as_deref().unwrap_or_default()))
    }

    pub(crate) fn fields(&self) -> Option<&Fields> {
        match &self.header {
            Header::Read { fields, .. } => Some(fields),
            Header::Written(frame, command) => {
                let command = command.get_or_init(|| read(frame)).as_ref()?;
                Some(&command.fields)
            }
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.fields()?.find(name).map(std::borrow::Cow::into_owned)
    }

    pub(crate) fn remark(&self) -> Option<&str> {
        let remark = match &self.header {
            Header::Read { remark, .. } => remark,
            Header::Written(frame, command) => {
                &command.get_or_init(|| read(frame)).as_ref()?.remark
            }
        };
        remark.as_deref()
    }

    /// How many bytes are kept.
    pub(crate) const fn kept(&self) -> usize {
        self.kept
    }
}

impl Header {
    fn len(&self) -> usize {
        match self {
            Self::Read { fields, remark } => {
                fields.as_bytes().len()
                    + remark.as_ref().map_or(0, |remark| remark.as_bytes().len())
            }
            Self::Written(bytes, _) => bytes.len(),
        }
    }
}

/// The command in a frame whose body is missing.
fn read(frame: &[u8]) -> Option<Command> {
    let mut whole = BytesMut::from(frame);
    let length = u32::try_from(frame.len().checked_sub(PREFIX - 4)?).ok()?;
    whole.get_mut(..4)?.copy_from_slice(&length.to_be_bytes());
    frame::decode(&mut whole).ok().flatten()
}
