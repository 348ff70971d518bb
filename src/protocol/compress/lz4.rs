//! LZ4 frames. The blocks are `lz4_flex`'s work; the frame around them is read here.
//!
//! `lz4_flex` reads frames too, but it fills a buffer of the block size that a frame declares before it looks at the block, and Java
//! declares 4 MiB for every message.

use std::io::Write;

use bytes::Bytes;
use lz4_flex::{
    block::{DecompressError, decompress_into_with_dict},
    frame::{FrameEncoder, FrameInfo},
};

use super::Codec;
use crate::protocol::DecodeError;

const MAGIC: u32 = 0x184D_2204;

/// How far back a block may refer into the blocks before it.
const WINDOW: usize = 64 * 1024;

/// No block inflates to more than this many times its length.
const MAX_RATIO: usize = 255;

pub(super) fn compress(body: &[u8]) -> Result<Bytes, DecodeError> {
    let mut encoder = FrameEncoder::with_frame_info(FrameInfo::new(), Vec::new());
    encoder
        .write_all(body)
        .ok()
        .and_then(|()| encoder.finish().ok())
        .map(Bytes::from)
        .ok_or_else(|| Codec::Lz4.invalid(0, "cannot be compressed"))
}

pub(super) fn decompress(body: &[u8], limit: usize) -> Result<Bytes, DecodeError> {
    let mut input = Input { body, position: 0 };
    let header = FrameHeader::read(&mut input)?;
    let mut out = Vec::with_capacity(body.len().min(limit));
    loop {
        let size = input.u32()?;
        if size == 0 {
            break;
        }
        let offset = input.position;
        let block = input.take((size & 0x7FFF_FFFF) as usize)?;
        if block.len() > header.max_block {
            return Err(invalid(offset, "has a block longer than its header allows"));
        }
        if header.block_checksums && input.u32()? != xxh32(block) {
            return Err(invalid(offset, "has a block with a wrong checksum"));
        }
        if size & 0x8000_0000 == 0 {
            inflate_block(block, &header, &mut out, limit, offset)?;
        } else {
            let len = out.len() + block.len();
            if len > limit {
                return Err(past(limit));
            }
            reserve(&mut out, len, limit);
            out.extend_from_slice(block);
        }
    }
    if header.content_checksum && input.u32()? != xxh32(&out) {
        return Err(invalid(input.position - 4, "has a wrong checksum"));
    }
    if header
        .content_size
        .is_some_and(|size| size != out.len() as u64)
    {
        return Err(invalid(
            0,
            "does not have the size that its header declares",
        ));
    }
    if input.position < body.len() {
        return Err(invalid(input.position, "is followed by other bytes"));
    }
    Ok(Bytes::from(out))
}

/// Appends what `block` inflates to. The room for it is guessed, and quadrupled until it is enough.
fn inflate_block(
    block: &[u8],
    header: &FrameHeader,
    out: &mut Vec<u8>,
    limit: usize,
    offset: usize,
) -> Result<(), DecodeError> {
    let start = out.len();
    let window = if header.linked {
        start.saturating_sub(WINDOW)
    } else {
        start
    };
    let most = header.max_block.min(block.len().saturating_mul(MAX_RATIO));
    let allowed = most.min(limit - start);
    let mut room = block.len().saturating_mul(4).min(allowed);
    loop {
        reserve(out, start + room, limit);
        out.resize(start + room, 0);
        let (before, after) = out.split_at_mut(start);
        match decompress_into_with_dict(block, after, &before[window..]) {
            Ok(len) => {
                out.truncate(start + len);
                return Ok(());
            }
            Err(DecompressError::OutputTooSmall { .. }) if room < allowed => {
                room = room.saturating_mul(4).min(allowed);
            }
            Err(DecompressError::OutputTooSmall { .. }) if allowed < most => {
                return Err(past(limit));
            }
            Err(_) => return Err(invalid(offset, "has a corrupt block")),
        }
    }
}

/// Makes the buffer large enough for `len` bytes in all, which keep within the limit. It doubles, but never past the limit.
fn reserve(out: &mut Vec<u8>, len: usize, limit: usize) {
    if len > out.capacity() {
        let capacity = len.max(out.capacity().saturating_mul(2).min(limit));
        out.reserve_exact(capacity - out.len());
    }
}

struct FrameHeader {
    /// Whether blocks refer to those before them.
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_size: Option<u64>,
    /// The longest block, compressed or not.
    max_block: usize,
}

impl FrameHeader {
    fn read(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        if input.u32()? != MAGIC {
            return Err(invalid(0, "is no LZ4 frame"));
        }
        let start = input.position;
        let flags = input.take(1)?[0];
        let sizes = input.take(1)?[0];
        if flags >> 6 != 0b01 || flags & 0b10 != 0 || sizes & 0b1000_1111 != 0 {
            return Err(invalid(start, "has an unknown kind of header"));
        }
        if flags & 0b1 != 0 {
            return Err(invalid(start, "needs a dictionary"));
        }
        let max_block = match sizes >> 4 {
            size @ 4..=7 => 1 << (8 + 2 * size),
            _ => return Err(invalid(start + 1, "has an unknown block size")),
        };
        let content_size = if flags & 0b1000 == 0 {
            None
        } else {
            let low = u64::from(input.u32()?);
            Some(u64::from(input.u32()?) << 32 | low)
        };
        let expected = (xxh32(&input.body[start..input.position]) >> 8) as u8;
        if input.take(1)?[0] != expected {
            return Err(invalid(start, "has a header with a wrong checksum"));
        }
        Ok(Self {
            linked: flags & 0b10_0000 == 0,
            block_checksums: flags & 0b1_0000 != 0,
            content_checksum: flags & 0b100 != 0,
            content_size,
            max_block,
        })
    }
}

struct Input<'a> {
    body: &'a [u8],
    position: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.body[self.position..];
        let taken = rest
            .get(..len)
            .ok_or_else(|| invalid(self.position, "is cut short"))?;
        self.position += len;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        let offset = self.position;
        let bytes = self
            .take(4)?
            .first_chunk()
            .ok_or_else(|| invalid(offset, "is cut short"))?;
        Ok(u32::from_le_bytes(*bytes))
    }
}

fn invalid(offset: usize, reason: &'static str) -> DecodeError {
    Codec::Lz4.invalid(offset, reason)
}

fn past(limit: usize) -> DecodeError {
    DecodeError::InflatesPastLimit {
        codec: Codec::Lz4.name(),
        limit,
    }
}

/// The checksum of LZ4 frames: xxHash of 32 bits with seed 0.
fn xxh32(input: &[u8]) -> u32 {
    const P1: u32 = 0x9E37_79B1;
    const P2: u32 = 0x85EB_CA77;
    const P3: u32 = 0xC2B2_AE3D;
    const P4: u32 = 0x27D4_EB2F;
    const P5: u32 = 0x1656_67B1;

    let (words, rest) = input.as_chunks::<4>();
    let mut words = words.iter().map(|word| u32::from_le_bytes(*word));
    let mut hash = if input.len() < 16 {
        P5
    } else {
        let mut lanes = [P1.wrapping_add(P2), P2, 0, 0_u32.wrapping_sub(P1)];
        for _ in 0..input.len() / 16 {
            for (lane, word) in lanes.iter_mut().zip(words.by_ref().take(4)) {
                *lane = lane
                    .wrapping_add(word.wrapping_mul(P2))
                    .rotate_left(13)
                    .wrapping_mul(P1);
            }
        }
        let [a, b, c, d] = lanes;
        a.rotate_left(1)
            .wrapping_add(b.rotate_left(7))
            .wrapping_add(c.rotate_left(12))
            .wrapping_add(d.rotate_left(18))
    };
    hash = hash.wrapping_add(input.len() as u32);
    for word in words {
        hash = hash
            .wrapping_add(word.wrapping_mul(P3))
            .rotate_left(17)
            .wrapping_mul(P4);
    }
    for byte in rest {
        hash = hash
            .wrapping_add(u32::from(*byte).wrapping_mul(P5))
            .rotate_left(11)
            .wrapping_mul(P1);
    }
    hash = (hash ^ hash >> 15).wrapping_mul(P2);
    hash = (hash ^ hash >> 13).wrapping_mul(P3);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use lz4_flex::frame::{BlockMode, BlockSize};
    use proptest::prelude::*;

    use super::*;

    fn frame(info: FrameInfo, body: &[u8]) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn hashes_as_xxhash() {
        assert_eq!(xxh32(b""), 0x02CC_5D05);
        assert_eq!(xxh32(b"a"), 0x550D_7456);
        assert_eq!(xxh32(b"abc"), 0x32D1_53FF);
        assert_eq!(
            xxh32(b"Nobody inspects the spammish repetition"),
            0xE229_3B2F
        );
    }

    #[test]
    fn reads_every_kind_of_frame() {
        let body: Vec<u8> = (0..300_000_u32)
            .flat_map(|i| (i / 7).to_le_bytes())
            .collect();
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max4MB] {
                let info = FrameInfo::new()
                    .block_mode(mode)
                    .block_size(size)
                    .block_checksums(true)
                    .content_checksum(true)
                    .content_size(Some(body.len() as u64));
                let frame = frame(info, &body);
                assert_eq!(decompress(&frame, body.len()).unwrap(), body);
                assert_eq!(
                    decompress(&frame, body.len() - 1),
                    Err(past(body.len() - 1))
                );
            }
        }
    }

    #[test]
    fn notices_every_changed_byte_of_a_frame_with_checksums() {
        let info = FrameInfo::new()
            .block_checksums(true)
            .content_checksum(true);
        let frame = frame(info, &b"a body, a body, a body, a body".repeat(3));
        for place in 0..frame.len() {
            let mut changed = frame.clone();
            changed[place] ^= 0x10;
            decompress(&changed, 1_000).unwrap_err();
        }
    }

    #[test]
    fn a_stored_block_past_the_limit_is_refused() {
        let body: Vec<u8> = (0..200_u8).collect();
        let frame = frame(FrameInfo::new(), &body);
        assert!(frame.len() > body.len());
        assert_eq!(decompress(&frame, 200).unwrap(), body);
        assert_eq!(decompress(&frame, 199), Err(past(199)));
    }

    #[test]
    fn a_block_that_inflates_255_times_fits() {
        let body = vec![0; 4 << 20];
        let frame = frame(FrameInfo::new().block_size(BlockSize::Max4MB), &body);
        assert!(frame.len() < body.len() / 200);
        assert_eq!(decompress(&frame, body.len()).unwrap(), body);
        assert_eq!(decompress(&frame, 4_096), Err(past(4_096)));
    }

    proptest! {
        #[test]
        fn arbitrary_blocks_are_no_reason_to_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut frame = b"\x04\x22\x4D\x18\x60\x40\x82".to_vec();
            frame.extend((bytes.len() as u32).to_le_bytes());
            frame.append(&mut bytes);
            frame.extend([0; 4]);
            if let Ok(body) = decompress(&frame, 100) {
                prop_assert!(body.len() <= 100);
            }
        }
    }
}
