//! Frames that end early, and frames that are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use futures::future::{join, join3};
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::{DefaultProducer, Error, ErrorKind};
use rocketmq_testkit::{Entry, EntryKind};
use tokio::time::Instant;

use crate::world::{SECOND, Used, World, alone, queue_a, queue_b, send, together};

/// How long the frame is by which the hostile broker answers a send.
async fn answer_length(world: &World) -> usize {
    let length = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&length);
    let rule = world
        .faults()
        .on_sends()
        .times(1)
        .answer()
        .edit_frame(move |frame| {
            seen.store(frame.len(), Ordering::SeqCst);
        });
    let producer = world.producer().await;
    send(&producer, queue_a(), "length").await.unwrap();
    rule.remove();
    producer.shutdown().await.unwrap();
    length.load(Ordering::SeqCst)
}

#[test]
fn f15_a_reset_at_any_byte_of_three_answers_ends_only_the_calls_without_one() {
    together(async {
        let world = World::new().await;
        let length = answer_length(&world).await;
        let producer = world.producer().await;
        let mut cuts = 0;
        for whole in 0..3 {
            // Offsets of more digits make it longer.
            for cut in 0..=length + 4 {
                // So that all three go out on one connection.
                send(&producer, queue_a(), "before").await.unwrap();
                let journal = world.cluster.journal().from_now();
                let faults = world.faults();
                let rule = faults.on_sends().nth(whole + 1).answer().cut(cut);
                // What would come behind it does not come.
                let behind = faults.on_sends().skip(whole).answer().drop();
                let three = join3(
                    send(&producer, queue_a(), "a"),
                    send(&producer, queue_a(), "b"),
                    send(&producer, queue_a(), "c"),
                );
                let (a, b, c) = three.await;
                let mut answered = 0;
                for result in [a, b, c] {
                    match result {
                        Ok(_) => answered += 1,
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}")
                        }
                    }
                }
                let is_cut = |entry: &Entry| {
                    entry.kind() == EntryKind::Answer
                        && entry.fault().is_some_and(|rule| rule.contains("cut"))
                };
                let size = journal.wait_for(is_cut).await.unwrap().size().unwrap();
                assert_eq!(answered, whole + u64::from(cut >= size), "{cut} of {size}");
                assert_eq!(rule.hits(), 1);
                rule.remove();
                behind.remove();
                cuts += 1;
            }
        }
        println!("{cuts} positions");
        producer.shutdown().await.unwrap();
    });
}

#[test]
fn f15_a_pull_that_is_cut_at_any_byte_loses_and_doubles_nothing() {
    together(async {
        let world = World::new().await;
        let producer = world.producer().await;
        let length = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&length);
        let rule = world.faults().on_pulls().answer().edit_frame(move |frame| {
            seen.fetch_max(frame.len(), Ordering::SeqCst);
        });
        let (consumer, mut coming) = world.consumer().await;
        send(&producer, queue_a(), "length").await.unwrap();
        coming.recv().await.unwrap();
        rule.remove();
        let length = length.load(Ordering::SeqCst);
        assert!(length > 100);
        // The pull that brings a message may have begun before the rule; then the next one is hit.
        for cut in 0..=length + 1 {
            let rule = world.faults().on_pulls().times(1).answer().cut(cut);
            let body = format!("m{cut}");
            send(&producer, queue_a(), body.clone()).await.unwrap();
            assert_eq!(coming.recv().await.unwrap().body(), body.as_bytes());
            rule.wait_for_hits(1).await.unwrap();
            rule.remove();
        }
        println!("{length} positions");
        consumer.shutdown().await.unwrap();
        producer.shutdown().await.unwrap();
        assert!(coming.recv().await.is_none());
    });
}

/// What a send is told whose answer is this instead; the other broker is asked at the same time, and this one once more after that.
async fn told(
    world: &World,
    producer: &DefaultProducer,
    edit: impl Fn(&mut Vec<u8>) + Send + Sync + 'static,
) -> Option<Error> {
    let rule = world.faults().on_sends().times(1).answer().edit_frame(edit);
    let both = join(
        send(producer, queue_a(), "to the hostile one"),
        send(producer, queue_b(), "to the other one"),
    );
    let (hostile, other) = both.await;
    other.unwrap();
    assert_eq!(rule.hits(), 1);
    // Where the client waits for the rest of a frame, the next calls wait, too, until the peer is given up.
    let start = Instant::now();
    while let Err(error) = send(producer, queue_a(), "once more").await {
        assert!(start.elapsed() < 40 * SECOND, "{error}");
    }
    hostile.err()
}

#[test]
fn f17_a_flipped_bit_anywhere_in_an_answer_is_one_outcome_and_harms_nobody_else() {
    alone(async {
        let world = World::with_short_journal().await;
        let producer = world.producer().await;
        let length = answer_length(&world).await;
        let used = Used::from_now();
        let (mut failed, mut kinds) = (0, Vec::new());
        for bit in 0..length * 8 {
            let error = told(&world, &producer, move |frame| {
                frame[bit / 8] ^= 1 << (bit % 8)
            })
            .await;
            let Some(error) = error else { continue };
            failed += 1;
            if !kinds.contains(&error.kind()) {
                kinds.push(error.kind());
            }
        }
        println!("{failed} of {} flipped bits failed: {kinds:?}", length * 8);
        used.assert_at_most("flipped bits", 8 << 20);
        producer.shutdown().await.unwrap();
    });
}

#[test]
fn f17_what_is_no_frame_ends_its_connection_with_the_reason() {
    alone(async {
        let world = World::with_short_journal().await;
        let producer = world.producer().await;
        for (bytes, reason) in [
            (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "frame length"),
            (&[0xFF; 64], "frame length"),
            (&[0; 64], "frame length"),
            (&[0x80, 0, 0, 0, 0, 0, 0, 0], "frame length"),
            // 16 MiB and one byte.
            (&[0x00, 0xFF, 0xFF, 0xFD, 0, 0, 0, 0], "frame length"),
            (&[0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0], "header length"),
            (
                &[0, 0, 0, 8, 0, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0],
                "header length",
            ),
            (&[0, 0, 0, 8, 7, 0, 0, 4, 0, 0, 0, 0], "serialisation"),
            (&[0, 0, 0, 6, 0, 0, 0, 2, b'[', b']'], "JSON header"),
            (&[0, 0, 0, 5, 0, 0, 0, 1, b'{'], "JSON header"),
            (&[0, 0, 0, 8, 0, 0, 0, 4, 0xFF, 0xFE, 0xFD, 0xFC], "UTF-8"),
            (&[0, 0, 0, 8, 1, 0, 0, 4, 0, 0, 0, 0], "binary header"),
        ] {
            let used = Used::from_now();
            let error = told(&world, &producer, move |frame| *frame = bytes.to_vec()).await;
            let error = error.expect("it was no answer");
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
            let text = format!("{error}");
            assert!(text.contains(reason), "{reason}: {text}");
            used.assert_at_most(reason, 2 << 20);
        }
        producer.shutdown().await.unwrap();
    });
}

#[test]
fn f17_lengths_inside_a_header_that_lie_reserve_nothing() {
    alone(async {
        let world = World::with_short_journal().await;
        let producer = world.producer().await;
        // A binary header is `i16 code, u8 language, i16 version, i32 opaque, i32 flag, i32 length + remark, i32 length + fields`.
        let header = |lengths: [i32; 2], fields: &'static [u8]| {
            move |frame: &mut Vec<u8>| {
                let answer = frame::decode(&mut BytesMut::from(&frame[..]));
                let opaque = answer.unwrap().unwrap().head.opaque;
                let mut header = vec![0; 5];
                header.extend(opaque.to_be_bytes());
                header.extend(1_i32.to_be_bytes());
                header.extend(lengths[0].to_be_bytes());
                header.extend(lengths[1].to_be_bytes());
                header.extend(fields);
                *frame = (header.len() as u32 + 4).to_be_bytes().to_vec();
                frame.extend((1 << 24 | header.len() as u32).to_be_bytes());
                frame.extend(header);
            }
        };
        for lie in [
            header([-1, 0], &[]),
            header([i32::MAX, 0], &[]),
            header([i32::MIN, 0], &[]),
            header([0, -1], &[]),
            header([0, i32::MAX], &[]),
            header([0, 8], &[0x7F, 0xFF, 0, 0, 0, 0, 0, 0]),
            header([0, 8], &[0xFF, 0xFF, 0, 0, 0, 0, 0, 0]),
            header([0, 8], &[0, 1, b'a', 0x7F, 0xFF, 0xFF, 0xFF, 0]),
            header([0, 8], &[0, 1, b'a', 0xFF, 0xFF, 0xFF, 0xFF, 0]),
        ] {
            let used = Used::from_now();
            let error = told(&world, &producer, lie).await;
            let error = error.expect("it was no answer");
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
            used.assert_at_most(error, 2 << 20);
        }
        producer.shutdown().await.unwrap();
    });
}

#[test]
fn f17_a_frame_of_16_mib_that_never_comes_takes_no_memory() {
    alone(async {
        let world = World::with_short_journal().await;
        let producer = world.producer().await;
        let used = Used::from_now();
        let error = told(&world, &producer, |frame| {
            frame[..4].copy_from_slice(&((16 << 20) - 4_u32).to_be_bytes());
        });
        let error = error.await.expect("it was no answer");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        used.assert_at_most("a frame that never comes", 2 << 20);
        producer.shutdown().await.unwrap();
    });
}
