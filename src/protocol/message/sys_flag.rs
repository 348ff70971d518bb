//! The system flag of a message: what its body is, and which form its addresses have.
//!
//! Knows: the bits. Does not know: the codecs' work ([`compress`](crate::protocol::compress) does it).

use std::fmt;

use crate::protocol::{DecodeError, compress::Codec};

/// The system flag. Bits without a name survive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SysFlag(i32);

impl SysFlag {
    /// The body is compressed; [`codec`](Self::codec) says with what.
    pub const COMPRESSED: Self = Self(0x1);
    /// The message has several tags.
    pub const MULTI_TAGS: Self = Self(0x2);
    /// The address of the sender is IPv6.
    pub const BORN_HOST_V6: Self = Self(0x10);
    /// The address of the broker is IPv6.
    pub const STORE_HOST_V6: Self = Self(0x20);
    /// The client must take the inner messages out.
    pub const NEED_UNWRAP: Self = Self(0x40);
    /// The body is a batch of inner messages.
    pub const INNER_BATCH: Self = Self(0x80);

    const TRANSACTION_MASK: i32 = 0xC;
    const CODEC_MASK: i32 = 0x700;
    const LZ4: i32 = 0x100;
    const ZSTD: i32 = 0x200;
    const ZLIB: i32 = 0x300;

    /// The flag with these bits.
    pub const fn from_bits(bits: i32) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn bits(self) -> i32 {
        self.0
    }

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// This flag and the bits of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This flag without the bits of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The codec of a compressed body; `None` if the body is plain.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Invalid`] for a codec that the protocol does not define.
    pub fn codec(self) -> Result<Option<Codec>, DecodeError> {
        if !self.contains(Self::COMPRESSED) {
            return Ok(None);
        }
        match self.0 & Self::CODEC_MASK {
            // Clients older than the codec bits knew only zlib.
            0 | Self::ZLIB => Ok(Some(Codec::Zlib)),
            Self::LZ4 => Ok(Some(Codec::Lz4)),
            Self::ZSTD => Ok(Some(Codec::Zstd)),
            _ => Err(DecodeError::Invalid {
                what: "system flag",
                offset: 0,
                reason: "names an unknown codec",
            }),
        }
    }

    /// This flag for a body compressed with `codec`, or for a plain body.
    #[must_use]
    pub const fn with_codec(self, codec: Option<Codec>) -> Self {
        let plain = self.0 & !(Self::CODEC_MASK | Self::COMPRESSED.0);
        Self(match codec {
            None => plain,
            Some(Codec::Zlib) => plain | Self::COMPRESSED.0 | Self::ZLIB,
            Some(Codec::Lz4) => plain | Self::COMPRESSED.0 | Self::LZ4,
            Some(Codec::Zstd) => plain | Self::COMPRESSED.0 | Self::ZSTD,
        })
    }

    /// What the message is in a transaction.
    pub const fn transaction(self) -> TransactionType {
        match self.0 & Self::TRANSACTION_MASK {
            0x4 => TransactionType::Prepared,
            0x8 => TransactionType::Commit,
            0xC => TransactionType::Rollback,
            _ => TransactionType::None,
        }
    }

    /// This flag for a message that is `transaction` in a transaction.
    #[must_use]
    pub const fn with_transaction(self, transaction: TransactionType) -> Self {
        Self((self.0 & !Self::TRANSACTION_MASK) | transaction.bits())
    }
}

impl fmt::Debug for SysFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SysFlag({:#x})", self.0)
    }
}

/// What a message is in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TransactionType {
    /// Not part of a transaction.
    #[default]
    None,
    /// The half message that opens it.
    Prepared,
    /// Its commit.
    Commit,
    /// Its rollback.
    Rollback,
}

impl TransactionType {
    /// The value that the system flag and the end-of-transaction request carry.
    pub const fn bits(self) -> i32 {
        match self {
            Self::None => 0,
            Self::Prepared => 0x4,
            Self::Commit => 0x8,
            Self::Rollback => 0xC,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_codec() {
        let codec = |bits| SysFlag::from_bits(bits).codec();
        assert_eq!(codec(0x300), Ok(None));
        assert_eq!(codec(0x1), Ok(Some(Codec::Zlib)));
        assert_eq!(codec(0x301), Ok(Some(Codec::Zlib)));
        assert_eq!(codec(0x101), Ok(Some(Codec::Lz4)));
        assert_eq!(codec(0x201), Ok(Some(Codec::Zstd)));
        for bits in [0x401, 0x501, 0x601, 0x701] {
            assert!(codec(bits).is_err(), "{bits:#x}");
        }
    }

    #[test]
    fn sets_the_codec_and_keeps_the_rest() {
        let flag = SysFlag::from_bits(0x7000_0016);
        assert_eq!(flag.with_codec(Some(Codec::Zlib)).bits(), 0x7000_0317);
        let zstd = flag
            .with_codec(Some(Codec::Lz4))
            .with_codec(Some(Codec::Zstd));
        assert_eq!(zstd.bits(), 0x7000_0217);
        assert_eq!(zstd.with_codec(None), flag);
    }

    #[test]
    fn reads_and_sets_the_transaction() {
        for kind in [
            TransactionType::None,
            TransactionType::Prepared,
            TransactionType::Commit,
            TransactionType::Rollback,
        ] {
            let flag = SysFlag::from_bits(0x1F).with_transaction(kind);
            assert_eq!(flag.transaction(), kind);
            assert_eq!(flag.bits() & !0xC, 0x13);
        }
    }

    #[test]
    fn adds_and_takes_bits() {
        let flag = SysFlag::default()
            .with(SysFlag::INNER_BATCH)
            .with(SysFlag::NEED_UNWRAP);
        assert_eq!(flag.bits(), 0xC0);
        assert!(flag.contains(SysFlag::INNER_BATCH));
        assert!(
            !flag
                .without(SysFlag::INNER_BATCH)
                .contains(SysFlag::INNER_BATCH)
        );
        assert_eq!(format!("{flag:?}"), "SysFlag(0xc0)");
    }
}
