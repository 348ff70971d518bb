//! Texts: properties, tags, ids.

use std::collections::HashMap;

use rocketmq_sdk::protocol::message::ids::MAX_LEN;
use rocketmq_sdk::protocol::message::tags::java_hash;
use rocketmq_sdk::protocol::message::{OffsetMessageId, Properties, TagFilter, Text, properties};

use super::{SLACK, within};

/// A name, a line feed, and a text that may be anything.
pub fn text(input: &[u8]) {
    let input = within(2 * input.len() + SLACK, || {
        Text::from_utf8_lossy(input.to_vec().into())
    });
    let (name, raw) = input.split_once('\n').unwrap_or(("KEYS", &input));
    look_up(name, raw);
    change(name, raw);
    select(raw);
    identify(raw);
}

fn look_up(name: &str, raw: &str) {
    let map: HashMap<_, _> = properties::iter(raw).collect();
    let text = Text::from(raw.to_owned());
    within(0, || {
        assert_eq!(
            properties::find(raw, name),
            properties::find_in(&text, name)
        );
    });
    for name in map.keys().copied().chain([name]) {
        assert_eq!(properties::find(raw, name), map.get(name).copied());
    }
}

/// Setting and removing a property does what it does to a map.
fn change(name: &str, raw: &str) {
    let mut properties = within(2 * raw.len() + SLACK, || Properties::from(raw));
    let owned = |properties: &Properties| -> HashMap<String, String> {
        let entries = properties.iter();
        entries
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let mut map = owned(&properties);
    assert_eq!(properties.remove(name), map.remove(name).is_some());
    assert_eq!(owned(&properties), map);
    if properties.set(name, "value").is_ok() {
        map.insert(name.to_owned(), "value".to_owned());
        assert_eq!(properties.get(name), Some("value"));
    }
    assert_eq!(owned(&properties), map);
}

fn select(expression: &str) {
    let Some(filter) = TagFilter::parse(expression) else {
        return;
    };
    for tag in filter.tags() {
        assert!(filter.matches(Some(tag)));
        assert!(filter.codes().contains(&java_hash(tag)));
    }
    assert_eq!(filter.is_all(), filter.matches(None));
}

fn identify(id: &str) {
    if let Ok(decoded) = within(0, || OffsetMessageId::decode(id)) {
        assert_eq!(decoded.encode(&mut [0; MAX_LEN]), id.to_ascii_uppercase());
    }
}
