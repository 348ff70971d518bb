//! Transactions: messages that are delivered when something local was done, and brokers that ask whether it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rocketmq_sdk::{
    Client, ClientConfig, ConsumeFromWhere, ConsumeStatus, Message, MessageExt, PushConsumer,
    TransactionProducer, TransactionProducerBuilder, TransactionState,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::received::{Received, body};
use crate::target::{PATIENCE, Target, stored};

/// Where brokers keep half messages.
const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";

async fn read(target: &Target, topic: &str) -> (PushConsumer, Received) {
    let received = Received::default();
    let consumer = target
        .consumer(&target.name("readers"))
        .subscribe(topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(received.clone(), |received, messages| async move {
            received.add(messages);
            ConsumeStatus::CONSUME_SUCCESS
        });
    (consumer.start().await.unwrap(), received)
}

fn builder(target: &Target, group: &str, topic: &str) -> TransactionProducerBuilder {
    TransactionProducer::builder(group)
        .name_server(target.name_server())
        .topics([topic])
}

/// What a local transaction did, by the transaction's id.
type Database = Arc<Mutex<BTreeMap<String, TransactionState>>>;

async fn producer(
    target: &Target,
    group: &str,
    topic: &str,
    database: &Database,
) -> TransactionProducer {
    let check = |database: Database, message: MessageExt| async move {
        let state = database.lock().get(message.msg_id()).copied();
        state.unwrap_or(TransactionState::Unknown)
    };
    let builder = builder(target, group, topic).check_with(Arc::clone(database), check);
    builder.start().await.unwrap()
}

#[tokio::test]
async fn what_is_committed_comes_and_what_is_rolled_back_does_not() {
    let target = Target::shared().await;
    let topic = target.topic("transactions", 1).await;
    let group = target.name("payers");
    let producer = producer(&target, &group, &topic, &Database::default()).await;
    let (consumer, received) = read(&target, &topic).await;
    let send = |body: &'static str, state| {
        let message = Message::builder(&*topic)
            .tag("paid")
            .key(body)
            .flag(7)
            .body(body);
        producer.send_in_transaction(message.build(), move |_| async move { state })
    };
    let committed = send("committed", TransactionState::Commit).await.unwrap();
    let rolled_back = send("rolled back", TransactionState::Rollback)
        .await
        .unwrap();
    let again = send("again", TransactionState::Commit).await.unwrap();
    for result in [&committed, &rolled_back, &again] {
        assert!(result.end_error().is_none());
        let sent = result.send_result();
        // 4.9 does not name the transaction.
        let named = (!target.is_apache_4()).then_some(sent.msg_id());
        assert_eq!(sent.transaction_id(), named);
    }
    received
        .wait(&target, "both came", |received| {
            received.bodies().len() == 2
        })
        .await;
    for message in received.all() {
        let name = body(&message);
        let expected = if name == "committed" {
            &committed
        } else {
            &again
        };
        assert_eq!(message.msg_id(), expected.send_result().msg_id());
        assert_eq!((message.tag(), message.flag()), (Some("paid"), 7));
        assert_eq!(message.keys().collect::<Vec<_>>(), [&*name]);
        for (property, value) in [("TRAN_MSG", "true"), ("PGROUP", &*group)] {
            assert_eq!(message.property(property), Some(value), "{property}");
        }
        let id = (!target.is_apache_4()).then(|| message.msg_id());
        assert_eq!(message.property("__transactionId__"), id);
    }
    let marker = producer.plain().send(Message::new(&*topic, "marker"));
    assert_eq!(
        marker.await.unwrap().queue_offset(),
        2,
        "nothing else is in the queue"
    );
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_broker_asks_what_it_was_not_told() {
    let target = Target::shared().await;
    let topic = target.topic("questions", 1).await;
    let database = Database::default();
    let producer = producer(&target, &target.name("payers"), &topic, &database).await;
    let (consumer, received) = read(&target, &topic).await;
    for (body, state) in [
        ("committed", TransactionState::Commit),
        ("rolled back", TransactionState::Rollback),
    ] {
        let database = Arc::clone(&database);
        let message = Message::builder(&*topic).flag(7).body(body).build();
        let result = producer.send_in_transaction(message, move |half| async move {
            database
                .lock()
                .insert(half.transaction_id().to_owned(), state);
            TransactionState::Unknown
        });
        assert_eq!(result.await.unwrap().state(), TransactionState::Unknown);
    }
    assert_eq!(received.count(), 0);
    received
        .wait(&target, "it came", |received| received.count() > 0)
        .await;
    let message = received.all().remove(0);
    assert_eq!(body(&message), "committed");
    assert_eq!(message.property("TRANSACTION_CHECK_TIMES"), Some("1"));
    // A broker that asks writes the message once more, and forgets its flag.
    assert_eq!(message.flag(), 0);
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_producer_that_has_sent_nothing_answers_for_one_that_is_gone() {
    let target = Target::shared().await;
    let topic = target.topic("heirs", 1).await;
    let group = target.name("payers");
    let database = Database::default();
    let gone = producer(&target, &group, &topic, &database).await;
    let record = Arc::clone(&database);
    let sending = gone.send_in_transaction(Message::new(&*topic, "m"), move |half| async move {
        let id = half.transaction_id().to_owned();
        record.lock().insert(id, TransactionState::Commit);
        TransactionState::Unknown
    });
    sending.await.unwrap();
    gone.shutdown().await.unwrap();
    let heir = producer(&target, &group, &topic, &database).await;
    let (consumer, received) = read(&target, &topic).await;
    received
        .wait(&target, "it came", |received| received.count() > 0)
        .await;
    consumer.shutdown().await.unwrap();
    heir.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_check_that_panics_is_asked_again() {
    let target = Target::shared().await;
    let topic = target.topic("panics", 1).await;
    let calls = Arc::new(Mutex::new(0));
    let check = |calls: Arc<Mutex<u32>>, _: MessageExt| async move {
        let call = {
            let mut calls = calls.lock();
            *calls += 1;
            *calls
        };
        assert_ne!(call, 1, "the first one");
        TransactionState::Commit
    };
    let builder = builder(&target, &target.name("payers"), &topic);
    let producer = builder
        .check_with(Arc::clone(&calls), check)
        .start()
        .await
        .unwrap();
    let (consumer, received) = read(&target, &topic).await;
    let sending = producer.send_in_transaction(Message::new(&*topic, "m"), |_| async {
        TransactionState::Unknown
    });
    sending.await.unwrap();
    received
        .wait(&target, "it came", |received| received.count() > 0)
        .await;
    assert_eq!(*calls.lock(), 2);
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_local_transaction_that_outlasts_the_questions_is_delivered_once() {
    let target = Target::own().await;
    let topic = target.topic("slow", 1).await;
    let builder = builder(&target, &target.name("payers"), &topic);
    let builder = builder.check(|_| async { TransactionState::Rollback });
    let producer = builder.start().await.unwrap();
    let (consumer, received) = read(&target, &topic).await;
    let go_on = Arc::new(Notify::new());
    let waits = Arc::clone(&go_on);
    let message = Message::new(&*topic, "m");
    let sending = tokio::spawn(producer.send_in_transaction(message, move |_| async move {
        waits.notified().await;
        TransactionState::Commit
    }));
    // A broker that asks writes the half message once more.
    let until = Instant::now() + PATIENCE;
    while stored(&target, HALF_TOPIC, 1).await < 3 {
        assert!(Instant::now() < until, "waited in vain for two questions");
        target.turn(Duration::from_secs(1));
        sleep(Duration::from_millis(20)).await;
    }
    // Any request and its answer: what was asked before has been read by then.
    producer.plain().queues(&topic).await.unwrap();
    go_on.notify_one();
    sending.await.unwrap().unwrap();
    received
        .wait(&target, "it came", |received| received.count() > 0)
        .await;
    target.turn(Duration::from_secs(100));
    let marker = producer.plain().send(Message::new(&*topic, "marker"));
    assert_eq!(
        marker.await.unwrap().queue_offset(),
        1,
        "it is not delivered again"
    );
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_producer_that_has_sent_nothing_is_asked_also_after_its_broker_was_away() {
    let target = Target::own().await;
    let topic = target.topic("away", 1).await;
    let group = target.name("payers");
    let database = Database::default();
    let gone = producer(&target, &group, &topic, &database).await;
    let record = Arc::clone(&database);
    let sending = gone.send_in_transaction(Message::new(&*topic, "m"), move |half| async move {
        let id = half.transaction_id().to_owned();
        record.lock().insert(id, TransactionState::Commit);
        TransactionState::Unknown
    });
    sending.await.unwrap();
    gone.shutdown().await.unwrap();
    // Heartbeats tell the broker who is there when it is back.
    let config = ClientConfig::default().heartbeat_interval(Duration::from_secs(1));
    let check = |database: Database, message: MessageExt| async move {
        let state = database.lock().get(message.msg_id()).copied();
        state.unwrap_or(TransactionState::Unknown)
    };
    let heir = TransactionProducer::builder(&*group)
        .config(config.name_server(target.name_server()))
        .topics([topic.clone()])
        .check_with(database, check);
    let heir = heir.start().await.unwrap();
    target.kill_broker("broker-a").await;
    target.start_broker("broker-a").await;
    let (consumer, received) = read(&target, &topic).await;
    received
        .wait(&target, "it came", |received| received.count() > 0)
        .await;
    consumer.shutdown().await.unwrap();
    heir.shutdown().await.unwrap();
}

#[tokio::test]
async fn two_groups_of_one_client_are_asked_each_about_its_own() {
    let target = Target::shared().await;
    let topic = target.topic("two_groups", 1).await;
    let client = Client::builder().name_server(target.name_server());
    let client = client.start().await.unwrap();
    let asked = Arc::<Mutex<BTreeSet<(&str, String)>>>::default();
    let start = |name: &'static str| {
        let check = move |asked: Arc<Mutex<BTreeSet<_>>>, message: MessageExt| async move {
            asked.lock().insert((name, body(&message)));
            TransactionState::Commit
        };
        let builder = TransactionProducer::builder(target.name(name)).client(&client);
        let builder = builder.topics([topic.clone()]);
        builder.check_with(Arc::clone(&asked), check).start()
    };
    let (one, two) = (start("one").await.unwrap(), start("two").await.unwrap());
    for (producer, name) in [(&one, "by one"), (&two, "by two")] {
        let sending = producer.send_in_transaction(Message::new(&*topic, name), |_| async {
            TransactionState::Unknown
        });
        sending.await.unwrap();
    }
    let (consumer, received) = read(&target, &topic).await;
    received
        .wait(&target, "both came", |received| {
            received.bodies().len() == 2
        })
        .await;
    let expected = [("one", "by one".to_owned()), ("two", "by two".to_owned())];
    assert_eq!(*asked.lock(), expected.into());
    consumer.shutdown().await.unwrap();
    one.shutdown().await.unwrap();
    two.shutdown().await.unwrap();
    client.shutdown().await;
}
