//! Queues that brokers share among the members of a group (400, 401). What a real broker of 5.4.0 answers.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::time::Duration;

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::java_json;
use rocketmq_sdk::protocol::request::query_assignment::{
    AssignmentBody, QueryAssignment, QueryAssignmentBody, RequestModeBody, SetRequestMode,
};
use rocketmq_testkit::Cluster;
use support::{Client, consumer};

/// In memory, with tokio's time paused. With two brokers and two members of `g`.
async fn cluster() -> (Cluster, Client, Client) {
    let cluster = Cluster::builder().brokers(2).topic("t", 3).in_memory();
    let cluster = cluster.member_expiry(Duration::MAX).start().await.unwrap();
    let mut a = Client::broker(&cluster).await;
    a.heartbeat("a", &[consumer("g", &[("t", "*", 1)])]).await;
    let mut b = Client::broker(&cluster).await;
    b.heartbeat("b", &[consumer("g", &[("t", "*", 1)])]).await;
    (cluster, a, b)
}

/// Mode, broker and number of each queue; nothing where the broker cannot say.
async fn ask(
    client: &mut Client,
    client_id: &str,
    strategy: &str,
    change: impl FnOnce(&mut QueryAssignmentBody),
) -> Option<Vec<String>> {
    let mut body = QueryAssignmentBody {
        topic: "t".to_owned(),
        consumer_group: "g".to_owned(),
        client_id: client_id.to_owned(),
        strategy_name: strategy.to_owned(),
        message_model: "CLUSTERING".to_owned(),
    };
    change(&mut body);
    let body = serde_json::to_vec(&body).unwrap();
    let answer = client.ok(&QueryAssignment, &body).await;
    let body: AssignmentBody = java_json::from_slice("assignment", &answer.body).unwrap();
    let mut queues: Vec<_> = body
        .message_queue_assignments?
        .into_iter()
        .map(|one| format!("{} {}", one.mode, one.message_queue))
        .collect();
    queues.sort();
    Some(queues)
}

#[tokio::test(start_paused = true)]
async fn members_are_given_queues_of_all_brokers() {
    let (_cluster, mut a, _b) = cluster().await;
    let nothing = |_: &mut QueryAssignmentBody| {};
    let ([one, two], [three, four]) = (
        ["PULL t@broker-a:0", "PULL t@broker-a:1"],
        ["PULL t@broker-a:2", "PULL t@broker-b:0"],
    );
    let [five, six] = ["PULL t@broker-b:1", "PULL t@broker-b:2"];
    let average = ask(&mut a, "a", "AVG", nothing).await.unwrap();
    assert_eq!(average, [one, two, three]);
    let circle = ask(&mut a, "b", "AVG_BY_CIRCLE", nothing).await.unwrap();
    assert_eq!(circle, [two, four, six]);
    let model = |body: &mut QueryAssignmentBody| body.message_model = "BROADCASTING".to_owned();
    let broadcast = ask(&mut a, "a", "AVG", model).await.unwrap();
    assert_eq!(broadcast, [one, two, three, four, five, six]);
    assert_eq!(ask(&mut a, "stranger", "AVG", nothing).await, Some(vec![]));
    assert_eq!(ask(&mut a, "a", "CONSISTENT_HASH", nothing).await, None);
    let topic = |body: &mut QueryAssignmentBody| body.topic = "nowhere".to_owned();
    assert_eq!(ask(&mut a, "a", "AVG", topic).await, None);
    let group = |body: &mut QueryAssignmentBody| body.consumer_group = "nobody".to_owned();
    assert_eq!(ask(&mut a, "a", "AVG", group).await, None);
}

#[tokio::test(start_paused = true)]
async fn without_a_name_server_nothing_is_known() {
    let (cluster, mut a, _b) = cluster().await;
    cluster.name_server().stop().await;
    assert_eq!(ask(&mut a, "a", "AVG", |_| {}).await, None);
}

fn mode(topic: &str, mode: &str, pop_share_queue_num: i32) -> Vec<u8> {
    let body = RequestModeBody {
        topic: topic.to_owned(),
        consumer_group: "g".to_owned(),
        mode: mode.to_owned(),
        pop_share_queue_num,
    };
    serde_json::to_vec(&body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_group_that_pops_gets_every_broker() {
    let (_cluster, mut a, _b) = cluster().await;
    a.ok(&SetRequestMode, &mode("t", "POP", 0)).await;
    let queues = ask(&mut a, "a", "AVG", |_| {}).await.unwrap();
    assert_eq!(queues, ["POP t@broker-a:-1", "POP t@broker-b:-1"]);
    a.ok(&SetRequestMode, &mode("t", "PULL", 0)).await;
    let queues = ask(&mut a, "a", "AVG", |_| {}).await.unwrap();
    assert_eq!(queues.len(), 3);
    for (body, code) in [
        (mode("nowhere", "POP", 0), ResponseCode::TOPIC_NOT_EXIST),
        (mode("%RETRY%g", "POP", 0), ResponseCode::NO_PERMISSION),
        (mode("t", "PUSH", 0), ResponseCode::INVALID_PARAMETER),
        (mode("t", "POP", 1), ResponseCode::INVALID_PARAMETER),
    ] {
        assert_eq!(a.refused(&SetRequestMode, &body).await, code);
    }
}
