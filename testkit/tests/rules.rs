//! Faults by rule: every condition and every reaction, through the wire.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::time::Duration;

use rocketmq_sdk::protocol::command::Head;
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::protocol::request::consumer_offset::{QueryConsumerOffset, UpdateConsumerOffset};
use rocketmq_sdk::protocol::request::heartbeat::Heartbeat;
use rocketmq_sdk::protocol::request::send_message_v1::SendMessageV1;
use rocketmq_testkit::{Cluster, Faults, RequestCode, ResponseCode, Rule};
use support::{Client, consumer, heartbeat, held_pull, message, pull, route};
use tokio::time::Instant;

const BUSY: ResponseCode = ResponseCode::SYSTEM_BUSY;
const SEND: RequestCode = RequestCode::SEND_MESSAGE_V2;
const NOTICE: RequestCode = RequestCode::NOTIFY_CONSUMER_IDS_CHANGED;

async fn cluster() -> (Cluster, Client) {
    let builder = Cluster::builder().topic("t", 4).topic("u", 4);
    let cluster = builder.brokers(2).in_memory().start().await.unwrap();
    let client = Client::broker(&cluster).await;
    (cluster, client)
}

/// Sends to queue 0 of `t`; the code of the answer.
async fn send(client: &mut Client) -> ResponseCode {
    client.refused(&message("t", 0, ""), b"m").await
}

/// How many messages queue 0 of `t` has.
async fn stored(client: &mut Client) -> i64 {
    client.pull(&pull("t", 0, 0, "*")).await.max
}

async fn codes(client: &mut Client, sends: usize) -> Vec<i32> {
    let mut codes = Vec::new();
    for _ in 0..sends {
        codes.push(send(client).await.0);
    }
    codes
}

// Conditions.

#[tokio::test(start_paused = true)]
async fn a_rule_is_for_its_codes() {
    let (cluster, mut client) = cluster().await;
    let faults = cluster.faults();
    let one = faults
        .on(RequestCode::HEART_BEAT)
        .or(RequestCode::GET_MAX_OFFSET);
    let one = one.reply(BUSY, "");
    assert_eq!(send(&mut client).await, ResponseCode::SUCCESS);
    let body = heartbeat("c", &[]);
    assert_eq!(client.refused(&Heartbeat, &body).await, BUSY);
    let opaque = client
        .send_code(RequestCode::GET_MAX_OFFSET, &message("t", 0, ""), b"")
        .await;
    assert_eq!(client.answer(opaque).await.response_code(), BUSY);
    one.remove();
    client.ok(&Heartbeat, &body).await;
    assert_eq!((one.hits(), one.matched()), (2, 2));

    let sends = faults.on_sends().reply(BUSY, "");
    assert_eq!(send(&mut client).await, BUSY);
    let long = SendMessageV1 {
        topic: "t".into(),
        ..SendMessageV1::default()
    };
    assert_eq!(client.refused(&long, b"m").await, BUSY);
    assert_eq!(stored(&mut client).await, 1);
    sends.remove();

    let pulls = faults.on_pulls().pass();
    stored(&mut client).await;
    let opaque = client
        .send_code(RequestCode::LITE_PULL_MESSAGE, &pull("t", 0, 0, "*"), b"")
        .await;
    client.answer(opaque).await;
    assert_eq!(pulls.hits(), 2);

    let any = faults.on_any().reply(BUSY, "");
    assert_eq!(client.refused(&route("t"), b"").await, BUSY);
    let mut names = Client::connect(&cluster, cluster.name_server_addr()).await;
    assert_eq!(names.refused(&route("t"), b"").await, BUSY);
    assert!(any.hits() >= 2);
    faults.clear();
    names.ok(&route("t"), b"").await;
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_for_its_topic_queue_and_group() {
    let (cluster, mut client) = cluster().await;
    let faults = cluster.faults();
    let rule = faults
        .on_any()
        .topic("t")
        .queue(1)
        .group("producers")
        .reply(BUSY, "");
    for (topic, queue, hit) in [("t", 1, true), ("t", 0, false), ("u", 1, false)] {
        let code = client.refused(&message(topic, queue, ""), b"m").await;
        assert_eq!(code == BUSY, hit, "{topic} {queue}");
    }
    // The group of this one is "consumers".
    client.pull(&pull("t", 1, 0, "*")).await;
    assert_eq!(rule.hits(), 1);
    faults
        .on(RequestCode::HEART_BEAT)
        .group("h")
        .reply(BUSY, "");
    for (group, hit) in [("g", false), ("h", true)] {
        let body = heartbeat("c", &[consumer("g", &[]), consumer(group, &[])]);
        assert_eq!(
            client.refused(&Heartbeat, &body).await == BUSY,
            hit,
            "{group}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_for_its_client_connection_and_node() {
    let (cluster, mut client) = cluster().await;
    let mut other = Client::broker(&cluster).await;
    client.heartbeat("one", &[]).await;
    other.heartbeat("two", &[]).await;
    let rule = cluster.faults().on_sends().client("two").reply(BUSY, "");
    assert_eq!(send(&mut client).await, ResponseCode::SUCCESS);
    assert_eq!(send(&mut other).await, BUSY);
    rule.remove();
    let connection = cluster
        .journal()
        .find(|entry| entry.client_id() == Some("one"))[0]
        .connection();
    let rule = cluster
        .faults()
        .on_sends()
        .connection(connection)
        .reply(BUSY, "");
    assert_eq!(send(&mut client).await, BUSY);
    assert_eq!(send(&mut other).await, ResponseCode::SUCCESS);
    rule.remove();

    let faults = cluster.broker("broker-b").faults();
    let rule = faults.on_sends().reply(BUSY, "");
    let mut b = Client::connect(&cluster, cluster.broker("broker-b").addr()).await;
    assert_eq!(send(&mut client).await, ResponseCode::SUCCESS);
    assert_eq!(send(&mut b).await, BUSY);
    // Rules of other nodes stay.
    cluster.name_server().faults().clear();
    cluster.broker("broker-a").faults().clear();
    assert_eq!(send(&mut b).await, BUSY);
    faults.clear();
    assert_eq!(send(&mut b).await, ResponseCode::SUCCESS);
    assert_eq!(rule.hits(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_for_what_a_closure_says() {
    let (cluster, mut client) = cluster().await;
    let on = cluster.faults().on_sends();
    let rule = on
        .when(|entry| entry.unique_key() == Some("K2"))
        .reply(BUSY, "");
    for (key, hit) in [("K1", false), ("K2", true)] {
        let properties = format!("UNIQ_KEY\x01{key}\x02");
        let code = client.refused(&message("t", 0, &properties), b"m").await;
        assert_eq!(code == BUSY, hit, "{key}");
    }
    assert_eq!(rule.hits(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rule_hits_some_of_what_it_is_for() {
    let (cluster, mut client) = cluster().await;
    let faults = cluster.faults();
    let on = || faults.on_sends().topic("t");
    let mut try_out = async |rule: Rule, expected: [i32; 6]| {
        assert_eq!(codes(&mut client, 6).await, expected, "{rule:?}");
        let hits = expected.iter().filter(|code| **code != 0).count() as u64;
        assert_eq!((rule.hits(), rule.matched()), (hits, 6));
        rule.remove();
    };
    try_out(on().nth(3).reply(BUSY, ""), [0, 0, 2, 0, 0, 0]).await;
    try_out(on().times(2).reply(BUSY, ""), [2, 2, 0, 0, 0, 0]).await;
    try_out(on().skip(4).reply(BUSY, ""), [0, 0, 0, 0, 2, 2]).await;
    try_out(on().every(2).reply(BUSY, ""), [0, 2, 0, 2, 0, 2]).await;
    try_out(
        on().skip(1).every(2).times(1).reply(BUSY, ""),
        [0, 0, 2, 0, 0, 0],
    )
    .await;
    try_out(on().probability(1.0).reply(BUSY, ""), [2; 6]).await;
    try_out(on().probability(0.0).reply(BUSY, ""), [0; 6]).await;
}

#[tokio::test(start_paused = true)]
async fn chance_is_the_same_with_the_same_seed() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let builder = Cluster::builder().topic("t", 1).in_memory().seed(seed);
        let cluster = builder.start().await.unwrap();
        cluster.faults().on_sends().probability(0.3).reply(BUSY, "");
        let mut client = Client::broker(&cluster).await;
        runs.push(codes(&mut client, 40).await);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    let hit = runs[0].iter().filter(|code| **code == 2).count();
    assert!((3..25).contains(&hit), "{hit}");
}

#[tokio::test(start_paused = true)]
async fn the_first_rule_that_hits_decides() {
    let (cluster, mut client) = cluster().await;
    let faults = cluster.faults();
    faults.on_sends().nth(2).reply(ResponseCode(100), "");
    faults.on_sends().topic("t").every(2).pass();
    faults.on_sends().reply(ResponseCode(101), "");
    // 1: nobody before the last. 2: the first. 3: the pass, which sees its second. 4: the last.
    assert_eq!(codes(&mut client, 4).await, [101, 100, 0, 101]);
}

#[test]
fn conditions_that_cannot_be_are_refused() {
    let try_out = |rule: fn(&Faults)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let failed = std::panic::catch_unwind(|| {
            runtime.block_on(async {
                let cluster = Cluster::builder().in_memory().start().await.unwrap();
                rule(cluster.faults());
            });
        });
        assert!(failed.is_err());
    };
    try_out(|faults| drop(faults.on_any().nth(0)));
    try_out(|faults| drop(faults.on_any().every(0)));
    try_out(|faults| drop(faults.on_any().probability(1.5)));
    try_out(|faults| drop(faults.on_any().answer().trickle(0)));
}

// Reactions to requests.

#[tokio::test(start_paused = true)]
async fn a_request_is_refused() {
    let (cluster, mut client) = cluster().await;
    cluster.faults().on_sends().reply(BUSY, "too much");
    let answer = client.call(&message("t", 0, ""), b"m").await;
    assert_eq!(answer.response_code(), BUSY);
    assert_eq!(answer.remark.as_deref(), Some("too much"));
    assert_eq!(stored(&mut client).await, 0);
    let entry = cluster.journal().answers(SEND).remove(0);
    assert_eq!(entry.response_code(), Some(BUSY));
    let fault = cluster.journal().requests(SEND)[0]
        .fault()
        .unwrap()
        .to_owned();
    assert_eq!(
        fault,
        "on SEND_MESSAGE (10)|SEND_MESSAGE_V2 (310)|SEND_BATCH_MESSAGE (320)|SEND_REPLY_MESSAGE (324)|SEND_REPLY_MESSAGE_V2 (325): reply SYSTEM_BUSY (2)"
    );
    // One that wants no answer is not served, and gets none.
    let head = Head::request(SEND, 77).oneway();
    client.send_head(&head, &message("t", 0, ""), b"m").await;
    assert!(client.is_quiet().await);
    assert_eq!(stored(&mut client).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_served_later() {
    let (cluster, mut client) = cluster().await;
    cluster
        .faults()
        .on_sends()
        .times(1)
        .delay(Duration::from_secs(60));
    let start = Instant::now();
    let late = client.send(&message("t", 0, ""), b"late").await;
    assert_eq!(stored(&mut client).await, 0);
    client.produce(&message("t", 0, ""), b"early").await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    let answer = client.answer_within(late, Duration::from_secs(61)).await;
    assert_eq!(answer.fields.find("queueOffset").as_deref(), Some("1"));
    assert_eq!(start.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn requests_are_held_and_let_go_in_an_order() {
    let (cluster, mut client) = cluster().await;
    let held = cluster.faults().on_sends().hold();
    for at in 0..4_u8 {
        client.send(&message("t", 0, ""), &[at]).await;
    }
    held.wait_for_held(4).await.unwrap();
    assert_eq!(stored(&mut client).await, 0);
    held.release([3, 1, 9, 1]);
    assert_eq!(held.held(), 2);
    assert_eq!(client.opaques(2).await, [4, 2]);
    held.release_all();
    assert_eq!(client.opaques(2).await, [1, 3]);
    let pulled = client.pull(&pull("t", 0, 0, "*")).await;
    assert_eq!(pulled.bodies(), [[3], [1], [0], [2]]);
    // The rule goes on; what it holds goes when it is removed.
    let last = client.send(&message("t", 0, ""), b"m").await;
    held.wait_for_held(1).await.unwrap();
    held.remove();
    client.answer(last).await;
    assert_eq!(held.hits(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_not_served_and_not_answered() {
    let (cluster, mut client) = cluster().await;
    let rule = cluster.faults().on_sends().times(1).drop();
    client.send(&message("t", 0, ""), b"m").await;
    rule.wait_for_hits(1).await.unwrap();
    assert!(client.is_quiet().await);
    assert_eq!(stored(&mut client).await, 0);
    assert_eq!(send(&mut client).await, ResponseCode::SUCCESS);
    assert_eq!(cluster.journal().answers(SEND).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_before_a_request_is_served() {
    let (cluster, mut client) = cluster().await;
    cluster.faults().on_sends().disconnect();
    client.send(&message("t", 0, ""), b"m").await;
    client.closed().await;
    assert_eq!(stored(&mut Client::broker(&cluster).await).await, 0);
}

// Reactions to answers.

#[tokio::test(start_paused = true)]
async fn an_answer_comes_later() {
    let (cluster, mut client) = cluster().await;
    cluster
        .faults()
        .on_sends()
        .times(1)
        .answer()
        .delay(Duration::from_secs(60));
    let late = client.send(&message("t", 0, ""), b"m").await;
    assert_eq!(stored(&mut client).await, 1);
    let start = Instant::now();
    let answer = client.answer_within(late, Duration::from_secs(61)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(60));
    assert_eq!(answer.fields.find("queueOffset").as_deref(), Some("0"));
}

#[tokio::test(start_paused = true)]
async fn answers_are_held_and_let_go_in_an_order() {
    let (cluster, mut client) = cluster().await;
    let held = cluster.faults().on_sends().answer().hold();
    for at in 0..3_u8 {
        client.send(&message("t", 0, ""), &[at]).await;
    }
    held.wait_for_held(3).await.unwrap();
    assert_eq!(stored(&mut client).await, 3);
    held.release([2, 0, 1]);
    assert_eq!(client.opaques(3).await, [3, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_does_not_come() {
    let (cluster, mut client) = cluster().await;
    cluster.faults().on_sends().nth(2).answer().drop();
    client
        .produce(&message("t", 0, "UNIQ_KEY\x01A\x02"), b"m")
        .await;
    client
        .send(&message("t", 0, "UNIQ_KEY\x01B\x02"), b"m")
        .await;
    assert!(client.is_quiet().await);
    assert_eq!(stored(&mut client).await, 2);
    let lost = cluster.journal().answers(SEND).remove(1);
    assert!(!lost.was_sent(), "{lost}");
    assert_eq!(lost.stored().unwrap().unique_key.as_deref(), Some("B"));
    assert!(lost.fault().unwrap().ends_with("drop"), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_instead_of_an_answer() {
    let (cluster, mut client) = cluster().await;
    cluster.faults().on_sends().answer().disconnect();
    client.send(&message("t", 0, ""), b"m").await;
    assert!(client.rest().await.is_empty());
    assert_eq!(stored(&mut Client::broker(&cluster).await).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_in_the_middle_of_an_answer() {
    for after in [0, 1, 4, 9, 50] {
        let (cluster, mut client) = cluster().await;
        cluster.faults().on_sends().answer().cut(after);
        client.send(&message("t", 0, ""), b"m").await;
        assert_eq!(client.rest().await.len(), after);
        let cut = cluster.journal().answers(SEND).remove(0);
        assert!(!cut.was_sent(), "{cut}");
    }
    // It ends when the answer is over.
    let (cluster, mut client) = cluster().await;
    cluster.faults().on_sends().answer().cut(10_000);
    client.send(&message("t", 0, ""), b"m").await;
    let whole = cluster.journal().patience(Duration::from_secs(1));
    let whole = whole.wait_for(|entry| entry.is_answer(SEND)).await.unwrap();
    assert_eq!(Some(client.rest().await.len()), whole.size());
    assert!(whole.was_sent(), "{whole}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_says_nothing_more_and_stays() {
    let (cluster, mut client) = cluster().await;
    let rule = cluster.faults().on_sends().answer().half_close();
    client.send(&message("t", 0, ""), b"m").await;
    assert!(client.rest().await.is_empty());
    // What is asked now is read, and not served.
    client.send(&message("t", 0, ""), b"m").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.broker("broker-a").connections(), 1);
    assert_eq!(rule.matched(), 1);
    drop(client);
    assert_eq!(stored(&mut Client::broker(&cluster).await).await, 1);
    assert_eq!(cluster.broker("broker-a").connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn other_bytes_come_instead_of_an_answer() {
    let (cluster, mut client) = cluster().await;
    let on = cluster.faults().on_sends().answer();
    on.edit_frame(|frame| *frame = b"\0\0\0\x01".to_vec());
    client.send(&message("t", 0, ""), b"m").await;
    assert!(client.breaks().await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_twice() {
    let (cluster, mut client) = cluster().await;
    cluster.faults().on_sends().answer().duplicate();
    let opaque = client.send(&message("t", 0, ""), b"m").await;
    assert_eq!(client.opaques(2).await, [opaque, opaque]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_with_an_opaque_that_nobody_waits_for() {
    let (cluster, mut client) = cluster().await;
    cluster.faults().on_sends().answer().wrong_opaque();
    let opaque = client.send(&message("t", 0, ""), b"m").await;
    assert_eq!(client.opaques(1).await, [!opaque]);
}

#[tokio::test(start_paused = true)]
async fn the_bytes_of_an_answer_are_corrupted() {
    for bytes in [0..1, 4..5, 5..6] {
        let (cluster, mut client) = cluster().await;
        cluster.faults().on_sends().answer().corrupt(bytes.clone());
        client.send(&message("t", 0, ""), b"m").await;
        assert!(client.breaks().await, "{bytes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_longer_than_it_should_be() {
    let (cluster, mut client) = cluster().await;
    let rule = cluster
        .faults()
        .on_sends()
        .answer()
        .oversize(frame::MAX_FRAME);
    let answer = client.call(&message("t", 0, ""), b"m").await;
    assert!(answer.body.len() > frame::MAX_FRAME - 1_000);
    rule.remove();
    cluster
        .faults()
        .on_sends()
        .answer()
        .oversize(frame::MAX_FRAME + 1);
    client.send(&message("t", 0, ""), b"m").await;
    assert!(client.breaks().await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_trickles() {
    let (cluster, mut client) = cluster().await;
    let start = Instant::now();
    cluster.faults().on_sends().times(1).answer().trickle(10);
    let slow = client.send(&message("t", 0, ""), b"m").await;
    let behind = client.send(&message("t", 0, ""), b"m").await;
    client.answer_within(slow, Duration::from_secs(600)).await;
    let size = cluster.journal().answers(SEND)[0].size().unwrap();
    // The last byte comes a tenth of a second earlier than its tenth is over.
    let expected = Duration::from_millis(100) * (size as u32 - 1);
    assert_eq!(start.elapsed(), expected);
    client.answer(behind).await;
    assert_eq!(start.elapsed(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_says_is_changed() {
    let (cluster, mut client) = cluster().await;
    let query = QueryConsumerOffset {
        consumer_group: "consumers".into(),
        topic: "t".into(),
        queue_id: 0,
        ..QueryConsumerOffset::default()
    };
    client.pull(&pull("t", 0, 0, "*")).await;
    let commit = UpdateConsumerOffset {
        consumer_group: "consumers".into(),
        topic: "t".into(),
        queue_id: 0,
        commit_offset: 7,
        ..UpdateConsumerOffset::default()
    };
    client.ok(&commit, b"").await;
    let on = cluster.faults().on(RequestCode::QUERY_CONSUMER_OFFSET);
    let rule = on.answer().set_field("offset", "-1");
    let answer = client.ok(&query, b"").await;
    assert_eq!(answer.fields.find("offset").as_deref(), Some("-1"));
    rule.remove();
    assert_eq!(
        client
            .ok(&query, b"")
            .await
            .fields
            .find("offset")
            .as_deref(),
        Some("7")
    );

    client.produce(&message("t", 0, ""), b"m").await;
    cluster.faults().on_pulls().answer().edit_body(|body| {
        let last = body.len() - 1;
        body.truncate(last);
    });
    let opaque = client.send(&pull("t", 0, 0, "*"), b"").await;
    let answer = client.answer(opaque).await;
    let size = i32::from_be_bytes(*answer.body.first_chunk().unwrap());
    assert_eq!(size as usize, answer.body.len() + 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_given_later_is_hit_too() {
    let (cluster, mut client) = cluster().await;
    let rule = cluster.faults().on_pulls().answer().duplicate();
    let held = client.send(&held_pull("t", 0, 0, "*", 30_000), b"").await;
    rule.wait_for_hits(1).await.unwrap();
    send(&mut Client::broker(&cluster).await).await;
    assert_eq!(client.opaques(2).await, [held, held]);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_is_none_for_rules_on_answers() {
    let (cluster, mut client) = cluster().await;
    let rule = cluster.faults().on_sends().answer().disconnect();
    let head = Head::request(SEND, 77).oneway();
    client.send_head(&head, &message("t", 0, ""), b"m").await;
    assert_eq!(stored(&mut client).await, 1);
    assert_eq!((rule.hits(), rule.matched()), (0, 0));
}

// Requests to clients.

#[tokio::test(start_paused = true)]
async fn requests_to_clients_are_hit() {
    let (cluster, mut client) = cluster().await;
    let faults = cluster.faults();
    let mut version = 0;
    let mut join = async |client: &mut Client| {
        version += 1;
        let group = format!("g{version}");
        client
            .heartbeat("c", &[consumer(&group, &[("t", "*", 1)])])
            .await;
        group
    };
    let rule = faults.on_callback(NOTICE).times(1).drop();
    join(&mut client).await;
    assert!(client.is_quiet().await);
    assert_eq!(rule.hits(), 1);
    let lost = cluster.journal().find(|entry| entry.is_callback(NOTICE));
    assert!(!lost[0].was_sent() && lost[0].fault().is_some());

    faults.on_callback(NOTICE).times(1).duplicate();
    join(&mut client).await;
    client.request(NOTICE).await;
    client.request(NOTICE).await;

    let held = faults.on_callback(NOTICE).group("g3").hold();
    join(&mut client).await;
    assert!(client.is_quiet().await);
    held.release_all();
    let notice = client.request(NOTICE).await;
    assert_eq!(notice.fields.find("consumerGroup").as_deref(), Some("g3"));

    let start = Instant::now();
    faults
        .on_callback(NOTICE)
        .times(1)
        .delay(Duration::from_secs(5));
    join(&mut client).await;
    client.request(NOTICE).await;
    assert_eq!(start.elapsed(), Duration::from_secs(5));

    faults.on_callback(NOTICE).times(1).disconnect();
    let head = Head::request(RequestCode::HEART_BEAT, 99);
    let body = heartbeat("c", &[consumer("g9", &[("t", "*", 1)])]);
    client.send_head(&head, &Heartbeat, &body).await;
    client.closed().await;
}

// While it runs.

#[tokio::test]
async fn rules_come_and_go_while_requests_are_on_their_way() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    let held = cluster.faults().on_sends().answer().hold();
    let mut opaques = Vec::new();
    for _ in 0..100 {
        opaques.push(client.send(&message("t", 0, ""), b"m").await);
    }
    held.wait_for_held(100).await.unwrap();
    let drops = cluster.faults().on_sends().drop();
    held.remove();
    for opaque in opaques {
        client.answer(opaque).await;
    }
    client.send(&message("t", 0, ""), b"m").await;
    drops.wait_for_hits(1).await.unwrap();
    cluster.faults().clear();
    assert_eq!(send(&mut client).await, ResponseCode::SUCCESS);
    assert_eq!(stored(&mut client).await, 101);
}

#[tokio::test(start_paused = true)]
async fn what_is_put_off_ends_with_its_connection() {
    let (cluster, mut client) = cluster().await;
    cluster
        .faults()
        .on_sends()
        .times(1)
        .delay(Duration::from_secs(5));
    let held = cluster.faults().on_sends().times(1).hold();
    client.send(&message("t", 0, ""), b"m").await;
    client.send(&message("t", 0, ""), b"m").await;
    held.wait_for_held(1).await.unwrap();
    drop(client);
    tokio::time::sleep(Duration::from_secs(6)).await;
    held.release_all();
    assert_eq!(stored(&mut Client::broker(&cluster).await).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_broker_stops_in_time_whatever_it_is_doing() {
    let (cluster, mut client) = cluster().await;
    let rule = cluster.faults().on_sends().answer().trickle(1);
    client.send(&message("t", 0, ""), b"m").await;
    rule.wait_for_hits(1).await.unwrap();
    let start = Instant::now();
    cluster.broker("broker-a").stop().await;
    assert!(start.elapsed() < Duration::from_secs(5));
    client.closed().await;
}

#[tokio::test(start_paused = true)]
async fn waiting_for_hits_ends_with_what_the_rule_is() {
    let (cluster, mut client) = cluster().await;
    let rule = cluster.faults().on(SEND).topic("t").skip(1).drop();
    send(&mut client).await;
    let text = rule.wait_for_hits(1).await.unwrap_err().to_string();
    assert_eq!(
        text,
        "the rule \"on SEND_MESSAGE_V2 (310) topic=t: drop\" hit 0 of 1 in 10s; it was for 1"
    );
}
