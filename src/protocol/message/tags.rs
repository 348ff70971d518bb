//! Tags: the hash that brokers select by, and subscriptions to several tags.
//!
//! Knows: Java's string hash and the form of a tag expression. Does not know: SQL92 expressions.

use std::collections::BTreeSet;

/// The expression that selects every message.
pub const ALL: &str = "*";

/// Java's `String.hashCode`: over UTF-16 units, wrapping.
///
/// Brokers store it as a message's tag code and select queues by it for a sharding key, so every client must agree on it.
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

/// The tags that a subscription selects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TagFilter {
    tags: BTreeSet<String>,
    codes: BTreeSet<i32>,
}

impl TagFilter {
    /// Reads a tag expression as Java does: `*` or nothing for every message, else tags separated by `||`. Blanks around a tag and
    /// empty tags do not count.
    ///
    /// `None` if the expression consists of blanks and separators only: it would select nothing.
    pub fn parse(expression: &str) -> Option<Self> {
        if expression.is_empty() || expression == ALL {
            return Some(Self::default());
        }
        let tags: BTreeSet<String> = expression
            .split("||")
            // What Java's `String.trim` calls blank.
            .map(|tag| tag.trim_matches(|c| c <= ' '))
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect();
        let codes = tags.iter().map(|tag| java_hash(tag)).collect();
        (!tags.is_empty()).then_some(Self { tags, codes })
    }

    /// Whether every message is selected.
    pub fn is_all(&self) -> bool {
        self.tags.is_empty()
    }

    /// Whether a message with this tag is selected.
    ///
    /// Brokers compare only the hashes, so a consumer asks this about every message it pulled.
    pub fn matches(&self, tag: Option<&str>) -> bool {
        self.is_all() || tag.is_some_and(|tag| self.tags.contains(tag))
    }

    /// The tags; none when every message is selected.
    pub fn tags(&self) -> &BTreeSet<String> {
        &self.tags
    }

    /// The tags' hashes; none when every message is selected.
    pub fn codes(&self) -> &BTreeSet<i32> {
        &self.codes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_java() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("TagA"), 2_598_919);
        assert_eq!(java_hash("hello"), 99_162_322);
        assert_eq!(java_hash("AaAa"), 2_031_744);
        assert_eq!(java_hash("AaAa"), java_hash("BBBB"));
        assert_eq!(java_hash("中文"), 20_013 * 31 + 25_991);
        // Outside the basic plane: two units, a surrogate pair.
        assert_eq!(java_hash("😀"), 0xD83D * 31 + 0xDE00);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
    }

    #[test]
    fn reads_expressions_as_java() {
        assert!(TagFilter::parse("*").unwrap().is_all());
        assert!(TagFilter::parse("").unwrap().is_all());
        let filter = TagFilter::parse(" TagA ||TagB|| ||TagA\t").unwrap();
        assert_eq!(filter.tags().iter().collect::<Vec<_>>(), ["TagA", "TagB"]);
        assert_eq!(
            filter.codes(),
            &BTreeSet::from([java_hash("TagA"), java_hash("TagB")])
        );
        assert_eq!(TagFilter::parse("a|b").unwrap().tags().len(), 1);
        for nothing in ["||", " ", "|| ||"] {
            assert_eq!(TagFilter::parse(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn matches_the_tag_and_not_its_hash() {
        let filter = TagFilter::parse("AaAa").unwrap();
        assert!(filter.matches(Some("AaAa")));
        assert!(!filter.matches(Some("BBBB")));
        assert!(!filter.matches(None));
        assert!(TagFilter::parse("*").unwrap().matches(None));
    }
}
