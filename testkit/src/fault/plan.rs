//! The rules that are in force, and the decision which of them hits a request.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rocketmq_sdk::protocol::code::ResponseCode;
use tokio::sync::watch;

use crate::fault::condition::{Condition, Counter, Frequency};
use crate::fault::frame::FrameFault;
use crate::journal::Entry;
use crate::net::deferred::Work;
use crate::net::peer::Peer;

/// All rules of a cluster.
#[derive(Debug)]
pub(crate) struct Plan {
    seed: u64,
    /// How many rules there are, for those who need not look at them.
    len: AtomicUsize,
    rules: Mutex<Rules>,
}

#[derive(Debug, Default)]
struct Rules {
    /// How many there ever were.
    made: u64,
    in_force: Vec<Arc<ActiveRule>>,
}

/// What a rule looks at and what it does to it.
#[derive(Debug, Clone)]
pub(crate) enum Reaction {
    /// To a request, before it is served.
    Request(RequestFault),
    /// To the answer of a request.
    Answer(FrameFault),
    /// To a request that a node sends to a client.
    Callback(FrameFault),
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub(crate) enum RequestFault {
    Pass,
    Reply(ResponseCode, String),
    Delay(Duration),
    Hold,
    Drop,
    Disconnect,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct ActiveRule {
    condition: Condition,
    pub(crate) reaction: Reaction,
    counter: Mutex<Counter>,
    /// How many requests were hit, for those who wait for that.
    pub(crate) hits: watch::Sender<u64>,
    held: Mutex<Held>,
    /// How many are held, for those who wait for that.
    pub(crate) held_count: watch::Sender<u64>,
}

/// What a rule holds back, in the order in which it came.
#[derive(Debug, Default)]
struct Held {
    work: VecDeque<(Arc<Peer>, Work)>,
    /// Nothing is held any more.
    over: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            len: AtomicUsize::new(0),
            rules: Mutex::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    pub(crate) fn add(
        &self,
        condition: Condition,
        frequency: Frequency,
        reaction: Reaction,
    ) -> Arc<ActiveRule> {
        let mut rules = self.rules.lock();
        let rule = Arc::new(ActiveRule {
            condition,
            reaction,
            // Every rule has its own chance, so that one rule more does not change the others.
            counter: Mutex::new(Counter::new(frequency, self.seed.wrapping_add(rules.made))),
            hits: watch::Sender::new(0),
            held: Mutex::default(),
            held_count: watch::Sender::new(0),
        });
        rules.made += 1;
        rules.in_force.push(Arc::clone(&rule));
        self.len.store(rules.in_force.len(), Ordering::Release);
        rule
    }

    pub(crate) fn remove(&self, rule: &Arc<ActiveRule>) {
        self.remove_where(|other| Arc::ptr_eq(other, rule));
    }

    /// Removes the rules of a node, or all.
    pub(crate) fn clear(&self, node: Option<&str>) {
        self.remove_where(|rule| node.is_none() || rule.condition.node.as_deref() == node);
    }

    fn remove_where(&self, gone: impl Fn(&Arc<ActiveRule>) -> bool) {
        let removed: Vec<_> = {
            let mut rules = self.rules.lock();
            let removed = rules.in_force.extract_if(.., |rule| gone(rule)).collect();
            self.len.store(rules.in_force.len(), Ordering::Release);
            removed
        };
        removed.iter().for_each(|rule| rule.end());
    }

    /// The first rule that hits a request, or the answer that it will have.
    pub(crate) fn decide(&self, request: &Entry) -> Option<Arc<ActiveRule>> {
        let answerable = !request.is_oneway();
        self.first(request, |reaction| match reaction {
            Reaction::Request(_) => true,
            Reaction::Answer(_) => answerable,
            Reaction::Callback(_) => false,
        })
    }

    /// The first rule that hits a request to a client, and what it does.
    pub(crate) fn decide_callback(&self, request: &Entry) -> Option<FrameRule> {
        let rule = self.first(request, |it| matches!(it, Reaction::Callback(_)))?;
        FrameRule::of(&rule)
    }

    fn first(
        &self,
        request: &Entry,
        concerned: impl Fn(&Reaction) -> bool,
    ) -> Option<Arc<ActiveRule>> {
        // A condition may be the user's code, which may look at rules.
        let rules = self.rules.lock().in_force.clone();
        rules
            .into_iter()
            .find(|rule| concerned(&rule.reaction) && rule.strikes(request))
    }
}

impl ActiveRule {
    /// Whether a request is hit; counts it.
    fn strikes(&self, request: &Entry) -> bool {
        if !self.condition.holds(request) {
            return false;
        }
        let mut counter = self.counter.lock();
        let hit = counter.strike();
        if hit {
            self.hits.send_replace(counter.hits);
        }
        hit
    }

    /// How many requests the rule was for, hit or not.
    pub(crate) fn matched(&self) -> u64 {
        self.counter.lock().matched
    }

    /// Keeps something back; it is done at once when the rule has been removed in the meantime.
    pub(crate) fn hold(&self, peer: &Arc<Peer>, work: Work) {
        let mut held = self.held.lock();
        if held.over {
            peer.do_later(Duration::ZERO, work);
        } else {
            held.work.push_back((Arc::clone(peer), work));
            self.held_count.send_replace(held.work.len() as u64);
        }
    }

    /// Lets those go whose places among the held are given, in that order; then the others are still held. Places that are
    /// not there are ignored.
    pub(crate) fn release(&self, places: impl IntoIterator<Item = usize>) {
        let mut held = self.held.lock();
        let mut work: Vec<_> = held.work.drain(..).map(Some).collect();
        for place in places {
            if let Some((peer, work)) = work.get_mut(place).and_then(Option::take) {
                peer.do_later(Duration::ZERO, work);
            }
        }
        held.work = work.into_iter().flatten().collect();
        self.held_count.send_replace(held.work.len() as u64);
    }

    pub(crate) fn release_all(&self) {
        let all = self.held.lock().work.len();
        self.release(0..all);
    }

    /// Holds nothing back any more.
    fn end(&self) {
        self.held.lock().over = true;
        self.release_all();
    }
}

/// A rule that has hit a frame.
#[derive(Debug, Clone)]
pub(crate) struct FrameRule {
    pub(crate) rule: Arc<ActiveRule>,
    pub(crate) fault: FrameFault,
}

impl FrameRule {
    /// What the rule does to a frame, if it is one that does.
    pub(crate) fn of(rule: &Arc<ActiveRule>) -> Option<Self> {
        match &rule.reaction {
            Reaction::Request(_) => None,
            Reaction::Answer(fault) | Reaction::Callback(fault) => Some(Self {
                rule: Arc::clone(rule),
                fault: fault.clone(),
            }),
        }
    }
}

impl fmt::Display for ActiveRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let condition = &self.condition;
        match &self.reaction {
            Reaction::Request(fault) => write!(f, "on {condition}: {fault}"),
            Reaction::Answer(fault) => write!(f, "on the answer to {condition}: {fault}"),
            Reaction::Callback(fault) => write!(f, "on callback {condition}: {fault}"),
        }
    }
}

impl fmt::Display for Reaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(fault) => fault.fmt(f),
            Self::Answer(fault) => write!(f, "{fault} (the answer)"),
            Self::Callback(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for RequestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Reply(code, _) => write!(f, "reply {code}"),
            Self::Delay(by) => write!(f, "delay {by:?}"),
            Self::Hold => f.write_str("hold"),
            Self::Drop => f.write_str("drop"),
            Self::Disconnect => f.write_str("disconnect"),
        }
    }
}
