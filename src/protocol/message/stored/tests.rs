use proptest::prelude::*;

use super::*;
use crate::protocol::{compress::Codec, message::BatchEntry};

/// What a broker sends for one message with two IPv4 addresses.
const GOLDEN: &[u8] = b"\0\0\0\x6E\xDA\xA3\x20\xA7\x36\x10\xA6\x86\0\0\0\x03\0\0\0\x07\
    \0\0\0\0\0\0\0\x09\0\0\0\0\0\0\x10\0\0\0\0\0\
    \0\0\x01\x8F\0\0\0\x01\x0A\0\0\x01\0\0\xD4\x31\
    \0\0\x01\x8F\0\0\0\x02\x0A\0\0\x02\0\0\x2A\x9F\
    \0\0\0\x01\0\0\0\0\0\0\0\0\
    \0\0\0\x05hello\x06TopicA\0\x08TAGS\x01ab\x02";

fn golden() -> StoredMessage {
    StoredMessage {
        body_crc: 0x3610_A686,
        queue_id: 3,
        flag: 7,
        queue_offset: 9,
        physical_offset: 4_096,
        sys_flag: SysFlag::default(),
        born_timestamp: 0x18F_0000_0001,
        born_host: "10.0.0.1:54321".parse().unwrap(),
        store_timestamp: 0x18F_0000_0002,
        store_host: "10.0.0.2:10911".parse().unwrap(),
        reconsume_times: 1,
        prepared_transaction_offset: 0,
        body: Bytes::from_static(b"hello"),
        topic: Text::from("TopicA"),
        properties: Text::from("TAGS\x01ab\x02"),
    }
}

fn encode(messages: &[StoredMessage]) -> BytesMut {
    let mut out = BytesMut::new();
    for message in messages {
        let before = out.len();
        message.encode(&mut out).unwrap();
        assert_eq!(out.len() - before, message.encoded_len());
    }
    out
}

fn decode_all(bytes: impl Into<Bytes>) -> Vec<Result<StoredMessage, DecodeError>> {
    StoredMessages::new(bytes.into()).collect()
}

fn host() -> impl Strategy<Value = SocketAddr> {
    (any::<bool>(), any::<u128>(), any::<u16>()).prop_map(|(v6, ip, port)| {
        let ip = if v6 {
            IpAddr::from(ip.to_be_bytes())
        } else {
            IpAddr::from((ip as u32).to_be_bytes())
        };
        SocketAddr::new(ip, port)
    })
}

prop_compose! {
    fn message()(
        numbers in any::<(i32, i32, i32, i64, i64, i32, i64, i64, i32, i64)>(),
        (born_host, store_host) in (host(), host()),
        body in proptest::collection::vec(any::<u8>(), 0..32),
        topic in prop_oneof![".{0,8}", "[a-z]{120,140}"],
        properties in ".{0,16}",
    ) -> StoredMessage {
        let message = StoredMessage {
            body_crc: numbers.0,
            queue_id: numbers.1,
            flag: numbers.2,
            queue_offset: numbers.3,
            physical_offset: numbers.4,
            sys_flag: SysFlag::from_bits(numbers.5),
            born_timestamp: numbers.6,
            born_host,
            store_timestamp: numbers.7,
            store_host,
            reconsume_times: numbers.8,
            prepared_transaction_offset: numbers.9,
            body: Bytes::from(body),
            topic: Text::from(topic),
            properties: Text::from(properties),
        };
        StoredMessage { sys_flag: message.sys_flag_by_hosts(), ..message }
    }
}

#[test]
fn has_the_brokers_layout() {
    let mut input = Bytes::from_static(GOLDEN);
    let message = StoredMessage::decode(&mut input).unwrap();
    assert_eq!(message, golden());
    assert!(input.is_empty());
    assert!(message.verify_crc());
    assert_eq!(message.property("TAGS"), Some("ab"));
    assert_eq!(encode(&[golden()]), GOLDEN);
}

#[test]
fn shares_the_buffer() {
    let buffer = Bytes::from_static(GOLDEN);
    let message = StoredMessage::decode(&mut buffer.clone()).unwrap();
    let range = buffer.as_ptr_range();
    assert!(range.contains(&message.body.as_ptr()));
    assert!(range.contains(&message.topic.as_bytes().as_ptr()));
    assert!(range.contains(&message.properties.as_bytes().as_ptr()));
}

#[test]
fn compares_the_body_with_its_checksum() {
    let changed = StoredMessage {
        body: Bytes::from_static(b"hellO"),
        ..golden()
    };
    assert!(!changed.verify_crc());
    // CRC-32 of "a" has its highest bit set, which brokers clear.
    assert_eq!(crc32fast::hash(b"a"), 0xE8B7_BE43);
    assert_eq!(body_crc(b"a"), 0x68B7_BE43);
}

#[test]
fn a_long_topic_has_the_other_magic_number() {
    for (len, magic) in [(127, MAGIC_V1), (128, MAGIC_V2), (300, MAGIC_V2)] {
        let message = StoredMessage {
            topic: Text::from("t".repeat(len)),
            ..golden()
        };
        let bytes = encode(std::slice::from_ref(&message));
        assert_eq!(bytes[4..8], magic.to_be_bytes());
        assert_eq!(decode_all(bytes), [Ok(message)]);
    }
}

#[test]
fn refuses_to_encode_what_does_not_fit() {
    let mut out = BytesMut::new();
    let long = Text::from("x".repeat(32_768));
    StoredMessage {
        topic: long.clone(),
        ..golden()
    }
    .encode(&mut out)
    .unwrap_err();
    StoredMessage {
        properties: long,
        ..golden()
    }
    .encode(&mut out)
    .unwrap_err();
    assert!(out.is_empty());
}

#[test]
fn reports_a_corrupt_message_and_goes_on() {
    let ports_and_lengths = [4, 52, 68, 84, 93];
    for place in ports_and_lengths {
        let mut bytes = encode(&[golden(), golden(), golden()]);
        bytes[GOLDEN.len() + place] ^= 0xFF;
        let items = decode_all(bytes);
        assert_eq!(items.len(), 3, "byte {place}");
        assert_eq!(items[0], Ok(golden()));
        let error = items[1].as_ref().unwrap_err();
        let (DecodeError::Invalid { offset, .. }
        | DecodeError::OutOfRange { offset, .. }
        | DecodeError::Truncated { offset, .. }) = error
        else {
            panic!("{error}")
        };
        assert!((GOLDEN.len()..2 * GOLDEN.len()).contains(offset), "{error}");
        assert_eq!(items[2], Ok(golden()));
    }
}

#[test]
fn ends_after_a_size_that_makes_no_sense() {
    for size in [0, -1, 90, i32::MIN, i32::MAX, 2 * GOLDEN.len() as i32 + 1] {
        let mut bytes = encode(&[golden(), golden(), golden()]);
        bytes[GOLDEN.len()..GOLDEN.len() + 4].copy_from_slice(&size.to_be_bytes());
        let items = decode_all(bytes);
        assert_eq!(items.len(), 2, "size {size}");
        assert!(items[1].is_err());
    }
}

#[test]
fn decode_moves_past_a_corrupt_message_of_sane_size_only() {
    let mut bytes = encode(&[golden(), golden()]);
    bytes[4] = 0;
    let mut input = bytes.freeze();
    StoredMessage::decode(&mut input).unwrap_err();
    assert_eq!(StoredMessage::decode(&mut input), Ok(golden()));
    let mut input = Bytes::from_static(&GOLDEN[..GOLDEN.len() - 1]);
    StoredMessage::decode(&mut input).unwrap_err();
    assert_eq!(input.len(), GOLDEN.len() - 1);
}

#[test]
fn keeps_a_message_with_malformed_text_readable() {
    let mut bytes = encode(&[golden()]);
    let len = bytes.len();
    bytes[len - 3] = 0xFF;
    let message = decode_all(bytes).remove(0).unwrap();
    assert_eq!(message.property("TAGS"), Some("?b"));
}

#[test]
#[cfg(feature = "zlib")]
fn inflates_the_body() {
    let body = Bytes::from(vec![b'x'; 10_000]);
    let codec = Some(Codec::Zlib);
    let stored = compress::compress(Codec::Zlib, 5, &body).unwrap();
    let mut message = StoredMessage {
        body: stored.clone(),
        sys_flag: SysFlag::MULTI_TAGS.with_codec(codec),
        ..golden()
    };
    message.inflate(9_999).unwrap_err();
    assert_eq!(message.body, stored);
    message.inflate(10_000).unwrap();
    assert_eq!(
        (&message.body, message.sys_flag),
        (&body, SysFlag::MULTI_TAGS)
    );
    message.inflate(0).unwrap();
    assert_eq!(message.body, body);
}

fn inner_batch(count: i32) -> StoredMessage {
    let mut body = BytesMut::new();
    for flag in 0..count {
        let properties = format!("UNIQ_KEY\x01{flag}\x02");
        BatchEntry {
            flag,
            body: b"inner",
            properties: &properties,
        }
        .encode(&mut body)
        .unwrap();
    }
    let batch = SysFlag::INNER_BATCH
        .with(SysFlag::NEED_UNWRAP)
        .with(SysFlag::MULTI_TAGS);
    StoredMessage {
        body: body.freeze(),
        sys_flag: batch,
        ..golden()
    }
}

#[test]
fn takes_the_messages_out_of_an_inner_batch() {
    let batch = inner_batch(3);
    assert!(batch.is_inner_batch());
    let inner = batch.unwrap_inner_batch(3).unwrap();
    assert_eq!(inner.len(), 3);
    assert_eq!(inner[2].queue_offset, batch.queue_offset + 2);
    assert_eq!(inner[2].physical_offset, batch.physical_offset);
    assert_eq!(inner[2].property("UNIQ_KEY"), Some("2"));
    assert_eq!((inner[2].flag, &inner[2].body[..]), (2, &b"inner"[..]));
    assert_eq!(inner[2].sys_flag, SysFlag::MULTI_TAGS);
    assert!(
        inner
            .iter()
            .all(|message| !message.is_inner_batch() && message.verify_crc())
    );
}

#[test]
fn refuses_inner_batches_that_are_none_or_too_large() {
    golden().unwrap_inner_batch(9).unwrap_err();
    let error = inner_batch(3).unwrap_inner_batch(2).unwrap_err();
    assert!(
        matches!(
            error,
            DecodeError::OutOfRange {
                value: 3,
                max: 2,
                ..
            }
        ),
        "{error}"
    );
    let mut compressed = inner_batch(1);
    compressed.sys_flag = compressed.sys_flag.with_codec(Some(Codec::Zlib));
    compressed.unwrap_inner_batch(9).unwrap_err();
    let torn = inner_batch(2);
    let torn = StoredMessage {
        body: torn.body.slice(..torn.body.len() - 1),
        ..torn
    };
    torn.unwrap_inner_batch(9).unwrap_err();
    let last = StoredMessage {
        queue_offset: i64::MAX,
        ..inner_batch(2)
    };
    assert_eq!(
        last.unwrap_inner_batch(9).unwrap()[1].queue_offset,
        i64::MAX
    );
}

proptest! {
    #[test]
    fn round_trips(messages in proptest::collection::vec(message(), 0..4)) {
        let decoded: Result<Vec<_>, _> = StoredMessages::new(encode(&messages).freeze()).collect();
        prop_assert_eq!(decoded.unwrap(), messages);
    }

    #[test]
    fn every_proper_prefix_of_a_message_is_an_error(message in message()) {
        let bytes = encode(&[message]).freeze();
        for len in 1..bytes.len() {
            let items = decode_all(bytes.slice(..len));
            prop_assert_eq!(items.len(), 1);
            prop_assert!(items[0].is_err(), "prefix of {}", len);
        }
    }

    #[test]
    fn arbitrary_bytes_end_in_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 1..256)) {
        prop_assert!(decode_all(bytes.clone()).iter().any(Result::is_err));
        // The same with a size and a magic number that let the decoder go further.
        let len = bytes.len() as i32;
        if bytes.len() >= MIN_SIZE {
            bytes[..4].copy_from_slice(&len.to_be_bytes());
            bytes[4..8].copy_from_slice(&MAGIC_V1.to_be_bytes());
            prop_assert_eq!(decode_all(bytes).len(), 1);
        }
    }

    #[test]
    fn changed_bytes_are_no_reason_to_panic(
        messages in proptest::collection::vec(message(), 1..4),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encode(&messages).to_vec();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let limit = bytes.len() / MIN_SIZE + 1;
        prop_assert!(decode_all(bytes).len() <= limit);
    }
}
