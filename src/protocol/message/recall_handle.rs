//! The handle of a timer message: what a broker gives for taking the message back.
//!
//! Knows: its text, which is base64 of `v1 topic broker time id`. Does not know: who recalls what.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::protocol::DecodeError;

/// Java's URL decoder takes the padding or its absence.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const VERSION: &str = "v1";

/// Names a timer message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecallHandle {
    /// The topic that it will be delivered to.
    pub topic: String,
    /// The broker that keeps it.
    pub broker_name: String,
    /// When it is due, in Unix milliseconds; for the broker a text like the others.
    pub deliver_millis: String,
    /// Its unique id.
    pub message_id: String,
}

impl RecallHandle {
    /// The text that stands for it.
    pub fn encode(&self) -> String {
        let Self {
            topic,
            broker_name,
            deliver_millis,
            message_id,
        } = self;
        BASE64.encode(format!(
            "{VERSION} {topic} {broker_name} {deliver_millis} {message_id}"
        ))
    }

    /// Reads the text. More than the five parts are ignored, as by Java.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`]: it is no such text.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        let parts = BASE64.decode(text).ok().and_then(|bytes| {
            let plain = String::from_utf8(bytes).ok()?;
            let mut parts = plain.split(' ').map(str::to_owned);
            let mut next = || parts.next();
            let (version, topic, broker_name, deliver_millis, message_id) =
                (next()?, next()?, next()?, next()?, next()?);
            (version == VERSION).then_some(Self {
                topic,
                broker_name,
                deliver_millis,
                message_id,
            })
        });
        parts.ok_or(DecodeError::Invalid {
            what: "recall handle",
            offset: 0,
            reason: "is invalid",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_handle_of_apache_s_is_read_and_written() {
        // Given by a broker of 5.4.0.
        let text = "djEgcmVjYWxsZWRfMTc5NTU4MjIxMjkyM18yIGJyb2tlci1hIDE3OTU1ODIyMTcwMDEgN0YwMDAwMDExMEJGODg1Mzk0NkM3Q0EyNTM2MTAwMDA=";
        let handle = RecallHandle::decode(text).unwrap();
        assert_eq!(
            (&*handle.topic, &*handle.broker_name),
            ("recalled_1795582212923_2", "broker-a")
        );
        assert_eq!(
            (&*handle.deliver_millis, &*handle.message_id),
            ("1795582217001", "7F00000110BF8853946C7CA253610000")
        );
        assert_eq!(handle.encode(), text);
    }

    #[test]
    fn what_is_none_is_refused() {
        let plain = |text: &str| BASE64.encode(text);
        for text in [
            "",
            "djEg!",
            "\u{6807}",
            &plain("v2 t b 1 id"),
            &plain("v1 t b 1"),
            &BASE64.encode([0xFF]),
        ] {
            assert!(RecallHandle::decode(text).is_err(), "{text}");
        }
        RecallHandle::decode(&plain("v1 t b 1 id more")).unwrap();
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(parts in proptest::array::uniform4("[^ ]{1,20}"), padded: bool) {
            let [topic, broker_name, deliver_millis, message_id] = parts;
            let handle = RecallHandle { topic, broker_name, deliver_millis, message_id };
            let mut text = handle.encode();
            if !padded {
                text.truncate(text.trim_end_matches('=').len());
            }
            prop_assert_eq!(RecallHandle::decode(&text), Ok(handle));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = RecallHandle::decode(&text);
        }
    }
}
