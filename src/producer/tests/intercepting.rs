//! What interceptors are told, and what they can do.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::requesting::{id_of, reply, wait_for_requests};
use super::world::{Reply, World};
use crate::error::{Error, ErrorKind};
use crate::message::{Message, MessageQueue};
use crate::producer::{DefaultProducer, Intercepted, OutgoingMessage, SendInterceptor, SendResult};
use crate::protocol::code::ResponseCode;

/// Notes what it is told, and does what it is asked for.
#[derive(Clone, Default)]
struct Notes {
    name: &'static str,
    lines: Arc<Mutex<Vec<String>>>,
    ids: Arc<Mutex<Vec<String>>>,
    /// How long the value of the property is that it adds, if longer than usual.
    long: Arc<AtomicUsize>,
}

impl Notes {
    fn named(&self, name: &'static str) -> Self {
        Self {
            name,
            ..self.clone()
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock())
    }

    fn note(&self, what: &str, message: &Message) {
        let body = String::from_utf8_lossy(message.body()).into_owned();
        let body = &body[..body.len().min(5)];
        self.lines
            .lock()
            .push(format!("{} {what} {body}", self.name).trim().to_owned());
    }
}

impl SendInterceptor for Notes {
    fn before(
        &self,
        message: &mut OutgoingMessage<'_>,
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        assert_eq!(message.group(), "g");
        self.note("before", message.message());
        let value = format!("me{}", "e".repeat(self.long.load(Ordering::SeqCst)));
        message.set_property(format!("by{}", self.name), value);
        match message.message().property("ask") {
            Some("panic") => panic!("no way"),
            Some("refuse") => Err("policy".into()),
            Some("reserved") => {
                message.set_property("KEYS", "k");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn stored(&self, send: &Intercepted<'_>, result: Option<&SendResult>) {
        self.note("stored", send.message());
        let id = result.map_or("none", SendResult::msg_id);
        self.ids.lock().push(id.to_owned());
        assert!(
            send.message().property("ask") != Some("panic later"),
            "no way"
        );
    }

    fn failed(&self, send: &Intercepted<'_>, error: &Error) {
        self.note(&format!("failed {:?}", error.kind()), send.message());
        assert!(
            send.message().property("ask") != Some("panic later"),
            "no way"
        );
    }
}

async fn producer(world: &Arc<World>) -> (DefaultProducer, Notes) {
    let notes = Notes::default();
    let producer = world.builder().interceptor(notes.clone());
    (producer.start().await.unwrap(), notes)
}

fn asking(what: &str) -> Message {
    Message::builder("t")
        .property("ask", what)
        .body("x")
        .build()
}

#[tokio::test(start_paused = true)]
async fn every_way_of_sending_is_told_once_before_and_once_after() {
    let world = World::with_brokers(&["a", "b"]);
    let (producer, notes) = producer(&world).await;
    let send = || producer.send(Message::new("t", "x"));
    // Tried twice, and told once.
    world.broker("a", |_| Reply::Code(ResponseCode::SYSTEM_BUSY));
    for _ in 0..4 {
        let result = send().await.unwrap();
        assert_eq!(notes.take(), ["before x", "stored x"]);
        assert_eq!(notes.ids.lock().pop().unwrap(), result.msg_id());
        assert_eq!(
            world.sent().pop().unwrap().property("by").as_deref(),
            Some("me")
        );
    }
    world.broker("a", |_| Reply::Stored);
    let (report, reported) = oneshot::channel();
    send().callback(|outcome| report.send(outcome).unwrap());
    reported.await.unwrap().unwrap();
    assert_eq!(notes.take(), ["before x", "stored x"]);
    send().submit().await.unwrap().await.unwrap();
    assert_eq!(notes.take(), ["before x", "stored x"]);
    notes.ids.lock().clear();
    send().oneway().await.unwrap();
    assert_eq!(notes.take(), ["before x", "stored x"]);
    assert_eq!(*notes.ids.lock(), ["none"]);
    let batch = vec![Message::new("t", "one"), Message::new("t", "two")];
    let results = producer.send_batch(batch).await.unwrap();
    assert_eq!(
        notes.take(),
        ["before one", "before two", "stored one", "stored two"]
    );
    assert_eq!(
        notes.ids.lock()[1..],
        [results[0].msg_id(), results[1].msg_id()]
    );
    producer
        .send_batch(vec![Message::new("t", "alone")])
        .await
        .unwrap();
    assert_eq!(notes.take(), ["before alone", "stored alone"]);
}

#[tokio::test(start_paused = true)]
async fn a_body_is_the_application_s_also_when_it_goes_compressed() {
    let world = World::with_brokers(&["a"]);
    let (producer, notes) = producer(&world).await;
    producer
        .send(Message::new("t", "plain".repeat(10_000)))
        .await
        .unwrap();
    assert_eq!(notes.take(), ["before plain", "stored plain"]);
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_is_told_on_every_way() {
    let world = World::with_brokers(&["a"]);
    let (producer, notes) = producer(&world).await;
    world.broker("a", |_| Reply::Code(ResponseCode::MESSAGE_ILLEGAL));
    let send = || producer.send(Message::new("t", "x"));
    send().await.unwrap_err();
    assert_eq!(notes.take(), ["before x", "failed Broker x"]);
    send().submit().await.unwrap().await.unwrap_err();
    assert_eq!(notes.take(), ["before x", "failed Broker x"]);
    let batch = vec![Message::new("t", "one"), Message::new("t", "two")];
    producer.send_batch(batch.clone()).await.unwrap_err();
    let told = [
        "before one",
        "before two",
        "failed Broker one",
        "failed Broker two",
    ];
    assert_eq!(notes.take(), told);
    // What breaks a rule has been seen by them, since they could have mended it.
    let wrong = MessageQueue::new("u", "a", 0);
    let told = ["before x", "failed InvalidInput x"];
    let (report, reported) = oneshot::channel();
    send()
        .to(wrong.clone())
        .callback(|outcome| report.send(outcome).unwrap());
    reported.await.unwrap().unwrap_err();
    assert_eq!(notes.take(), told);
    for outcome in [
        send().to(wrong.clone()).await.map(drop),
        send().to(wrong.clone()).oneway().await,
        send().to(wrong).submit().await.map(drop),
    ] {
        outcome.unwrap_err();
    }
    assert_eq!(notes.take(), told.repeat(3));
    let mixed = vec![Message::new("t", "one"), Message::new("u", "two")];
    producer.send_batch(mixed).await.unwrap_err();
    let told = [
        "before one",
        "before two",
        "failed InvalidInput one",
        "failed InvalidInput two",
    ];
    assert_eq!(notes.take(), told);
    // A producer that ends tells of what it leaves.
    world.broker("a", |_| Reply::Silence);
    let receipt = send().submit().await.unwrap();
    tokio::task::yield_now().await;
    producer.shutdown_within(Duration::ZERO).await.unwrap();
    receipt.await.unwrap_err();
    assert_eq!(notes.take(), ["before x", "failed Closed x"]);
    send().await.unwrap_err();
    assert_eq!(notes.take(), ["before x", "failed Closed x"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_against_it_or_panics_fails_the_send_and_nothing_is_sent() {
    let world = World::with_brokers(&["a"]);
    let (producer, notes) = producer(&world).await;
    for (what, kind, named) in [
        (
            "refuse",
            ErrorKind::Application,
            "an interceptor is against it: policy",
        ),
        (
            "panic",
            ErrorKind::Application,
            "an interceptor panicked: no way",
        ),
        ("reserved", ErrorKind::InvalidInput, "\"KEYS\" is reserved"),
    ] {
        let (report, reported) = oneshot::channel();
        producer.send_callback(asking(what), |outcome| report.send(outcome).unwrap());
        for outcome in [
            producer.send(asking(what)).await.map(drop),
            producer.send_oneway(asking(what)).await,
            producer.submit(asking(what)).await.map(drop),
            producer
                .send_batch(vec![Message::new("t", "x"), asking(what)])
                .await
                .map(drop),
            reported.await.unwrap().map(drop),
        ] {
            let error = outcome.unwrap_err();
            assert_eq!((error.kind(), error.topic()), (kind, Some("t")), "{error}");
            assert!(error.to_string().contains(named), "{error}");
        }
        let told = notes.take();
        let failed = told
            .iter()
            .filter(|line| line.starts_with("failed"))
            .count();
        // Whoever was against it needs not be told; the other message of the batch has failed, too.
        let expected = if kind == ErrorKind::Application { 1 } else { 6 };
        assert_eq!((told.len() - failed, failed), (6, expected), "{told:?}");
    }
    assert_eq!(world.sent().len(), 0);
    assert_eq!(producer.shared.unfinished(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_split_is_told_as_a_whole_and_cut_with_what_was_added() {
    let world = World::with_brokers(&["a"]);
    let notes = Notes::default();
    let builder = world.builder().interceptor(notes.clone());
    let producer = builder.max_message_size(1000).start().await.unwrap();
    let batch = |count: usize| -> Vec<_> {
        let body = |at| format!("{at:<200}");
        (0..count).map(|at| Message::new("t", body(at))).collect()
    };
    // Three fit before the interceptor adds its property to each; its name alone is longer than what is left.
    let room = 1000 - 3 * 270;
    notes.long.store(room / 3, Ordering::SeqCst);
    let outcomes = producer.send_batch(batch(4)).split().await;
    for outcome in &outcomes {
        assert!(outcome.is_ok(), "{outcome:?}");
    }
    assert_eq!(world.sent().len(), 2);
    assert_eq!(notes.take().len(), 8);
    // What is behind a part that fails has failed, too.
    world.broker("a", |_| Reply::Code(ResponseCode::MESSAGE_ILLEGAL));
    producer.send_batch(batch(4)).split().await;
    let told = notes.take();
    assert_eq!(told.len(), 8, "{told:?}");
    assert!(
        told[4..]
            .iter()
            .all(|line| line.starts_with("failed Broker"))
    );
    // And so has every message of one that breaks a rule, or that somebody is against.
    let sent = world.sent().len();
    let mixed = vec![Message::new("t", "one"), Message::new("u", "two")];
    for outcome in producer.send_batch(mixed).split().await {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let told = [
        "before one",
        "before two",
        "failed InvalidInput one",
        "failed InvalidInput two",
    ];
    assert_eq!(notes.take(), told);
    let refused = vec![Message::new("t", "one"), asking("refuse")];
    for outcome in producer.send_batch(refused).split().await {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Application);
    }
    let told = ["before one", "before x", "failed Application one"];
    assert_eq!(notes.take(), told);
    // A batch of one is no exception.
    let delayed = Message::builder("t").delay_level(1).body("alone").build();
    producer.send_batch(vec![delayed]).await.unwrap_err();
    assert_eq!(notes.take(), ["before alone", "failed InvalidInput alone"]);
    assert_eq!(world.sent().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn one_that_panics_afterwards_harms_nothing() {
    let world = World::with_brokers(&["a"]);
    let (producer, notes) = producer(&world).await;
    producer.send(asking("panic later")).await.unwrap();
    world.broker("a", |_| Reply::Code(ResponseCode::MESSAGE_ILLEGAL));
    let receipt = producer.submit(asking("panic later")).await.unwrap();
    assert_eq!(receipt.await.unwrap_err().kind(), ErrorKind::Broker);
    assert_eq!(notes.take().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn several_are_told_in_their_order_and_back() {
    let world = World::with_brokers(&["a"]);
    let notes = Notes::default();
    let builder = world.builder().interceptor(notes.named("1"));
    let builder = builder.interceptor(notes.named("2"));
    let producer = builder.start().await.unwrap();
    producer.send(Message::new("t", "x")).await.unwrap();
    assert_eq!(
        notes.take(),
        ["1 before x", "2 before x", "2 stored x", "1 stored x"]
    );
    producer.send(asking("refuse")).await.unwrap_err();
    assert_eq!(notes.take(), ["1 before x"]);
    let sent = world.sent().pop().unwrap();
    assert_eq!(
        (sent.property("by1"), sent.property("by2")),
        (Some("me".into()), Some("me".into()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_dropped_has_no_end() {
    let world = World::with_brokers(&["a"]);
    let (producer, notes) = producer(&world).await;
    drop(producer.send(Message::new("t", "x")));
    assert!(
        notes.take().is_empty(),
        "nor a beginning before it is polled"
    );
    world.broker("a", |_| Reply::Silence);
    let send = producer.send(Message::new("t", "x"));
    timeout(Duration::from_millis(1), send).await.unwrap_err();
    assert_eq!(notes.take(), ["before x"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_stored_when_its_broker_says_so_or_its_reply_is_there() {
    let world = World::with_brokers(&["a"]);
    let (producer, notes) = producer(&world).await;
    let second = Duration::from_secs(1);
    world.broker("a", move |_| Reply::StoredAfter(second));
    for reply_after in [Duration::from_millis(10), 2 * second] {
        let sent = world.sent().len();
        let asking = tokio::spawn(producer.request(Message::new("t", "x")).timeout(5 * second));
        let request = wait_for_requests(&world, sent + 1).await.remove(sent);
        sleep(reply_after).await;
        reply(&world, &id_of(&request), "!");
        assert_eq!(asking.await.unwrap().unwrap().body(), "!");
        assert_eq!(notes.take(), ["before x", "stored x"]);
        sleep(2 * second).await;
        assert_eq!(notes.take(), [""; 0]);
    }
    let ids = std::mem::take(&mut *notes.ids.lock());
    // What the broker said is not known where the reply was faster.
    assert!(ids[0] == "none" && ids[1].len() == 32, "{ids:?}");
    // Nothing is left that a shutdown would wait for.
    let sent = world.sent().len();
    let asking = tokio::spawn(producer.request(Message::new("t", "y")));
    let request = wait_for_requests(&world, sent + 1).await.remove(sent);
    reply(&world, &id_of(&request), "!");
    asking.await.unwrap().unwrap();
    assert_eq!(producer.shutdown().await.unwrap().unfinished(), 0);
    assert_eq!(notes.take(), ["before y", "stored y"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_sent_or_not_acknowledged_fails() {
    let world = World::with_brokers(&["a"]);
    let (producer, notes) = producer(&world).await;
    let error = producer.request(Message::new("nowhere", "x")).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NoRoute);
    assert_eq!(notes.take(), ["before x", "failed NoRoute x"]);
    world.broker("a", |_| Reply::Silence);
    let asking = tokio::spawn(
        producer
            .request(Message::new("t", "x"))
            .timeout(Duration::from_secs(60)),
    );
    wait_for_requests(&world, 1).await;
    assert_eq!(producer.shutdown().await.unwrap().unfinished(), 1);
    assert_eq!(asking.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(notes.take(), ["before x", "failed Closed x"]);
}
