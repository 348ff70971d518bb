//! Replies on their way to the clients that asked: each waits for that client to take it.

use std::collections::HashMap;

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::request::send_message::SendMessageResponse;

use crate::broker::timers::TimerKey;
use crate::broker::{Broker, Event};
use crate::net::call::{Answer, Later};

/// How long a client may take, as with Apache RocketMQ.
const PATIENCE: i64 = 10_000;

/// How many replies may be on their way.
pub(crate) const MAX_RELAYS: usize = 100_000;

/// Names a request to a client: its connection, and the request's opaque.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RelayKey {
    pub(crate) connection: u64,
    pub(crate) opaque: i32,
}

/// A reply that its receiver has not taken yet.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Who asked.
    pub(crate) client_id: Box<str>,
    /// For who replies.
    pub(crate) answer: Later,
    pub(crate) header: SendMessageResponse<'static>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    waiting: HashMap<RelayKey, (Relay, TimerKey)>,
}

impl Relay {
    /// Says how it ended; with a remark where it was not taken.
    pub(crate) fn end(&self, remark: Option<&str>) {
        let code = match remark {
            None => ResponseCode::SUCCESS,
            Some(_) => ResponseCode::SYSTEM_ERROR,
        };
        self.answer.answer_with(&Answer {
            code,
            remark,
            header: &self.header,
            body: &[],
        });
    }

    fn fail(&self) {
        self.end(Some(&format!(
            "push reply message to {}fail.",
            self.client_id
        )));
    }
}

impl Broker {
    /// Whether another reply may be on its way.
    pub(super) fn may_relay(&self) -> bool {
        self.relays.waiting.len() < MAX_RELAYS
    }

    /// Waits for a client to take a reply.
    pub(super) fn relay(&mut self, key: RelayKey, relay: Relay) {
        let timer = self.timers.add(self.now + PATIENCE, Event::EndRelay(key));
        self.relays.waiting.insert(key, (relay, timer));
    }

    /// A client has said whether it takes the reply.
    pub(super) fn relayed(&mut self, key: RelayKey, code: ResponseCode) {
        let Some((relay, timer)) = self.relays.waiting.remove(&key) else {
            return;
        };
        self.timers.cancel(timer);
        match code {
            ResponseCode::SUCCESS => relay.end(None),
            _ => relay.fail(),
        }
    }

    /// A client has taken too long.
    pub(super) fn end_relay(&mut self, key: RelayKey) {
        if let Some((relay, _)) = self.relays.waiting.remove(&key) {
            relay.fail();
        }
    }

    /// A client is gone.
    pub(super) fn end_relays_to(&mut self, connection: u64) {
        let (waiting, timers) = (&mut self.relays.waiting, &mut self.timers);
        for (_, (relay, timer)) in waiting.extract_if(|key, _| key.connection == connection) {
            timers.cancel(timer);
            relay.fail();
        }
    }
}
