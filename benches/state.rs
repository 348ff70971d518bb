//! How long the pure state takes that can be reached from outside: `cargo bench --bench state`.
//!
//! Calls that wait for an answer and messages that wait for a listener are not reached: what they cost is in `load`.

#![allow(missing_docs, reason = "a program has no outside")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rocketmq_sdk::protocol::message::{OffsetMessageId, Properties, TagFilter, UniqueIdGenerator};
use rocketmq_sdk::protocol::message::{ids, tags};
use rocketmq_sdk::{AllocateStrategy, Average, Message, MessageQueue};

fn identify(c: &mut Criterion) {
    let mut group = c.benchmark_group("id");
    let ids = UniqueIdGenerator::new([10, 0, 0, 7].into(), 4711, 42);
    group.bench_function("unique", |b| {
        let mut buffer = [0; ids::MAX_LEN];
        b.iter(|| black_box(ids.next(black_box(1_764_000_000_000), &mut buffer)).len());
    });
    group.bench_function("decode offset id", |b| {
        b.iter(|| {
            OffsetMessageId::decode(black_box(
                "0A000007 00002A9F 0000000000000007"
                    .split(' ')
                    .collect::<String>()
                    .as_str(),
            ))
        });
    });
    group.finish();
}

fn select(c: &mut Criterion) {
    let mut group = c.benchmark_group("select");
    group.bench_function("hash of a tag", |b| {
        b.iter(|| tags::java_hash(black_box("TagA")));
    });
    let filter = TagFilter::parse("TagA || TagB || TagC");
    group.bench_function("filter by tag", |b| {
        b.iter(|| {
            black_box(&filter)
                .as_ref()
                .map(|filter| filter.matches(Some("TagB")))
        });
    });
    group.finish();
}

fn make(c: &mut Criterion) {
    let mut group = c.benchmark_group("make");
    group.bench_function("a message with a tag, a key and a property", |b| {
        b.iter_batched(
            || (),
            |()| {
                Message::builder("orders")
                    .tag("TagA")
                    .key("order-1")
                    .property("shop", "7")
                    .body("x")
                    .build()
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("three properties", |b| {
        b.iter(|| {
            let mut properties = Properties::new();
            for name in ["KEYS", "TAGS", "shop"] {
                properties.push(name, "value");
            }
            properties.get("shop").map(str::len)
        });
    });
    group.finish();
}

fn allocate(c: &mut Criterion) {
    let mut group = c.benchmark_group("allocate");
    let queues: Vec<_> = (0..1024)
        .map(|id| MessageQueue::new("orders", "broker-a", id))
        .collect();
    let members: Vec<_> = (0..1000)
        .map(|id| format!("10.0.0.7@4711#{id:03}"))
        .collect();
    group.bench_function("1,024 queues, all of 1,000 members", |b| {
        b.iter(|| {
            let shares = members
                .iter()
                .map(|me| Average.allocate(me, &members, &queues).len());
            assert_eq!(shares.sum::<usize>(), queues.len());
        });
    });
    group.finish();
}

criterion_group!(benches, identify, select, make, allocate);
criterion_main!(benches);
