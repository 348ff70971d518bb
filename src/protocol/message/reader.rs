//! Reads the fields of one message.
//!
//! Knows: big-endian numbers, length fields, and where it is. Does not know: which fields a message has.

use bytes::Bytes;

use super::Text;
use crate::protocol::DecodeError;

/// A position in the bytes of one message.
pub(super) struct Reader<'a> {
    /// What the message is the front of.
    input: &'a Bytes,
    message: &'a [u8],
    position: usize,
    /// Where the message starts in what was received; only for errors.
    base: usize,
}

impl<'a> Reader<'a> {
    /// Reads the message that the first `size` bytes of `input` are, which the caller knows to be there.
    pub(super) fn new(input: &'a Bytes, size: usize, base: usize) -> Self {
        Self {
            input,
            message: &input[..size],
            position: 0,
            base,
        }
    }

    /// Where the reader is, in what was received.
    pub(super) fn offset(&self) -> usize {
        self.base + self.position
    }

    #[inline]
    pub(super) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<&'a [u8; N], DecodeError> {
        match self.message[self.position..].first_chunk() {
            Some(array) => {
                self.position += N;
                Ok(array)
            }
            None => Err(self.truncated(what, N)),
        }
    }

    #[inline]
    pub(super) fn i32(&mut self, what: &'static str) -> Result<i32, DecodeError> {
        self.array(what).map(|bytes| i32::from_be_bytes(*bytes))
    }

    /// A length field of 32 bits.
    #[inline]
    pub(super) fn len32(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        let len = self.i32(what)?;
        usize::try_from(len).map_err(|_| self.negative(what, i64::from(len), 4))
    }

    /// A length field of 16 bits.
    #[inline]
    pub(super) fn len16(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        let len = self.array(what).map(|bytes| i16::from_be_bytes(*bytes))?;
        usize::try_from(len).map_err(|_| self.negative(what, i64::from(len), 2))
    }

    /// The next `len` bytes as text that shares the buffer; see [`Text::from_utf8_lossy`].
    #[inline]
    pub(super) fn text(&mut self, len: usize, what: &'static str) -> Result<Text, DecodeError> {
        self.bytes(len, what).map(Text::from_utf8_lossy)
    }

    /// The next `len` bytes, as a slice of the same buffer.
    #[inline]
    pub(super) fn bytes(&mut self, len: usize, what: &'static str) -> Result<Bytes, DecodeError> {
        if len > self.message.len() - self.position {
            return Err(self.truncated(what, len));
        }
        let start = self.position;
        self.position += len;
        Ok(self.input.slice(start..start + len))
    }

    /// That nothing is left.
    pub(super) fn finish(&self, what: &'static str) -> Result<(), DecodeError> {
        if self.position == self.message.len() {
            return Ok(());
        }
        Err(DecodeError::Invalid {
            what,
            offset: self.offset(),
            reason: "the fields end before the declared size",
        })
    }

    #[cold]
    fn truncated(&self, what: &'static str, needed: usize) -> DecodeError {
        let had = self.message.len() - self.position;
        DecodeError::Truncated {
            what,
            offset: self.offset(),
            needed,
            had,
        }
    }

    #[cold]
    fn negative(&self, what: &'static str, value: i64, width: usize) -> DecodeError {
        let max = (self.message.len() - self.position) as i64;
        DecodeError::OutOfRange {
            what,
            offset: self.offset() - width,
            value,
            min: 0,
            max,
        }
    }
}

/// The size of the message at the front of `input`: what its size field declares, if that is at least `min` and there.
///
/// `base` is where `input` starts in what was received.
pub(super) fn message_size(
    input: &Bytes,
    base: usize,
    min: usize,
    what: &'static str,
) -> Result<usize, DecodeError> {
    let declared = Reader::new(input, input.len(), base).i32(what)?;
    match usize::try_from(declared) {
        Ok(size) if size >= min && size <= input.len() => Ok(size),
        Ok(size) if size >= min => Err(DecodeError::Truncated {
            what,
            offset: base,
            needed: size,
            had: input.len(),
        }),
        _ => Err(DecodeError::OutOfRange {
            what,
            offset: base,
            value: i64::from(declared),
            min: min as i64,
            max: input.len() as i64,
        }),
    }
}
