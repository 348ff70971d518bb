//! Brokers that are killed, stopped, slow or silent, and connections that are.

use std::time::Duration;

use rocketmq_sdk::{DefaultProducerBuilder, FaultTolerance};
use rocketmq_testkit::{Cluster, Disk, Entry, EntryKind, Faults, RequestCode, Rule};
use tokio::time::sleep;

use crate::history::{Act, Report, Trial};
use crate::target::Target;

const PAUSE: Duration = Duration::from_millis(40);
const SECOND: Duration = Duration::from_secs(1);

/// Two brokers in memory.
async fn pair() -> Target {
    Target::memory(Cluster::builder().brokers(2)).await
}

#[tokio::test(start_paused = true)]
async fn f01_l10_a_broker_that_is_killed_and_started_again_loses_no_acknowledged_message() {
    let report = kill_again_and_again(Target::own_paused(1).await, 5 * SECOND).await;
    assert!(report.failed > 0, "{report:?}");
}

#[tokio::test]
async fn f01_a_broker_whose_sockets_are_reset_loses_no_acknowledged_message() {
    let target = Target::shared().await;
    if !target.is_testkit() {
        return target.skip("the same as with any broker that is killed");
    }
    kill_again_and_again(target, SECOND / 5).await;
}

async fn kill_again_and_again(target: Target, down: Duration) -> Report {
    let mut trial = Trial::begin(target, "killed", 4).await;
    trial.join().await;
    trial.load(PAUSE).await;
    for _ in 0..3 {
        trial.acked(50).await;
        trial.fault();
        trial.target.kill_broker("broker-a").await;
        sleep(down).await;
        trial.target.start_broker("broker-a").await;
        trial.healed_within(5 * SECOND);
        trial.finished(50).await;
    }
    trial.end().await
}

#[tokio::test(start_paused = true)]
async fn f02_two_brokers_that_are_stopped_and_started_in_turn_fail_no_send() {
    let target = Target::own_paused(2).await;
    let mut trial = Trial::begin(target, "rolling", 2).await;
    trial.join().await;
    trial.load(PAUSE).await;
    for broker in ["broker-a", "broker-b", "broker-a", "broker-b"] {
        trial.acked(100).await;
        trial.fault();
        trial.target.stop_broker(broker).await;
        sleep(2 * SECOND).await;
        trial.acked(100).await;
        trial.target.start_broker(broker).await;
        trial.healed_within(5 * SECOND);
        trial.finished(100).await;
    }
    let report = trial.end().await;
    assert_eq!(report.failed, 0, "{report:?}");
}

/// The newest connection of a broker.
fn last_connection(trial: &Trial, broker: &str) -> Option<u64> {
    let journal = trial.cluster().journal();
    let of_broker = journal.find(|entry| entry.node() == broker);
    of_broker.iter().map(Entry::connection).max()
}

/// What is asked on the connections that a broker has now is neither done nor answered; new ones are well.
fn half_open(trial: &Trial, broker: &str) -> Rule {
    let last = last_connection(trial, broker);
    let cluster = trial.cluster();
    let faults = cluster.broker(broker).faults();
    faults
        .on_any()
        .when(move |entry| Some(entry.connection()) <= last)
        .drop()
}

#[tokio::test(start_paused = true)]
async fn f03_l13_a_connection_that_says_nothing_any_more_is_replaced() {
    for (brokers, sends, listeners) in [(1, 6 * SECOND, 30 * SECOND), (2, 4 * SECOND, 30 * SECOND)]
    {
        let target = Target::memory(Cluster::builder().brokers(brokers)).await;
        let mut trial = Trial::begin(target, "halfopen", 2).await;
        trial.join().await;
        trial.load(PAUSE).await;
        for _ in 0..3 {
            trial.acked(100).await;
            trial.fault();
            let rule = half_open(&trial, "broker-a");
            trial.within(sends, trial.acked(100)).await;
            // A member that has nothing to commit has only its pulls to notice it by.
            trial.within(listeners, trial.finished(200)).await;
            // It has no effect any more.
            rule.remove();
            trial.healed();
        }
        trial.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn f03_a_connection_whose_answers_get_lost_is_replaced() {
    let mut trial = Trial::begin(pair().await, "oneway", 2).await;
    trial.join().await;
    trial.load(PAUSE).await;
    trial.acked(100).await;
    trial.fault();
    let last = last_connection(&trial, "broker-a");
    let cluster = trial.cluster();
    let faults = cluster.broker("broker-a").faults();
    let old = faults
        .on_any()
        .when(move |entry| Some(entry.connection()) <= last);
    let rule = old.answer().drop();
    trial.within(4 * SECOND, trial.acked(100)).await;
    trial.within(15 * SECOND, trial.finished(200)).await;
    assert!(rule.hits() > 0);
    rule.remove();
    trial.healed();
    // What was stored and not acknowledged is there twice.
    let report = trial.end().await;
    assert!(report.failed == 0 && report.duplicates > 0, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f04_l14_a_slow_broker_beside_a_good_one_fails_no_send() {
    type Slow = fn(&Faults) -> Rule;
    let slow: [(&str, Slow); 3] = [
        ("late", |faults| faults.on_any().delay(SECOND / 5)),
        ("later", |faults| faults.on_any().delay(5 * SECOND)),
        ("trickling", |faults| {
            faults.on_sends().times(20).answer().trickle(1)
        }),
    ];
    for (name, slow) in slow {
        for tolerance in [FaultTolerance::Off, FaultTolerance::LatencyAndProbes] {
            let mut trial = Trial::begin(pair().await, name, 2).await;
            trial.join().await;
            let tolerant = |builder: DefaultProducerBuilder| builder.fault_tolerance(tolerance);
            trial.load_with(tolerant, PAUSE).await;
            trial.acked(100).await;
            trial.fault();
            let cluster = trial.cluster();
            let rule = slow(cluster.broker("broker-a").faults());
            trial.acked(300).await;
            rule.remove();
            trial.healed_within(SECOND);
            // It is used again, at the latest when a connection on which an answer trickles is given up.
            let journal = cluster.journal().from_now().patience(60 * SECOND);
            let stores = |entry: &Entry| entry.node() == "broker-a" && entry.stored().is_some();
            journal.wait_for_nth(100, stores).await.unwrap();
            trial.finished(100).await;
            let report = trial.end().await;
            assert_eq!(report.failed, 0, "{name} {tolerance:?} {report:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn f05_l15_one_request_that_is_never_answered_holds_nobody_else_up() {
    let unanswered = [
        RequestCode::SEND_MESSAGE_V2,
        RequestCode::SEND_BATCH_MESSAGE,
        RequestCode::PULL_MESSAGE,
        RequestCode::UPDATE_CONSUMER_OFFSET,
        RequestCode::HEART_BEAT,
        RequestCode::GET_CONSUMER_LIST_BY_GROUP,
    ];
    for code in unanswered {
        let target = Target::memory(Cluster::builder()).await;
        let mut trial = Trial::begin(target, "unanswered", 4).await;
        trial.join().await;
        trial.load(SECOND / 10).await;
        trial.acked(100).await;
        trial.fault();
        let is_answered = |entry: &Entry| !entry.is_oneway();
        let rule = trial
            .cluster()
            .faults()
            .on(code)
            .when(is_answered)
            .nth(1)
            .drop();
        trial.wait("one is not answered", || rule.hits() > 0).await;
        let connections = trial.cluster().journal().from_now();
        trial.acked(300).await;
        trial.finished(100).await;
        let lost = connections.count(|entry| entry.kind() == EntryKind::Closed);
        assert_eq!(lost, 0, "{code}");
        trial.healed();
        let report = trial.end().await;
        let expected = match code {
            RequestCode::SEND_MESSAGE_V2 => 1,
            RequestCode::SEND_BATCH_MESSAGE => 3,
            _ => 0,
        };
        assert_eq!(report.failed, expected, "{code} {report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn f06_l12_a_broker_that_answers_nothing_for_a_while_holds_nothing_for_longer() {
    let mut trial = Trial::begin(Target::own_paused(1).await, "mute", 2).await;
    trial.join().await;
    trial.load(PAUSE).await;
    for _ in 0..2 {
        trial.acked(50).await;
        trial.fault();
        trial.target.pause_broker("broker-a").await;
        sleep(10 * SECOND).await;
        trial.target.resume_broker("broker-a").await;
        // A real one first does what waits in its sockets, and sends meet that.
        trial.within(5 * SECOND, trial.acked(50)).await;
        trial.healed();
        trial.finished(50).await;
    }
    let report = trial.end().await;
    assert!(report.failed > 0, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f20_what_a_broker_cannot_write_it_does_not_acknowledge() {
    for (brokers, disk) in [
        (1, Disk::Full),
        (1, Disk::Failing),
        (1, Disk::Slow(2 * SECOND)),
        (2, Disk::Full),
        (2, Disk::Failing),
        (2, Disk::Slow(5 * SECOND)),
    ] {
        let target = Target::memory(Cluster::builder().brokers(brokers)).await;
        let mut trial = Trial::begin(target, "disk", 2).await;
        trial
            .join_acting(|message| match message.queue_offset() % 10 {
                // What cannot be sent back is kept, too.
                0 if message.reconsume_times() == 0 => Act::Later,
                _ => Act::Succeed,
            })
            .await;
        trial.load(PAUSE).await;
        for _ in 0..2 {
            trial.acked(100).await;
            trial.fault();
            trial.cluster().broker("broker-a").disk(disk);
            if brokers > 1 {
                trial.acked(100).await;
            }
            sleep(5 * SECOND).await;
            trial.cluster().broker("broker-a").disk(Disk::Healthy);
            trial.healed_within(5 * SECOND);
            trial.finished(100).await;
        }
        let report = trial.end().await;
        let fails = brokers == 1 && !matches!(disk, Disk::Slow(_));
        assert_eq!(report.failed > 0, fails, "{brokers} {disk:?} {report:?}");
    }
}
