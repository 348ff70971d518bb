//! Members that come, go and are killed, and what brokers tell them.

use std::time::Duration;

use rocketmq_sdk::{ConsumeFromWhere, MessageExt, PushConsumerBuilder};
use rocketmq_testkit::{Cluster, RequestCode, ResponseCode};
use tokio::time::sleep;

use crate::history::{Act, Trial, id};
use crate::target::Target;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn f19_l05_what_could_not_be_sent_back_by_a_member_that_is_killed_goes_to_another() {
    for is_stored in [false, true] {
        let target = Target::memory(Cluster::builder()).await;
        let mut trial = Trial::begin(target, "unreturned", 4).await;
        let killed = trial.join_acting(|_| Act::Later).await;
        let on_back = trial
            .cluster()
            .faults()
            .on(RequestCode::CONSUMER_SEND_MSG_BACK);
        let rule = match is_stored {
            false => on_back.reply(ResponseCode::SYSTEM_ERROR, "not now"),
            // The member does not hear of it.
            true => on_back.answer().drop(),
        };
        // Nor does a broker take a copy.
        let copies = trial.cluster().faults().on_sends();
        let copies = copies.topic(format!("%RETRY%{}", trial.group));
        let copies = copies.reply(ResponseCode::SYSTEM_ERROR, "not now");
        trial.load(SECOND).await;
        // Long enough to commit, and to try again.
        rule.wait_for_hits(20).await.unwrap();
        sleep(10 * SECOND).await;
        trial.fault();
        trial.kill(killed);
        rule.remove();
        copies.remove();
        let survivor = trial.join().await;
        trial.healed_within(30 * SECOND);
        trial.finished(50).await;
        assert_eq!(survivor, 1);
        let report = trial.end().await;
        // Where they had been stored, they come from both topics.
        assert_eq!(report.duplicates > 0, is_stored, "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn f23_what_is_under_way_when_a_queue_is_revoked_changes_nothing_when_it_is_back() {
    let target = Target::memory(Cluster::builder()).await;
    let mut trial = Trial::begin(target, "epochs", 4).await;
    let slow = |message: &MessageExt| match id(message.body()) % 10 {
        0 => Act::SucceedAfter(8 * SECOND),
        _ => Act::Succeed,
    };
    let member = trial.join_acting(slow).await;
    trial.load(SECOND).await;
    for is_back in [false, true, false, true] {
        trial.finished(50).await;
        trial.fault();
        let client = trial.client_id(member).to_owned();
        let faults = trial.cluster().faults();
        let pulls = faults.on_pulls().client(&*client).answer().hold();
        let commits = faults.on(RequestCode::UPDATE_CONSUMER_OFFSET);
        let commits = commits.client(client).hold();
        trial
            .wait("pulls and commits are under way", || {
                pulls.held() >= 4 && commits.held() > 0
            })
            .await;
        let other = trial.join_acting(slow).await;
        trial.finished(20).await;
        if is_back {
            trial.leave(other).await;
        }
        pulls.release_all();
        commits.release_all();
        pulls.remove();
        commits.remove();
        if !is_back {
            trial.finished(20).await;
            trial.leave(other).await;
        }
        trial.healed_within(10 * SECOND);
    }
    let report = trial.end().await;
    assert_eq!(report.failed, 0, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f23_l02_a_late_pull_of_a_revoked_queue_is_dropped() {
    let target = Target::memory(Cluster::builder()).await;
    let mut trial = Trial::begin(target, "late", 4).await;
    let member = trial.join().await;
    trial.load(SECOND).await;
    for _ in 0..3 {
        trial.finished(50).await;
        // Everything that was given is committed, and the next messages are on their way to the member that loses queues.
        let faults = trial.cluster().faults();
        let held = faults
            .on_pulls()
            .client(trial.client_id(member))
            .answer()
            .hold();
        sleep(20 * SECOND).await;
        assert_eq!(held.held(), 4);
        let other = trial.join().await;
        trial.finished(20).await;
        held.release_all();
        held.remove();
        trial.finished(20).await;
        trial.leave(other).await;
    }
    let report = trial.end().await;
    assert_eq!((report.failed, report.duplicates), (0, 0), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f24_l07_a_group_that_changes_all_the_time_goes_on() {
    let mut trial = Trial::begin(Target::shared_paused().await, "storm", 4).await;
    trial.join().await;
    trial.join().await;
    trial.load(SECOND / 5).await;
    trial.finished(50).await;
    trial.fault();
    let (acked, finished) = trial.counts();
    // Each is told of twice: fifty times a second.
    for _ in 0..200 {
        trial.pass_through().await;
        sleep(SECOND / 25).await;
    }
    let goes_on = |trial: &Trial| {
        let (more_acked, more_finished) = trial.counts();
        2 * (more_finished - finished) >= more_acked - acked
    };
    // Where time is real, one moment may be a bad one.
    let mut moments = if trial.target.is_paused() { 0 } else { 25 };
    while !goes_on(&trial) {
        let counts = trial.counts();
        assert!(moments > 0, "of {:?}, {counts:?} now", (acked, finished));
        moments -= 1;
        trial.pass_through().await;
        sleep(SECOND / 25).await;
    }
    trial.healed_within(10 * SECOND);
    let report = trial.end().await;
    assert_eq!(report.failed, 0, "{report:?}");
    // Twice a second for each member, and some before and after that.
    assert!(report.rebalances <= 2 * 2 * 8 + 30, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f29_l28_what_comes_between_the_choice_of_an_offset_and_the_first_pull_is_not_skipped() {
    let from_last =
        |builder: PushConsumerBuilder| builder.consume_from(ConsumeFromWhere::LastOffset);
    for is_killed in [false, true] {
        let target = Target::memory(Cluster::builder()).await;
        let mut trial = Trial::begin(target, "between", 4).await;
        let rule = trial.cluster().faults().on_pulls().drop();
        let member = trial.join_with(from_last, |_| Act::Succeed).await;
        rule.wait_for_hits(4).await.unwrap();
        trial.load(SECOND).await;
        trial.acked(50).await;
        if is_killed {
            trial.fault();
            trial.kill(member);
            trial.healed();
        } else {
            trial.leave(member).await;
        }
        rule.remove();
        trial.join_with(from_last, |_| Act::Succeed).await;
        trial.finished(50).await;
        let report = trial.end().await;
        assert_eq!((report.failed, report.duplicates), (0, 0), "{report:?}");
    }
}
