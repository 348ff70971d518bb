//! Compresses and inflates message bodies.
//!
//! Knows: the codecs that Java's clients use, and how to inflate foreign bytes within a limit. Does not know: which messages are
//! worth compressing, and where a message says its codec
//! ([`SysFlag`](crate::protocol::message::SysFlag) does).

use bytes::Bytes;

use crate::protocol::DecodeError;

#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "zlib")]
mod zlib;
#[cfg(feature = "zstd")]
mod zstd;

/// How a body is compressed. Each codec needs the cargo feature of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// The zlib format (RFC 1950): Java's default, and the only one that every client reads.
    Zlib,
    /// LZ4 frames, with blocks that do not depend on each other.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

impl Codec {
    /// The codec's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zlib => "zlib",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    #[cfg(not(all(feature = "zlib", feature = "lz4", feature = "zstd")))]
    const fn missing(self) -> DecodeError {
        DecodeError::MissingCodec {
            codec: self.name(),
            feature: self.name(),
        }
    }

    #[cfg(any(feature = "zlib", feature = "lz4", feature = "zstd"))]
    const fn invalid(self, offset: usize, reason: &'static str) -> DecodeError {
        let what = match self {
            Self::Zlib => "zlib body",
            Self::Lz4 => "lz4 body",
            Self::Zstd => "zstd body",
        };
        DecodeError::Invalid {
            what,
            offset,
            reason,
        }
    }
}

/// Compresses `body`.
///
/// `level` trades speed for size: 0 to 9 for zlib, 1 to 22 for Zstandard, ignored by LZ4; a value outside becomes the nearest one
/// inside. Java's clients use 5.
///
/// # Errors
///
/// [`DecodeError::MissingCodec`] if the crate was built without the codec, and [`DecodeError::Invalid`] if the codec itself fails,
/// which takes a lack of memory.
pub fn compress(codec: Codec, level: u32, body: &[u8]) -> Result<Bytes, DecodeError> {
    match codec {
        #[cfg(feature = "zlib")]
        Codec::Zlib => zlib::compress(level, body),
        #[cfg(feature = "lz4")]
        Codec::Lz4 => lz4::compress(body),
        #[cfg(feature = "zstd")]
        Codec::Zstd => zstd::compress(level, body),
        #[cfg(not(all(feature = "zlib", feature = "lz4", feature = "zstd")))]
        missing => {
            let _ = (level, body);
            Err(missing.missing())
        }
    }
}

/// Inflates `body` to at most `limit` bytes.
///
/// Memory follows what has been inflated, never a size that the body declares. The body must be one whole stream and nothing more.
///
/// # Errors
///
/// [`DecodeError::MissingCodec`] if the crate was built without the codec, [`DecodeError::InflatesPastLimit`], and
/// [`DecodeError::Invalid`] if the stream is corrupt, cut short, or followed by other bytes.
pub fn decompress(codec: Codec, body: &[u8], limit: usize) -> Result<Bytes, DecodeError> {
    match codec {
        #[cfg(feature = "zlib")]
        Codec::Zlib => zlib::decompress(body, limit),
        #[cfg(feature = "lz4")]
        Codec::Lz4 => lz4::decompress(body, limit),
        #[cfg(feature = "zstd")]
        Codec::Zstd => zstd::decompress(body, limit),
        #[cfg(not(all(feature = "zlib", feature = "lz4", feature = "zstd")))]
        missing => {
            let _ = (body, limit);
            Err(missing.missing())
        }
    }
}

/// The plain body while it is being inflated.
#[cfg(any(feature = "zlib", feature = "zstd"))]
struct Inflated {
    bytes: Vec<u8>,
    codec: Codec,
    limit: usize,
}

#[cfg(any(feature = "zlib", feature = "zstd"))]
impl Inflated {
    fn new(codec: Codec, received: usize, limit: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(received.saturating_mul(2).min(limit)),
            codec,
            limit,
        }
    }

    /// The buffer with room for at least one more byte: as much again as it holds, up to one byte past the limit.
    fn with_room(&mut self) -> Result<&mut Vec<u8>, DecodeError> {
        const SMALLEST_STEP: usize = 1024;
        self.check()?;
        if self.bytes.len() == self.bytes.capacity() {
            let left = self.limit - self.bytes.len();
            self.bytes.reserve_exact(
                self.bytes
                    .len()
                    .max(SMALLEST_STEP)
                    .min(left.saturating_add(1)),
            );
        }
        Ok(&mut self.bytes)
    }

    fn finish(self) -> Result<Bytes, DecodeError> {
        self.check()?;
        Ok(Bytes::from(self.bytes))
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.bytes.len() <= self.limit {
            return Ok(());
        }
        Err(DecodeError::InflatesPastLimit {
            codec: self.codec.name(),
            limit: self.limit,
        })
    }
}

#[cfg(test)]
mod tests;
