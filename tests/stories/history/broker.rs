//! What brokers and name servers saw, from a testkit's journal.

use std::collections::HashMap;

use rocketmq_sdk::MessageQueue;
use rocketmq_testkit::{Entry, EntryKind, RequestCode, ResponseCode};

use super::record::{Event, Happened, Logged, Question, Told};

/// Whose events they are, and what they are about.
pub struct Cast<'a> {
    pub group: &'a str,
    /// The numbers of the members, by their clients' ids.
    pub members: HashMap<String, usize>,
    pub log: &'a [Logged],
}

/// The events in a journal's entries.
pub fn events(entries: &[Entry], cast: &Cast<'_>) -> Vec<Happened> {
    let by_position: HashMap<_, _> = cast
        .log
        .iter()
        .map(|logged| ((&*logged.queue.broker_name, logged.position), logged))
        .collect();
    let retry_topic = format!("%RETRY%{}", cast.group);
    let mut by_key: HashMap<&str, Vec<&Logged>> = HashMap::new();
    for logged in cast.log {
        if *logged.queue.topic != *retry_topic {
            by_key.entry(&*logged.key).or_default().push(logged);
        }
    }
    let happened = entries.iter().flat_map(|entry| {
        let events = match entry.code() {
            Some(RequestCode::CONSUMER_SEND_MSG_BACK) => sent_back(entry, cast, &by_position),
            _ if entry.topic() == Some(&*retry_topic) && entry.stored().is_some() => {
                copied(entry, &by_key)
            }
            _ => of_entry(entry, cast),
        };
        events.into_iter().map(|event| Happened {
            place: entry.number(),
            at: entry.elapsed(),
            event,
        })
    });
    happened.collect()
}

fn of_entry(entry: &Entry, cast: &Cast<'_>) -> Vec<Event> {
    let question = match entry.code() {
        None if entry.kind() == EntryKind::Connected => return vec![Event::Connected],
        Some(RequestCode::GET_ROUTEINFO_BY_TOPIC) => Question::Route,
        Some(RequestCode::GET_CONSUMER_LIST_BY_GROUP) => Question::Members,
        Some(RequestCode::HEART_BEAT) => Question::Heartbeat,
        _ => return of_member(entry, cast),
    };
    match entry.kind() {
        EntryKind::Request => vec![Event::Asked(question)],
        _ => Vec::new(),
    }
}

/// What a member of the group did in a queue.
fn of_member(entry: &Entry, cast: &Cast<'_>) -> Vec<Event> {
    let member = entry.client_id().and_then(|id| cast.members.get(id));
    let (Some(&member), Some(queue)) = (member, queue_of(entry)) else {
        return Vec::new();
    };
    if entry.group() != Some(cast.group) {
        return Vec::new();
    }
    let (is_request, is_answer) = (
        entry.kind() == EntryKind::Request,
        entry.kind() == EntryKind::Answer,
    );
    let mut events = Vec::new();
    if let Some(offset) = entry.committed() {
        if is_request {
            events.push(Event::Commits {
                member,
                queue: queue.clone(),
                offset,
            });
        } else if entry.is_success() {
            events.push(Event::Committed {
                queue: queue.clone(),
                offset,
            });
        }
    }
    if entry.is_request(RequestCode::QUERY_CONSUMER_OFFSET) {
        events.push(Event::AskedOffset {
            member,
            queue: queue.clone(),
        });
    }
    if let Some(told) = told(entry) {
        events.push(Event::ToldOffset {
            member,
            queue: queue.clone(),
            told,
        });
    }
    if let (Some(offset), true) = (entry.pull_offset(), is_request) {
        events.push(Event::Pulls {
            member,
            queue: queue.clone(),
            offset,
        });
    }
    if entry.is_answer(RequestCode::PULL_MESSAGE)
        && entry.response_code() == Some(ResponseCode::PULL_OFFSET_MOVED)
    {
        events.push(Event::Misplaced {
            member,
            queue: queue.clone(),
        });
    }
    if let (Some(given), true) = (entry.delivered(), is_answer && entry.was_sent()) {
        events.push(Event::Given {
            member,
            queue,
            first: given.first,
            count: given.count,
            bytes: entry.size().unwrap_or(0),
        });
    }
    events
}

fn told(entry: &Entry) -> Option<Told> {
    if !entry.is_answer(RequestCode::QUERY_CONSUMER_OFFSET) || !entry.was_sent() {
        return None;
    }
    match entry.response_code()? {
        ResponseCode::SUCCESS if entry.fault().is_some() => Some(Told::Something),
        ResponseCode::SUCCESS => Some(Told::At(entry.answer_field("offset")?.parse().ok()?)),
        ResponseCode::QUERY_NOT_FOUND => Some(Told::Nothing),
        _ => None,
    }
}

fn sent_back(entry: &Entry, cast: &Cast<'_>, log: &HashMap<(&str, i64), &Logged>) -> Vec<Event> {
    let (Some(back), true) = (entry.sent_back(), entry.is_success()) else {
        return Vec::new();
    };
    let Some(logged) = log.get(&(entry.node(), back.commit_log_offset)) else {
        return Vec::new();
    };
    if entry.group() != Some(cast.group) {
        return Vec::new();
    }
    vec![Event::SentBack {
        queue: logged.queue.clone(),
        offset: logged.offset,
        told: entry.was_sent(),
    }]
}

/// What its broker does not take back a member sends to the retry topic itself: a copy, with the same unique key.
fn copied(entry: &Entry, by_key: &HashMap<&str, Vec<&Logged>>) -> Vec<Event> {
    let stored = entry.stored().filter(|_| entry.is_success());
    let key = stored.and_then(|stored| stored.unique_key);
    let originals = key.and_then(|key| by_key.get(&*key));
    let sent_back = |logged: &&Logged| Event::SentBack {
        queue: logged.queue.clone(),
        offset: logged.offset,
        told: entry.was_sent(),
    };
    originals.into_iter().flatten().map(sent_back).collect()
}

fn queue_of(entry: &Entry) -> Option<MessageQueue> {
    Some(MessageQueue::new(
        entry.topic()?,
        entry.node(),
        entry.queue_id()?,
    ))
}
