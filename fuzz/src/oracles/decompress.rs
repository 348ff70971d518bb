//! Compressed bodies: within the limit, whatever the stream declares.

use bytes::Bytes;
use rocketmq_sdk::protocol::DecodeError;
use rocketmq_sdk::protocol::compress::{self, Codec};

use super::{SLACK, in_use, within};

/// What a codec works with, as far as it is allocated in Rust.
const TABLES: usize = 48 * 1024;

/// A byte that names the codec, two that give the limit in units of 4 bytes, and the stream.
pub fn decompress(input: &[u8]) {
    let Some((&[codec, high, low], stream)) = input.split_first_chunk::<3>() else {
        return;
    };
    let codec = [Codec::Zlib, Codec::Lz4, Codec::Zstd][usize::from(codec) % 3];
    let limit = usize::from(u16::from_be_bytes([high, low])) * 4;
    let Ok(body) = inflate(codec, stream, limit) else {
        return;
    };
    assert_eq!(inflate(codec, stream, body.len()).as_ref(), Ok(&body));
    if let Some(less) = body.len().checked_sub(1) {
        inflate(codec, stream, less).expect_err("the limit is smaller than the body");
    }
    let again = compress::compress(codec, 5, &body).expect("the codec is there");
    assert_eq!(inflate(codec, &again, body.len()), Ok(body));
}

/// Inflates, and asserts that what comes out holds on to `limit` bytes at most, and took twice as many while its buffer grew.
fn inflate(codec: Codec, stream: &[u8], limit: usize) -> Result<Bytes, DecodeError> {
    let before = in_use();
    let body = within(2 * limit + TABLES + SLACK, || {
        compress::decompress(codec, stream, limit)
    })?;
    assert!(body.len() <= limit);
    let held = in_use() - before;
    assert!(
        held <= limit + SLACK,
        "{held} bytes are still in use, at most {limit} may be"
    );
    Ok(body)
}
