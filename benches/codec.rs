//! How long the codec takes: `cargo bench --bench codec`. Times are this machine's; `instructions` has numbers that compare.

#![allow(missing_docs, unreachable_pub, reason = "a program has no outside")]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rocketmq_sdk::protocol::code::RequestCode;
use rocketmq_sdk::protocol::command::Serialization;
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::protocol::message::StoredMessages;
use rocketmq_sdk::protocol::request::pull_message::PullMessageResponse;
use rocketmq_sdk::protocol::request::send_message::SendMessageResponse;

mod samples;

const FORMS: [Serialization; 2] = [Serialization::Binary, Serialization::Json];

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let (send, pull) = (samples::send(), samples::pull());
    let mut out = samples::buffer();
    for form in FORMS {
        group.bench_function(BenchmarkId::new("send", format!("{form:?}")), |b| {
            b.iter(|| {
                out.clear();
                samples::encode(
                    &mut out,
                    RequestCode::SEND_MESSAGE_V2,
                    black_box(&send),
                    form,
                );
            });
        });
        group.bench_function(BenchmarkId::new("pull", format!("{form:?}")), |b| {
            b.iter(|| {
                out.clear();
                samples::encode(&mut out, RequestCode::PULL_MESSAGE, black_box(&pull), form);
            });
        });
    }
    group.bench_function("batch of 32", |b| {
        b.iter(|| {
            out.clear();
            samples::batch(black_box(&mut out));
        });
    });
    group.finish();
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for form in FORMS {
        let bytes = samples::sent(form);
        group.bench_function(BenchmarkId::new("sent", format!("{form:?}")), |b| {
            b.iter_batched(
                || bytes.clone(),
                |mut input| {
                    let command = frame::decode(&mut input).expect("a frame").expect("whole");
                    let header: SendMessageResponse<'_> = command.header().expect("a header");
                    black_box(header.queue_offset);
                    command
                },
                BatchSize::SmallInput,
            );
        });
    }
    for count in [1, 32] {
        let bytes = samples::found(count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("found", count), |b| {
            b.iter_batched(
                || bytes.clone(),
                |mut input| {
                    let command = frame::decode(&mut input).expect("a frame").expect("whole");
                    let header: PullMessageResponse = command.header().expect("a header");
                    black_box(header);
                    StoredMessages::new(command.body).for_each(|message| drop(black_box(message)));
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, encode, decode);
criterion_main!(benches);
