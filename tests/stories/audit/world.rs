//! What the faults of a round are done to: a trial with its members, and what stands before a real target.

use std::collections::VecDeque;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rocketmq_sdk::{ClientConfig, MessageExt, PushConsumerBuilder};
use rocketmq_testkit::{Faults, Relay, RelayNode};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::history::{Act, History, Report, Trial, id};
use crate::target::{PATIENCE, Target};

/// How often things are looked at: the journal among them, which forgets what is old.
const OFTEN: Duration = Duration::from_millis(10);

/// The most members there are at a time.
const MEMBERS: usize = 5;

/// After how long every commit is made, and a real broker has written it down: five seconds each, and some.
const COMMITTED_WITHIN: Duration = Duration::from_secs(12);

/// What the faults of a round are done to.
pub struct World {
    pub trial: Trial,
    /// Makes rules for what passes between clients and nodes.
    pub faults: Faults,
    /// Before a real target.
    relay: Option<Relay>,
    pub name_server: String,
    members: Vec<usize>,
    /// When faults are over, what comes of them included.
    ends: VecDeque<Instant>,
    reading: JoinHandle<()>,
    pub random: StdRng,
}

impl World {
    /// A trial on a target, seen and spoilt through stand-ins where it is a real one.
    pub async fn new(target: Target, queues: i32, random: StdRng) -> Self {
        let relay = match target.is_testkit() {
            true => None,
            false => Some(Relay::start(target.name_server()).await.expect("a relay")),
        };
        let (journal, faults, name_server) = match &relay {
            Some(relay) => (relay.journal(), relay.faults(), relay.name_server_addr()),
            None => {
                let cluster = target.cluster().expect("the testkit");
                (cluster.journal(), cluster.faults(), target.name_server())
            }
        };
        let (journal, faults) = (journal.clone(), faults.clone());
        let name_server = name_server.to_owned();
        let mut trial = Trial::begin_seen(target, "audit", queues, Some(journal)).await;
        trial.limits.is_loose = true;
        trial.limits.forgets_commits = relay.is_some();
        trial.limits.committed_within = COMMITTED_WITHIN;
        Self {
            reading: trial.keep_reading(OFTEN),
            trial,
            faults,
            relay,
            name_server,
            members: Vec::new(),
            ends: VecDeque::new(),
            random,
        }
    }

    /// Ends everything, and judges what happened.
    pub async fn judge(self) -> (Report, History) {
        let Self { trial, relay, .. } = self;
        let judged = trial.judge().await;
        drop(relay);
        judged
    }

    pub const fn is_real(&self) -> bool {
        self.relay.is_some()
    }

    /// A fault has ended, and so has after some time what comes of it.
    pub fn end_after(&mut self, time: Duration) {
        self.ends.push_back(Instant::now() + time);
    }

    /// One of the brokers.
    pub fn broker(&mut self) -> String {
        let names: Vec<_> = match (&self.relay, self.trial.target.cluster()) {
            (_, Some(cluster)) => cluster
                .brokers()
                .iter()
                .map(|it| it.name().to_owned())
                .collect(),
            (Some(relay), None) => relay
                .brokers()
                .iter()
                .map(|it| it.name().to_owned())
                .collect(),
            (None, None) => Vec::new(),
        };
        names[self.random.random_range(0..names.len())].clone()
    }

    pub fn stand_in(&self, broker: &str) -> RelayNode {
        self.relay.as_ref().expect("a relay").broker(broker)
    }

    /// Somebody joins, if there are not too many.
    pub async fn join(&mut self) {
        if self.members.len() < MEMBERS {
            let set_up = self.set_up();
            let member = self.trial.join_with(set_up, act).await;
            self.members.push(member);
        }
    }

    /// Somebody leaves in order, if there are others.
    pub async fn leave(&mut self) {
        if let Some(member) = self.anybody() {
            self.trial.leave(member).await;
        }
    }

    /// Somebody is gone at once, and somebody else comes if nobody is left.
    pub async fn kill_member(&mut self) {
        match self.anybody() {
            Some(member) => self.trial.kill(member),
            None => {
                let member = self.members.remove(0);
                self.trial.kill(member);
                self.join().await;
            }
        }
    }

    fn anybody(&mut self) -> Option<usize> {
        let others = self.members.len() > 1;
        others.then(|| {
            let at = self.random.random_range(0..self.members.len());
            self.members.remove(at)
        })
    }

    fn set_up(&mut self) -> impl FnOnce(PushConsumerBuilder) -> PushConsumerBuilder + use<> {
        let config = ClientConfig::default().name_server(&self.name_server);
        let config = config.heartbeat_interval(Duration::from_secs(2));
        let commits = Duration::from_secs(self.random.random_range(1..6));
        let batch = [1, 1, 4, 16][self.random.random_range(0..4)];
        let listeners = self.random.random_range(2..30);
        move |builder| {
            builder
                .config(config)
                .commit_interval(commits)
                .consume_batch_max_size(batch)
                .concurrency(listeners)
                .consume_timeout(Duration::from_secs(3))
        }
    }

    /// Waits a little, and notes which faults are over.
    async fn pass(&mut self) {
        sleep(OFTEN).await;
        while self.ends.front().is_some_and(|end| *end <= Instant::now()) {
            self.ends.pop_front();
            self.trial.healed();
        }
    }

    /// Waits until so many messages are acknowledged, in all.
    pub async fn until_acked(&mut self, count: usize) {
        let mut until = Instant::now() + PATIENCE;
        let mut acked = self.trial.counts().0;
        while acked < count {
            self.pass().await;
            let now = self.trial.counts().0;
            if now > acked {
                until = Instant::now() + PATIENCE;
            }
            assert!(Instant::now() < until, "sending does not go on");
            acked = now;
        }
    }

    /// Waits until everything is finished that was acknowledged, or until that is hopeless.
    pub async fn settle(&mut self) {
        self.trial.stop_loads().await;
        let mut until = Instant::now() + PATIENCE;
        let mut before = usize::MAX;
        loop {
            let unfinished = self.trial.unfinished();
            if unfinished < before {
                until = Instant::now() + PATIENCE;
                before = unfinished;
            }
            let is_over = unfinished == 0 && self.ends.is_empty();
            if is_over || Instant::now() > until {
                break;
            }
            self.trial.target.turn(10 * OFTEN);
            self.pass().await;
        }
        self.reading.abort();
        let _ = (&mut self.reading).await;
    }
}

/// What listeners do: a few of them fail in each way there is, when they see a message for the first time.
fn act(message: &MessageExt) -> Act {
    let id = id(message.body());
    if message.reconsume_times() > 0 {
        return Act::Succeed;
    }
    match id % 4999 {
        0 => Act::Panic,
        1 => Act::PanicInDrop,
        2..8 => Act::Fail,
        8..16 => Act::Later,
        16 if id.is_multiple_of(3) => Act::Hang,
        17..50 => Act::SucceedAfter(Duration::from_millis(id % 50)),
        _ => Act::Succeed,
    }
}
