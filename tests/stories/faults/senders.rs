//! Sends that come all at once, race their deadlines, or are dropped.

use std::time::Duration;

use rocketmq_testkit::{Cluster, Entry, EntryKind, RequestCode};
use tokio::time::sleep;

use crate::history::Trial;
use crate::target::Target;

const MILLISECOND: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn f10_l20_a_thousand_tasks_that_send_to_a_new_topic_look_it_up_together() {
    let mut trial = Trial::begin(Target::shared_paused().await, "crowd", 4).await;
    trial.join().await;
    let journal = trial.target.cluster().map(|it| it.journal().from_now());
    trial
        .crowd(|builder| builder.max_in_flight(2000), 1000)
        .await;
    if let Some(journal) = journal {
        let lookups = journal.requests(RequestCode::GET_ROUTEINFO_BY_TOPIC);
        let asked = |entry: &&Entry| entry.topic() == Some(&*trial.topic);
        let count = lookups.iter().filter(asked).count();
        assert!((1..=3).contains(&count), "{count} look-ups");
    }
    let report = trial.end().await;
    assert_eq!((report.failed, report.unexpected()), (0, 0), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f11_l11_an_answer_around_the_deadline_is_seen_or_too_late_and_never_both() {
    // How much later than the deadline the answer comes, in milliseconds.
    for late in [-20_i32, -2, -1, 0, 1, 2, 20] {
        let target = Target::memory(Cluster::builder()).await;
        let mut trial = Trial::begin(target, "races", 4).await;
        trial.join().await;
        let delay = (3000 + late).unsigned_abs() * MILLISECOND;
        trial.fault();
        let rule = trial.cluster().faults().on_sends().answer().delay(delay);
        trial.crowd_plainly(|builder| builder.retries(0), 500).await;
        rule.remove();
        trial.healed();
        let report = trial.end().await;
        match late {
            ..0 => assert_eq!((report.acked, report.failed), (600, 0), "{late}"),
            0 => assert_eq!(report.acked + report.failed, 600),
            1.. => assert_eq!((report.acked, report.failed), (0, 600), "{late}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn f37_a_send_that_is_dropped_anywhere_leaves_nothing() {
    let target = Target::memory(Cluster::builder().brokers(2)).await;
    let mut trial = Trial::begin(target, "dropped", 2).await;
    trial.join().await;
    for polls in 0..40 {
        trial.give_sends_up(polls).await;
        // A connection that was sent half a frame would end.
        let journal = trial.cluster().journal();
        let is_lost =
            |entry: &Entry| entry.kind() == EntryKind::Closed && entry.client_id().is_some();
        assert_eq!(journal.count(is_lost), 0, "after {polls} polls");
    }
    let report = trial.end().await;
    assert_eq!((report.failed, report.duplicates), (0, 0), "{report:?}");
    // Some were dropped before anything was sent, and some were ready by then.
    assert!(report.oneway_lost > 0, "{report:?}");
    assert!(report.acked > 40 * 6, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f12_answers_that_come_twice_late_or_for_nobody_find_their_sends_or_none() {
    let target = Target::memory(Cluster::builder().brokers(2)).await;
    let mut trial = Trial::begin(target, "mixed", 2).await;
    trial.join().await;
    trial.load(40 * MILLISECOND).await;
    trial.acked(50).await;
    let on_sends = |trial: &Trial| trial.cluster().faults().on_sends();
    let twice = on_sends(&trial).every(3).answer().duplicate();
    trial.acked(200).await;
    assert!(twice.hits() > 20);
    twice.remove();
    // Those that are held longest are let go last.
    for _ in 0..20 {
        let held = on_sends(&trial).times(4).answer().hold();
        held.wait_for_held(4).await.unwrap();
        for place in (0..4).rev() {
            held.release([place]);
        }
        held.remove();
        trial.acked(10).await;
    }
    // What was answered to nobody is sent again. Never twice in one send's time, in which it has three attempts.
    for _ in 0..3 {
        trial.fault();
        let astray = on_sends(&trial).nth(1).answer().wrong_opaque();
        trial.acked(50).await;
        assert_eq!(astray.hits(), 1);
        sleep(3000 * MILLISECOND).await;
        trial.healed();
    }
    let report = trial.end().await;
    assert_eq!(report.failed, 0, "{report:?}");
}
