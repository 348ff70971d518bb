//! Bodies of messages, before an application sees them.
//!
//! Knows: what has to be checked and unpacked. Does not know: what becomes of a message whose body cannot be read.

use crate::message::MessageExt;
use crate::protocol::DecodeError;

/// Makes the body readable, and says by how much it has grown.
pub(super) fn open(message: &mut MessageExt, limit: usize) -> Result<usize, DecodeError> {
    if message.stored().is_inner_batch() {
        return Err(DecodeError::Invalid {
            what: "inner batch",
            offset: 0,
            reason: "cannot be taken apart",
        });
    }
    let packed = message.body().len();
    message.open_body(limit)?;
    Ok(message.body().len().saturating_sub(packed))
}
