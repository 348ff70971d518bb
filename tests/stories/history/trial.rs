//! A story under fault: members of one group, a load, what goes wrong, and at the end the check.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rocketmq_sdk::{Client, DefaultProducer};
use rocketmq_testkit::{Cluster, Journal};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::broker::{self, Cast};
use super::check::{Limits, Report, check};
use super::listening::Replier;
use super::log;
use super::members::Member;
use super::panics::Watch;
use super::reading::Reader;
use super::record::{Event, Happened, History, Recorder};
use super::sending::Load;
use crate::target::{PATIENCE, Target};

mod loads;

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
    /// What nodes saw, where there is a journal of it.
    reader: Option<Reader>,
    pub limits: Limits,
}

impl Trial {
    /// Begins on a target, with a topic of so many queues on each broker.
    pub async fn begin(target: Target, name: &str, queues: i32) -> Self {
        let journal = target.cluster().map(|cluster| cluster.journal().clone());
        Self::begin_seen(target, name, queues, journal).await
    }

    /// The same on a target whose nodes are seen by such a journal.
    pub async fn begin_seen(
        target: Target,
        name: &str,
        queues: i32,
        journal: Option<Journal>,
    ) -> Self {
        let topic = target.topic(name, queues).await;
        Self {
            topic,
            group: target.name(name),
            queues,
            recorder: Recorder::new(journal.clone()),
            panics: Watch::start(),
            tasks_before: Handle::current().metrics().num_alive_tasks(),
            producers: Vec::new(),
            replier: Replier::default(),
            loads: Vec::new(),
            numbers: Arc::default(),
            members: Vec::new(),
            shared: None,
            reader: journal.map(Reader::new),
            limits: Limits::new(BUFFERED),
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
        self.limits.clients += 1;
        self.shared = Some(client.clone());
    }

    /// Somebody becomes a member, and is gone at once.
    pub async fn pass_through(&mut self) {
        self.limits.clients += 1;
        let client_id = format!("passing-{}", self.limits.clients);
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

    /// How many acknowledged messages no listener has finished yet.
    pub fn unfinished(&self) -> usize {
        self.recorder.unfinished()
    }

    /// Keeps what the journal has, again and again, before it forgets it. Until the task is aborted.
    pub fn keep_reading(&self, every: Duration) -> JoinHandle<()> {
        let reader = self.reader.clone();
        tokio::spawn(async move {
            while let Some(reader) = &reader {
                reader.read();
                sleep(every).await;
            }
        })
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
    pub async fn end(self) -> Report {
        let sees_brokers = self.reader.is_some();
        let (report, _) = self.judge().await;
        report.assert_right();
        assert_eq!(
            report.commits > 0,
            sees_brokers,
            "what brokers saw is judged"
        );
        report
    }

    /// The same, and leaves it to the story what to make of what is broken.
    pub async fn judge(mut self) -> (Report, History) {
        self.stop_loads().await;
        // What is not finished by then the checker finds.
        self.waited(|| self.recorder.unfinished() == 0).await;
        self.leave_all().await;
        let history = self.history().await;
        (check(&history, &self.limits), history)
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
        // What is read from the log below is nothing that a client asked.
        let entries = self.reader.as_ref().map(Reader::take);
        let mut events = self.recorder.take();
        let mut log = log::read(&self.target, &self.topic, self.queues).await;
        let retry = format!("%RETRY%{}", self.group);
        log.extend(log::read(&self.target, &retry, 1).await);
        if let Some(entries) = &entries {
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
            seen: entries.unwrap_or_default(),
        }
    }
}
