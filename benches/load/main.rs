//! The load program: one workload against running servers, one JSON line of results.
//!
//! `cargo bench --bench load -- WORKLOAD --namesrv A --topic T --count N --body BYTES --conc C --warmup W`. Workloads: `sync1` (one in
//! flight), `conc` (C tasks), `async` (callbacks, C in flight), `oneway` (bursts of 5,000 with one acknowledged send behind each),
//! `batch` (batches of 32, one after the other),
//! `drain` (a push consumer reads N messages that are there), `e2e` (500 messages a second, timed at the listener), `start` (N times: an
//! embedded cluster, then a producer up to its first acknowledged send; needs no servers). The line has
//! the CPU time of this process in the measured part, its peak memory, and the broker's CPU time where `BROKER_PID` names it.
//! The runtime has one thread unless `LOAD_THREADS` says otherwise.

#![allow(unreachable_pub, reason = "a program has no outside")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use rocketmq_sdk::{
    ConsumeFromWhere, ConsumeStatus, DefaultProducer, Message, MessageExt, PushConsumer,
    PushConsumerBuilder,
};
use tokio::sync::Semaphore;

mod measure;

use measure::{Measured, Numbers};

#[derive(Parser, Clone)]
struct Args {
    workload: String,
    #[arg(long, default_value = "127.0.0.1:9876")]
    namesrv: String,
    #[arg(long, default_value = "bench")]
    topic: String,
    #[arg(long, default_value_t = 10_000)]
    count: usize,
    #[arg(long, default_value_t = 1024)]
    body: usize,
    #[arg(long, default_value_t = 64)]
    conc: usize,
    #[arg(long, default_value_t = 0)]
    warmup: usize,
    /// `cargo bench` adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How many messages a batch has.
const BATCH: usize = 32;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let args = Args::parse();
    let threads = std::env::var("LOAD_THREADS")
        .ok()
        .and_then(|threads| threads.parse().ok())
        .unwrap_or(1);
    let runtime = match threads {
        1 => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?,
        _ => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()?,
    };
    let numbers = runtime.block_on(run(&args))?;
    numbers.print(&args.workload, args.count, args.body, args.conc);
    Ok(())
}

async fn run(args: &Args) -> Outcome<Numbers> {
    match &*args.workload {
        "drain" => drain(args).await,
        "e2e" => end_to_end(args).await,
        "start" => start(args).await,
        workload => {
            let load = Load::start(args).await?;
            if args.warmup > 0 {
                load.send(workload, args.warmup).await?;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            load.errors.store(0, Ordering::Relaxed);
            let measured = Measured::begin();
            let latencies = load.send(workload, args.count).await?;
            let mut numbers = measured.end(args.count, latencies);
            numbers.errors = load.errors.load(Ordering::Relaxed);
            numbers.first_ack_ms = load.first_ack_ms;
            load.producer.shutdown().await?;
            Ok(numbers)
        }
    }
}

/// A producer, and what its messages are made of: send time (ns), sequence, run id, filler.
struct Load {
    args: Args,
    producer: DefaultProducer,
    base: Instant,
    run: i64,
    errors: Arc<AtomicU64>,
    first_ack_ms: f64,
}

impl Load {
    async fn start(args: &Args) -> Outcome<Arc<Self>> {
        let producer = DefaultProducer::builder("pg_ours")
            .name_server(&args.namesrv)
            .start()
            .await?;
        let run = unix_nanos();
        let mut load = Self {
            args: args.clone(),
            producer,
            base: Instant::now(),
            run,
            errors: Arc::default(),
            first_ack_ms: -1.0,
        };
        load.producer.send(load.message(-1)).await?;
        if let Some(begun) = std::env::var("BENCH_T0_NS")
            .ok()
            .and_then(|begun| begun.parse::<i64>().ok())
        {
            load.first_ack_ms = (unix_nanos() - begun) as f64 / 1e6;
        }
        Ok(Arc::new(load))
    }

    fn message(&self, sequence: i64) -> Message {
        let mut body = vec![b'x'; self.args.body.max(24)];
        let sent = self.base.elapsed().as_nanos() as i64;
        body[..8].copy_from_slice(&sent.to_be_bytes());
        body[8..16].copy_from_slice(&sequence.to_be_bytes());
        body[16..24].copy_from_slice(&self.run.to_be_bytes());
        Message::new(&*self.args.topic, body)
    }

    async fn send(self: &Arc<Self>, workload: &str, count: usize) -> Outcome<Vec<u64>> {
        match workload {
            "sync1" => Ok(self.in_turn(&AtomicUsize::new(0), count).await),
            "conc" => self.concurrently(count).await,
            "async" => self.by_callback(count).await,
            "oneway" => Ok(self.oneway(count).await),
            "batch" => Ok(self.in_batches(count).await),
            other => Err(format!("unknown workload {other}").into()),
        }
    }

    async fn in_turn(&self, next: &AtomicUsize, count: usize) -> Vec<u64> {
        let mut latencies = Vec::with_capacity(count.min(1 << 20));
        loop {
            let sequence = next.fetch_add(1, Ordering::Relaxed);
            if sequence >= count {
                return latencies;
            }
            let begun = Instant::now();
            let outcome = self.producer.send(self.message(sequence as i64)).await;
            self.note(outcome.err());
            latencies.push(begun.elapsed().as_nanos() as u64);
        }
    }

    async fn concurrently(self: &Arc<Self>, count: usize) -> Outcome<Vec<u64>> {
        let next = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..self.args.conc)
            .map(|_| {
                let (load, next) = (Arc::clone(self), Arc::clone(&next));
                tokio::spawn(async move { load.in_turn(&next, count).await })
            })
            .collect();
        let mut latencies = Vec::with_capacity(count);
        for task in tasks {
            latencies.extend(task.await?);
        }
        Ok(latencies)
    }

    async fn by_callback(self: &Arc<Self>, count: usize) -> Outcome<Vec<u64>> {
        let room = Arc::new(Semaphore::new(self.args.conc));
        let latencies: Arc<Vec<AtomicU64>> =
            Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
        for sequence in 0..count {
            let permit = Arc::clone(&room).acquire_owned().await?;
            let (load, latencies) = (Arc::clone(self), Arc::clone(&latencies));
            let begun = Instant::now();
            self.producer
                .send_callback(self.message(sequence as i64), move |outcome| {
                    load.note(outcome.err());
                    latencies[sequence].store(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
                    drop(permit);
                });
        }
        let all = room.acquire_many(self.args.conc as u32).await?;
        drop(all);
        Ok(latencies
            .iter()
            .map(|latency| latency.load(Ordering::Relaxed))
            .collect())
    }

    async fn oneway(&self, count: usize) -> Vec<u64> {
        let mut latencies = Vec::with_capacity(count);
        for sequence in 0..count {
            let begun = Instant::now();
            self.note(
                self.producer
                    .send_oneway(self.message(sequence as i64))
                    .await
                    .err(),
            );
            latencies.push(begun.elapsed().as_nanos() as u64);
            if (sequence + 1) % 5000 == 0 {
                self.note(self.producer.send(self.message(-2)).await.err());
            }
        }
        latencies
    }

    /// Batches of 32, one after the other; the latencies are a batch's.
    async fn in_batches(&self, count: usize) -> Vec<u64> {
        let mut latencies = Vec::with_capacity(count.div_ceil(BATCH));
        for first in (0..count).step_by(BATCH) {
            let batch = (first..count.min(first + BATCH)).map(|at| self.message(at as i64));
            let batch = batch.collect();
            let begun = Instant::now();
            self.note(self.producer.send_batch(batch).await.err());
            latencies.push(begun.elapsed().as_nanos() as u64);
        }
        latencies
    }

    fn note(&self, error: Option<rocketmq_sdk::Error>) {
        if let Some(error) = error
            && self.errors.fetch_add(1, Ordering::Relaxed) < 5
        {
            eprintln!("{error}");
        }
    }
}

fn consumer(args: &Args, group: String, from: ConsumeFromWhere) -> PushConsumerBuilder {
    PushConsumer::builder(group)
        .name_server(&args.namesrv)
        .subscribe(&*args.topic, "*")
        .consume_from(from)
}

fn number(message: &MessageExt, at: usize) -> i64 {
    message.body().get(at..at + 8).map_or(-1, |bytes| {
        i64::from_be_bytes(bytes.try_into().expect("eight bytes"))
    })
}

/// In what a latency is noted.
const NOTED_NANOS: i64 = 100;

/// Counts the sequence numbers that came, and how often one came again.
struct Seen {
    /// What was noted of each. Four bytes, as the peers' programs have for each message: a drain's memory is the client's.
    seen: Vec<AtomicU32>,
    distinct: AtomicUsize,
    again: AtomicUsize,
    first: AtomicI64,
    target: usize,
    done: tokio::sync::Notify,
}

impl Seen {
    fn new(count: usize, target: usize) -> Arc<Self> {
        Arc::new(Self {
            seen: (0..count).map(|_| AtomicU32::new(0)).collect(),
            distinct: AtomicUsize::new(0),
            again: AtomicUsize::new(0),
            first: AtomicI64::new(0),
            target,
            done: tokio::sync::Notify::new(),
        })
    }

    fn note(&self, sequence: i64, value: u32) {
        let Some(seen) = usize::try_from(sequence)
            .ok()
            .and_then(|at| self.seen.get(at))
        else {
            return;
        };
        if seen.swap(value.max(1), Ordering::Relaxed) != 0 {
            self.again.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let distinct = self.distinct.fetch_add(1, Ordering::Relaxed) + 1;
        if distinct == 1 {
            self.first.store(unix_nanos(), Ordering::Relaxed);
        }
        if distinct == self.target {
            self.done.notify_one();
        }
    }
}

async fn drain(args: &Args) -> Outcome<Numbers> {
    if args.warmup > 0 {
        drain_once(args, "warm", args.warmup.min(args.count)).await?;
    }
    drain_once(args, "run", args.count).await
}

async fn drain_once(args: &Args, kind: &str, target: usize) -> Outcome<Numbers> {
    let seen = Seen::new(args.count, target);
    let builder = consumer(
        args,
        format!("cg_ours_{kind}_{}", unix_nanos()),
        ConsumeFromWhere::FirstOffset,
    );
    let builder = builder.listener_with(Arc::clone(&seen), |seen, messages| async move {
        messages
            .iter()
            .for_each(|message| seen.note(number(message, 8), 1));
        ConsumeStatus::CONSUME_SUCCESS
    });
    let (measured, begun) = (Measured::begin(), unix_nanos());
    let consumer = builder.start().await?;
    let ended = tokio::time::timeout(Duration::from_secs(120), seen.done.notified()).await;
    let mut numbers = measured.end(target, Vec::new());
    if ended.is_err() {
        numbers.errors = (target - seen.distinct.load(Ordering::Relaxed)) as u64;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let first_ms = (seen.first.load(Ordering::Relaxed) - begun) as f64 / 1e6;
    numbers.extra = format!(
        ",\"dups\":{},\"first_msg_ms\":{first_ms:.1}",
        seen.again.load(Ordering::Relaxed)
    );
    consumer.shutdown().await?;
    Ok(numbers)
}

async fn end_to_end(args: &Args) -> Outcome<Numbers> {
    let load = Load::start(args).await?;
    let seen = Seen::new(args.count, args.count);
    let builder = consumer(
        args,
        format!("cg_ours_{}", load.run),
        ConsumeFromWhere::LastOffset,
    );
    let state = (Arc::clone(&seen), Arc::clone(&load));
    let builder = builder.listener_with(state, |(seen, load), messages| async move {
        let now = load.base.elapsed().as_nanos() as i64;
        for message in messages
            .iter()
            .filter(|message| number(message, 16) == load.run)
        {
            let latency = (now - number(message, 0)) / NOTED_NANOS;
            let latency = u32::try_from(latency.max(1)).unwrap_or(u32::MAX);
            seen.note(number(message, 8), latency);
        }
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = builder.start().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for _ in 0..args.warmup {
        load.note(load.producer.send(load.message(-1)).await.err());
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    load.errors.store(0, Ordering::Relaxed);
    let measured = Measured::begin();
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    for sequence in 0..args.count {
        ticks.tick().await;
        load.note(
            load.producer
                .send(load.message(sequence as i64))
                .await
                .err(),
        );
    }
    // What is missing after ten seconds is counted below.
    let _ = tokio::time::timeout(Duration::from_secs(10), seen.done.notified()).await;
    let latencies = seen
        .seen
        .iter()
        .map(|latency| u64::from(latency.load(Ordering::Relaxed)) * NOTED_NANOS as u64)
        .collect();
    let mut numbers = measured.end(args.count, latencies);
    let missing = args.count - seen.distinct.load(Ordering::Relaxed);
    numbers.extra = format!(
        ",\"dups\":{},\"missing\":{missing}",
        seen.again.load(Ordering::Relaxed)
    );
    numbers.errors = load.errors.load(Ordering::Relaxed);
    numbers.first_ack_ms = load.first_ack_ms;
    load.producer.shutdown().await?;
    consumer.shutdown().await?;
    Ok(numbers)
}

/// The time from a producer's start to its first acknowledged send; the cluster's own start as `cluster_p50_us`.
async fn start(args: &Args) -> Outcome<Numbers> {
    let (mut clusters, mut first_sends) = (Vec::new(), Vec::new());
    let measured = Measured::begin();
    for _ in 0..args.count {
        let begun = Instant::now();
        let cluster = rocketmq_testkit::Cluster::start().await?;
        clusters.push(begun.elapsed().as_micros());
        let begun = Instant::now();
        let producer = DefaultProducer::builder("starter")
            .name_server(cluster.name_server_addr())
            .start()
            .await?;
        producer.send(Message::new(&*args.topic, "first")).await?;
        first_sends.push(begun.elapsed().as_nanos() as u64);
        producer.shutdown().await?;
        cluster.shutdown().await;
    }
    clusters.sort_unstable();
    let mut numbers = measured.end(args.count, first_sends);
    let median = clusters.get(clusters.len() / 2).copied().unwrap_or(0);
    numbers.extra = format!(
        ",\"cluster_p50_us\":{median},\"cluster_max_us\":{}",
        clusters.last().copied().unwrap_or(0)
    );
    Ok(numbers)
}

fn unix_nanos() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_nanos() as i64
}
