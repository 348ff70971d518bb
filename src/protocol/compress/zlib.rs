//! zlib, by flate2's pure Rust backend.

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Codec, Inflated};
use crate::protocol::DecodeError;

const CUT_SHORT: &str = "is cut short";

pub(super) fn compress(level: u32, body: &[u8]) -> Result<Bytes, DecodeError> {
    let mut compress = Compress::new(Compression::new(level.min(9)), true);
    let mut out = Vec::with_capacity(body.len() / 2 + 64);
    loop {
        let done = compress.total_in() as usize;
        let status = compress
            .compress_vec(&body[done..], &mut out, FlushCompress::Finish)
            .map_err(|_| Codec::Zlib.invalid(done, "cannot be compressed"))?;
        match status {
            Status::StreamEnd => return Ok(Bytes::from(out)),
            Status::Ok | Status::BufError => out.reserve(out.len().max(64)),
        }
    }
}

pub(super) fn decompress(body: &[u8], limit: usize) -> Result<Bytes, DecodeError> {
    let mut stream = Decompress::new(true);
    let mut inflated = Inflated::new(Codec::Zlib, body.len(), limit);
    loop {
        let read = stream.total_in() as usize;
        let out = inflated.with_room()?;
        let before = out.len();
        let status = stream
            .decompress_vec(&body[read..], out, FlushDecompress::None)
            .map_err(|_| Codec::Zlib.invalid(read, "is corrupt"))?;
        let progress = stream.total_in() as usize > read || out.len() > before;
        match status {
            Status::StreamEnd => break,
            Status::Ok | Status::BufError if progress => {}
            Status::Ok | Status::BufError => return Err(Codec::Zlib.invalid(read, CUT_SHORT)),
        }
    }
    let read = stream.total_in() as usize;
    if read < body.len() {
        return Err(Codec::Zlib.invalid(read, "is followed by other bytes"));
    }
    inflated.finish()
}
