//! Stored messages: read, inflated, unwrapped and written back; and the same bytes as a batch.

use bytes::{Bytes, BytesMut};
use rocketmq_sdk::protocol::message::{
    BatchEntry, BatchMessages, StoredMessage, StoredMessages, SysFlag, properties,
};

use super::{SLACK, within};

/// What a body may inflate to.
const INFLATED: usize = 16 * 1024;

/// How many messages an inner batch may have.
const INNER: usize = 64;

/// The body of a pull's answer, or of a batch send.
pub fn stored_messages(input: &[u8]) {
    let body = Bytes::copy_from_slice(input);
    let count = within(2 * input.len() + SLACK, || {
        StoredMessages::new(body.clone()).map(drop).count()
    });
    assert!(
        count <= input.len() / 91 + 1,
        "the shortest message has 91 bytes"
    );
    for message in StoredMessages::new(body.clone()).flatten() {
        survives(&message);
        look_into(message);
    }
    batch(&body);
}

fn look_into(mut message: StoredMessage) {
    message.verify_crc();
    for (name, _) in properties::iter(&message.properties) {
        assert!(message.property(name).is_some());
    }
    let received = message.clone();
    // Twice the limit while the buffer grows, and what zlib works with.
    let inflated = within(2 * INFLATED + 48 * 1024 + SLACK, || {
        message.inflate(INFLATED)
    });
    match inflated {
        Ok(()) => assert!(!message.sys_flag.contains(SysFlag::COMPRESSED)),
        Err(_) => assert_eq!(message, received),
    }
    if message.sys_flag != received.sys_flag {
        assert!(message.body.len() <= INFLATED);
    }
    let limit = INNER * size_of::<StoredMessage>();
    let unwrapped = within(2 * (limit + message.body.len()) + SLACK, || {
        message.unwrap_inner_batch(INNER)
    });
    for inner in unwrapped.iter().flatten() {
        assert!(inner.verify_crc());
        assert!(!inner.is_inner_batch());
        survives(inner);
    }
    assert!(unwrapped.map_or(0, |inner| inner.len()) <= INNER);
}

fn survives(message: &StoredMessage) {
    let mut out = BytesMut::new();
    message.encode(&mut out).expect("it had a length before");
    assert_eq!(out.len(), message.encoded_len());
    let mut bytes = out.freeze();
    assert_eq!(StoredMessage::decode(&mut bytes).as_ref(), Ok(message));
    assert!(bytes.is_empty());
}

fn batch(body: &Bytes) {
    let count = within(2 * body.len() + SLACK, || {
        BatchMessages::new(body.clone()).map(drop).count()
    });
    assert!(
        count <= body.len() / 22 + 1,
        "the shortest message has 22 bytes"
    );
    let messages: Vec<_> = BatchMessages::new(body.clone()).flatten().collect();
    let mut out = BytesMut::new();
    for message in &messages {
        let entry = BatchEntry {
            flag: message.flag,
            body: &message.body,
            properties: &message.properties,
        };
        entry.encode(&mut out).expect("it had a length before");
    }
    let again: Result<Vec<_>, _> = BatchMessages::new(out.freeze()).collect();
    assert_eq!(again, Ok(messages));
}
