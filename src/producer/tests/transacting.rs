//! Messages whose delivery depends on a transaction, and what brokers ask about them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};

use super::world::{Asked, NAME_SERVER, Reply, World};
use crate::config::ClientConfig;
use crate::error::{Delivery, ErrorKind};
use crate::message::{Message, MessageExt};
use crate::producer::{
    TransactionProducer, TransactionProducerBuilder, TransactionResolution, TransactionState,
};
use crate::protocol::code::{RequestCode, ResponseCode};
use crate::protocol::command::Head;
use crate::protocol::message::stored::body_crc;
use crate::protocol::message::{Properties, StoredMessage, SysFlag, Text};
use crate::protocol::request::check_transaction_state::CheckTransactionState;

const SECOND: Duration = Duration::from_secs(1);

/// What a local transaction may return.
type Outcome = Result<TransactionState, Box<dyn std::error::Error + Send + Sync>>;

fn builder(world: &Arc<World>) -> TransactionProducerBuilder {
    TransactionProducer::builder("g")
        .config(ClientConfig::default().name_server(NAME_SERVER))
        .environment(world.environment())
        .topics(["t"])
}

/// A producer that says "unknown" to every question.
async fn producer(world: &Arc<World>) -> TransactionProducer {
    let builder = builder(world).check(|_| async { TransactionState::Unknown });
    builder.start().await.unwrap()
}

async fn ends(world: &World, count: usize) -> Vec<Asked> {
    for _ in 0..10_000 {
        let ends = world.asked(RequestCode::END_TRANSACTION);
        if ends.len() >= count {
            assert_eq!(ends.len(), count);
            return ends;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("waited in vain for {count} ends");
}

fn field<'a>(end: &'a Asked, name: &str) -> &'a str {
    end.fields.get(name).map_or("", String::as_str)
}

/// Asks about transaction `id` of group `group`, whose half message is at `offset` now.
fn ask(world: &World, group: &str, id: &str, offset: i64) {
    ask_from(world, ("a", Some("a")), group, id, offset);
}

/// The same for any broker, and the name that it gives itself.
fn ask_from(world: &World, broker: (&str, Option<&str>), group: &str, id: &str, offset: i64) {
    let mut properties = Properties::new();
    for (name, value) in [("PGROUP", group), ("UNIQ_KEY", id), ("REAL_TOPIC", "t")] {
        properties.push(name, value);
    }
    let body = Bytes::from_static(b"body");
    let message = StoredMessage {
        body_crc: body_crc(&body),
        queue_id: 1,
        flag: 0,
        queue_offset: offset,
        physical_offset: offset * 100,
        sys_flag: SysFlag::default(),
        born_timestamp: 1,
        born_host: ([10, 0, 0, 1], 1).into(),
        store_timestamp: 2,
        store_host: ([10, 0, 0, 2], 10911).into(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        topic: Text::from_static("t"),
        properties: Text::from(properties.into_string()),
    };
    let mut encoded = BytesMut::new();
    message.encode(&mut encoded).unwrap();
    let header = CheckTransactionState {
        topic: Some("RMQ_SYS_TRANS_HALF_TOPIC".into()),
        tran_state_table_offset: offset,
        commit_log_offset: offset * 100,
        msg_id: Some(id.to_owned().into()),
        transaction_id: Some(id.to_owned().into()),
        offset_msg_id: None,
        broker_name: broker.1.map(Into::into),
    };
    let head = Head::request(RequestCode::CHECK_TRANSACTION_STATE, 5).oneway();
    world.tell(broker.0, head, &header, &encoded);
}

#[tokio::test(start_paused = true)]
async fn the_local_transaction_runs_behind_the_half_message_and_its_state_is_told() {
    let world = World::with_brokers(&["a"]);
    let producer = producer(&world).await;
    let told = Arc::clone(&world);
    let message = Message::builder("t").tag("x").body("m").build();
    let result = producer
        .send_in_transaction(message, move |half| async move {
            assert_eq!(told.sent().len(), 1);
            assert_eq!(half.message().tag(), Some("x"));
            assert_eq!(half.transaction_id(), half.send_result().msg_id());
            TransactionState::Commit
        })
        .await
        .unwrap();
    assert_eq!(result.state(), TransactionState::Commit);
    assert!(result.end_error().is_none() && result.failure().is_none());
    let sent = world.sent().remove(0);
    assert_eq!(sent.sys_flag, 4, "prepared");
    assert_eq!(sent.property("TRAN_MSG").as_deref(), Some("true"));
    assert_eq!(sent.property("PGROUP").as_deref(), Some("g"));
    let end = ends(&world, 1).await.remove(0);
    let id = result.send_result().msg_id();
    assert!(end.oneway && end.addr == "a:1" && end.remark.is_none());
    for (name, value) in [
        ("topic", "t"),
        ("producerGroup", "g"),
        ("tranStateTableOffset", "7"),
        ("commitLogOffset", "0"),
        ("commitOrRollback", "8"),
        ("fromTransactionCheck", "false"),
        ("msgId", id),
        ("transactionId", "TX"),
        ("bname", "a"),
    ] {
        assert_eq!(field(&end, name), value, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_local_transaction_returns_is_what_the_broker_hears() {
    for (state, bits) in [
        (TransactionState::Commit, "8"),
        (TransactionState::Rollback, "12"),
        (TransactionState::Unknown, "0"),
    ] {
        let world = World::with_brokers(&["a"]);
        let producer = producer(&world).await;
        let sending = producer.send_in_transaction(Message::new("t", "m"), move |_| async move {
            std::str::from_utf8(b"fine")?;
            Ok(state)
        });
        assert_eq!(sending.await.unwrap().state(), state);
        assert_eq!(field(&ends(&world, 1).await[0], "commitOrRollback"), bits);
    }
}

#[tokio::test(start_paused = true)]
async fn a_local_transaction_may_borrow() {
    let world = World::with_brokers(&["a"]);
    let producer = producer(&world).await;
    let mut rows = Vec::new();
    let sending = producer.send_in_transaction(Message::new("t", "m"), |half| async {
        rows.push(half);
        TransactionState::Commit
    });
    let result = sending.await.unwrap();
    assert_eq!(rows[0].transaction_id(), result.send_result().msg_id());
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_or_panics_is_unknown_and_the_caller_hears_why() {
    let world = World::with_brokers(&["a"]);
    let producer = producer(&world).await;
    let failing = producer.send_in_transaction(Message::new("t", "m"), |_| async {
        Outcome::Err("no money".into())
    });
    let panicking = producer.send_in_transaction(Message::new("t", "m"), |_| async {
        if true {
            panic!("oh no");
        }
        TransactionState::Commit
    });
    let at_once = producer.send_in_transaction(
        Message::new("t", "m"),
        |_| -> std::future::Ready<TransactionState> { panic!("at once") },
    );
    for (result, text) in [
        (failing.await.unwrap(), "no money"),
        (panicking.await.unwrap(), "panicked: oh no"),
        (at_once.await.unwrap(), "panicked: at once"),
    ] {
        assert_eq!(result.state(), TransactionState::Unknown);
        assert_eq!(result.send_result().transaction_id(), Some("TX"));
        assert!(result.end_error().is_none());
        let error = result.failure().unwrap();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Application, Delivery::Unknown)
        );
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.topic(), Some("t"));
    }
    for (end, text) in ends(&world, 3)
        .await
        .iter()
        .zip(["no money", "oh no", "at once"])
    {
        assert_eq!(field(end, "commitOrRollback"), "0");
        assert!(
            end.remark.as_ref().unwrap().contains(text),
            "{:?}",
            end.remark
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_stored_well_is_rolled_back_without_running_anything() {
    for code in [
        ResponseCode::FLUSH_DISK_TIMEOUT,
        ResponseCode::FLUSH_SLAVE_TIMEOUT,
        ResponseCode::SLAVE_NOT_AVAILABLE,
    ] {
        let world = World::with_brokers(&["a"]);
        world.broker("a", move |_| Reply::Code(code));
        let producer = producer(&world).await;
        let sending = producer.send_in_transaction(
            Message::new("t", "m"),
            |_| -> std::future::Ready<TransactionState> { panic!("it ran") },
        );
        assert_eq!(sending.await.unwrap().state(), TransactionState::Rollback);
        assert_eq!(field(&ends(&world, 1).await[0], "commitOrRollback"), "12");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_sent_runs_nothing() {
    let world = World::with_brokers(&["a"]);
    let producer = producer(&world).await;
    world.broker("a", |_| Reply::Code(ResponseCode::MESSAGE_ILLEGAL));
    let send = |message| {
        producer.send_in_transaction(message, |_| -> std::future::Ready<TransactionState> {
            panic!("it ran")
        })
    };
    let refused = send(Message::new("t", "m")).await.unwrap_err();
    assert_eq!(refused.response_code(), Some(ResponseCode::MESSAGE_ILLEGAL));
    let build = || Message::builder("t").body("m");
    for message in [
        build().delay_level(1),
        build().delay(SECOND),
        build().deliver_at(std::time::SystemTime::now()),
    ] {
        let error = send(message.build()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("cannot be delayed"), "{error}");
    }
    producer.shutdown().await.unwrap();
    let closed = send(Message::new("t", "m")).await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
    assert_eq!(world.asked(RequestCode::END_TRANSACTION).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_before_anything_was_sent() {
    let world = World::with_brokers(&["a"]);
    let (sender, mut asked) = mpsc::unbounded_channel::<MessageExt>();
    let builder = builder(&world).check_with(sender, |sender, message| async move {
        sender.send(message)?;
        Ok(TransactionState::Commit)
    });
    let _producer = builder.start().await.unwrap();
    assert_eq!(world.asked(RequestCode::HEART_BEAT)[0].addr, "a:1");
    // One of another group is nobody's here.
    ask(&world, "other", "OTHER", 3);
    ask(&world, "g", "ID", 4);
    let message = asked.recv().await.unwrap();
    assert_eq!(
        (message.msg_id(), message.topic(), message.queue_id()),
        ("ID", "t", 1)
    );
    assert_eq!(
        (&message.body()[..], message.broker_name()),
        (&b"body"[..], "a")
    );
    let end = ends(&world, 1).await.remove(0);
    assert!(end.oneway && end.addr == "a:1" && end.remark.is_none());
    for (name, value) in [
        ("topic", "RMQ_SYS_TRANS_HALF_TOPIC"),
        ("producerGroup", "g"),
        ("tranStateTableOffset", "4"),
        ("commitLogOffset", "400"),
        ("commitOrRollback", "8"),
        ("fromTransactionCheck", "true"),
        ("msgId", "ID"),
        ("transactionId", "ID"),
        ("bname", "a"),
    ] {
        assert_eq!(field(&end, name), value, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_fails_panics_or_hangs_is_unknown_and_harms_no_other() {
    let world = World::with_brokers(&["a"]);
    let builder = builder(&world)
        .check_timeout(SECOND)
        .check(|message| async move {
            match message.msg_id() {
                "FAILS" => Err("no database".into()),
                "PANICS" => panic!("oh no"),
                "HANGS" => std::future::pending().await,
                _ => Outcome::Ok(TransactionState::Rollback),
            }
        });
    let _producer = builder.start().await.unwrap();
    for (offset, id) in (1..).zip(["FAILS", "PANICS", "HANGS", "WORKS"]) {
        ask(&world, "g", id, offset);
    }
    let ends = ends(&world, 4).await;
    for (id, bits, remark) in [
        ("FAILS", "0", Some("no database")),
        ("PANICS", "0", Some("panicked: oh no")),
        ("HANGS", "0", Some("longer than 1s")),
        ("WORKS", "12", None),
    ] {
        let end = ends.iter().find(|end| field(end, "msgId") == id).unwrap();
        assert_eq!(field(end, "commitOrRollback"), bits);
        match remark {
            Some(text) => assert!(
                end.remark.as_ref().unwrap().contains(text),
                "{:?}",
                end.remark
            ),
            None => assert_eq!(end.remark, None),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_so_many_questions_are_answered_at_a_time() {
    let world = World::with_brokers(&["a"]);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let state = (Arc::clone(&running), Arc::clone(&most));
    let builder = builder(&world).max_concurrent_checks(3);
    let builder = builder.check_with(state, |(running, most), _| async move {
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        sleep(SECOND).await;
        running.fetch_sub(1, Ordering::SeqCst);
        TransactionState::Commit
    });
    let _producer = builder.start().await.unwrap();
    let began = Instant::now();
    for offset in 0..9 {
        ask(&world, "g", &format!("ID{offset}"), offset);
    }
    assert_eq!(ends(&world, 9).await.len(), 9);
    assert_eq!(
        (most.load(Ordering::SeqCst), began.elapsed().as_secs()),
        (3, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn a_question_about_a_transaction_that_runs_here_is_answered_by_its_outcome() {
    let world = World::with_brokers(&["a"]);
    let builder = builder(&world).check(|_| async {
        panic!("it was asked");
        #[expect(unreachable_code)]
        TransactionState::Rollback
    });
    let producer = builder.start().await.unwrap();
    let (ids, mut id) = mpsc::unbounded_channel();
    let go_on = Arc::new(Notify::new());
    let waits = Arc::clone(&go_on);
    let sending = tokio::spawn(producer.send_in_transaction(
        Message::new("t", "m"),
        |half| async move {
            ids.send(half.transaction_id().to_owned())?;
            waits.notified().await;
            Ok(TransactionState::Commit)
        },
    ));
    let id = id.recv().await.unwrap();
    ask(&world, "g", &id, 8);
    ask(&world, "g", &id, 9);
    sleep(SECOND).await;
    assert_eq!(world.asked(RequestCode::END_TRANSACTION).len(), 0);
    go_on.notify_one();
    assert_eq!(
        sending.await.unwrap().unwrap().state(),
        TransactionState::Commit
    );
    let end = ends(&world, 1).await.remove(0);
    // For the half message as it was written last: that is the one that is asked about again.
    for (name, value) in [
        ("tranStateTableOffset", "9"),
        ("commitLogOffset", "900"),
        ("fromTransactionCheck", "true"),
        ("commitOrRollback", "8"),
    ] {
        assert_eq!(field(&end, name), value, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_local_transaction_is_given_can_be_sent_as_any_message() {
    let world = World::with_brokers(&["a"]);
    let producer = producer(&world).await;
    let plain = producer.plain().clone();
    let sending = producer.send_in_transaction(Message::new("t", "m"), |half| async move {
        plain.send(half.message().clone()).await.unwrap();
        TransactionState::Rollback
    });
    sending.await.unwrap();
    let marks = world.sent().into_iter().map(|sent| {
        let mark = |name| sent.property(name);
        (mark("TRAN_MSG"), mark("PGROUP"))
    });
    let marked = (Some("true".to_owned()), Some("g".to_owned()));
    assert_eq!(marks.collect::<Vec<_>>(), [marked, (None, None)]);
}

#[tokio::test(start_paused = true)]
async fn two_brokers_that_hold_the_message_both_hear_its_state() {
    let world = World::with_brokers(&["a", "b"]);
    let count = Arc::new(AtomicUsize::new(0));
    for name in ["a", "b"] {
        let count = Arc::clone(&count);
        // The answer of the first one is lost.
        world.broker(name, move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Silence,
            _ => Reply::Stored,
        });
    }
    let producer = producer(&world).await;
    let asks = Arc::clone(&world);
    let result = producer
        .send_in_transaction(Message::new("t", "m"), |half| async move {
            let first = &asks.sent_to()[0][..1];
            ask_from(&asks, (first, Some(first)), "g", half.transaction_id(), 4);
            sleep(SECOND).await;
            TransactionState::Commit
        })
        .await
        .unwrap();
    assert!(result.end_error().is_none());
    let sent_to = world.sent_to();
    let ends = ends(&world, 2).await;
    for (addr, offset, asked) in [(&sent_to[0], "4", "true"), (&sent_to[1], "7", "false")] {
        let end = ends.iter().find(|end| end.addr == *addr).unwrap();
        assert_eq!(field(end, "tranStateTableOffset"), offset);
        assert_eq!(field(end, "fromTransactionCheck"), asked);
        assert_eq!(field(end, "bname"), &addr[..1]);
        assert_eq!(field(end, "commitOrRollback"), "8");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_gone_does_not_keep_the_state_from_its_broker() {
    let world = World::with_brokers(&["a"]);
    let producer = producer(&world).await;
    let deletes = Arc::clone(&world);
    let sending = producer.send_in_transaction(Message::new("t", "m"), |_| async move {
        deletes.forget_topic("t");
        // Until the client has forgotten its last good route, too.
        sleep(900 * SECOND).await;
        TransactionState::Commit
    });
    let result = sending.await.unwrap();
    assert!(result.end_error().is_none(), "{:?}", result.end_error());
    assert_eq!(ends(&world, 1).await[0].addr, "a:1");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_asks_without_its_name_is_known_by_its_address() {
    let world = World::with_brokers(&["a"]);
    let (sender, mut asked) = mpsc::unbounded_channel::<MessageExt>();
    let builder = builder(&world).check_with(sender, |sender, message| async move {
        sender.send(message)?;
        Ok(TransactionState::Commit)
    });
    let _producer = builder.start().await.unwrap();
    ask_from(&world, ("a", None), "g", "ID", 4);
    assert_eq!(asked.recv().await.unwrap().broker_name(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_local_transaction_that_is_dropped_leaves_the_question_to_the_check() {
    let world = World::with_brokers(&["a"]);
    let builder = builder(&world).check(|_| async { TransactionState::Rollback });
    let producer = builder.start().await.unwrap();
    let (ids, mut id) = mpsc::unbounded_channel();
    let sending = tokio::spawn(producer.send_in_transaction(
        Message::new("t", "m"),
        |half| async move {
            ids.send(half.transaction_id().to_owned())?;
            std::future::pending::<TransactionState>().await;
            Ok(TransactionState::Commit)
        },
    ));
    let id = id.recv().await.unwrap();
    sending.abort();
    assert!(sending.await.unwrap_err().is_cancelled());
    assert_eq!(producer.open_transactions(), 0);
    ask(&world, "g", &id, 8);
    assert_eq!(field(&ends(&world, 1).await[0], "commitOrRollback"), "12");
    assert_eq!(producer.shutdown().await.unwrap().unfinished(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_local_transactions_and_checks_and_tells_their_states() {
    let world = World::with_brokers(&["a"]);
    let builder = builder(&world).check(|_| async {
        sleep(2 * SECOND).await;
        TransactionState::Commit
    });
    let producer = builder.start().await.unwrap();
    let sending = tokio::spawn(
        producer.send_in_transaction(Message::new("t", "m"), |_| async {
            sleep(SECOND).await;
            TransactionState::Commit
        }),
    );
    ask(&world, "g", "ID", 8);
    sleep(Duration::from_millis(10)).await;
    let report = producer.shutdown_within(3 * SECOND).await.unwrap();
    assert_eq!(report.unfinished(), 0);
    sending.await.unwrap().unwrap();
    let asked = world.asked.lock().clone();
    let codes: Vec<_> = asked.iter().map(|asked| asked.code).collect();
    let last = codes
        .iter()
        .rposition(|code| *code == RequestCode::END_TRANSACTION);
    let left = codes
        .iter()
        .position(|code| *code == RequestCode::UNREGISTER_CLIENT);
    assert_eq!(
        codes
            .iter()
            .filter(|code| **code == RequestCode::END_TRANSACTION)
            .count(),
        2
    );
    assert!(last < left, "{codes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_a_transaction_whose_half_message_is_not_stored_yet() {
    let world = World::with_brokers(&["a"]);
    let producer = producer(&world).await;
    world.broker("a", |_| Reply::StoredAfter(SECOND));
    let sending = tokio::spawn(
        producer.send_in_transaction(Message::new("t", "m"), |_| async {
            sleep(SECOND).await;
            TransactionState::Commit
        }),
    );
    sleep(Duration::from_millis(10)).await;
    assert_eq!(world.sent().len(), 1);
    let report = producer.shutdown_within(3 * SECOND).await.unwrap();
    assert_eq!(report.unfinished(), 0);
    let result = sending.await.unwrap().unwrap();
    assert_eq!(result.state(), TransactionState::Commit);
    assert!(result.end_error().is_none(), "{:?}", result.end_error());
    assert_eq!(field(&ends(&world, 1).await[0], "commitOrRollback"), "8");
}

#[tokio::test(start_paused = true)]
async fn what_a_shutdown_does_not_wait_for_is_counted_and_questions_are_no_longer_taken() {
    let world = World::with_brokers(&["a"]);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let builder = builder(&world).check_with(Arc::clone(&calls), |calls, message| async move {
        calls.lock().push(message.msg_id().to_owned());
        std::future::pending::<TransactionState>().await
    });
    let producer = builder.start().await.unwrap();
    ask(&world, "g", "ONE", 1);
    sleep(Duration::from_millis(10)).await;
    let closing = tokio::spawn({
        let producer = producer.clone();
        async move { producer.shutdown_within(SECOND).await }
    });
    sleep(Duration::from_millis(10)).await;
    ask(&world, "g", "TWO", 2);
    let report = closing.await.unwrap().unwrap();
    assert_eq!(
        (report.unfinished(), calls.lock().clone()),
        (1, vec!["ONE".to_owned()])
    );
    sleep(SECOND).await;
    assert_eq!(producer.open_transactions(), 0, "nothing is left behind");
    assert_eq!(world.asked(RequestCode::END_TRANSACTION).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_told_is_in_the_result() {
    let world = World::with_brokers(&["a"]);
    let producer = producer(&world).await;
    let breaks = Arc::clone(&world);
    let sending = producer.send_in_transaction(Message::new("t", "m"), |_| async move {
        breaks.hang_up("a");
        sleep(Duration::from_millis(10)).await;
        TransactionState::Commit
    });
    let result = sending.await.unwrap();
    assert_eq!(result.state(), TransactionState::Commit);
    let error = result.end_error().unwrap();
    assert!(
        error.to_string().starts_with("end a transaction"),
        "{error}"
    );
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_builder_wants_an_answer_to_questions() {
    let world = World::with_brokers(&["a"]);
    let answer = |_| async { TransactionResolution::from(TransactionState::Commit) };
    for (builder, text) in [
        (builder(&world), "no check"),
        (
            builder(&world).check(answer).max_concurrent_checks(0),
            "max_concurrent_checks",
        ),
        (
            builder(&world).check(answer).check_timeout(Duration::ZERO),
            "check_timeout",
        ),
        (
            builder(&world)
                .check(answer)
                .producer(|it| it.send_timeout(Duration::ZERO)),
            "send_timeout",
        ),
    ] {
        let error = builder.start().await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.to_string().contains("group g"), "{error}");
    }
}
