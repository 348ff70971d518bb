//! Brokers that are killed, stopped, slow or silent.

use std::time::Duration;

use tokio::time::sleep;

use crate::history::Trial;
use crate::target::Target;

const PAUSE: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn f01_a_broker_that_is_killed_and_started_again_loses_no_acknowledged_message() {
    let target = Target::own_paused(1).await;
    let mut trial = Trial::begin(target, "killed", 4).await;
    trial.join().await;
    trial.load(PAUSE).await;
    for _ in 0..3 {
        trial.acked(100).await;
        trial.fault();
        trial.target.kill_broker("broker-a").await;
        sleep(5 * SECOND).await;
        trial.target.start_broker("broker-a").await;
        trial.healed_within(5 * SECOND);
        trial.finished(100).await;
    }
    let report = trial.end().await;
    println!("{report:?}");
    assert!(report.failed > 0, "{report:?}");
}
