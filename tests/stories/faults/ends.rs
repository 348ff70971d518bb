//! Producers and members that end while something is under way.

use std::time::Duration;

use rocketmq_sdk::{ConsumeStatus, ErrorKind, Message};
use rocketmq_testkit::Cluster;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, timeout};

use crate::history::{Act, Trial};
use crate::target::{PATIENCE, Target};

const PAUSE: Duration = Duration::from_millis(40);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn f35_l09_a_producer_that_ends_gives_every_send_an_outcome() {
    let target = Target::memory(Cluster::builder().brokers(2)).await;
    let mut trial = Trial::begin(target, "retires", 2).await;
    trial.join().await;
    for delay in [Duration::ZERO, SECOND / 10, 2 * SECOND, 60 * SECOND] {
        trial.load(PAUSE).await;
        trial.acked(50).await;
        trial.fault();
        let rule = trial.cluster().faults().on_sends().delay(delay);
        rule.wait_for_hits(5).await.unwrap();
        let began = Instant::now();
        trial.retire().await;
        assert!(began.elapsed() < 20 * SECOND);
        trial.settle().await;
        rule.remove();
        trial.healed();
    }
    let report = trial.end().await;
    assert!(report.failed > 0, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f35_l22_what_listeners_finish_while_their_member_ends_is_committed() {
    let mut trial = Trial::begin(Target::shared_paused().await, "drains", 4).await;
    trial.load(SECOND / 5).await;
    for _ in 0..4 {
        let member = trial.join_acting(|_| Act::SucceedAfter(SECOND / 3)).await;
        trial.finished(30).await;
        trial.leave(member).await;
    }
    trial.join().await;
    let report = trial.end().await;
    assert_eq!((report.failed, report.unexpected()), (0, 0), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f35_members_that_end_or_are_dropped_while_queues_are_shared_lose_nothing() {
    let mut trial = Trial::begin(Target::shared_paused().await, "hurry", 4).await;
    let act = |_: &_| Act::SucceedAfter(SECOND / 20);
    trial.join_acting(act).await;
    trial.load(SECOND / 5).await;
    for millis in [0, 1, 5, 20, 50, 200, 1000] {
        let ends = trial.join_acting(act).await;
        sleep(Duration::from_millis(millis)).await;
        trial.leave(ends).await;
        let is_dropped = trial.join_acting(act).await;
        sleep(Duration::from_millis(millis)).await;
        trial.fault();
        trial.abandon(is_dropped);
        sleep(2 * SECOND).await;
        trial.healed();
    }
    let report = trial.end().await;
    assert_eq!(report.failed, 0, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f35_a_listener_may_end_its_own_member() {
    let mut trial = Trial::begin(Target::shared_paused().await, "inside", 2).await;
    trial.load(SECOND / 5).await;
    for _ in 0..2 {
        let member = trial
            .join_with(
                |builder| builder.shutdown_timeout(SECOND),
                |message| match message.queue_offset() % 20 {
                    19 => Act::End,
                    _ => Act::Succeed,
                },
            )
            .await;
        trial.ended(member).await;
        trial.leave(member).await;
    }
    trial.join().await;
    let report = trial.end().await;
    assert_eq!(report.failed, 0, "{report:?}");
}

#[test]
fn f35_handles_may_outlive_the_runtime_of_their_clients() {
    let servers = Runtime::new().unwrap();
    let target = servers.block_on(Target::shared());
    let clients = Runtime::new().unwrap();
    let (producer, consumer, receipt) = clients.block_on(async {
        let topic = target.topic("outlived", 2).await;
        let producer = target.producer().await;
        let group = target.name("outlived");
        let consumer = target.consumer(&group).subscribe(&*topic, "*");
        let consumer = consumer.listener(|_| async { ConsumeStatus::CONSUME_SUCCESS });
        let consumer = consumer.start().await.unwrap();
        producer.send(Message::new(&*topic, "first")).await.unwrap();
        let receipt = producer
            .submit(Message::new(topic, "second"))
            .await
            .unwrap();
        (producer, consumer, receipt)
    });
    drop(clients);
    let ends = async {
        // It may have been stored, or not; but it is known.
        let _ = receipt.await;
        let (producing, consuming) = tokio::join!(producer.shutdown(), consumer.shutdown());
        assert!(producing.is_ok());
        assert_eq!(consuming.unwrap_err().kind(), ErrorKind::Closed);
        let error = producer.send(Message::new("t", "third")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
    };
    servers.block_on(async { timeout(PATIENCE, ends).await.expect("an end") });
}
