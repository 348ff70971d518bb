//! What brokers answer members that is an error, late, or not true.

use std::time::Duration;

use rocketmq_sdk::ClientConfig;
use rocketmq_testkit::{Cluster, Entry, RequestCode, ResponseCode, Rule};

use crate::history::{Act, Trial};
use crate::target::Target;

const SECOND: Duration = Duration::from_secs(1);

/// The codes that brokers have, and some that they do not.
fn codes() -> impl Iterator<Item = ResponseCode> {
    (1..=210)
        .chain([501, 604, 1500, -1000, 2004, 3001])
        .map(ResponseCode)
}

#[tokio::test(start_paused = true)]
async fn f13_a_member_gets_over_every_code_of_every_request() {
    let target = Target::memory(Cluster::builder()).await;
    let config = ClientConfig::default().heartbeat_interval(SECOND);
    let config = config.name_server(target.name_server());
    let mut trial = Trial::begin(target, "codes", 2).await;
    trial
        .join_with(|builder| builder.config(config), |_| Act::Succeed)
        .await;
    trial.load(4 * SECOND).await;
    let requests = [
        RequestCode::PULL_MESSAGE,
        RequestCode::UPDATE_CONSUMER_OFFSET,
        RequestCode::HEART_BEAT,
        RequestCode::GET_CONSUMER_LIST_BY_GROUP,
    ];
    for code in codes() {
        trial.fault();
        let group = trial.group.clone();
        let rules = requests.map(|request| {
            let on = trial.cluster().faults().on(request);
            let on = on.when({
                let group = group.clone();
                move |entry| entry.groups().contains(&group) || entry.group() == Some(&group)
            });
            on.times(1).reply(code, "as the story wants")
        });
        trial
            .wait("all were refused once", || {
                rules.iter().all(|rule| rule.hits() == 1)
            })
            .await;
        rules.iter().for_each(Rule::remove);
        trial.healed_within(10 * SECOND);
        trial.finished(5).await;
    }
    let report = trial.end().await;
    assert_eq!((report.failed, report.duplicates), (0, 0), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f13_l04_a_member_begins_where_its_group_is_after_every_code() {
    let target = Target::memory(Cluster::builder()).await;
    let mut trial = Trial::begin(target, "begins", 4).await;
    let first = trial.join().await;
    trial.load(SECOND).await;
    trial.finished(50).await;
    trial.leave(first).await;
    // A group that is not found has no offset, and that is no error.
    let errors = codes().filter(|code| *code != ResponseCode::QUERY_NOT_FOUND);
    let rules: Vec<_> = errors
        .map(|code| {
            let on = trial
                .cluster()
                .faults()
                .on(RequestCode::QUERY_CONSUMER_OFFSET);
            on.times(1).reply(code, "as the story wants")
        })
        .collect();
    trial.fault();
    trial.join().await;
    trial
        .wait("all were refused once", || {
            rules.iter().all(|rule| rule.hits() == 1)
        })
        .await;
    trial.healed_within(10 * SECOND);
    trial.finished(50).await;
    let report = trial.end().await;
    assert_eq!((report.failed, report.duplicates), (0, 0), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f14_l03_a_member_that_cannot_ask_for_its_offset_asks_again() {
    let target = Target::memory(Cluster::builder()).await;
    let mut trial = Trial::begin(target, "asks", 4).await;
    let first = trial.join().await;
    trial.load(SECOND).await;
    trial.finished(50).await;
    trial.leave(first).await;
    let on = |trial: &Trial| {
        trial
            .cluster()
            .faults()
            .on(RequestCode::QUERY_CONSUMER_OFFSET)
    };
    type Fail = fn(rocketmq_testkit::OnRequest) -> Rule;
    let ways: [Fail; 5] = [
        |on| on.drop(),
        |on| on.disconnect(),
        |on| on.delay(4 * SECOND),
        |on| on.answer().set_field("offset", "many"),
        |on| on.answer().cut(30),
    ];
    for fail in ways {
        trial.fault();
        let rule = fail(on(&trial).times(8));
        let member = trial.join().await;
        rule.wait_for_hits(8).await.unwrap();
        trial.healed_within(10 * SECOND);
        trial.finished(50).await;
        trial.leave(member).await;
    }
    let report = trial.end().await;
    assert_eq!((report.failed, report.duplicates), (0, 0), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn f14_an_offset_behind_the_end_is_corrected_once() {
    let target = Target::memory(Cluster::builder()).await;
    let mut trial = Trial::begin(target, "elsewhere", 1).await;
    for offset in ["1000000", "9223372036854775807"] {
        let member = trial.join().await;
        trial.load(SECOND).await;
        trial.finished(50).await;
        trial.settle().await;
        trial.leave(member).await;
        trial.fault();
        let on = trial
            .cluster()
            .faults()
            .on(RequestCode::QUERY_CONSUMER_OFFSET);
        let on = on.topic(&*trial.topic).times(1);
        let rule = on.answer().set_field("offset", offset);
        let corrections = trial.cluster().journal().from_now();
        let member = trial.join().await;
        rule.wait_for_hits(1).await.unwrap();
        trial.healed();
        trial.load(SECOND).await;
        trial.finished(50).await;
        trial.settle().await;
        trial.leave(member).await;
        let is_correction =
            |entry: &Entry| entry.response_code() == Some(ResponseCode::PULL_OFFSET_MOVED);
        assert_eq!(corrections.count(is_correction), 1, "{offset}");
    }
    let report = trial.end().await;
    assert_eq!((report.failed, report.duplicates), (0, 0), "{report:?}");
}
