//! Reads the fields of one message.
//!
//! Knows: big-endian numbers, length fields, and where it is. Does not know: which fields a message has.

use bytes::Bytes;

use crate::protocol::DecodeError;

/// A position in the bytes of one message.
pub(super) struct Reader<'a> {
    bytes: &'a Bytes,
    position: usize,
    /// Where the message starts in what was received; only for errors.
    base: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a Bytes, base: usize) -> Self {
        Self {
            bytes,
            position: 0,
            base,
        }
    }

    /// Where the reader is, in what was received.
    pub(super) fn offset(&self) -> usize {
        self.base + self.position
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<&'a [u8; N], DecodeError> {
        match self.bytes[self.position..].first_chunk() {
            Some(array) => {
                self.position += N;
                Ok(array)
            }
            None => Err(self.truncated(what, N)),
        }
    }

    pub(super) fn i32(&mut self, what: &'static str) -> Result<i32, DecodeError> {
        self.array(what).map(|bytes| i32::from_be_bytes(*bytes))
    }

    /// A length field of 32 bits.
    pub(super) fn len32(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        let len = self.i32(what)?;
        usize::try_from(len).map_err(|_| self.negative(what, i64::from(len), 4))
    }

    /// A length field of 16 bits.
    pub(super) fn len16(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        let len = self.array(what).map(|bytes| i16::from_be_bytes(*bytes))?;
        usize::try_from(len).map_err(|_| self.negative(what, i64::from(len), 2))
    }

    /// The next `len` bytes, as a slice of the same buffer.
    pub(super) fn bytes(&mut self, len: usize, what: &'static str) -> Result<Bytes, DecodeError> {
        if len > self.bytes.len() - self.position {
            return Err(self.truncated(what, len));
        }
        let start = self.position;
        self.position += len;
        Ok(self.bytes.slice(start..start + len))
    }

    /// That nothing is left.
    pub(super) fn finish(&self, what: &'static str) -> Result<(), DecodeError> {
        if self.position == self.bytes.len() {
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
        let had = self.bytes.len() - self.position;
        DecodeError::Truncated {
            what,
            offset: self.offset(),
            needed,
            had,
        }
    }

    #[cold]
    fn negative(&self, what: &'static str, value: i64, width: usize) -> DecodeError {
        let max = (self.bytes.len() - self.position) as i64;
        DecodeError::OutOfRange {
            what,
            offset: self.offset() - width,
            value,
            min: 0,
            max,
        }
    }
}

/// Takes one message off the front of `input`: as many bytes as its size field declares, which are at least `min`.
///
/// `base` is where `input` starts in what was received. On an error `input` is as it was.
pub(super) fn split_message(
    input: &mut Bytes,
    base: usize,
    min: usize,
    what: &'static str,
) -> Result<Bytes, DecodeError> {
    let declared = Reader::new(input, base).i32(what)?;
    match usize::try_from(declared) {
        Ok(size) if size >= min && size <= input.len() => Ok(input.split_to(size)),
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
