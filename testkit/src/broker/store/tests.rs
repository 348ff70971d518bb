use std::net::SocketAddr;

use bytes::Bytes;
use proptest::prelude::*;
use rocketmq_sdk::protocol::message::{SysFlag, Text};

use super::*;

fn message(body: &[u8], store_time: i64) -> StoredMessage {
    let host = SocketAddr::from(([127, 0, 0, 1], 1));
    StoredMessage {
        body_crc: 0,
        queue_id: 0,
        flag: 0,
        queue_offset: 0,
        physical_offset: 0,
        sys_flag: SysFlag::default(),
        born_timestamp: 0,
        born_host: host,
        store_timestamp: store_time,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: Bytes::copy_from_slice(body),
        topic: Text::from_static("t"),
        properties: Text::default(),
    }
}

fn decoded(store: &Store, queue: QueueKey, offset: i64) -> Vec<StoredMessage> {
    store
        .read(queue, offset)
        .map(|stored| StoredMessage::decode(&mut stored.bytes.clone()).unwrap())
        .collect()
}

#[test]
fn a_message_is_found_by_its_offset_and_by_its_position() {
    let mut store = Store::new(1 << 20);
    let (a, b) = (store.queue("t", 0), store.queue("t", 1));
    assert_ne!(a, b);
    assert_eq!(store.queue("t", 0), a);
    assert_eq!(store.find_queue("t", 2), None);
    for i in 0..5_u8 {
        let queue = if i % 2 == 0 { a } else { b };
        let appended = store
            .append(queue, &mut message(&[i], 0), i.into())
            .unwrap();
        assert_eq!(appended.queue_offset, i64::from(i / 2));
        let stored = StoredMessage::decode(&mut store.at(appended.position).unwrap().clone());
        assert_eq!(stored.unwrap().body[..], [i]);
    }
    assert_eq!((store.min_offset(a), store.max_offset(a)), (0, 3));
    let found = decoded(&store, a, 1);
    assert_eq!(
        found
            .iter()
            .map(|m| (m.queue_offset, m.body[0]))
            .collect::<Vec<_>>(),
        [(1, 2), (2, 4)]
    );
    assert_eq!(store.read(b, 1).next().unwrap().tag_code, 3);
    assert_eq!(store.read(a, 3).count(), 0);
    assert_eq!(store.read(a, -1).count(), 0);
    assert_eq!(store.at(1), None);
}

#[test]
fn the_oldest_messages_go_and_minimum_offsets_move() {
    let size = message(&[0; 100], 0).encoded_len();
    let mut store = Store::new(10 * size);
    let (a, b) = (store.queue("t", 0), store.queue("u", 0));
    let first = store.append(b, &mut message(&[0; 100], 0), 0).unwrap();
    for i in 0..30_u8 {
        store.append(a, &mut message(&[i; 100], 0), 0).unwrap();
    }
    assert_eq!((store.min_offset(a), store.max_offset(a)), (20, 30));
    assert_eq!((store.min_offset(b), store.max_offset(b)), (1, 1));
    assert_eq!(store.len(), 10);
    assert_eq!(store.at(first.position), None);
    assert_eq!(decoded(&store, a, 20)[0].body[0], 20);
    assert_eq!(store.read(a, 19).count(), 0);

    // A message over the limit is kept for as long as it is the newest.
    let large = vec![0; 20 * size];
    store.append(b, &mut message(&large, 0), 0).unwrap();
    assert_eq!(store.len(), 1);
    assert_eq!(decoded(&store, b, 1)[0].body.len(), large.len());
}

#[test]
fn a_deleted_topic_starts_anew() {
    let size = message(&[0; 100], 0).encoded_len();
    let mut store = Store::new(3 * size);
    let old = store.queue("t", 0);
    store.append(old, &mut message(&[0; 100], 0), 0).unwrap();
    store.delete_topic("t");
    assert_eq!(store.find_queue("t", 0), None);
    let new = store.queue("t", 0);
    for _ in 0..3 {
        store.append(new, &mut message(&[0; 100], 0), 0).unwrap();
    }
    assert_eq!((store.min_offset(new), store.max_offset(new)), (0, 3));
    store.append(new, &mut message(&[0; 100], 0), 0).unwrap();
    assert_eq!((store.min_offset(new), store.max_offset(new)), (1, 4));
}

#[test]
fn a_time_between_two_messages_means_either() {
    let mut store = Store::new(1 << 20);
    let queue = store.queue("t", 0);
    for time in [10, 20, 30, 40, 50] {
        store.append(queue, &mut message(b"m", time), 0).unwrap();
    }
    for (time, lower, upper) in [
        (0, 0, 0),
        (10, 0, 0),
        (35, 3, 2),
        (40, 3, 3),
        (50, 4, 4),
        (60, 5, 4),
    ] {
        assert_eq!(
            store.offset_at(queue, time, Boundary::Lower),
            lower,
            "{time}"
        );
        assert_eq!(
            store.offset_at(queue, time, Boundary::Upper),
            upper,
            "{time}"
        );
    }
    let empty = store.queue("t", 1);
    assert_eq!(store.offset_at(empty, 5, Boundary::Lower), 0);
}

proptest! {
    /// Against a store that keeps everything: what is there is what that has, and what is gone is the oldest.
    #[test]
    fn holds_the_newest_messages_at_their_offsets(
        steps in proptest::collection::vec((0_usize..4, 0_usize..300, 0_usize..40), 1..200),
        limit in 0_usize..8_000,
    ) {
        let mut store = Store::new(limit);
        let mut all: [Vec<(i64, Vec<u8>)>; 4] = Default::default();
        let (mut held, mut end) = (VecDeque::new(), 0);
        for (at, (number, length, delete)) in steps.into_iter().enumerate() {
            let topic = format!("t{number}");
            if delete == 0 {
                store.delete_topic(&topic);
                all[number].clear();
            }
            let body = vec![at as u8; length];
            let mut new = message(&body, at as i64);
            let queue = store.queue(&topic, 0);
            let appended = store.append(queue, &mut new, at as i32).unwrap();
            prop_assert_eq!(appended.position, end);
            prop_assert_eq!(appended.queue_offset, all[number].len() as i64);
            held.push_back((end, new.encoded_len()));
            end += new.encoded_len() as i64;
            all[number].push((appended.position, body));
            while held.len() > 1 && held.iter().map(|(_, size)| size).sum::<usize>() > limit {
                held.pop_front();
            }
            prop_assert_eq!(store.len(), held.len());
            let oldest = held[0].0;
            for (number, messages) in all.iter().enumerate() {
                let Some(queue) = store.find_queue(&format!("t{number}"), 0) else {
                    continue;
                };
                let gone = messages.iter().filter(|(position, _)| *position < oldest).count();
                prop_assert_eq!(store.min_offset(queue), gone as i64);
                prop_assert_eq!(store.max_offset(queue), messages.len() as i64);
                let found = decoded(&store, queue, gone as i64);
                prop_assert_eq!(found.len(), messages.len() - gone);
                for (found, (position, body)) in found.iter().zip(&messages[gone..]) {
                    prop_assert_eq!(found.physical_offset, *position);
                    prop_assert_eq!(&found.body[..], &body[..]);
                    prop_assert!(store.at(*position).is_some());
                }
            }
        }
    }
}
