//! A story under fault: members of one group, a load, what goes wrong, and at the end the check.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rocketmq_sdk::{
    Client, DefaultProducer, DefaultProducerBuilder, TransactionProducer, TransactionState,
};
use rocketmq_testkit::{Cluster, Journal};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::broker::{self, Cast};
use super::check::{Limits, Report, check};
use super::listening::Replier;
use super::log;
use super::members::Member;
use super::panics::Watch;
use super::record::{Event, Happened, History, Recorder};
use super::sending::{BATCH, Load, PLAIN, Sender, WAYS};
use crate::target::{PATIENCE, Target};

/// How long a trial waits where time costs nothing.
const PAUSED_PATIENCE: Duration = Duration::from_secs(3600);

/// How long a send may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);

/// How long everything may take to go when the clients have gone.
const REST: Duration = Duration::from_secs(5);

/// The budget of a client for what its listeners wait for, and what each pull may be beyond it.
const BUFFERED: usize = 257 * 1024 * 1024;

/// A topic, a group that consumes it from its beginning, and a producer; and everything that happens to them.
pub struct Trial {
    pub target: Target,
    pub topic: String,
    pub group: String,
    queues: i32,
    pub(super) recorder: Recorder,
    panics: Watch,
    tasks_before: usize,
    producers: Vec<DefaultProducer>,
    pub(super) replier: Replier,
    loads: Vec<Load>,
    numbers: Arc<AtomicU64>,
    pub(super) members: Vec<Member>,
    /// The client of those who come now, if it is not their own.
    pub(super) shared: Option<Client>,
    pub(super) clients: usize,
    buffered: usize,
}

impl Trial {
    /// Begins on a target, with a topic of so many queues on each broker.
    pub async fn begin(target: Target, name: &str, queues: i32) -> Self {
        let topic = target.topic(name, queues).await;
        Self {
            topic,
            group: target.name(name),
            queues,
            recorder: Recorder::new(target.cluster().map(|cluster| cluster.journal().clone())),
            panics: Watch::start(),
            tasks_before: Handle::current().metrics().num_alive_tasks(),
            producers: Vec::new(),
            replier: Replier::default(),
            loads: Vec::new(),
            numbers: Arc::default(),
            members: Vec::new(),
            shared: None,
            clients: 0,
            buffered: BUFFERED,
            target,
        }
    }

    /// The testkit's cluster that this runs on.
    pub fn cluster(&self) -> &Cluster {
        self.target.cluster().expect("a cluster of the testkit")
    }

    /// Members and producers that come from now on have this client, of which the story has another handle. A client can have one
    /// member of the group.
    pub fn share(&mut self, client: &Client) {
        self.clients += 1;
        self.shared = Some(client.clone());
    }

    /// Sends in every way there is, with a pause after each send, until the end.
    pub async fn load(&mut self, pause: Duration) {
        self.load_with(|builder| builder, pause).await;
    }

    /// The same with a producer that is set up otherwise.
    pub async fn load_with(
        &mut self,
        set_up: impl Fn(DefaultProducerBuilder) -> DefaultProducerBuilder,
        pause: Duration,
    ) {
        let sender = self.sender(set_up).await;
        self.loads.push(Load::start(&sender, pause));
    }

    /// A new producer sends so many messages at once, in every way there is.
    pub async fn crowd(
        &mut self,
        set_up: impl Fn(DefaultProducerBuilder) -> DefaultProducerBuilder,
        sends: usize,
    ) {
        self.sender(set_up).await.crowd(&WAYS, sends).await;
    }

    /// The same in the ways whose outcome is a broker's answer to one request.
    pub async fn crowd_plainly(
        &mut self,
        set_up: impl Fn(DefaultProducerBuilder) -> DefaultProducerBuilder,
        sends: usize,
    ) {
        self.sender(set_up).await.crowd(&PLAIN, sends).await;
    }

    /// A new producer sends in every way there is, and each send is dropped after so many polls. Then it sends once more, with no room
    /// for anything that stayed.
    pub async fn give_sends_up(&mut self, polls: usize) {
        let sender = self.sender(|builder| builder.max_in_flight(BATCH)).await;
        sender.give_up(polls).await;
        sender.crowd(&WAYS, WAYS.len()).await;
    }

    async fn sender(
        &mut self,
        set_up: impl Fn(DefaultProducerBuilder) -> DefaultProducerBuilder,
    ) -> Sender {
        let group = self.target.name("producers");
        let build = |group: &str| {
            let builder = match &self.shared {
                Some(client) => DefaultProducer::builder(group).client(client),
                None => self.target.producer_of(group),
            };
            set_up(builder.send_timeout(SEND_TIMEOUT))
        };
        let (builder, batching) = (build(&group), build(&format!("{group}_batching")));
        let producer = TransactionProducer::builder(group)
            .producer(|_| builder)
            .check(|_| async { TransactionState::Commit });
        let producer = producer.start().await.expect("start a producer");
        let batching = batching.auto_batch().start().await;
        let batching = batching.expect("start a producer that makes batches");
        self.clients += if self.shared.is_some() { 0 } else { 2 };
        self.producers
            .extend([producer.plain().clone(), batching.clone()]);
        *self.replier.lock() = Some(producer.plain().clone());
        Sender {
            producer,
            batching,
            topic: self.topic.clone(),
            recorder: self.recorder.clone(),
            timeout: self.target.is_paused().then_some(SEND_TIMEOUT),
            numbers: Arc::clone(&self.numbers),
        }
    }

    /// Ends the producers, while loads may go on that have nobody to send by then.
    pub async fn retire(&mut self) {
        *self.replier.lock() = None;
        for producer in std::mem::take(&mut self.producers) {
            let leaving = self
                .recorder
                .call("shutdown of a producer", producer.shutdown());
            leaving.await.expect("shut a producer down");
        }
    }

    /// Ends the load, and waits until everything that was acknowledged is finished.
    pub async fn settle(&mut self) {
        for load in std::mem::take(&mut self.loads) {
            load.stop().await;
        }
        self.wait("everything is finished", || self.recorder.unfinished() == 0)
            .await;
    }

    /// Somebody becomes a member, and is gone at once.
    pub async fn pass_through(&mut self) {
        self.clients += 1;
        let client_id = format!("passing-{}", self.clients);
        self.target
            .pass_through(&client_id, &self.group, &self.topic)
            .await;
    }

    /// Waits until so many more messages are acknowledged.
    pub async fn acked(&self, more: usize) {
        let goal = self.recorder.acked() + more;
        self.wait("sending goes on", || self.recorder.acked() >= goal)
            .await;
    }

    /// Waits until so many more messages are finished.
    pub async fn finished(&self, more: usize) {
        let goal = self.recorder.finished() + more;
        self.wait("listening goes on", || self.recorder.finished() >= goal)
            .await;
    }

    /// How many messages a member finished so far.
    pub fn finished_by(&self, member: usize) -> usize {
        self.recorder.finished_by(member)
    }

    /// How many messages were acknowledged so far, and how many were finished.
    pub fn counts(&self) -> (usize, usize) {
        (self.recorder.acked(), self.recorder.finished())
    }

    /// Notes that something goes wrong now.
    pub fn fault(&self) {
        self.recorder.add(Event::Fault);
    }

    /// Notes that it is over.
    pub fn healed(&self) {
        self.recorder.add(Event::Healed { within: None });
    }

    /// Notes that it is over, and that sends and listeners have to succeed again within some time, where time can be told.
    pub fn healed_within(&self, within: Duration) {
        let within = self.target.is_paused().then_some(within);
        self.recorder.add(Event::Healed { within });
    }

    /// Does something that must not take longer, where time can be told.
    pub async fn within<T>(&self, limit: Duration, doing: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let done = doing.await;
        let took = began.elapsed();
        assert!(
            !self.target.is_paused() || took <= limit,
            "it took {took:?}, not {limit:?}"
        );
        done
    }

    /// Waits until a condition holds.
    pub async fn wait(&self, what: &str, done: impl Fn() -> bool) {
        assert!(self.waited(done).await, "waited in vain until {what}");
    }

    async fn waited(&self, done: impl Fn() -> bool) -> bool {
        let patience = if self.target.is_paused() {
            PAUSED_PATIENCE
        } else {
            PATIENCE
        };
        let until = Instant::now() + patience;
        while !done() {
            if Instant::now() >= until {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Ends the load, waits until everything that was acknowledged is finished, ends the clients, and checks what happened.
    pub async fn end(mut self) -> Report {
        for load in std::mem::take(&mut self.loads) {
            load.stop().await;
        }
        // What is not finished by then the checker finds.
        self.waited(|| self.recorder.unfinished() == 0).await;
        self.leave_all().await;
        let history = self.history().await;
        let limits = Limits {
            buffered: self.buffered,
            clients: self.clients,
        };
        let report = check(&history, &limits);
        report.assert_right();
        assert_eq!(
            report.commits > 0,
            history.sees_brokers,
            "what brokers saw is judged"
        );
        report
    }

    async fn leave_all(&mut self) {
        for member in 0..self.members.len() {
            if self.members[member].consumer.lock().is_some() {
                self.leave(member).await;
            }
        }
        self.retire().await;
        // With its last handle a client ends.
        self.shared = None;
        let tasks = || Handle::current().metrics().num_alive_tasks();
        if self.target.is_paused() {
            sleep(REST).await;
        } else {
            self.waited(|| tasks() <= self.tasks_before).await;
        }
        self.recorder.add(Event::Rest {
            tasks_before: self.tasks_before,
            tasks_after: tasks(),
        });
        for text in self.panics.seen() {
            self.recorder.add(Event::Panicked { text });
        }
    }

    async fn history(&self) -> History {
        let journal = self.target.cluster().map(|cluster| cluster.journal());
        let entries = journal.map(Journal::entries);
        let mut events = self.recorder.events();
        let mut log = log::read(&self.target, &self.topic, self.queues).await;
        let retry = format!("%RETRY%{}", self.group);
        log.extend(log::read(&self.target, &retry, 1).await);
        if let Some(entries) = &entries {
            assert_eq!(
                journal.map(Journal::forgotten),
                Some(0),
                "the journal is too small"
            );
            let numbers = self.members.iter().enumerate();
            let cast = Cast {
                group: &self.group,
                members: numbers
                    .map(|(at, member)| (member.client_id.clone(), at))
                    .collect(),
                log: &log,
            };
            events.extend(broker::events(entries, &cast));
            // The order is kept where places are equal: what our side noted came first.
            events.sort_by_key(|happened: &Happened| happened.place);
        }
        History {
            events,
            log,
            sees_brokers: entries.is_some(),
        }
    }
}
