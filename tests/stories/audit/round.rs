//! One round of an audit: a load, members, and some faults at random times.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rocketmq_sdk::DefaultProducerBuilder;
use rocketmq_testkit::ClusterBuilder;
use tokio::time::sleep;

use super::fault::Fault;
use super::plan::Plan;
use super::spoil::Spoil;
use super::world::World;
use crate::history::{History, Report, Way};
use crate::target::Target;

/// How long queues may go on to change hands when a fault is over.
const SETTLING: Duration = Duration::from_millis(2500);

/// A pause after each send, so that the faults have messages left.
const PAUSE: Duration = Duration::from_millis(2);

/// How many entries the testkit's journal keeps. It is looked at before there are so many.
const JOURNAL: usize = 1_000_000;

pub struct Round {
    is_long: bool,
    way: Way,
    senders: usize,
    messages: usize,
    faults: usize,
    seed: u64,
    number: usize,
}

impl Round {
    pub fn new(plan: &Plan, way: Way, number: usize) -> Self {
        // The sums are right where the plan cannot be divided.
        let share = |all: usize| all * (number + 1) / plan.rounds - all * number / plan.rounds;
        Self {
            is_long: plan.is_long,
            way,
            senders: plan.senders,
            messages: share(plan.messages),
            faults: share(plan.faults),
            seed: plan.seed * 1_000_000 + 2 * number as u64 + u64::from(way == Way::Callback),
            number,
        }
    }

    pub const fn threads(&self) -> usize {
        1 + self.number % 2
    }

    pub const fn faults(&self) -> usize {
        self.faults
    }

    pub async fn run(&self, servers: Option<&Target>) -> (Report, History) {
        let mut world = self.world(servers).await;
        for _ in 0..world.random.random_range(1..4) {
            world.join().await;
        }
        let name_server = world.name_server.clone();
        let ways = vec![self.way; self.senders];
        let set_up = |builder: DefaultProducerBuilder| builder.name_server(&name_server);
        // A broker of a new process, and with a new topic, is slow at first, and senders may give up on it.
        world.trial.fault();
        world.trial.load_in(&ways, set_up, PAUSE).await;
        world.until_acked(self.messages / 20).await;
        world.end_after(SETTLING);
        let range = self.messages / 20..self.messages * 9 / 10;
        let mut times: Vec<_> = (0..self.faults)
            .map(|_| world.random.random_range(range.clone()))
            .collect();
        times.sort_unstable();
        for time in times {
            world.until_acked(time).await;
            self.one_fault(&mut world).await;
        }
        world.until_acked(self.messages).await;
        world.settle().await;
        world.judge().await
    }

    async fn world(&self, servers: Option<&Target>) -> World {
        let mut random = StdRng::seed_from_u64(self.seed);
        let (brokers, queues) = (random.random_range(1..3), random.random_range(2..6));
        let target = match servers.and_then(Target::again) {
            Some(target) => target,
            None => {
                let set_up = |it: ClusterBuilder| it.seed(self.seed).journal(JOURNAL);
                Target::own_of(brokers, set_up).await
            }
        };
        let mut world = World::new(target, queues, random).await;
        world.trial.limits.is_threaded = self.threads() > 1;
        world
    }

    /// Lets something go wrong for a while, and sometimes something else at the same time.
    async fn one_fault(&self, world: &mut World) {
        let (broker, is_real) = (world.broker(), world.is_real());
        let random = &mut world.random;
        let fault = loop {
            let fault = if is_real {
                Fault::of_apache(random, broker.clone())
            } else {
                Fault::of_testkit(random, broker.clone())
            };
            if self.is_long || !fault.is_noticed_late() {
                break fault;
            }
        };
        let with = (self.is_long && !fault.is_of_members() && random.random_bool(0.3))
            .then(|| Spoil::random(random));
        let longest = if self.is_long { 1500 } else { 150 };
        let lasting = Duration::from_millis(random.random_range(20..longest));
        println!(
            "round {}, after {:?}: {fault:?} and {with:?} for {lasting:?}",
            self.number,
            world.trial.counts()
        );
        world.trial.fault();
        let rule = with.map(|spoil| spoil.begin(&world.faults));
        let ongoing = fault.begin(world).await;
        sleep(lasting).await;
        if let Some(rule) = rule {
            rule.remove();
        }
        ongoing.end(world).await;
        world.end_after(SETTLING);
        // What is delayed comes sooner, where that can be done.
        let turned = Duration::from_millis(world.random.random_range(0..3000));
        world.trial.target.turn(turned);
    }
}
