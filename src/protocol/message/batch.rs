//! Several messages in one body: what a batch send (320) carries, and what an inner batch has inside.
//!
//! Knows: the layout. Does not know: topic and queue, which all messages of a batch share and the request header names.

use std::iter::FusedIterator;

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Text, TooLong, properties,
    reader::{Reader, split_message},
};
use crate::protocol::DecodeError;

/// Everything but body and properties: size, two unused numbers, flag, and the two lengths.
const MIN_SIZE: usize = 22;

/// One message to put into a batch.
///
/// Its body is plain: batches are never compressed. Its properties hold a unique id of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchEntry<'a> {
    /// The application's flag.
    pub flag: i32,
    /// The body.
    pub body: &'a [u8],
    /// The properties as they go on the wire: see [`properties`].
    pub properties: &'a str,
}

impl BatchEntry<'_> {
    /// The size of the encoded message in bytes.
    pub fn encoded_len(&self) -> usize {
        MIN_SIZE + self.body.len() + self.properties.len()
    }

    /// Appends the message to the batch in `out`.
    ///
    /// # Errors
    ///
    /// [`TooLong`] if the properties are longer than [`properties::MAX_LEN`], or the whole is longer than `i32::MAX`; nothing is
    /// appended then.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), TooLong> {
        TooLong::check("properties", self.properties.len(), properties::MAX_LEN)?;
        let size = self.encoded_len();
        TooLong::check("message", size, i32::MAX as usize)?;
        out.reserve(size);
        out.put_i32(size as i32);
        // The places of a magic number and a checksum, which stay empty here.
        out.put_i64(0);
        out.put_i32(self.flag);
        out.put_i32(self.body.len() as i32);
        out.put_slice(self.body);
        out.put_u16(self.properties.len() as u16);
        out.put_slice(self.properties.as_bytes());
        Ok(())
    }
}

/// One message of a batch. Body and properties are slices of the buffer it was decoded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchMessage {
    /// The application's flag.
    pub flag: i32,
    /// The body.
    pub body: Bytes,
    /// The properties: see [`properties`].
    pub properties: Text,
}

/// The messages of a batch. An error is the last item: a batch is stored as a whole or not at all.
#[derive(Debug, Clone)]
pub struct BatchMessages {
    input: Bytes,
    offset: usize,
}

impl BatchMessages {
    /// The messages in `body`.
    pub fn new(body: Bytes) -> Self {
        Self {
            input: body,
            offset: 0,
        }
    }

    fn decode_next(&mut self) -> Result<BatchMessage, DecodeError> {
        let base = self.offset;
        let message = split_message(&mut self.input, base, MIN_SIZE, "batch message size")?;
        self.offset += message.len();

        let mut reader = Reader::new(&message, base);
        reader.array::<12>("batch message size")?;
        let flag = reader.i32("flag")?;
        let body_len = reader.len32("body length")?;
        let body = reader.bytes(body_len, "message body")?;
        let properties_len = reader.len16("properties length")?;
        let properties = reader.bytes(properties_len, "properties")?;
        reader.finish("batch message size")?;
        Ok(BatchMessage {
            flag,
            body,
            properties: Text::from_utf8_lossy(properties),
        })
    }
}

impl Iterator for BatchMessages {
    type Item = Result<BatchMessage, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.input.is_empty() {
            return None;
        }
        let message = self.decode_next();
        if message.is_err() {
            self.input.clear();
        }
        Some(message)
    }
}

impl FusedIterator for BatchMessages {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(messages: &[BatchMessage]) -> Bytes {
        let mut out = BytesMut::new();
        for message in messages {
            let entry = BatchEntry {
                flag: message.flag,
                body: &message.body,
                properties: &message.properties,
            };
            let before = out.len();
            entry.encode(&mut out).unwrap();
            assert_eq!(out.len() - before, entry.encoded_len());
        }
        out.freeze()
    }

    fn messages() -> impl Strategy<Value = Vec<BatchMessage>> {
        let body = proptest::collection::vec(any::<u8>(), 0..24).prop_map(Bytes::from);
        let message =
            (any::<i32>(), body, ".{0,8}").prop_map(|(flag, body, properties)| BatchMessage {
                flag,
                body,
                properties: Text::from(properties),
            });
        proptest::collection::vec(message, 0..5)
    }

    #[test]
    fn has_javas_layout() {
        let mut out = BytesMut::new();
        BatchEntry {
            flag: 7,
            body: b"hi",
            properties: "a\x01b\x02",
        }
        .encode(&mut out)
        .unwrap();
        assert_eq!(
            &out[..],
            b"\0\0\0\x1C\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\x02hi\0\x04a\x01b\x02"
        );
    }

    #[test]
    fn refuses_properties_that_do_not_fit() {
        let properties = "x".repeat(properties::MAX_LEN + 1);
        let mut out = BytesMut::new();
        let entry = BatchEntry {
            flag: 0,
            body: b"",
            properties: &properties,
        };
        let error = entry.encode(&mut out).unwrap_err();
        assert_eq!(
            (error.what, error.len, error.max),
            ("properties", 32_768, 32_767)
        );
        assert!(out.is_empty());
    }

    #[test]
    fn ends_with_the_first_error() {
        let message = BatchMessage {
            flag: 0,
            body: Bytes::from_static(b"body"),
            properties: Text::default(),
        };
        let mut bytes = encode(&[message.clone(), message.clone(), message]).to_vec();
        // The second message's body length.
        bytes[26 + 16] = 0xFF;
        let mut batch = BatchMessages::new(Bytes::from(bytes));
        assert!(batch.next().unwrap().is_ok());
        let error = batch.next().unwrap().unwrap_err();
        assert!(
            matches!(error, DecodeError::OutOfRange { offset: 42, .. }),
            "{error}"
        );
        assert!(batch.next().is_none());
    }

    proptest! {
        #[test]
        fn round_trips(messages in messages()) {
            let decoded: Result<Vec<_>, _> = BatchMessages::new(encode(&messages)).collect();
            prop_assert_eq!(decoded.unwrap(), messages);
        }

        #[test]
        fn a_prefix_is_an_error_unless_it_ends_between_messages(messages in messages()) {
            let bytes = encode(&messages);
            for len in 0..bytes.len() {
                let whole = (0..=messages.len()).any(|n| encode(&messages[..n]).len() == len);
                let decoded: Result<Vec<_>, _> = BatchMessages::new(bytes.slice(..len)).collect();
                prop_assert_eq!(decoded.is_ok(), whole, "prefix of {}", len);
            }
        }

        #[test]
        fn arbitrary_bytes_end_in_items(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            prop_assert!(BatchMessages::new(Bytes::from(bytes)).count() <= 128 / MIN_SIZE + 1);
        }

        #[test]
        fn changed_bytes_are_no_reason_to_panic(
            messages in messages(),
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = encode(&messages).to_vec();
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            prop_assert!(BatchMessages::new(Bytes::from(bytes)).count() <= 5 + 24 * 5 / MIN_SIZE);
        }
    }
}
