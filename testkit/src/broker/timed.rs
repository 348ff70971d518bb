//! Timer messages: they wait in rmq_sys_wheel_timer until the second that they are due in is over, unless they are recalled.

use std::collections::BTreeSet;

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::message::{Properties, property_names};

use crate::broker::arrival::{Arrival, TakenIn};
use crate::broker::store::QueueKey;
use crate::broker::{Broker, Event, names};
use crate::net::call::Refusal;

/// How far away the time may be: `timerMaxDelaySec` of Apache RocketMQ.
pub(crate) const MAX_DELAY: i64 = 3 * 24 * 3600 * 1000;

/// Messages that are due within the same time of this length are delivered together, at its end: `timerPrecisionMs`.
const PRECISION: i64 = 1000;

/// How many messages may wait.
const MAX_TIMERS: usize = 1_000_000;

/// What a message is recalled by: its time of delivery, and its real topic and unique id.
pub(crate) type Recalled = BTreeSet<(i64, Box<str>)>;

/// What says when.
const TIMES: [&str; 3] = [
    property_names::TIMER_DELAY_SECONDS,
    property_names::TIMER_DELAY_MILLIS,
    property_names::TIMER_DELIVER_MILLIS,
];

impl Broker {
    /// Stores a message until it is due, if it is to wait.
    pub(super) fn take_in_timed(
        &mut self,
        arrival: &mut Arrival,
    ) -> Result<Option<TakenIn>, Refusal> {
        let properties = &mut arrival.properties;
        if arrival.delay_level > 0 {
            for name in TIMES {
                properties.remove(name);
            }
            return Ok(None);
        }
        if properties.get(property_names::TIMER_OUT_MILLIS).is_some() {
            return Ok(None);
        }
        let Some(at) = time_of(arrival, self.now)? else {
            return Ok(None);
        };
        let recalls = arrival
            .properties
            .get(property_names::TIMER_DELETE_UNIQUE_KEY)
            .map(Box::from);
        if at <= self.now {
            return if recalls.is_some() {
                Err(illegal())
            } else {
                Ok(None)
            };
        }
        if at - self.now > MAX_DELAY {
            return Err(illegal());
        }
        self.check_timers()?;
        let slot = (at - 1) / PRECISION * PRECISION;
        arrival
            .properties
            .push(property_names::TIMER_OUT_MILLIS, &slot.to_string());
        arrival.park(names::TIMER_TOPIC, 0);
        let queue = self.store.queue(names::TIMER_TOPIC, 0);
        let appended = self.append(queue, arrival)?;
        if let Some(key) = recalls {
            self.recalled.insert((slot, key));
        }
        self.timers
            .add(slot + PRECISION, Event::Time(queue, appended.queue_offset));
        Ok(Some(TakenIn {
            appended,
            timer_out: Some(slot),
        }))
    }

    /// Forgets the recalls of messages that have all had their time.
    pub(super) fn forget_recalls(&mut self) {
        while let Some((slot, _)) = self.recalled.first()
            && slot + PRECISION <= self.now
        {
            self.recalled.pop_first();
        }
    }

    /// Refuses a message that is to wait where too many do. Those that the store has dropped count until they would be due.
    pub(super) fn check_timers(&self) -> Result<(), Refusal> {
        if self.timers.len() < MAX_TIMERS {
            return Ok(());
        }
        let remark = format!("no more than {MAX_TIMERS} messages wait for their time");
        Err(Refusal::new(ResponseCode::SYSTEM_BUSY, remark))
    }

    /// Delivers a message whose time has come.
    pub(super) fn time_is_up(&mut self, queue: QueueKey, offset: i64) {
        let Some(message) = self.parked(queue, offset) else {
            return;
        };
        let property = |name| message.property(name).unwrap_or_default();
        let slot = property(property_names::TIMER_OUT_MILLIS)
            .parse()
            .unwrap_or(0);
        if !property(property_names::TIMER_DELETE_UNIQUE_KEY).is_empty() {
            return;
        }
        let (topic, id) = (
            property(property_names::REAL_TOPIC),
            property(property_names::UNIQUE_KEY),
        );
        if self
            .recalled
            .contains(&(slot, recall_key(topic, id).into()))
        {
            return;
        }
        let mut properties = Properties::from(message.properties.as_str());
        for (name, time) in [
            (
                property_names::TIMER_ENQUEUE_MILLIS,
                message.store_timestamp,
            ),
            (property_names::TIMER_DEQUEUE_MILLIS, self.now),
        ] {
            properties.push(name, &time.to_string());
        }
        self.deliver(&message, properties);
    }
}

/// What names a message for its recall.
pub(crate) fn recall_key(topic: &str, unique_id: &str) -> String {
    format!("{topic}+{unique_id}")
}

/// When the message wants to be delivered.
fn time_of(arrival: &Arrival, now: i64) -> Result<Option<i64>, Refusal> {
    let number = |name| {
        let text = arrival.properties.get(name)?;
        Some(text.parse::<i64>().map_err(|_| illegal()))
    };
    let after = |millis: i64| now.checked_add(millis).ok_or_else(illegal);
    let [seconds, millis, at] = TIMES;
    if let Some(seconds) = number(seconds) {
        let millis = seconds?.checked_mul(1000).ok_or_else(illegal)?;
        return after(millis).map(Some);
    }
    if let Some(millis) = number(millis) {
        return after(millis?).map(Some);
    }
    number(at).transpose()
}

fn illegal() -> Refusal {
    let remark = format!(
        "timer message illegal, the delay time should not be bigger than the max delay {MAX_DELAY}ms; or if set del msg, the delay time should be bigger than the current time"
    );
    Refusal::new(ResponseCode::MESSAGE_ILLEGAL, remark)
}
