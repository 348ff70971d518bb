//! Writes the part of the corpus that our own encoders make. The other seeds are what a Java broker and Java tools wrote.
//!
//! `cargo run --example seeds`, in this folder.

use std::io::{Error, Result};
use std::net::SocketAddr;
use std::{fs, path::Path};

use bytes::{BufMut, Bytes, BytesMut};
use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::command::{Head, Serialization};
use rocketmq_sdk::protocol::compress::{Codec, compress};
use rocketmq_sdk::protocol::fields::Header;
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::protocol::message::stored::body_crc;
use rocketmq_sdk::protocol::message::{BatchEntry, StoredMessage, SysFlag, Text};
use rocketmq_sdk::protocol::request::pull_message::{PullMessage, PullMessageResponse};
use rocketmq_sdk::protocol::request::send_message::{SendMessage, SendMessageResponse};

const PROPERTIES: &str =
    "KEYS\u{1}order 42\u{2}TAGS\u{1}TagA\u{2}UNIQ_KEY\u{1}7F0000010A2B18B4AAC27C5A2B1C0000\u{2}";

fn main() -> Result<()> {
    headers()?;
    bodies()?;
    messages()?;
    texts()
}

fn headers() -> Result<()> {
    let send = SendMessage {
        producer_group: "group".into(),
        topic: "TopicTest".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        queue_id: 3,
        born_timestamp: 1_700_000_000_123,
        properties: Some(PROPERTIES.into()),
        unit_mode: Some(false),
        broker_name: Some("broker-a".into()),
        ..SendMessage::default()
    };
    let pull = PullMessage {
        consumer_group: "group".into(),
        topic: "TopicTest".into(),
        max_msg_nums: 32,
        sys_flag: 6,
        suspend_timeout_millis: 15_000,
        subscription: Some("TagA || TagB".into()),
        expression_type: Some("TAG".into()),
        ..PullMessage::default()
    };
    let sent = SendMessageResponse {
        msg_id: "7F00000100009FCF00000000000000F3".into(),
        queue_offset: 1,
        region: Some("DefaultRegion".into()),
        trace_on: Some(true),
        ..SendMessageResponse::default()
    };
    let found = PullMessageResponse {
        next_begin_offset: 6,
        max_offset: 6,
        ..PullMessageResponse::default()
    };
    let response = Head::response(ResponseCode::SUCCESS, 7);
    let mut stream = BytesMut::new();
    for (target, serialization) in [
        ("json_header", Serialization::Json),
        ("binary_header", Serialization::Binary),
    ] {
        let request = Head::request(RequestCode::SEND_MESSAGE_V2, 7);
        stream.put(header(
            target,
            "send",
            serialization,
            &request,
            None,
            &send,
        )?);
        let request = Head::request(RequestCode::PULL_MESSAGE, 8).oneway();
        stream.put(header(
            target,
            "pull",
            serialization,
            &request,
            Some("a \"remark\"\n"),
            &pull,
        )?);
        stream.put(header(
            target,
            "sent",
            serialization,
            &response,
            None,
            &sent,
        )?);
        stream.put(header(
            target,
            "found",
            serialization,
            &response,
            Some("FOUND"),
            &found,
        )?);
        write(
            "frame",
            target,
            &[b"\x01\x02\x03\x04", &stream[..]].concat(),
        )?;
    }
    write("frame", "cut-short", &stream[..stream.len() - 9])?;
    write("frame", "length-too-large", b"\0\0\0\0\x7F\xFF\xFF\xFF")?;
    write(
        "frame",
        "header-longer-than-frame",
        b"\0\0\0\0\0\0\0\x14\0\0\0\x11",
    )?;
    write(
        "frame",
        "unknown-serialisation",
        b"\0\0\0\0\0\0\0\x14\x02\0\0\x04",
    )
}

/// Writes a header alone, and returns the frame with a body that it was taken from.
fn header<'h>(
    target: &str,
    name: &str,
    serialization: Serialization,
    head: &Head,
    remark: Option<&str>,
    header: &impl Header<'h>,
) -> Result<BytesMut> {
    let mut out = BytesMut::new();
    frame::encode_head(&mut out, serialization, head, remark, header, 4).map_err(Error::other)?;
    write(target, name, &out[8..])?;
    out.put_slice(b"body");
    Ok(out)
}

const CODECS: [(Codec, u8); 3] = [(Codec::Zlib, 0), (Codec::Lz4, 1), (Codec::Zstd, 2)];

fn bodies() -> Result<()> {
    for (codec, number) in CODECS {
        for (name, body) in [
            ("empty", Vec::new()),
            ("text", b"some text, and some more text".repeat(9)),
            ("bomb", vec![0; 1 << 20]),
            // Most of the limit, and more than one step of a buffer that grows.
            (
                "fills-the-limit",
                (0..15_000_u32)
                    .flat_map(|i| (i / 7).to_le_bytes())
                    .collect(),
            ),
        ] {
            let stream = compress(codec, 5, &body).map_err(Error::other)?;
            let input = [&[number, 0x40, 0], &stream[..]].concat();
            write("decompress", &format!("{}-{name}", codec.name()), &input)?;
        }
    }
    Ok(())
}

fn messages() -> Result<()> {
    let plain = message(b"hello", SysFlag::default());
    write_messages("plain", &[plain.clone()])?;
    let six = StoredMessage {
        topic: Text::from("t".repeat(130)),
        born_host: SocketAddr::new([0x20, 1, 0xD, 0xB8, 0, 0, 0, 1].into(), 10_911),
        store_host: SocketAddr::new([0x20, 1, 0xD, 0xB8, 0, 0, 0, 2].into(), 10_911),
        ..plain.clone()
    };
    write_messages("long-topic-and-ipv6", &[plain, six])?;
    for (codec, _) in CODECS {
        let body = compress(codec, 5, &b"hello ".repeat(100)).map_err(Error::other)?;
        let flag = SysFlag::default().with_codec(Some(codec));
        write_messages(codec.name(), &[message(&body, flag)])?;
    }
    let mut batch = BytesMut::new();
    for flag in 0..3 {
        let body = b"inner";
        let entry = BatchEntry {
            flag,
            body,
            properties: PROPERTIES,
        };
        entry.encode(&mut batch).map_err(Error::other)?;
    }
    write("stored_messages", "batch", &batch)?;
    let inner = SysFlag::INNER_BATCH.with(SysFlag::NEED_UNWRAP);
    write_messages("inner-batch", &[message(&batch, inner)])?;
    let body = compress(Codec::Zlib, 5, &batch).map_err(Error::other)?;
    let flag = inner.with_codec(Some(Codec::Zlib));
    write_messages("compressed-inner-batch", &[message(&body, flag)])
}

fn message(body: &[u8], sys_flag: SysFlag) -> StoredMessage {
    let host = SocketAddr::from(([127, 0, 0, 1], 10_911));
    StoredMessage {
        body_crc: body_crc(body),
        queue_id: 3,
        flag: 7,
        queue_offset: 9,
        physical_offset: 4_096,
        sys_flag,
        born_timestamp: 1_700_000_000_123,
        born_host: host,
        store_timestamp: 1_700_000_000_124,
        store_host: host,
        reconsume_times: 1,
        prepared_transaction_offset: 0,
        body: Bytes::copy_from_slice(body),
        topic: Text::from("TopicTest"),
        properties: Text::from(PROPERTIES),
    }
}

fn write_messages(name: &str, messages: &[StoredMessage]) -> Result<()> {
    let mut out = BytesMut::new();
    for message in messages {
        message.encode(&mut out).map_err(Error::other)?;
    }
    write("stored_messages", name, &out)
}

fn texts() -> Result<()> {
    write(
        "text",
        "properties",
        format!("TAGS\n{PROPERTIES}").as_bytes(),
    )?;
    write(
        "text",
        "properties-twice",
        b"a\na\x01old\x02a\x01new\x02a\x01\x02\x01v\x02b",
    )?;
    write("text", "tags", "a\n TagA ||TagB|| ||标签\t".as_bytes())?;
    write("text", "id", b"a\n7F00000100002A9f0000000000001000")?;
    write(
        "text",
        "id-ipv6",
        b"a\n20010DB800000000000000000000000100002A9F0000000000001000",
    )?;
    write("text", "not-utf8", b"a\n\xFF\xC3\x01\xE4\xB8\x02")?;
    for kind in 0..4_u8 {
        let bytes: Vec<u8> = (0..160).map(|i: u8| i.wrapping_mul(37) ^ 0x5A).collect();
        write(
            "round_trip",
            ["command", "message", "route", "offsets"][usize::from(kind)],
            &[&[kind], &bytes[..]].concat(),
        )?;
    }
    Ok(())
}

fn write(target: &str, name: &str, input: &[u8]) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), input)
}
