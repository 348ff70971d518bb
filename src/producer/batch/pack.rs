//! Which messages may be in one batch, and how they become one body. Pure.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::error::{Error, Result};
use crate::message::Message;
use crate::producer::{OPERATION, validate};
use crate::protocol::message::property_names as names;
use crate::protocol::message::{BatchEntry, ids};

/// What opens the name of a group's retry topic.
const RETRY_PREFIX: &str = "%RETRY%";

/// What a message grows by when it is given its id: the property's name, two separators, and the id.
const ID_SIZE: usize = names::UNIQUE_KEY.len() + 2 + ids::MAX_LEN;

/// Properties by which a broker delays a message or begins a transaction. It does not look for them in a batch.
const NOT_IN_A_BATCH: [&str; 5] = [
    names::DELAY_LEVEL,
    names::TIMER_DELAY_SECONDS,
    names::TIMER_DELAY_MILLIS,
    names::TIMER_DELIVER_MILLIS,
    names::TRANSACTION_PREPARED,
];

/// Whether these messages may be sent as a batch, each with a body of 1 to `max_size` bytes: Java's rules.
pub(super) fn check(messages: &[Message], max_size: usize) -> Result<()> {
    let [first, others @ ..] = messages else {
        return Err(Error::invalid(OPERATION, "the batch is empty"));
    };
    let refused = |at: usize, message: &Message, detail: String| {
        let detail = format!("message {at} of the batch {detail}");
        Err(Error::invalid(OPERATION, detail).topic_of(message.topic()))
    };
    for (at, message) in messages.iter().enumerate() {
        validate::message(OPERATION, message, max_size)
            .map_err(|error| error.target(format!("message {at} of the batch")))?;
        if let Some(name) = not_in_a_batch(message) {
            return refused(at, message, format!("has the property {name}"));
        }
        if message.reply_through().is_some() {
            return refused(at, message, "is a reply".to_owned());
        }
        if message.topic().starts_with(RETRY_PREFIX) {
            return refused(at, message, "goes to a retry topic".to_owned());
        }
    }
    for (at, message) in (1..).zip(others) {
        if message.topic() != first.topic() {
            let detail = format!("goes to another topic than message 0: {}", first.topic());
            return refused(at, message, detail);
        }
        if message.wait_store_ok() != first.wait_store_ok() {
            let detail = "waits for the store, and message 0 does not, or the other way round";
            return refused(at, message, detail.to_owned());
        }
    }
    Ok(())
}

/// The messages, whose ids are given, as one that has them in its body; an error when that has over `max_size` bytes.
pub(in crate::producer) fn pack<'m>(
    messages: impl Iterator<Item = &'m Message> + Clone,
    max_size: usize,
) -> Result<Message> {
    let size = messages.clone().map(size_of).sum();
    let (topic, wait_store_ok) = match messages.clone().next() {
        Some(first) => (first.shared_topic(), first.wait_store_ok()),
        None => return Err(Error::invalid(OPERATION, "the batch is empty")),
    };
    let refused = |detail| Error::invalid(OPERATION, detail).topic_of(topic);
    if size > max_size {
        let count = messages.count();
        let detail =
            format!("the batch of {count} messages has {size} bytes, the limit is {max_size}");
        return Err(refused(detail));
    }
    let mut body = BytesMut::with_capacity(size);
    for message in messages {
        let entry = BatchEntry {
            flag: message.flag(),
            body: message.body(),
            properties: message.raw_properties(),
        };
        entry
            .encode(&mut body)
            .map_err(|error| refused(error.to_string()))?;
    }
    Ok(Message::builder(topic.clone())
        .wait_store_ok(wait_store_ok)
        .body(body.freeze())
        .build())
}

/// The messages, whose ids are not given yet, in parts that become no larger than `max_size` bytes each; their order stays. A message
/// that is larger by itself is a part of its own.
pub(super) fn split(messages: Vec<Message>, max_size: usize) -> VecDeque<Vec<Message>> {
    let mut parts = VecDeque::new();
    let (mut part, mut size) = (Vec::new(), 0);
    for message in messages {
        let more = size_with_id(&message);
        if size + more > max_size && !part.is_empty() {
            parts.push_back(std::mem::take(&mut part));
            size = 0;
        }
        size += more;
        part.push(message);
    }
    if !part.is_empty() {
        parts.push_back(part);
    }
    parts
}

/// Whether a message may be in a batch by itself, whatever the others are. What it breaks else is a rule for every message.
pub(in crate::producer) fn may_be_in_one(message: &Message) -> bool {
    not_in_a_batch(message).is_none() && !message.topic().starts_with(RETRY_PREFIX)
}

/// What a message without an id adds to a batch, in bytes.
pub(in crate::producer) fn size_with_id(message: &Message) -> usize {
    size_of(message) + ID_SIZE
}

fn not_in_a_batch(message: &Message) -> Option<&'static str> {
    let mut names = NOT_IN_A_BATCH.into_iter();
    names.find(|name| message.property(name).is_some())
}

fn size_of(message: &Message) -> usize {
    let entry = BatchEntry {
        flag: message.flag(),
        body: message.body(),
        properties: message.raw_properties(),
    };
    entry.encoded_len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::message::BatchMessages;

    fn of_sizes(sizes: &[usize]) -> Vec<Message> {
        let message = |size: &usize| Message::new("t", vec![b'x'; *size]);
        sizes.iter().map(message).collect()
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let plain = || Message::new("t", "x");
        let late = || Message::builder("t").delay_level(1).body("x").build();
        let unsafe_one = || Message::builder("t").wait_store_ok(false).body("x").build();
        let text = |messages: &[Message]| check(messages, 10).unwrap_err().to_string();
        for (messages, named) in [
            (vec![], "the batch is empty"),
            (
                vec![plain(), Message::new("u", "x")],
                "message 1 of the batch goes to another topic",
            ),
            (
                vec![plain(), plain(), late()],
                "message 2 of the batch has the property DELAY",
            ),
            (
                vec![late()],
                "message 0 of the batch has the property DELAY",
            ),
            (
                vec![plain(), unsafe_one()],
                "message 1 of the batch waits for the store",
            ),
            (vec![Message::new("%RETRY%g", "x")], "goes to a retry topic"),
            (
                vec![plain(), Message::new("t", "")],
                "message 1 of the batch",
            ),
            (
                vec![Message::new("t", vec![0; 11])],
                "has 11 bytes, the limit is 10",
            ),
            (
                vec![
                    Message::builder("t")
                        .property("KEYS", "x")
                        .body("x")
                        .build(),
                ],
                "KEYS",
            ),
        ] {
            let said = text(&messages);
            assert!(said.contains(named), "{said}");
        }
        check(&[unsafe_one(), unsafe_one()], 10).unwrap();
    }

    #[test]
    fn a_batch_holds_its_messages_and_says_how_they_are_stored() {
        let one = Message::builder("t")
            .tag("a")
            .flag(3)
            .wait_store_ok(false)
            .body("one")
            .build();
        let messages = [one.clone(), one];
        let batch = pack(messages.iter(), 1000).unwrap();
        assert_eq!((batch.topic(), batch.wait_store_ok()), ("t", false));
        let entries: Vec<_> = BatchMessages::new(batch.body().clone())
            .map(Result::unwrap)
            .collect();
        assert_eq!(entries.len(), 2);
        for entry in entries {
            assert_eq!((&entry.body[..], entry.flag), (&b"one"[..], 3));
            assert_eq!(entry.properties.as_str(), messages[0].raw_properties());
        }
        let size = batch.body().len();
        assert!(pack(messages.iter(), size).is_ok());
        let said = pack(messages.iter(), size - 1).unwrap_err().to_string();
        let named = format!("2 messages has {size} bytes, the limit is {}", size - 1);
        assert!(said.contains(&named), "{said}");
    }

    proptest! {
        #[test]
        fn parts_keep_the_order_and_the_limit(
            sizes in proptest::collection::vec(1..400_usize, 0..20),
            limit in 100..1000_usize,
        ) {
            let parts = split(of_sizes(&sizes), limit);
            let lens: Vec<Vec<usize>> = parts
                .iter()
                .map(|part| part.iter().map(|message| message.body().len()).collect())
                .collect();
            prop_assert_eq!(lens.concat(), sizes);
            for (at, part) in parts.iter().enumerate() {
                prop_assert!(!part.is_empty());
                let size: usize = part.iter().map(|message| size_of(message) + ID_SIZE).sum();
                prop_assert!(size <= limit || part.len() == 1);
                // No part could have taken the next message.
                if let Some(next) = parts.get(at + 1) {
                    prop_assert!(size + size_of(&next[0]) + ID_SIZE > limit);
                }
            }
        }
    }
}
