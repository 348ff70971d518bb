//! Frames: where one command ends and the next begins.
//!
//! `i32 length of all that follows, u8 serialisation + u24 header length, header, body`, big-endian. Knows limits; does not
//! know what a header says.

use bytes::{Buf, BufMut, BytesMut};

use crate::protocol::command::{Command, Head, Serialization};
use crate::protocol::error::DecodeError;
use crate::protocol::fields::{FieldWriter, Header};
use crate::protocol::header::{binary, json};

/// The longest frame, its length word included: `com.rocketmq.remoting.frameMaxLength` of Apache RocketMQ, 16 MiB.
pub const MAX_FRAME: usize = 16 * 1024 * 1024;

const LENGTH: usize = 4;
const PREFIX: usize = 8;
const MAX_HEADER: usize = 0x00FF_FFFF;

/// A frame that cannot be written because it would be longer than a peer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {size} bytes is over the limit of {limit}")]
pub struct FrameTooLarge {
    /// The frame's size in bytes, its length word included.
    pub size: usize,
    /// The limit in bytes.
    pub limit: usize,
}

/// Appends a frame up to its body, of which only the length is needed: the caller sends the body's bytes after it.
///
/// The serialisation is the one asked for where it can carry the code, else JSON.
///
/// # Errors
/// The frame would be over [`MAX_FRAME`]; nothing is appended then.
pub fn encode_head<'h>(
    out: &mut BytesMut,
    serialization: Serialization,
    head: &Head,
    remark: Option<&str>,
    header: &impl Header<'h>,
    body_length: usize,
) -> Result<(), FrameTooLarge> {
    encode_with(out, serialization, head, remark, body_length, |fields| {
        header.encode(fields)
    })
}

/// As [`encode_head`], with the fields written by a closure.
///
/// # Errors
/// The frame would be over [`MAX_FRAME`]; nothing is appended then.
pub fn encode_with(
    out: &mut BytesMut,
    serialization: Serialization,
    head: &Head,
    remark: Option<&str>,
    body_length: usize,
    fields: impl FnOnce(&mut FieldWriter<'_>),
) -> Result<(), FrameTooLarge> {
    let serialization = serialization.fit(head.code);
    let start = out.len();
    // Room for an ordinary header, so that the fields seldom grow the buffer one by one.
    out.reserve(512);
    out.put_bytes(0, PREFIX);
    let write = |out: &mut BytesMut| {
        fields(&mut FieldWriter {
            out,
            serialization,
            first: true,
        })
    };
    let mark = match serialization {
        Serialization::Json => {
            json::encode(out, head, remark, write);
            0
        }
        Serialization::Binary => {
            binary::encode(out, head, remark, write);
            1 << 24
        }
    };
    let header_length = out.len() - start - PREFIX;
    let size = PREFIX + header_length + body_length;
    if size > MAX_FRAME || header_length > MAX_HEADER {
        out.truncate(start);
        return Err(FrameTooLarge {
            size,
            limit: MAX_FRAME,
        });
    }
    let prefix = ((size - LENGTH) as u64) << 32 | mark | header_length as u64;
    out[start..start + PREFIX].copy_from_slice(&prefix.to_be_bytes());
    Ok(())
}

/// Takes the first whole frame off `input`, or says that more bytes are needed.
///
/// Nothing is reserved by the declared length, so a peer pays for what it makes us hold.
///
/// # Errors
/// The bytes are not a frame, or it is over the limit. The stream cannot be read on after that.
///
/// ```
/// use bytes::BytesMut;
/// use rocketmq_sdk::protocol::code::RequestCode;
/// use rocketmq_sdk::protocol::command::{Head, Serialization};
/// use rocketmq_sdk::protocol::fields::NoFields;
/// use rocketmq_sdk::protocol::frame;
///
/// let mut stream = BytesMut::new();
/// let head = Head::request(RequestCode::HEART_BEAT, 7);
/// frame::encode_head(&mut stream, Serialization::Binary, &head, None, &NoFields, 2)?;
/// stream.extend_from_slice(b"{}");
/// let command = frame::decode(&mut stream)?.expect("a whole frame");
/// assert_eq!((command.head.opaque, &command.body[..]), (7, &b"{}"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decode(input: &mut BytesMut) -> Result<Option<Command>, DecodeError> {
    let Some(&[a, b, c, d]) = input.first_chunk::<LENGTH>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if !(LENGTH..=MAX_FRAME - LENGTH).contains(&length) {
        return Err(DecodeError::OutOfRange {
            what: "frame length",
            offset: 0,
            value: length as i64,
            min: LENGTH as i64,
            max: (MAX_FRAME - LENGTH) as i64,
        });
    }
    let Some(&[_, _, _, _, mark, e, f, g]) = input.first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    // Checked before the frame is whole: a frame that cannot be read should not be waited for.
    let header_length = u32::from_be_bytes([0, e, f, g]) as usize;
    if header_length > length - LENGTH {
        return Err(DecodeError::OutOfRange {
            what: "header length",
            offset: LENGTH,
            value: header_length as i64,
            min: 0,
            max: (length - LENGTH) as i64,
        });
    }
    if mark > 1 {
        return Err(DecodeError::OutOfRange {
            what: "serialisation",
            offset: LENGTH,
            value: i64::from(mark),
            min: 0,
            max: 1,
        });
    }
    if input.len() < LENGTH + length {
        return Ok(None);
    }
    let mut frame = input.split_to(LENGTH + length).freeze();
    frame.advance(PREFIX);
    let header = frame.split_to(header_length);
    match mark {
        0 => json::decode(header, frame).map(Some),
        _ => binary::decode(header, frame).map(Some),
    }
}

#[cfg(test)]
mod tests;
