//! What a cluster's journal says of its traffic.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::time::Duration;

use rocketmq_sdk::protocol::command::{Head, Serialization};
use rocketmq_sdk::protocol::message::OffsetMessageId;
use rocketmq_sdk::protocol::request::consumer_offset::UpdateConsumerOffset;
use rocketmq_sdk::protocol::request::pull_message::{PullMessage, PullSysFlag};
use rocketmq_sdk::protocol::request::send_back::SendBack;
use rocketmq_testkit::{Cluster, Entry, EntryKind, RequestCode, ResponseCode};
use support::{Client, consumer, held_pull, message, pull};

async fn cluster() -> Cluster {
    Cluster::builder()
        .topic("t", 4)
        .in_memory()
        .start()
        .await
        .unwrap()
}

fn only(entries: Vec<Entry>) -> Entry {
    let [entry] = <[Entry; 1]>::try_from(entries).unwrap();
    entry
}

#[tokio::test(start_paused = true)]
async fn a_send_is_seen_with_where_it_was_stored() {
    let cluster = cluster().await;
    let mut client = Client::broker(&cluster).await;
    for serialization in [Serialization::Json, Serialization::Binary] {
        client.serialization = serialization;
        let journal = cluster.journal().from_now();
        cluster.clock().advance(Duration::from_secs(3_600));
        let sent = message("t", 2, "UNIQ_KEY\x01K7\x02TAGS\x01a\x02");
        let (queue, offset) = client.produce(&sent, b"hello").await;

        let request = only(journal.requests(RequestCode::SEND_MESSAGE_V2));
        assert_eq!(
            (request.topic(), request.queue_id(), request.group()),
            (Some("t"), Some(2), Some("producers"))
        );
        assert_eq!(request.unique_key(), Some("K7"));
        assert_eq!(request.field("g").as_deref(), Some("1700000000000"));
        assert_eq!((request.node(), request.is_oneway()), ("broker-a", false));
        assert_eq!((request.response_code(), request.stored()), (None, None));
        assert_eq!(request.time(), cluster.clock().now());

        let answer = only(journal.answers(RequestCode::SEND_MESSAGE_V2));
        assert_eq!(answer.connection(), request.connection());
        assert_eq!(answer.opaque(), request.opaque());
        assert!(answer.is_success() && answer.was_sent());
        let stored = answer.stored().unwrap();
        assert_eq!((stored.queue_id, stored.queue_offset), (queue, offset));
        assert_eq!(stored.unique_key.as_deref(), Some("K7"));
        assert_eq!(answer.answer_field("msgId"), Some(stored.message_id));
        assert_eq!(
            (answer.topic(), answer.unique_key()),
            (Some("t"), Some("K7"))
        );
        assert!(answer.number() > request.number());
    }
}

#[tokio::test(start_paused = true)]
async fn a_pull_is_seen_with_what_it_commits_and_delivers() {
    let cluster = cluster().await;
    let mut client = Client::broker(&cluster).await;
    for tag in ["a", "b", "a"] {
        let properties = format!("TAGS\x01{tag}\x02");
        client.produce(&message("t", 1, &properties), b"m").await;
    }
    let journal = cluster.journal().from_now();
    let committing = PullMessage {
        sys_flag: PullSysFlag::SUBSCRIPTION | PullSysFlag::COMMIT_OFFSET,
        commit_offset: 7,
        ..pull("t", 1, 0, "a")
    };
    client.pull(&committing).await;
    let answer = only(journal.answers(RequestCode::PULL_MESSAGE));
    let delivered = answer.delivered().unwrap();
    assert_eq!(
        (delivered.first, delivered.last, delivered.count),
        (0, 2, 2)
    );
    assert_eq!(
        (answer.pull_offset(), answer.committed()),
        (Some(0), Some(7))
    );
    assert_eq!(answer.group(), Some("consumers"));
    assert_eq!(answer.body(), None, "messages are not kept");

    // Without the flag nothing is committed, whatever the field says.
    let journal = cluster.journal().from_now();
    client.pull(&pull("t", 1, 3, "a")).await;
    let answer = only(journal.answers(RequestCode::PULL_MESSAGE));
    assert_eq!((answer.committed(), answer.delivered()), (None, None));
    assert_eq!(answer.response_code(), Some(ResponseCode::PULL_NOT_FOUND));
    assert_eq!(answer.remark(), Some("OFFSET_OVERFLOW_ONE"));

    let update = UpdateConsumerOffset {
        consumer_group: "consumers".into(),
        topic: "t".into(),
        queue_id: 1,
        commit_offset: 3,
        ..UpdateConsumerOffset::default()
    };
    client.ok(&update, b"").await;
    let commit = only(journal.requests(RequestCode::UPDATE_CONSUMER_OFFSET));
    assert_eq!((commit.committed(), commit.queue_id()), (Some(3), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_back_is_seen() {
    let cluster = cluster().await;
    let mut client = Client::broker(&cluster).await;
    client.produce(&message("t", 0, ""), b"m").await;
    let got = client.pull(&pull("t", 0, 0, "*")).await.messages.remove(0);
    let id = OffsetMessageId {
        host: got.store_host,
        physical_offset: got.physical_offset,
    };
    let back = SendBack {
        offset: got.physical_offset,
        group: "consumers".into(),
        delay_level: 5,
        origin_msg_id: Some(id.to_string().into()),
        origin_topic: Some("t".into()),
        ..SendBack::default()
    };
    client.ok(&back, b"").await;
    let seen = only(
        cluster
            .journal()
            .answers(RequestCode::CONSUMER_SEND_MSG_BACK),
    );
    let what = seen.sent_back().unwrap();
    assert_eq!(
        (what.commit_log_offset, what.delay_level),
        (got.physical_offset, 5)
    );
    assert_eq!(what.message_id, Some(id.to_string()));
    assert_eq!((seen.topic(), seen.group()), (Some("t"), Some("consumers")));
}

#[tokio::test(start_paused = true)]
async fn connections_clients_and_callbacks_are_seen() {
    let cluster = cluster().await;
    let mut client = Client::broker(&cluster).await;
    let mut names = Client::connect(&cluster, cluster.name_server_addr()).await;
    names.route("t").await;
    client
        .heartbeat("client-1", &[consumer("g", &[("t", "*", 1)])])
        .await;
    let code = RequestCode::NOTIFY_CONSUMER_IDS_CHANGED;
    client.request(code).await;
    let journal = cluster.journal();
    let callback = journal.wait_for(|entry| entry.is_callback(code)).await;
    let callback = callback.unwrap();
    assert_eq!(callback.group(), Some("g"));
    assert_eq!(callback.client_id(), Some("client-1"));
    assert!(callback.is_oneway() && callback.was_sent());
    let heartbeat = only(journal.requests(RequestCode::HEART_BEAT));
    assert_eq!(heartbeat.groups(), ["g", "producers"]);
    assert!(heartbeat.body().unwrap().starts_with(b"{"));
    // The id is known of all that happened on the connection.
    let opened = journal.find(|entry| {
        entry.kind() == EntryKind::Connected && entry.client_id() == Some("client-1")
    });
    assert_eq!(only(opened).connection(), heartbeat.connection());
    drop(client);
    let closed = journal
        .wait_for(|entry| {
            entry.kind() == EntryKind::Closed && entry.connection() == heartbeat.connection()
        })
        .await;
    assert_eq!(closed.unwrap().node(), "broker-a");
    assert_eq!(
        journal.count(|entry| entry.node() == "name-server-a" && entry.topic() == Some("t")),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn what_clients_answer_is_seen() {
    let cluster = cluster().await;
    let mut client = Client::broker(&cluster).await;
    let mut head = Head::response(ResponseCode::SYSTEM_BUSY, 77);
    head.version = 1;
    client.send_head(&head, &message("t", 0, ""), b"").await;
    let seen = cluster
        .journal()
        .wait_for(|entry| entry.kind() == EntryKind::CallbackAnswer)
        .await
        .unwrap();
    assert_eq!(seen.opaque(), Some(77));
    assert_eq!(seen.response_code(), Some(ResponseCode::SYSTEM_BUSY));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_wants_no_answer_gets_none_but_where_it_was_stored_is_known() {
    let cluster = cluster().await;
    let mut client = Client::broker(&cluster).await;
    let head = Head::request(RequestCode::SEND_MESSAGE_V2, 500).oneway();
    client
        .send_head(&head, &message("t", 3, "UNIQ_KEY\x01K\x02"), b"m")
        .await;
    assert!(client.is_quiet().await);
    let answer = only(cluster.journal().answers(RequestCode::SEND_MESSAGE_V2));
    assert!(answer.is_oneway() && !answer.was_sent());
    assert_eq!(answer.stored().map(|stored| stored.queue_offset), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_held_pull_is_answered_later() {
    let cluster = cluster().await;
    let mut client = Client::broker(&cluster).await;
    let held = client.send(&held_pull("t", 0, 0, "*", 30_000), b"").await;
    let journal = cluster.journal();
    let is_pull = |entry: &Entry| entry.is_answer(RequestCode::PULL_MESSAGE);
    journal
        .wait_for(|entry| entry.is_request(RequestCode::PULL_MESSAGE))
        .await
        .unwrap();
    assert_eq!(journal.count(is_pull), 0);
    let mut producer = Client::broker(&cluster).await;
    producer.produce(&message("t", 0, ""), b"m").await;
    client.answer(held).await;
    assert_eq!(only(journal.find(is_pull)).delivered().unwrap().count, 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_what_was_seen_instead() {
    let cluster = cluster().await;
    let mut client = Client::broker(&cluster).await;
    client.produce(&message("t", 1, ""), b"m").await;
    let start = tokio::time::Instant::now();
    let journal = cluster.journal().patience(Duration::from_secs(3));
    let missing = journal
        .wait_for_nth(2, |entry| entry.is_answer(RequestCode::SEND_MESSAGE_V2))
        .await
        .unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    let text = missing.to_string();
    assert!(text.starts_with("1 of 2 entries came in 3s"), "{text}");
    for part in [
        "-> SEND_MESSAGE_V2 (310) opaque=1 topic=t queue=1 group=producers",
        "<- SEND_MESSAGE_V2 (310) SUCCESS (0) opaque=1",
        "stored=1:0",
        "broker-a/",
        "name-server-a/",
        "connected",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(text, format!("{missing:?}"));
}

#[tokio::test]
async fn a_wait_is_ended_by_what_comes_during_it() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let journal = cluster.journal().from_now();
    let waiting = tokio::spawn(async move {
        journal
            .wait_for_nth(200, |entry| entry.is_answer(RequestCode::SEND_MESSAGE_V2))
            .await
    });
    let mut client = Client::broker(&cluster).await;
    for _ in 0..200 {
        client.produce(&message("t", 0, ""), b"m").await;
    }
    let last = waiting.await.unwrap().unwrap();
    assert_eq!(last.stored().unwrap().queue_offset, 199);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_go_and_are_counted() {
    let cluster = Cluster::builder()
        .topic("t", 1)
        .journal(10)
        .in_memory()
        .start()
        .await
        .unwrap();
    let mut client = Client::broker(&cluster).await;
    let journal = cluster.journal().from_now();
    for _ in 0..20 {
        client.produce(&message("t", 0, ""), b"m").await;
    }
    assert_eq!((journal.entries().len(), journal.forgotten()), (10, 30));
    let offsets: Vec<_> = journal
        .answers(RequestCode::SEND_MESSAGE_V2)
        .iter()
        .map(|entry| entry.stored().unwrap().queue_offset)
        .collect();
    assert_eq!(offsets, [15, 16, 17, 18, 19]);
    assert!(journal.entries()[9].elapsed() >= journal.entries()[0].elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_a_journal_nothing_is_kept() {
    let cluster = Cluster::builder()
        .topic("t", 1)
        .journal(0)
        .in_memory()
        .start()
        .await
        .unwrap();
    let mut client = Client::broker(&cluster).await;
    client.produce(&message("t", 0, ""), b"m").await;
    assert!(cluster.journal().entries().is_empty());
}
