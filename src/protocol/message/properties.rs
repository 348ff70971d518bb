//! The properties of a message: `name \x01 value \x02`, repeated.
//!
//! Knows: how the text is read and written. Does not know: what a property means ([`property_names`] does).
//!
//! Reading is as tolerant as Java's reader: the last separator may be missing, an entry without a name or without a value does not
//! exist, and of two entries with one name the later one counts.
//!
//! [`property_names`]: super::property_names

use std::{fmt, ops::Range};

use super::Text;

/// Ends a name.
pub const NAME_SEPARATOR: char = '\u{1}';

/// Ends an entry.
pub const ENTRY_SEPARATOR: char = '\u{2}';

/// The longest text that the wire carries, in bytes: its length field is a signed 16-bit number.
pub const MAX_LEN: usize = i16::MAX as usize;

/// The value of `name` in `raw`.
pub fn find<'a>(raw: &'a str, name: &str) -> Option<&'a str> {
    find_value(raw.as_bytes(), name).map(|value| &raw[value])
}

/// The value of `name` in `raw`: as [`find`], but only the value is looked at as UTF-8, which is faster.
pub fn find_in<'a>(raw: &'a Text, name: &str) -> Option<&'a str> {
    find_value(raw.as_bytes(), name).and_then(|value| str::from_utf8(&raw.as_bytes()[value]).ok())
}

/// All entries of `raw` as (name, value), in their order.
pub fn iter(raw: &str) -> impl DoubleEndedIterator<Item = (&str, &str)> {
    raw.split(ENTRY_SEPARATOR).filter_map(parse_entry)
}

/// Whether `name` and `value` survive the wire.
///
/// # Errors
///
/// What is wrong with the entry: see [`PropertyError`].
pub fn check(name: &str, value: &str) -> Result<(), PropertyError> {
    let separators = [NAME_SEPARATOR, ENTRY_SEPARATOR];
    if name.is_empty() {
        Err(PropertyError::EmptyName)
    } else if value.is_empty() {
        Err(PropertyError::EmptyValue)
    } else if name.contains(separators) {
        Err(PropertyError::SeparatorInName)
    } else if value.contains(separators) {
        Err(PropertyError::SeparatorInValue)
    } else {
        Ok(())
    }
}

/// A property that would not arrive as it was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PropertyError {
    /// Readers drop an entry without a name.
    #[error("the property name is empty")]
    EmptyName,
    /// Readers drop an entry without a value.
    #[error("the property value is empty")]
    EmptyValue,
    /// The name would be cut.
    #[error("the property name contains a separator (U+0001 or U+0002)")]
    SeparatorInName,
    /// The value would be cut.
    #[error("the property value contains a separator (U+0001 or U+0002)")]
    SeparatorInValue,
}

/// Properties being built, in one `String` that is already what goes on the wire.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Properties {
    raw: String,
}

impl Properties {
    /// No properties.
    pub const fn new() -> Self {
        Self { raw: String::new() }
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        find(&self.raw, name)
    }

    /// Sets `name` to `value`, in place of every value it had.
    ///
    /// # Errors
    ///
    /// [`PropertyError`] if the entry would not survive the wire; nothing is changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), PropertyError> {
        check(name, value)?;
        self.remove(name);
        self.push(name, value);
        Ok(())
    }

    /// Appends an entry without looking at the others and without [`check`]ing it: for names and values that are known to be
    /// clean. An older entry of the same name is hidden by it, and still costs its bytes.
    pub fn push(&mut self, name: &str, value: &str) {
        self.append(name, value);
    }

    /// Removes every entry of `name`; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        if self.get(name).is_none() {
            return false;
        }
        let mut rest = Self {
            raw: String::with_capacity(self.raw.len()),
        };
        for (other, value) in self.iter().filter(|entry| entry.0 != name) {
            rest.append(other, value);
        }
        *self = rest;
        true
    }

    /// All entries as (name, value), in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        iter(&self.raw)
    }

    /// The text as it goes on the wire.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// The text as it goes on the wire.
    pub fn into_string(self) -> String {
        self.raw
    }

    /// The length of the text in bytes, which may be at most [`MAX_LEN`] when it is sent.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    fn append(&mut self, name: &str, value: &str) {
        self.raw.reserve(name.len() + value.len() + 2);
        self.raw.push_str(name);
        self.raw.push(NAME_SEPARATOR);
        self.raw.push_str(value);
        self.raw.push(ENTRY_SEPARATOR);
    }
}

/// Takes over text from the wire.
impl From<String> for Properties {
    fn from(mut raw: String) -> Self {
        if !raw.is_empty() && !raw.ends_with(ENTRY_SEPARATOR) {
            raw.push(ENTRY_SEPARATOR);
        }
        Self { raw }
    }
}

impl From<&str> for Properties {
    fn from(raw: &str) -> Self {
        // With room for the separator that may be missing.
        let mut owned = String::with_capacity(raw.len() + 1);
        owned.push_str(raw);
        Self::from(owned)
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Where the value of `name` is: from the back, since the last entry counts.
fn find_value(raw: &[u8], name: &str) -> Option<Range<usize>> {
    if name.is_empty() || name.contains(NAME_SEPARATOR) {
        return None;
    }
    let mut end = raw.len();
    loop {
        let separator = raw[..end]
            .iter()
            .rposition(|byte| *byte == ENTRY_SEPARATOR as u8);
        let start = separator.map_or(0, |separator| separator + 1);
        let value = start + name.len() + 1;
        if value < end
            && raw[value - 1] == NAME_SEPARATOR as u8
            && raw[start..value - 1] == *name.as_bytes()
        {
            return Some(value..end);
        }
        end = separator?;
    }
}

fn parse_entry(entry: &str) -> Option<(&str, &str)> {
    entry
        .split_once(NAME_SEPARATOR)
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_java_writes() {
        let raw = "KEYS\x01a b\x02UNIQ_KEY\x01AC11\x02标签\x01值\x02";
        assert_eq!(find(raw, "KEYS"), Some("a b"));
        assert_eq!(find(raw, "UNIQ_KEY"), Some("AC11"));
        assert_eq!(find(raw, "标签"), Some("值"));
        assert_eq!(find(raw, "KEY"), None);
        assert_eq!(find(raw, ""), None);
        assert_eq!(iter(raw).count(), 3);
    }

    #[test]
    fn is_as_tolerant_as_java() {
        for (raw, entries) in [
            ("", vec![]),
            ("\x02\x02", vec![]),
            ("a\x01b", vec![("a", "b")]),
            ("a\x01\x02b\x01c\x02", vec![("b", "c")]),
            ("\x01v\x02b\x01c", vec![("b", "c")]),
            ("noseparator\x02b\x01c\x02", vec![("b", "c")]),
            ("a\x01b\x01c\x02", vec![("a", "b\x01c")]),
        ] {
            assert_eq!(iter(raw).collect::<Vec<_>>(), entries, "{raw:?}");
        }
    }

    #[test]
    fn the_later_of_two_entries_counts_unless_it_is_empty() {
        assert_eq!(find("a\x01old\x02a\x01new\x02", "a"), Some("new"));
        assert_eq!(find("a\x01old\x02a\x01\x02", "a"), Some("old"));
    }

    #[test]
    fn sets_pushes_and_removes() {
        let mut properties = Properties::new();
        properties.set("a", "1").unwrap();
        properties.set("b", "2").unwrap();
        properties.set("a", "3").unwrap();
        assert_eq!(properties.as_str(), "b\x012\x02a\x013\x02");
        properties.push("b", "4");
        assert_eq!(properties.get("b"), Some("4"));
        assert!(properties.remove("b"));
        assert!(!properties.remove("b"));
        assert_eq!(properties.as_str(), "a\x013\x02");
        assert_eq!(properties.len(), 4);
        assert!(Properties::from("a\x01b\x01c\x02d\x01e\x02").remove("d"));
        assert_eq!(format!("{properties:?}"), r#"{"a": "3"}"#);
    }

    #[test]
    fn completes_text_without_its_last_separator() {
        let mut properties = Properties::from("a\x011");
        properties.push("b", "2");
        assert_eq!(properties.as_str(), "a\x011\x02b\x012\x02");
    }

    #[test]
    fn names_what_is_wrong_with_an_entry() {
        assert_eq!(check("", "v"), Err(PropertyError::EmptyName));
        assert_eq!(check("k", ""), Err(PropertyError::EmptyValue));
        assert_eq!(check("k\x02", "v"), Err(PropertyError::SeparatorInName));
        assert_eq!(check("k", "v\x01"), Err(PropertyError::SeparatorInValue));
        assert_eq!(check("k", "v"), Ok(()));
        let mut properties = Properties::from("k\x01v\x02");
        properties.set("k", "").unwrap_err();
        assert_eq!(properties.get("k"), Some("v"));
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(
            steps in proptest::collection::vec(("[abc]{1,2}", "[^\u{1}\u{2}]{1,4}", any::<bool>()), 0..24),
        ) {
            let mut properties = Properties::new();
            let mut map = HashMap::new();
            for (name, value, set) in &steps {
                if *set {
                    properties.set(name, value).unwrap();
                    map.insert(name.as_str(), value.as_str());
                } else {
                    prop_assert_eq!(properties.remove(name), map.remove(name.as_str()).is_some());
                }
            }
            prop_assert_eq!(properties.iter().count(), map.len());
            prop_assert_eq!(properties.iter().collect::<HashMap<_, _>>(), map);
        }

        #[test]
        fn find_agrees_with_iter(raw in "[ab\u{1}\u{2}]{0,24}") {
            let text = Text::from(raw.clone());
            let map: HashMap<_, _> = iter(&raw).collect();
            for name in ["", "a", "b", "ab", "ba", "aa", "a\x01b", "\x02a"] {
                prop_assert_eq!(find(&raw, name), map.get(name).copied());
                prop_assert_eq!(find_in(&text, name), map.get(name).copied());
            }
        }
    }
}
