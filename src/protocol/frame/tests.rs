use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::protocol::code::{RequestCode, ResponseCode};
use crate::protocol::command::Language;
use crate::protocol::fields::NoFields;
use crate::protocol::request::Request;
use crate::protocol::request::send_message::{SendMessage, SendMessageResponse};

fn send_message() -> SendMessage<'static> {
    SendMessage {
        producer_group: "group".into(),
        topic: "topic".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        queue_id: 3,
        born_timestamp: 1_700_000_000_123,
        properties: Some("KEYS\u{1}订单\u{2}UNIQ_KEY\u{1}7F00\u{2}".into()),
        unit_mode: Some(false),
        ..SendMessage::default()
    }
}

fn encoded(
    serialization: Serialization,
    head: &Head,
    remark: Option<&str>,
    body: &[u8],
) -> BytesMut {
    let mut out = BytesMut::new();
    encode_head(
        &mut out,
        serialization,
        head,
        remark,
        &send_message(),
        body.len(),
    )
    .unwrap();
    out.extend_from_slice(body);
    out
}

const BOTH: [Serialization; 2] = [Serialization::Json, Serialization::Binary];

#[test]
fn a_frame_survives_both_serialisations() {
    for serialization in BOTH {
        let head = Head::request(SendMessage::CODE, -5);
        let mut stream = encoded(serialization, &head, Some("why \"so\"\n"), b"body");
        let command = decode(&mut stream).unwrap().unwrap();
        assert_eq!(command.head, head);
        assert_eq!(command.remark.as_deref(), Some("why \"so\"\n"));
        assert_eq!(command.header::<SendMessage<'_>>().unwrap(), send_message());
        assert_eq!(&command.body[..], b"body");
        assert_eq!(command.serialization(), serialization);
        assert!(stream.is_empty());
    }
}

#[test]
fn a_code_over_16_bits_is_sent_in_json() {
    let mut stream = encoded(
        Serialization::Binary,
        &Head::request(RequestCode(200_050), 1),
        None,
        b"",
    );
    let command = decode(&mut stream).unwrap().unwrap();
    assert_eq!(
        (command.head.code, command.serialization()),
        (200_050, Serialization::Json)
    );
}

#[test]
fn frames_that_arrive_byte_by_byte_are_the_same() {
    for serialization in BOTH {
        let mut bytes = encoded(
            serialization,
            &Head::request(RequestCode(310), 1),
            None,
            b"one",
        );
        bytes.extend(encoded(
            serialization,
            &Head::response(ResponseCode(0), 2),
            None,
            b"",
        ));
        bytes.extend(encoded(
            serialization,
            &Head::request(RequestCode(11), 3).oneway(),
            None,
            b"three",
        ));
        let (mut stream, mut seen) = (BytesMut::new(), Vec::new());
        for byte in bytes {
            stream.put_u8(byte);
            if let Some(command) = decode(&mut stream).unwrap() {
                seen.push((command.head.opaque, command.head.flag, command.body));
            }
        }
        let expected = [(1, 0, "one"), (2, 1, ""), (3, 2, "three")];
        assert_eq!(
            seen,
            expected.map(|(opaque, flag, body)| (opaque, flag, body.into()))
        );
    }
}

#[test]
fn limits_are_checked_before_the_frame_is_whole() {
    let cases: [(&[u8], &str); 5] = [
        (&[0x7F, 0xFF, 0xFF, 0xFF], "frame length"),
        (&[0x80, 0, 0, 0], "frame length"),
        (&[0, 0, 0, 3], "frame length"),
        (&[0, 0, 0, 20, 0, 0, 0, 17], "header length"),
        (&[0, 0, 0, 20, 2, 0, 0, 4], "serialisation"),
    ];
    for (bytes, what) in cases {
        let error = decode(&mut BytesMut::from(bytes)).unwrap_err();
        assert!(error.to_string().starts_with(what), "{error}");
    }
}

#[test]
fn a_frame_over_the_limit_is_not_written() {
    let mut out = BytesMut::from(&b"before"[..]);
    let head = Head::request(RequestCode(310), 1);
    let error = encode_head(
        &mut out,
        Serialization::Json,
        &head,
        None,
        &NoFields,
        MAX_FRAME,
    )
    .unwrap_err();
    assert!(error.size > error.limit);
    assert_eq!(&out[..], b"before");
}

#[test]
fn a_java_broker_style_response_is_read() {
    let header = r#"{"code":0,"extFields":{"queueId":"2","msgId":"7F","queueOffset":"9","TRACE_ON":"true","x":null},
        "flag":1,"language":"JAVA","opaque":4,"serializeTypeCurrentRPC":"JSON","version":493,"remark":null,
        "unknown":[{"a":"}]"},1.5]}"#;
    let mut stream = BytesMut::new();
    stream.put_u32(header.len() as u32 + 4);
    stream.put_u32(header.len() as u32);
    stream.put_slice(header.as_bytes());
    let command = decode(&mut stream).unwrap().unwrap();
    assert_eq!(
        (command.head.language, command.head.is_response()),
        (Language::JAVA, true)
    );
    assert_eq!(command.remark, None);
    let response: SendMessageResponse<'_> = command.header().unwrap();
    assert_eq!(
        (response.queue_id, response.queue_offset, response.trace_on),
        (2, 9, Some(true))
    );
    assert_eq!(response.msg_id, "7F");
}

#[test]
fn a_missing_or_wrong_field_is_named() {
    let mut stream = BytesMut::new();
    let head = Head::response(ResponseCode::SUCCESS, 1);
    encode_with(
        &mut stream,
        Serialization::Binary,
        &head,
        None,
        0,
        |fields| {
            fields.put("msgId", "x");
            fields.put("queueId", "two");
        },
    )
    .unwrap();
    let command = decode(&mut stream).unwrap().unwrap();
    let error = command.header::<SendMessageResponse<'_>>().unwrap_err();
    assert_eq!(
        error,
        DecodeError::InvalidField {
            name: "queueId",
            expected: "a 32-bit integer"
        }
    );
}

fn remark_of(header: &str) -> Option<String> {
    let mut stream = BytesMut::new();
    stream.put_u32(header.len() as u32 + 4);
    stream.put_u32(header.len() as u32);
    stream.put_slice(header.as_bytes());
    let command = decode(&mut stream).ok()??;
    command.remark.as_deref().map(str::to_owned)
}

#[test]
fn escapes_are_undone_in_names_too() {
    let json = r#"{"c\u006fde":1,"\u0072emark":"\"\\\/\b\f\n\r\t中\u4E2d\ud83D\uDe00"}"#;
    let remark = "\"\\/\u{8}\u{c}\n\r\t中中😀";
    assert_eq!(remark_of(json).as_deref(), Some(remark));
}

fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((".{1,12}", ".{0,40}"), 0..12)
}

proptest! {
    #[test]
    fn any_fields_survive(fields in fields(), remark in prop::option::of(".{1,30}"), opaque: i32, json: bool) {
        let serialization = if json { Serialization::Json } else { Serialization::Binary };
        let mut stream = BytesMut::new();
        let head = Head::response(ResponseCode(17), opaque);
        encode_with(&mut stream, serialization, &head, remark.as_deref(), 0, |out| {
            fields.iter().for_each(|(name, value)| out.put(name, value));
        })
        .unwrap();
        let command = decode(&mut stream).unwrap().unwrap();
        let seen: Vec<_> = command.fields.iter().collect::<Result<_, _>>().unwrap();
        let wanted: Vec<(Cow<'_, str>, Cow<'_, str>)> =
            fields.iter().map(|(name, value)| (name.into(), value.into())).collect();
        prop_assert_eq!(seen, wanted);
        prop_assert_eq!(command.remark.as_deref(), remark.as_deref());
        prop_assert_eq!(command.head, head);
    }

    #[test]
    fn escapes_are_read_as_a_json_library_reads_them(
        text in r#"([a中]|\\["\\/bfnrtu+]|\\u[dD][89abcdef][0-9][0-9]|\\u[0-9a-f]{4}){0,6}"#,
    ) {
        let json = format!(r#"{{"code":1,"remark":"{text}"}}"#);
        let expected: Option<serde_json::Value> = serde_json::from_str(&json).ok();
        let expected = expected.map(|json| json["remark"].as_str().unwrap().to_owned());
        prop_assert_eq!(remark_of(&json), expected);
    }

    #[test]
    fn any_bytes_are_a_command_or_an_error(mut bytes: Vec<u8>, json: bool) {
        let mut stream = BytesMut::new();
        stream.put_u32(bytes.len() as u32 + 4);
        stream.put_u32(bytes.len() as u32 | if json { 0 } else { 1 << 24 });
        stream.put_slice(&bytes);
        if let Ok(Some(command)) = decode(&mut stream) {
            let _ = command.fields.iter().count();
        }
        bytes.truncate(64);
        let _ = decode(&mut BytesMut::from(&bytes[..]));
    }

    #[test]
    fn a_flipped_bit_never_panics(at: prop::sample::Index, bit in 0..8_u8, json: bool) {
        let serialization = if json { Serialization::Json } else { Serialization::Binary };
        let mut stream = encoded(serialization, &Head::request(RequestCode(310), 9), Some("r"), b"body");
        let at = at.index(stream.len());
        stream[at] ^= 1 << bit;
        if let Ok(Some(command)) = decode(&mut stream) {
            let _ = command.header::<SendMessage<'_>>();
        }
    }
}
