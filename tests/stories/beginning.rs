//! From the choice of a group's first offset to the first pull: what is sent in between comes, whatever becomes of the member that
//! chose. On the testkit alone, where pulls and commits can be kept from arriving.

use std::sync::Arc;
use std::time::Duration;

use rocketmq_sdk::environment::Environment;
use rocketmq_sdk::{
    ConsumeFromWhere, ConsumeStatus, LitePullConsumer, Message, PushConsumer, PushConsumerBuilder,
};
use rocketmq_testkit::{Cluster, OnRequest, RequestCode, ResponseCode, Rule};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::history::Severed;
use crate::received::{Received, numbered};
use crate::target::Target;

/// No commit but that of the choice comes in time.
const NEVER: Duration = Duration::from_secs(3600);

/// A topic of one queue with messages that are too old for the group.
struct Story {
    target: Target,
    topic: String,
    group: String,
}

impl Story {
    async fn begin(name: &str) -> Self {
        let target = Target::memory(Cluster::builder()).await;
        let story = Self {
            topic: target.topic(name, 1).await,
            group: target.name(name),
            target,
        };
        story.send("old", 3).await;
        story
    }

    fn cluster(&self) -> &Cluster {
        self.target.cluster().unwrap()
    }

    async fn send(&self, prefix: &str, count: usize) {
        let producer = self.target.producer().await;
        for at in 0..count {
            let message = Message::new(&*self.topic, format!("{prefix}{at}"));
            producer.send(message).await.unwrap();
        }
        producer.shutdown().await.unwrap();
    }

    fn member(&self, received: &Received) -> PushConsumerBuilder {
        self.target
            .consumer(&self.group)
            .subscribe(&*self.topic, "*")
            .consume_from(ConsumeFromWhere::LastOffset)
            .commit_interval(NEVER)
            .listener_with(received.clone(), |received, messages| async move {
                received.add(messages);
                ConsumeStatus::CONSUME_SUCCESS
            })
    }

    /// Waits until what was sent after the choice came, once and without anything else.
    async fn only_new_ones_came(&self, received: &Received) {
        received
            .wait(&self.target, "what was sent since came", |received| {
                received.bodies() == numbered("new", 2)
            })
            .await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(received.count(), 2);
    }

    /// A member chooses, does not get to pull, and is killed. Another one comes.
    async fn kill<M>(&self, start: impl AsyncFnOnce(&Self, Arc<dyn Environment>) -> M) {
        let faults = self.cluster().faults();
        let rule = faults.on_pulls().topic(&*self.topic).drop();
        let cut = CancellationToken::new();
        let member = start(self, Severed::new(self.target.environment(), cut.clone())).await;
        rule.wait_for_hits(1).await.unwrap();
        self.send("new", 2).await;
        // First, so that it cannot say farewell.
        cut.cancel();
        drop(member);
        rule.remove();
        let received = Received::default();
        let next = self.member(&received).start().await.unwrap();
        self.only_new_ones_came(&received).await;
        next.shutdown().await.unwrap();
    }
}

async fn push(story: &Story, environment: Arc<dyn Environment>) -> PushConsumer {
    let builder = story.member(&Received::default());
    builder.environment(environment).start().await.unwrap()
}

async fn lite_pull(story: &Story, environment: Arc<dyn Environment>) -> LitePullConsumer {
    LitePullConsumer::builder(&*story.group)
        .name_server(story.target.name_server())
        .environment(environment)
        .subscribe(&*story.topic, "*")
        .consume_from(ConsumeFromWhere::LastOffset)
        .commit_interval(NEVER)
        .start()
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn f29_l28_the_choice_of_a_member_that_is_killed_before_its_first_pull_holds() {
    Story::begin("pushed").await.kill(push).await;
    Story::begin("pulled").await.kill(lite_pull).await;
}

#[tokio::test(start_paused = true)]
async fn f29_l28_a_choice_that_could_not_be_committed_is_not_made_again() {
    type Fail = fn(OnRequest) -> Rule;
    let ways: [Fail; 3] = [
        |on| on.reply(ResponseCode::SYSTEM_ERROR, "not now"),
        |on| on.drop(),
        |on| on.disconnect(),
    ];
    for fail in ways {
        let story = Story::begin("refused").await;
        let faults = story.cluster().faults();
        let on = faults.on(RequestCode::UPDATE_CONSUMER_OFFSET);
        let rule = fail(on.topic(&*story.topic));
        let received = Received::default();
        // It does not wait for ever until it is known where the queue begins.
        let consumer = story.member(&received).start().await.unwrap();
        rule.wait_for_hits(1).await.unwrap();
        story.send("new", 2).await;
        // A member that looks again finds another end.
        rule.wait_for_hits(rule.hits() + 2).await.unwrap();
        rule.remove();
        story.only_new_ones_came(&received).await;
        consumer.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn l35_a_first_commit_that_a_broker_confirms_and_loses_skips_nothing() {
    for is_killed in [false, true] {
        let story = Story::begin("forgotten").await;
        let on = story.cluster().faults();
        let on = on.on(RequestCode::UPDATE_CONSUMER_OFFSET);
        let rule = on
            .topic(&*story.topic)
            .nth(1)
            .reply(ResponseCode::SUCCESS, "");
        let cut = CancellationToken::new();
        let environment = Severed::new(story.target.environment(), cut.clone());
        let member = story
            .member(&Received::default())
            .environment(environment)
            .commit_interval(Duration::from_secs(5))
            .start()
            .await
            .unwrap();
        assert_eq!(rule.hits(), 1);
        if is_killed {
            sleep(Duration::from_secs(31)).await;
            cut.cancel();
            drop(member);
        } else {
            member.shutdown().await.unwrap();
        }
        story.send("new", 2).await;
        let received = Received::default();
        let next = story.member(&received).start().await.unwrap();
        story.only_new_ones_came(&received).await;
        next.shutdown().await.unwrap();
    }
}
