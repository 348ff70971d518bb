//! How many instructions the codec takes, and how many blocks of memory: `cargo bench --bench instructions`.
//!
//! The numbers hardly depend on the machine or its load, so that they have limits here: over one the run fails. It needs valgrind, and
//! `gungraun-runner` in the version of `gungraun` in `Cargo.lock`. A block that is allocated is the counter of a shared buffer.

#![allow(missing_docs, unreachable_pub, reason = "a program has no outside")]
#![allow(unused_qualifications, reason = "what gungraun writes has them")]

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use gungraun::prelude::*;
use gungraun::{Callgrind, Dhat, DhatMetric, EventKind};
use rocketmq_sdk::protocol::DecodeError;
use rocketmq_sdk::protocol::code::RequestCode;
use rocketmq_sdk::protocol::command::{Command, Serialization};
use rocketmq_sdk::protocol::fields::Header;
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::protocol::message::{StoredMessages, UniqueIdGenerator, ids};
use rocketmq_sdk::protocol::request::pull_message::{PullMessage, PullMessageResponse};
use rocketmq_sdk::protocol::request::send_message::{SendMessage, SendMessageResponse};

mod samples;

use Serialization::{Binary, Json};

/// The most that may be used: instructions, and blocks of memory.
fn limits(instructions: u64, blocks: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config
        .tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions)]))
        .tool(Dhat::default().hard_limits([(DhatMetric::TotalBlocks, blocks)]));
    config
}

#[library_benchmark]
#[bench::binary(args = (samples::buffer(), samples::send(), Binary), config = limits(1_500, 0))]
#[bench::json(args = (samples::buffer(), samples::send(), Json), config = limits(6_000, 0))]
fn encode_send(mut out: BytesMut, header: SendMessage<'static>, form: Serialization) -> BytesMut {
    samples::encode(
        &mut out,
        RequestCode::SEND_MESSAGE_V2,
        black_box(&header),
        form,
    );
    out
}

#[library_benchmark]
#[bench::binary(args = (samples::buffer(), samples::pull(), Binary), config = limits(1_800, 0))]
#[bench::json(args = (samples::buffer(), samples::pull(), Json), config = limits(6_000, 0))]
fn encode_pull(mut out: BytesMut, header: PullMessage<'static>, form: Serialization) -> BytesMut {
    samples::encode(
        &mut out,
        RequestCode::PULL_MESSAGE,
        black_box(&header),
        form,
    );
    out
}

#[library_benchmark]
#[bench::of_32(args = (samples::buffer()), config = limits(6_000, 0))]
fn encode_batch(mut out: BytesMut) -> BytesMut {
    samples::batch(&mut out);
    out
}

#[library_benchmark]
#[bench::binary(args = (samples::sent(Binary)), config = limits(2_000, 1))]
#[bench::json(args = (samples::sent(Json)), config = limits(6_000, 1))]
fn decode_sent(mut input: BytesMut) -> Result<Option<Command>, DecodeError> {
    let command = frame::decode(&mut input);
    if let Ok(Some(command)) = &command {
        let header: SendMessageResponse<'_> = header(command);
        black_box(&header);
    }
    // As it is, so that no copying is counted that only the bench does.
    command
}

#[library_benchmark]
#[bench::of_one(args = (samples::found(1)), config = limits(3_000, 1))]
#[bench::of_32(args = (samples::found(32)), config = limits(40_000, 1))]
fn decode_found(mut input: BytesMut) -> usize {
    let command = decode(&mut input);
    let header: PullMessageResponse = header(&command);
    black_box(&header);
    let messages = StoredMessages::new(command.body);
    messages
        .map(|message| black_box(message).expect("a message").body.len())
        .sum()
}

#[library_benchmark]
#[bench::of_1_kib(args = (samples::stored(1)), config = limits(1_500, 1))]
fn decode_stored(input: Bytes) -> usize {
    let messages = StoredMessages::new(input);
    messages
        .map(|message| black_box(message).expect("a message").body.len())
        .sum()
}

#[library_benchmark]
#[bench::next(args = (UniqueIdGenerator::new([10, 0, 0, 7].into(), 4711, 42)), config = limits(300, 0))]
fn unique_id(generator: UniqueIdGenerator) -> UniqueIdGenerator {
    let mut buffer = [0; ids::MAX_LEN];
    black_box(generator.next(black_box(1_764_000_000_000), &mut buffer));
    generator
}

fn decode(input: &mut BytesMut) -> Command {
    frame::decode(input).expect("a frame").expect("a whole one")
}

fn header<'a, H: Header<'a>>(command: &'a Command) -> H {
    command.header().expect("a header")
}

library_benchmark_group!(
    name = codec,
    benchmarks = [
        encode_send,
        encode_pull,
        encode_batch,
        decode_sent,
        decode_found,
        decode_stored,
        unique_id
    ]
);

main!(library_benchmark_groups = codec);
