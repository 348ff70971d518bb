//! A message as brokers store it and hand it out: in pull, pop, query, view and transaction-check bodies.
//!
//! Knows: the layout, in both its versions and with addresses of both families. Does not know: what the properties mean, and who
//! may see the message.

use std::{
    iter::FusedIterator,
    net::{IpAddr, SocketAddr},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    BatchMessages, SysFlag, Text, TooLong, properties,
    reader::{Reader, message_size},
};
use crate::protocol::{DecodeError, compress};

/// Opens a message whose topic has a length field of one byte.
const MAGIC_V1: i32 = -626_843_481;

/// Opens a message whose topic has a length field of two bytes.
const MAGIC_V2: i32 = -626_843_477;

/// The longest topic that brokers write with one byte of length.
const MAX_TOPIC_V1: usize = 127;

/// Everything but body, topic and properties, with two IPv4 addresses and [`MAGIC_V1`].
const MIN_SIZE: usize = 91;

/// How much longer a message gets by an IPv6 address.
const V6_EXTRA: usize = 12;

/// What the body is called in errors.
const BODY: &str = "message body";

/// One stored message. Body, topic and properties are slices of the buffer it was decoded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// CRC-32 of the body as stored, without its highest bit.
    pub body_crc: i32,
    /// The queue it is in.
    pub queue_id: i32,
    /// The application's flag.
    pub flag: i32,
    /// Its position in the queue, counted in messages.
    pub queue_offset: i64,
    /// Its position in the broker's commit log, in bytes.
    pub physical_offset: i64,
    /// What the body is. The two address bits are as they were received; encoding sets them by the addresses.
    pub sys_flag: SysFlag,
    /// When it was made, in Unix milliseconds by the sender's clock.
    pub born_timestamp: i64,
    /// Who sent it.
    pub born_host: SocketAddr,
    /// When it was stored, in Unix milliseconds by the broker's clock.
    pub store_timestamp: i64,
    /// Which broker stored it.
    pub store_host: SocketAddr,
    /// How often its delivery has failed.
    pub reconsume_times: i32,
    /// Where the half message stands that this commit or rollback belongs to; a commit-log position in bytes.
    pub prepared_transaction_offset: i64,
    /// The body as stored; compressed if [`sys_flag`](Self::sys_flag) says so.
    pub body: Bytes,
    /// The topic.
    pub topic: Text,
    /// The properties: see [`properties`].
    pub properties: Text,
}

impl StoredMessage {
    /// Takes one message off the front of `input`, without copying its body, topic or properties.
    ///
    /// When the message is corrupt but its size makes sense, `input` has moved past it all the same. Text that is not UTF-8 is no
    /// corruption: see [`Text::from_utf8_lossy`]. The body is not compared with its checksum: see
    /// [`verify_crc`](Self::verify_crc).
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if a length contradicts another, the magic number or a port is none, or `input` ends before the message.
    pub fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let size = message_size(input, 0, MIN_SIZE, "message size")?;
        let message = Self::read(Reader::new(input, size, 0));
        input.advance(size);
        message
    }

    /// Appends the message to `out`, with the one-byte topic length if the topic fits it, else with two bytes.
    ///
    /// # Errors
    ///
    /// [`TooLong`] if topic or properties are longer than 32,767 bytes, or the whole is longer than `i32::MAX`; nothing is
    /// appended then.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), TooLong> {
        TooLong::check("topic", self.topic.len(), i16::MAX as usize)?;
        TooLong::check("properties", self.properties.len(), properties::MAX_LEN)?;
        let size = self.encoded_len();
        TooLong::check("message", size, i32::MAX as usize)?;

        let long_topic = self.topic.len() > MAX_TOPIC_V1;
        out.reserve(size);
        out.put_i32(size as i32);
        out.put_i32(if long_topic { MAGIC_V2 } else { MAGIC_V1 });
        out.put_i32(self.body_crc);
        out.put_i32(self.queue_id);
        out.put_i32(self.flag);
        out.put_i64(self.queue_offset);
        out.put_i64(self.physical_offset);
        out.put_i32(self.sys_flag_by_hosts().bits());
        out.put_i64(self.born_timestamp);
        put_host(out, self.born_host);
        out.put_i64(self.store_timestamp);
        put_host(out, self.store_host);
        out.put_i32(self.reconsume_times);
        out.put_i64(self.prepared_transaction_offset);
        out.put_i32(self.body.len() as i32);
        out.put_slice(&self.body);
        if long_topic {
            out.put_u16(self.topic.len() as u16);
        } else {
            out.put_u8(self.topic.len() as u8);
        }
        out.put_slice(self.topic.as_bytes());
        out.put_u16(self.properties.len() as u16);
        out.put_slice(self.properties.as_bytes());
        Ok(())
    }

    /// The size of the encoded message in bytes.
    pub fn encoded_len(&self) -> usize {
        let v6_hosts =
            usize::from(self.born_host.is_ipv6()) + usize::from(self.store_host.is_ipv6());
        let long_topic = usize::from(self.topic.len() > MAX_TOPIC_V1);
        MIN_SIZE
            + V6_EXTRA * v6_hosts
            + long_topic
            + self.body.len()
            + self.topic.len()
            + self.properties.len()
    }

    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        properties::find_in(&self.properties, name)
    }

    /// Whether the body is the one that the checksum was made of. Ask before [`inflate`](Self::inflate).
    pub fn verify_crc(&self) -> bool {
        body_crc(&self.body) == self.body_crc
    }

    /// Replaces a compressed body by the plain one, of at most `limit` bytes, and clears the flag's compression bits. Does
    /// nothing to a plain body.
    ///
    /// # Errors
    ///
    /// Those of [`compress::decompress`], and [`DecodeError::Invalid`] for an unknown codec; the message is unchanged then.
    pub fn inflate(&mut self, limit: usize) -> Result<(), DecodeError> {
        if let Some(codec) = self.sys_flag.codec()? {
            self.body = compress::decompress(codec, &self.body, limit)?;
            self.sys_flag = self.sys_flag.with_codec(None);
        }
        Ok(())
    }

    /// Whether the body is a batch of messages that the client must take out with
    /// [`unwrap_inner_batch`](Self::unwrap_inner_batch).
    pub fn is_inner_batch(&self) -> bool {
        self.sys_flag
            .contains(SysFlag::INNER_BATCH.with(SysFlag::NEED_UNWRAP))
    }

    /// The messages inside an inner batch, at most `limit`.
    ///
    /// As with Java, an inner message has its own flag, body and properties, the queue offset that follows from its place, was never
    /// sent back, and has everything else from the batch. Batches do not nest: the layout gives an inner message no system flag of its own, and the
    /// batch bits are cleared on what comes out, so nothing is ever unwrapped twice.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if one of the inner messages is corrupt, there are more than `limit`, the body is still compressed, or this
    /// is no inner batch.
    pub fn unwrap_inner_batch(&self, limit: usize) -> Result<Vec<Self>, DecodeError> {
        let invalid = |reason| DecodeError::Invalid {
            what: "inner batch",
            offset: 0,
            reason,
        };
        if !self.is_inner_batch() {
            return Err(invalid("the system flag says that this is none"));
        }
        if self.sys_flag.contains(SysFlag::COMPRESSED) {
            return Err(invalid("the body must be inflated first"));
        }
        let mut messages = Vec::new();
        for (inner, place) in BatchMessages::new(self.body.clone()).zip(0_i64..) {
            let inner = inner?;
            if messages.len() == limit {
                return Err(DecodeError::OutOfRange {
                    what: "number of messages in an inner batch",
                    offset: 0,
                    value: place + 1,
                    min: 0,
                    max: place,
                });
            }
            messages.push(Self {
                body_crc: body_crc(&inner.body),
                flag: inner.flag,
                queue_offset: self.queue_offset.saturating_add(place),
                sys_flag: self
                    .sys_flag
                    .without(SysFlag::INNER_BATCH.with(SysFlag::NEED_UNWRAP)),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: inner.body,
                topic: self.topic.clone(),
                properties: inner.properties,
                ..*self
            });
        }
        Ok(messages)
    }

    #[inline]
    fn read(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let offset = reader.offset();
        let head: &[u8; 48] = reader.array("message header")?;
        let magic = i32_at(head, 4);
        if magic != MAGIC_V1 && magic != MAGIC_V2 {
            return Err(DecodeError::Invalid {
                what: "message magic number",
                offset: offset + 4,
                reason: "is not that of a message",
            });
        }
        let sys_flag = SysFlag::from_bits(i32_at(head, 36));
        let born_host = read_host(&mut reader, sys_flag.contains(SysFlag::BORN_HOST_V6))?;
        let store_timestamp = i64::from_be_bytes(*reader.array("store timestamp")?);
        let store_host = read_host(&mut reader, sys_flag.contains(SysFlag::STORE_HOST_V6))?;
        let counters: &[u8; 12] = reader.array("reconsume times")?;
        let body_len = reader.len32("body length")?;
        let body = reader.bytes(body_len, BODY)?;
        let topic_len = if magic == MAGIC_V1 {
            usize::from(reader.array::<1>("topic length")?[0])
        } else {
            reader.len16("topic length")?
        };
        let topic = reader.text(topic_len, "topic")?;
        let properties_len = reader.len16("properties length")?;
        let properties = reader.text(properties_len, "properties")?;
        reader.finish("message size")?;
        Ok(Self {
            body_crc: i32_at(head, 8),
            queue_id: i32_at(head, 12),
            flag: i32_at(head, 16),
            queue_offset: i64_at(head, 20),
            physical_offset: i64_at(head, 28),
            sys_flag,
            born_timestamp: i64_at(head, 40),
            born_host,
            store_timestamp,
            store_host,
            reconsume_times: i32_at(counters, 0),
            prepared_transaction_offset: i64_at(counters, 4),
            body,
            topic,
            properties,
        })
    }

    fn sys_flag_by_hosts(&self) -> SysFlag {
        let mut flag = self
            .sys_flag
            .without(SysFlag::BORN_HOST_V6.with(SysFlag::STORE_HOST_V6));
        if self.born_host.is_ipv6() {
            flag = flag.with(SysFlag::BORN_HOST_V6);
        }
        if self.store_host.is_ipv6() {
            flag = flag.with(SysFlag::STORE_HOST_V6);
        }
        flag
    }
}

/// The checksum that belongs to `body`, as brokers make it.
pub fn body_crc(body: &[u8]) -> i32 {
    (crc32fast::hash(body) & 0x7FFF_FFFF) as i32
}

/// The messages of a body in which several stand one after the other.
///
/// A corrupt message is yielded as an error and the next one follows, if the size of the corrupt one makes sense; else the error is the
/// last item. Nothing is skipped without an error, and every byte of the body belongs to an item.
#[derive(Debug, Clone)]
pub struct StoredMessages {
    input: Bytes,
    offset: usize,
}

impl StoredMessages {
    /// The messages in `body`.
    pub fn new(body: Bytes) -> Self {
        Self {
            input: body,
            offset: 0,
        }
    }
}

impl Iterator for StoredMessages {
    type Item = Result<StoredMessage, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.input.is_empty() {
            return None;
        }
        let base = self.offset;
        match message_size(&self.input, base, MIN_SIZE, "message size") {
            Ok(size) => {
                let message = StoredMessage::read(Reader::new(&self.input, size, base));
                self.input.advance(size);
                self.offset += size;
                Some(message)
            }
            Err(error) => {
                self.input.clear();
                Some(Err(error))
            }
        }
    }
}

impl FusedIterator for StoredMessages {}

#[inline]
fn read_host(reader: &mut Reader<'_>, v6: bool) -> Result<SocketAddr, DecodeError> {
    let (ip, port) = if v6 {
        let ip: &[u8; 16] = reader.array("host address")?;
        (IpAddr::from(*ip), reader.i32("host port")?)
    } else {
        let host: &[u8; 8] = reader.array("host address")?;
        (
            IpAddr::from([host[0], host[1], host[2], host[3]]),
            i32_at(host, 4),
        )
    };
    u16::try_from(port)
        .map(|port| SocketAddr::new(ip, port))
        .map_err(|_| DecodeError::OutOfRange {
            what: "host port",
            offset: reader.offset() - 4,
            value: i64::from(port),
            min: 0,
            max: i64::from(u16::MAX),
        })
}

fn put_host(out: &mut BytesMut, host: SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => out.put_slice(&ip.octets()),
        IpAddr::V6(ip) => out.put_slice(&ip.octets()),
    }
    out.put_u32(u32::from(host.port()));
}

fn i32_at<const N: usize>(bytes: &[u8; N], at: usize) -> i32 {
    i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn i64_at<const N: usize>(bytes: &[u8; N], at: usize) -> i64 {
    let high = i64::from(i32_at(bytes, at));
    let low = i64::from(i32_at(bytes, at + 4) as u32);
    high << 32 | low
}

#[cfg(test)]
mod tests;
