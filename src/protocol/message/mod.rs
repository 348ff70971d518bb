//! Messages as bytes: stored messages, batches, properties, ids, flags and tags.
//!
//! Knows: how a broker stores a message and hands it out, how a client packs one for sending, and what the names and numbers
//! in it mean. Does not know: requests, frames, or what a client does with a message.

pub mod batch;
pub mod ids;
pub mod properties;
pub mod property_names;
pub mod queue;
mod reader;
pub mod recall_handle;
pub mod stored;
pub mod sys_flag;
pub mod tags;
pub mod text;

pub use batch::{BatchEntry, BatchMessage, BatchMessages};
pub use ids::{OffsetMessageId, UniqueIdGenerator};
pub use properties::{Properties, PropertyError};
pub use queue::{MessageQueue, OffsetTable};
pub use recall_handle::RecallHandle;
pub use stored::{StoredMessage, StoredMessages};
pub use sys_flag::{SysFlag, TransactionType};
pub use tags::TagFilter;
pub use text::Text;

/// A part of a message that does not fit the length field it has on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {len} bytes long, the protocol allows {max}")]
pub struct TooLong {
    /// The part.
    pub what: &'static str,
    /// Its length in bytes.
    pub len: usize,
    /// The largest length the wire can carry, in bytes.
    pub max: usize,
}

impl TooLong {
    /// `Ok` if `len` is at most `max`.
    fn check(what: &'static str, len: usize, max: usize) -> Result<(), Self> {
        if len <= max {
            Ok(())
        } else {
            Err(Self { what, len, max })
        }
    }
}
