//! Members that come, go and are killed, and what brokers tell them.

use std::time::Duration;

use rocketmq_testkit::{Cluster, RequestCode, ResponseCode};
use tokio::time::sleep;

use crate::history::{Act, Trial};
use crate::target::Target;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn f19_what_could_not_be_sent_back_by_a_member_that_is_killed_goes_to_another() {
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
        trial.load(SECOND).await;
        // Long enough to commit, and to try again.
        rule.wait_for_hits(20).await.unwrap();
        sleep(10 * SECOND).await;
        trial.fault();
        trial.kill(killed);
        rule.remove();
        let survivor = trial.join().await;
        trial.healed_within(30 * SECOND);
        trial.finished(50).await;
        assert_eq!(survivor, 1);
        let report = trial.end().await;
        // Where they had been stored, they come from both topics.
        assert_eq!(report.duplicates > 0, is_stored, "{report:?}");
    }
}
