//! The namespace of a client: what stands before its topics and groups on the wire. Pure.
//!
//! The rules are those of Java's client: `namespace%topic`, `%RETRY%namespace%group`; names of the broker's own stay as they are, and
//! so does a name that has the namespace already.

use std::borrow::Cow;
use std::sync::Arc;

/// What opens the names of topics that belong to a group.
const GROUP_TOPICS: [&str; 2] = ["%RETRY%", "%DLQ%"];

/// The topic from which brokers take the configuration of topics that they make by themselves.
pub(crate) const DEFAULT_TOPIC: &str = "TBW102";

/// Topics that brokers keep for themselves, and what opens the names of others, and of groups of the broker's own.
const SYSTEM_TOPICS: [&str; 10] = [
    DEFAULT_TOPIC,
    "SCHEDULE_TOPIC_XXXX",
    "BenchmarkTest",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRACE_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
    "CHECKPOINT_TOPIC",
];
const SYSTEM_PREFIXES: [&str; 2] = ["rmq_sys_", "CID_RMQ_SYS_"];

/// What ends the name of a cluster's topic for replies. Java's client wraps that, too, and its replies get lost.
const REPLY_TOPIC: &str = "_REPLY_TOPIC";

/// What stands before names, if anything does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Namespace {
    name: Option<Arc<str>>,
}

impl Namespace {
    pub(crate) fn new(name: Option<&str>) -> Self {
        Self {
            name: name.map(Into::into),
        }
    }

    /// The namespace's own name; `None` where there is none.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// A topic or group as it is called on the wire.
    pub(crate) fn wrap<'n>(&self, name: &'n str) -> Cow<'n, str> {
        let wrapped = self.name.as_deref().and_then(|own| wrapped(own, name));
        wrapped.map_or(Cow::Borrowed(name), Cow::Owned)
    }

    /// A topic or group as the application calls it.
    pub(crate) fn unwrap<'n>(&self, name: &'n str) -> Cow<'n, str> {
        let bare = self.name.as_deref().and_then(|own| unwrapped(own, name));
        bare.map_or(Cow::Borrowed(name), Cow::Owned)
    }
}

fn wrapped(own: &str, name: &str) -> Option<String> {
    let is_system = SYSTEM_TOPICS.contains(&name)
        || SYSTEM_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
        || name.ends_with(REPLY_TOPIC);
    let (opening, bare) = split(name);
    let has_it = bare
        .strip_prefix(own)
        .is_some_and(|rest| rest.starts_with('%'));
    (!is_system && !has_it && !name.is_empty()).then(|| format!("{opening}{own}%{bare}"))
}

fn unwrapped(own: &str, name: &str) -> Option<String> {
    let (opening, bare) = split(name);
    let bare = bare.strip_prefix(own)?.strip_prefix('%')?;
    Some(format!("{opening}{bare}"))
}

/// What opens the name of a group's topic, and the rest.
fn split(name: &str) -> (&str, &str) {
    let opening = GROUP_TOPICS
        .iter()
        .find(|opening| name.starts_with(**opening));
    name.split_at(opening.map_or(0, |opening| opening.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_wrapped_as_java_wraps_them_and_come_back() {
        let namespace = Namespace::new(Some("ns"));
        for (bare, wrapped) in [
            ("orders", "ns%orders"),
            ("%RETRY%g", "%RETRY%ns%g"),
            ("%DLQ%g", "%DLQ%ns%g"),
            ("other%t", "ns%other%t"),
            ("nsx", "ns%nsx"),
        ] {
            assert_eq!(namespace.wrap(bare), wrapped);
            assert_eq!(namespace.wrap(wrapped), wrapped, "it has it already");
            assert_eq!(namespace.unwrap(wrapped), bare);
            assert_eq!(namespace.unwrap(bare), bare);
        }
    }

    #[test]
    fn the_broker_s_own_names_stay() {
        let namespace = Namespace::new(Some("ns"));
        for name in [
            "",
            "TBW102",
            "RMQ_SYS_TRACE_TOPIC",
            "rmq_sys_x",
            "CID_RMQ_SYS_x",
            "DefaultCluster_REPLY_TOPIC",
        ] {
            assert_eq!(namespace.wrap(name), name);
        }
    }

    #[test]
    fn without_a_namespace_everything_stays() {
        let none = Namespace::default();
        assert_eq!(
            (none.wrap("t"), none.unwrap("ns%t")),
            ("t".into(), "ns%t".into())
        );
        assert_eq!(none.name(), None);
    }
}
