//! What is small on the wire and large, deep or countless in memory.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use rocketmq_sdk::protocol::code::RequestCode;
use rocketmq_sdk::protocol::compress::{Codec, compress};
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::protocol::message::stored::body_crc;
use rocketmq_sdk::protocol::message::{StoredMessage, SysFlag};
use rocketmq_sdk::{Error, ErrorKind, Message};
use rocketmq_testkit::Entry;

use crate::world::{TOPIC, Used, World, alone, queue_a, send};

const MIB: usize = 1 << 20;

/// What a peer can make a client take: the longest frame, and as much again as it is read into.
const LIMIT: usize = 48 * MIB;

/// The message "bomb", if it is the first in the answer of a pull, becomes this one; whether it was.
fn exchanged(body: &mut Vec<u8>, bomb: &Bytes, flag: SysFlag) -> bool {
    let mut stored = Bytes::copy_from_slice(body);
    let mut message = match StoredMessage::decode(&mut stored) {
        Ok(message) if message.body == "bomb" => message,
        _ => return false,
    };
    message.sys_flag = message.sys_flag.with(flag);
    message.body_crc = body_crc(bomb);
    message.body = bomb.clone();
    let mut out = BytesMut::new();
    message.encode(&mut out).unwrap();
    *body = [&out[..], &stored[..]].concat();
    true
}

#[test]
fn f40_a_message_that_inflates_past_the_limit_is_given_back_and_the_next_ones_come() {
    alone(async {
        let world = World::with_short_journal().await;
        let zeros = vec![0; 64 * MIB];
        let zlib = compress(Codec::Zlib, 1, &zeros).unwrap();
        let mut bombs = Vec::new();
        for codec in [Codec::Zlib, Codec::Lz4, Codec::Zstd] {
            // Without its feature a codec is refused as such.
            let bomb = compress(codec, 1, &zeros).unwrap_or_else(|_| zlib.clone());
            let flag = SysFlag::COMPRESSED.with_codec(Some(codec));
            println!("{}: {} bytes", codec.name(), bomb.len());
            bombs.push((bomb, flag, false));
        }
        drop(zeros);
        let inner = SysFlag::NEED_UNWRAP.with(SysFlag::INNER_BATCH);
        let nested = compress(Codec::Zlib, 9, &zlib).unwrap();
        // Only one layer is taken off.
        bombs.push((nested, SysFlag::COMPRESSED, true));
        bombs.push((zlib, SysFlag::COMPRESSED.with(inner), false));
        let producer = world.producer().await;
        let (consumer, mut coming) = world.consumer().await;
        for (bomb, flag, arrives) in bombs {
            let journal = world.cluster.journal().from_now();
            let used = Used::from_now();
            let spent = AtomicBool::new(false);
            let rule = world.faults().on_pulls().answer().edit_body(move |body| {
                if !spent.load(Ordering::SeqCst) {
                    spent.store(exchanged(body, &bomb, flag), Ordering::SeqCst);
                }
            });
            // The pull that brings the first one may have begun before the rule.
            send(&producer, queue_a(), "before").await.unwrap();
            assert_eq!(coming.recv().await.unwrap().body(), "before");
            send(&producer, queue_a(), "bomb").await.unwrap();
            send(&producer, queue_a(), "after").await.unwrap();
            let mut bodies = Vec::new();
            while bodies.last().is_none_or(|last| last != "after") {
                let body = coming.recv().await.unwrap().body().clone();
                bodies.push(String::from_utf8_lossy(&body[..body.len().min(5)]).into_owned());
            }
            assert_eq!(bodies.len(), 1 + usize::from(arrives), "{bodies:?}");
            if !arrives {
                let back = |entry: &Entry| entry.is_request(RequestCode::CONSUMER_SEND_MSG_BACK);
                journal.wait_for(back).await.unwrap();
                // The broker has the message as it was sent.
                assert_eq!(coming.recv().await.unwrap().body(), "bomb");
            }
            used.assert_at_most("a bomb", LIMIT);
            rule.remove();
        }
        consumer.shutdown().await.unwrap();
        producer.shutdown().await.unwrap();
    });
}

/// What a first send is told when the name server answers with this route.
async fn routed(route: Vec<u8>) -> (Error, Used, World) {
    let world = World::with_short_journal().await;
    let producer = world.producer().await;
    let used = Used::from_now();
    let faults = world.cluster.name_server().faults();
    let on = faults.on(RequestCode::GET_ROUTEINFO_BY_TOPIC).answer();
    on.edit_body(move |body| route.clone_into(body));
    let sent = producer.send(Message::new(TOPIC, "m")).await;
    producer.shutdown().await.unwrap();
    (sent.unwrap_err(), used, world)
}

/// A text of about so many bytes.
fn repeated(before: &str, part: &str, size: usize, after: &str) -> Vec<u8> {
    let parts = part.repeat(size / part.len());
    format!("{before}{parts}{after}").into_bytes()
}

#[test]
fn f40_a_route_that_is_deep_or_has_countless_parts_is_refused_at_the_limit() {
    alone(async {
        let size = 15 * MIB;
        for (what, route) in [
            ("deep arrays", repeated("", "[", size, "")),
            ("deep objects", repeated("", "{\"a\":", size, "")),
            ("deep keys", repeated("", "{", size, "")),
            (
                "deep in a field",
                repeated("{\"queueDatas\":", "[", size, ""),
            ),
            ("many values", repeated("{\"x\":[", "0,", size, "0]}")),
            (
                "many queues",
                repeated("{\"queueDatas\":[", "{},", size, "{}]}"),
            ),
            (
                "many brokers",
                repeated("{\"brokerDatas\":[", "{},", size, "{}]}"),
            ),
            // Not more values than any body may have, but more brokers than a route may name.
            (
                "a million queues",
                repeated("{\"queueDatas\":[", "{},", 3_000_000, "{}]}"),
            ),
            // As many as are allowed.
            (
                "65,536 queues",
                repeated("{\"queueDatas\":[", "{},", 3 * 65_535, "{}]}"),
            ),
            (
                "a long text",
                repeated("{\"orderTopicConf\":\"", "a", size, ""),
            ),
        ] {
            let (error, used, _world) = routed(route).await;
            assert!(
                matches!(error.kind(), ErrorKind::NoRoute | ErrorKind::Protocol),
                "{what}: {:?} {error}",
                error.kind()
            );
            let text = error.to_string();
            assert!(text.len() < 1_000, "{what}: {} bytes of text", text.len());
            println!("{text}");
            used.assert_at_most(what, LIMIT);
        }
    });
}

/// A header with so many fields in place of an answer's own.
fn with_fields(answer: &[u8], count: usize, binary: bool) -> Vec<u8> {
    let answer = frame::decode(&mut BytesMut::from(answer)).unwrap().unwrap();
    let head = answer.head;
    let mut header = Vec::new();
    let mut number = String::new();
    if binary {
        header.extend((head.code as i16).to_be_bytes());
        header.extend([0, 0, 1]);
        header.extend(head.opaque.to_be_bytes());
        header.extend(head.flag.to_be_bytes());
        header.extend([0; 4]);
        let mut fields = Vec::new();
        for at in 0..count {
            number.clear();
            let _ = write!(number, "{at}");
            fields.extend((number.len() as u16).to_be_bytes());
            fields.extend(number.as_bytes());
            fields.extend(1_u32.to_be_bytes());
            fields.push(b'x');
        }
        header.extend((fields.len() as u32).to_be_bytes());
        header.extend(fields);
    } else {
        let mut text = format!(
            "{{\"code\":{},\"opaque\":{},\"flag\":{},\"extFields\":{{",
            head.code, head.opaque, head.flag
        );
        for at in 0..count {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(text, "{comma}\"{at}\":\"x\"");
        }
        text.push_str("}}");
        header = text.into_bytes();
    }
    let mut frame = (header.len() as u32 + 4).to_be_bytes().to_vec();
    frame.extend((u32::from(binary) << 24 | header.len() as u32).to_be_bytes());
    frame.extend(header);
    frame
}

#[test]
fn f40_a_header_with_65_000_fields_is_read_in_place() {
    alone(async {
        for binary in [false, true] {
            let world = World::with_short_journal().await;
            let producer = world.producer().await;
            send(&producer, queue_a(), "before").await.unwrap();
            let used = Used::from_now();
            let on = world.faults().on_sends().times(1).answer();
            on.edit_frame(move |frame| *frame = with_fields(frame, 65_000, binary));
            let error = send(&producer, queue_a(), "m").await.unwrap_err();
            // None of them is what an answer needs.
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
            assert!(error.to_string().contains("msgId"), "{error}");
            send(&producer, queue_a(), "after").await.unwrap();
            // The test's own copies are the most of it.
            used.assert_at_most("65,000 fields", 8 * MIB);
            producer.shutdown().await.unwrap();
        }
    });
}

#[test]
fn f40_a_json_header_that_is_deep_ends_its_connection() {
    alone(async {
        let world = World::with_short_journal().await;
        let producer = world.producer().await;
        for part in ["[", "{\"a\":"] {
            let used = Used::from_now();
            let on = world.faults().on_sends().times(1).answer();
            on.edit_frame(move |frame| {
                let header = repeated("{\"code\":0,\"x\":", part, 4 * MIB, "");
                *frame = (header.len() as u32 + 4).to_be_bytes().to_vec();
                frame.extend((header.len() as u32).to_be_bytes());
                frame.extend(header);
            });
            let error = send(&producer, queue_a(), "m").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
            assert!(error.to_string().contains("JSON header"), "{error}");
            used.assert_at_most("a deep header", LIMIT);
            send(&producer, queue_a(), "after").await.unwrap();
        }
        producer.shutdown().await.unwrap();
    });
}
