//! Half messages, their ends (37), and the broker's questions (39). By turning the clock.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use std::time::{Duration, SystemTime};

use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::command::{Command, Head};
use rocketmq_sdk::protocol::message::{OffsetMessageId, StoredMessage, TransactionType};
use rocketmq_sdk::protocol::request::check_transaction_state::CheckTransactionState;
use rocketmq_sdk::protocol::request::end_transaction::EndTransaction;
use rocketmq_sdk::protocol::request::send_message::{SendMessage, SendMessageResponse};
use rocketmq_testkit::{Cluster, Loss};
use support::{Client, message, pull};

const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";

/// In memory, with tokio's time paused: the clock moves only when it is turned.
async fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::builder()
        .topic("t", 2)
        .member_expiry(Duration::MAX)
        .in_memory()
        .start()
        .await
        .unwrap();
    let mut client = Client::broker(&cluster).await;
    client.heartbeat("p", &[]).await;
    (cluster, client)
}

fn now(cluster: &Cluster) -> i64 {
    let since = cluster.clock().now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_millis() as i64
}

/// Where a half message is.
#[derive(Debug, Clone, Copy)]
struct Half {
    table_offset: i64,
    log_offset: i64,
}

async fn send_half(cluster: &Cluster, client: &mut Client, id: &str, more: &str) -> Half {
    let properties = format!(
        "TRAN_MSG\x01true\x02PGROUP\x01producers\x02UNIQ_KEY\x01{id}\x02TAGS\x01a\x02{more}"
    );
    let sent = SendMessage {
        flag: 7,
        sys_flag: TransactionType::Prepared.bits(),
        born_timestamp: now(cluster),
        ..message("t", 1, &properties)
    };
    let answer = client.ok(&sent, b"m").await;
    let stored: SendMessageResponse<'_> = answer.header().unwrap();
    assert_eq!(
        (stored.queue_id, stored.transaction_id.as_deref()),
        (1, Some(id))
    );
    let offset_id: OffsetMessageId = stored.msg_id.parse().unwrap();
    Half {
        table_offset: stored.queue_offset,
        log_offset: offset_id.physical_offset,
    }
}

fn end(half: Half, kind: TransactionType) -> EndTransaction<'static> {
    EndTransaction {
        topic: Some("t".into()),
        producer_group: "producers".into(),
        tran_state_table_offset: half.table_offset,
        commit_log_offset: half.log_offset,
        commit_or_rollback: kind.bits(),
        from_transaction_check: Some(false),
        msg_id: "ID".into(),
        ..EndTransaction::default()
    }
}

fn asked(half: Half, kind: TransactionType) -> EndTransaction<'static> {
    EndTransaction {
        from_transaction_check: Some(true),
        ..end(half, kind)
    }
}

async fn all(client: &mut Client) -> Vec<StoredMessage> {
    client.pull(&pull("t", 1, 0, "*")).await.messages
}

async fn check(client: &mut Client) -> (Half, StoredMessage, Command) {
    let command = client.request(RequestCode::CHECK_TRANSACTION_STATE).await;
    let header: CheckTransactionState<'_> = command.header().unwrap();
    let half = Half {
        table_offset: header.tran_state_table_offset,
        log_offset: header.commit_log_offset,
    };
    let message = StoredMessage::decode(&mut command.body.clone()).unwrap();
    (half, message, command)
}

#[tokio::test(start_paused = true)]
async fn a_half_message_is_seen_when_it_is_committed_and_not_before() {
    let (cluster, mut client) = cluster().await;
    let half = send_half(&cluster, &mut client, "ID", "").await;
    assert_eq!(half.table_offset, 0, "in the queue of half messages");
    assert!(all(&mut client).await.is_empty());
    client.ok(&end(half, TransactionType::Commit), b"").await;
    let got = all(&mut client).await.remove(0);
    assert_eq!((&got.body[..], got.flag, got.queue_id), (&b"m"[..], 7, 1));
    assert_eq!(got.sys_flag.transaction(), TransactionType::Commit);
    assert_eq!(got.prepared_transaction_offset, half.log_offset);
    for (name, value) in [
        ("TRAN_MSG", "true"),
        ("PGROUP", "producers"),
        ("__transactionId__", "ID"),
        ("TAGS", "a"),
    ] {
        assert_eq!(got.property(name), Some(value), "{name}");
    }
    assert_eq!(
        got.property("REAL_TOPIC")
            .or_else(|| got.property("REAL_QID")),
        None
    );
    let noted = client
        .pull(&pull("RMQ_SYS_TRANS_OP_HALF_TOPIC", 0, 0, "d"))
        .await;
    assert_eq!(noted.bodies(), [b"0,"]);
    cluster.clock().advance(Duration::from_secs(60));
    assert!(client.is_quiet().await, "nobody is asked about it");
}

#[tokio::test(start_paused = true)]
async fn a_half_message_that_is_rolled_back_is_never_seen() {
    let (cluster, mut client) = cluster().await;
    let half = send_half(&cluster, &mut client, "ID", "").await;
    client.ok(&end(half, TransactionType::Rollback), b"").await;
    cluster.clock().advance(Duration::from_secs(60));
    assert!(client.is_quiet().await && all(&mut client).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_group_is_asked_after_the_timeout_and_what_it_says_counts() {
    let (cluster, mut client) = cluster().await;
    let half = send_half(&cluster, &mut client, "ID", "").await;
    // Says nothing, and is not answered.
    let unknown = Head::request(RequestCode::END_TRANSACTION, 1_000);
    client
        .send_head(&unknown, &end(half, TransactionType::None), b"")
        .await;
    assert!(client.is_quiet().await);
    cluster.clock().advance(Duration::from_secs(30));
    let (copy, message, command) = check(&mut client).await;
    assert!(command.head.is_oneway());
    let header: CheckTransactionState<'_> = command.header().unwrap();
    let id = header.offset_msg_id.as_deref().unwrap();
    let id: OffsetMessageId = id.parse().unwrap();
    assert_eq!(id.physical_offset, copy.log_offset);
    assert_eq!(
        (
            header.msg_id.as_deref(),
            header.transaction_id.as_deref(),
            header.topic.as_deref()
        ),
        (Some("ID"), Some("ID"), Some(HALF_TOPIC))
    );
    assert_eq!(header.broker_name.as_deref(), Some("broker-a"));
    assert_eq!((message.topic.as_str(), message.queue_id), ("t", 1));
    assert_eq!((&message.body[..], message.flag), (&b"m"[..], 7));
    assert_eq!(message.property("TRANSACTION_CHECK_TIMES"), Some("1"));
    assert_eq!(
        (message.queue_offset, message.physical_offset),
        (copy.table_offset, copy.log_offset)
    );
    assert_eq!(copy.table_offset, 1, "it was written once more");

    cluster.clock().advance(Duration::from_secs(30));
    let (copy, message, _) = check(&mut client).await;
    assert_eq!(message.property("TRANSACTION_CHECK_TIMES"), Some("2"));
    client.ok(&asked(copy, TransactionType::Commit), b"").await;
    let got = all(&mut client).await.remove(0);
    assert_eq!(
        (&got.body[..], got.flag),
        (&b"m"[..], 0),
        "Apache forgets the flag"
    );
    cluster.clock().advance(Duration::from_secs(60));
    assert!(client.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn a_young_one_waits_for_the_next_look() {
    let (cluster, mut client) = cluster().await;
    cluster.clock().advance(Duration::from_secs(25));
    send_half(&cluster, &mut client, "ID", "").await;
    cluster.clock().advance(Duration::from_secs(5));
    assert!(client.is_quiet().await, "it is 5 s old");
    cluster.clock().advance(Duration::from_secs(30));
    check(&mut client).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_asks_for_patience_gets_it_and_cannot_be_ended_late() {
    let (cluster, mut client) = cluster().await;
    let patience = "CHECK_IMMUNITY_TIME_IN_SECONDS\x0170\x02";
    let half = send_half(&cluster, &mut client, "ONE", patience).await;
    let other = send_half(&cluster, &mut client, "TWO", patience).await;
    for _ in 0..2 {
        cluster.clock().advance(Duration::from_secs(30));
        assert!(client.is_quiet().await);
    }
    // The producer knows nothing of the copies that were made meanwhile.
    client.ok(&end(other, TransactionType::Commit), b"").await;
    cluster.clock().advance(Duration::from_secs(30));
    let (copy, message, _) = check(&mut client).await;
    assert_eq!(message.property("UNIQ_KEY"), Some("ONE"));
    assert_eq!(message.property("TRAN_PREPARED_QUEUE_OFFSET"), Some("0"));
    assert!(client.is_quiet().await, "the other is committed");
    let late = client.call(&end(half, TransactionType::Commit), b"").await;
    assert_eq!(late.response_code(), ResponseCode::ILLEGAL_OPERATION);
    client.ok(&asked(copy, TransactionType::Commit), b"").await;
    assert_eq!(all(&mut client).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn any_member_is_asked_and_after_fifteen_times_nobody() {
    let (cluster, mut client) = cluster().await;
    let mut other = Client::broker(&cluster).await;
    other.heartbeat("q", &[]).await;
    send_half(&cluster, &mut client, "ID", "").await;
    let mut times = Vec::new();
    for turn in 0..16 {
        cluster.clock().advance(Duration::from_secs(30));
        if turn < 15 {
            let member = if turn % 2 == 0 {
                &mut other
            } else {
                &mut client
            };
            let (_, message, _) = check(member).await;
            times.push(
                message
                    .property("TRANSACTION_CHECK_TIMES")
                    .unwrap()
                    .to_owned(),
            );
        }
    }
    assert_eq!(
        times,
        (1..=15).map(|time| time.to_string()).collect::<Vec<_>>()
    );
    assert!(client.is_quiet().await && other.is_quiet().await);
    let given_up = client
        .pull(&pull("TRANS_CHECK_MAX_TIME_TOPIC", 0, 0, "*"))
        .await;
    assert_eq!(given_up.bodies(), [b"m"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_member_answers_for_one_that_is_gone() {
    let (cluster, mut client) = cluster().await;
    send_half(&cluster, &mut client, "ID", "").await;
    drop(client);
    cluster.clock().advance(Duration::from_secs(30));
    let mut heir = Client::broker(&cluster).await;
    heir.heartbeat("q", &[]).await;
    cluster.clock().advance(Duration::from_secs(30));
    let (copy, message, _) = check(&mut heir).await;
    assert_eq!(message.property("TRANSACTION_CHECK_TIMES"), Some("2"));
    heir.ok(&asked(copy, TransactionType::Commit), b"").await;
    assert_eq!(all(&mut heir).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_does_not_fit_is_refused_in_the_words_of_apache() {
    let (cluster, mut client) = cluster().await;
    let half = send_half(&cluster, &mut client, "ID", "").await;
    let commit = end(half, TransactionType::Commit);
    for (request, remark) in [
        (
            EndTransaction {
                commit_log_offset: half.log_offset + 1,
                ..commit.clone()
            },
            "Find prepared transaction message failed",
        ),
        (
            EndTransaction {
                producer_group: "others".into(),
                ..commit.clone()
            },
            "The producer group wrong",
        ),
        (
            EndTransaction {
                tran_state_table_offset: 9,
                ..commit.clone()
            },
            "The transaction state table offset wrong",
        ),
    ] {
        let answer = client.call(&request, b"").await;
        assert_eq!(
            (answer.response_code(), answer.remark.as_deref()),
            (ResponseCode::SYSTEM_ERROR, Some(remark))
        );
    }
    assert!(all(&mut client).await.is_empty());
    client.ok(&commit, b"").await;
    assert_eq!(all(&mut client).await.len(), 1);
}

async fn restart_after(cluster: &Cluster, loss: Loss) -> Client {
    let broker = cluster.broker("broker-a");
    broker.restart_after(loss).await.unwrap();
    let mut client = Client::broker(cluster).await;
    client.heartbeat("p", &[]).await;
    client
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_a_crash_has_lost_is_asked_about() {
    let (cluster, mut client) = cluster().await;
    let half = send_half(&cluster, &mut client, "ID", "").await;
    cluster.broker("broker-a").sync();
    client.ok(&end(half, TransactionType::Commit), b"").await;
    let mut client = restart_after(&cluster, Loss::Unsynced).await;
    assert!(all(&mut client).await.is_empty());
    cluster.clock().advance(Duration::from_secs(60));
    let (half, ..) = check(&mut client).await;
    client.ok(&asked(half, TransactionType::Commit), b"").await;
    assert_eq!(all(&mut client).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_half_message_whose_copy_a_crash_has_lost_is_asked_about_again() {
    let (cluster, mut client) = cluster().await;
    send_half(&cluster, &mut client, "OTHER", "").await;
    let half = send_half(&cluster, &mut client, "ID", "").await;
    client.ok(&end(half, TransactionType::Rollback), b"").await;
    cluster.broker("broker-a").sync();
    cluster.clock().advance(Duration::from_secs(60));
    check(&mut client).await;
    let mut client = restart_after(&cluster, Loss::Unsynced).await;
    cluster.clock().advance(Duration::from_secs(30));
    let (_, message, _) = check(&mut client).await;
    assert_eq!(message.property("UNIQ_KEY"), Some("OTHER"));
    assert!(client.is_quiet().await, "the other one is rolled back");
}

#[tokio::test(start_paused = true)]
async fn a_half_message_that_a_crash_has_lost_is_not_asked_about() {
    let (cluster, mut client) = cluster().await;
    send_half(&cluster, &mut client, "ID", "").await;
    let mut client = restart_after(&cluster, Loss::Newest(1)).await;
    cluster.clock().advance(Duration::from_secs(600));
    assert!(client.is_quiet().await);
}
