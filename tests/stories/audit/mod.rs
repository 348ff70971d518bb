//! The loss audit: many messages, many faults at random, and nothing that was acknowledged is lost.
//!
//! A plain run is a small one. `ROCKETMQ_TEST_AUDIT=messages=10000000,faults=1000` makes it a long one, by hand; CONTRIBUTING says how.
//! An audit is many rounds, each a trial of its own on real time and with sockets, and each is judged as every story under fault is. Every
//! second round runs on one thread, where the order of deliveries can be told, and the others on two.

mod fault;
mod plan;
mod round;
mod spoil;
mod tally;
mod world;

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};

use crate::history::Way;
use crate::target::Target;
use plan::Plan;
use round::Round;
use tally::Tally;

#[test]
fn an_audit_of_sends_that_are_awaited() {
    audit("sync", Way::Send);
}

#[test]
fn an_audit_of_sends_by_callback() {
    audit("callback", Way::Callback);
}

fn audit(name: &str, way: Way) {
    let plan = Plan::from_env();
    let is_testkit = std::env::var("ROCKETMQ_TEST_NAMESRV").is_err();
    if !is_testkit && !plan.is_long {
        return println!("skipped: on a real broker it is only done by hand");
    }
    let servers = (!is_testkit).then(|| runtime(1).block_on(Target::own_of(2, |builder| builder)));
    println!("{plan:?}");
    let (numbers, tally) = (Mutex::new(plan.numbers()), Mutex::new(Tally::default()));
    let began = Instant::now();
    let is_over = || plan.minutes.is_some_and(|limit| began.elapsed() > limit);
    let next = || numbers.lock().next().filter(|_| !is_over());
    let lane = || {
        while let Some(number) = next() {
            let round = Round::new(&plan, way, number);
            let runtime = runtime(round.threads());
            let (report, history) = runtime.block_on(round.run(servers.as_ref()));
            runtime.shutdown_timeout(Duration::from_secs(1));
            let mut tally = tally.lock();
            tally.add(number, round.faults(), &report);
            println!(
                "{name}, round {number}, after {:?}: {tally}",
                began.elapsed()
            );
            if let (Some(folder), false) = (&plan.folder, report.broken.is_empty()) {
                tally::leave(&folder.join(format!("{name}-{number}")), &report, &history);
            }
        }
    };
    std::thread::scope(|scope| {
        let lanes = if is_testkit { plan.lanes } else { 1 };
        for _ in 1..lanes {
            scope.spawn(lane);
        }
        lane();
    });
    let (tally, target) = (tally.into_inner(), plan::target(is_testkit));
    tally.write(&plan, &format!("{name} | push concurrent | {target}"));
    tally.assert_right();
}

fn runtime(threads: usize) -> Runtime {
    let runtime = match threads {
        1 => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build(),
    };
    runtime.expect("a runtime")
}
