//! What is written can be read, and is the same: values made of arbitrary bytes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::{Bytes, BytesMut};
use rocketmq_sdk::protocol::command::{Head, Language, Serialization};
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::protocol::java_json::{from_slice, to_vec};
use rocketmq_sdk::protocol::message::{
    MessageQueue, OffsetTable, StoredMessage, SysFlag, Text, properties::MAX_LEN,
};
use rocketmq_sdk::protocol::request::route::{BrokerData, QueueData, RouteBody};

use super::header::parts;

/// A byte that says what is made of the others.
pub fn round_trip(input: &[u8]) {
    let mut source = Unstructured::new(input);
    // Where the bytes do not suffice there is nothing to try.
    let _ = match source.arbitrary::<u8>().unwrap_or_default() % 4 {
        0 => command(&mut source),
        1 => stored_message(&mut source),
        2 => route(&mut source),
        _ => offset_table(&mut source),
    };
}

fn command(source: &mut Unstructured<'_>) -> Result<()> {
    let json = source.arbitrary()?;
    let head = Head {
        code: i32::from(source.arbitrary::<i16>()?),
        language: Language(source.int_in_range(0..=13)?),
        version: i32::from(source.arbitrary::<i16>()?),
        opaque: source.arbitrary()?,
        flag: source.arbitrary()?,
    };
    // The binary form has no remark where it has an empty one.
    let remark = source
        .arbitrary::<Option<&str>>()?
        .filter(|remark| !remark.is_empty());
    let fields: Vec<(&str, &str)> = source.arbitrary()?;
    let body = source.arbitrary::<&[u8]>()?;
    let serialization = if json {
        Serialization::Json
    } else {
        Serialization::Binary
    };

    let mut out = BytesMut::new();
    frame::encode_with(&mut out, serialization, &head, remark, body.len(), |out| {
        fields.iter().for_each(|(name, value)| out.put(name, value));
    })
    .expect("it is short");
    out.extend_from_slice(body);
    let command = frame::decode(&mut out)
        .expect("what we write can be read")
        .expect("it is whole");
    let parts = parts(&command);
    assert_eq!((parts.head, parts.remark.as_deref()), (head, remark));
    assert!(
        parts
            .fields
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .eq(fields)
    );
    assert_eq!(command.body, body);
    Ok(())
}

fn stored_message(source: &mut Unstructured<'_>) -> Result<()> {
    let (born_host, store_host) = (host(source)?, host(source)?);
    let bits = SysFlag::BORN_HOST_V6.with(SysFlag::STORE_HOST_V6);
    let mut sys_flag = SysFlag::from_bits(source.arbitrary()?).without(bits);
    if born_host.is_ipv6() {
        sys_flag = sys_flag.with(SysFlag::BORN_HOST_V6);
    }
    if store_host.is_ipv6() {
        sys_flag = sys_flag.with(SysFlag::STORE_HOST_V6);
    }
    let message = StoredMessage {
        body_crc: source.arbitrary()?,
        queue_id: source.arbitrary()?,
        flag: source.arbitrary()?,
        queue_offset: source.arbitrary()?,
        physical_offset: source.arbitrary()?,
        sys_flag,
        born_timestamp: source.arbitrary()?,
        born_host,
        store_timestamp: source.arbitrary()?,
        store_host,
        reconsume_times: source.arbitrary()?,
        prepared_transaction_offset: source.arbitrary()?,
        topic: Text::from(source.arbitrary::<String>()?),
        properties: Text::from(source.arbitrary::<String>()?),
        body: Bytes::copy_from_slice(source.arbitrary()?),
    };
    let mut out = BytesMut::new();
    let longest = message.topic.len().max(message.properties.len());
    if message.encode(&mut out).is_err() {
        assert!(longest > MAX_LEN && out.is_empty());
        return Ok(());
    }
    let mut input = out.freeze();
    assert_eq!(StoredMessage::decode(&mut input), Ok(message));
    assert!(input.is_empty());
    Ok(())
}

fn host(source: &mut Unstructured<'_>) -> Result<SocketAddr> {
    Ok(SocketAddr::new(
        IpAddr::arbitrary(source)?,
        source.arbitrary()?,
    ))
}

fn route(source: &mut Unstructured<'_>) -> Result<()> {
    let body = RouteBody {
        order_topic_conf: source.arbitrary()?,
        queue_datas: source
            .arbitrary_iter::<(String, [i32; 4])>()?
            .map(|queue| {
                let (broker_name, [read_queue_nums, write_queue_nums, perm, topic_sys_flag]) =
                    queue?;
                Ok(QueueData {
                    broker_name,
                    read_queue_nums,
                    write_queue_nums,
                    perm,
                    topic_sys_flag,
                })
            })
            .collect::<Result<_>>()?,
        broker_datas: source
            .arbitrary_iter::<(String, String, BTreeMap<i64, String>)>()?
            .map(|broker| {
                let (cluster, broker_name, broker_addrs) = broker?;
                Ok(BrokerData {
                    cluster,
                    broker_name,
                    broker_addrs,
                })
            })
            .collect::<Result<_>>()?,
    };
    let java = to_vec(&body).expect("it is JSON");
    assert_eq!(from_slice("route", &java).as_ref(), Ok(&body));
    let standard = serde_json::to_vec(&body).expect("it is JSON");
    assert_eq!(from_slice("route", &standard), Ok(body));
    Ok(())
}

fn offset_table(source: &mut Unstructured<'_>) -> Result<()> {
    let offset_table = source
        .arbitrary_iter::<(String, String, i32, i64)>()?
        .map(|entry| {
            let (topic, broker, queue, offset) = entry?;
            Ok((MessageQueue::new(topic, broker, queue), offset))
        })
        .collect::<Result<_>>()?;
    let table = OffsetTable { offset_table };
    assert_eq!(OffsetTable::decode(&table.encode()), Ok(table));
    Ok(())
}
