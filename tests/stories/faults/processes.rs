//! Processes that are ended by signals.

use std::time::Duration;

use crate::history::{Trial, live};
use crate::target::Target;

const PAUSE: Duration = Duration::from_millis(40);

#[tokio::test]
#[ignore = "the stories of signals start it in processes of their own"]
async fn a_member_of_its_own_process() {
    live().await;
}

#[tokio::test]
async fn f36_a_process_that_is_ended_by_a_signal_loses_nothing() {
    let mut trial = Trial::begin(Target::shared().await, "signals", 4).await;
    trial.load(PAUSE).await;
    for signal in ["TERM", "INT", "KILL"] {
        let member = trial.join_process().await;
        trial.finished(50).await;
        let status = trial.end_process(member, signal).await;
        assert_eq!(status.success(), signal != "KILL", "{status}");
    }
    trial.join().await;
    trial.finished(50).await;
    let report = trial.end().await;
    assert_eq!(report.failed, 0, "{report:?}");
}

#[tokio::test]
async fn f36_another_member_takes_over_from_a_process_that_is_killed() {
    let mut trial = Trial::begin(Target::shared().await, "takes_over", 4).await;
    trial.load(PAUSE).await;
    trial.join().await;
    for _ in 0..2 {
        let member = trial.join_process().await;
        trial.finished(50).await;
        trial.end_process(member, "KILL").await;
        trial.finished(50).await;
    }
    let report = trial.end().await;
    assert_eq!(report.failed, 0, "{report:?}");
}
