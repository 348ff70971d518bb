//! What the broker asks of clients for others, and who waits for the answers.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rocketmq_sdk::protocol::command::Command;
use rocketmq_sdk::protocol::request::Request;

use crate::broker::timers::TimerKey;
use crate::broker::{Broker, Event};
use crate::net::peer::Peer;

/// How long a client may take, as with Apache RocketMQ.
const PATIENCE: i64 = 10_000;

/// How many requests may be on their way to clients.
const MAX_RELAYS: usize = 100_000;

/// Names a request to a client: its connection, and the request's opaque.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RelayKey {
    pub(crate) connection: u64,
    pub(crate) opaque: i32,
}

/// How a request to a client ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome<'a> {
    Answered(&'a Command),
    TimedOut,
    /// The client's connection has ended.
    Gone,
}

type OnEnd = Box<dyn FnOnce(Outcome<'_>) + Send>;

/// All of them.
#[derive(Default)]
pub(crate) struct Relays {
    waiting: HashMap<RelayKey, (OnEnd, TimerKey)>,
}

impl Broker {
    /// Whether another request may be on its way.
    pub(super) fn may_relay(&self) -> bool {
        self.relays.waiting.len() < MAX_RELAYS
    }

    /// Asks a client, and has `on_end` called once with what came of it.
    pub(super) fn relay<'a, R: Request<'a>>(
        &mut self,
        to: &Arc<Peer>,
        header: &R,
        body: &Bytes,
        on_end: impl FnOnce(Outcome<'_>) + Send + 'static,
    ) {
        let key = RelayKey {
            connection: to.id,
            opaque: to.send_request(header, body),
        };
        let timer = self.timers.add(self.now + PATIENCE, Event::EndRelay(key));
        self.relays.waiting.insert(key, (Box::new(on_end), timer));
    }

    /// A client has answered.
    pub(super) fn relayed(&mut self, key: RelayKey, answer: &Command) {
        if let Some((on_end, timer)) = self.relays.waiting.remove(&key) {
            self.timers.cancel(timer);
            on_end(Outcome::Answered(answer));
        }
    }

    /// A client has taken too long.
    pub(super) fn end_relay(&mut self, key: RelayKey) {
        if let Some((on_end, _)) = self.relays.waiting.remove(&key) {
            on_end(Outcome::TimedOut);
        }
    }

    /// A client is gone.
    pub(super) fn end_relays_to(&mut self, connection: u64) {
        let (waiting, timers) = (&mut self.relays.waiting, &mut self.timers);
        for (_, (on_end, timer)) in waiting.extract_if(|key, _| key.connection == connection) {
            timers.cancel(timer);
            on_end(Outcome::Gone);
        }
    }
}

impl fmt::Debug for Relays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.waiting.keys()).finish()
    }
}
