//! The JSON header: one object with the head's numbers, the remark, and the fields under `extFields`, all of them strings.
//!
//! Read by a scanner of its own, for two reasons: brokers of 5.x answer every send in JSON, so this is hot; and the fields
//! stay where they are until a typed header picks its own.

use bytes::{BufMut, Bytes, BytesMut};

use crate::protocol::command::{Command, Head, Language};
use crate::protocol::error::DecodeError;
use crate::protocol::fields::Fields;
use crate::protocol::message::Text;

mod scan;
mod spans;

pub use spans::{FieldIter, JsonFields};

use scan::Scanner;
use spans::Spans;

/// Writes the head, the remark, and the fields that `fields` puts.
pub(in crate::protocol) fn encode(
    out: &mut BytesMut,
    head: &Head,
    remark: Option<&str>,
    fields: impl FnOnce(&mut BytesMut),
) {
    let mut digits = itoa::Buffer::new();
    out.put_slice(b"{\"code\":");
    out.put_slice(digits.format(head.code).as_bytes());
    out.put_slice(b",\"language\":\"");
    out.put_slice(head.language.name().as_bytes());
    out.put_slice(b"\",\"version\":");
    out.put_slice(digits.format(head.version).as_bytes());
    out.put_slice(b",\"opaque\":");
    out.put_slice(digits.format(head.opaque).as_bytes());
    out.put_slice(b",\"flag\":");
    out.put_slice(digits.format(head.flag).as_bytes());
    if let Some(remark) = remark {
        out.put_slice(b",\"remark\":");
        put_string(out, remark);
    }
    out.put_slice(b",\"extFields\":{");
    fields(out);
    out.put_slice(b"},\"serializeTypeCurrentRPC\":\"JSON\"}");
}

/// Writes one field.
pub(in crate::protocol) fn put_field(
    out: &mut BytesMut,
    first: &mut bool,
    name: &str,
    value: &str,
) {
    out.reserve(6 + name.len() + value.len());
    if !std::mem::take(first) {
        out.put_u8(b',');
    }
    put_string(out, name);
    out.put_u8(b':');
    put_string(out, value);
}

/// Writes a JSON string, with the escapes that it needs.
fn put_string(out: &mut BytesMut, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.put_u8(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.put_slice(&bytes[start..at]);
        start = at + 1;
        match byte {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            _ => out.put_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]),
        }
    }
    out.put_slice(&bytes[start..]);
    out.put_u8(b'"');
}

/// Reads a whole header.
#[inline]
pub(in crate::protocol) fn decode(header: Bytes, body: Bytes) -> Result<Command, DecodeError> {
    let text = Text::try_from(header).map_err(|_| DecodeError::Invalid {
        what: "JSON header",
        offset: 0,
        reason: "not UTF-8",
    })?;
    let mut head = Head {
        code: 0,
        language: Language::OTHER,
        version: 0,
        opaque: 0,
        flag: 0,
    };
    let mut remark = None;
    let mut fields = None;
    let mut seen_code = false;
    let mut scanner = Scanner::new(text.as_str());
    scanner.open_object()?;
    while let Some(name) = scanner.next_name()? {
        match &*name {
            "code" => {
                head.code = scanner.integer("code")?;
                seen_code = true;
            }
            "version" => head.version = scanner.integer("version")?,
            "opaque" => head.opaque = scanner.integer("opaque")?,
            "flag" => head.flag = scanner.integer("flag")?,
            "language" => {
                head.language = scanner
                    .text()?
                    .map_or(Language::OTHER, |name| Language::from_name(&name))
            }
            "remark" => {
                remark = scanner
                    .text()?
                    .map(|remark| Text::from(remark.into_owned()))
            }
            "extFields" => fields = scanner.fields()?,
            _ => scanner.skip_value()?,
        }
    }
    scanner.end()?;
    if !seen_code {
        return Err(DecodeError::MissingField { name: "code" });
    }
    let fields = fields.map_or_else(
        || JsonFields::new(Text::default(), Spans::default()),
        |(range, spans)| JsonFields::new(text.slice(range), spans),
    );
    Ok(Command {
        head,
        remark,
        fields: Fields::Json(fields),
        body,
    })
}
