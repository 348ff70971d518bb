//! The binary header: fixed-width numbers, then the remark and the fields with their lengths, all big-endian.
//!
//! `i16 code, u8 language, i16 version, i32 opaque, i32 flag, i32 length + remark, i32 length + fields`, where a field is
//! `i16 length + name, i32 length + value`.

use std::borrow::Cow;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::protocol::command::{Command, Head, Language};
use crate::protocol::error::DecodeError;
use crate::protocol::fields::Fields;
use crate::protocol::message::Text;

const FIXED: usize = 2 + 1 + 2 + 4 + 4;

/// Writes the head, the remark, and the fields that `fields` puts, whose total length is filled in afterwards.
///
/// The code must fit 16 bits (see [`Serialization::fit`](super::super::command::Serialization::fit)).
pub(in crate::protocol) fn encode(
    out: &mut BytesMut,
    head: &Head,
    remark: Option<&str>,
    fields: impl FnOnce(&mut BytesMut),
) {
    out.put_i16(head.code as i16);
    out.put_u8(head.language.0);
    out.put_i16(head.version as i16);
    out.put_i32(head.opaque);
    out.put_i32(head.flag);
    let remark = remark.unwrap_or_default();
    out.put_u32(remark.len() as u32);
    out.put_slice(remark.as_bytes());
    let length_at = out.len();
    out.put_u32(0);
    fields(out);
    let length = (out.len() - length_at - 4) as u32;
    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Writes one field.
#[inline]
pub(in crate::protocol) fn put_field(out: &mut BytesMut, name: &str, value: &str) {
    out.put_u16(name.len() as u16);
    out.put_slice(name.as_bytes());
    out.put_u32(value.len() as u32);
    out.put_slice(value.as_bytes());
}

/// Reads a whole header.
#[inline]
pub(in crate::protocol) fn decode(mut header: Bytes, body: Bytes) -> Result<Command, DecodeError> {
    let total = header.len();
    if total < FIXED + 8 {
        return Err(DecodeError::Truncated {
            what: "binary header",
            offset: 0,
            needed: FIXED + 8,
            had: total,
        });
    }
    let head = Head {
        code: i32::from(header.get_i16()),
        language: Language(header.get_u8()),
        version: i32::from(header.get_i16()),
        opaque: header.get_i32(),
        flag: header.get_i32(),
    };
    let remark = take(&mut header, total, "remark")?;
    let fields = take(&mut header, total, "header fields")?;
    let remark = match remark.is_empty() {
        true => None,
        false => Some(Text::try_from(remark).map_err(|_| DecodeError::Invalid {
            what: "remark",
            offset: FIXED + 4,
            reason: "not UTF-8",
        })?),
    };
    Ok(Command {
        head,
        remark,
        fields: Fields::Binary(fields),
        body,
    })
}

/// Takes an `i32` length and as many bytes.
fn take(rest: &mut Bytes, total: usize, what: &'static str) -> Result<Bytes, DecodeError> {
    let offset = total - rest.len();
    if rest.len() < 4 {
        return Err(DecodeError::Truncated {
            what,
            offset,
            needed: 4,
            had: rest.len(),
        });
    }
    let length = rest.get_i32();
    match usize::try_from(length) {
        Ok(length) if length <= rest.len() => Ok(rest.split_to(length)),
        _ => Err(DecodeError::OutOfRange {
            what,
            offset,
            value: i64::from(length),
            min: 0,
            max: rest.len() as i64,
        }),
    }
}

/// Walks over the fields of a binary header; ends after the first error.
#[derive(Debug)]
pub struct FieldIter<'a> {
    fields: &'a [u8],
    at: usize,
    /// All of the fields, lengths included, where that is UTF-8: nearly always, since no length over 127 stands in it. Checked
    /// once, it needs no check for each name and value.
    text: Option<&'a str>,
}

impl<'a> FieldIter<'a> {
    pub(in crate::protocol) fn new(fields: &'a [u8]) -> Self {
        Self {
            fields,
            at: 0,
            text: std::str::from_utf8(fields).ok(),
        }
    }

    #[inline]
    fn take(&mut self, what: &'static str, width: usize) -> Result<&'a str, DecodeError> {
        let length = match (width, self.fields.get(self.at..)) {
            (2, Some([a, b, ..])) => usize::from(u16::from_be_bytes([*a, *b])),
            (4, Some([a, b, c, d, ..])) => u32::from_be_bytes([*a, *b, *c, *d]) as usize,
            _ => return Err(self.fail(what, "its length is cut off")),
        };
        let start = self.at + width;
        let end = start.saturating_add(length);
        let text = match self.text {
            Some(text) => text.get(start..end),
            None => self
                .fields
                .get(start..end)
                .and_then(|bytes| std::str::from_utf8(bytes).ok()),
        };
        let Some(text) = text else {
            return Err(match end > self.fields.len() {
                true => self.fail(what, "it is longer than the header"),
                false => self.fail(what, "not UTF-8"),
            });
        };
        self.at = end;
        Ok(text)
    }

    #[cold]
    fn fail(&mut self, what: &'static str, reason: &'static str) -> DecodeError {
        let offset = self.at;
        self.at = self.fields.len();
        DecodeError::Invalid {
            what,
            offset,
            reason,
        }
    }
}

impl<'a> Iterator for FieldIter<'a> {
    type Item = Result<(Cow<'a, str>, Cow<'a, str>), DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.fields.len() {
            return None;
        }
        let name = match self.take("field name", 2) {
            Ok(name) => name,
            Err(error) => return Some(Err(error)),
        };
        Some(
            self.take("field value", 4)
                .map(|value| (Cow::Borrowed(name), Cow::Borrowed(value))),
        )
    }
}
