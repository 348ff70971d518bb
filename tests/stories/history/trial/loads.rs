//! What a trial sends, and by whom.

use std::sync::Arc;
use std::time::Duration;

use rocketmq_sdk::{
    DefaultProducer, DefaultProducerBuilder, TransactionProducer, TransactionState,
};

use super::{SEND_TIMEOUT, Trial};
use crate::history::sending::{BATCH, Load, PLAIN, Sender, WAYS, Way};

impl Trial {
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
        self.load_in(&WAYS, set_up, pause).await;
    }

    /// The same in some ways only. One that stands there twice has two tasks.
    pub async fn load_in(
        &mut self,
        ways: &[Way],
        set_up: impl Fn(DefaultProducerBuilder) -> DefaultProducerBuilder,
        pause: Duration,
    ) {
        let sender = self.sender(set_up).await;
        self.loads.push(Load::start(&sender, ways, pause));
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
        self.limits.clients += if self.shared.is_some() { 0 } else { 2 };
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
        self.stop_loads().await;
        self.wait("everything is finished", || self.recorder.unfinished() == 0)
            .await;
    }

    /// Ends the load.
    pub async fn stop_loads(&mut self) {
        for load in std::mem::take(&mut self.loads) {
            load.stop().await;
        }
    }
}
