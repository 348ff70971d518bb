//! The members of a trial: how they join, and how they go.

use std::collections::BTreeSet;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rocketmq_sdk::{ConsumeFromWhere, MessageExt, PushConsumer, PushConsumerBuilder};
use tokio_util::sync::CancellationToken;

use super::foreign::Foreign;
use super::listening::{Act, Listening, Slot};
use super::process::Process;
use super::severed::Severed;
use super::trial::Trial;

pub(super) struct Member {
    pub(super) consumer: Slot,
    process: Option<Process>,
    pub(super) client_id: String,
    alive: Arc<AtomicBool>,
    cut: CancellationToken,
}

impl Trial {
    /// A member of the group whose listener succeeds at once.
    pub async fn join(&mut self) -> usize {
        self.join_acting(|_| Act::Succeed).await
    }

    /// A member whose listener does what a closure says of each message.
    pub async fn join_acting(
        &mut self,
        act: impl Fn(&MessageExt) -> Act + Send + Sync + 'static,
    ) -> usize {
        self.join_with(|builder| builder, act).await
    }

    /// A member that is set up otherwise.
    pub async fn join_with(
        &mut self,
        set_up: impl FnOnce(PushConsumerBuilder) -> PushConsumerBuilder,
        act: impl Fn(&MessageExt) -> Act + Send + Sync + 'static,
    ) -> usize {
        let member = self.members.len();
        let (alive, cut) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
        let slot = Slot::default();
        let listening = Listening {
            recorder: self.recorder.clone(),
            member,
            alive: Arc::clone(&alive),
            act: Arc::new(act),
            consumer: Arc::clone(&slot),
            replier: Arc::clone(&self.replier),
        };
        let builder = match &self.shared {
            Some(client) => PushConsumer::builder(&*self.group).client(client),
            None => self
                .target
                .consumer(&self.group)
                .environment(Severed::new(self.target.environment(), cut.clone())),
        };
        let builder = builder
            .subscribe(&*self.topic, "*")
            .consume_from(ConsumeFromWhere::FirstOffset)
            .listener_with(listening, Listening::listen);
        // The others give queues up.
        self.fault();
        let consumer = set_up(builder).start().await.expect("start a consumer");
        self.healed();
        self.limits.clients += usize::from(self.shared.is_none());
        let client_id = consumer.client_id().to_owned();
        *slot.lock() = Some(consumer);
        self.members.push(Member {
            client_id,
            consumer: slot,
            process: None,
            alive,
            cut,
        });
        member
    }

    /// A member in a process of its own, whose listener succeeds.
    pub async fn join_process(&mut self) -> usize {
        let member = self.members.len();
        let told = [self.target.name_server(), &self.topic, &self.group];
        self.fault();
        let (process, client_id) = Process::start(&told, member, self.recorder.clone()).await;
        self.healed();
        self.limits.clients += 1;
        self.members.push(Member {
            client_id,
            consumer: Slot::default(),
            process: Some(process),
            alive: Arc::default(),
            cut: CancellationToken::new(),
        });
        member
    }

    /// A member that is no client of ours. Whoever has it says what it finishes.
    pub fn join_foreign(&mut self) -> (usize, Foreign) {
        let member = self.members.len();
        self.limits.clients += 1;
        self.members.push(Member {
            // What it says to brokers is not judged.
            client_id: format!("foreign-{member}"),
            consumer: Slot::default(),
            process: None,
            alive: Arc::default(),
            cut: CancellationToken::new(),
        });
        (member, Foreign::new(self.recorder.clone(), member))
    }

    /// A member's process is sent a signal, and has ended.
    pub async fn end_process(&mut self, member: usize, signal: &str) -> ExitStatus {
        let process = self.members[member].process.take();
        self.fault();
        let status = process.expect("a process").end(signal).await;
        self.healed();
        status
    }

    /// A member leaves in order.
    pub async fn leave(&mut self, member: usize) {
        self.fault();
        let consumer = self.members[member].consumer.lock().take();
        if let Some(consumer) = consumer {
            let leaving = self
                .recorder
                .call("shutdown of a consumer", consumer.shutdown());
            leaving.await.expect("shut a consumer down");
        }
        self.healed();
    }

    /// The identity of a member at brokers.
    pub fn client_id(&self, member: usize) -> &str {
        &self.members[member].client_id
    }

    /// The queues of the topic that a member of ours has.
    pub fn queues(&self, member: usize) -> BTreeSet<i32> {
        let consumer = self.members[member].consumer.lock().clone();
        let queues = consumer.map_or_else(Vec::new, |consumer| consumer.assigned_queues());
        let queues = queues.iter().filter(|queue| *queue.topic == *self.topic);
        queues.map(|queue| queue.queue_id).collect()
    }

    /// Waits until a member has ended by itself.
    pub async fn ended(&self, member: usize) {
        let consumer = self.members[member].consumer.lock().clone();
        let consumer = consumer.expect("a member that nobody has ended");
        self.wait("a member ends", || consumer.assigned_queues().is_empty())
            .await;
    }

    /// Nobody holds a member any more.
    pub fn abandon(&self, member: usize) {
        *self.members[member].consumer.lock() = None;
    }

    /// A member with a client of its own is gone at once, as if its process were killed: its connections end, and nobody hears of it
    /// again.
    pub fn kill(&mut self, member: usize) {
        let member = &mut self.members[member];
        // First of all nothing that is done from now on is committed any more.
        member.cut.cancel();
        member.alive.store(false, Ordering::SeqCst);
        *member.consumer.lock() = None;
    }
}
