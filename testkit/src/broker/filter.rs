//! Which messages a subscription selects, as far as a broker can tell: by the hashes of their tags. Pure.

use std::sync::Arc;

use rocketmq_sdk::protocol::message::TagFilter;
use rocketmq_sdk::protocol::message::tags::java_hash;
use rocketmq_sdk::protocol::request::heartbeat::SubscriptionData;

/// Selects messages by the hash of their tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    All,
    /// Those whose tag has one of these hashes.
    Tags(Arc<[i32]>),
}

impl Filter {
    /// The filter of a tag expression; `None` if it selects nothing.
    pub(crate) fn parse(expression: &str) -> Option<Self> {
        let filter = TagFilter::parse(expression)?;
        Some(if filter.is_all() {
            Self::All
        } else {
            Self::Tags(filter.codes().iter().copied().collect())
        })
    }

    /// The filter of a subscription, by the hashes that the client gave with it: they are not the same in every language.
    pub(crate) fn of(subscription: &SubscriptionData) -> Self {
        if subscription.class_filter_mode || subscription.sub_string == "*" {
            Self::All
        } else {
            Self::Tags(subscription.code_set.as_slice().into())
        }
    }

    pub(crate) fn selects(&self, tag_code: i32) -> bool {
        match self {
            Self::All => true,
            Self::Tags(codes) => codes.contains(&tag_code),
        }
    }
}

/// The hash of a message's tag.
pub(crate) fn tag_code(tag: Option<&str>) -> i32 {
    tag.map_or(0, java_hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects_by_the_hash() {
        let filter = Filter::parse("AaAa || TagB").unwrap();
        assert!(filter.selects(tag_code(Some("AaAa"))));
        // Another tag with the same hash: only the client can tell them apart.
        assert!(filter.selects(tag_code(Some("BBBB"))));
        assert!(!filter.selects(tag_code(Some("TagC"))));
        assert!(!filter.selects(tag_code(None)));
        assert_eq!(Filter::parse("*"), Some(Filter::All));
        assert_eq!(Filter::parse("||"), None);
    }
}
