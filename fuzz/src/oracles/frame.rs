//! Frames: the same commands, and the same error at the end, however the stream was cut into pieces.

use bytes::{Buf, BytesMut};
use rocketmq_sdk::protocol::DecodeError;
use rocketmq_sdk::protocol::command::Command;
use rocketmq_sdk::protocol::frame;

use super::header::{Parts, parts};
use super::{SLACK, within};

/// Four bytes that say how the stream is cut, and the stream.
pub fn frame(input: &[u8]) {
    let Some((cuts, stream)) = input.split_first_chunk::<4>() else {
        return;
    };
    let mut received = BytesMut::from(stream);
    within(2 * stream.len() + SLACK, || {
        while let Ok(Some(command)) = frame::decode(&mut received) {
            for field in &command.fields {
                if field.is_err() {
                    break;
                }
            }
        }
    });

    let (whole, left) = read([stream]);
    let in_pieces = read(Pieces {
        stream,
        state: u32::from_be_bytes(*cuts),
    });
    assert_eq!((&whole, left), (&in_pieces.0, in_pieces.1));
    assert!(left <= stream.len());
    for (parts, body) in whole.iter().flatten() {
        parts.survive(body);
    }
}

/// What comes out of a stream up to its first error, and how much is left over.
fn read<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Result<(Parts, Vec<u8>), DecodeError>>, usize) {
    let (mut received, mut seen) = (BytesMut::new(), Vec::new());
    let mut failed = false;
    for piece in pieces {
        received.extend_from_slice(piece);
        while !failed {
            match frame::decode(&mut received) {
                Ok(Some(command)) => seen.push(Ok(take(&command))),
                Ok(None) => break,
                Err(error) => {
                    failed = true;
                    seen.push(Err(error));
                }
            }
        }
    }
    // What stands behind an error is of no interest to anyone, and may be there or not.
    (seen, if failed { 0 } else { received.remaining() })
}

fn take(command: &Command) -> (Parts, Vec<u8>) {
    (parts(command), command.body.to_vec())
}

/// Cuts a stream: mostly into small pieces, since those find more.
struct Pieces<'a> {
    stream: &'a [u8],
    state: u32,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.stream.is_empty() {
            return None;
        }
        self.state = self
            .state
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        let width = 1 << (self.state >> 28);
        let length = 1 + (self.state >> 8) as usize % width;
        let (piece, rest) = self.stream.split_at(length.min(self.stream.len()));
        self.stream = rest;
        Some(piece)
    }
}
