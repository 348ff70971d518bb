//! Listeners that panic, fail and hang.

use std::time::Duration;

use rocketmq_sdk::MessageExt;
use rocketmq_testkit::{Cluster, Entry, RequestCode};
use tokio::time::{Instant, sleep};

use crate::history::{Act, Trial, id};
use crate::target::Target;

const PAUSE: Duration = Duration::from_millis(40);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// What a listener does when every third message fails at its first delivery, in every way there is.
fn fail_often(message: &MessageExt) -> Act {
    let ways = [Act::Panic, Act::PanicInDrop, Act::Fail, Act::Later];
    let id = id(message.body());
    if message.reconsume_times() > 0 || !id.is_multiple_of(3) {
        return Act::Succeed;
    }
    ways[(id / 3) as usize % ways.len()]
}

#[tokio::test(start_paused = true)]
async fn f33_l06_listeners_that_panic_lose_nothing_and_harm_nobody_else() {
    let target = Target::shared_paused().await;
    // A real broker's members may take their first queues over from each other when the load has begun.
    let is_settled = target.is_testkit();
    let mut trial = Trial::begin(target, "panics", 4).await;
    trial.join_acting(fail_often).await;
    trial
        .join_with(|builder| builder.concurrency(1), fail_often)
        .await;
    trial.load(PAUSE).await;
    trial.finished(400).await;
    let report = trial.end().await;
    assert!(!is_settled || report.duplicates == 0, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f33_a_batch_with_a_panic_comes_again_as_a_whole() {
    let mut trial = Trial::begin(Target::shared_paused().await, "batches", 2).await;
    trial
        .join_with(|builder| builder.consume_batch_max_size(8), fail_often)
        .await;
    trial.load(PAUSE).await;
    trial.finished(300).await;
    trial.end().await;
}

#[tokio::test(start_paused = true)]
async fn f34_a_listener_that_hangs_is_given_up_and_its_message_comes_again() {
    let target = Target::memory(Cluster::builder()).await;
    let mut trial = Trial::begin(target, "hangs", 4).await;
    let hang = |message: &MessageExt| match (id(message.body()) % 50, message.reconsume_times()) {
        (0, 0) => Act::Hang,
        (1, 0) => Act::SucceedAfter(20 * MINUTE),
        _ => Act::Succeed,
    };
    // Both of their places are taken for a while.
    trial
        .join_with(
            |builder| builder.consume_timeout(10 * SECOND).concurrency(2),
            hang,
        )
        .await;
    trial
        .join_with(|builder| builder.consume_timeout(10 * SECOND), hang)
        .await;
    trial.load(SECOND).await;
    trial.finished(300).await;
    let report = trial.end().await;
    assert_eq!(report.duplicates, 0, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f34_the_offset_stays_before_a_message_whose_listener_hangs_and_the_others_go_on() {
    let target = Target::memory(Cluster::builder()).await;
    let mut trial = Trial::begin(target, "stays", 1).await;
    let hang = |message: &MessageExt| match (message.queue_offset(), message.reconsume_times()) {
        (7, 0) => Act::Hang,
        _ => Act::Succeed,
    };
    trial.join_acting(hang).await;
    trial.load(5 * SECOND).await;
    trial.finished(100).await;
    let began = Instant::now();
    // The timeout is a quarter of an hour if nothing else is said.
    while began.elapsed() < 13 * MINUTE {
        sleep(MINUTE).await;
        let committed = |entry: &Entry| {
            let is_of_topic = entry.topic() == Some(&*trial.topic);
            is_of_topic.then(|| entry.committed()).flatten()
        };
        let commits = trial.cluster().journal().entries();
        assert_eq!(commits.iter().filter_map(committed).max(), Some(7));
    }
    let journal = trial.cluster().journal().from_now().patience(2 * MINUTE);
    let back = journal.wait_for(|entry| entry.is_answer(RequestCode::CONSUMER_SEND_MSG_BACK));
    assert!(back.await.unwrap().is_success());
    trial.end().await;
}
