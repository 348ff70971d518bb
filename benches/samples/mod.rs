//! What is encoded and decoded by the benches: the commands and messages of an ordinary day, as brokers of 5.4.0 write them.

use bytes::{Bytes, BytesMut};
use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::command::{Head, Language, Serialization};
use rocketmq_sdk::protocol::fields::Header;
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::protocol::message::stored::body_crc;
use rocketmq_sdk::protocol::message::{BatchEntry, StoredMessage, SysFlag, Text};
use rocketmq_sdk::protocol::request::pull_message::{PullMessage, PullMessageResponse};
use rocketmq_sdk::protocol::request::send_message::{SendMessage, SendMessageResponse};

const PROPERTIES: &str =
    "UNIQ_KEY\u{1}7F0000010A2B18B4AAC27C5A2B1C0000\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA";

/// A broker's answer to a send, byte for byte: JSON, in the order of Java's map.
const SENT_JSON: &str = concat!(
    r#"{"code":0,"extFields":{"queueId":"0","transactionId":"7F0000010A2B18B4AAC27C5A2B1C0000","#,
    r#""msgId":"7F00000100009FCF0000000000000000","TRACE_ON":"true","MSG_REGION":"DefaultRegion","queueOffset":"0"},"#,
    r#""flag":1,"language":"JAVA","opaque":4,"serializeTypeCurrentRPC":"JSON","version":493}"#,
);

/// A buffer with room, as a connection in use has one: the benches measure the encoder and not the allocator.
pub fn buffer() -> BytesMut {
    BytesMut::with_capacity(64 * 1024)
}

pub fn send() -> SendMessage<'static> {
    SendMessage {
        producer_group: "order-producers".into(),
        topic: "orders-of-today".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        queue_id: 3,
        born_timestamp: 1_764_000_000_000,
        properties: Some(PROPERTIES.into()),
        broker_name: Some("broker-a".into()),
        ..SendMessage::default()
    }
}

pub fn pull() -> PullMessage<'static> {
    PullMessage {
        consumer_group: "order-consumers".into(),
        topic: "orders-of-today".into(),
        queue_id: 3,
        queue_offset: 1_234_567,
        max_msg_nums: 32,
        sys_flag: 2,
        suspend_timeout_millis: 15_000,
        sub_version: 1_764_000_000_000,
        expression_type: Some("TAG".into()),
        broker_name: Some("broker-a".into()),
        ..PullMessage::default()
    }
}

/// The frame of a request without a body.
pub fn encode<'h>(
    out: &mut BytesMut,
    code: RequestCode,
    header: &impl Header<'h>,
    form: Serialization,
) {
    let head = Head::request(code, 7);
    frame::encode_head(out, form, &head, None, header, 0).expect("a short frame");
}

/// The answer to a send.
pub fn sent(form: Serialization) -> BytesMut {
    let mut out = BytesMut::new();
    if form == Serialization::Json {
        out.extend_from_slice(&(SENT_JSON.len() as u32 + 4).to_be_bytes());
        out.extend_from_slice(&(SENT_JSON.len() as u32).to_be_bytes());
        out.extend_from_slice(SENT_JSON.as_bytes());
        return out;
    }
    let header = SendMessageResponse {
        msg_id: "7F00000100009FCF0000000000000000".into(),
        transaction_id: Some("7F0000010A2B18B4AAC27C5A2B1C0000".into()),
        region: Some("DefaultRegion".into()),
        trace_on: Some(true),
        ..SendMessageResponse::default()
    };
    answer(&mut out, &header, &[]);
    out
}

/// The answer to a pull that found `count` messages of 1 KiB.
pub fn found(count: i64) -> BytesMut {
    let mut out = BytesMut::new();
    let header = PullMessageResponse {
        next_begin_offset: 1_234_567 + count,
        max_offset: 2_000_000,
        ..PullMessageResponse::default()
    };
    answer(&mut out, &header, &stored(count));
    out
}

fn answer<'h>(out: &mut BytesMut, header: &impl Header<'h>, body: &[u8]) {
    let head = Head {
        language: Language::JAVA,
        ..Head::response(ResponseCode::SUCCESS, 7)
    };
    frame::encode_head(out, Serialization::Binary, &head, None, header, body.len())
        .expect("a short frame");
    out.extend_from_slice(body);
}

/// Stored messages of 1 KiB, one behind the other.
pub fn stored(count: i64) -> Bytes {
    let body = Bytes::from(vec![b'x'; 1024]);
    let host = "10.0.0.7:10911".parse().expect("an address");
    let mut out = BytesMut::new();
    for place in 0..count {
        let message = StoredMessage {
            body_crc: body_crc(&body),
            queue_id: 3,
            flag: 0,
            queue_offset: 1_234_567 + place,
            physical_offset: 1_000_000_000 + 1_300 * place,
            sys_flag: SysFlag::from_bits(0),
            born_timestamp: 1_764_000_000_000,
            born_host: host,
            store_timestamp: 1_764_000_000_001,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: body.clone(),
            topic: Text::from_static("orders-of-today"),
            properties: Text::from_static(PROPERTIES),
        };
        message.encode(&mut out).expect("a short message");
    }
    out.freeze()
}

/// Appends a batch of 32 messages of 128 bytes.
pub fn batch(out: &mut BytesMut) {
    let entry = BatchEntry {
        flag: 0,
        body: &[b'x'; 128],
        properties: PROPERTIES,
    };
    for _ in 0..32 {
        entry.encode(out).expect("a short message");
    }
}
