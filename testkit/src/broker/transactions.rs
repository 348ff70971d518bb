//! Transactions: half messages wait in RMQ_SYS_TRANS_HALF_TOPIC until their producers commit or roll them back, and are asked about
//! when they do not.
//!
//! As with Apache RocketMQ a half message is written once more whenever it is asked about, and from then on the new one counts:
//! who ends the old one after that, ends it, and the new one is still asked about.

use std::collections::{BTreeMap, HashMap};

use bytes::BytesMut;
use rocketmq_sdk::protocol::message::stored::body_crc;
use rocketmq_sdk::protocol::message::{
    OffsetMessageId, Properties, StoredMessage, SysFlag, Text, TransactionType, property_names,
};
use rocketmq_sdk::protocol::request::check_transaction_state::CheckTransactionState;

use crate::broker::arrival::{Arrival, real_place};
use crate::broker::filter::tag_code;
use crate::broker::store::Appended;
use crate::broker::{Broker, Event, names};
use crate::net::call::Refusal;

/// How old a half message must be to be asked about: `transactionTimeOut` of Apache RocketMQ.
const TIMEOUT: i64 = 6_000;

/// How often it is looked for those: `transactionCheckInterval`.
const CHECK_PERIOD: i64 = 30_000;

/// How often one is asked about before it is given up: `transactionCheckMax`.
const MAX_CHECKS: i32 = 15;

/// How old one may get: `fileReservedTime`.
const MAX_AGE: i64 = 72 * 3_600_000;

/// The queue of half messages, and that of what was settled.
const QUEUE: i32 = 0;

/// What a settled half message is noted with.
const REMOVE_TAG: &str = "d";

/// The half messages that are not settled.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    /// By their offset; with the offset of the one that they are a copy of, where the producer does not know of the copy.
    open: BTreeMap<i64, Option<i64>>,
    /// The copies, by that offset.
    copies: HashMap<i64, i64>,
    /// Whether a timer for the next look is set.
    watched: bool,
    /// Whose turn it is to be asked.
    turn: usize,
}

impl Transactions {
    /// Notes a half message that is settled or has a newer copy.
    fn close(&mut self, offset: i64) {
        if let Some(Some(original)) = self.open.remove(&offset) {
            self.copies.remove(&original);
        }
    }

    /// Notes that a half message is settled, and with it the copy that its producer does not know of.
    fn settle(&mut self, offset: i64) {
        self.close(offset);
        if let Some(copy) = self.copies.remove(&offset) {
            self.open.remove(&copy);
        }
    }
}

/// Why an end of a transaction is refused.
pub(crate) const NOT_FOUND: &str = "Find prepared transaction message failed";

impl Broker {
    /// Stores a half message.
    pub(super) fn take_in_half(&mut self, mut arrival: Arrival) -> Result<Appended, Refusal> {
        self.check_size(&arrival)?;
        if let Some(id) = arrival.properties.get(property_names::UNIQUE_KEY) {
            let id = id.to_owned();
            arrival.properties.remove(property_names::TRANSACTION_ID);
            arrival.properties.push(property_names::TRANSACTION_ID, &id);
        }
        arrival.sys_flag = arrival.sys_flag.with_transaction(TransactionType::None);
        arrival.park(names::HALF_TOPIC, QUEUE);
        self.append_half(arrival, None)
    }

    fn append_half(
        &mut self,
        mut arrival: Arrival,
        original: Option<i64>,
    ) -> Result<Appended, Refusal> {
        let queue = self.store.queue(names::HALF_TOPIC, QUEUE);
        let appended = self.append(queue, &mut arrival)?;
        let transactions = &mut self.transactions;
        transactions.open.insert(appended.queue_offset, original);
        if let Some(original) = original {
            transactions.copies.insert(original, appended.queue_offset);
        }
        self.watch_transactions();
        Ok(appended)
    }

    /// Sets the timer for the next look, if there is something to look for.
    fn watch_transactions(&mut self) {
        if !self.transactions.watched && !self.transactions.open.is_empty() {
            self.transactions.watched = true;
            let rounds = (self.now - self.started) / CHECK_PERIOD + 1;
            let due = self.started + rounds * CHECK_PERIOD;
            self.timers.add(due, Event::CheckTransactions);
        }
    }

    /// Commits or rolls back a half message.
    pub(super) fn end_transaction(
        &mut self,
        half: &StoredMessage,
        commit: bool,
    ) -> Result<(), Refusal> {
        self.check_disk()?;
        if commit {
            let (topic, queue_id) = real_place(half).ok_or_else(|| Refusal::failed(NOT_FOUND))?;
            let mut properties = Properties::from(half.properties.as_str());
            properties.remove(property_names::REAL_TOPIC);
            properties.remove(property_names::REAL_QUEUE_ID);
            self.take_in(Arrival {
                topic,
                queue_id,
                sys_flag: half.sys_flag.with_transaction(TransactionType::Commit),
                prepared_transaction_offset: half.physical_offset,
                ..Arrival::again(half, properties)
            })?;
        }
        self.transactions.settle(half.queue_offset);
        self.note_settled(half.queue_offset)
    }

    fn note_settled(&mut self, offset: i64) -> Result<(), Refusal> {
        let mut id = [0; rocketmq_sdk::protocol::message::ids::MAX_LEN];
        let mut properties = Properties::new();
        properties.push(property_names::TAGS, REMOVE_TAG);
        properties.push(
            property_names::UNIQUE_KEY,
            self.unique_ids.next(self.now as u64, &mut id),
        );
        let queue = self.store.queue(names::HALF_DONE_TOPIC, QUEUE);
        let mut note = Arrival {
            topic: Text::from_static(names::HALF_DONE_TOPIC),
            queue_id: QUEUE,
            flag: 0,
            sys_flag: SysFlag::default(),
            born_timestamp: self.now,
            born_host: self.addr,
            reconsume_times: 0,
            body: format!("{offset},").into(),
            tag_code: tag_code(Some(REMOVE_TAG)),
            properties,
            delay_level: 0,
            timer: false,
            prepared_transaction_offset: 0,
        };
        self.append(queue, &mut note).map(drop)
    }

    /// Asks about the half messages that are old enough.
    pub(super) fn check_transactions(&mut self) {
        self.transactions.watched = false;
        let offsets: Vec<i64> = self.transactions.open.keys().copied().collect();
        let queue = self.store.queue(names::HALF_TOPIC, QUEUE);
        for offset in offsets {
            // One may have been settled as the copy of another, or is no longer stored.
            let stored = self.transactions.open.get(&offset).copied();
            let (Some(original), Some(half)) = (stored, self.parked(queue, offset)) else {
                self.transactions.close(offset);
                continue;
            };
            if self.is_given_up(&half) {
                self.transactions.close(offset);
                self.give_up(&half);
                continue;
            }
            if half.store_timestamp >= self.now {
                break;
            }
            let age = self.now.saturating_sub(half.born_timestamp);
            match immunity_of(&half) {
                Some(immunity) if age <= immunity => {
                    self.transactions.close(offset);
                    self.put_back(&half, Some(original.unwrap_or(offset)));
                }
                None if (0..=TIMEOUT).contains(&age) => break,
                _ => {
                    self.transactions.close(offset);
                    if let Some(appended) = self.put_back(&half, None) {
                        self.ask_about(half, appended);
                    }
                }
            }
        }
        self.watch_transactions();
    }

    /// Opens again what was settled by messages that are lost, or was copied by them.
    pub(super) fn unsettle(&mut self, lost: &[StoredMessage]) {
        let queue = self.store.queue(names::HALF_TOPIC, QUEUE);
        let end = self.store.max_offset(queue);
        let Transactions { open, copies, .. } = &mut self.transactions;
        open.retain(|offset, _| *offset < end);
        copies.retain(|original, copy| *original < end && *copy < end);
        for message in lost {
            let reopened = match &*message.topic {
                names::HALF_DONE_TOPIC => settled_by(message),
                names::HALF_TOPIC => self.newest_half(message),
                _ => None,
            };
            if let Some(offset) = reopened.filter(|offset| *offset < end) {
                self.transactions.open.insert(offset, None);
            }
        }
        self.watch_transactions();
    }

    /// The newest half message that is stored and has the same unique key.
    fn newest_half(&mut self, lost: &StoredMessage) -> Option<i64> {
        let queue = self.store.queue(names::HALF_TOPIC, QUEUE);
        let key = lost.property(property_names::UNIQUE_KEY);
        let min = self.store.min_offset(queue);
        (min..self.store.max_offset(queue)).rev().find(|offset| {
            self.parked(queue, *offset)
                .is_some_and(|half| half.property(property_names::UNIQUE_KEY) == key)
        })
    }

    fn is_given_up(&self, half: &StoredMessage) -> bool {
        checks_of(half) >= MAX_CHECKS || self.now.saturating_sub(half.born_timestamp) > MAX_AGE
    }

    /// Moves a half message to where an administrator may look for it.
    fn give_up(&mut self, half: &StoredMessage) {
        self.topics.ensure(names::GIVEN_UP_TOPIC, 1, self.now);
        let arrival = Arrival {
            topic: Text::from_static(names::GIVEN_UP_TOPIC),
            queue_id: 0,
            ..Arrival::again(half, Properties::from(half.properties.as_str()))
        };
        if let Err(refusal) = self.take_in(arrival) {
            tracing::error!(remark = %refusal.remark, "a half message is dropped");
        }
    }

    /// Writes a half message once more, with one more check; Apache RocketMQ forgets its flag with that.
    fn put_back(&mut self, half: &StoredMessage, original: Option<i64>) -> Option<Appended> {
        let mut properties = Properties::from(half.properties.as_str());
        let original_text = original.map(|offset| offset.to_string());
        for (name, value) in [
            (
                property_names::TRANSACTION_CHECK_TIMES,
                Some((checks_of(half) + 1).to_string()),
            ),
            (
                property_names::TRANSACTION_PREPARED_QUEUE_OFFSET,
                original_text,
            ),
        ] {
            if let Some(value) = value {
                properties.remove(name);
                properties.push(name, &value);
            }
        }
        let arrival = Arrival {
            flag: 0,
            reconsume_times: 0,
            ..Arrival::again(half, properties)
        };
        let appended = self.append_half(arrival, original);
        appended
            .inspect_err(
                |refusal| tracing::error!(remark = %refusal.remark, "a half message is dropped"),
            )
            .ok()
    }

    /// Asks a member of the producer group, each in its turn.
    fn ask_about(&mut self, mut half: StoredMessage, place: Appended) {
        let group = half
            .property(property_names::PRODUCER_GROUP)
            .unwrap_or_default();
        let members = self.groups.producers(group);
        let Some(members) = members.filter(|members| !members.is_empty()) else {
            tracing::warn!(%group, "no producer can be asked about a transaction");
            return;
        };
        self.transactions.turn = self.transactions.turn.wrapping_add(1);
        let Some(member) = members.values().nth(self.transactions.turn % members.len()) else {
            return;
        };
        let peer = std::sync::Arc::clone(&member.peer);
        let Some((topic, queue_id)) = real_place(&half) else {
            return;
        };
        half.topic = topic;
        half.queue_id = queue_id;
        half.queue_offset = place.queue_offset;
        half.physical_offset = place.position;
        half.body_crc = body_crc(&half.body);
        half.properties = with_checks(&half);
        let mut body = BytesMut::new();
        if half.encode(&mut body).is_err() {
            return;
        }
        let id = OffsetMessageId {
            host: self.addr,
            physical_offset: place.position,
        };
        let unique_id = half.property(property_names::UNIQUE_KEY);
        let header = CheckTransactionState {
            topic: Some(names::HALF_TOPIC.into()),
            tran_state_table_offset: place.queue_offset,
            commit_log_offset: place.position,
            msg_id: unique_id.map(Into::into),
            transaction_id: unique_id.map(Into::into),
            offset_msg_id: Some(id.to_string().into()),
            broker_name: Some((&*self.config.name).into()),
        };
        peer.send_oneway(&header, &body.freeze());
    }
}

/// Which half message a note says is settled.
fn settled_by(note: &StoredMessage) -> Option<i64> {
    str::from_utf8(&note.body)
        .ok()?
        .trim_end_matches(',')
        .parse()
        .ok()
}

fn with_checks(half: &StoredMessage) -> Text {
    let mut properties = Properties::from(half.properties.as_str());
    properties.remove(property_names::TRANSACTION_CHECK_TIMES);
    properties.push(
        property_names::TRANSACTION_CHECK_TIMES,
        &(checks_of(half) + 1).to_string(),
    );
    Text::from(properties.into_string())
}

/// How often it was asked about.
fn checks_of(half: &StoredMessage) -> i32 {
    let times = half.property(property_names::TRANSACTION_CHECK_TIMES);
    times.map_or(0, |times| times.parse().unwrap_or(-1))
}

/// How old a half message may get before only who was asked may end it, where it says something of that.
pub(crate) fn late_after(half: &StoredMessage) -> Option<i64> {
    let seconds = half.property(property_names::CHECK_IMMUNITY_SECONDS)?;
    let seconds: i64 = seconds.parse().unwrap_or(0);
    Some(seconds.saturating_mul(1000).max(TIMEOUT))
}

/// How old a half message must be to be asked about, where it says so.
fn immunity_of(half: &StoredMessage) -> Option<i64> {
    let seconds = half.property(property_names::CHECK_IMMUNITY_SECONDS)?;
    match seconds.parse().unwrap_or(-1) {
        -1 => Some(TIMEOUT),
        seconds => Some(i64::saturating_mul(seconds, 1000)),
    }
}
