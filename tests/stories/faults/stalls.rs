//! Queues that stand still.

use std::time::Duration;

use rocketmq_sdk::{ClientConfig, PushConsumerBuilder};
use rocketmq_testkit::{Cluster, Entry, RequestCode};
use tokio::time::{sleep, timeout};

use crate::history::{Act, Trial};
use crate::target::Target;

const SECOND: Duration = Duration::from_secs(1);

/// The queue that stands still. The others go on.
const QUEUE: i32 = 2;

/// A queue whose task does nothing for two minutes is taken over again. It is looked at every ten seconds.
const LEAST: Duration = Duration::from_secs(120);
const MOST: Duration = Duration::from_secs(130);

/// How long the member waits for answers: so long that a request without one is not noticed by its timeout.
const LONG: Duration = Duration::from_secs(3600);

async fn begin(name: &str) -> Trial {
    let target = Target::memory(Cluster::builder()).await;
    let mut trial = Trial::begin(target, name, 4).await;
    trial.load(SECOND).await;
    trial
}

/// A member that waits long for answers.
async fn join(trial: &mut Trial) {
    let config = ClientConfig::from_env().name_server(trial.target.name_server());
    let config = config.request_timeout(LONG);
    let set_up = |builder: PushConsumerBuilder| builder.config(config);
    trial.join_with(set_up, |_| Act::Succeed).await;
}

/// Whether the queue was found, pulled again, and everything in it finished.
async fn end(trial: Trial) {
    let queue =
        |entry: &Entry| entry.topic() == Some(&*trial.topic) && entry.queue_id() == Some(QUEUE);
    let entries = trial.cluster().journal().find(queue);
    let lost = entries.iter().position(|entry| entry.fault().is_some());
    let lost = lost.expect("what is not answered");
    let pulled = entries[lost + 1..]
        .iter()
        .find(|entry| entry.is_request(RequestCode::PULL_MESSAGE));
    let stood = pulled.expect("another pull").elapsed() - entries[lost].elapsed();
    assert!(
        (LEAST..=MOST).contains(&stood),
        "it stood still for {stood:?}"
    );
    let report = trial.end().await;
    assert_eq!((report.failed, report.duplicates), (0, 0), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f05_l12_a_queue_that_cannot_begin_is_taken_over_again() {
    let mut trial = begin("not_begun").await;
    let asks = trial
        .cluster()
        .faults()
        .on(RequestCode::QUERY_CONSUMER_OFFSET);
    let rule = asks.topic(&*trial.topic).queue(QUEUE).nth(1).drop();
    // A start waits for all queues.
    let joined = timeout(2 * LEAST, join(&mut trial)).await;
    joined.expect("the queue is found");
    assert_eq!(rule.hits(), 1);
    trial.finished(500).await;
    end(trial).await;
}

#[tokio::test(start_paused = true)]
async fn f05_l12_a_queue_that_pulls_no_more_is_taken_over_again() {
    let mut trial = begin("not_pulled").await;
    join(&mut trial).await;
    trial.finished(50).await;
    let pulls = trial.cluster().faults().on_pulls();
    let lost = pulls.topic(&*trial.topic).queue(QUEUE).nth(1).drop();
    lost.wait_for_hits(1).await.unwrap();
    // A pull has a timeout of its own, and a better route is looked up when it has failed.
    let lookups = trial.cluster().name_server().faults();
    let lookups = lookups.on(RequestCode::GET_ROUTEINFO_BY_TOPIC);
    lookups.topic(&*trial.topic).drop();
    sleep(2 * LEAST).await;
    trial.finished(50).await;
    end(trial).await;
}
