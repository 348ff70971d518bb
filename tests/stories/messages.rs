//! What a message may be: bodies, properties, tags and keys.

use std::time::Duration;

use rocketmq_sdk::protocol::compress::{self, Codec};
use rocketmq_sdk::protocol::message::StoredMessage;
use rocketmq_sdk::{
    Compression, ConsumeFromWhere, ConsumeStatus, DefaultProducer, ErrorKind, Message,
};

use crate::received::Received;
use crate::stored::read_stored;
use crate::target::{Target, wait_until_stored};

const MAX_BODY: usize = 4 * 1024 * 1024;

/// Sends a message, and reads what the broker has of it. The topic is a new one.
async fn stored(target: &Target, base: &str, build: impl FnOnce(&str) -> Message) -> StoredMessage {
    let topic = target.topic(base, 1).await;
    let producer = target.producer().await;
    producer.send(build(&topic)).await.unwrap();
    producer.shutdown().await.unwrap();
    read_stored(target, &topic, 1, 1).await.remove(0)
}

/// What every way of sending says of a message that breaks a rule.
async fn assert_refused(producer: &DefaultProducer, message: Message, named: &str) {
    let (report, reported) = tokio::sync::oneshot::channel();
    producer.send_callback(message.clone(), |outcome| {
        report.send(outcome.map(drop)).unwrap();
    });
    for outcome in [
        producer.send(message.clone()).await.map(drop),
        producer.send_oneway(message.clone()).await,
        producer.submit(message.clone()).await.map(drop),
        producer.send_batch(vec![message]).await.map(drop),
        reported.await.unwrap(),
    ] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(
            error.to_string().contains(named),
            "{error} should name {named}"
        );
    }
}

#[tokio::test]
async fn a_ms_01_02_a_topic_that_cannot_be_is_refused() {
    let target = Target::shared().await;
    let producer = target.producer().await;
    let long = "t".repeat(128);
    for (topic, named) in [
        ("", "topic is empty"),
        ("a b", "a b"),
        ("../../x", "'.'"),
        ("标题", "标"),
        (&long, "the limit is 127"),
        ("SCHEDULE_TOPIC_XXXX", "the broker's own"),
        ("RMQ_SYS_TRANS_HALF_TOPIC", "the broker's own"),
        ("TRANS_CHECK_MAX_TIME_TOPIC", "the broker's own"),
    ] {
        assert_refused(&producer, Message::new(topic, "x"), named).await;
    }
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ms_03_05_an_empty_body_and_one_that_is_too_large_are_refused() {
    let target = Target::shared().await;
    let topic = target.topic("bodies", 1).await;
    let producer = target.producer().await;
    assert_refused(&producer, Message::new(&*topic, ""), "no body").await;
    let large = Message::new(&*topic, vec![0; MAX_BODY + 1]);
    let named = "the body has 4194305 bytes, the limit is 4194304";
    assert_refused(&producer, large, named).await;
    wait_until_stored(&target, &topic, 1, 0).await;
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ms_04_06_a_body_of_the_maximum_goes() {
    let target = Target::shared().await;
    let topic = target.topic("largest", 1).await;
    let producer = DefaultProducer::builder(target.name("largest"))
        .name_server(target.name_server())
        .compression(Compression::Off)
        .send_timeout(Duration::from_secs(20))
        .start()
        .await
        .unwrap();
    let builder = || Message::builder(&*topic).body(vec![b'x'; MAX_BODY]);
    producer.send(builder().build()).await.unwrap();
    let ordered = producer.send(builder().build()).sharding_key("order-1");
    ordered.await.unwrap();
    let described = builder().property("k", "v".repeat(16 * 1024)).build();
    producer.send(described).await.unwrap();
    producer
        .send(builder().delay_level(1).build())
        .await
        .unwrap();
    // The last comes to its topic after a second.
    wait_until_stored(&target, &topic, 1, 4).await;
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ms_07_properties_that_are_too_large_are_refused_here_or_by_the_broker() {
    let target = Target::shared().await;
    let topic = target.topic("properties", 1).await;
    let producer = target.producer().await;
    let of_size = |size: usize| {
        let value = "v".repeat(size - "k".len() - 2);
        Message::builder(&*topic)
            .property("k", value)
            .body("x")
            .build()
    };
    producer.send(of_size(32_000)).await.unwrap();
    assert_refused(
        &producer,
        of_size(32_768),
        "32768 bytes, the limit is 32767",
    )
    .await;
    // The broker adds some, and so do we: it has the last word.
    let error = producer.send(of_size(32_767)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broker, "{error}");
    assert!(error.to_string().contains("properties length"), "{error}");
    assert!(!error.is_retryable());
    wait_until_stored(&target, &topic, 1, 1).await;
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ms_08_a_chinese_property_counts_in_bytes() {
    let target = Target::shared().await;
    let value = "订".repeat(10_000);
    let found = stored(&target, "properties", |topic| {
        Message::builder(topic)
            .property("名", &value)
            .body("x")
            .build()
    })
    .await;
    assert!(found.property("名") == Some(&value));
    let producer = target.producer().await;
    let topic = target.name("never");
    let builder = Message::builder(&*topic).property("名", "订".repeat(20_000));
    let named = "the limit is 32767";
    assert_refused(&producer, builder.body("x").build(), named).await;
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ms_09_bodies_and_properties_arrive_as_they_were_sent() {
    let target = Target::shared().await;
    let topic = target.topic("faithful", 1).await;
    let producer = target.producer().await;
    let bytes: Vec<u8> = (0..=255).collect();
    let large = "abc订单".repeat(4000).into_bytes();
    for sent in [
        b" ".to_vec(),
        "订单".into(),
        "🚀".into(),
        bytes.clone(),
        large.clone(),
    ] {
        let message = Message::builder(&*topic)
            .key("k1")
            .key("键2")
            .tag("标签")
            .property("名", "值")
            .body(sent)
            .build();
        producer.send(message).await.unwrap();
    }
    let received = Received::default();
    let consumer = target
        .consumer(&target.name("faithful"))
        .subscribe(&*topic, "标签");
    let consumer = consumer.consume_from(ConsumeFromWhere::FirstOffset);
    let consumer = consumer.listener_with(received.clone(), |received, messages| async move {
        received.add(messages);
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = consumer.start().await.unwrap();
    received
        .wait(&target, "5 messages came", |received| received.count() >= 5)
        .await;
    let mut all = received.all();
    all.sort_by_key(|message| message.queue_offset());
    let bodies: Vec<_> = all.iter().map(|message| message.body().to_vec()).collect();
    assert_eq!(
        bodies,
        [b" ".to_vec(), "订单".into(), "🚀".into(), bytes, large]
    );
    for message in &all {
        assert_eq!(
            (message.tag(), message.property("名")),
            (Some("标签"), Some("值"))
        );
        assert_eq!(message.keys().collect::<Vec<_>>(), ["k1", "键2"]);
    }
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ms_10_properties_arrive_as_they_were_set() {
    let target = Target::shared().await;
    let entries = [
        ("k", "v"),
        ("a b", " = \u{3} "),
        ("名", "值 🚀"),
        ("empty-ish", "\u{0}"),
        ("keys", "not KEYS"),
        ("__SHARDINGKEY", "mine"),
    ];
    let found = stored(&target, "properties", |topic| {
        let builder = Message::builder(topic).body("x");
        let builder = entries.iter().fold(builder, |builder, (name, value)| {
            builder.property(name, value)
        });
        builder.build()
    })
    .await;
    for (name, value) in entries {
        assert_eq!(found.property(name), Some(value), "{name}");
    }
    // Java's reader would drop it.
    let producer = target.producer().await;
    let topic = target.name("never");
    let empty = Message::builder(&*topic).property("k", "").body("x");
    assert_refused(&producer, empty.build(), "property value is empty").await;
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ms_11_14_separators_and_reserved_names_are_refused() {
    let target = Target::shared().await;
    let producer = target.producer().await;
    let topic = target.name("never");
    for (name, value, named) in [
        ("a\u{1}b", "v", "separator"),
        ("a\u{2}b", "v", "separator"),
        ("k", "v\u{1}", "separator"),
        ("k", "\u{2}", "separator"),
        ("", "v", "property name is empty"),
        ("KEYS", "v", "\"KEYS\" is reserved"),
        ("TAGS", "v", "\"TAGS\" is reserved"),
        ("UNIQ_KEY", "v", "\"UNIQ_KEY\" is reserved"),
        ("DELAY", "3", "\"DELAY\" is reserved"),
        ("TRAN_MSG", "true", "\"TRAN_MSG\" is reserved"),
        ("TIMER_DELIVER_MS", "1", "\"TIMER_DELIVER_MS\" is reserved"),
    ] {
        let message = Message::builder(&*topic).property(name, value).body("x");
        assert_refused(&producer, message.build(), named).await;
    }
    for message in [
        Message::builder(&*topic).tag("a\u{1}"),
        Message::builder(&*topic).key("a\u{2}"),
    ] {
        assert_refused(&producer, message.body("x").build(), "separator").await;
    }
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_ms_12_13_keys_and_tags_are_what_was_set() {
    let target = Target::shared().await;
    let long = "t".repeat(10_000);
    let tags = ["TagA", "标签", "*", "a b", "a || b", &long];
    for (at, tag) in tags.into_iter().enumerate() {
        let found = stored(&target, &format!("tag{at}"), |topic| {
            let builder = Message::builder(topic).tag(tag).key("k1").key("键2");
            builder.keys(["k3"]).body("x").build()
        })
        .await;
        assert!(found.property("TAGS") == Some(tag), "{}", &tag[..3]);
        assert_eq!(found.property("KEYS"), Some("k1 键2 k3"));
    }
}

#[tokio::test]
async fn a_ms_15_16_bodies_are_compressed_from_the_threshold_on() {
    let target = Target::shared().await;
    for (compression, codec, flags) in [
        (Compression::Zlib, Codec::Zlib, 0x301),
        (Compression::Lz4, Codec::Lz4, 0x101),
        (Compression::Zstd, Codec::Zstd, 0x201),
    ] {
        let producer = DefaultProducer::builder(target.name("codecs"))
            .name_server(target.name_server())
            .compression(compression);
        let producer = match producer.start().await {
            Ok(producer) => producer,
            // It is not built in, and the error says so.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
                assert!(error.to_string().contains(codec.name()), "{error}");
                continue;
            }
        };
        let topic = target.topic(codec.name(), 1).await;
        let sizes = [4095, 4096, 4097, 128 * 1024 - 1, 128 * 1024];
        let body = |size: usize| "abc订".bytes().cycle().take(size).collect::<Vec<u8>>();
        for size in sizes {
            producer
                .send(Message::new(&*topic, body(size)))
                .await
                .unwrap();
        }
        for (size, found) in sizes
            .into_iter()
            .zip(read_stored(&target, &topic, 1, 5).await)
        {
            let expected = if size < 4096 { 0 } else { flags };
            assert_eq!(found.sys_flag.bits(), expected, "{} {size}", codec.name());
            let plain = if size < 4096 {
                found.body
            } else {
                compress::decompress(codec, &found.body, 1 << 20).unwrap()
            };
            assert!(plain == body(size), "{} {size}", codec.name());
        }
        let received = Received::default();
        let consumer = target
            .consumer(&target.name(codec.name()))
            .subscribe(&*topic, "*")
            .consume_from(ConsumeFromWhere::FirstOffset)
            .listener_with(received.clone(), |received, messages| async move {
                received.add(messages);
                ConsumeStatus::CONSUME_SUCCESS
            });
        let consumer = consumer.start().await.unwrap();
        received
            .wait(&target, "5 messages came", |received| received.count() == 5)
            .await;
        for message in received.all() {
            let size = sizes[usize::try_from(message.queue_offset()).unwrap()];
            assert!(message.body() == &body(size), "{} {size}", codec.name());
        }
        consumer.shutdown().await.unwrap();
        producer.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_ms_17_without_a_route_and_automatic_creation_the_error_names_the_topic() {
    let target = Target::own_strict_pair().await;
    let producer = target.producer().await;
    let topic = target.name("nowhere");
    let message = || Message::new(&*topic, "x");
    for outcome in [
        producer.send(message()).await.map(drop),
        producer.send_oneway(message()).await,
        producer
            .send_batch(vec![message(), message()])
            .await
            .map(drop),
        producer.submit(message()).await.unwrap().await.map(drop),
    ] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoRoute, "{error}");
        assert_eq!(error.topic(), Some(&*topic));
        assert!(error.to_string().contains(&topic), "{error}");
    }
    producer.shutdown().await.unwrap();
}
