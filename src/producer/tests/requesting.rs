//! Requests that wait for replies, and replies.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::world::{Asked, Reply, World};
use crate::client::Client;
use crate::config::ClientConfig;
use crate::error::{Delivery, Error, ErrorKind};
use crate::message::{Message, MessageExt, MessageQueue};
use crate::producer::{DefaultProducer, TransactionProducer, TransactionState};
use crate::protocol::code::{RequestCode, ResponseCode};
use crate::protocol::command::Head;
use crate::protocol::fields::NoFields;
use crate::protocol::message::stored::body_crc;
use crate::protocol::message::{Properties, StoredMessage, SysFlag, Text};
use crate::protocol::request::Request;
use crate::protocol::request::push_reply::PushReply;
use crate::protocol::request::send_message::SendMessage;
use crate::protocol::request::send_reply::SendReply;

const SECOND: Duration = Duration::from_secs(1);

pub(super) async fn wait_for_requests(world: &World, count: usize) -> Vec<Asked> {
    for _ in 0..10_000 {
        let sent = world.asked(SendMessage::CODE);
        if sent.len() >= count {
            return sent;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("waited in vain for {count} requests");
}

/// What a broker hands to a client.
fn push(properties: &str) -> PushReply<'_> {
    PushReply {
        producer_group: "repliers".into(),
        topic: "c_REPLY_TOPIC".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        queue_id: 3,
        flag: 7,
        born_timestamp: 11,
        properties: Some(properties.into()),
        born_host: "10.0.0.1:5".into(),
        store_host: "no address".into(),
        store_timestamp: 12,
        ..PushReply::default()
    }
}

fn head() -> Head {
    Head::request(PushReply::CODE, 77)
}

/// Has broker `a` hand a reply to the client that is connected to it.
pub(super) fn reply(world: &World, id: &str, body: &str) {
    reply_through(world, "a", id, body);
}

pub(super) fn reply_through(world: &World, broker_name: &str, id: &str, body: &str) {
    let properties = format!("CORRELATION_ID\u{1}{id}\u{2}MSG_TYPE\u{1}reply\u{2}x\u{1}y\u{2}");
    world.tell(broker_name, head(), &push(&properties), body.as_bytes());
}

pub(super) fn id_of(request: &Asked) -> String {
    request.property("CORRELATION_ID").unwrap()
}

/// A request as a consumer gets it.
fn received(broker_name: &str, properties: &[(&str, &str)]) -> MessageExt {
    let mut raw = Properties::new();
    for (name, value) in properties {
        raw.push(name, value);
    }
    let body = Bytes::from_static(b"?");
    let stored = StoredMessage {
        body_crc: body_crc(&body),
        queue_id: 1,
        flag: 0,
        queue_offset: 3,
        physical_offset: 4,
        sys_flag: SysFlag::default(),
        born_timestamp: 1,
        born_host: ([10, 0, 0, 1], 1).into(),
        store_timestamp: 2,
        store_host: ([10, 0, 0, 2], 10911).into(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        topic: Text::from_static("t"),
        properties: Text::from(raw.into_string()),
    };
    MessageExt::new(stored, MessageQueue::new("t", broker_name, 1))
}

fn request_through(broker_name: &str) -> MessageExt {
    let properties = [
        ("CLUSTER", "c"),
        ("CORRELATION_ID", "ID"),
        ("REPLY_TO_CLIENT", "asker"),
        ("TTL", "3000"),
    ];
    received(broker_name, &properties)
}

fn refused(error: &Error, text: &str) {
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_marked_and_resolves_to_its_reply() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    let message = Message::builder("t").tag("x").body("?").build();
    let asking = tokio::spawn(producer.request(message).timeout(5 * SECOND));
    let request = wait_for_requests(&world, 1).await.remove(0);
    let client_id = producer.shared.client.id();
    assert_eq!(
        request.property("REPLY_TO_CLIENT").as_deref(),
        Some(&**client_id)
    );
    assert_eq!(request.property("TTL").as_deref(), Some("5000"));
    assert_eq!(request.property("TAGS").as_deref(), Some("x"));
    let id = id_of(&request);
    reply(&world, &id, "!");
    let got = asking.await.unwrap().unwrap();
    assert_eq!(
        (&got.body()[..], got.flag(), got.property("x")),
        (&b"!"[..], 7, Some("y"))
    );
    assert_eq!(
        (got.topic(), got.queue_id(), got.broker_name()),
        ("c_REPLY_TOPIC", 3, "a")
    );
    assert_eq!((got.born_timestamp(), got.store_timestamp()), (11, 12));
    assert_eq!((got.born_host().port(), got.store_host().port()), (5, 0));
    assert!(got.property("ARRIVE_TIME").is_some());
    // A second one is dropped, and the broker hears that it arrived.
    reply(&world, &id, "again");
    sleep(SECOND).await;
    let answers = world.answered();
    assert_eq!(answers.len(), 2);
    for answer in answers {
        assert_eq!(
            (answer.response_code(), answer.head.opaque),
            (ResponseCode::SUCCESS, 77)
        );
    }
    let waiting = producer.shared.client.replies().waiting();
    assert_eq!((producer.unclaimed_replies(), waiting), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_reply_may_come_before_the_broker_has_acknowledged_the_request() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.broker("a", |_| Reply::Silence);
    let asking = tokio::spawn(producer.request(Message::new("t", "?")));
    let request = wait_for_requests(&world, 1).await.remove(0);
    reply(&world, &id_of(&request), "!");
    assert_eq!(asking.await.unwrap().unwrap().body(), "!");
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_reply_is_there_is_not_sent_again() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.warm_producer().await;
    let sent = world.sent().len();
    for name in ["a", "b"] {
        world.broker(name, |_| Reply::Silence);
    }
    let asking = tokio::spawn(producer.request(Message::new("t", "?")).timeout(9 * SECOND));
    let request = wait_for_requests(&world, sent + 1).await.remove(sent);
    reply(&world, &id_of(&request), "!");
    assert_eq!(asking.await.unwrap().unwrap().body(), "!");
    sleep(10 * SECOND).await;
    assert_eq!(world.sent().len(), sent + 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_surely_not_sent_fails_at_once_and_another_waits_to_the_end() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.broker("a", |_| Reply::Code(ResponseCode::MESSAGE_ILLEGAL));
    let began = Instant::now();
    let error = producer.request(Message::new("t", "?")).await.unwrap_err();
    assert_eq!(error.response_code(), Some(ResponseCode::MESSAGE_ILLEGAL));
    assert_eq!(began.elapsed().as_secs(), 0);
    // The connection breaks: it may have been stored, and somebody may reply.
    world.broker("a", |_| Reply::HangUp);
    let asking = tokio::spawn(producer.request(Message::new("t", "?")).timeout(5 * SECOND));
    let request = wait_for_requests(&world, 2).await.remove(1);
    sleep(2 * SECOND).await;
    world.broker("a", |_| Reply::Stored);
    producer
        .send(Message::new("t", "another connection"))
        .await
        .unwrap();
    reply(&world, &id_of(&request), "!");
    assert_eq!(asking.await.unwrap().unwrap().body(), "!");
}

#[tokio::test(start_paused = true)]
async fn without_a_reply_the_time_runs_out_and_what_comes_later_is_counted() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    let began = Instant::now();
    let error = producer
        .request(Message::new("t", "?"))
        .timeout(2 * SECOND)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Timeout, Delivery::Unknown)
    );
    let id = id_of(&world.sent()[0]);
    let text = error.to_string();
    assert!(
        text.contains("no reply came") && text.contains(&id),
        "{text}"
    );
    assert_eq!((error.topic(), began.elapsed().as_secs()), (Some("t"), 2));
    assert_eq!(producer.shared.client.replies().waiting(), 0);
    reply(&world, &id, "late");
    sleep(SECOND).await;
    assert_eq!(
        (
            producer.unclaimed_replies(),
            world.answered()[0].response_code()
        ),
        (1, ResponseCode::SUCCESS)
    );
}

#[tokio::test(start_paused = true)]
async fn many_requests_get_each_its_own_reply() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    let asking =
        tokio::spawn(join_all((0..200).map(|number| {
            producer.request(Message::new("t", format!("{number}")))
        })));
    let mut requests = wait_for_requests(&world, 200).await;
    requests.reverse();
    let ids: BTreeSet<_> = requests.iter().map(id_of).collect();
    assert_eq!(ids.len(), 200);
    for request in &requests {
        let body = String::from_utf8(request.body.to_vec()).unwrap();
        reply(&world, &id_of(request), &format!("{body}!"));
    }
    for (number, got) in asking.await.unwrap().into_iter().enumerate() {
        assert_eq!(got.unwrap().body(), format!("{number}!").as_bytes());
    }
    assert_eq!(producer.unclaimed_replies(), 0);
}

#[tokio::test(start_paused = true)]
async fn replies_of_others_and_what_is_none_change_nothing() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    let asking = tokio::spawn(producer.request(Message::new("t", "?")));
    let request = wait_for_requests(&world, 1).await.remove(0);
    reply(&world, "another", "wrong");
    world.tell("a", head(), &push("x\u{1}y\u{2}"), b"without an id");
    world.tell("a", head(), &NoFields, b"without anything");
    reply(&world, &id_of(&request), "right");
    assert_eq!(asking.await.unwrap().unwrap().body(), "right");
    let codes: Vec<_> = world
        .answered()
        .iter()
        .map(|answer| answer.response_code())
        .collect();
    let (ok, failed) = (ResponseCode::SUCCESS, ResponseCode::SYSTEM_ERROR);
    assert_eq!(codes, [ok, ok, failed, ok]);
    assert_eq!(
        world.answered()[2].remark.as_deref(),
        Some("process reply message fail")
    );
}

#[tokio::test(start_paused = true)]
async fn a_reply_to_one_client_is_none_to_another() {
    let world = World::with_brokers(&["a"]);
    let first = world.warm_producer().await;
    let asking = tokio::spawn(first.request(Message::new("t", "?")));
    let request = wait_for_requests(&world, 1).await.remove(0);
    // Its connection is the newest, so this is where the reply goes.
    let second = world.warm_producer().await;
    reply(&world, &id_of(&request), "!");
    sleep(SECOND).await;
    assert_eq!(second.unclaimed_replies(), 1);
    assert_eq!(
        asking.await.unwrap().unwrap_err().kind(),
        ErrorKind::Timeout
    );
    assert_eq!(first.unclaimed_replies(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_leaves_nothing() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.broker("a", |_| Reply::Silence);
    for polls in 0..4 {
        let mut asking = Box::pin(producer.request(Message::new("t", "?")));
        for _ in 0..polls {
            assert!((&mut asking).now_or_never().is_none());
            sleep(Duration::from_millis(1)).await;
        }
        drop(asking);
        assert_eq!(producer.shared.client.replies().waiting(), 0);
    }
    assert_eq!(producer.shutdown().await.unwrap().unfinished(), 0);
}

#[tokio::test(start_paused = true)]
#[cfg(feature = "zlib")]
async fn a_compressed_reply_is_inflated_and_a_broken_one_is_an_error() {
    use crate::protocol::compress::{Codec, compress};

    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    let plain = vec![b'x'; 10_000];
    let packed = compress(Codec::Zlib, 5, &plain).unwrap();
    for (at, body) in [&packed[..], b"broken"].into_iter().enumerate() {
        let asking = tokio::spawn(producer.request(Message::new("t", "?")));
        let request = wait_for_requests(&world, at + 1).await.remove(at);
        let properties = format!("CORRELATION_ID\u{1}{}\u{2}", id_of(&request));
        let header = PushReply {
            sys_flag: 0x301,
            ..push(&properties)
        };
        world.tell("a", head(), &header, body);
        match asking.await.unwrap() {
            Ok(got) => assert_eq!(&got.body()[..], plain),
            Err(error) => assert_eq!((at, error.kind()), (1, ErrorKind::Protocol), "{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_replies_and_ends_those_that_do_not_come() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    let ask = || {
        tokio::spawn(
            producer
                .request(Message::new("t", "?"))
                .timeout(60 * SECOND),
        )
    };
    let (answered, unanswered) = (ask(), ask());
    let requests = wait_for_requests(&world, 2).await;
    sleep(SECOND).await;
    let closing = tokio::spawn({
        let producer = producer.clone();
        async move { producer.shutdown_within(5 * SECOND).await }
    });
    sleep(2 * SECOND).await;
    reply(&world, &id_of(&requests[0]), "!");
    assert_eq!(answered.await.unwrap().unwrap().body(), "!");
    assert_eq!(closing.await.unwrap().unwrap().unfinished(), 1);
    let error = unanswered.await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Closed, Delivery::Unknown),
        "{error}"
    );
    let error = producer.request(Message::new("t", "?")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Closed, Delivery::No),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_the_reply_to_a_request_that_is_not_acknowledged_yet() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    world.broker("a", |_| Reply::StoredAfter(SECOND));
    let asking = tokio::spawn(producer.request(Message::new("t", "?")).timeout(5 * SECOND));
    let id = id_of(&wait_for_requests(&world, 1).await[0]);
    let closing = tokio::spawn(async move { producer.shutdown_within(5 * SECOND).await });
    sleep(2 * SECOND).await;
    reply(&world, &id, "!");
    assert_eq!(closing.await.unwrap().unwrap().unfinished(), 0);
    assert_eq!(&asking.await.unwrap().unwrap().body()[..], b"!");
}

#[tokio::test(start_paused = true)]
async fn every_broker_of_the_cluster_hears_who_asks() {
    let world = World::with_brokers(&["a", "b"]);
    world.topic("t", &[("a", 2)]);
    world.topic("c_REPLY_TOPIC", &[("a", 1), ("b", 1)]);
    let producer = world.warm_producer().await;
    let asking = tokio::spawn(join_all(
        (0..50).map(|_| producer.request(Message::new("t", "?"))),
    ));
    wait_for_requests(&world, 50).await;
    sleep(SECOND).await;
    let heard: BTreeSet<_> = world
        .asked(RequestCode::HEART_BEAT)
        .into_iter()
        .map(|asked| asked.addr)
        .collect();
    assert_eq!(heard, ["a:1".to_owned(), "b:1".to_owned()].into());
    let looked_up = world.asked(RequestCode::GET_ROUTEINFO_BY_TOPIC);
    let topics = looked_up
        .iter()
        .filter(|asked| asked.fields["topic"] == "c_REPLY_TOPIC");
    assert_eq!(topics.count(), 1);
    asking.abort();
}

#[tokio::test(start_paused = true)]
async fn when_another_producer_of_its_client_leaves_brokers_still_find_who_asks() {
    let world = World::with_brokers(&["a"]);
    let config = ClientConfig::default().name_server(super::world::NAME_SERVER);
    let client = Client::builder()
        .config(config)
        .environment(world.environment());
    let client = client.start().await.unwrap();
    let start = |group: &'static str| {
        DefaultProducer::builder(group)
            .client(&client)
            .topics(["t"])
            .start()
    };
    let (asker, other) = (start("asker").await.unwrap(), start("other").await.unwrap());
    let error = asker
        .request(Message::new("t", "?"))
        .timeout(SECOND)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    world.asked.lock().clear();
    other.shutdown().await.unwrap();
    let asked = world.asked.lock().clone();
    let told: Vec<_> = asked
        .iter()
        .map(|asked| {
            (
                asked.code,
                asked.fields.get("producerGroup").map(String::as_str),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (RequestCode::UNREGISTER_CLIENT, Some("other")),
            (RequestCode::UNREGISTER_CLIENT, Some("asker")),
            (RequestCode::HEART_BEAT, None),
        ]
    );
    asker.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reply_goes_through_the_broker_of_its_request_and_says_whom_it_is_for() {
    let world = World::with_brokers(&["a", "b", "c"]);
    world.topic("c_REPLY_TOPIC", &[("a", 1), ("b", 1), ("c", 1)]);
    let producer = world.builder().start().await.unwrap();
    for broker_name in ["b", "c", "a", "b"] {
        world.asked.lock().clear();
        producer
            .reply(&request_through(broker_name), "!")
            .await
            .unwrap();
        let sent = world.asked(SendReply::CODE);
        assert_eq!(
            (sent.len(), &*sent[0].addr),
            (1, &*format!("{broker_name}:1"))
        );
        assert_eq!(
            (sent[0].fields["b"].as_str(), &sent[0].body[..]),
            ("c_REPLY_TOPIC", &b"!"[..])
        );
        for (name, value) in [
            ("MSG_TYPE", "reply"),
            ("CORRELATION_ID", "ID"),
            ("REPLY_TO_CLIENT", "asker"),
            ("TTL", "3000"),
        ] {
            assert_eq!(sent[0].property(name).as_deref(), Some(value), "{name}");
        }
    }
    // Oneway, too, and with what a message can have.
    let message = Message::reply_to(&request_through("b"))
        .property("k", "v")
        .body("!")
        .build();
    producer.send_oneway(message).await.unwrap();
    sleep(SECOND).await;
    let sent = world.asked(SendReply::CODE).pop().unwrap();
    assert_eq!(
        (sent.oneway, sent.property("k").as_deref(), &*sent.addr),
        (true, Some("v"), "b:1")
    );
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_one_broker_cannot_hand_over_goes_through_another() {
    let world = World::with_brokers(&["a", "b"]);
    world.topic("c_REPLY_TOPIC", &[("a", 1), ("b", 1)]);
    world.broker("a", |_| Reply::Code(ResponseCode::SYSTEM_ERROR));
    let producer = world.builder().start().await.unwrap();
    producer.reply(&request_through("a"), "!").await.unwrap();
    let through: Vec<_> = world
        .asked(SendReply::CODE)
        .into_iter()
        .map(|asked| asked.addr)
        .collect();
    assert_eq!(through, ["a:1", "b:1"]);
    world.broker("b", |_| Reply::Code(ResponseCode::SYSTEM_ERROR));
    let error = producer
        .reply(&request_through("a"), "!")
        .await
        .unwrap_err();
    assert_eq!(error.response_code(), Some(ResponseCode::SYSTEM_ERROR));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_request_cannot_be_replied_to_and_a_reply_is_sent_as_one_only() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().start().await.unwrap();
    let plain = received("a", &[("CLUSTER", "c"), ("UNIQ_KEY", "U")]);
    assert!(!plain.is_request() && request_through("a").is_request());
    refused(
        &producer.reply(&plain, "!").await.unwrap_err(),
        "message U cannot be replied to",
    );
    let reply = || Message::reply_to(&request_through("a")).body("!").build();
    refused(
        &producer.request(reply()).await.unwrap_err(),
        "a reply cannot be a request",
    );
    let delayed = Message::reply_to(&request_through("a")).body("!");
    for delayed in [delayed.clone().delay_level(1), delayed.delay(SECOND)] {
        refused(
            &producer.send(delayed.build()).await.unwrap_err(),
            "a reply cannot be delayed",
        );
    }
    let batch = producer
        .send_batch(vec![reply(), reply()])
        .await
        .unwrap_err();
    refused(&batch, "message 0 of the batch is a reply");
    let builder = TransactionProducer::builder("tx")
        .config(ClientConfig::default().name_server(super::world::NAME_SERVER))
        .environment(world.environment())
        .check(|_| async { TransactionState::Unknown });
    let transacting = builder.start().await.unwrap();
    let sending = transacting.send_in_transaction(reply(), |_| async { TransactionState::Commit });
    refused(
        &sending.await.unwrap_err(),
        "a reply cannot be sent in a transaction",
    );
    assert_eq!(world.sent().len() + world.asked(SendReply::CODE).len(), 0);
}
