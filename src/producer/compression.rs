//! How a producer compresses bodies.

use bytes::Bytes;

use crate::protocol::compress::{self, Codec};

/// What is compressed on the task that sends it; what is larger, or takes a higher level, elsewhere.
const QUICK_SIZE: usize = 16 * 1024;
const QUICK_LEVEL: u32 = 9;

/// How bodies are compressed. A codec needs the cargo feature of its name, in consumers too; Java's clients from 5.0 on read all of
/// them, older ones only zlib.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    Off,
    /// By zlib, as Java's clients do by default.
    Zlib,
    /// By LZ4: little work, and less gained.
    Lz4,
    /// By Zstandard: less work than zlib, and more gained.
    Zstd,
}

/// The settings of one producer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packing {
    pub(super) compression: Compression,
    pub(super) level: u32,
    /// Bodies of this size or more are compressed.
    pub(super) over: usize,
}

impl Default for Packing {
    fn default() -> Self {
        let compression = if cfg!(feature = "zlib") {
            Compression::Zlib
        } else {
            Compression::Off
        };
        Self {
            compression,
            level: 5,
            over: 4096,
        }
    }
}

impl Packing {
    /// What is wrong with the settings.
    pub(super) fn check(&self) -> Result<(), String> {
        let levels = match self.compression {
            Compression::Zlib => 0..=9,
            Compression::Zstd => 1..=22,
            Compression::Off | Compression::Lz4 => 0..=u32::MAX,
        };
        let Some(codec) = self.codec() else {
            return Ok(());
        };
        let (name, level) = (codec.name(), self.level);
        if !levels.contains(&level) {
            let (least, most) = levels.into_inner();
            return Err(format!(
                "compression_level is {level}; {name} has {least} to {most}"
            ));
        }
        compress::compress(codec, level, b"x")
            .map(drop)
            .map_err(|error| format!("compression is {name}: {error}"))
    }

    /// The codec for a body of this size, if it is to be compressed.
    pub(super) fn codec_for(&self, size: usize) -> Option<Codec> {
        self.codec().filter(|_| size >= self.over)
    }

    /// Whether a body of this size is compressed in about half a millisecond.
    pub(super) const fn is_quick(&self, size: usize) -> bool {
        size <= QUICK_SIZE && self.level <= QUICK_LEVEL
    }

    /// The compressed body, if it is smaller.
    pub(super) fn pack(&self, codec: Codec, body: &Bytes) -> Option<Bytes> {
        let packed = compress::compress(codec, self.level, body).ok()?;
        (packed.len() < body.len()).then_some(packed)
    }

    const fn codec(&self) -> Option<Codec> {
        match self.compression {
            Compression::Off => None,
            Compression::Zlib => Some(Codec::Zlib),
            Compression::Lz4 => Some(Codec::Lz4),
            Compression::Zstd => Some(Codec::Zstd),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packing(compression: Compression, level: u32) -> Packing {
        Packing {
            compression,
            level,
            over: 100,
        }
    }

    #[test]
    fn a_level_is_one_of_the_codec_s() {
        for (compression, level, named) in [
            (Compression::Zlib, 10, "zlib has 0 to 9"),
            (Compression::Zstd, 0, "zstd has 1 to 22"),
            (Compression::Zstd, 23, "compression_level is 23"),
        ] {
            let said = packing(compression, level).check().unwrap_err();
            assert!(said.contains(named), "{said}");
        }
        packing(Compression::Off, 99).check().unwrap();
    }

    #[test]
    fn a_codec_that_is_not_built_in_is_named() {
        for (compression, feature, built) in [
            (Compression::Zlib, "zlib", cfg!(feature = "zlib")),
            (Compression::Lz4, "lz4", cfg!(feature = "lz4")),
            (Compression::Zstd, "zstd", cfg!(feature = "zstd")),
        ] {
            match packing(compression, 5).check() {
                Ok(()) => assert!(built, "{feature}"),
                Err(said) => assert!(!built && said.contains(feature), "{said}"),
            }
        }
        Packing::default().check().unwrap();
    }

    #[cfg(feature = "zlib")]
    #[test]
    fn what_is_too_small_or_does_not_get_smaller_stays_as_it_is() {
        let packing = packing(Compression::Zlib, 5);
        assert_eq!(packing.codec_for(99), None);
        assert_eq!(packing.codec_for(100), Some(Codec::Zlib));
        let noise: Bytes = (0..=255).collect::<Vec<u8>>().into();
        assert_eq!(packing.pack(Codec::Zlib, &noise), None);
        assert!(
            packing
                .pack(Codec::Zlib, &Bytes::from(vec![0; 200]))
                .unwrap()
                .len()
                < 200
        );
        assert_eq!(
            Packing {
                compression: Compression::Off,
                ..packing
            }
            .codec_for(1000),
            None
        );
    }
}
