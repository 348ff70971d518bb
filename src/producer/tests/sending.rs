//! What is sent, where, and what comes back, when nothing goes wrong; and what is refused before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;

use super::world::{NAME_SERVER, Reply, World};
use crate::client::Client;
use crate::config::ClientConfig;
use crate::error::{Delivery, ErrorKind};
use crate::message::{Message, MessageQueue};
use crate::producer::{Compression, DefaultProducer, SendFuture, SendStatus};
use crate::protocol::code::{RequestCode, ResponseCode};
use crate::protocol::compress::{self, Codec};

#[tokio::test(start_paused = true)]
async fn a_message_is_sent_as_java_sends_it_and_its_place_comes_back() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().start().await.unwrap();
    let message = Message::builder("t")
        .tag("TagA")
        .property("k", "v")
        .flag(3)
        .body("hi")
        .build();
    let result = producer.send(message).await.unwrap();
    let sent = &world.sent()[0];
    let field = |name: &str| sent.fields.get(name).map(String::as_str);
    assert_eq!((field("a"), field("b")), (Some("g"), Some("t")));
    assert_eq!((field("c"), field("d")), (Some("TBW102"), Some("4")));
    assert_eq!(
        (sent.sys_flag, field("h"), field("n")),
        (0, Some("3"), Some("a"))
    );
    assert!(field("g").unwrap().parse::<i64>().unwrap() > 1_600_000_000_000);
    assert_eq!(
        (sent.property("TAGS"), sent.property("k")),
        (Some("TagA".into()), Some("v".into()))
    );
    assert_eq!((&sent.body[..], sent.oneway), (&b"hi"[..], false));
    assert_eq!(result.status(), SendStatus::SEND_OK);
    assert_eq!(sent.property("UNIQ_KEY").as_deref(), Some(result.msg_id()));
    assert_eq!(result.offset_msg_id(), "0A00000100002A9F0000000000000000");
    assert_eq!(*result.queue(), MessageQueue::new("t", "a", sent.queue_id));
    assert_eq!(
        (result.queue_offset(), result.transaction_id()),
        (7, Some("TX"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_less_safely_is_a_success_that_says_so() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().start().await.unwrap();
    for (code, status) in [
        (
            ResponseCode::FLUSH_DISK_TIMEOUT,
            SendStatus::FLUSH_DISK_TIMEOUT,
        ),
        (
            ResponseCode::FLUSH_SLAVE_TIMEOUT,
            SendStatus::FLUSH_SLAVE_TIMEOUT,
        ),
        (
            ResponseCode::SLAVE_NOT_AVAILABLE,
            SendStatus::SLAVE_NOT_AVAILABLE,
        ),
    ] {
        world.broker("a", move |_| Reply::Code(code));
        let result = producer.send(Message::new("t", "x")).await.unwrap();
        assert_eq!(result.status(), status);
    }
    assert_eq!(world.sent().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn queues_take_turns_by_topic() {
    let world = World::with_brokers(&["a", "b"]);
    world.topic("u", &[("a", 4)]);
    let producer = world.warm_producer().await;
    producer.queues("u").await.unwrap();
    // Two topics in turn: a count that they shared would leave out half of their queues.
    for _ in 0..12 {
        producer.send(Message::new("t", "x")).await.unwrap();
        producer.send(Message::new("u", "x")).await.unwrap();
    }
    let mut counts = BTreeMap::new();
    for sent in world.sent() {
        *counts
            .entry((sent.fields["b"].clone(), sent.addr, sent.queue_id))
            .or_insert(0) += 1;
    }
    assert_eq!(
        counts.values().copied().collect::<Vec<_>>(),
        [3; 8],
        "{counts:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_first_send_asks_once_and_greets_the_broker() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().start().await.unwrap();
    assert_eq!(world.connections(), 0, "it connects when it is needed");
    let outcomes = join_all((0..1000).map(|_| producer.send(Message::new("t", "x")))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(world.asked(RequestCode::GET_ROUTEINFO_BY_TOPIC).len(), 1);
    assert_eq!(world.asked(RequestCode::HEART_BEAT).len(), 1);
    assert_eq!((world.sent().len(), world.connections()), (1000, 2));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_not_there_is_sent_to_where_it_will_be_made() {
    let world = World::with_brokers(&["a"]);
    world.topic("TBW102", &[("a", 8), ("b", 2)]);
    world.broker("b", |_| Reply::Stored);
    let producer = world.builder().start().await.unwrap();
    let queues = producer.queues("new").await.unwrap();
    let mut expected: Vec<_> = (0..4).map(|id| MessageQueue::new("new", "a", id)).collect();
    expected.extend((0..2).map(|id| MessageQueue::new("new", "b", id)));
    assert_eq!(queues, expected);
    let result = producer.send(Message::new("new", "x")).await.unwrap();
    assert!(queues.contains(result.queue()));
    assert_eq!(world.sent()[0].fields["b"], "new");
    // Once it is there, its own route counts.
    world.topic("new", &[("b", 1)]);
    let result = producer.send(Message::new("new", "x")).await.unwrap();
    assert_eq!(*result.queue(), MessageQueue::new("new", "b", 0));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_nobody_makes_is_an_error_that_names_it() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().default_topic("D").start().await.unwrap();
    for error in [
        producer.send(Message::new("new", "x")).await.unwrap_err(),
        producer
            .send_oneway(Message::new("new", "x"))
            .await
            .unwrap_err(),
        producer.queues("new").await.unwrap_err(),
    ] {
        assert_eq!(
            (error.kind(), error.topic()),
            (ErrorKind::NoRoute, Some("new"))
        );
        assert!(error.to_string().contains("(D has no route)"), "{error}");
    }
    world.topic("full", &[("a", 0)]);
    let error = producer.send(Message::new("full", "x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRoute);
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_fails_is_an_error_of_what_needed_it() {
    let world = World::with_brokers(&["a"]);
    let unreachable = ClientConfig::default().name_server("nowhere:1");
    for (builder, kind, named) in [
        (world.builder(), ErrorKind::NoRoute, "does not exist"),
        (
            world.builder().config(unreachable),
            ErrorKind::NameServer,
            "nowhere:1",
        ),
    ] {
        let together = builder.clone().auto_batch().start().await.unwrap();
        let producer = builder.start().await.unwrap();
        let message = || Message::new("new", "x");
        for (operation, error) in [
            ("send", producer.send(message()).await.unwrap_err()),
            ("send", producer.send_oneway(message()).await.unwrap_err()),
            (
                "send",
                producer.send_batch(vec![message(); 2]).await.unwrap_err(),
            ),
            (
                "send",
                together
                    .send(message())
                    .sharding_key("k")
                    .await
                    .unwrap_err(),
            ),
            (
                "send",
                together.send(message()).select(|_, _| 0).await.unwrap_err(),
            ),
            ("request", producer.request(message()).await.unwrap_err()),
            ("look up queues", producer.queues("new").await.unwrap_err()),
        ] {
            let text = error.to_string();
            assert_eq!((error.kind(), error.topic()), (kind, Some("new")), "{text}");
            assert!(
                text.starts_with(&format!("{operation} (topic new")),
                "{text}"
            );
            assert!(text.contains(named), "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_given_queue_a_key_and_a_selector_choose() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.builder().start().await.unwrap();
    let given = MessageQueue::new("t", "b", 1);
    let result = producer
        .send(Message::new("t", "x"))
        .to(given.clone())
        .await
        .unwrap();
    assert_eq!(*result.queue(), given);
    for _ in 0..3 {
        // By Java: "order-1".hashCode() % 4 is -2, and the third queue is b's first.
        let result = producer
            .send(Message::new("t", "x"))
            .sharding_key("order-1")
            .await
            .unwrap();
        assert_eq!(*result.queue(), MessageQueue::new("t", "b", 0));
    }
    assert_eq!(
        world.sent()[3].property("__SHARDINGKEY").as_deref(),
        Some("order-1")
    );
    let result = producer
        .send(Message::new("t", "pick me"))
        .select(|queues: &[MessageQueue], message: &Message| {
            assert_eq!((queues.len(), message.topic()), (4, "t"));
            1
        })
        .await
        .unwrap();
    assert_eq!(*result.queue(), MessageQueue::new("t", "a", 1));
}

#[tokio::test(start_paused = true)]
async fn a_selector_that_fails_fails_the_send_and_nothing_else() {
    let world = World::with_brokers(&["a"]);
    for warm in [false, true] {
        let producer = if warm {
            world.warm_producer().await
        } else {
            world.builder().start().await.unwrap()
        };
        let panics = producer
            .send(Message::new("t", "x"))
            .select(|_, _| panic!("no way"));
        let error = panics.await.unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Application, Delivery::No)
        );
        assert!(error.to_string().contains("no way"), "{error}");
        let error = producer
            .send(Message::new("t", "x"))
            .select(|_, _| 2)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Application);
        assert!(
            error.to_string().contains("number 2 of 2 queues"),
            "{error}"
        );
        assert_eq!(world.sent().len(), 0);
        producer.send(Message::new("t", "x")).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_breaks_a_rule_is_refused_in_every_way_of_sending() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().max_message_size(5).start().await.unwrap();
    let other = MessageQueue::new("other", "a", 0);
    let sends: [Box<dyn Fn() -> SendFuture>; 6] = [
        Box::new(|| producer.send(Message::new("a b", "x"))),
        Box::new(|| producer.send(Message::new("t", ""))),
        Box::new(|| producer.send(Message::new("t", "123456"))),
        Box::new(|| {
            producer.send(
                Message::builder("t")
                    .property("TAGS", "x")
                    .body("x")
                    .build(),
            )
        }),
        Box::new(|| producer.send(Message::new("t", "x")).to(other.clone())),
        Box::new(|| producer.send(Message::new("t", "x")).sharding_key("")),
    ];
    for send in &sends {
        let (reports, mut reported) = tokio::sync::mpsc::unbounded_channel();
        send().callback(move |outcome| reports.send(outcome.unwrap_err()).unwrap());
        for error in [
            send().await.unwrap_err(),
            send().oneway().await.unwrap_err(),
            send().submit().await.unwrap_err(),
            reported.recv().await.unwrap(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
    }
    assert_eq!(world.connections(), 0);
    producer.send(Message::new("t", "12345")).await.unwrap();
}

#[tokio::test(start_paused = true)]
#[cfg(feature = "zlib")]
async fn bodies_are_compressed_from_the_threshold_on_where_that_pays() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    let noise: Vec<u8> = {
        let mut state = 1_u32;
        let step = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..5000).map(step).collect()
    };
    for (body, packed) in [
        (vec![b'a'; 4095], false),
        (vec![b'a'; 4096], true),
        (vec![b'a'; 100_000], true),
        (noise, false),
    ] {
        producer
            .send(Message::new("t", body.clone()))
            .await
            .unwrap();
        producer
            .send_oneway(Message::new("t", body.clone()))
            .await
            .unwrap();
        producer.send(Message::new("t", "after it")).await.unwrap();
        for sent in world.sent().iter().rev().skip(1).take(2) {
            assert_eq!(
                sent.sys_flag,
                if packed { 0x301 } else { 0 },
                "{}",
                body.len()
            );
            let plain = if packed {
                compress::decompress(Codec::Zlib, &sent.body, 1 << 20).unwrap()
            } else {
                sent.body.clone()
            };
            assert_eq!(plain, body);
        }
    }
    let never = world
        .builder()
        .compress_over(usize::MAX)
        .start()
        .await
        .unwrap();
    never
        .send(Message::new("t", vec![b'a'; 10_000]))
        .await
        .unwrap();
    assert_eq!(world.sent().last().unwrap().body.len(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_body_is_compressed_by_the_codec_that_is_chosen() {
    let world = World::with_brokers(&["a"]);
    let body = b"abc".repeat(30_000);
    for (compression, codec, flags) in [
        (Compression::Zlib, Codec::Zlib, 0x301),
        (Compression::Lz4, Codec::Lz4, 0x101),
        (Compression::Zstd, Codec::Zstd, 0x201),
    ] {
        for level in [1, 9] {
            let builder = world.builder().compression(compression);
            let builder = builder.compression_level(level).compress_over(10);
            let producer = match builder.start().await {
                Ok(producer) => producer,
                Err(error) => {
                    assert!(error.to_string().contains(codec.name()), "{error}");
                    continue;
                }
            };
            producer
                .send(Message::new("t", body.clone()))
                .await
                .unwrap();
            let sent = world.sent().pop().unwrap();
            assert_eq!(sent.sys_flag, flags);
            let plain = compress::decompress(codec, &sent.body, 1 << 20).unwrap();
            assert_eq!(plain, body);
        }
    }
    let never = world.builder().compression(Compression::Off);
    let never = never.start().await.unwrap();
    never.send(Message::new("t", body.clone())).await.unwrap();
    assert_eq!(world.sent().pop().unwrap().body, body);
    let wrong = world.builder().compression(Compression::Zlib);
    let wrong = wrong.compression_level(10).start().await;
    let error = wrong.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.to_string().contains("compression_level is 10"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_oneway_message_is_written_and_not_answered() {
    let world = World::with_brokers(&["a"]);
    world.broker("a", |_| Reply::Silence);
    let producer = world.builder().start().await.unwrap();
    let queue = MessageQueue::new("t", "a", 1);
    producer
        .send(Message::new("t", "x"))
        .to(queue)
        .oneway()
        .await
        .unwrap();
    producer.shutdown().await.unwrap();
    let sent = world.sent();
    assert_eq!((sent.len(), sent[0].oneway, sent[0].queue_id), (1, true, 1));
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_oneway_message_says_that_there_is_one_attempt() {
    let world = World::with_brokers(&["a"]);
    let producer = world.builder().start().await.unwrap();
    producer.queues("t").await.unwrap();
    world.remove_broker("a");
    let error = producer.send_oneway(Message::new("t", "x")).await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("; attempt 1 of 1;"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn topics_that_were_named_are_known_from_the_start() {
    let world = World::with_brokers(&["a"]);
    let producer = world
        .builder()
        .topics(["t", "unknown"])
        .start()
        .await
        .unwrap();
    assert_eq!(world.asked(RequestCode::GET_ROUTEINFO_BY_TOPIC).len(), 2);
    let beats = world.asked(RequestCode::HEART_BEAT);
    assert!(!beats.is_empty());
    assert!(String::from_utf8_lossy(&beats[0].body).contains(r#""groupName":"g""#));
    // And kept fresh: the next look-ups come by themselves.
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(world.asked(RequestCode::GET_ROUTEINFO_BY_TOPIC).len(), 4);
    producer.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_that_cannot_be_says_why() {
    let world = World::with_brokers(&["a"]);
    let error = |builder: crate::producer::DefaultProducerBuilder| async {
        builder.start().await.map(drop).unwrap_err()
    };
    let client = Client::builder()
        .config(ClientConfig::default().name_server("gone:9876"))
        .start()
        .await
        .unwrap();
    for (builder, text) in [
        (DefaultProducer::builder("a b"), "contains ' '"),
        (world.builder().send_timeout(Duration::ZERO), "send_timeout"),
        (world.builder().max_message_size(0), "max_message_size"),
        (
            world.builder().max_message_size(16 << 20),
            "max_message_size",
        ),
        (
            world.builder().default_topic_queues(0),
            "default_topic_queues",
        ),
        (world.builder().default_topic(""), "topic"),
        (world.builder().topics(["a b"]), "contains ' '"),
        (world.builder().client(&client), "shared client"),
    ] {
        let error = error(builder).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    let unknown = ClientConfig::default().name_server("nowhere:1");
    world.remove_broker("nowhere");
    let error = error(world.builder().config(unknown).topics(["t"])).await;
    assert_eq!(error.kind(), ErrorKind::NameServer);
    assert!(error.to_string().contains("nowhere:1"), "{error}");
    assert_eq!(world.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn producers_share_a_client_unless_they_are_of_one_group() {
    let world = World::with_brokers(&["a"]);
    let first = world.builder().start().await.unwrap();
    let client = first.shared.client.clone();
    let second = DefaultProducer::builder("h")
        .client(&client)
        .start()
        .await
        .unwrap();
    let twice = DefaultProducer::builder("g")
        .client(&client)
        .start()
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::InvalidInput);
    first.send(Message::new("t", "x")).await.unwrap();
    second.send(Message::new("t", "x")).await.unwrap();
    assert_eq!(
        world.connections(),
        2,
        "one to {NAME_SERVER}, one to the broker"
    );
    second.shutdown().await.unwrap();
    first.send(Message::new("t", "x")).await.unwrap();
    first.shutdown().await.unwrap();
    assert!(client.is_closed());
}

#[test]
fn a_send_can_be_spawned_and_kept_anywhere() {
    fn check<T: Send + Unpin + 'static>() {}
    check::<SendFuture>();
    check::<crate::producer::Receipt>();
    fn handle<T: Clone + Send + Sync + 'static>() {}
    handle::<DefaultProducer>();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_leaves_nothing_behind() {
    let world = World::with_brokers(&["a"]);
    world.broker("a", |_| Reply::Silence);
    let producer = world.builder().start().await.unwrap();
    // It is dropped while it looks for the route, while it connects, and while it waits for the answer.
    for wait in [0, 0, 100] {
        let selected = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&selected);
        let mut send = producer.send(Message::new("t", "x")).select(move |_, _| {
            counts.fetch_add(1, Ordering::SeqCst);
            0
        });
        assert!((&mut send).now_or_never().is_none());
        tokio::time::sleep(Duration::from_millis(wait)).await;
        assert!((&mut send).now_or_never().is_none());
        assert_eq!(producer.shared.unfinished(), 1);
        drop(send);
        assert_eq!(producer.shared.unfinished(), 0);
        assert_eq!(
            Arc::strong_count(&selected),
            1,
            "what the selector holds is gone too"
        );
    }
    assert_eq!(Arc::strong_count(&producer.shared), 1);
    // With nothing to wait for, the connections become idle and close.
    tokio::time::sleep(Duration::from_secs(29)).await;
    drop(producer);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_selector_is_given_the_queues_as_they_are_listed() {
    let world = World::with_brokers(&["a", "b"]);
    // One of these brokers has no master.
    world.order("t", "b:2;c:1;a:1");
    let producer = world.builder().start().await.unwrap();
    let listed = producer.queues("t").await.unwrap();
    let names: Vec<_> = listed.iter().map(|queue| &*queue.broker_name).collect();
    assert_eq!(names, ["b", "b", "c", "a"]);
    let send = producer.send(Message::new("t", "x"));
    let send = send.select(move |given, _| {
        assert_eq!(given, listed);
        3
    });
    assert_eq!(&*send.await.unwrap().queue().broker_name, "a");
}
