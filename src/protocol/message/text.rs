//! Immutable text that shares the buffer it was received in.
//!
//! Knows: UTF-8. Does not know: what the text means.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ops::{Deref, Range},
};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::protocol::DecodeError;

/// UTF-8 text in a slice of a shared buffer: cheap to clone, never changed.
///
/// It keeps the whole buffer that it is a slice of alive. What is not UTF-8 cannot become a `Text`; reading it as `str` checks
/// again, because nothing here is `unsafe`, which costs a scan at memory speed: take the `&str` once where it is used twice.
#[derive(Clone, Default)]
pub struct Text {
    bytes: Bytes,
}

impl Text {
    /// The text, without a copy.
    pub const fn from_static(text: &'static str) -> Self {
        Self {
            bytes: Bytes::from_static(text.as_bytes()),
        }
    }

    /// The text in `bytes`, without a copy when it is UTF-8.
    ///
    /// Java replaces what is not UTF-8 and goes on, and so does this, since a peer that writes another encoding must not
    /// make its messages unreadable. Every malformed sequence becomes one `?`: the text never grows by it.
    #[inline]
    pub fn from_utf8_lossy(bytes: Bytes) -> Self {
        // Most text is ASCII, and that is checked several times faster than UTF-8.
        if bytes.is_ascii() || str::from_utf8(&bytes).is_ok() {
            Self { bytes }
        } else {
            replace_malformed(&bytes)
        }
    }

    /// The text as `str`.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes).expect("checked when it was made")
    }

    /// The text's UTF-8 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A part of the text, given in bytes, that shares the buffer.
    ///
    /// # Panics
    ///
    /// As slicing a `str` does: if the range is not inside the text, or does not start and end between two characters.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let between_characters = |index: usize| {
            // Bytes 0b10xx_xxxx continue a character.
            self.bytes
                .get(index)
                .map_or(index == self.len(), |byte| byte & 0xC0 != 0x80)
        };
        assert!(between_characters(range.start) && between_characters(range.end));
        Self {
            bytes: self.bytes.slice(range),
        }
    }

    /// The same text in a buffer of its own, so that keeping it keeps nothing else in memory.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self {
            bytes: Bytes::copy_from_slice(&self.bytes),
        }
    }

    /// The buffer slice that holds the text.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self {
            bytes: Bytes::from(text.into_bytes()),
        }
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::from_static(text)
    }
}

impl TryFrom<Bytes> for Text {
    type Error = DecodeError;

    fn try_from(bytes: Bytes) -> Result<Self, DecodeError> {
        match str::from_utf8(&bytes) {
            Ok(_) => Ok(Self { bytes }),
            Err(error) => Err(DecodeError::Invalid {
                what: "text",
                offset: error.valid_up_to(),
                reason: "is not UTF-8",
            }),
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.bytes == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.bytes == other.as_bytes()
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Byte order, which for UTF-8 is the order of `str`.
impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

/// The hash of the `str`, so that a map keyed by `Text` can be asked with a `&str`.
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cold]
fn replace_malformed(bytes: &[u8]) -> Text {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push('?');
        }
    }
    Text::from(text)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_the_buffer_it_was_made_of() {
        let buffer = Bytes::from_static("xx主题yy".as_bytes());
        let text = Text::try_from(buffer.slice(2..8)).unwrap();
        assert_eq!(text, "主题");
        assert_eq!(text.as_bytes().as_ptr(), buffer[2..].as_ptr());
        assert_eq!(text.clone().into_bytes().as_ptr(), buffer[2..].as_ptr());
        assert_eq!(text.len(), 6);
    }

    #[test]
    fn a_slice_shares_the_buffer_too() {
        let text = Text::from("a主题".to_owned());
        let slice = text.slice(1..4);
        assert_eq!(slice, "主");
        assert_eq!(slice.as_bytes().as_ptr(), text.as_bytes()[1..].as_ptr());
        assert_eq!(text.slice(7..7), "");
    }

    #[test]
    #[should_panic]
    fn a_slice_does_not_cut_a_character() {
        let _ = Text::from("a主题").slice(0..2);
    }

    #[test]
    fn refuses_what_is_not_utf8_and_says_where() {
        let error = Text::try_from(Bytes::from_static(b"ab\xFF")).unwrap_err();
        assert!(
            matches!(error, DecodeError::Invalid { offset: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn replaces_malformed_sequences_without_growing() {
        let text = Text::from_utf8_lossy(Bytes::from_static(b"a\xFFb\xE4\xB8c\xE4"));
        assert_eq!(text, "a?b?c?");
    }

    #[test]
    fn answers_to_str_as_a_map_key_and_prints_like_it() {
        let map = HashMap::from([(Text::from("topic"), 1)]);
        assert_eq!(map.get("topic"), Some(&1));
        let text = Text::from("a\"b".to_owned());
        assert_eq!(format!("{text} {text:?}"), "a\"b \"a\\\"b\"");
        assert_eq!(serde_json::to_string(&text).unwrap(), r#""a\"b""#);
        assert_eq!(serde_json::from_str::<Text>(r#""a\"b""#).unwrap(), text);
    }

    proptest! {
        #[test]
        fn orders_like_str(a in ".{0,8}", b in ".{0,8}") {
            prop_assert_eq!(Text::from(a.clone()).cmp(&Text::from(b.clone())), a.cmp(&b));
        }

        #[test]
        fn lossy_text_is_never_longer_than_its_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = Text::from_utf8_lossy(Bytes::from(bytes.clone()));
            prop_assert!(text.as_str().len() <= bytes.len());
        }
    }
}
