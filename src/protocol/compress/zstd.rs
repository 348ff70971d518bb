//! Zstandard, by its own C library.
//!
//! The library sets aside the window that a frame declares, up to 128 MiB of address space, and touches only as much of it as the
//! body inflates to.

use bytes::Bytes;
use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer};

use super::{Codec, Inflated};
use crate::protocol::DecodeError;

pub(super) fn compress(level: u32, body: &[u8]) -> Result<Bytes, DecodeError> {
    zstd::bulk::compress(body, level.clamp(1, 22) as i32)
        .map(Bytes::from)
        .map_err(|_| Codec::Zstd.invalid(0, "cannot be compressed"))
}

pub(super) fn decompress(body: &[u8], limit: usize) -> Result<Bytes, DecodeError> {
    let mut context = DCtx::try_create()
        .ok_or_else(|| Codec::Zstd.invalid(0, "needs memory that is not there"))?;
    let mut input = InBuffer::around(body);
    let mut inflated = Inflated::new(Codec::Zstd, body.len(), limit);
    loop {
        let read = input.pos();
        let out = inflated.with_room()?;
        let before = out.len();
        let left = {
            let mut out = OutBuffer::around_pos(out, before);
            context
                .decompress_stream(&mut out, &mut input)
                .map_err(|_| Codec::Zstd.invalid(read, "is corrupt"))?
        };
        if left == 0 {
            break;
        }
        if input.pos() == read && out.len() == before {
            return Err(Codec::Zstd.invalid(read, "is cut short"));
        }
    }
    if input.pos() < body.len() {
        return Err(Codec::Zstd.invalid(input.pos(), "is followed by other bytes"));
    }
    inflated.finish()
}
